//! Deliveries a second to a target on loopback, with everything they cost (reading the ledger, signing, writing down what
//! came of it), and in the same run the bare HTTP client with as many requests under way and the same body.
//! `cargo bench --bench deliveries`; `-- --orders 5000` takes more of them.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::float_arithmetic)]

use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As many as a webhook has.
const IN_FLIGHT: usize = 8;

/// What the target got.
#[derive(Default)]
struct Target {
    count: AtomicU64,
    body: Mutex<Vec<u8>>,
}

fn main() {
    // `cargo test --benches` runs it once, briefly.
    let arguments: Vec<String> = std::env::args().collect();
    let once = !arguments.iter().any(|argument| argument == "--bench");
    let named = arguments.iter().position(|argument| argument == "--orders");
    let orders = named.map_or(if once { 20 } else { 2500 }, |at| arguments[at + 1].parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let target = Arc::new(Target::default());
    let port = serve(Arc::clone(&target));
    let daemon = Daemon::start(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        many(&client, &format!("http://127.0.0.1:{}/callbacks/events", daemon.port), orders, event).await;
        let events = 2 * orders;
        let hooks = format!("http://127.0.0.1:{}/v1/webhooks", daemon.port);
        let body = format!("{{\"target\":\"http://127.0.0.1:{port}/\",\"from\":1}}");
        let begun = Instant::now();
        let made = client.post(&hooks).bearer_auth(daemon.token(dir.path())).body(body).send().await.unwrap();
        assert_eq!(made.status().as_u16(), 201, "{}", made.text().await.unwrap());
        while target.count.load(Ordering::SeqCst) < events {
            assert!(begun.elapsed() < Duration::from_secs(300), "not all came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ours = events as f64 / begun.elapsed().as_secs_f64();
        let body = String::from_utf8(target.body.lock().unwrap().clone()).unwrap();
        let begun = Instant::now();
        many(&client, &format!("http://127.0.0.1:{port}/"), events, |_| body.clone()).await;
        let bare = events as f64 / begun.elapsed().as_secs_f64();
        println!("{events} events, {} bytes each, {IN_FLIGHT} under way", body.len());
        println!("delivered {ours:.0}/s, bare client {bare:.0}/s, {:.2} of it", ours / bare);
    });
}

/// Posts so many bodies, some at the same time.
async fn many(client: &reqwest::Client, url: &str, count: u64, body: impl Fn(u64) -> String) {
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        if running.len() >= IN_FLIGHT {
            running.join_next().await.unwrap().unwrap();
        }
        let request =
            client.post(url).header("authorization", "webhook").header("content-type", "application/json");
        let request = request.body(body(number));
        running.spawn(async move {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            answer.bytes().await.unwrap();
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

/// A payment's callback that is evidence itself: two entries.
fn event(number: u64) -> String {
    format!(
        "{{\"id\":\"e-{number}\",\"event\":\"PAYMENT.PAID\",\"data\":{{\"id\":\"p-{number}\",\"external_id\":\"PED-{number}\",\
         \"status\":\"PAID\",\"total_cents\":12990,\"inserted_at\":\"2026-03-01T12:00:00.000Z\",\"updated_at\":\"2026-03-01T12:00:01.000Z\"}},\
         \"inserted_at\":\"2026-03-01T12:00:02.000Z\"}}"
    )
}

fn serve(target: Arc<Target>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = web::Data::from(target);
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let factory = move || {
                let count = |body: Bytes, target: web::Data<Target>| async move {
                    target.count.fetch_add(1, Ordering::SeqCst);
                    *target.body.lock().unwrap() = body.to_vec();
                    HttpResponse::Ok().body("noted")
                };
                App::new().app_data(target.clone()).default_service(web::to(count))
            };
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

/// The daemon, a process of its own, on a data directory of its own.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn start(dir: &Path) -> Daemon {
        let config = dir.join("config.toml");
        let toml = "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = \"data\"\nmin_free = \"1MiB\"\n[log]\nlevel = \"off\"\n\
                    [limits]\ncallbacks_per_account = \"\"\n[webhooks]\nallow_private = true\nrequire_https = false\n\
                    [[accounts]]\nid = \"events\"\nprovider = \"genpag\"\nbase_url = \"http://127.0.0.1:9\"\n\
                    [accounts.credentials]\nwebhook_authorization = \"webhook\"\nseller_id = \"s\"\naccess_token = \"a\"\n";
        std::fs::write(&config, toml).unwrap();
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
        command.arg("--config").arg(dir.join("config.toml")).args(["token", "--scope", "webhooks:write"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
