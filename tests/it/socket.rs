//! The stream over a WebSocket: the same events, and a close code and reason for every end.

use crate::support::socket::{Heard, Socket};
use crate::support::{Bank, Client, Daemon, Dice, PATIENCE, Setup, encoded};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn registered(client: &Client, prefix: &str, count: usize) {
    let puts = (0..count).map(|n| {
        let client = client.clone();
        async move { client.register(&format!("{prefix}-{n}"), "1.00").await }
    });
    futures_util::future::join_all(puts).await;
}

#[tokio::test]
async fn a_frame_is_the_event_of_the_list_and_it_goes_on_live() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "2");
    client.news("PED-1").await;
    let events = client.all("/v1/events").await;
    let mut socket = Socket::open(&client, "?from=2").await;
    for event in &events[1..] {
        assert_eq!(&socket.event().await, event);
    }
    client.register("LIVE", "1.00").await;
    let event = socket.event().await;
    assert_eq!(event["seq"], events.len() + 1);
    assert_eq!(event["data"]["order"]["reference"], "LIVE");
}

#[tokio::test]
async fn positions_are_the_streams() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, "PED", 3).await;
    let mut now = Socket::open(&client, "").await;
    let mut next = Socket::open(&client, "?from=4").await;
    let mut after = Socket::attempt(&client, "?from=1", &[("last-event-id", "3")]).await.unwrap();
    client.register("LIVE", "1.00").await;
    for socket in [&mut now, &mut next, &mut after] {
        assert_eq!(socket.event().await["seq"], 4);
    }
    let ahead = Socket::attempt(&client, "?from=6", &[]).await.err().unwrap();
    assert_eq!((ahead.status, &ahead.body["type"]), (409, &json!("urn:razao:problem:cursor-ahead")));
    for odd in ["?from=x", "?frm=1", "?state=nowhere"] {
        assert_eq!(Socket::attempt(&client, odd, &[]).await.err().unwrap().status, 400, "{odd}");
    }
}

#[tokio::test]
async fn filters_and_the_tokens_accounts_leave_out_but_never_reorder() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    for reference in ["PED-1", "PED-2"] {
        bank.says(reference, "refunded", "10", "10");
        client.news(reference).await;
    }
    client.put("/v1/orders/loja-b/PED-1", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    let all = client.all("/v1/events").await;
    let seqs = |keep: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        all.iter().filter(|event| keep(event)).map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    let order = |event: &Value| event["data"]["entry"]["order"].clone();
    let limited = daemon.client_with("events:read", &["--accounts", "loja-b"]);
    let cases: Vec<(&Client, String, Vec<u64>)> = vec![
        (&client, "type=order.refunded".into(), seqs(&|e| e["type"] == "order.refunded")),
        (&client, format!("type={}", encoded("order.*")), seqs(&|_| true)),
        (
            &client,
            "state=paid&order=PED-2".into(),
            seqs(&|e| e["type"] == "order.paid" && order(e) == "PED-2"),
        ),
        (&client, "account=loja-b".into(), seqs(&|e| e["account"] == "loja-b")),
        (&limited, "type=*".into(), seqs(&|e| e["account"] == "loja-b")),
    ];
    for (client, filter, expected) in cases {
        assert!(!expected.is_empty(), "{filter} would prove nothing");
        let mut socket = Socket::open(client, &format!("?from=1&{filter}")).await;
        assert_eq!(socket.seqs_to(*expected.last().unwrap()).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn cut_off_anywhere_and_resumed_nothing_is_missing_or_twice() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut dice = Dice::new(11);
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for burst in 0..12 {
                registered(&client, &format!("PED-{burst}"), 10).await;
            }
        })
    };
    let mut seqs: Vec<u64> = Vec::new();
    while seqs.len() < 120 {
        let next = seqs.last().map_or(1, |last| last + 1);
        let mut socket = Socket::open(&client, &format!("?from={next}")).await;
        for _ in 0..=dice.below(20) {
            if seqs.len() < 120 {
                seqs.push(socket.event().await["seq"].as_u64().unwrap());
            }
        }
        // Dropped here with whatever was on its way.
    }
    writer.await.unwrap();
    assert_eq!(seqs, (1..=120).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut socket = Socket::open(&client, "?from=1").await;
    for burst in 0..20 {
        registered(&client, &format!("PED-{burst}"), 50).await;
    }
    assert_eq!(socket.seqs_to(1000).await, (1..=1000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn it_ends_with_its_token() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let short = daemon.client_with("events:read", &["--ttl", "4s"]);
    let mut socket = Socket::open(&short, "").await;
    assert_eq!(socket.closed(PATIENCE).await, (4401, "token expired".to_owned()));
}

#[tokio::test]
async fn a_stopping_daemon_says_so() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "1.00").await;
    let mut socket = Socket::open(&client, "?from=1").await;
    assert_eq!(socket.event().await["seq"], 1);
    daemon.signal("TERM");
    assert_eq!(socket.closed(PATIENCE).await.0, 1001);
    assert_eq!(daemon.ended().code(), Some(0));
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_ends_it_and_says_so() {
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let order = |n| json!({"account": "loja-picpay", "reference": format!("PED-{n}"), "amount": "1.00", "currency": "BRL"});
    let orders: Vec<Value> = (0..3000).map(order).collect();
    daemon.client().post("/v1/orders:batch", &json!({"orders": orders})).await.ok();
    daemon.restart();
    // The device forgets everything: what nobody has read since the start is gone.
    let database = daemon.data().join("db").join("db");
    let bytes = std::fs::metadata(&database).unwrap().len();
    let mut file = std::fs::OpenOptions::new().write(true).open(&database).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(bytes).unwrap()]).unwrap();
    let mut socket = Socket::open(&daemon.client(), "?from=1").await;
    assert_eq!(socket.closed(PATIENCE).await, (1011, "the ledger could not be read".to_owned()));
}

