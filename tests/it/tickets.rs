//! One-time tickets: a browser's way onto a stream without its token in an address.

use crate::support::socket::Socket;
use crate::support::sse::{Frame, Sse};
use crate::support::{ANY, Bank, Client, Daemon, PATIENCE, Setup, encoded, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn ticket(client: &Client) -> String {
    let answer = client.post("/v1/tickets", &json!({})).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.is(201)["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_stream_or_socket_and_no_second() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "1.00").await;
    let anonymous = daemon.anonymous();
    let ticket = ticket(&client).await;
    let mut stream = Sse::open(&anonymous, &format!("?from=1&ticket={ticket}"), None).await;
    assert_eq!(stream.event().await.0, 1);
    anonymous.get(&format!("/v1/stream?ticket={ticket}")).await.problem(401, ANY);
    assert_eq!(
        Socket::attempt(&anonymous, &format!("?ticket={ticket}"), &[]).await.err().unwrap().status,
        401
    );

    let ticket = self::ticket(&client).await;
    let mut socket = Socket::open(&anonymous, &format!("?from=1&ticket={ticket}")).await;
    assert_eq!(socket.event().await["seq"], 1);
    assert_eq!(
        Socket::attempt(&anonymous, &format!("?ticket={ticket}"), &[]).await.err().unwrap().status,
        401
    );
}

#[tokio::test]
async fn a_ticket_is_worth_nothing_elsewhere() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "1.00").await;
    let anonymous = daemon.anonymous();
    let ticket = ticket(&client).await;
    for path in ["/v1/events", "/v1/orders", "/v1/ledger", "/v1/balances", "/v1/callbacks"] {
        anonymous.get(&format!("{path}?ticket={ticket}")).await.problem(401, ANY);
        daemon.client_by(&ticket).get(path).await.problem(401, ANY);
    }
    anonymous.post(&format!("/v1/tickets?ticket={ticket}"), &json!({})).await.problem(401, ANY);
    daemon.client_by(&ticket).get("/v1/stream").await.problem(401, ANY);
    anonymous.get(&format!("/v1/stream?access_token={ticket}")).await.problem(401, ANY);
    // None of that used it up.
    let mut stream = Sse::open(&anonymous, &format!("?from=1&ticket={ticket}"), None).await;
    assert_eq!(stream.event().await.0, 1);
}

#[tokio::test]
async fn only_who_may_read_events_gets_one_and_no_two_are_alike() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.anonymous().post("/v1/tickets", &json!({})).await.problem(401, ANY);
    let token = encoded(daemon.token());
    daemon.anonymous().post(&format!("/v1/tickets?access_token={token}"), &json!({})).await.problem(401, ANY);
    daemon.client_with("orders:read admin", &[]).post("/v1/tickets", &json!({})).await.problem(403, ANY);
    let mut tickets = BTreeSet::new();
    for _ in 0..50 {
        let ticket = ticket(&daemon.client()).await;
        let alphabet = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(
            ticket.len() >= 26 && ticket.chars().all(alphabet),
            "{ticket} needs encoding or can be guessed"
        );
        assert!(tickets.insert(ticket), "the same ticket twice");
    }
}

#[tokio::test]
async fn a_ticket_sees_what_its_token_sees_and_ends_with_it() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    client.register("PED-1", "1.00").await;
    client.put("/v1/orders/loja-b/PED-2", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    let short = daemon.client_with("events:read orders:read", &["--accounts", "loja-b", "--ttl", "6s"]);
    let (used, late) = (ticket(&short).await, ticket(&short).await);
    let mut stream = Sse::open(&daemon.anonymous(), &format!("?from=1&ticket={used}"), None).await;
    assert_eq!(stream.event().await.0, 2);
    let mut last = None;
    loop {
        match stream.next().await {
            Frame::End => break,
            frame => last = Some(frame),
        }
    }
    assert_eq!(last, Some(Frame::Comment("token expired".to_owned())));
    daemon.anonymous().get(&format!("/v1/stream?ticket={late}")).await.problem(401, ANY);
}

#[tokio::test]
async fn a_subject_cannot_hoard_tickets() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let hoarder = daemon.client_with("events:read", &["--subject", "hoarder"]);
    let refused = until("a refusal", async || {
        let asked = (0..100).map(|_| hoarder.post("/v1/tickets", &Value::Null));
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().find(|answer| answer.status != 201)
    });
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    refused.problem(429, "too-many-requests");
    assert!(refused.header("retry-after").is_some());
    ticket(&daemon.client_with("events:read", &["--subject", "shop"])).await;
}
