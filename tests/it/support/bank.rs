//! A simulated PicPay on a loopback port: raw TCP, so that request lines are seen as they came and answers can be as
//! broken as a test wants. It keeps the truth of every payment; the ledger must end up equal to it.

use super::{PICPAY_TOKEN, wait_for};
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an answer is held back at most, so that a forgotten release cannot hang a test.
const HOLD_MAX: Duration = Duration::from_secs(30);
const READ_MAX: Duration = Duration::from_secs(10);

/// What the bank does with one query instead of telling the truth.
#[derive(Clone, Debug)]
pub enum Act {
    /// Status, further header lines, body; framed properly.
    Answer(u16, &'static str, Vec<u8>),
    /// These bytes and nothing else, then the end of the connection.
    Raw(Vec<u8>),
    /// The end of the connection without a byte.
    Drop,
    /// The truth, but late.
    Late(Duration),
}

pub struct Bank {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    closing: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The body of the status answer, by reference.
    truth: BTreeMap<String, String>,
    script: VecDeque<Act>,
    /// What happens while the script is empty; none: the truth.
    always: Option<Act>,
    held: bool,
    requests: Vec<Request>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET /ecommerce/public/payments/PED-1/status HTTP/1.1`
    pub line: String,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub reference: Option<String>,
}

impl Bank {
    pub fn open() -> Bank {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let accept = move || {
            for stream in listener.incoming() {
                if inner.closing.load(Ordering::SeqCst) {
                    return;
                }
                let inner = Arc::clone(&inner);
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || inner.serve(stream));
            }
        };
        Bank { shared, address, listener: Some(std::thread::spawn(accept)) }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// The current generation of the API: amounts as the literal text of JSON numbers.
    pub fn says(&self, reference: &str, status: &str, paid: &str, refunded: &str) {
        let name = serde_json::Value::from(reference);
        let body = format!(
            r#"{{"authorizationId":"66b0f3d2a4c19e0021d7b5aa","referenceId":{name},"status":"{status}","summary":{{"authorized":{paid},"paid":{paid},"refunded":{refunded}}}}}"#
        );
        self.says_raw(reference, &body);
    }

    /// The legacy generation, which names no amounts.
    pub fn says_legacy(&self, reference: &str, status: &str) {
        let name = serde_json::Value::from(reference);
        self.says_raw(reference, &format!(r#"{{"referenceId":{name},"status":"{status}"}}"#));
    }

    /// Any body as the truth of a reference.
    pub fn says_raw(&self, reference: &str, body: &str) {
        self.state().truth.insert(reference.to_owned(), body.to_owned());
    }

    /// The next query is treated so; several calls queue up.
    pub fn next(&self, act: Act) {
        self.state().script.push_back(act);
    }

    /// Every query is treated so until [`Bank::truthful`].
    pub fn always(&self, act: Act) {
        self.state().always = Some(act);
    }

    pub fn truthful(&self) {
        let mut state = self.state();
        state.always = None;
        state.script.clear();
    }

    /// Queries are read and noted, but wait for [`Bank::release`].
    pub fn hold(&self) {
        self.state().held = true;
    }

    pub fn release(&self) {
        self.state().held = false;
        self.shared.released.notify_all();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    /// How often a reference was asked for.
    pub fn queries(&self, reference: &str) -> usize {
        self.requests().iter().filter(|request| request.reference.as_deref() == Some(reference)).count()
    }

    pub fn wait_for_query(&self, reference: &str) {
        wait_for(super::PATIENCE, "a query at the bank", || (self.queries(reference) > 0).then_some(()));
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.release();
        // One more connection wakes the listener, which then sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(READ_MAX));
        let _ = stream.set_write_timeout(Some(READ_MAX));
        let Some(request) = read_request(&stream) else { return };
        let (act, truth) = {
            let mut state = self.state.lock().unwrap();
            state.requests.push(request.clone());
            let truth = answer(&state, &request);
            let act = state.script.pop_front().or_else(|| state.always.clone());
            let held = |state: &mut State| state.held;
            // What is answered is what was true when the question came, however late it leaves.
            drop(self.released.wait_timeout_while(state, HOLD_MAX, held).unwrap());
            (act, truth)
        };
        let bytes = match act {
            None => truth,
            Some(Act::Late(delay)) => {
                std::thread::sleep(delay);
                truth
            }
            Some(Act::Answer(status, headers, body)) => framed(status, headers, &body),
            Some(Act::Raw(bytes)) => bytes,
            Some(Act::Drop) => return,
        };
        let _ = stream.write_all(&bytes);
        let _ = stream.flush();
        // Without reading to the end the kernel may reset the connection under an answer that is still on its way.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 1024]);
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next()?.ok()?;
    let mut headers = Vec::new();
    for header in lines {
        let header = header.ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let path = line.split(' ').nth(1)?;
    let segment = path.strip_prefix("/ecommerce/public/payments/").and_then(|p| p.strip_suffix("/status"));
    let decoded = |s: &str| percent_decode_str(s).decode_utf8().ok().map(|text| text.into_owned());
    let reference = segment.filter(|s| !s.contains('/')).and_then(decoded);
    Some(Request { line, headers, reference })
}

fn answer(state: &State, request: &Request) -> Vec<u8> {
    let token = request.headers.iter().find(|(name, _)| name == "x-picpay-token");
    if token.map(|(_, value)| value.as_str()) != Some(PICPAY_TOKEN) {
        return framed(401, "", "{\"message\":\"O Token informado é inválido\"}".as_bytes());
    }
    match request.reference.as_ref().and_then(|reference| state.truth.get(reference)) {
        Some(body) => framed(200, "", body.as_bytes()),
        None => framed(404, "", b"{\"message\":\"not found\"}"),
    }
}

pub fn framed(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Simulated\r\ncontent-type: application/json; charset=utf-8\r\n{headers}\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