#[tokio::test]
async fn what_a_client_may_not_send_ends_it_with_a_code() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let cases = [
        (Message::text("subscribe"), 1003),
        (Message::binary(vec![1, 2, 3]), 1003),
        (Message::text("x".repeat(5_000)), 1009),
        (Message::binary(vec![0; 100_000]), 1009),
    ];
    for (message, code) in cases {
        let mut socket = Socket::open(&client, "").await;
        // A large one may be cut off while it is sent.
        let shown = format!("{} bytes", message.len());
        socket.offer(message).await;
        assert_eq!(socket.closed(PATIENCE).await.0, code, "{shown}");
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_echoed() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut socket = Socket::open(&client, "").await;
    socket.send(Message::Ping("are you there".into())).await;
    assert_eq!(socket.next().await, Heard::Pong("are you there".to_owned()));
    let close = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
    socket.send(Message::Close(Some(close))).await;
    assert_eq!(socket.closed(PATIENCE).await.0, 1000);
    assert_eq!(socket.next().await, Heard::End);
}

/// A handshake by hand, for clients that break the protocol.
async fn raw(daemon: &Daemon) -> TcpStream {
    let host = daemon.base().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        daemon.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    stream
}

/// A server's frame: its first byte, and its payload of up to 125 bytes.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let (first, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
    assert!(length < 126, "a control frame is short and not masked");
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

#[tokio::test]
async fn a_frame_that_breaks_the_protocol_ends_it() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    // Not masked; reserved bits; a continuation of nothing; an opcode that nobody knows.
    for bytes in [[0x81, 0x00], [0xF1, 0x80], [0x80, 0x80], [0x83, 0x80]] {
        let mut stream = raw(&daemon).await;
        stream.write_all(&bytes).await.unwrap();
        stream.write_all(&[0; 4]).await.unwrap();
        let (first, payload) =
            tokio::time::timeout(PATIENCE, frame(&mut stream)).await.expect("a close frame");
        assert_eq!((first, &payload[..2]), (CLOSE, &1002u16.to_be_bytes()[..]), "{bytes:x?}");
    }
}

#[tokio::test]
async fn a_client_that_never_answers_is_let_go() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let mut stream = raw(&daemon).await;
    let ended = async {
        let mut pings = Vec::new();
        loop {
            match frame(&mut stream).await {
                (PING, payload) => pings.push(String::from_utf8(payload).unwrap()),
                (CLOSE, payload) => return (pings, payload),
                other => panic!("a frame of another kind: {other:?}"),
            }
        }
    };
    let (pings, payload) = tokio::time::timeout(Duration::from_secs(90), ended).await.expect("still open");
    assert!(!pings.is_empty() && pings.iter().all(|ping| ping == "seq=1"), "{pings:?}");
    assert_eq!(payload[..2], 4408u16.to_be_bytes());
}

#[tokio::test]
async fn who_may_not_listen_gets_no_socket() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let status =
        async |client: &Client, query: &str| Socket::attempt(client, query, &[]).await.err().unwrap().status;
    let anonymous = daemon.anonymous();
    assert_eq!(status(&anonymous, "").await, 401);
    assert_eq!(status(&anonymous, "?access_token=garbage").await, 401);
    assert_eq!(status(&anonymous, "?ticket=tkt_garbage").await, 401);
    assert_eq!(status(&daemon.client_with("orders:read ledger:read", &[]), "").await, 403);
    Socket::open(&anonymous, &format!("?access_token={}", encoded(daemon.token()))).await;
    daemon.client().get("/v1/ws").await.problem(400, "not-a-websocket");
}
