//! Many readers of one stream: 1,000 subscribers that each see 10,000 entries, in order and none missing; live, and again
//! from the beginning, over Server-Sent Events and over WebSockets. What a subscriber costs in memory, how many events are delivered in a second and what CPU time that
//! takes, beside a bare actix handler that streams the same bytes to as many readers in the same run.
//!
//! `cargo bench --bench fanout` prints the table; `-- --subscribers 100 --entries 5000` measures others. As a test it is
//! small. All traffic stays on loopback, and the readers share the machine with what they measure.

// A bench: a panic is its report.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_arithmetic
)]

#[allow(dead_code)] // The load bench uses the rest.
#[path = "load/daemon.rs"]
mod daemon;
#[allow(dead_code)]
#[path = "load/servers.rs"]
mod servers;

use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, http::header};
use daemon::Daemon;
use futures_util::{StreamExt, stream};
use std::convert::Infallible;
use std::io::{BufRead, BufReader as BlockingReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// Orders in one request.
const BATCH: usize = 5_000;
/// As much as the daemon hands out at once.
const CHUNK_BYTES: usize = 16 * 1024;
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    if let Some(file) = value("--bare") {
        serve_bare(Path::new(&file));
    }
    let measures = std::env::args().any(|argument| argument == "--bench");
    let number = |name, usual, once| {
        value(name).map_or(if measures { usual } else { once }, |text| text.parse().unwrap())
    };
    let subscribers = number("--subscribers", 1_000, 10);
    let entries = number("--entries", 10_000, 200);
    razao::http::server::allow_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(subscribers, entries, if measures { IDLE } else { Duration::ZERO }));
}

fn value(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

async fn measure(subscribers: usize, entries: usize, idle: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), 9);
    let (pid, port) = (daemon.pid(), daemon.port);
    let token = daemon.token("orders:write events:read");
    let events = u32::try_from(subscribers * entries).unwrap();

    let before = resident_kib(pid);
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let reader = Reader::open(port, "/v1/stream?from=1", &token).await;
        readers.spawn(reader.read_to(entries));
    }
    let opened = resident_kib(pid);
    let idle_from = cpu(pid);
    tokio::time::sleep(idle).await;
    let idle_cpu = cpu(pid) - idle_from;
    println!("{subscribers} idle subscribers: {:.1} KiB each, {idle_cpu:.0?} of CPU in {idle:.0?}", {
        opened.saturating_sub(before) as f64 / subscribers as f64
    });

    println!("\n| | events/s | time | server's CPU | CPU of a million events | server's memory after |");
    println!("|---|---|---|---|---|---|");
    let live = Run::start(pid);
    register(port, &token, entries).await;
    readers.join_all().await;
    live.report("live, while they are recorded", events);

    let replay = Run::start(pid);
    follow(subscribers, entries, port, "/v1/stream?from=1", &token).await;
    replay.report("again from the beginning", events);

    let sockets = Run::start(pid);
    follow_by_sockets(subscribers, entries, port, &token).await;
    sockets.report("again, over WebSockets", events);

    let file = dir.path().join("bytes");
    std::fs::write(&file, copy_of(port, &token, entries).await).unwrap();
    let bare = Bare::start(&file);
    let run = Run::start(bare.child.id());
    follow(subscribers, entries, bare.port, "/", "none").await;
    run.report("a bare actix stream of the same bytes", events);
}

async fn follow(subscribers: usize, entries: usize, port: u16, path: &'static str, token: &str) {
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let token = token.to_owned();
        readers.spawn(async move { Reader::open(port, path, &token).await.read_to(entries).await });
    }
    readers.join_all().await;
}

async fn follow_by_sockets(subscribers: usize, entries: usize, port: u16, token: &str) {
    let mut readers = JoinSet::new();
    for _ in 0..subscribers {
        let url = format!("ws://127.0.0.1:{port}/v1/ws?from=1&access_token={token}");
        readers.spawn(async move { read_socket(&url, entries).await });
    }
    readers.join_all().await;
}

/// The same by a WebSocket library that is not ours.
async fn read_socket(url: &str, last: usize) {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let mut seen = 0;
    while seen < last {
        let message = socket.next().await.expect("the socket ended early").unwrap();
        if let Message::Text(json) = message {
            let (_, rest) = json.split_once("\"seq\":").unwrap();
            let seq: usize = rest.split(',').next().unwrap().parse().unwrap();
            assert_eq!(seq, seen + 1, "after {seen}");
            seen = seq;
        }
    }
}

