//! A real daemon in a directory of its own, on a port of the kernel's choice. Nothing of it outlives the test.

use super::place::{Place, both};
use super::{Bank, Client, Setup};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Opening a database after a kill replays its log, in an unoptimised build on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(45);

/// Every scope of the routes there are.
pub const ALL_SCOPES: &str = "orders:read orders:write ledger:read events:read balances:read callbacks:read callbacks:write webhooks:read webhooks:write admin";

pub struct Daemon {
    place: Place,
    child: Option<Child>,
    base: String,
    token: String,
    printed: Arc<Mutex<String>>,
}

impl Daemon {
    /// A daemon with one account at this bank.
    pub fn start(bank: &Bank) -> Daemon {
        Daemon::with(Setup::new(bank))
    }

    pub fn with(setup: Setup) -> Daemon {
        Daemon::at(Place::new(setup))
    }

    pub fn at(place: Place) -> Daemon {
        let printed = Arc::new(Mutex::new(String::new()));
        let mut daemon = Daemon { place, child: None, base: String::new(), token: String::new(), printed };
        daemon.launch();
        if !has_own_keys(&daemon.place.setup) {
            daemon.token = daemon.place.token(ALL_SCOPES, &[]);
        }
        daemon
    }

    fn launch(&mut self) {
        let mut command = self.place.command(&["serve"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (ready, listening) = channel();
        follow(child.stdout.take().unwrap(), Arc::clone(&self.printed), Some(ready));
        follow(child.stderr.take().unwrap(), Arc::clone(&self.printed), None);
        self.child = Some(child);
        self.base = self.await_ready(&listening);
    }

    fn await_ready(&mut self, listening: &Receiver<String>) -> String {
        match listening.recv_timeout(START_MAX) {
            Ok(line) => {
                let base = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("stdout says {line}"));
                assert!(
                    base.starts_with("http://127.0.0.1:") || base.starts_with("https://127.0.0.1:"),
                    "stdout says {line}"
                );
                base.to_owned()
            }
            Err(error) => panic!("the daemon is not ready ({error}); it printed:\n{}", self.printed()),
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn data(&self) -> PathBuf {
        self.place.data()
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running daemon").id()
    }

    /// All that was printed so far on both outputs.
    pub fn printed(&self) -> String {
        self.printed.lock().unwrap().clone()
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        Client::new(&self.base, Some(&self.token))
    }

    pub fn anonymous(&self) -> Client {
        Client::new(&self.base, None)
    }

    pub fn client_by(&self, token: &str) -> Client {
        Client::new(&self.base, Some(token))
    }

    /// A client with less: a scope, and further arguments of `razao token`.
    pub fn client_with(&self, scope: &str, more: &[&str]) -> Client {
        self.client_by(&self.place.token(scope, more))
    }

    /// The end without warning.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("a running daemon");
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the daemon ended by itself: {status}\n{}", self.printed());
    }

    /// The orderly end by SIGTERM, which must be exit 0.
    pub fn stop(&mut self) {
        self.stop_by("TERM");
    }

    pub fn stop_by(&mut self, signal: &str) {
        self.signal(signal);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{signal} ended it with {status}\n{}", self.printed());
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.pid())]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end that a signal has begun.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a running daemon");
        let deadline = std::time::Instant::now() + STOP_MAX;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if std::time::Instant::now() > deadline {
                self.child = Some(child);
                panic!("the daemon did not end within {STOP_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Another run on the same directory, on another port.
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// `razao verify` on the data of a daemon that is not running.
    pub fn assert_verifies(&self) {
        let output = self.place.cli(&["verify"]);
        assert_eq!(output.status.code(), Some(0), "razao verify:\n{}", both(&output));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("--- the daemon printed ---\n{}", self.printed());
        }
    }
}

fn has_own_keys(setup: &Setup) -> bool {
    setup.auth.contains("[[auth.keys]]")
}

/// Keeps what is printed; the first line goes to whoever waits for it.
fn follow(pipe: impl Read + Send + 'static, kept: Arc<Mutex<String>>, first: Option<Sender<String>>) {
    std::thread::spawn(move || {
        let mut first = first;
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            kept.lock().unwrap().push_str(&text);
            if let Some(first) = first.take() {
                let _ = first.send(text.trim_end().to_owned());
            }
            line.clear();
        }
    });
}
