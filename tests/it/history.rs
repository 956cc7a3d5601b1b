//! What is known of deliveries afterwards, and what can be sent again: resends, replays, tests, rotated secrets.

use crate::support::hooks::{Hooked, SOON};
use crate::support::shop::answer;
use crate::support::{ANY, until};
use serde_json::{Value, json};

fn seqs(list: &[Value]) -> Vec<u64> {
    list.iter().map(|it| it["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_resend_goes_out_again_under_the_same_id() {
    let hooked = Hooked::open().await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    let first = hooked.delivered(1, "delivered").await;
    let path = format!("/v1/deliveries/{}/resend", first["id"].as_str().unwrap());
    let resent = hooked.client().post(&path, &json!({})).await.is(202);
    assert_eq!((&resent["id"], &resent["status"]), (&first["id"], &json!("pending")));
    until("the resend", async || (hooked.shop.confirmed().len() == 3).then_some(())).await;
    let received = hooked.shop.received();
    assert_eq!((received[2].id(), &received[2].body), (received[0].id(), &received[0].body));
    assert_eq!(hooked.delivered(1, "delivered").await["attempts_count"], 2);
    hooked.quiet().await;
    assert_eq!(hooked.webhook().await["cursor"], 2, "the cursor stays where it was");
    hooked.client().post("/v1/deliveries/dl_x_1/resend", &json!({})).await.problem(404, ANY);
}

#[tokio::test]
async fn what_was_given_up_can_be_sent_again() {
    let mut hooked = Hooked::with(&format!("{SOON}\nmax_attempts = 2"), json!({})).await;
    hooked.shop.answers(500);
    hooked.client().register("PED-1", "10.00").await;
    let failed = hooked.delivered(1, "failed").await;
    let path = format!("/v1/deliveries/{}/resend", failed["id"].as_str().unwrap());
    hooked.client().post(&path, &json!({})).await.is(202);
    assert_eq!(hooked.delivered(1, "failed").await["attempts_count"], 4, "its attempts are counted anew");
    assert_eq!(hooked.webhook().await["deliveries"]["failed"], 1);
    // A resend that was not carried out yet outlives the daemon.
    hooked.shop.next(crate::support::shop::Reaction::Hold);
    hooked.client().post(&path, &json!({})).await.is(202);
    until("the attempt", async || (hooked.shop.received().len() == 5).then_some(())).await;
    hooked.daemon.kill_9();
    hooked.shop.release();
    hooked.shop.is_well();
    hooked.daemon.restart();
    assert_eq!(hooked.delivered(1, "delivered").await["attempts_count"], 5);
    hooked.quiet().await;
    assert_eq!(hooked.webhook().await["deliveries"]["failed"], 0);
}

#[tokio::test]
async fn a_replay_delivers_a_stretch_again_both_ends_included() {
    let hooked = Hooked::with(SOON, json!({"events": ["order.created", "order.paid"]})).await;
    for order in ["PED-1", "PED-2", "PED-3"] {
        hooked.pay(order).await;
    }
    hooked.quiet().await;
    let before = hooked.shop.received();
    let path = format!("{}/replay", hooked.path());
    let answered = hooked.client().post(&path, &json!({"from": 2, "to": 4})).await.is(202);
    assert_eq!(answered["cursor"], 6);
    until("the replay", async || (hooked.shop.confirmed().len() == 9).then_some(())).await;
    hooked.quiet().await;
    let again = &hooked.shop.received()[6..];
    let mut replayed: Vec<u64> = again.iter().map(|it| it.seq()).collect();
    replayed.sort_unstable();
    assert_eq!(replayed, [2, 3, 4]);
    for one in again {
        let first = before.iter().find(|it| it.seq() == one.seq()).unwrap();
        assert_eq!((one.id(), &one.body), (first.id(), &first.body));
    }
    let webhook = hooked.webhook().await;
    assert_eq!((&webhook["cursor"], &webhook["replays"]), (&json!(6), &json!([])), "{webhook}");
    // Beyond the head it means the head.
    hooked.client().post(&path, &json!({"from": 6, "to": 1000})).await.is(202);
    until("the last one", async || (hooked.shop.confirmed().len() == 10).then_some(())).await;
    hooked.quiet().await;
    for (body, status) in [
        (json!({"from": 4, "to": 2}), 422),
        (json!({"from": 0, "to": 2}), 422),
        (json!({"from": 1}), 422),
        (json!({"from": "1", "to": 2}), 422),
        (json!({"from": 1, "to": 2, "x": 3}), 422),
        (json!({"from": 7, "to": 9}), 409),
    ] {
        hooked.client().post(&path, &body).await.problem(status, ANY);
    }
    assert_eq!(hooked.shop.received().len(), 10);
}

#[tokio::test]
async fn a_replay_goes_on_after_a_kill() {
    let mut hooked = Hooked::open().await;
    for number in 1..=20 {
        hooked.client().register(&format!("PED-{number}"), "10.00").await;
    }
    hooked.quiet().await;
    hooked.shop.always(|received| answer(if received.seq() == 7 { 500 } else { 200 }));
    let replay = json!({"from": 1, "to": 20});
    hooked.client().post(&format!("{}/replay", hooked.path()), &replay).await.is(202);
    until("most of the replay", async || (hooked.shop.confirmed().len() >= 39).then_some(())).await;
    hooked.daemon.kill_9();
    hooked.shop.is_well();
    hooked.daemon.restart();
    hooked.quiet().await;
    for seq in 1..=20 {
        let confirmed = hooked.shop.confirmed().iter().filter(|it| it.seq() == seq).count();
        assert!((2..=3).contains(&confirmed), "{seq} was confirmed {confirmed} times");
    }
    assert_eq!(hooked.webhook().await["replays"], json!([]));
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign() {
    let mut hooked = Hooked::open().await;
    let rotated = hooked.client().post(&format!("{}/rotate", hooked.path()), &json!({})).await.is(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, hooked.secret);
    assert!(!rotated.to_string().contains(&hooked.secret), "only the new one is shown");
    assert!(rotated["previous_secret_until"].is_string());
    hooked.daemon.restart();
    hooked.client().register("PED-1", "10.00").await;
    hooked.quiet().await;
    let received = &hooked.shop.received()[0];
    assert_eq!(received.header("webhook-signature").split(' ').count(), 2);
    assert!(received.is_signed_with(&new) && received.is_signed_with(&hooked.secret));
    // After a second one the first secret is no longer valid.
    hooked.client().post(&format!("{}/rotate", hooked.path()), &json!({})).await.is(200);
    hooked.client().register("PED-2", "10.00").await;
    hooked.quiet().await;
    let received = &hooked.shop.received()[1];
    assert!(received.is_signed_with(&new) && !received.is_signed_with(&hooked.secret));
}

#[tokio::test]
async fn a_test_event_goes_out_whatever_the_patterns_are() {
    let hooked = Hooked::with(SOON, json!({"events": ["order.chargeback"]})).await;
    hooked.pay("PED-1").await;
    hooked.shop.next(answer(500));
    let delivery = hooked.client().post(&format!("{}/test", hooked.path()), &json!({})).await.is(202);
    assert_eq!((&delivery["type"], &delivery["seq"]), (&json!("webhook.test"), &json!(null)), "{delivery}");
    until("the test event", async || (hooked.shop.confirmed().len() == 1).then_some(())).await;
    hooked.quiet().await;
    let received = hooked.shop.received();
    assert_eq!(received.len(), 2, "it is tried again like any other");
    let body = received[1].json();
    assert_eq!((&body["type"], &body["seq"]), (&json!("webhook.test"), &json!(null)), "{body}");
    assert_eq!((&body["id"], received[0].id()), (&delivery["event"], received[1].id()));
    assert!(body["timestamp"].is_string() && body["data"]["webhook"] == hooked.id.as_str(), "{body}");
    assert!(received[1].is_signed_with(&hooked.secret));
    let known = hooked.delivery(&delivery["id"]).await;
    assert_eq!((&known["status"], &known["attempts_count"]), (&json!("delivered"), &json!(2)), "{known}");
    let events = hooked.client().all("/v1/events").await;
    assert!(events.iter().all(|event| event["type"] != "webhook.test"), "it is in no list of events");
    let list = hooked.deliveries("").await;
    assert_eq!(list.len(), 1, "{list:?}");
    // And once more by hand.
    let path = format!("/v1/deliveries/{}/resend", delivery["id"].as_str().unwrap());
    hooked.client().post(&path, &json!({})).await.is(202);
    until("the resend", async || (hooked.shop.confirmed().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn the_history_is_filtered_and_paged() {
    let hooked = Hooked::with(&format!("{SOON}\nmax_attempts = 1"), json!({})).await;
    hooked.shop.always(|received| answer(if received.order() == "PED-2" { 400 } else { 200 }));
    for order in ["PED-1", "PED-2", "PED-3"] {
        hooked.pay(order).await;
        hooked.quiet().await;
    }
    assert_eq!(seqs(&hooked.deliveries("?limit=1").await), [6, 5, 4, 3, 2, 1], "newest first");
    assert_eq!(seqs(&hooked.deliveries("?status=failed").await), [4, 3]);
    assert_eq!(seqs(&hooked.deliveries("?status=delivered&limit=2").await), [6, 5, 2, 1]);
    assert_eq!(seqs(&hooked.deliveries("?order=PED-3").await), [6, 5]);
    assert_eq!(seqs(&hooked.deliveries("?event=order.paid").await), [6, 4, 2]);
    assert_eq!(seqs(&hooked.deliveries("?event=order.*").await).len(), 6);
    let event = hooked.delivered(3, "failed").await["event"].as_str().unwrap().to_owned();
    assert_eq!(seqs(&hooked.deliveries(&format!("?event={event}")).await), [3]);
    let fifth = hooked.delivered(5, "delivered").await;
    let since = fifth["updated_at"].as_str().unwrap();
    assert_eq!(seqs(&hooked.deliveries(&format!("?since={since}")).await), [6, 5]);
    let one = &hooked.deliveries("?status=failed&order=PED-2&event=order.created").await[0];
    for (field, value) in [("type", "order.created"), ("order", "PED-2"), ("account", "loja-picpay")] {
        assert_eq!(one[field], value, "{one}");
    }
    for bad in ["?status=lost", "?since=yesterday", "?cursor=zz", "?nonsense=1", "?limit=0"] {
        hooked.client().get(&format!("{}/deliveries{bad}", hooked.path())).await.problem(400, ANY);
    }
}

#[tokio::test]
async fn history_is_erased_after_its_retention_and_with_its_webhook() {
    let mut hooked = Hooked::open().await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    hooked.daemon.stop();
    // What is older than a millisecond goes at the next start.
    let toml = hooked.daemon.place().setup.toml(&hooked.daemon.data());
    hooked.daemon.place().write(&toml.replace("[log]", "history_retention = \"1ms\"\n[log]"));
    hooked.daemon.restart();
    until("an empty history", async || hooked.deliveries("").await.is_empty().then_some(())).await;
    assert_eq!(hooked.webhook().await["cursor"], 2, "and nothing is delivered again");
    hooked.pay("PED-2").await;
    hooked.quiet().await;
    assert_eq!(hooked.shop.received().len(), 4);
    let reply = hooked.client().delete(&hooked.path()).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    hooked.client().get(&hooked.path()).await.problem(404, ANY);
    hooked.client().get(&format!("{}/deliveries", hooked.path())).await.problem(404, ANY);
    hooked.pay("PED-3").await;
    hooked.quiet().await;
    assert_eq!(hooked.shop.received().len(), 4, "a deleted webhook is told nothing");
}
