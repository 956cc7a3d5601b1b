//! Registering an order and looking at it: PUT, GET, ETag, history.

use crate::support::client::order_path;
use crate::support::{ANY, Bank, Daemon};
use serde_json::{Value, json};

fn order(amount: &str) -> Value {
    json!({"amount": amount, "currency": "BRL"})
}

#[tokio::test]
async fn registering_is_201_then_200_and_409_when_it_would_change_something() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let path = order_path("PED-1");
    let first = client.put(&path, &order("129.90")).await.is(201);
    assert_eq!(first["amounts"]["expected"], "129.90");
    client.put(&path, &order("129.90")).await.is(200);
    client.put(&path, &order("129.9")).await.is(200);
    client.put(&path, &order("129.91")).await.problem(409, ANY);
    // What was absent may be filled in, once.
    let with = |key: &str, value: Value| {
        let mut body = order("129.90");
        body[key] = value;
        body
    };
    let day = |day: &str| json!(format!("2031-03-{day}T18:00:00-03:00"));
    client.put(&path, &with("expires_at", day("02"))).await.is(200);
    client.put(&path, &with("expires_at", day("02"))).await.is(200);
    client.put(&path, &with("expires_at", day("03"))).await.problem(409, ANY);
    client.put(&path, &with("metadata", json!({"cart": "77"}))).await.is(200);
    client.put(&path, &with("metadata", json!({"cart": "78"}))).await.problem(409, ANY);
    client.put(&path, &order("129.90")).await.is(200);
    let shown = client.order("PED-1").await;
    assert_eq!(shown["amounts"]["expected"], "129.90");
    assert_eq!(shown["metadata"], json!({"cart": "77"}));
    assert_eq!(client.history("PED-1").await.len(), 1, "only the first one is news");
}

#[tokio::test]
async fn a_fresh_order_has_every_field() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    let shown = client.order("PED-1").await;
    let fields = [
        "account",
        "reference",
        "provider",
        "provider_ref",
        "state",
        "provider_status",
        "currency",
        "amounts",
        "reconciliation",
        "discrepancies",
        "created_at",
        "updated_at",
        "checked_at",
        "seq",
        "metadata",
    ];
    for field in fields {
        assert!(shown.get(field).is_some(), "{field} is missing, where null is wanted: {shown}");
    }
    let gross = ["gross", "fee", "net"].map(|field| shown["amounts"].get(field).cloned());
    assert_eq!(
        gross,
        [Some(Value::Null), Some(Value::Null), Some(Value::Null)],
        "null while unknown: {shown}"
    );
    assert_eq!((&shown["account"], &shown["provider"]), (&json!("loja-picpay"), &json!("picpay")));
    assert_eq!((&shown["reference"], &shown["currency"]), (&json!("PED-1"), &json!("BRL")));
    assert_eq!((&shown["state"], &shown["reconciliation"]), (&json!("created"), &json!("unseen")));
    assert_eq!(shown["seq"], 1);
    assert_eq!(shown["checked_at"], Value::Null);
    for time in ["created_at", "updated_at"] {
        let text = shown[time].as_str().unwrap();
        assert!(text.ends_with('Z') && text.contains('T'), "{time} is RFC 3339 in UTC: {text}");
    }
}

#[tokio::test]
async fn registering_after_the_callback_is_still_201() {
    let bank = Bank::open();
    bank.says("PED-1", "paid", "129.9", "0");
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.news("PED-1").await;
    let shown = client.put(&order_path("PED-1"), &order("129.90")).await.is(201);
    assert_eq!(shown["state"], "paid");
    client.put(&order_path("PED-1"), &order("129.90")).await.is(200);
    client.put(&order_path("PED-1"), &order("1.00")).await.problem(409, ANY);
    assert_eq!(client.history("PED-1").await.len(), 2, "nothing was moved by it");
}

#[tokio::test]
async fn path_and_body_may_say_the_same_but_not_differ() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = |account: &str, reference: &str| json!({"amount": "1.00", "currency": "BRL", "account": account, "reference": reference});
    client.put(&order_path("PED-1"), &body("loja-picpay", "PED-1")).await.is(201);
    client.put(&order_path("PED-2"), &body("loja-picpay", "PED-1")).await.problem_among(&[400, 409, 422]);
    client.put(&order_path("PED-2"), &body("another", "PED-2")).await.problem_among(&[400, 409, 422]);
    client.get(&order_path("PED-2")).await.problem(404, ANY);
}

