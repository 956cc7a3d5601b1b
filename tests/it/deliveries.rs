//! Events on their way to a shop: signed, in each order's order, until they are confirmed or given up, whatever fails and
//! whenever the daemon dies.

use crate::support::hooks::{Hooked, SOON, make, pairs, quiet, told};
use crate::support::shop::{Reaction, Shop, answer};
use crate::support::{Bank, Daemon, Setup, until};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn events_arrive_signed_and_in_the_order_they_happened() {
    let fields = json!({"authorization": "Bearer shop-secret-1", "headers": {"X-Shop": "loja 7"}});
    let hooked = Hooked::with(SOON, fields).await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    assert_eq!(hooked.confirmed(), pairs(&[("PED-1", "order.created"), ("PED-1", "order.paid")]));
    let events = hooked.client().all("/v1/events").await;
    for (received, event) in hooked.shop.received().iter().zip(&events) {
        assert_eq!(received.json(), *event, "the body is the one of /v1/events");
        assert_eq!(received.id(), event["id"]);
        assert!(received.is_signed_with(&hooked.secret));
        assert!(!received.is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert_eq!(received.line, "POST /webhooks HTTP/1.1");
        assert_eq!(received.header("content-type"), "application/json");
        assert_eq!(received.header("user-agent"), concat!("razao/", env!("CARGO_PKG_VERSION")));
        assert_eq!(received.header("authorization"), "Bearer shop-secret-1");
        assert_eq!(received.header("x-shop"), "loja 7");
    }
    let webhook = hooked.webhook().await;
    assert_eq!((&webhook["status"], &webhook["cursor"]), (&json!("enabled"), &json!(2)), "{webhook}");
    assert_eq!(webhook["deliveries"], json!({"pending": 0, "retrying": 0, "delivered": 2, "failed": 0}));
}

#[tokio::test]
async fn nineteen_failures_and_then_an_answer_deliver_once_and_in_order() {
    let hooked = Hooked::open().await;
    let failures = std::sync::atomic::AtomicU32::new(0);
    hooked.shop.always(move |received| {
        let poisoned = received.order() == "PED-1" && received.kind() == "order.created";
        let before = if poisoned { failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst) } else { 19 };
        answer(if before < 19 { 500 } else { 200 })
    });
    hooked.pay("PED-1").await;
    hooked.pay("PED-2").await;
    hooked.quiet().await;
    let confirmed = hooked.confirmed();
    let of = |order: &str| confirmed.iter().filter(|(it, _)| it == order).cloned().collect::<Vec<_>>();
    assert_eq!(of("PED-1"), pairs(&[("PED-1", "order.created"), ("PED-1", "order.paid")]));
    assert_eq!(of("PED-2"), pairs(&[("PED-2", "order.created"), ("PED-2", "order.paid")]));
    let delivery = hooked.delivered(1, "delivered").await;
    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &delivery["attempts_count"]), (20, &json!(20)));
    assert!(attempts[..19].iter().all(|it| it["status_code"] == 500 && it["error"] == "5xx"), "{delivery}");
    assert_eq!((&attempts[19]["status_code"], &attempts[19]["error"]), (&json!(200), &json!(null)));
    assert_eq!(hooked.webhook().await["status"], "enabled");
    let ids: Vec<_> =
        hooked.shop.received().iter().filter(|it| it.seq() == 1).map(|it| it.id().to_owned()).collect();
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|id| *id == ids[0]), "the same id in every attempt");
}

#[tokio::test]
async fn after_twenty_attempts_it_is_given_up_and_the_orders_next_event_goes() {
    let hooked = Hooked::open().await;
    hooked.shop.always(|received| answer(if received.kind() == "order.created" { 503 } else { 200 }));
    hooked.pay("PED-1").await;
    let failed = hooked.delivered(1, "failed").await;
    assert_eq!(failed["attempts_count"], 20, "{failed}");
    assert_eq!(failed["next_at"], json!(null));
    hooked.quiet().await;
    assert_eq!(hooked.confirmed(), pairs(&[("PED-1", "order.paid")]));
    let order: Vec<u64> = hooked.shop.received().iter().map(|it| it.seq()).collect();
    assert_eq!(order, [[1; 20].as_slice(), &[2]].concat(), "the second waited until the first had failed");
    let webhook = hooked.webhook().await;
    assert_eq!((&webhook["cursor"], &webhook["deliveries"]["failed"]), (&json!(2), &json!(1)), "{webhook}");
    let status = hooked.client().get("/v1/admin/status").await.ok();
    assert_eq!(status["deliveries"], json!({"pending": 0, "retrying": 0, "failed": 1}));
    assert_eq!(hooked.deliveries("?status=failed").await.len(), 1);
}

