//! The daemon, a process of its own on a data directory of its own: started, followed, and asked what it cost.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub struct Daemon {
    child: Child,
    dir: PathBuf,
    pub port: u16,
}

/// CPU time so far: of the writer's thread, and of the whole process.
#[derive(Clone, Copy)]
pub struct Cpu {
    pub writer: Duration,
    pub process: Duration,
}

impl Daemon {
    /// Its accounts' provider listens on this port. Accounts `bench` and `details` ask it about every callback, `events`
    /// never.
    pub fn start(dir: &Path, provider: u16) -> Daemon {
        std::fs::create_dir_all(dir).unwrap();
        let config = dir.join("config.toml");
        let base = format!("base_url = \"http://127.0.0.1:{provider}\"\n[accounts.credentials]\n");
        let picpay = format!(
            "provider = \"picpay\"\n{base}picpay_token = \"token\"\nseller_token = \"seller-token\"\n"
        );
        let genpag = format!(
            "provider = \"genpag\"\n{base}webhook_authorization = \"webhook\"\nseller_id = \"s\"\naccess_token = \"a\"\n"
        );
        let toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = \"data\"\nmin_free = \"1MiB\"\n[log]\nlevel = \"off\"\n\
             [limits]\ncallbacks_per_account = \"\"\n[resolver]\nfirst_pause = \"1h\"\nmax_pause = \"1h\"\n\
             [[accounts]]\nid = \"bench\"\n{picpay}[[accounts]]\nid = \"details\"\n{picpay}\
             [[accounts]]\nid = \"events\"\n{genpag}"
        );
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
        Daemon { child, dir: dir.to_owned(), port }
    }

    /// Follows the stream from the beginning.
    pub fn follow(&self) -> Follower {
        let follower = Follower::default();
        let (seen, token, port) = (Arc::clone(&follower.seen), self.token("events:read"), self.port);
        std::thread::spawn(move || follow(port, &token, &seen));
        follower
    }

    pub fn token(&self, scopes: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_razao"));
        let config = self.dir.join("config.toml");
        command.arg("--config").arg(config).args(["token", "--scope", scopes]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel says about the process; zero where there is no /proc.
    pub fn cpu(&self) -> Cpu {
        let process = PathBuf::from(format!("/proc/{}", self.pid()));
        let tasks = std::fs::read_dir(process.join("task")).into_iter().flatten();
        let writer = tasks.map(|task| cpu(&task.unwrap().path())).find(|(name, _)| name == "ledger-writer");
        Cpu { writer: writer.map(|(_, time)| time).unwrap_or_default(), process: cpu(&process).1 }
    }

    /// What it cost on disk and in memory.
    pub fn report(&self, callbacks: usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
        let bytes = walk(&self.dir.join("data"));
        println!("\nabout {} bytes on disk a callback, peak memory {peak}", bytes / callbacks.max(1) as u64);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When each order's payment came along the stream.
#[derive(Default)]
pub struct Follower {
    seen: Arc<Mutex<Vec<(u64, Instant)>>>,
}

impl Follower {
    /// Waits until so many came, and gives them in the order of their numbers.
    pub fn wait_for(self, count: usize) -> Vec<(u64, Instant)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.seen.lock().unwrap().len() < count {
            assert!(Instant::now() < deadline, "every callback has its event");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort_unstable();
        seen
    }
}

fn follow(port: u16, token: &str, seen: &Mutex<Vec<(u64, Instant)>>) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET /v1/stream?from=1&type=order.paid HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok).filter(|line| line.starts_with("data: "))
    {
        let order =
            line.split("\"order\":\"PED-").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        if let Some(order) = order {
            seen.lock().unwrap().push((order, Instant::now()));
        }
    }
}

/// A process's or thread's name and CPU time, from its `stat`: fields 2, 14 and 15.
pub fn cpu(path: &Path) -> (String, Duration) {
    let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
    let Some((head, tail)) = stat.rsplit_once(") ") else { return (String::new(), Duration::ZERO) };
    let name = head.split_once('(').map(|(_, name)| name.to_owned()).unwrap_or_default();
    let ticks: u64 = tail.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    // Linux counts in hundredths of a second wherever it has an API for it.
    (name, Duration::from_millis(10 * ticks))
}

fn walk(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { walk(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}
