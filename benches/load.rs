//! The load table of the README: callbacks over HTTP against the daemon, and in the same run against a bare handler that
//! reads the same body and answers 200, and against one that also appends it to a plain file with group-committed
//! `fdatasync`. `cargo bench --bench load` prints it; `-- --seconds 5` measures each cell longer.
//!
//! All traffic stays on loopback; every cell ends by itself.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::float_arithmetic)]

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
const GROUP_MAX: usize = 64;

/// How one server did.
struct Figures {
    count: u64,
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn main() {
    // `cargo test --benches` runs it once, briefly.
    let arguments: Vec<String> = std::env::args().collect();
    let once = !arguments.iter().any(|argument| argument == "--bench");
    let seconds = arguments
        .iter()
        .position(|argument| argument == "--seconds")
        .map(|at| arguments[at + 1].parse().unwrap());
    let span = Duration::from_secs_f64(seconds.unwrap_or(if once { 0.2 } else { 3.0 }));
    let dir = tempfile::tempdir().unwrap();
    let (bare, plain) = (serve_bare(), serve_plain(&dir.path().join("plain")));
    let mut daemon = Daemon::start(dir.path());
    println!(
        "| connections | daemon | p50 | p99 | plain file + fdatasync | p99 | bare handler | daemon / plain | p99 / p99 | daemon / bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut callbacks = 0;
    for connections in CONNECTIONS {
        let ours = drive(daemon.port, "/callbacks/bench", connections, span);
        callbacks += ours.count;
        let plain = drive(plain, "/", connections, span);
        let bare = drive(bare, "/", connections, span);
        println!(
            "| {connections} | {:.0}/s | {:.1?} | {:.1?} | {:.0}/s | {:.1?} | {:.0}/s | {:.2} | {:.1} | {:.2} |",
            ours.per_second,
            ours.p50,
            ours.p99,
            plain.per_second,
            plain.p99,
            bare.per_second,
            ours.per_second / plain.per_second,
            ours.p99.as_secs_f64() / plain.p99.as_secs_f64(),
            ours.per_second / bare.per_second,
        );
    }
    daemon.report(dir.path(), callbacks);
    details(&dir.path().join("details"), span);
    let folded = Daemon::start(&dir.path().join("genpag"));
    let events = drive(folded.port, "/callbacks/events", 64, span * if once { 1 } else { 5 });
    println!(
        "\nGenPag events at 64 connections, acknowledged and folded: {:.0}/s, p50 {:.1?}, p99 {:.1?}",
        events.per_second, events.p50, events.p99
    );
}

/// The details call's cost apart: acknowledged, and from the callback to its event on the stream. The provider answers at
/// once, on loopback.
fn details(dir: &Path, span: Duration) {
    let provider = serve(|config| {
        config.default_service(web::to(|request: HttpRequest| async move {
            let reference = request.path().split('/').nth(4).unwrap_or_default().to_owned();
            let body = format!("{{\"referenceId\":\"{reference}\",\"status\":\"paid\",\"summary\":{{\"paid\":129.9,\"refunded\":0}}}}");
            HttpResponse::Ok().content_type("application/json").body(body)
        }));
    });
    let daemon = Daemon::start_at(dir, provider);
    let seen: Arc<Mutex<BTreeMap<u64, Instant>>> = Arc::default();
    let (follower, token, port) = (Arc::clone(&seen), daemon.token(dir), daemon.port);
    std::thread::spawn(move || follow(port, &token, &follower));
    let figures = drive(daemon.port, "/callbacks/details", 1, span);
    let sent = SENT_AT.lock().unwrap().clone();
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.lock().unwrap().len() < sent.len() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = seen.lock().unwrap();
    let mut lags: Vec<Duration> =
        sent.iter().filter_map(|(number, sent)| Some(*seen.get(number)? - *sent)).collect();
    lags.sort();
    assert_eq!(lags.len(), sent.len(), "every callback has its event");
    let at = |part: usize| lags[(lags.len() - 1) * part / 100];
    println!(
        "\nWith a details call each, 1 connection: acknowledged {:.0}/s, p50 {:.1?}, p99 {:.1?}; callback to event p50 {:.1?}, p99 {:.1?}",
        figures.per_second,
        figures.p50,
        figures.p99,
        at(50),
        at(99)
    );
}

/// Notes when each order's payment comes along the stream.
fn follow(port: u16, token: &str, seen: &Mutex<BTreeMap<u64, Instant>>) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET /v1/stream?from=1&type=order.paid HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok).filter(|line| line.starts_with("data: "))
    {
        let number =
            line.split("\"order\":\"PED-").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        if let Some(number) = number {
            seen.lock().unwrap().insert(number, Instant::now());
        }
    }
}

/// When callbacks whose events are awaited were sent.
static SENT_AT: Mutex<BTreeMap<u64, Instant>> = Mutex::new(BTreeMap::new());

static SENT: AtomicU64 = AtomicU64::new(0);

