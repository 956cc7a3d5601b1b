//! Acknowledged is durable: kill -9 cannot show it, since the page cache survives it. So the system calls are watched:
//! no 200 to a callback leaves before an `fdatasync` of the journal that began after the request was read.

use crate::support::{Bank, Client, Daemon, Setup, skipped, strace, tracer, wait_for};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::path::Path;

#[derive(Default, Debug)]
struct Report {
    answered: usize,
    violations: Vec<String>,
}

/// One system call; positions are line numbers of the trace, whose order is the order of events.
struct Call<'a> {
    name: &'a str,
    start: usize,
    end: usize,
    /// Path or socket, as `-yy` shows it.
    file: String,
    text: String,
    failed: bool,
}

impl Call<'_> {
    /// What was read or written, from its first byte on: the first quoted argument.
    fn data(&self) -> &str {
        self.text.split_once('"').map_or("", |(_, data)| data)
    }
}

#[tokio::test]
async fn no_200_leaves_before_the_disk_has_it() {
    let Some(trace) = traced(&[]).await else { return };
    let report = check(&trace);
    assert!(report.answered >= 50, "{} answers were seen in the trace", report.answered);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

#[tokio::test]
async fn a_daemon_that_does_not_sync_is_caught() {
    if !cfg!(debug_assertions) {
        return skipped("release builds know no deliberate faults");
    }
    let Some(trace) = traced(&[("RAZAO_FAULT", "no-sync")]).await else { return };
    let report = check(&trace);
    assert!(report.answered >= 50, "{} answers were seen in the trace", report.answered);
    assert!(!report.violations.is_empty(), "the fault was not noticed: this check proves nothing");
}

/// The trace of a daemon that took some callbacks, one after the other and many at once.
async fn traced(env: &[(&str, &str)]) -> Option<String> {
    let strace = strace()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let bank = Bank::open();
    let mut setup = env.iter().fold(Setup::new(&bank), |setup, (key, value)| setup.env(key, value));
    let calls = "trace=fdatasync,fsync,sync_file_range,pwrite64,write,writev,sendto,sendmsg,read,readv,recvfrom,recvmsg";
    let options = ["-yy", "-ttt", "-s", "256", "-e", calls];
    setup.wrapper = tracer(&strace, &options, &file);
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    load(&client).await;
    let pid = daemon.pid();
    daemon.stop();
    Some(whole(&file, pid))
}

async fn load(client: &Client) {
    for n in 0..10 {
        client.callback(&format!("SINGLE-{n}")).await;
    }
    for burst in 0..5 {
        join_all((0..16).map(|n| async move { client.callback(&format!("BURST-{burst}-{n}")).await })).await;
    }
}

/// The trace once the tracer has written the daemon's end.
fn whole(file: &Path, pid: u32) -> String {
    let pid = pid.to_string();
    wait_for(crate::support::PATIENCE, "the end of the trace", || {
        let text = String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned();
        let ended = |line: &str| line.split(' ').next() == Some(&pid) && line.contains("+++ exited");
        text.lines().any(ended).then_some(text)
    })
}

fn check(trace: &str) -> Report {
    let calls = parse(trace);
    let syncs: Vec<&Call> = calls
        .iter()
        .filter(|call| call.name == "fdatasync" && call.file.contains("/db/journal.") && !call.failed)
        .collect();
    let mut report = Report::default();
    // What each connection last asked, and when that had been read.
    let mut asked: HashMap<&str, (bool, usize)> = HashMap::new();
    let mut in_order: Vec<&Call> = calls.iter().collect();
    // What was read counts from the end of the call, what is sent from its beginning.
    let moment = |call: &Call| if is_read(call) { call.end } else { call.start };
    in_order.sort_by_key(|call| moment(call));
    for call in in_order {
        if is_read(call) && !call.failed {
            let before = asked.get(call.file.as_str()).is_some_and(|(callback, _)| *callback);
            let begins = ["GET ", "PUT ", "POST "].iter().any(|verb| call.data().starts_with(verb));
            let callback = if begins { call.data().starts_with("POST /callbacks/") } else { before };
            asked.insert(&call.file, (callback, call.end));
        }
        let sends = ["write", "writev", "sendto", "sendmsg"].contains(&call.name);
        if !sends || !call.data().starts_with("HTTP/1.1 200") {
            continue;
        }
        let Some((true, read)) = asked.get(call.file.as_str()).copied() else { continue };
        report.answered += 1;
        if !syncs.iter().any(|sync| sync.start > read && sync.end < call.start) {
            report.violations.push(format!(
                "line {}: 200 on {}, read at line {read}",
                call.start + 1,
                call.file
            ));
        }
    }
    report
}

fn is_read(call: &Call) -> bool {
    ["read", "readv", "recvfrom", "recvmsg"].contains(&call.name)
}

/// `PID TIME call(FD<file>, …) = result`, and calls that were interrupted in two lines.
fn parse(trace: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    for (number, line) in trace.lines().enumerate() {
        let mut words = line.splitn(2, char::is_whitespace);
        let (Some(pid), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((_time, rest)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, (number, begun));
        } else if rest.starts_with("<... ") {
            let Some((start, begun)) = unfinished.remove(pid) else { continue };
            let Some((_, end)) = rest.split_once(" resumed>") else { continue };
            calls.extend(call(start, number, begun, end));
        } else {
            calls.extend(call(number, number, rest, ""));
        }
    }
    calls
}

fn call<'a>(start: usize, end: usize, begun: &'a str, rest: &str) -> Option<Call<'a>> {
    let (name, arguments) = begun.split_once('(')?;
    let file = arguments.split_once('<')?.1;
    let length = [">,", ">)", "> "].iter().filter_map(|stop| file.find(stop)).min().unwrap_or(file.len());
    let text = format!("{arguments}{rest}");
    let result = text.rsplit_once(" = ")?.1.trim().to_owned();
    // A read of nothing is the end of a connection, and no request.
    let failed = result.starts_with('-') || result.starts_with('?') || (result == "0" && name.contains("re"));
    Some(Call { name, start, end, file: file[..length].to_owned(), text, failed })
}