#[tokio::test]
async fn other_orders_do_not_wait() {
    let hooked = Hooked::with("first_pause = \"1h\"\nmax_pause = \"2h\"", json!({})).await;
    hooked.shop.always(|received| answer(if received.order() == "PED-1" { 500 } else { 200 }));
    hooked.pay("PED-1").await;
    hooked.pay("PED-2").await;
    until("the other order's events", async || (hooked.confirmed().len() == 2).then_some(())).await;
    assert_eq!(hooked.confirmed(), pairs(&[("PED-2", "order.created"), ("PED-2", "order.paid")]));
    until("their record", async || (hooked.deliveries("?status=delivered").await.len() == 2).then_some(()))
        .await;
    let webhook = hooked.webhook().await;
    assert_eq!(webhook["cursor"], 0, "the first is still on its way: {webhook}");
    let pending = hooked.deliveries("?status=pending").await;
    let seqs: Vec<&Value> = pending.iter().map(|it| &it["seq"]).collect();
    assert_eq!(seqs, [&json!(2), &json!(1)], "newest first, the one that waits behind it too: {pending:?}");
    assert_eq!((&pending[0]["attempts_count"], &pending[1]["attempts_count"]), (&json!(0), &json!(1)));
    let untried = hooked.delivery(&pending[0]["id"]).await;
    assert_eq!((&untried["status"], &untried["attempts"]), (&json!("pending"), &json!([])));
}

#[tokio::test]
async fn a_dead_target_does_not_stop_other_webhooks() {
    let hooked = Hooked::open().await;
    hooked.shop.answers(500);
    let other = Shop::open();
    make(&hooked.client(), &other.url(), json!({})).await;
    for number in 0..20 {
        hooked.client().register(&format!("PED-{number}"), "10.00").await;
    }
    until("the other webhook's events", async || (other.confirmed().len() == 20).then_some(())).await;
    let failing = hooked.is("failing").await;
    assert_eq!(failing["reason"], "the target answered 500", "{failing}");
    assert!(failing["since"].is_string() && failing["failures"].as_u64() > Some(0));
    hooked.shop.is_well();
    hooked.quiet().await;
    assert_eq!(hooked.is("enabled").await["cursor"], 20);
    assert_eq!(hooked.shop.confirmed().len(), 20);
}

#[tokio::test]
async fn kill_9_between_attempts_loses_and_doubles_nothing() {
    let mut hooked = Hooked::open().await;
    hooked.shop.answers(500);
    hooked.pay("PED-1").await;
    hooked.pay("PED-2").await;
    for round in 1..=3 {
        let before = hooked.shop.received().len();
        until("some attempts", async || (hooked.shop.received().len() > before + 2).then_some(())).await;
        hooked.daemon.kill_9();
        if round == 3 {
            hooked.shop.is_well();
        }
        hooked.daemon.restart();
    }
    hooked.quiet().await;
    let confirmed = hooked.confirmed();
    for order in ["PED-1", "PED-2"] {
        let of: Vec<_> = confirmed.iter().filter(|(it, _)| it == order).cloned().collect();
        assert_eq!(of, pairs(&[(order, "order.created"), (order, "order.paid")]));
    }
    // Of each event no more attempts were made than are known, but one for every kill.
    for seq in 1..=4 {
        let made = hooked.shop.received().iter().filter(|it| it.seq() == seq).count() as u64;
        let known = hooked.delivered(seq, "delivered").await["attempts_count"].as_u64().unwrap();
        assert!((known..=known + 3).contains(&made), "{seq}: {made} made, {known} known");
    }
}

