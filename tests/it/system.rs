//! What operators look at: health, readiness, status, the API's own description.

use crate::support::{ANY, Act, Bank, Daemon, Setup};
use serde_json::Value;

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let bare = daemon.anonymous();
    assert_eq!(bare.get("/healthz").await.status, 200);
    assert_eq!(bare.get("/readyz").await.status, 200);
    bare.get("/v1/admin/status").await.problem(401, ANY);
}

#[tokio::test]
async fn the_status_counts_and_names() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).resolver("first_pause = \"2s\"\nmax_pause = \"5s\"\n");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let fresh = client.get("/v1/admin/status").await.ok();
    assert!(fresh["version"].is_string() && !fresh["data_version"].is_null(), "{fresh}");
    assert_eq!(fresh["head"]["seq"], 0);
    assert_eq!(fresh["receipts"]["pending"], 0);
    bank.says("PED-1", "paid", "10", "0");
    client.news("PED-1").await;
    bank.hold();
    client.callback("PED-1").await;
    bank.wait_for_query("PED-1");
    let busy = client.get("/v1/admin/status").await.ok();
    assert_eq!(busy["receipts"]["pending"], 1, "in flight: {busy}");
    let head = client.get("/v1/ledger/head").await.ok();
    assert_eq!((&busy["head"]["seq"], &busy["head"]["hash"]), (&head["seq"], &head["hash"]));
    bank.release();
    client.idle().await;
    bank.always(Act::Answer(500, "", Vec::new()));
    client.callback("PED-1").await;
    crate::support::until("a receipt that waits for its next try", async || {
        let status = client.get("/v1/admin/status").await.ok();
        (status["receipts"]["retrying"] == 1).then_some(())
    })
    .await;
    let text = client.get("/v1/admin/status").await.text();
    assert!(text.contains("loja-picpay"), "per account: {text}");
}

#[tokio::test]
async fn the_description_names_every_route() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let document = daemon.anonymous().get("/openapi.json").await.is(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let routes = [
        ("put", "/v1/orders/{account}/{reference}"),
        ("get", "/v1/orders/{account}/{reference}"),
        ("get", "/v1/orders"),
        ("get", "/v1/orders/{account}/{reference}/history"),
        ("post", "/v1/orders/{account}/{reference}/poll"),
        ("get", "/v1/ledger"),
        ("get", "/v1/ledger/{seq}"),
        ("get", "/v1/ledger/head"),
        ("get", "/v1/stream"),
        ("get", "/v1/events"),
        ("get", "/v1/balances"),
        ("get", "/v1/callbacks"),
        ("get", "/v1/callbacks/{id}"),
        ("post", "/v1/callbacks/{id}/reprocess"),
        ("get", "/v1/discrepancies"),
        ("post", "/v1/discrepancies/{id}/resolve"),
        ("get", "/v1/admin/status"),
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("post", "/callbacks/{account}"),
    ];
    for (method, path) in routes {
        let operation = &document["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{method} {path}");
    }
    let schemes = &document["components"]["securitySchemes"];
    assert!(schemes.as_object().is_some_and(|all| !all.is_empty()), "the bearer token is described");
}

#[tokio::test]
async fn a_broken_answer_never_shows_the_inside() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for path in ["/", "/v1", "/v1/", "/v2/orders", "/v1/orders/", "/.env", "/v1/ledger/head/x"] {
        let reply = client.get(path).await;
        assert!(reply.status == 200 || reply.status == 404, "{path}: {}", reply.status);
        let text = reply.text();
        assert!(!text.contains("panicked") && !text.contains(".rs:"), "{path}: {text}");
    }
    let wrong = client.send(client.request("DELETE", "/v1/orders/loja-picpay/PED-1")).await;
    wrong.problem(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), Some("GET, PUT"));
    let wrong = client.send(client.request("DELETE", "/readyz")).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(client.get("/v1/orders").await.ok()["next_cursor"], Value::Null);
}
