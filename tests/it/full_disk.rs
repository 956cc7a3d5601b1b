//! A disk that is full, and one that cannot be written: callbacks and writes are refused in words, reads go on, nothing
//! acknowledged is lost, and with space again everything goes on by itself. On a small tmpfs, where the machine lets us
//! mount one.

use crate::support::client::order_path;
use crate::support::mount::{Mount, fill};
use crate::support::{ANY, Bank, Client, Daemon, Place, SELLER_TOKEN, Setup, run, until};
use serde_json::json;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn place(bank: &Bank) -> Place {
    Place::new(Setup::new(bank).env("RAZAO__DATA__MIN_FREE", "8MiB"))
}

/// Posts callbacks until told to stop; answers the receipts that were acknowledged.
async fn knock(client: &Client, number: usize, stop: &AtomicBool, taken: &Mutex<Vec<String>>) {
    for nth in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let body = json!({"referenceId": format!("PED-{number}-{nth}"), "x": "x".repeat(2_000)}).to_string();
        let reply =
            client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body.into_bytes())).await;
        match reply.status {
            200 => taken.lock().unwrap().push(reply.json()["receipt"].as_str().unwrap().to_owned()),
            503 => assert!(reply.header("retry-after").is_some(), "{}", reply.text()),
            other => panic!("{other}: {}", reply.text()),
        }
    }
}

#[tokio::test]
async fn a_disk_filled_to_the_last_byte_and_freed_loses_nothing_and_resumes_by_itself() {
    let bank = Bank::open();
    let place = place(&bank);
    let Some(mount) = Mount::at(&place.data(), 64) else { return };
    let mut daemon = Daemon::at(place);
    // Dropped before the daemon's directory is.
    let mount = mount;
    let client = daemon.client();
    client.register("PED-1", "10.00").await;
    let (stop, taken) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let load = async {
        futures_util::future::join_all((0..8).map(|number| knock(&client, number, &stop, &taken))).await
    };
    let story = async {
        for round in 0..3 {
            let before = taken.lock().unwrap().len();
            until("callbacks to be taken", async || {
                (taken.lock().unwrap().len() > before + 20).then_some(())
            })
            .await;
            // Under load, and as fast as it goes.
            let filler = mount.filler();
            tokio::task::spawn_blocking(move || fill(&filler)).await.unwrap();
            let ready = until("not ready", async || {
                Some(client.get("/readyz").await).filter(|reply| reply.status == 503)
            })
            .await;
            assert!(ready.problem(503, ANY)["detail"].as_str().unwrap().contains("free some space"));
            let refused =
                client.put(&order_path("PED-9"), &json!({"amount": "1.00", "currency": "BRL"})).await;
            refused.problem(503, ANY);
            assert!(refused.header("retry-after").is_some());
            assert_eq!(client.order("PED-1").await["state"], "created", "reads go on");
            client.get("/v1/ledger").await.ok();
            let status = client.get("/v1/admin/status").await.ok();
            assert_eq!(
                (&status["disk"]["writable"], &status["stopped"]),
                (&json!(false), &json!(null)),
                "{status}"
            );
            assert!(status["disk"]["free_bytes"].as_u64().unwrap() < 8 << 20, "{status}");
            assert_eq!(client.get("/healthz").await.status, 200);
            fs::remove_file(mount.filler()).unwrap();
            until(&format!("ready again, round {round}"), async || {
                (client.get("/readyz").await.status == 200).then_some(())
            })
            .await;
        }
        let before = taken.lock().unwrap().len();
        until("callbacks again", async || (taken.lock().unwrap().len() > before + 20).then_some(())).await;
        stop.store(true, Ordering::SeqCst);
    };
    futures_util::future::join(load, story).await;
    let taken = taken.lock().unwrap().clone();
    for receipt in taken {
        assert_eq!(
            client.get(&format!("/v1/callbacks/{receipt}")).await.status,
            200,
            "{receipt} was acknowledged"
        );
    }
    fill(&mount.filler());
    daemon.stop();
    // A full disk may keep it from starting; it says why, and nothing is lost.
    let output = run(&mut daemon.place().command(&["verify"]));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || told.contains("free space"), "{told}");
    fs::remove_file(mount.filler()).unwrap();
    daemon.assert_verifies();
    drop(mount);
}

#[tokio::test]
async fn a_directory_that_became_read_only_is_said_so() {
    let bank = Bank::open();
    let place = place(&bank);
    let Some(mount) = Mount::at(&place.data(), 64) else { return };
    let mut daemon = Daemon::at(place);
    let mount = mount;
    daemon.client().register("PED-1", "10.00").await;
    daemon.stop();
    assert!(mount.remount("ro"));
    let output = run(&mut daemon.place().command(&["serve"]));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("writable") && !told.contains("panicked"), "{told}");
    assert!(mount.remount("rw"));
    daemon.restart();
    assert_eq!(daemon.client().order("PED-1").await["state"], "created");
    drop(mount);
}
