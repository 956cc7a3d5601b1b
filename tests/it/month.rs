//! The accountants' month that the README walks through: its blocks are typed into bash one after the other, and what
//! comes out is what the README says. The clock they play is libfaketime's.

use crate::support::journals::{self, Balances};
use crate::support::sandbox::free_port;
use crate::support::{Client, tool};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TITLE: &str = "### A month, from callbacks to a closed month in hledger\n";
const TOOLS: [&str; 5] = ["bash", "curl", "jq", "hledger", "faketime"];
/// What a block takes on a busy machine; it waits for callbacks to come and to be resolved.
const BLOCK_MAX: Duration = Duration::from_secs(120);
/// How long a failed walk's programs may take to end.
const END_MAX: Duration = Duration::from_secs(10);
/// Stands in the README for whatever comes out there.
const ANYTHING: &str = "…";
const END: &str = "--- the end of a block ---";

/// Commands, and what the README says comes out.
struct Block {
    commands: String,
    outcome: Option<String>,
}

fn blocks() -> Vec<Block> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section =
        page.split(TITLE).nth(1).expect("the README has the section").split("\n### ").next().unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    for fenced in section.split("```").skip(1).step_by(2) {
        let (kind, text) = fenced.split_once('\n').unwrap();
        match kind {
            "sh" => blocks.push(Block { commands: text.to_owned(), outcome: None }),
            "text" => blocks.last_mut().unwrap().outcome = Some(text.to_owned()),
            other => panic!("a block of {other}"),
        }
    }
    blocks
}

/// A bash that is typed into. What it starts ends with it.
struct Shell {
    dir: TempDir,
    child: Child,
    typed: ChildStdin,
    printed: Receiver<String>,
}

impl Shell {
    fn open(port: u16, sandbox_port: u16) -> Shell {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("bash");
        let ours = std::env::vars_os().map(|(key, _)| key);
        for key in ours.filter(|key| key.to_string_lossy().starts_with("RAZAO_")) {
            command.env_remove(key);
        }
        command
            .args(["-e", "-o", "pipefail"])
            .env("PATH", path_with_razao())
            .env("PORT", port.to_string())
            .env("SANDBOX_PORT", sandbox_port.to_string())
            // hledger reads files as the locale says; what is asked of loopback goes through no proxy.
            .env("LC_ALL", "C.UTF-8")
            .env("no_proxy", "*")
            .current_dir(dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.path().join("stderr")).unwrap());
        let mut child = command.spawn().unwrap();
        let typed = child.stdin.take().unwrap();
        let (lines, printed) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        Shell { dir, child, typed, printed }
    }

    /// What these commands print; the test fails when one of them does.
    fn types(&mut self, commands: &str) -> String {
        // What reads stdin must not eat the next block.
        let typed = format!("{{\n{commands}\n}} < /dev/null\necho\necho '{END}'\n");
        let written = self.typed.write_all(typed.as_bytes()).and_then(|()| self.typed.flush());
        let mut printed = String::new();
        loop {
            match self.printed.recv_timeout(BLOCK_MAX) {
                Ok(line) if line == END && written.is_ok() => return printed,
                Ok(line) => printed = printed + &line + "\n",
                Err(error) => panic!("{error} after\n{commands}\nprinted\n{printed}\n{}", self.told()),
            }
        }
    }

    /// A file of the walk's directory.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("razao-month").join(name)
    }

    fn told(&self) -> String {
        let log = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        format!(
            "stderr:\n{}\nthe daemon's log:\n{}",
            log(self.dir.path().join("stderr")),
            log(self.file("daemon.log"))
        )
    }

    /// Whether anybody was there.
    fn signal_all(&self, signal: &str) -> bool {
        let group = format!("-{}", self.child.id());
        Command::new("kill").args([signal, "--", &group]).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Whoever is left of a walk that failed is asked first: libfaketime clears up when a program ends by itself.
        self.signal_all("-TERM");
        let deadline = Instant::now() + END_MAX;
        while self.signal_all("-0") && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal_all("-KILL");
    }
}

fn path_with_razao() -> std::ffi::OsString {
    let binary = Path::new(env!("CARGO_BIN_EXE_razao"));
    let here = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(binary.parent().unwrap().to_owned()).chain(std::env::split_paths(&here));
    std::env::join_paths(dirs).unwrap()
}

