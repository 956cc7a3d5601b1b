//! What is kept of a person can be erased: on request and by time. Afterwards nobody finds it in the data directory, and
//! the ledger is what it was.

use crate::support::client::order_path;
use crate::support::hooks::{SOON, make, quiet};
use crate::support::shop::{Reaction, Shop};
use crate::support::{ANY, Bank, Client, Daemon, SELLER_TOKEN, Setup, until};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const NAME: &str = "Maria Quitéria de Jesus";
const CPF: &str = "529.982.247-25";
const EMAIL: &str = "maria.quiteria@example.com";
const OTHER: &str = "João Ubaldo Ribeiro";

/// Every file below a directory, as one sequence of bytes each.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    let first = text[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(text) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// A text as it is, and its core in base64 wherever it may begin.
fn writings(text: &str) -> Vec<Vec<u8>> {
    let mut all = vec![text.as_bytes().to_vec()];
    for before in 0..3 {
        let padded = [&b"xx"[..before], text.as_bytes()].concat();
        let coded = STANDARD_NO_PAD.encode(padded);
        // The first and last characters mix with what stands around.
        all.push(coded.as_bytes()[4..coded.len() - 4].to_vec());
    }
    all
}

fn is_in_files(dir: &Path, text: &str) -> bool {
    let writings = writings(text);
    files(dir).iter().any(|bytes| writings.iter().any(|writing| holds(bytes, writing)))
}

/// Whether a text can be read in the database's files with the keys of a `slots` file: a sealed value is a byte 2, the
/// slot's number in eight, and the text under the slot's key by ChaCha20-Poly1305. What sealing zeros gives is the stream
/// that any value of that key is mixed with.
fn is_readable(db: &Path, slots: &[u8], text: &str) -> bool {
    let count = (slots.len() / 32 - 1) as u64;
    files(db).iter().any(|bytes| {
        (0..bytes.len().saturating_sub(9)).filter(|at| bytes[*at] == 2).any(|at| {
            let slot = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().unwrap());
            slot < count && {
                let place = (usize::try_from(slot).unwrap() + 1) * 32;
                let sealed = &bytes[at + 9..bytes.len().min(at + 9 + 2_000)];
                let stream = stream(&slots[place..place + 32], sealed.len());
                let plain: Vec<u8> = sealed.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect();
                holds(&plain, text.as_bytes())
            }
        })
    })
}

fn stream(secret: &[u8], length: usize) -> Vec<u8> {
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, secret).unwrap());
    let mut zeros = vec![0; length];
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    cipher.seal_in_place_append_tag(nonce, Aad::empty(), &mut zeros).unwrap();
    zeros
}

fn slots(daemon: &Daemon) -> Vec<u8> {
    fs::read(daemon.data().join("slots")).unwrap()
}

async fn callback(client: &Client, body: String) -> crate::support::Reply {
    client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body.into_bytes())).await
}

fn buyer(order: &str, name: &str) -> Value {
    json!({"referenceId": order, "buyer": {"name": name, "document": CPF, "email": EMAIL}})
}

async fn erase(client: &Client, order: &str) -> Value {
    client.delete(&format!("/v1/receipts?account=loja-picpay&order={order}")).await.is(200)
}

/// Everything that can hold something of a person with PED-1: bodies, a long one and one that was not readable among
/// them, metadata, a reason, a shop's answer, a kept answer. And one body of somebody else.
async fn lives(daemon: &Daemon, bank: &Bank, shop: &Shop) -> Value {
    let client = daemon.client();
    shop.always(|received| {
        let told = if received.order() == "PED-1" { NAME } else { OTHER };
        Reaction::Answer(200, String::new(), format!("thanks, {told}").into_bytes())
    });
    make(&client, &shop.url(), json!({})).await;
    let metadata = json!({"buyer": NAME, "email": EMAIL});
    let order = json!({"amount": "10.00", "currency": "BRL", "metadata": metadata});
    client.put(&order_path("PED-1"), &order).await.is(201);
    bank.says("PED-1", "paid", "10", "0");
    bank.says("PED-2", "paid", "10", "0");
    let mut long = buyer("PED-1", NAME);
    long["filler"] = json!(format!("{NAME} ").repeat(5_000));
    let first = callback(&client, buyer("PED-1", NAME).to_string()).await.is(200);
    callback(&client, long.to_string()).await.is(200);
    callback(&client, buyer("PED-1", NAME).to_string() + " trailing").await.problem(400, ANY);
    callback(&client, buyer("PED-2", OTHER).to_string()).await.is(200);
    client.idle().await;
    bank.says_legacy("PED-1", "expired");
    client.news("PED-1").await;
    let open = client.all("/v1/discrepancies").await;
    let resolve = format!("/v1/discrepancies/{}/resolve", open[0]["id"].as_str().unwrap());
    client.post(&resolve, &json!({"action": "keep", "reason": format!("{NAME} called us")})).await.ok();
    let lines = json!({"orders": [{"account": "loja-picpay", "reference": "PED-1", "amount": "10.00", "currency": "BRL"}]});
    let request = client.request("POST", "/v1/orders:batch").header("idempotency-key", "batch-1");
    client.send(request.header("content-type", "application/json").body(lines.to_string())).await.is(200);
    client.idle().await;
    quiet(&client).await;
    first
}

