//! Readers by the libraries that shops use, cut off again and again: each resumes without a gap or a duplicate.

use crate::support::cutter::Cutter;
use crate::support::{Bank, Client, Daemon, interop, node_with, python_with, run};
use std::path::Path;
use std::process::Command;

const EVENTS: u64 = 60;
/// Some ten events, and never the same place within one.
const CUT_BYTES: usize = 14_567;

async fn registered(client: &Client) {
    let puts = (0..EVENTS).map(|n| {
        let client = client.clone();
        async move { client.register(&format!("PED-{n}"), "1.00").await }
    });
    futures_util::future::join_all(puts).await;
}

/// Runs a script of tests/interop against a daemon behind a connection that breaks.
async fn resumes(mut command: Command, script: &str) {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    registered(&daemon.client()).await;
    let cutter = Cutter::before(daemon.base(), CUT_BYTES).await;
    command.arg(interop(script)).args([&cutter.base(), daemon.token(), &EVENTS.to_string()]);
    let output = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let seqs: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seqs, (1..=EVENTS).collect::<Vec<u64>>());
    assert!(cutter.cuts() >= 2, "it was cut off {} times, which proves little", cutter.cuts());
}

fn node(modules: &Path) -> Command {
    let mut command = Command::new("node");
    command.env("RAZAO_NODE_MODULES", modules);
    command
}

#[tokio::test]
async fn httpx_sse_resumes() {
    let Some(python) = python_with("httpx_sse", "httpx httpx-sse") else { return };
    resumes(Command::new(python), "sse_httpx.py").await;
}

#[tokio::test]
async fn websockets_of_python_resumes() {
    let Some(python) = python_with("websockets.sync.client", "websockets") else { return };
    resumes(Command::new(python), "ws_websockets.py").await;
}

#[tokio::test]
async fn eventsource_of_npm_resumes_by_itself() {
    let Some(modules) = node_with("eventsource") else { return };
    resumes(node(&modules), "eventsource.mjs").await;
}

#[tokio::test]
async fn ws_of_npm_resumes() {
    let Some(modules) = node_with("ws") else { return };
    resumes(node(&modules), "ws.mjs").await;
}