#[tokio::test]
async fn an_attempt_under_way_at_a_kill_is_made_again_under_the_same_id() {
    let mut hooked = Hooked::open().await;
    hooked.shop.next(Reaction::Hold);
    hooked.client().register("PED-1", "10.00").await;
    until("the attempt", async || (hooked.shop.received().len() == 1).then_some(())).await;
    hooked.daemon.kill_9();
    hooked.shop.release();
    hooked.daemon.restart();
    hooked.quiet().await;
    let ids: Vec<String> = hooked.shop.received().iter().map(|it| it.id().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(
        hooked.delivered(1, "delivered").await["attempts_count"],
        1,
        "the one that was cut off is not known"
    );
}

#[tokio::test]
async fn a_stop_lets_the_attempt_under_way_finish() {
    let mut hooked = Hooked::open().await;
    hooked.shop.next(Reaction::Hold);
    hooked.client().register("PED-1", "10.00").await;
    until("the attempt", async || (hooked.shop.received().len() == 1).then_some(())).await;
    hooked.daemon.signal("TERM");
    // The connection ends without an answer, and that is noted on the way out.
    hooked.shop.release();
    hooked.daemon.ended();
    hooked.daemon.restart();
    let delivery = hooked.delivered(1, "delivered").await;
    let errors: Vec<&Value> =
        delivery["attempts"].as_array().unwrap().iter().map(|it| &it["error"]).collect();
    assert_eq!(errors, [&json!("reset"), &json!(null)], "{delivery}");
}

#[tokio::test]
async fn gone_disables_and_enabling_misses_nothing() {
    let hooked = Hooked::open().await;
    let other = Shop::open();
    make(&hooked.client(), &other.url(), json!({"events": ["operator.*"]})).await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    hooked.shop.answers(410);
    hooked.pay("PED-2").await;
    let disabled = hooked.is("disabled").await;
    assert!(disabled["reason"].as_str().unwrap().contains("410"), "{disabled}");
    assert_eq!((&disabled["cursor"], disabled["since"].is_string()), (&json!(2), true), "{disabled}");
    hooked.pay("PED-3").await;
    let status = hooked.client().get("/v1/admin/status").await.ok();
    assert_eq!(status["deliveries"]["retrying"], 0, "a disabled webhook waits for nobody: {status}");
    let attempts = hooked.shop.received().len();
    hooked
        .client()
        .post(&format!("{}/test", hooked.path()), &json!({}))
        .await
        .problem(409, "webhook-disabled");
    until("the alert to the other webhook", async || (other.confirmed().len() == 1).then_some(())).await;
    let alert = other.confirmed()[0].json();
    assert_eq!(
        (&alert["type"], &alert["seq"]),
        (&json!("operator.webhook_disabled"), &json!(null)),
        "{alert}"
    );
    assert_eq!(alert["data"]["webhook"], hooked.id.as_str());
    assert_eq!(hooked.shop.received().len(), attempts, "nothing was sent meanwhile");

    hooked.shop.is_well();
    let enabled = hooked.client().post(&format!("{}/enable", hooked.path()), &json!({})).await.is(200);
    assert_eq!((&enabled["status"], &enabled["reason"]), (&json!("enabled"), &json!(null)));
    hooked.quiet().await;
    let mut later = told(&hooked.shop.confirmed())[2..].to_vec();
    later.sort();
    let expected = [
        ("PED-2", "order.created"),
        ("PED-2", "order.paid"),
        ("PED-3", "order.created"),
        ("PED-3", "order.paid"),
    ];
    assert_eq!(later, pairs(&expected));
    assert_eq!(
        hooked.delivered(3, "delivered").await["attempts_count"],
        2,
        "the one that was answered 410 too"
    );
}

#[tokio::test]
async fn disabled_across_a_restart_it_goes_on_from_its_own_seq() {
    let mut hooked = Hooked::open().await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    let disabled = hooked.client().patch(&hooked.path(), &json!({"status": "disabled"})).await.is(200);
    assert_eq!((&disabled["status"], &disabled["reason"]), (&json!("disabled"), &json!("disabled by hand")));
    hooked.pay("PED-2").await;
    hooked.daemon.restart();
    hooked.pay("PED-3").await;
    hooked.daemon.kill_9();
    hooked.daemon.restart();
    assert_eq!(hooked.is("disabled").await["cursor"], 2);
    assert_eq!(hooked.shop.received().len(), 2);
    hooked.client().post(&format!("{}/enable", hooked.path()), &json!({})).await.is(200);
    hooked.quiet().await;
    let mut seqs: Vec<u64> = hooked.shop.received().iter().map(|it| it.seq()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn redirects_are_failures_and_never_followed() {
    let hooked = Hooked::open().await;
    let elsewhere = Shop::open();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", elsewhere.url());
        hooked.shop.next(Reaction::Answer(status, location, Vec::new()));
    }
    hooked.client().register("PED-1", "10.00").await;
    let delivery = hooked.delivered(1, "delivered").await;
    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 6, "{delivery}");
    for attempt in &attempts[..5] {
        assert_eq!(attempt["error"], "redirect", "{attempt}");
        assert!(attempt["meaning"].as_str().unwrap().contains("never followed"), "{attempt}");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn retry_after_is_a_lower_bound_beyond_the_longest_pause() {
    let hooked = Hooked::open().await;
    hooked.shop.next(Reaction::Answer(429, "retry-after: 2\r\n".to_owned(), Vec::new()));
    hooked.client().register("PED-1", "10.00").await;
    hooked.delivered(1, "delivered").await;
    let received = hooked.shop.received();
    let pause = received[1].at.duration_since(received[0].at);
    // The pause is counted from the answer, which is a little later than the request.
    assert!(pause >= Duration::from_millis(1990), "{pause:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_named() {
    let hooked = Hooked::with(
        "first_pause = \"10ms\"\nmax_pause = \"50ms\"\ntimeout = \"1s\"\nmax_attempts = 1",
        json!({}),
    )
    .await;
    let client = hooked.client();
    let closed = Shop::open();
    let (nobody, plain) = (format!("http://127.0.0.1:{}/", closed.port()), hooked.shop.port());
    drop(closed);
    let mut seq = 0;
    let mut fails = async |target: String, reaction: Option<Reaction>, error: &str, status: Value| {
        seq += 1;
        client.patch(&hooked.path(), &json!({"target": target})).await.is(200);
        reaction.into_iter().for_each(|reaction| hooked.shop.next(reaction));
        client.register(&format!("PED-{seq}"), "10.00").await;
        let attempt = &hooked.delivered(seq, "failed").await["attempts"][0];
        assert_eq!((&attempt["error"], &attempt["status_code"]), (&json!(error), &status), "{attempt}");
        assert!(attempt["meaning"].as_str().unwrap().len() > 20 && attempt["at"].is_string(), "{attempt}");
        assert!(attempt["duration_ms"].is_u64(), "{attempt}");
    };
    let shop = || hooked.shop.url();
    fails(nobody, None, "refused", Value::Null).await;
    fails(shop(), Some(Reaction::Drop), "reset", Value::Null).await;
    fails(shop(), Some(Reaction::Raw(b"HTTP/1.1 2".to_vec())), "reset", Value::Null).await;
    fails(shop(), Some(Reaction::Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec())), "unreadable", Value::Null)
        .await;
    fails(format!("https://127.0.0.1:{plain}/"), None, "tls", Value::Null).await;
    fails(shop(), Some(Reaction::Hold), "timeout", Value::Null).await;
    hooked.shop.release();
    fails(shop(), Some(answer(404)), "4xx", json!(404)).await;
    fails(shop(), Some(answer(503)), "5xx", json!(503)).await;
    fails(shop(), Some(answer(302)), "redirect", json!(302)).await;
}

#[tokio::test]
async fn any_2xx_confirms_and_only_the_beginning_of_an_answer_is_kept() {
    let hooked = Hooked::open().await;
    let long = vec![b'x'; 3_000_000];
    hooked.shop.next(Reaction::Answer(204, String::new(), Vec::new()));
    hooked.shop.next(Reaction::Answer(299, String::new(), long));
    hooked.shop.next(Reaction::Answer(200, String::new(), "é".repeat(600).into_bytes()));
    for number in 1..=3 {
        hooked.client().register(&format!("PED-{number}"), "10.00").await;
        hooked.quiet().await;
    }
    let answer = async |seq| hooked.delivered(seq, "delivered").await["attempts"][0]["answer"].clone();
    assert_eq!(answer(1).await, json!(null));
    assert_eq!(answer(2).await, json!("x".repeat(1024)));
    assert_eq!(answer(3).await, json!("é".repeat(512)));
    assert_eq!(hooked.shop.received().len(), 3);
}

#[tokio::test]
async fn from_tells_of_what_was_before_and_other_webhooks_of_what_comes() {
    let (bank, early, late) = (Bank::open(), Shop::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let client = daemon.client();
    for number in 1..=3 {
        client.register(&format!("PED-{number}"), "10.00").await;
    }
    make(&client, &early.url(), json!({"from": 2})).await;
    let made = make(&client, &late.url(), json!({})).await;
    assert_eq!((&made["from"], &made["cursor"]), (&json!(4), &json!(3)), "{made}");
    client.register("PED-4", "10.00").await;
    quiet(&client).await;
    let seqs = |shop: &Shop| {
        let mut seqs: Vec<u64> = shop.confirmed().iter().map(|it| it.seq()).collect();
        seqs.sort_unstable();
        seqs
    };
    assert_eq!((seqs(&early), seqs(&late)), (vec![2, 3, 4], vec![4]));
    let beyond = json!({"target": early.url(), "from": 6});
    client.post("/v1/webhooks", &beyond).await.problem(409, "cursor-ahead");
    client.post("/v1/webhooks", &json!({"target": early.url(), "from": 5})).await.is(201);
}
