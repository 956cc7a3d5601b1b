//! The history of callbacks: what came, what it led to, and how a failed one is tried again.

use crate::support::{ANY, Act, Bank, Client, Daemon, SELLER_TOKEN, Setup, until};
use serde_json::{Value, json};

const GIVES_UP_SOON: &str =
    "first_pause = \"20ms\"\nmax_pause = \"100ms\"\ngive_up_after = \"1s\"\ntimeout = \"2s\"\n";

async fn receipt(client: &Client, id: &str) -> Value {
    client.get(&format!("/v1/callbacks/{id}")).await.ok()
}

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let listed = client.all(&format!("/v1/callbacks{query}")).await;
    let mut ids: Vec<String> = listed.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn sorted(ids: &[&String]) -> Vec<String> {
    let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn each_receipt_says_what_came_of_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let applied = client.callback("PED-1").await;
    client.settled(&applied).await;
    let duplicate = client.callback("PED-1").await;
    client.settled(&duplicate).await;
    bank.says("PED-1", "authorized", "0", "0");
    let stale = client.callback("PED-1").await;
    client.settled(&stale).await;
    bank.says_legacy("PED-1", "expired");
    let conflict = client.callback("PED-1").await;
    client.settled(&conflict).await;
    for (id, outcome) in
        [(&applied, "applied"), (&duplicate, "duplicate"), (&stale, "stale"), (&conflict, "conflict")]
    {
        assert_eq!(receipt(&client, id).await["outcome"], outcome);
        assert_eq!(ids(&client, &format!("?outcome={outcome}")).await, std::slice::from_ref(id));
    }
    assert_eq!(ids(&client, "").await, sorted(&[&applied, &duplicate, &stale, &conflict]));
    assert_eq!(ids(&client, "?outcome=failed").await, [""; 0]);
}

#[tokio::test]
async fn a_receipt_leads_to_its_entries_and_back() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "2");
    let id = client.callback("PED-1").await;
    let shown = client.settled(&id).await;
    assert_eq!(shown["entries"], json!([1, 2, 3]), "{shown}");
    for entry in client.ledger().await {
        assert_eq!(entry["evidence"]["receipt"], id.as_str(), "{entry}");
    }
    assert_eq!(shown["account"], "loja-picpay");
}

#[tokio::test]
async fn a_receipt_nobody_has_is_404() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let id = client.callback("PED-1").await;
    let last = if id.ends_with('7') { "8" } else { "7" };
    let other = format!("{}{last}", &id[..id.len() - 1]);
    for absent in [other.as_str(), "x", "..%2F..", "%00", &"9".repeat(300)] {
        client.get(&format!("/v1/callbacks/{absent}")).await.problem_among(&[400, 404]);
        client
            .post(&format!("/v1/callbacks/{absent}/reprocess"), &json!({}))
            .await
            .problem_among(&[400, 404]);
    }
    client.get(&format!("/v1/callbacks/{other}")).await.problem(404, ANY);
}

#[tokio::test]
async fn what_was_given_up_is_listed_as_failed_and_can_be_tried_again() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).resolver(GIVES_UP_SOON));
    let client = daemon.client();
    bank.always(Act::Answer(500, "", b"{\"message\":\"Problema geral\"}".to_vec()));
    let id = client.callback("PED-1").await;
    let failed = client.settled(&id).await;
    assert_eq!(failed["outcome"], "failed", "{failed}");
    assert_eq!(ids(&client, "?outcome=failed").await, std::slice::from_ref(&id));
    let status = client.get("/v1/admin/status").await.ok();
    assert_eq!(status["receipts"]["failed"], 1, "{status}");
    let tries = bank.queries("PED-1");
    assert!(tries >= 2, "it was tried more than once before");
    assert!(failed.to_string().contains("500"), "the attempts say why: {failed}");
    bank.truthful();
    bank.says("PED-1", "paid", "10", "0");
    client.post(&format!("/v1/callbacks/{id}/reprocess"), &json!({})).await.ok();
    let again = until("the second try", async || {
        Some(receipt(&client, &id).await).filter(|receipt| receipt["outcome"] == "applied")
    })
    .await;
    assert_eq!(again["id"], id.as_str());
    assert_eq!(client.order("PED-1").await["state"], "paid");
    assert_eq!(client.get("/v1/admin/status").await.ok()["receipts"]["failed"], 0);
}

#[tokio::test]
async fn reprocessing_what_was_applied_books_nothing_twice() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let id = client.callback("PED-1").await;
    client.settled(&id).await;
    let before = client.ledger().await;
    let reply = client.post(&format!("/v1/callbacks/{id}/reprocess"), &json!({})).await;
    assert!(reply.status < 500, "{}", reply.text());
    client.idle().await;
    assert_eq!(client.ledger().await, before);
    // And whatever it is called now, the entries are still its own.
    assert_eq!(receipt(&client, &id).await["entries"], json!([1, 2]));
}

#[tokio::test]
async fn attempts_are_counted_while_the_provider_is_down() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for _ in 0..3 {
        bank.next(Act::Answer(503, "", b"{}".to_vec()));
    }
    bank.says("PED-1", "paid", "10", "0");
    let id = client.callback("PED-1").await;
    let shown = client.settled(&id).await;
    assert_eq!(shown["outcome"], "applied");
    let attempts = match &shown["attempts"] {
        Value::Array(list) => list.len() as u64,
        Value::Number(count) => count.as_u64().unwrap(),
        other => panic!("attempts are {other}"),
    };
    assert_eq!(attempts, 4, "{shown}");
    assert_eq!(bank.queries("PED-1"), 4);
}