/// A callback as HTTP has it; each names an order of its own.
fn request(path: &str) -> Vec<u8> {
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    if path.ends_with("details") {
        SENT_AT.lock().unwrap().insert(number, Instant::now());
    }
    let body = if path.ends_with("events") {
        format!(
            "{{\"id\":\"e-{number}\",\"event\":\"PAYMENT.PAID\",\"data\":{{\"id\":\"p-{number}\",\"external_id\":\"PED-{number}\",\
             \"status\":\"PAID\",\"total_cents\":12990,\"inserted_at\":\"2026-03-01T12:00:00.000Z\",\"updated_at\":\"2026-03-01T12:00:01.000Z\"}},\
             \"inserted_at\":\"2026-03-01T12:00:02.000Z\"}}"
        )
    } else {
        format!("{{\"referenceId\":\"PED-{number}\",\"authorizationId\":\"555008cef7f321d00ef236333\"}}")
    };
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nx-seller-token: seller-token\r\nauthorization: webhook\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// So many connections, each with one request under way, for a while.
fn drive(port: u16, path: &'static str, connections: usize, span: Duration) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let begun = Instant::now();
    runtime.block_on(async {
        let clients = (0..connections).map(|_| {
            let took = Arc::clone(&took);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut own = Vec::new();
                while begun.elapsed() < span {
                    let sent = Instant::now();
                    stream.write_all(&request(path)).await.unwrap();
                    read_ok(&mut stream).await;
                    own.push(sent.elapsed());
                }
                took.lock().unwrap().extend(own);
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
    let elapsed = begun.elapsed();
    let mut took = took.lock().unwrap().clone();
    took.sort();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    Figures {
        count: took.len() as u64,
        per_second: took.len() as f64 / elapsed.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    }
}

/// Reads one response, which must be a 200.
async fn read_ok(stream: &mut TcpStream) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 2048]);
    loop {
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "the server hung up");
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
            return;
        }
    }
}

/// Reads the body and answers 200.
fn serve_bare() -> u16 {
    serve(|config| {
        config.default_service(web::to(|body: Bytes| async move {
            HttpResponse::Ok().body(format!("{}", body.len()))
        }));
    })
}

type Append = (Bytes, oneshot::Sender<()>);

/// The same, after the body is in a file: appended by one thread, one `fdatasync` for all that waited.
fn serve_plain(path: &Path) -> u16 {
    let (queue, bodies) = sync_channel::<Append>(4096);
    let mut file = File::create(path).unwrap();
    std::thread::spawn(move || {
        while let Ok(first) = bodies.recv() {
            let mut group = vec![first];
            group.extend(bodies.try_iter().take(GROUP_MAX - 1));
            let bytes: Vec<u8> = group.iter().flat_map(|(body, _)| body.iter().copied()).collect();
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            group.into_iter().for_each(|(_, done)| {
                let _ = done.send(());
            });
        }
    });
    let queue = Data::new(queue);
    serve(move |config| {
        config.app_data(queue.clone()).default_service(web::to(
            |body: Bytes, queue: Data<SyncSender<Append>>| async move {
                let (done, synced) = oneshot::channel();
                queue.send((body, done)).unwrap();
                synced.await.unwrap();
                HttpResponse::Ok().body("1")
            },
        ));
    })
}

fn serve(configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let factory = move || App::new().configure(configure.clone());
            HttpServer::new(factory)
                .workers(2)
                .disable_signals()
                .listen(listener)
                .unwrap()
                .run()
                .await
                .unwrap();
        });
    });
    port
}

/// The daemon, a process of its own, on a data directory of its own. Its provider is nowhere: what is measured is the
/// acknowledgement.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(dir: &Path) -> Daemon {
        Daemon::start_at(dir, 9)
    }

    /// With a provider on this port for the account `details`.
    fn start_at(dir: &Path, provider: u16) -> Daemon {
        std::fs::create_dir_all(dir).unwrap();
        let config = dir.join("config.toml");
        let toml = "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = \"data\"\nmin_free = \"1MiB\"\n[log]\nlevel = \"off\"\n\
                    [limits]\ncallbacks_per_account = \"\"\n[resolver]\nfirst_pause = \"1h\"\nmax_pause = \"1h\"\n\
                    [[accounts]]\nid = \"bench\"\nprovider = \"picpay\"\nbase_url = \"http://127.0.0.1:9\"\n\
                    [accounts.credentials]\npicpay_token = \"token\"\nseller_token = \"seller-token\"\n\
                    [[accounts]]\nid = \"events\"\nprovider = \"genpag\"\nbase_url = \"http://127.0.0.1:9\"\n\
                    [accounts.credentials]\nwebhook_authorization = \"webhook\"\nseller_id = \"s\"\naccess_token = \"a\"\n";
        let details = format!(
            "[[accounts]]\nid = \"details\"\nprovider = \"picpay\"\nbase_url = \"http://127.0.0.1:{provider}\"\n\
             [accounts.credentials]\npicpay_token = \"token\"\nseller_token = \"seller-token\"\n"
        );
        std::fs::write(&config, format!("{toml}{details}")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_razao"))
            .args(["--config", config.to_str().unwrap(), "serve"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect(&line);
        Daemon { child, port }
    }

    fn token(&self, dir: &Path) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_razao"));
        command.arg("--config").arg(dir.join("config.toml")).args(["token", "--scope", "events:read"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    /// What it cost on disk and in memory.
    fn report(&mut self, dir: &Path, callbacks: u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap_or("unknown")
            .trim()
            .to_owned();
        let bytes: u64 = walk(&dir.join("data"));
        println!("\nabout {} bytes on disk a callback, peak memory {peak}", bytes / callbacks.max(1));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walk(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}
