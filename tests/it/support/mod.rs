//! What every area of the suite needs: a real daemon, a simulated bank, a client, and patience with a deadline.

pub mod bank;
pub mod cases;
pub mod chain;
pub mod client;
pub mod cutter;
pub mod daemon;
pub mod hooks;
pub mod journals;
pub mod mount;
pub mod place;
pub mod sandbox;
pub mod setup;
pub mod shop;
pub mod socket;
pub mod sse;
pub mod stub;
pub mod wall;

pub use bank::{Act, Bank};
pub use client::{ANY, Client, Reply};
pub use daemon::Daemon;
pub use place::Place;
pub use setup::{PICPAY_TOKEN, SELLER_TOKEN, Setup};
pub use shop::Shop;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The account that every test has unless it says otherwise.
pub const ACCOUNT: &str = "loja-picpay";

/// How long anything may take that should happen soon.
pub const PATIENCE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until there is something, and fails the test when that takes too long.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

pub async fn until_within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The blocking twin of [`until`], for processes.
pub fn wait_for<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Text as exactly one path segment or query value.
pub fn encoded(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~').remove(b'.');
    utf8_percent_encode(text, KEPT).to_string()
}

/// Runs a program to its end, and fails the test when that takes too long.
pub fn run(command: &mut Command) -> Output {
    run_within(Duration::from_secs(60), command)
}

pub fn run_within(patience: Duration, command: &mut Command) -> Output {
    let shown = format!("{:?}", command.get_program());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    // Read beside the waiting, so that a program with much to say does not block on a full pipe.
    let stdout = drained(child.stdout.take().unwrap());
    let stderr = drained(child.stderr.take().unwrap());
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{shown} did not end within {patience:?}");
        }
        std::thread::sleep(PAUSE);
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn drained(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// A tool of the machine, if it is there. A test without its tool says so loudly instead of passing in silence.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
    });
    if found.is_none() {
        skipped(&format!("`{name}` is not installed"));
    }
    found
}

/// strace, where it is installed and may trace.
pub fn strace() -> Option<PathBuf> {
    let strace = tool("strace")?;
    let works =
        Command::new(&strace).args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        skipped("strace is here but may not trace");
        return None;
    }
    Some(strace)
}

/// What runs the daemon under strace. -D: the tracer stands aside, and the daemon stays our child, to be signalled and
/// awaited.
pub fn tracer(strace: &Path, options: &[&str], file: &Path) -> Vec<String> {
    let (strace, file) = (strace.to_str().unwrap(), file.to_str().unwrap());
    [&[strace, "-D", "-f"], options, &["-o", file]].concat().into_iter().map(str::to_owned).collect()
}

/// A Python that has a module, which `pip install {packages}` brings; `RAZAO_PYTHON` may name one.
pub fn python_with(module: &str, packages: &str) -> Option<PathBuf> {
    let python = match std::env::var_os("RAZAO_PYTHON") {
        Some(python) => python.into(),
        None => tool("python3")?,
    };
    let import = format!("import {module}");
    let known = Command::new(&python).args(["-c", &import]).output().is_ok_and(|o| o.status.success());
    if !known {
        skipped(&format!("{} has no `{module}` module (pip install {packages})", python.display()));
        return None;
    }
    Some(python)
}

/// The directory that `RAZAO_NODE_MODULES` names, if node is here and npm has installed this package there.
pub fn node_with(package: &str) -> Option<PathBuf> {
    tool("node")?;
    let dir = std::env::var_os("RAZAO_NODE_MODULES").map(PathBuf::from);
    let found = dir.filter(|dir| dir.join(package).is_dir());
    if found.is_none() {
        skipped(&format!(
            "RAZAO_NODE_MODULES names no directory with `{package}` (npm install {package} makes one)"
        ));
    }
    found
}

pub fn skipped(why: &str) {
    // Written past the harness's capture, so that it is seen among passing tests too.
    use std::io::Write;
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: {why}");
}

/// A file of this repository's tests/interop.
pub fn interop(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// A small generator for moments and orders of events: tests print its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