#[tokio::test]
async fn lists_are_filtered_by_account_and_paged() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    let mut here = Vec::new();
    for n in 0..7 {
        bank.says(&format!("PED-{n}"), "paid", "1", "0");
        here.push(client.callback(&format!("PED-{n}")).await);
    }
    let body = json!({"referenceId": "PED-0"}).to_string().into_bytes();
    let there = client.send(client.callback_raw("/callbacks/loja-b", SELLER_TOKEN, body)).await.is(200);
    let there = there["receipt"].as_str().unwrap().to_owned();
    client.idle().await;
    here.sort();
    assert_eq!(ids(&client, "?account=loja-picpay&limit=2").await, here);
    assert_eq!(ids(&client, "?account=loja-b").await, [there]);
    assert_eq!(ids(&client, "?account=nobody").await, [""; 0]);
    assert_eq!(ids(&client, "?limit=3").await.len(), 8);
}

#[tokio::test]
async fn receipts_outlive_a_restart() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10", "0");
    let mut daemon = Daemon::start(&bank);
    let id = daemon.client().callback("PED-1").await;
    let before = daemon.client().settled(&id).await;
    daemon.restart();
    assert_eq!(receipt(&daemon.client(), &id).await, before);
}

#[tokio::test]
async fn callbacks_are_found_by_order_and_by_the_time_they_came() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut came = Vec::new();
    for n in 0..3 {
        bank.says(&format!("PED-{n}"), "paid", "1", "0");
        let id = client.callback(&format!("PED-{n}")).await;
        let at = client.settled(&id).await["received_at"].as_str().unwrap().to_owned();
        came.push((id, at));
    }
    let [(a, _), (b, at_b), (c, at_c)] = came.as_slice() else { unreachable!() };
    assert_eq!(ids(&client, "?order=PED-1").await, std::slice::from_ref(b));
    assert_eq!(ids(&client, &format!("?since={at_b}")).await, sorted(&[b, c]));
    assert_eq!(ids(&client, &format!("?until={at_c}")).await, sorted(&[a, b]));
    assert_eq!(ids(&client, &format!("?since={at_b}&until={at_c}")).await, std::slice::from_ref(b));
    client.get("/v1/callbacks?since=yesterday").await.problem(400, "invalid-parameter");
    client.get("/v1/callbacks?until=").await.problem(400, "invalid-parameter");
}

#[tokio::test]
async fn all_that_was_given_up_is_tried_again_with_one_request() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, "").resolver(GIVES_UP_SOON));
    let client = daemon.client();
    bank.always(Act::Answer(500, "", b"{}".to_vec()));
    let mut failed = Vec::new();
    for n in 0..4 {
        failed.push(client.callback(&format!("PED-{n}")).await);
    }
    let body = json!({"referenceId": "PED-0"}).to_string().into_bytes();
    let there = client.send(client.callback_raw("/callbacks/loja-b", SELLER_TOKEN, body)).await.is(200);
    let there = there["receipt"].as_str().unwrap().to_owned();
    for id in failed.iter().chain([&there]) {
        assert_eq!(client.settled(id).await["outcome"], "failed");
    }
    bank.truthful();
    for n in 0..4 {
        bank.says(&format!("PED-{n}"), "paid", "10", "0");
    }
    let oldest = receipt(&client, &failed[0]).await["received_at"].clone();
    let wanted = json!({"account": "loja-picpay", "outcome": "failed", "since": oldest});
    let narrow = daemon.client_with("callbacks:write", &["--accounts", "loja-b"]);
    let told = narrow.post("/v1/callbacks:reprocess", &wanted).await.is(202);
    assert_eq!(told, json!({"reprocessed": 0, "erased": 0, "next_cursor": null}), "not its account");
    let told = client.post("/v1/callbacks:reprocess", &wanted).await.is(202);
    assert_eq!(told, json!({"reprocessed": 4, "erased": 0, "next_cursor": null}));
    for id in &failed {
        let applied = async || Some(receipt(&client, id).await).filter(|it| it["outcome"] == "applied");
        until("the second try", applied).await;
    }
    assert_eq!(receipt(&client, &there).await["outcome"], "failed", "not asked for");
    let told = client.post("/v1/callbacks:reprocess", &wanted).await.is(202);
    assert_eq!(told["reprocessed"], 0, "nothing is left to do");
}

#[tokio::test]
async fn a_set_that_cannot_be_meant_is_not_reprocessed() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let path = "/v1/callbacks:reprocess";
    for odd in [
        json!({}),
        json!({"order": "PED-1"}),
        json!({"outcome": "rejected"}),
        json!({"outcome": "failed", "colour": "red"}),
        json!({"outcome": "failed", "since": "yesterday"}),
        json!({"account": 7}),
        json!({"account": "not an id"}),
    ] {
        client.post(path, &odd).await.problem(422, "invalid-fields");
    }
    client.post(path, &json!({"outcome": "failed", "cursor": "xyz"})).await.problem(400, ANY);
    let reader = daemon.client_with("callbacks:read", &[]);
    reader.post(path, &json!({"outcome": "failed"})).await.problem(403, ANY);
}
