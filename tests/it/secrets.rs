//! Secrets stay inside: not in what is printed, not in what the API answers, whatever goes wrong.

use crate::support::socket::Socket;
use crate::support::{Act, Bank, Daemon, PICPAY_TOKEN, SELLER_TOKEN, Setup};
use serde_json::json;

const KEY: &str = "chave-secreta-0123456789abcdef";
const JWT_SECRET: &str = "the-jwt-secret-of-more-than-32-bytes-here";

#[tokio::test]
async fn no_secret_is_printed_or_answered() {
    let bank = Bank::open();
    let setup = Setup::new(&bank)
        .account("loja-chave", &bank, &format!("callback_key = \"{KEY}\""))
        .resolver(
            "first_pause = \"20ms\"\nmax_pause = \"50ms\"\ngive_up_after = \"500ms\"\ntimeout = \"1s\"\n",
        )
        // Everything that could be logged is.
        .log("level = \"trace\"");
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    let good = || json!({"referenceId": "PED-1"}).to_string().into_bytes();
    let knock = async |path: &str, token: &str, body: Vec<u8>| {
        client.send(client.callback_raw(path, token, body)).await.text()
    };
    let mut answers = String::new();
    // Callbacks that pass and callbacks that fail in every way.
    bank.says("PED-1", "paid", "10", "0");
    for (path, token) in [
        ("/callbacks/loja-picpay", SELLER_TOKEN),
        ("/callbacks/loja-picpay", "wrong-but-private-token"),
        (&format!("/callbacks/loja-chave/{KEY}"), SELLER_TOKEN),
        (&format!("/callbacks/loja-chave/{KEY}x"), SELLER_TOKEN),
        (&format!("/callbacks/loja-chave/{KEY}?secret-in-query=abc123def"), SELLER_TOKEN),
    ] {
        answers.push_str(&knock(path, token, good()).await);
        answers.push_str(&knock(path, token, b"{".to_vec()).await);
    }
    // The provider fails in ways that are tempting to log whole.
    for act in [
        Act::Answer(401, "", format!("{{\"message\":\"{PICPAY_TOKEN} is invalid\"}}").into_bytes()),
        Act::Answer(302, "location: http://127.0.0.1:1/\r\n", Vec::new()),
        Act::Drop,
        Act::Answer(500, "", b"<html>".to_vec()),
    ] {
        bank.always(act);
        client.callback("PED-2").await;
        bank.wait_for_query("PED-2");
        client.idle().await;
        answers.push_str(&client.poll("PED-1").await.text());
    }
    bank.truthful();
    let token = daemon.token().to_owned();
    answers.push_str(&client.get(&format!("/v1/orders?access_token={token}")).await.text());
    answers.push_str(&daemon.anonymous().get(&format!("/v1/stream?access_token={token}x")).await.text());
    answers.push_str(&daemon.client_by("not.a.token-but-private").get("/v1/orders").await.text());
    let ticket = client.post("/v1/tickets", &json!({})).await.is(201)["ticket"].as_str().unwrap().to_owned();
    for query in [format!("?from=1&ticket={ticket}"), format!("?from=1&access_token={token}")] {
        Socket::open(&daemon.anonymous(), &query).await.event().await;
        answers.push_str(&daemon.anonymous().get(&format!("/v1/orders{query}")).await.text());
    }
    answers.push_str(&daemon.anonymous().get(&format!("/v1/stream?ticket={ticket}")).await.text());
    let paths = [
        "/v1/orders",
        "/v1/ledger",
        "/v1/events",
        "/v1/callbacks",
        "/v1/callbacks?outcome=rejected",
        "/v1/callbacks?outcome=failed",
        "/v1/discrepancies",
        "/v1/balances",
        "/v1/admin/status",
        "/healthz",
        "/readyz",
        "/openapi.json",
    ];
    for path in paths {
        answers.push_str(&client.get(path).await.text());
    }
    for callback in client.all("/v1/callbacks").await {
        let id = callback["id"].as_str().unwrap();
        answers.push_str(&client.get(&format!("/v1/callbacks/{id}")).await.text());
    }
    assert!(answers.contains("PED-1"), "there was something to look at");
    let status = daemon.place().cli(&["serve"]);
    let mut printed = crate::support::place::both(&status);
    daemon.stop();
    printed.push_str(&daemon.printed());
    assert!(printed.contains("listening on"), "there was something to look at");
    let signature = token.rsplit('.').next().unwrap();
    let secrets = [
        PICPAY_TOKEN,
        SELLER_TOKEN,
        KEY,
        &token,
        signature,
        "wrong-but-private-token",
        "abc123def",
        "token-but-private",
        &ticket,
    ];
    for secret in secrets {
        assert!(!answers.contains(secret), "an answer of the API holds {secret}");
        if let Some(line) = printed.lines().find(|line| line.contains(secret)) {
            panic!("{secret} was printed: {line}");
        }
    }
}

#[tokio::test]
async fn configured_secrets_are_not_repeated_when_the_configuration_is_wrong() {
    let bank = Bank::open();
    let setup = Setup::new(&bank)
        .auth(&format!("[[auth.keys]]\nkid = \"a\"\nalgorithm = \"HS256\"\nsecret = \"{JWT_SECRET}\""))
        .account("loja-chave", &bank, &format!("callback_key = \"{KEY}\""));
    let place = crate::support::Place::new(setup);
    let toml = place.setup.toml(&place.data());
    // Problems right beside the secrets, where a parser likes to quote the line.
    for (from, to) in [
        ("seller_token = ", "seller_tokn = "),
        ("picpay_token = ", "picpay_token = 7\npicpay_token = "),
        ("callback_key = \"", "callback_key = [\"\"]\nx = \""),
        ("secret = \"", "secrt = \""),
        ("secret = \"", "secret = "),
    ] {
        place.write(&toml.replacen(from, to, 1));
        for command in ["check-config", "serve"] {
            let output = place.cli(&[command]);
            let text = crate::support::place::both(&output);
            assert_eq!(output.status.code(), Some(2), "{to}: {text}");
            for secret in [PICPAY_TOKEN, SELLER_TOKEN, KEY, JWT_SECRET] {
                assert!(!text.contains(secret), "{command} with {to} repeats a secret: {text}");
            }
        }
    }
}
