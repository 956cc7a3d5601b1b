//! A provider that answers badly: nothing it says breaks the ledger, and when it comes to its senses all is well.

use crate::support::bank::framed;
use crate::support::{Act, Bank, Daemon, Setup, until};
use serde_json::json;
use std::time::{Duration, Instant};

/// One kind of bad answer, then the truth: the receipt waits, nothing is booked meanwhile, and the truth is booked.
async fn overcome(what: &str, act: Act) {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    bank.says("PED-1", "paid", "129.9", "0");
    bank.always(act);
    let receipt = client.callback("PED-1").await;
    until("a second try", async || (bank.requests().len() >= 2).then_some(())).await;
    let order = client.order("PED-1").await;
    assert_eq!(
        (&order["state"], &order["reconciliation"]),
        (&json!("created"), &json!("unseen")),
        "{what}: {order}"
    );
    assert_eq!(client.ledger().await.len(), 1, "{what}");
    bank.truthful();
    let settled = client.settled(&receipt).await;
    assert_eq!(settled["outcome"], "applied", "{what}: {settled}");
    assert_eq!(client.order("PED-1").await["state"], "paid", "{what}");
}

fn answer(status: u16, body: &str) -> Act {
    Act::Answer(status, "", body.as_bytes().to_vec())
}

#[tokio::test]
async fn statuses_that_are_no_answer() {
    for status in [404, 422, 500, 502, 503] {
        overcome(&status.to_string(), answer(status, "{\"message\":\"no\"}")).await;
    }
}

