//! The callback door: who is turned away, with which status, and what is kept of it.

use crate::support::{ANY, Bank, Client, Daemon, Reply, SELLER_TOKEN, Setup};
use serde_json::Value;

async fn knock(client: &Client, path: &str, token: &str, body: &[u8]) -> Reply {
    client.send(client.callback_raw(path, token, body.to_vec())).await
}

const GOOD: &[u8] = br#"{"referenceId":"PED-1"}"#;

#[tokio::test]
async fn an_unknown_account_is_404() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for path in
        ["/callbacks/nobody", "/callbacks/LOJA-PICPAY", "/callbacks/", "/callbacks/loja-picpay/some-key"]
    {
        knock(&client, path, SELLER_TOKEN, GOOD).await.problem(404, ANY);
    }
    assert_eq!(bank.lines(), [""; 0]);
}

#[tokio::test]
async fn a_wrong_credential_is_401_and_asks_nothing_of_the_bank() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10.00", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let almost = &SELLER_TOKEN[..SELLER_TOKEN.len() - 1];
    for token in ["", "wrong", almost, &format!("{SELLER_TOKEN}x"), &SELLER_TOKEN.to_uppercase()] {
        knock(&client, "/callbacks/loja-picpay", token, GOOD).await.problem(401, ANY);
    }
    let bare = client.request("POST", "/callbacks/loja-picpay").body(GOOD);
    client.send(bare).await.problem(401, ANY);
    client.idle().await;
    assert_eq!(bank.lines(), [""; 0]);
    assert_eq!(client.all("/v1/callbacks").await.len(), 0, "nothing durable comes of a stranger's post");
}

#[tokio::test]
async fn an_account_with_a_key_wants_it_in_the_path() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "10.00", "0");
    let key = "chave-0123456789abcdef";
    let setup = Setup::new(&bank).account("loja-chave", &bank, &format!("callback_key = \"{key}\""));
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let path = |key: &str| format!("/callbacks/loja-chave{key}");
    for wrong in ["", "/wrong", "/chave-0123456789abcde", "/CHAVE-0123456789ABCDEF"] {
        knock(&client, &path(wrong), SELLER_TOKEN, GOOD).await.problem(404, ANY);
    }
    // The key does not replace the credential.
    knock(&client, &path(&format!("/{key}")), "wrong", GOOD).await.problem(401, ANY);
    let receipt = knock(&client, &path(&format!("/{key}")), SELLER_TOKEN, GOOD).await.is(200);
    client.settled(receipt["receipt"].as_str().unwrap()).await;
    let order = client.get("/v1/orders/loja-chave/PED-1").await.ok();
    assert_eq!(order["state"], "paid");
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_403() {
    let bank = Bank::open();
    let setup = Setup::new(&bank)
        .account("loja-longe", &bank, "callback_allow = [\"192.0.2.0/24\"]")
        .account("loja-perto", &bank, "callback_allow = [\"127.0.0.0/8\", \"192.0.2.7\"]");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    knock(&client, "/callbacks/loja-longe", SELLER_TOKEN, GOOD).await.problem(403, ANY);
    knock(&client, "/callbacks/loja-perto", SELLER_TOKEN, GOOD).await.is(200);
    // A forwarding header counts only from a trusted proxy.
    let forged = client.callback_raw("/callbacks/loja-longe", SELLER_TOKEN, GOOD.to_vec());
    client.send(forged.header("x-forwarded-for", "192.0.2.7")).await.problem(403, ANY);
}

#[tokio::test]
async fn what_this_provider_does_not_send_is_400_and_says_what_was_expected() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let long = format!("{{\"referenceId\":\"{}\"}}", "x".repeat(201));
    let huge = format!("{{\"referenceId\":\"{}\"}}", "x".repeat(10_000));
    let bodies: [&[u8]; 16] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"PED-1\"",
        b"{\"referenceId\":\"PED-1\"} trailing",
        b"{}",
        b"{\"referenceId\":null}",
        b"{\"referenceId\":\"\"}",
        b"{\"referenceId\":{\"a\":1}}",
        b"{\"referenceId\":\"PED-\xff\xfe\"}",
        b"{\"referenceId\":\"..\"}",
        b"{\"referenceId\":\".\"}",
        b"{\"referenceId\":\"a\\u0000b\"}",
        long.as_bytes(),
        huge.as_bytes(),
    ];
    for body in bodies {
        let reply = knock(&client, "/callbacks/loja-picpay", SELLER_TOKEN, body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(reply.status, 400, "{shown} was answered {}", reply.text());
        let problem = reply.problem(400, ANY);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("JSON") || detail.contains("referenceId"), "{shown}: {detail}");
    }
    assert_eq!(bank.lines(), [""; 0], "no call is made with a refused reference");
    assert_eq!(client.ledger().await.len(), 0);
}

