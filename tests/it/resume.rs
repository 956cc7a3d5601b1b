//! Readers of the stream that are cut off and come back, by other programs too: no gap, no duplicate.

use crate::support::sse::{Frame, Sse};
use crate::support::{Bank, Client, Daemon, Dice, PATIENCE, interop, run, tool, wait_for};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

async fn registered(client: &Client, prefix: &str, count: usize) {
    let puts = (0..count).map(|n| {
        let client = client.clone();
        async move { client.register(&format!("{prefix}-{n}"), "1.00").await }
    });
    futures_util::future::join_all(puts).await;
}

#[tokio::test]
async fn cut_off_anywhere_and_resumed_nothing_is_missing_or_twice() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut dice = Dice::new(7);
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for burst in 0..12 {
                registered(&client, &format!("PED-{burst}"), 10).await;
            }
        })
    };
    let mut ids: Vec<u64> = Vec::new();
    while ids.len() < 120 {
        let mut stream = match ids.last() {
            None => Sse::open(&client, "?from=1", None).await,
            Some(last) => Sse::open(&client, "", Some(*last)).await,
        };
        for _ in 0..=dice.below(20) {
            if ids.len() < 120 {
                ids.push(stream.event().await.0);
            }
        }
        // Dropped here with whatever was on its way.
    }
    writer.await.unwrap();
    assert_eq!(ids, (1..=120).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_restart_ends_the_stream_and_the_reader_goes_on_after_its_last_id() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let mut ids: Vec<u64> = Vec::new();
    let mut expected = 0;
    for round in 0..4 {
        let client = daemon.client();
        let mut stream = match ids.last() {
            None => Sse::open(&client, "?from=1", None).await,
            Some(last) => Sse::open(&client, "", Some(*last)).await,
        };
        registered(&client, &format!("PED-{round}"), 10).await;
        expected += 10;
        // In some rounds the reader is cut off before it has read everything.
        let up_to = if round % 2 == 0 { expected } else { expected - 4 };
        while ids.last().is_none_or(|last| *last < up_to) {
            ids.push(stream.event().await.0);
        }
        if round % 2 == 0 {
            daemon.kill_9();
        } else {
            daemon.stop();
        }
        let ended = async {
            loop {
                match stream
                    .next_within(Duration::from_secs(10))
                    .await
                    .expect("the stream outlives the daemon")
                {
                    Frame::End => break,
                    Frame::Event { id, .. } => ids.push(id),
                    Frame::Comment(_) => {}
                }
            }
        };
        ended.await;
        daemon.restart();
    }
    let mut stream = Sse::open(&daemon.client(), "", ids.last().copied()).await;
    registered(&daemon.client(), "LAST", 1).await;
    while ids.last().is_none_or(|last| *last < expected + 1) {
        ids.push(stream.event().await.0);
    }
    assert_eq!(ids, (1..=expected + 1).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_script_of_the_standard_library_resumes() {
    let Some(python) = tool("python3") else { return };
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    registered(&daemon.client(), "PED", 50).await;
    let mut command = Command::new(python);
    command
        .arg(interop("sse.py"))
        .arg(daemon.base())
        .arg(daemon.token())
        .args(["--cut", "7", "--total", "50"]);
    let output = run(&mut command);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let seqs: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seqs, (1..=50).collect::<Vec<u64>>());
}

/// Follows the stream with curl until an id has come, then cuts it off.
fn curl_ids(daemon: &Daemon, curl: &std::path::Path, position: &[&str], last: u64) -> Vec<u64> {
    let mut child = Command::new(curl)
        .args(["-N", "-s", "-S", "--max-time", "60", "--noproxy", "*"])
        .args(["-H", &format!("Authorization: Bearer {}", daemon.token())])
        .args(position)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, ids) = channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let id = line.strip_prefix("id:").and_then(|id| id.trim().parse::<u64>().ok());
            if id.is_some_and(|id| sender.send(id).is_err()) {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    wait_for(PATIENCE, "curl's next id", || {
        seen.extend(ids.try_iter());
        seen.last().is_some_and(|id| *id >= last).then_some(())
    });
    let _ = child.kill();
    let _ = child.wait();
    seen
}

#[tokio::test]
async fn curl_follows_and_resumes() {
    let Some(curl) = tool("curl") else { return };
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    registered(&daemon.client(), "PED", 20).await;
    let from = format!("{}/v1/stream?from=1", daemon.base());
    let first = curl_ids(&daemon, &curl, &[&from], 20);
    assert_eq!(first, (1..=20).collect::<Vec<u64>>());
    registered(&daemon.client(), "MORE", 20).await;
    let bare = format!("{}/v1/stream", daemon.base());
    let second = curl_ids(&daemon, &curl, &["-H", "Last-Event-ID: 20", &bare], 40);
    assert_eq!(second, (21..=40).collect::<Vec<u64>>());
}