#[tokio::test]
async fn after_an_erasure_nothing_of_a_person_is_found_and_the_ledger_is_what_it_was() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let mut daemon = Daemon::with(Setup::new(&bank).webhooks(SOON).log("level = \"debug\""));
    let first = lives(&daemon, &bank, &shop).await;
    let client = daemon.client();
    let head = async || client.get("/v1/ledger/head").await.ok()["hash"].clone();
    let (before, data) = (head().await, daemon.data());
    let set_aside = slots(&daemon);
    assert!(is_readable(&data.join("db"), &set_aside, NAME), "before, it is there for whoever has the keys");

    let erased = erase(&client, "PED-1").await;
    let count = |name: &str| erased[name].as_u64().unwrap_or_else(|| panic!("{erased}"));
    assert_eq!((count("bodies"), count("metadata"), count("reasons")), (4, 1, 1), "{erased}");
    assert!(count("webhook_answers") >= 4 && count("kept_answers") == 1, "{erased}");
    let again = erase(&client, "PED-1").await;
    for name in ["bodies", "metadata", "reasons", "webhook_answers", "kept_answers"] {
        assert_eq!(again[name], 0, "{again}");
    }
    assert!(!client.get(&order_path("PED-1")).await.text().contains(NAME));
    let receipt = first["receipt"].as_str().unwrap();
    let reprocess = format!("/v1/callbacks/{receipt}/reprocess");
    client.post(&reprocess, &json!({})).await.problem(409, "body-erased");
    assert_eq!(head().await, before, "no entry and no hash has changed");

    let now = slots(&daemon);
    for running in [true, false] {
        for text in [NAME, CPF, EMAIL] {
            assert!(!is_in_files(&data, text), "{text} is in a file, running: {running}");
            assert!(!daemon.printed().contains(text), "{text} is in the log");
        }
        assert!(!is_readable(&data.join("db"), &now, NAME), "{NAME} can be read with the keys");
        assert!(is_readable(&data.join("db"), &now, OTHER), "what was not erased can");
        if running {
            daemon.stop();
        }
    }
    assert!(
        is_readable(&data.join("db"), &set_aside, NAME),
        "with the keys set aside it would have been found: the database still has the bytes"
    );
    daemon.assert_verifies();
    daemon.restart();
    let other = daemon.client().all("/v1/callbacks?order=PED-2").await;
    let reprocess = format!("/v1/callbacks/{}/reprocess", other[0]["id"].as_str().unwrap());
    daemon.client().post(&reprocess, &json!({})).await.is(202);
}

#[tokio::test]
async fn a_kill_after_the_answer_brings_nothing_back() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let mut daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    lives(&daemon, &bank, &shop).await;
    erase(&daemon.client(), "PED-1").await;
    daemon.kill_9();
    let (data, now) = (daemon.data(), slots(&daemon));
    assert!(!is_readable(&data.join("db"), &now, NAME));
    daemon.restart();
    assert_eq!(erase(&daemon.client(), "PED-1").await["bodies"], 0);
    assert!(!daemon.client().get(&order_path("PED-1")).await.text().contains(NAME));
    daemon.stop();
    daemon.assert_verifies();
}

#[tokio::test]
async fn who_may_erase_and_what_must_be_named() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for query in
        ["", "?account=loja-picpay", "?order=PED-1", "?account=loja-picpay&order=", "?account=a&order=b&x=y"]
    {
        client.delete(&format!("/v1/receipts{query}")).await.problem(400, ANY);
    }
    let path = "/v1/receipts?account=loja-picpay&order=PED-1";
    daemon.anonymous().delete(path).await.problem(401, ANY);
    daemon.client_with("orders:read orders:write callbacks:write", &[]).delete(path).await.problem(403, ANY);
    daemon.client_with("admin", &["--accounts", "loja-b"]).delete(path).await.problem(404, ANY);
    // An order that nobody knows: nothing to erase is no error.
    assert_eq!(client.delete(path).await.is(200)["bodies"], 0);
}

#[tokio::test]
async fn bodies_and_then_callbacks_go_with_time_and_what_entries_name_stays() {
    let bank = Bank::open();
    let setup = Setup::new(&bank)
        .env("RAZAO__DATA__RECEIPT_RETENTION", "1s")
        .env("RAZAO__DATA__HISTORY_RETENTION", "2s");
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let first = callback(&client, buyer("PED-1", NAME).to_string()).await.is(200);
    let first = first["receipt"].as_str().unwrap().to_owned();
    client.settled(&first).await;
    let second = client.callback("PED-1").await;
    let path = |id: &str| format!("/v1/callbacks/{id}");
    until("the callback that no entry names to be gone", async || {
        (client.get(&path(&second)).await.status == 404).then_some(())
    })
    .await;
    let reprocess = client.post(&format!("{}/reprocess", path(&first)), &json!({})).await;
    reprocess.problem(409, "body-erased");
    let kept = client.get(&path(&first)).await.ok();
    assert_eq!(kept["outcome"], "applied", "entries name it: {kept}");
    assert!(!kept["entries"].as_array().unwrap().is_empty(), "{kept}");
    let status = client.get("/v1/admin/status").await.ok();
    assert_eq!(status["receipts"], json!({"pending": 0, "retrying": 0, "failed": 0}));
    daemon.stop();
    let (data, now) = (daemon.data(), slots(&daemon));
    assert!(!is_readable(&data.join("db"), &now, NAME) && !is_in_files(&data, NAME));
    daemon.assert_verifies();
}
