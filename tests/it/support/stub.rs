//! A stand-in for every provider at once: raw HTTP on a loopback port, an account's provider below `/<account>`. It
//! answers a case's files to the questions in the order they are first asked, and the same question always alike. It
//! knows the providers' routes, credentials and logins by their documents; whatever else comes is a complaint.

use super::cases::{Answer, Case};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const READ_MAX: Duration = Duration::from_secs(10);

/// What may be asked; what a path begins with, below the account.
const ROUTES: [(&str, &[&str]); 5] = [
    ("picpay", &["/ecommerce/public/payments/"]),
    ("gerencianet", &["/v1/notification/", "/v1/charge/", "/v1/charges"]),
    (
        "yapay",
        &[
            "/api/v3/transactions/get_by_token_brief?token_account=token-account&token_transaction=",
            "/api/v3/transactions/get_by_token?token_account=token-account&token_transaction=",
        ],
    ),
    ("genpag", &["/api/sellers/seller-id/payments/"]),
    ("fourp", &["/v1/notification/"]),
];

/// `client-id:client-secret`
const EFI_BASIC: &str = "Basic Y2xpZW50LWlkOmNsaWVudC1zZWNyZXQ=";

pub struct Stub {
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// By account.
    desks: Mutex<BTreeMap<String, Desk>>,
    complaints: Mutex<Vec<String>>,
    closing: AtomicBool,
}

/// The provider of one account.
struct Desk {
    provider: String,
    answers: Vec<Answer>,
    /// The different questions so far, in their order.
    asked: Vec<String>,
    /// What `Authorization` has to be, for providers with sessions.
    session: String,
    logins: usize,
}

struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
}

impl Stub {
    pub fn open(cases: &[Case]) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = |case: &Case| Desk {
            provider: case.provider.clone(),
            answers: case.answers.clone(),
            asked: Vec::new(),
            session: if case.provider == "genpag" { "Bearer access-token".to_owned() } else { String::new() },
            logins: 0,
        };
        let desks = cases.iter().map(|case| (case.account.clone(), desk(case))).collect();
        let shared = Arc::new(Shared { desks: Mutex::new(desks), ..Shared::default() });
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
        Stub { shared, address, listener: Some(std::thread::spawn(accept)) }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the provider of the case's account says what this case has.
    pub fn turn(&self, case: &Case) {
        let mut desks = self.shared.desks.lock().unwrap();
        let desk = desks.get_mut(&case.account).unwrap();
        desk.answers.clone_from(&case.answers);
        desk.asked.clear();
    }

    /// Everything that no provider would have understood, and the answers that nobody asked for.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = self.shared.complaints.lock().unwrap().clone();
        for (account, desk) in &*self.shared.desks.lock().unwrap() {
            if desk.asked.len() != desk.answers.len() {
                complaints.push(format!("{account} was asked {:?}", desk.asked));
            }
        }
        complaints
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
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
        let answer = self.answer(&request).unwrap_or_else(|complaint| {
            let shown = format!("{} {}: {complaint}", request.method, request.target);
            self.complaints.lock().unwrap().push(shown);
            plain(599, "{}".to_owned())
        });
        let head = format!(
            "HTTP/1.1 {} Stub\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.status,
            answer.content_type,
            answer.body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), &answer.body].concat());
        // Without reading to the end the kernel may reset the connection under an answer that is still on its way.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 1024]);
    }

    fn answer(&self, request: &Request) -> Result<Answer, String> {
        let (account, path) = request.target[1..].split_once('/').ok_or("no account")?;
        let path = format!("/{path}");
        let mut desks = self.desks.lock().unwrap();
        let desk = desks.get_mut(account).ok_or("nobody's account")?;
        match request.method.as_str() {
            "POST" => desk.log_in(&path, request),
            "GET" => desk.look_up(path, request),
            _ => Err("nothing is asked so".to_owned()),
        }
    }
}

impl Desk {
    /// Each login grants another session, and ends the one before.
    fn log_in(&mut self, path: &str, request: &Request) -> Result<Answer, String> {
        let (expected, begin, end) = match (self.provider.as_str(), path) {
            ("gerencianet", "/v1/authorize") => {
                (EFI_BASIC, r#"{"access_token":""#, r#"","token_type":"Bearer","expires_in":600}"#)
            }
            ("genpag", "/api/seller-id/tokens") => ("Bearer refresh-token", r#"{"data":""#, r#""}"#),
            _ => return Err("no such login".to_owned()),
        };
        if request.header("authorization") != expected {
            return Err("another credential".to_owned());
        }
        self.logins += 1;
        let token = format!("session-{}", self.logins);
        self.session = format!("Bearer {token}");
        Ok(plain(200, format!("{begin}{token}{end}")))
    }

    fn look_up(&mut self, path: String, request: &Request) -> Result<Answer, String> {
        let (_, routes) =
            ROUTES.iter().find(|(provider, _)| *provider == self.provider).ok_or("no provider")?;
        if !routes.iter().any(|route| path.starts_with(route)) {
            return Err("no such route".to_owned());
        }
        let (name, expected) = match self.provider.as_str() {
            "picpay" => ("x-picpay-token", "picpay-token"),
            "fourp" => ("x-api-key", "api-key"),
            // Its credential is part of the route.
            "yapay" => ("authorization", ""),
            _ => ("authorization", self.session.as_str()),
        };
        if request.header(name) != expected {
            return Err("another credential".to_owned());
        }
        let nth = self.asked.iter().position(|asked| *asked == path).unwrap_or(self.asked.len());
        if nth == self.asked.len() {
            self.asked.push(path);
        }
        self.answers.get(nth).cloned().ok_or_else(|| "the case has no answer to it".to_owned())
    }
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

fn plain(status: u16, body: String) -> Answer {
    Answer { status, content_type: "application/json", body: body.into_bytes() }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        let length = reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let (method, target) = first.split_once(' ')?;
    let (method, target) = (method.to_owned(), target.split(' ').next()?.to_owned());
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    Some(Request { method, target, headers })
}
