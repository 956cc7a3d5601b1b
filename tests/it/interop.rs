//! Our deliveries, verified by other people's libraries of Standard Webhooks: Python's and npm's, where they are there.

use crate::support::hooks::{Hooked, SOON};
use crate::support::{interop, run, skipped, tool};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// A real delivery to someone whose secret was just rotated, in a file: its headers, its body and both secrets.
async fn delivery() -> (tempfile::TempDir, PathBuf) {
    let hooked = Hooked::with(SOON, json!({"description": "ação"})).await;
    let rotated = hooked.client().post(&format!("{}/rotate", hooked.path()), &json!({})).await.is(200);
    hooked.bank.says("PEDIDO-Ç", "paid", "10", "0");
    hooked.client().register("PEDIDO-Ç", "10.00").await;
    hooked.quiet().await;
    let received = hooked.shop.received().remove(0);
    let file = json!({
        "secrets": [rotated["secret"], hooked.secret],
        "headers": received.headers,
        "body": String::from_utf8(received.body).unwrap(),
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("delivery.json");
    std::fs::write(&path, file.to_string()).unwrap();
    (dir, path)
}

fn verifies(mut command: Command) {
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("verified with 2 secrets"), "{said}");
}

#[tokio::test]
async fn pythons_library_verifies() {
    let python = std::env::var_os("RAZAO_PYTHON").map(PathBuf::from).or_else(|| tool("python3"));
    let Some(python) = python else { return };
    let has_it = run(Command::new(&python).args(["-c", "import standardwebhooks"])).status.success();
    if !has_it {
        return skipped("Python has no standardwebhooks; .ci/run installs it");
    }
    let (_dir, path) = delivery().await;
    let mut command = Command::new(python);
    command.arg(interop("webhooks.py")).arg(path);
    verifies(command);
}

#[tokio::test]
async fn npms_library_verifies() {
    let Some(node) = tool("node") else { return };
    let Some(modules) = std::env::var_os("RAZAO_NODE_MODULES") else {
        return skipped(
            "RAZAO_NODE_MODULES names no directory with npm's standardwebhooks; .ci/run installs it",
        );
    };
    let (_dir, path) = delivery().await;
    let mut command = Command::new(node);
    command.arg(interop("webhooks.mjs")).arg(path).env("RAZAO_NODE_MODULES", modules);
    verifies(command);
}