#[tokio::test]
async fn deep_nesting_is_refused_and_harms_nothing() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let deep = format!("{{\"referenceId\":\"PED-1\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    knock(&client, "/callbacks/loja-picpay", SELLER_TOKEN, deep.as_bytes()).await.problem(400, ANY);
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_form_where_json_belongs_is_explained_and_listed() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let form = client
        .request("POST", "/callbacks/loja-picpay")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-seller-token", SELLER_TOKEN)
        .body("referenceId=PED-1&authorizationId=66b0");
    let problem = client.send(form).await.problem(400, ANY);
    assert!(problem["detail"].as_str().unwrap().contains("JSON"), "{problem}");
    // The credential was right, so the merchant can see what came: among all callbacks or among the rejected.
    let mut listed = client.all("/v1/callbacks").await;
    listed.extend(client.all("/v1/callbacks?outcome=rejected").await);
    assert!(listed.iter().any(|callback| callback["account"] == "loja-picpay"), "{listed:#?}");
}

#[tokio::test]
async fn rejections_are_listed_without_their_bodies() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = br#"{"referenceId":"PED-1","note":"do-not-keep-this"}"#;
    for _ in 0..3 {
        knock(&client, "/callbacks/loja-picpay", "wrong", body).await.problem(401, ANY);
    }
    let reply = client.get("/v1/callbacks?outcome=rejected").await;
    let rejected = reply.ok()["data"].as_array().unwrap().clone();
    assert_eq!(rejected.len(), 3, "{rejected:#?}");
    for one in &rejected {
        assert_eq!(one["account"], "loja-picpay");
        assert_eq!(one["outcome"], "rejected");
        assert_eq!(one["body"], Value::Null);
    }
    assert!(reply.text().contains("127.0.0.1"), "the address is named: {}", reply.text());
    assert!(!reply.text().contains("do-not-keep-this"));
    // They are in memory alone, and never among the receipts.
    assert_eq!(client.all("/v1/callbacks").await.len(), 0);
}

#[tokio::test]
async fn only_the_last_thousand_rejections_are_kept() {
    let bank = Bank::open();
    let setup = Setup::new(&bank).limits("callbacks_per_account = \"\"\ncallbacks_per_address = \"\"");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    for _ in 0..21 {
        let burst = (0..50).map(|_| knock(&client, "/callbacks/loja-picpay", "wrong", GOOD));
        for reply in futures_util::future::join_all(burst).await {
            assert_eq!(reply.status, 401, "{}", reply.text());
        }
    }
    assert_eq!(client.all("/v1/callbacks?outcome=rejected&limit=300").await.len(), 1000);
}

#[tokio::test]
async fn other_methods_do_not_pass() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.anonymous();
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = client.request(method, "/callbacks/loja-picpay").header("x-seller-token", SELLER_TOKEN);
        let status = client.send(request.body(GOOD)).await.status;
        assert!(status == 404 || status == 405, "{method} was answered {status}");
    }
}

#[tokio::test]
async fn every_configured_seller_token_is_accepted() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    // While a token is being changed both are valid.
    let both = format!("seller_token = [\"{SELLER_TOKEN}\", \"the-old-one-0123456789\"]");
    setup.accounts = setup.accounts.replace(&format!("seller_token = \"{SELLER_TOKEN}\""), &both);
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    knock(&client, "/callbacks/loja-picpay", SELLER_TOKEN, GOOD).await.is(200);
    knock(&client, "/callbacks/loja-picpay", "the-old-one-0123456789", GOOD).await.is(200);
    knock(&client, "/callbacks/loja-picpay", "another", GOOD).await.problem(401, ANY);
}
