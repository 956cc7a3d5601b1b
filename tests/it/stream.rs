//! The event stream while everything is well: positions, filters, comments, the end of a token, and how many there may be.

use crate::support::sse::{Frame, Sse};
use crate::support::{ANY, Bank, Client, Daemon, Setup, encoded, until_within};
use serde_json::json;
use std::time::{Duration, Instant};

async fn registered(client: &Client, count: usize) {
    for n in 0..count {
        client.register(&format!("PED-{n:03}"), "1.00").await;
    }
}

#[tokio::test]
async fn from_starts_there_and_goes_on_live() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, 5).await;
    let mut stream = Sse::open(&client, "?from=3", None).await;
    assert_eq!(stream.ids_to(5).await, [3, 4, 5]);
    client.register("LIVE", "1.00").await;
    let (id, event) = stream.event().await;
    assert_eq!((id, &event["data"]["order"]["reference"]), (6, &json!("LIVE")));
}

#[tokio::test]
async fn an_event_on_the_stream_is_the_event_of_the_list() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "2");
    client.news("PED-1").await;
    let events = client.all("/v1/events").await;
    let mut stream = Sse::open(&client, "?from=1", None).await;
    for event in events {
        let (id, data) = stream.event().await;
        assert_eq!(data["seq"], id);
        assert_eq!(data, event);
    }
}

#[tokio::test]
async fn last_event_id_starts_after_it_and_wins() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, 6).await;
    let mut stream = Sse::open(&client, "", Some(4)).await;
    assert_eq!(stream.ids_to(6).await, [5, 6]);
    let mut stream = Sse::open(&client, "?from=1", Some(5)).await;
    assert_eq!(stream.ids_to(6).await, [6]);
    let mut stream = Sse::open(&client, "?from=5", Some(0)).await;
    assert_eq!(stream.ids_to(6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn without_a_position_only_what_comes_from_now_on() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, 3).await;
    let mut stream = Sse::open(&client, "", None).await;
    client.register("LIVE", "1.00").await;
    assert_eq!(stream.event().await.0, 4);
}

#[tokio::test]
async fn just_beyond_the_head_is_now_and_further_is_409() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, 3).await;
    let mut stream = Sse::open(&client, "?from=4", None).await;
    let mut after = Sse::open(&client, "", Some(3)).await;
    client.register("LIVE", "1.00").await;
    assert_eq!((stream.event().await.0, after.event().await.0), (4, 4));
    client.get("/v1/stream?from=6").await.problem(409, "cursor-ahead");
    client.get("/v1/stream?from=18446744073709551615").await.problem(409, "cursor-ahead");
    let ahead = client.request("GET", "/v1/stream").header("last-event-id", "5");
    client.send(ahead).await.problem(409, "cursor-ahead");
    for odd in ["?from=x", "?from=-1", "?from=1.5"] {
        client.get(&format!("/v1/stream{odd}")).await.problem_among(&[400, 422]);
    }
}