#[tokio::test]
async fn bodies_that_are_no_answer() {
    let good = r#"{"referenceId":"PED-1","status":"paid","summary":{"paid":1,"refunded":0}}"#;
    let cases = [
        ("html", "<html><body>Bad Gateway</body></html>".to_owned()),
        ("empty", String::new()),
        ("no json", "paid".to_owned()),
        ("an array", format!("[{good}]")),
        ("half of it", good[..40].to_owned()),
        ("two of it", format!("{good}{good}")),
        ("no status", r#"{"referenceId":"PED-1"}"#.to_owned()),
        ("no reference", r#"{"status":"paid"}"#.to_owned()),
        ("a status that is no text", r#"{"referenceId":"PED-1","status":{"a":1}}"#.to_owned()),
        (
            "nested too deep",
            format!(
                r#"{{"referenceId":"PED-1","status":"paid","x":{}{}}}"#,
                "[".repeat(9999),
                "]".repeat(9999)
            ),
        ),
    ];
    for (what, body) in cases {
        overcome(what, answer(200, &body)).await;
    }
}

#[tokio::test]
async fn an_answer_about_another_order_is_never_applied() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    client.register("PED-2", "129.90").await;
    bank.says_raw(
        "PED-1",
        r#"{"referenceId":"PED-2","status":"paid","summary":{"paid":129.9,"refunded":0}}"#,
    );
    let receipt = client.callback("PED-1").await;
    until("a second try", async || (bank.queries("PED-1") >= 2).then_some(())).await;
    for reference in ["PED-1", "PED-2"] {
        assert_eq!(client.order(reference).await["state"], "created", "{reference}");
    }
    bank.says("PED-1", "paid", "129.9", "0");
    assert_eq!(client.settled(&receipt).await["outcome"], "applied");
    assert_eq!(client.order("PED-2").await["state"], "created");
}

#[tokio::test]
async fn bodies_that_are_not_utf8() {
    let body = b"{\"referenceId\":\"PED-1\",\"status\":\"pa\xffid\"}".to_vec();
    overcome("latin-1", Act::Answer(200, "", body)).await;
}

#[tokio::test]
async fn connections_that_break() {
    overcome("not a byte", Act::Drop).await;
    overcome("no http", Act::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())).await;
    overcome("half a header", Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())).await;
    let whole = framed(200, "", br#"{"referenceId":"PED-1","status":"paid"}"#);
    overcome("half a body", Act::Raw(whole[..whole.len() - 10].to_vec())).await;
    // Without a length a cut looks like an end; only the JSON shows it.
    let unframed = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"referenceId\":\"PED-1\",\"sta".to_vec();
    overcome("half a body without length", Act::Raw(unframed)).await;
}

#[tokio::test]
async fn a_body_larger_than_a_mebibyte_is_not_read() {
    let filler = "x".repeat(1_200_000);
    let body = format!(
        r#"{{"referenceId":"PED-1","status":"paid","summary":{{"paid":1,"refunded":0}},"x":"{filler}"}}"#
    );
    overcome("1.2 MB", answer(200, &body)).await;
    // Chunks have no length to look at beforehand.
    let chunk = format!("{:x}\r\n{}\r\n", body.len(), body);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    overcome("1.2 MB in a chunk", Act::Raw(format!("{head}{chunk}0\r\n\r\n").into_bytes())).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let bank = Bank::open();
    let elsewhere = Bank::open();
    elsewhere.says("PED-1", "paid", "129.9", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for status in [301, 302, 303, 307, 308] {
        let target = format!("{}/ecommerce/public/payments/PED-1/status", elsewhere.base_url());
        let head = format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        bank.next(Act::Raw(head.into_bytes()));
    }
    bank.says("PED-1", "expired", "0", "0");
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "expired");
    assert_eq!(elsewhere.lines(), [""; 0], "the credential would have gone along");
}

#[tokio::test]
async fn slow_answers_are_given_up_and_asked_again() {
    let bank = Bank::open();
    let setup =
        Setup::new(&bank).resolver("first_pause = \"20ms\"\nmax_pause = \"100ms\"\ntimeout = \"500ms\"\n");
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    bank.next(Act::Late(Duration::from_secs(4)));
    let started = Instant::now();
    let order = client.news("PED-1").await;
    assert_eq!(order["state"], "paid");
    assert!(bank.queries("PED-1") >= 2);
    assert!(started.elapsed() < Duration::from_secs(4), "it waited for the slow one");
}

#[tokio::test]
async fn refused_credentials_stop_nothing_else() {
    let bank = Bank::open();
    let other = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &other, ""));
    let client = daemon.client();
    other.says("PED-1", "paid", "10", "0");
    bank.always(answer(401, "{\"message\":\"O Token informado é inválido\"}"));
    let receipt = client.callback("PED-1").await;
    bank.wait_for_query("PED-1");
    // Another account goes on.
    client.put("/v1/orders/loja-b/PED-1", &json!({"amount": "10.00", "currency": "BRL"})).await.is(201);
    assert_eq!(client.post("/v1/orders/loja-b/PED-1/poll", &json!({})).await.is(200)["state"], "paid");
    // And callbacks of this one are still taken.
    client.callback("PED-2").await;
    bank.truthful();
    bank.says("PED-1", "paid", "10", "0");
    bank.says("PED-2", "paid", "10", "0");
    assert_eq!(client.settled(&receipt).await["outcome"], "applied");
}

#[tokio::test]
async fn retry_after_is_kept() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    bank.says("PED-2", "paid", "10", "0");
    bank.next(Act::Answer(429, "retry-after: 3\r\n", b"{}".to_vec()));
    let started = Instant::now();
    let first = client.callback("PED-1").await;
    bank.wait_for_query("PED-1");
    let told = Instant::now();
    // The whole account is asked to slow down, not the one order.
    let second = client.callback("PED-2").await;
    for receipt in [&first, &second] {
        assert_eq!(client.settled(receipt).await["outcome"], "applied");
    }
    assert!(told.elapsed() > Duration::from_millis(2500), "asked again after {:?}", started.elapsed());
    assert_eq!(bank.requests().len(), 3, "nothing was asked meanwhile: {:?}", bank.lines());
}

#[tokio::test]
async fn an_absurd_retry_after_does_not_stop_the_daemon() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    for header in ["retry-after: 99999999999999999999\r\n", "retry-after: -5\r\n", "retry-after: soon\r\n"] {
        bank.next(Act::Answer(429, header, b"{}".to_vec()));
        client.callback("PED-1").await;
    }
    bank.wait_for_query("PED-1");
    assert_eq!(client.get("/readyz").await.status, 200);
    daemon.stop();
    daemon.assert_verifies();
}
