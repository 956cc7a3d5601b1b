//! The clients: so many connections, each with one request under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How one server did.
pub struct Figures {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    pub calls: Vec<Call>,
}

/// A callback, its 200, and the number of the order it names.
#[derive(Clone, Copy)]
pub struct Call {
    pub order: u64,
    pub sent: Instant,
    pub acknowledged: Instant,
}

static SENT: AtomicU64 = AtomicU64::new(0);

/// Posts callbacks for a while; each names an order of its own.
pub fn drive(port: u16, path: &'static str, connections: usize, span: Duration) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let begun = Instant::now();
    runtime.block_on(async {
        let clients = (0..connections).map(|_| {
            let calls = Arc::clone(&calls);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut own = Vec::new();
                while begun.elapsed() < span {
                    let order = SENT.fetch_add(1, Ordering::Relaxed);
                    let request = request(path, order);
                    let sent = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    read_ok(&mut stream).await;
                    own.push(Call { order, sent, acknowledged: Instant::now() });
                }
                calls.lock().unwrap().extend(own);
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
    let elapsed = begun.elapsed();
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    let mut took: Vec<Duration> = calls.iter().map(|call| call.acknowledged - call.sent).collect();
    let (p50, p99) = (percentile(&mut took, 50), percentile(&mut took, 99));
    Figures { per_second: calls.len() as f64 / elapsed.as_secs_f64(), p50, p99, calls }
}

pub fn percentile(values: &mut [Duration], part: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() - 1) * part / 100]
}

/// A callback as HTTP has it.
fn request(path: &str, order: u64) -> Vec<u8> {
    let body = if path.ends_with("events") {
        format!(
            "{{\"id\":\"e-{order}\",\"event\":\"PAYMENT.PAID\",\"data\":{{\"id\":\"p-{order}\",\"external_id\":\"PED-{order}\",\
             \"status\":\"PAID\",\"total_cents\":12990,\"inserted_at\":\"2026-03-01T12:00:00.000Z\",\"updated_at\":\"2026-03-01T12:00:01.000Z\"}},\
             \"inserted_at\":\"2026-03-01T12:00:02.000Z\"}}"
        )
    } else {
        format!("{{\"referenceId\":\"PED-{order}\",\"authorizationId\":\"555008cef7f321d00ef236333\"}}")
    };
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\nx-seller-token: seller-token\r\nauthorization: webhook\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
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