#[tokio::test]
async fn other_keys_are_422() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for key in ["state", "Amount", "gross", "refunded", "customer", "__proto__"] {
        let body = json!({"amount": "1.00", "currency": "BRL", key: "x"});
        let problem = client.put(&order_path("PED-1"), &body).await.problem(422, ANY);
        assert!(problem.to_string().contains(key), "the key is named: {problem}");
    }
    client.get(&order_path("PED-1")).await.problem(404, ANY);
}

#[tokio::test]
async fn metadata_is_bounded() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let with = |metadata: Value| json!({"amount": "1.00", "currency": "BRL", "metadata": metadata});
    let keys =
        |count: usize| (0..count).map(|n| (format!("key{n}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    client.put(&order_path("PED-20"), &with(Value::Object(keys(20)))).await.is(201);
    client.put(&order_path("PED-21"), &with(Value::Object(keys(21)))).await.problem(422, ANY);
    client.put(&order_path("PED-big"), &with(json!({"note": "x".repeat(5000)}))).await.problem(422, ANY);
    client.put(&order_path("PED-text"), &with(json!("text"))).await.problem_among(&[400, 422]);
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"{\"amount\":\"1.00\",\"currency\":\"BRL\"}x",
        b"\xff\xfe",
        b"amount=1.00&currency=BRL",
    ];
    for body in bodies {
        let request = client.request("PUT", &order_path("PED-1")).header("content-type", "application/json");
        client.send(request.body(body.to_vec())).await.problem_among(&[400, 422]);
    }
    for at in ["tomorrow", "2031-03-02", "2031-03-02T18:00:00", "2031-13-40T99:00:00Z", ""] {
        let body = json!({"amount": "1.00", "currency": "BRL", "expires_at": at});
        let reply = client.put(&order_path("PED-1"), &body).await;
        assert!([400, 422].contains(&reply.status), "{at:?}: {} {}", reply.status, reply.text());
    }
    client.get(&order_path("PED-1")).await.problem(404, ANY);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.get(&order_path("PED-1")).await.problem(404, ANY);
    client.get(&format!("{}/history", order_path("PED-1"))).await.problem(404, ANY);
    client.get("/v1/orders/nobody/PED-1").await.problem(404, ANY);
    client.put("/v1/orders/nobody/PED-1", &order("1.00")).await.problem(404, ANY);
    client.get("/v1/nothing-here").await.problem(404, ANY);
}

#[tokio::test]
async fn an_etag_saves_the_body_until_something_changes() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-1", "129.90").await;
    let get = async |etag: Option<&str>| {
        let request = client.request("GET", &order_path("PED-1"));
        let request = etag.iter().fold(request, |request, etag| request.header("if-none-match", *etag));
        client.send(request).await
    };
    let first = get(None).await;
    let etag = first.header("etag").expect("an ETag").to_owned();
    assert!(etag.starts_with('"') || etag.starts_with("W/\""), "{etag} is quoted");
    let same = get(Some(&etag)).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(get(Some(&format!("\"other\", {etag}"))).await.status, 304, "a list of tags");
    assert_eq!(get(Some("*")).await.status, 304);
    assert_eq!(get(Some("\"other\"")).await.status, 200);
    bank.says("PED-1", "paid", "129.9", "0");
    client.news("PED-1").await;
    let changed = get(Some(&etag)).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(etag.as_str()));
    // The sighting is covered too: asked again, nothing new, but checked later.
    let etag = changed.header("etag").unwrap().to_owned();
    let checked = changed.json()["checked_at"].clone();
    client.news("PED-1").await;
    let later = get(Some(&etag)).await;
    assert_eq!(later.status, 200, "checked_at is newer than {checked}");
}

#[tokio::test]
async fn the_history_is_the_orders_own_entries_oldest_first() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    for reference in ["PED-1", "PED-2"] {
        client.register(reference, "129.90").await;
        for word in ["authorized", "paid", "chargeback", "paid"] {
            bank.says(reference, word, "129.9", "0");
            client.news(reference).await;
        }
    }
    let of_order = |entry: &Value| entry["order"] == "PED-1";
    let expected: Vec<Value> = client.ledger().await.into_iter().filter(of_order).collect();
    assert_eq!(expected.len(), 5);
    assert_eq!(client.history("PED-1").await, expected);
    let paged = client.all(&format!("{}/history?limit=2", order_path("PED-1"))).await;
    assert_eq!(paged, expected, "page by page it is the same");
}