/// Lines without what only aligns them.
fn lines(text: &str) -> Vec<String> {
    let aligned = text.trim_end().lines();
    aligned.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn fits(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == ANYTHING => {
            (0..=found.len()).any(|skipped| fits(rest, &found[skipped..]))
        }
        Some((line, rest)) => {
            found.split_first().is_some_and(|(it, more)| line_fits(line, it) && fits(rest, more))
        }
    }
}

fn line_fits(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once(ANYTHING) else { return expected == found };
    let Some(rest) = found.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| line_fits(after, &rest[at..]))
}

/// What is not zero in a list of balances as the API has them.
fn booked(list: &Value) -> Balances {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let balance =
        |line: &Value| ((text(&line["ledger_account"]), text(&line["currency"])), text(&line["balance"]));
    list.as_array().unwrap().iter().map(balance).filter(|(_, sum)| sum != "0.00").collect()
}

/// The same by other means than the README's own commands.
async fn assert_the_books(shell: &Shell, client: &Client) {
    let october = std::fs::read(shell.file("october.journal")).unwrap();
    let november = std::fs::read(shell.file("november.journal")).unwrap();
    let closed: Value = serde_json::from_slice(&std::fs::read(shell.file("october.json")).unwrap()).unwrap();
    let of_october = journals::hledger(&october).unwrap();
    let then = client.get(&format!("/v1/balances?as_of={}", closed["end"]["seq"])).await.ok();
    assert_eq!(of_october, booked(&then["data"]));
    assert_eq!(of_october, booked(&closed["seal"]["period"]["end_balances"]));
    let now = client.get("/v1/balances").await.ok();
    assert_eq!(journals::hledger(&[october, november].concat()).unwrap(), booked(&now["data"]));
    let shown = client.get("/v1/periods/2026-10").await.ok();
    assert_eq!((&shown["seal"], &shown["balances"]), (&closed["seal"], &then["data"]));
    assert_eq!(shown["corrections"]["count"], 1);
    let late = client.get("/v1/export?format=hledger&from=2026-11-01&balances=comment").await;
    assert_eq!(journals::hledger(&late.body).unwrap(), booked(&shown["corrections"]["balances"]));
}

#[tokio::test]
async fn the_readmes_month_ends_as_the_readme_says() {
    if TOOLS.map(tool).iter().any(Option::is_none) {
        return;
    }
    let ports = [free_port(), free_port()];
    let mut shell = Shell::open(ports[0], ports[1]);
    let mut blocks = blocks();
    assert!(blocks.len() > 10 && blocks.iter().all(|block| block.outcome.is_some()), "{}", blocks.len());
    let last = blocks.pop().unwrap();
    for block in blocks {
        walk(&mut shell, &block);
    }
    let header = shell.types("echo \"$AUTH\"");
    let token = header.trim().strip_prefix("Authorization: Bearer ").expect(&header).to_owned();
    let client = Client::new(&format!("http://127.0.0.1:{}", ports[0]), Some(&token));
    assert_the_books(&shell, &client).await;
    walk(&mut shell, &last);
    assert_eq!(shell.types("jobs -p").trim(), "", "something is left running");
}

fn walk(shell: &mut Shell, block: &Block) {
    let printed = shell.types(&block.commands);
    println!("$ {}\n{printed}", block.commands);
    let outcome = block.outcome.as_deref().unwrap_or_default();
    assert!(
        fits(&lines(outcome), &lines(&printed)),
        "the README says of\n{}\nthat it prints\n{outcome}\nbut it printed\n{printed}\n{}",
        block.commands,
        shell.told()
    );
}

#[test]
fn what_came_out_is_compared_line_by_line() {
    let same = |expected: &str, found: &str| fits(&lines(expected), &lines(found));
    assert!(same("a  1\nhash …; …\n", "a\t1\nhash 77; 5 entries\n\n"));
    assert!(same("a\n…\nb\n", "a\nx\ny\nb\n") && same("a\n…\nb\n", "a\nb\n"));
    assert!(same("…,1.00,…Z", "4,1.00,2026Z"));
    assert!(!same("a 1.00\n", "a 1.01\n") && !same("a\n", "a\nb\n") && !same("a\nb\n", "a\n"));
    assert!(!same("hash …; ok\n", "hash 77\nok\n") && !same("…\nb\n", "a\n"));
}