#[tokio::test]
async fn filters_leave_out_but_never_reorder() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    let client = daemon.client();
    for reference in ["PED-1", "PED-2"] {
        bank.says(reference, "paid", "10", "2");
        client.news(reference).await;
        bank.says(reference, "refunded", "10", "10");
        client.news(reference).await;
    }
    client.put("/v1/orders/loja-b/PED-1", &json!({"amount": "1.00", "currency": "BRL"})).await.is(201);
    // A last event that passes every filter marks the end: an order made and paid in both accounts.
    let all = client.all("/v1/events").await;
    let ids = |keep: &dyn Fn(&serde_json::Value) -> bool| -> Vec<u64> {
        all.iter().filter(|event| keep(event)).map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    let cases: Vec<(String, Vec<u64>)> = vec![
        ("type=order.paid".into(), ids(&|e| e["type"] == "order.paid")),
        (format!("type={}", encoded("order.*")), ids(&|_| true)),
        ("account=loja-b".into(), ids(&|e| e["account"] == "loja-b")),
        ("state=refunded".into(), ids(&|e| e["data"]["order"]["state"] == "refunded")),
        (
            "state=created&account=loja-picpay".into(),
            ids(&|e| e["data"]["order"]["state"] == "created" && e["account"] == "loja-picpay"),
        ),
        ("order=PED-2".into(), ids(&|e| e["data"]["entry"]["order"] == "PED-2")),
        (
            "type=order.adjusted&order=PED-2".into(),
            ids(&|e| e["type"] == "order.adjusted" && e["data"]["entry"]["order"] == "PED-2"),
        ),
    ];
    for (filter, expected) in cases {
        assert!(!expected.is_empty(), "{filter} would prove nothing");
        let mut stream = Sse::open(&client, &format!("?from=1&{filter}"), None).await;
        assert_eq!(stream.ids_to(*expected.last().unwrap()).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_quiet_stream_sends_the_head_as_a_comment() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    registered(&client, 2).await;
    let mut stream = Sse::open(&client, "", None).await;
    let started = Instant::now();
    // One may greet the reader; the one that matters comes out of the silence.
    loop {
        let left = Duration::from_secs(20).saturating_sub(started.elapsed());
        match stream.next_within(left).await {
            Some(Frame::Comment(text)) => {
                assert_eq!(text, "seq=2");
                if started.elapsed() > Duration::from_secs(5) {
                    break;
                }
            }
            other => panic!("no heartbeat within 20 s, but {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let short = daemon.client_with("events:read", &["--ttl", "4s"]);
    let mut stream = Sse::open(&short, "?from=1", None).await;
    let mut seen = Vec::new();
    let last = loop {
        match stream.next_within(Duration::from_secs(15)).await.expect("the stream goes on after its token") {
            Frame::End => break seen.pop(),
            frame => seen.push(frame),
        }
    };
    assert_eq!(last, Some(Frame::Comment("token expired".to_owned())));
}

#[tokio::test]
async fn the_token_may_stand_in_the_query_here_and_nowhere_else() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    daemon.client().register("PED-1", "1.00").await;
    let bare = daemon.anonymous();
    let token = encoded(daemon.token());
    let mut stream = Sse::open(&bare, &format!("?from=1&access_token={token}"), None).await;
    assert_eq!(stream.event().await.0, 1);
    bare.get("/v1/stream?access_token=garbage").await.problem(401, ANY);
    bare.get("/v1/stream").await.problem(401, ANY);
    for path in ["/v1/orders", "/v1/events", "/v1/ledger", "/v1/balances"] {
        bare.get(&format!("{path}?access_token={token}")).await.problem(401, ANY);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    // Opened first and not read while a thousand events pile up behind it.
    let mut stream = Sse::open(&client, "?from=1", None).await;
    for burst in 0..20 {
        let puts = (0..50).map(|n| {
            let client = client.clone();
            async move { client.register(&format!("PED-{burst}-{n}"), "1.00").await }
        });
        futures_util::future::join_all(puts).await;
    }
    assert_eq!(stream.ids_to(1000).await, (1..=1000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn it_begins_as_browsers_and_proxies_need_it() {
    let bank = Bank::open();
    let origins = ("RAZAO__SERVER__CORS_ORIGINS__0", "https://loja.example");
    let daemon = Daemon::with(Setup::new(&bank).env(origins.0, origins.1));
    daemon.client().register("PED-1", "1.00").await;
    let request = daemon.client().request("GET", "/v1/stream?from=1");
    let mut answer = request.header("origin", "https://loja.example").send().await.unwrap();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "https://loja.example"),
    ] {
        assert_eq!(answer.headers().get(name).unwrap(), value, "{name}");
    }
    assert!(answer.headers().get("content-length").is_none());
    let mut text = String::new();
    while !text.contains("data: ") {
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.starts_with("retry: 2000\n: seq=1\n\nid: 1\ndata: {"), "{text}");
    // A page learns why it is refused.
    let refused = daemon.anonymous().request("GET", "/v1/stream").header("origin", "https://loja.example");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers().get("access-control-allow-origin").unwrap(), "https://loja.example");
}

#[tokio::test]
async fn a_filtered_stream_shows_life_while_others_are_busy() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let mut stream = Sse::open(&client, "?type=order.chargeback", None).await;
    assert_eq!(stream.next().await, Frame::Comment("seq=0".to_owned()));
    let busy = async {
        for n in 0.. {
            client.register(&format!("PED-{n}"), "1.00").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let frame = tokio::select! {
        frame = stream.next_within(Duration::from_secs(40)) => frame,
        () = busy => None,
    };
    let Some(Frame::Comment(text)) = frame else { panic!("no sign of life, but {frame:?}") };
    let head: u64 = text.strip_prefix("seq=").unwrap().parse().unwrap();
    assert!(head > 1, "{text}");
}

#[tokio::test]
async fn a_rare_event_far_back_is_found() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("FIRST", "1.00").await;
    for burst in 0..6 {
        let orders: Vec<_> = (0..1000)
            .map(|n| json!({"account": "loja-picpay", "reference": format!("PED-{burst}-{n}"), "amount": "1.00", "currency": "BRL"}))
            .collect();
        client.post("/v1/orders:batch", &json!({"orders": orders})).await.ok();
    }
    client.register("LAST", "1.00").await;
    for (order, seq) in [("FIRST", 1), ("PED-0-500", 502), ("LAST", 6002)] {
        let mut stream = Sse::open(&client, &format!("?from=1&order={order}"), None).await;
        assert_eq!(stream.event().await.0, seq);
    }
    let mut stream = Sse::open(&client, "?from=1", None).await;
    assert_eq!(stream.ids_to(6002).await, (1..=6002).collect::<Vec<u64>>());
}

/// A hundred files are enough for the daemon and some connections, of which streams may take fifty.
#[tokio::test]
async fn streams_leave_room_for_callbacks() {
    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    setup.wrapper = ["sh", "-c", "ulimit -n 100; exec \"$0\" \"$@\""].map(str::to_owned).to_vec();
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(Sse::open(&client, "", None).await);
    }
    let refused = client.get("/v1/stream").await;
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    client.get("/v1/ws").await.problem(503, "unavailable");
    client.callback("PED-1").await;
    drop(open);
    let left = Instant::now();
    let patience = Duration::from_secs(90);
    until_within(patience, "a place of those that left", async || Sse::place(&client).await).await;
    // At once, and not when signs of life could not be delivered: those come every 15 s.
    assert!(left.elapsed() < Duration::from_secs(14), "{:?}", left.elapsed());
}
