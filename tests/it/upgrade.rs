//! Data that earlier versions wrote: taken forward at the start, every entry as it was, and the books go on. Each directory
//! of tests/fixtures/data was written by the program of one earlier commit, and holds what its API said of it.

use crate::support::place::{both, copy_dir};
use crate::support::{Bank, Daemon, Place, Setup};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A directory as it was left, and what was said of it then.
struct Left {
    data: PathBuf,
    told: Value,
}

fn all() -> Vec<Left> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data");
    let dirs =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let left = |dir: PathBuf| Left {
        data: dir.join("data"),
        told: serde_json::from_slice(&read(dir.join("told.json"))).unwrap(),
    };
    let all: Vec<Left> = dirs.map(left).collect();
    assert!(!all.is_empty(), "no earlier data to upgrade");
    all
}

/// A place whose data directory is a copy.
fn place(bank: &Bank, left: &Left) -> Place {
    let place = Place::new(Setup::new(bank));
    copy_dir(&left.data, &place.data());
    place
}

fn hashes(entries: &[Value]) -> Vec<&Value> {
    entries.iter().map(|entry| &entry["hash"]).collect()
}

#[tokio::test]
async fn earlier_data_is_taken_forward_and_says_the_same() {
    for left in all() {
        let bank = Bank::open();
        let mut daemon = Daemon::at(place(&bank, &left));
        let client = daemon.client();
        let told = &left.told;
        let status = client.get("/v1/admin/status").await.ok();
        assert!(status["data_version"].as_u64() > told["data_version"].as_u64(), "{status}");
        assert!(daemon.printed().contains("the data directory is migrated"), "{}", daemon.printed());

        let ledger = client.ledger().await;
        assert!(ledger.len() >= 24, "{} entries prove little", ledger.len());
        assert_eq!(hashes(&ledger), hashes(told["ledger"].as_array().unwrap()));
        let head = client.get("/v1/ledger/head").await.ok();
        assert_eq!((&head["seq"], &head["hash"]), (&told["head"]["seq"], &told["head"]["hash"]));
        let balances = client.get("/v1/balances").await.ok();
        assert_eq!(balances["data"], told["balances"]["data"]);
        let then = client.get(&format!("/v1/balances?as_of={}", head["seq"])).await.ok();
        assert_eq!(then["data"], told["balances"]["data"]);
        for order in told["orders"].as_array().unwrap() {
            let text = |name: &str| order[name].as_str().unwrap();
            let path = format!("/v1/orders/{}/{}", text("account"), text("reference"));
            let now = client.get(&path).await.ok();
            assert_eq!((&now["state"], &now["amounts"]), (&order["state"], &order["amounts"]), "{path}");
        }

        // The books go on where they were.
        bank.says("PED-1", "paid", "10", "0");
        assert_eq!(client.news("PED-1").await["state"], "paid");
        let entry = client.ledger().await.pop().unwrap();
        assert_eq!(entry["seq"].as_u64(), head["seq"].as_u64().map(|seq| seq + 1));
        assert_eq!(entry["prev_hash"], head["hash"]);
        daemon.stop();
        let verified = daemon.place().cli(&["verify"]);
        assert!(verified.status.success(), "{}", both(&verified));
        assert!(both(&verified).contains(entry["hash"].as_str().unwrap()), "{}", both(&verified));
    }
}

#[test]
fn verify_takes_a_copy_forward_too() {
    for left in all() {
        let bank = Bank::open();
        let place = place(&bank, &left);
        for _ in 0..2 {
            let verified = place.cli(&["verify"]);
            assert!(verified.status.success(), "{}", both(&verified));
            let said = both(&verified);
            assert!(said.contains(left.told["head"]["hash"].as_str().unwrap()), "{said}");
        }
    }
}