struct Reader {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Reader {
    /// Comes back once the stream has begun.
    async fn open(port: u16, path: &str, token: &str) -> Reader {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Reader { stream: BufReader::with_capacity(CHUNK_BYTES, stream), line: Vec::new() };
        let status = reader.line().await;
        assert!(status.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(status));
        while !reader.line().await.starts_with(b"retry: ") {}
        reader
    }

    /// The next line; sizes of HTTP's chunks are lines too, since every chunk holds whole frames.
    async fn line(&mut self) -> &[u8] {
        self.line.clear();
        let read = self.stream.read_until(b'\n', &mut self.line).await.unwrap();
        assert!(read > 0, "the stream ended early");
        &self.line
    }

    /// Every event from the first to this one, in order, none missing and none twice.
    async fn read_to(mut self, last: usize) {
        let mut seen = 0;
        while seen < last {
            if let Some(id) = self.line().await.strip_prefix(b"id: ") {
                let id: usize = std::str::from_utf8(id).unwrap().trim_end().parse().unwrap();
                assert_eq!(id, seen + 1, "after {seen}");
                seen = id;
            }
        }
        // And its data, so that what follows is not cut off.
        assert!(self.line().await.starts_with(b"data: {"));
    }
}

/// Records so many entries.
async fn register(port: u16, token: &str, entries: usize) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for first in (0..entries).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(entries);
        let orders: Vec<_> = numbers
            .map(|n| {
                let reference = format!("PED-{n:06}");
                serde_json::json!({"account": "bench", "reference": reference, "amount": "12.90", "currency": "BRL"})
            })
            .collect();
        let body = serde_json::json!({ "orders": orders }).to_string();
        let request = client.post(format!("http://127.0.0.1:{port}/v1/orders:batch")).bearer_auth(token);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

/// The stream's own bytes, without HTTP's chunks.
async fn copy_of(port: u16, token: &str, entries: usize) -> Vec<u8> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://127.0.0.1:{port}/v1/stream?from=1");
    let mut answer = client.get(url).bearer_auth(token).send().await.unwrap();
    let (mut bytes, last) = (Vec::new(), format!("\nid: {entries}\n"));
    loop {
        let grown = bytes.len().saturating_sub(last.len());
        bytes.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
        let found = bytes[grown..].windows(last.len()).position(|window| window == last.as_bytes());
        if found.is_some() && bytes.ends_with(b"\n\n") {
            return bytes;
        }
    }
}

/// A process that streams a file to whoever asks, with nothing in between.
struct Bare {
    child: Child,
    port: u16,
}

impl Bare {
    fn start(file: &Path) -> Bare {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--bare")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BlockingReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Bare { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve_bare(file: &Path) -> ! {
    razao::http::server::allow_open_files();
    let chunks = chunks(std::fs::read(file).unwrap().into());
    let port = servers::serve(move |config| {
        let chunks = chunks.clone();
        config.default_service(web::to(move || {
            let body = stream::iter(chunks.clone()).map(Ok::<Bytes, Infallible>);
            async move { HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-cache")).streaming(body) }
        }));
    });
    println!("{port}");
    loop {
        std::thread::park();
    }
}

/// Slices of whole frames, each about as much as the daemon hands out at once.
fn chunks(bytes: Bytes) -> Vec<Bytes> {
    let (mut chunks, mut start, mut end) = (Vec::new(), 0, 0);
    for frame in bytes.split_inclusive(|byte| *byte == b'\n') {
        let blank = frame == b"\n";
        end += frame.len();
        if blank && end - start >= CHUNK_BYTES {
            chunks.push(bytes.slice(start..end));
            start = end;
        }
    }
    chunks.push(bytes.slice(start..));
    chunks
}

struct Run {
    pid: u32,
    started: Instant,
    cpu: Duration,
}

impl Run {
    fn start(pid: u32) -> Run {
        Run { pid, started: Instant::now(), cpu: cpu(pid) }
    }

    fn report(&self, what: &str, events: u32) {
        let (time, cpu) = (self.started.elapsed(), cpu(self.pid) - self.cpu);
        let rate = f64::from(events) / time.as_secs_f64();
        let million = cpu.mul_f64(1e6 / f64::from(events));
        let memory = resident_kib(self.pid) / 1024;
        println!("| {what} | {rate:.0} | {time:.1?} | {cpu:.1?} | {million:.2?} | {memory} MiB |");
    }
}

fn cpu(pid: u32) -> Duration {
    daemon::cpu(&PathBuf::from(format!("/proc/{pid}"))).1
}

/// Resident memory, where the system tells.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