#[test]
fn the_checker_itself() {
    let socket = "7<TCP:[127.0.0.1:8080->127.0.0.1:5000]>";
    let read = format!(
        r#"10 1.0 recvfrom({socket}, "POST /callbacks/loja HTTP/1.1\r\n", 4096, 0, NULL, NULL) = 30"#
    );
    let body =
        format!(r#"10 1.0 recvfrom({socket}, "{{\"referenceId\":\"GET \"}}", 4096, 0, NULL, NULL) = 9"#);
    let answer = format!(r#"10 1.4 sendto({socket}, "HTTP/1.1 200 OK\r\n", 17, MSG_NOSIGNAL, NULL, 0) = 17"#);
    let sync = "11 1.2 fdatasync(9</tmp/x/data/db/journal.0>) = 0";
    let (begun, done) = (
        "11 1.1 fdatasync(9</tmp/x/data/db/journal.0> <unfinished ...>",
        "11 1.3 <... fdatasync resumed>) = 0",
    );
    let other = "11 1.2 fdatasync(9</tmp/x/data/conf>) = 0";
    let failed = "11 1.2 fdatasync(9</tmp/x/data/db/journal.0>) = -1 EIO (Input/output error)";
    let found = |lines: &[&str]| {
        let report = check(&lines.join("\n"));
        (report.answered, report.violations.len())
    };
    assert_eq!(found(&[&read, sync, &answer]), (1, 0));
    assert_eq!(found(&[&read, begun, done, &answer]), (1, 0));
    assert_eq!(found(&[&read, &body, sync, &answer]), (1, 0));
    assert_eq!(found(&[&read, &answer, sync]), (1, 1), "too late");
    assert_eq!(found(&[sync, &read, &answer]), (1, 1), "before the request");
    assert_eq!(found(&[&read, sync, &body, &answer]), (1, 1), "before the rest of the request");
    assert_eq!(found(&[begun, &read, done, &answer]), (1, 1), "begun before the request");
    assert_eq!(found(&[&read, begun, &answer, done]), (1, 1), "not done yet");
    assert_eq!(found(&[&read, other, &answer]), (1, 1), "another file");
    assert_eq!(found(&[&read, failed, &answer]), (1, 1), "failed");
    let get = read.replace("POST /callbacks/loja", "GET /v1/orders");
    assert_eq!(found(&[&get, &answer]), (0, 0), "not a callback");
    let split = format!("10 1.0 recvfrom({socket},  <unfinished ...>");
    let resumed =
        r#"10 1.05 <... recvfrom resumed>"POST /callbacks/loja HTTP/1.1\r\n", 4096, 0, NULL, NULL) = 30"#;
    assert_eq!(found(&[&split, sync, resumed, &answer]), (1, 1), "read only after the sync");
    assert_eq!(found(&[&split, resumed, sync, &answer]), (1, 0));
}
