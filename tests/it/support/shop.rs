//! A receiver of webhooks on a loopback port: keeps what came, in order, and answers as a test wants.

use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const READ_MAX: Duration = Duration::from_secs(10);
/// How long an answer is held back at most, so that a forgotten release cannot hang a test.
const HOLD_MAX: Duration = Duration::from_secs(30);

/// What the shop does with one request.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// Status, further header lines, body.
    Answer(u16, String, Vec<u8>),
    /// These bytes and nothing else, then the end of the connection.
    Raw(Vec<u8>),
    Drop,
    /// No answer until [`Shop::release`].
    Hold,
}

type Rule = Box<dyn Fn(&Received) -> Reaction + Send>;

pub struct Shop {
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
    script: VecDeque<Reaction>,
    /// What happens while the script is empty; none: 200.
    rule: Option<Rule>,
    received: Vec<Received>,
    held: u32,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub line: String,
    /// Lower-case names; equal ones joined by a comma.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// What was answered, where a status was.
    pub status: Option<u16>,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn order(&self) -> String {
        self.json()["data"]["entry"]["order"].as_str().unwrap_or_default().to_owned()
    }

    pub fn seq(&self) -> u64 {
        self.json()["seq"].as_u64().unwrap_or_else(|| panic!("no seq in {}", self.json()))
    }

    /// Whether the reference library of Standard Webhooks takes this secret for the sender's.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let mut headers = reqwest::header::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.header(name).parse().unwrap());
        }
        let reference = standardwebhooks::Webhook::new(secret).unwrap();
        reference.verify(&self.body, &headers).is_ok()
    }
}

impl Shop {
    pub fn open() -> Shop {
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
        Shop { shared, address, listener: Some(std::thread::spawn(accept)) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// The next request is treated so; several calls queue up.
    pub fn next(&self, reaction: Reaction) {
        self.state().script.push_back(reaction);
    }

    pub fn always(&self, rule: impl Fn(&Received) -> Reaction + Send + 'static) {
        self.state().rule = Some(Box::new(rule));
    }

    pub fn answers(&self, status: u16) {
        self.always(move |_| answer(status));
    }

    /// From now on everything is confirmed.
    pub fn is_well(&self) {
        self.state().rule = None;
    }

    pub fn release(&self) {
        self.state().held = 0;
        self.shared.released.notify_all();
    }

    /// Everything that came, in order.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// What was confirmed, in order.
    pub fn confirmed(&self) -> Vec<Received> {
        let confirmed = |one: &Received| one.status.is_some_and(|status| (200..300).contains(&status));
        self.received().into_iter().filter(confirmed).collect()
    }
}

impl Drop for Shop {
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

pub fn answer(status: u16) -> Reaction {
    Reaction::Answer(status, String::new(), b"noted".to_vec())
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(READ_MAX));
        let _ = stream.set_write_timeout(Some(READ_MAX));
        let Some(mut received) = read_request(&stream) else {
            // As servers answer what is no HTTP, such as the beginning of TLS.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            return;
        };
        let reaction = {
            let mut state = self.state.lock().unwrap();
            let scripted = state.script.pop_front();
            let reaction = scripted.unwrap_or_else(|| match &state.rule {
                Some(rule) => rule(&received),
                None => answer(200),
            });
            if let Reaction::Answer(status, ..) = &reaction {
                received.status = Some(*status);
            }
            state.received.push(received);
            reaction
        };
        let bytes = match reaction {
            Reaction::Answer(status, headers, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Shop\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                [head.as_bytes(), &body].concat()
            }
            Reaction::Raw(bytes) => bytes,
            Reaction::Drop => return,
            Reaction::Hold => return self.hold(),
        };
        let _ = stream.write_all(&bytes);
        // Without reading to the end the kernel may reset the connection under an answer that is still on its way.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 1024]);
    }

    /// Keeps the connection open without a word.
    fn hold(&self) {
        let mut state = self.state.lock().unwrap();
        state.held += 1;
        drop(self.released.wait_timeout_while(state, HOLD_MAX, |state| state.held > 0).unwrap());
    }
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        let length = reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        let value = value.trim();
        headers
            .entry(name.to_lowercase())
            .and_modify(|known| *known = format!("{known},{value}"))
            .or_insert_with(|| value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    Some(Received { line: first, headers, body, at: Instant::now(), status: None })
}
