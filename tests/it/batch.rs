//! Many registrations in one request: an answer per line, in their order, none touched by what is wrong with another.

use crate::support::client::order_path;
use crate::support::{ACCOUNT, ANY, Bank, Client, Daemon, Reply, Setup};
use serde_json::{Value, json};

fn line(reference: &str, amount: &str) -> Value {
    json!({"account": ACCOUNT, "reference": reference, "amount": amount, "currency": "BRL"})
}

async fn batch(client: &Client, orders: &[Value]) -> Vec<Value> {
    let answer = client.post("/v1/orders:batch", &json!({"orders": orders})).await.is(200);
    answer["data"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
}

async fn ndjson(client: &Client, body: &str) -> Reply {
    let request = client
        .request("POST", "/v1/orders:batch")
        .header("content-type", "application/x-ndjson; charset=utf-8");
    client.send(request.body(body.to_owned())).await
}

fn statuses(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["status"].as_u64().unwrap_or_else(|| panic!("{line}"))).collect()
}

#[tokio::test]
async fn each_line_is_answered_for_itself_in_order() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    client.register("PED-0", "10.00").await;
    let mut unknown_field = line("PED-5", "1.00");
    unknown_field["colour"] = json!("red");
    let mut nobody = line("PED-6", "1.00");
    nobody["account"] = json!("nobody");
    let mut filled = line("PED-2", "20.00");
    filled["metadata"] = json!({"cart": "77"});
    let lines = [
        line("PED-0", "10.00"),
        line("PED-0", "10.01"),
        line("PED-2", "20.00"),
        filled,
        line("PED-4", "1,00"),
        unknown_field,
        nobody,
        json!({"amount": "1.00", "currency": "BRL"}),
        json!("PED-8"),
        line("PED-9", "9.00"),
    ];
    let answers = batch(&client, &lines).await;
    assert_eq!(statuses(&answers), [200, 409, 201, 200, 422, 422, 404, 422, 422, 201]);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["index"], index);
        assert_eq!(
            answer["reference"],
            lines[index].get("reference").cloned().unwrap_or_default(),
            "{answer}"
        );
        let (order, error) = (&answer["order"], &answer["error"]);
        assert_eq!(order.is_null(), answer["status"].as_u64() >= Some(300), "{answer}");
        assert_eq!(error.is_null(), !order.is_null(), "{answer}");
        if !error.is_null() {
            assert_eq!(error["status"], answer["status"], "a line's error is a problem: {answer}");
            assert!(error["type"].as_str().unwrap().starts_with("urn:razao:problem:"), "{answer}");
        }
    }
    assert_eq!(answers[9]["order"], json!({"state": "created", "seq": 3}));
    assert_eq!(client.order("PED-2").await["metadata"], json!({"cart": "77"}));
    client.get(&order_path("PED-4")).await.problem(404, ANY);
    assert_eq!(client.ledger().await.len(), 3, "one entry per new order");
}

#[tokio::test]
async fn lines_of_ndjson_are_the_same_registrations() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let body = format!("{}\r\n\n{{broken\n{}\n", line("PED-1", "1.00"), line("PED-2", "2.00"));
    let answer = ndjson(&client, &body).await.is(200);
    let lines = answer["data"].as_array().unwrap();
    assert_eq!(statuses(lines), [201, 422, 201]);
    assert_eq!((&lines[1]["account"], &lines[1]["reference"]), (&Value::Null, &Value::Null));
    let again = ndjson(&client, &body).await.is(200);
    assert_eq!(statuses(again["data"].as_array().unwrap()), [200, 422, 200], "a repeat is harmless");
}

#[tokio::test]
async fn ten_thousand_lines_are_taken_and_one_more_is_not() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let lines: Vec<Value> = (0..10_001).map(|n| line(&format!("PED-{n:05}"), "1.00")).collect();
    client.post("/v1/orders:batch", &json!({"orders": lines})).await.problem(413, "too-many-lines");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    ndjson(&client, &text).await.problem(413, "too-many-lines");
    assert_eq!(client.ledger().await.len(), 0, "nothing of it was carried out");
    let answers = batch(&client, &lines[..10_000]).await;
    assert!(statuses(&answers).iter().all(|status| *status == 201));
    let head = client.get("/v1/ledger/head").await.ok();
    assert_eq!(head["seq"], 10_000);
    let padded = format!("{{\"orders\":[{}]}}", " ".repeat(9 << 20));
    let request = client.request("POST", "/v1/orders:batch").body(padded);
    // The rest of a body that is too large is not read, so the connection may end before the answer is.
    if let Ok(reply) = client.attempt(request).await {
        reply.problem(413, "too-large");
    }
}

#[tokio::test]
async fn what_is_no_batch_is_refused_whole() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let empty = client.post("/v1/orders:batch", &json!({"orders": []})).await.is(200);
    assert_eq!(empty["data"], json!([]));
    for body in ["", "[]", "{}", "{\"orders\":7}", "{\"orders\":[],\"more\":1}", "{\"orders\":[{]}"] {
        let request = client.request("POST", "/v1/orders:batch").body(body);
        client.send(request).await.problem(400, "invalid-body");
    }
    let request = client.request("POST", "/v1/orders:batch").body(b"{\"orders\":[\"\xff\"]}".to_vec());
    client.send(request).await.problem(400, "invalid-body");
    client.get("/v1/orders:batch").await.problem(405, ANY);
    // A line that nobody could have meant is refused before it is looked into.
    let long = json!({"account": ACCOUNT, "reference": "PED-1", "x": "y".repeat(20_000)});
    assert_eq!(statuses(&batch(&client, &[long, line("PED-2", "1.00")]).await), [422, 201]);
    let many: Value = (0..500).map(|n| (format!("f{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let mut many = many;
    many["account"] = json!(ACCOUNT);
    many["reference"] = json!("PED-1");
    let answer = batch(&client, &[many]).await;
    assert!(answer[0]["error"]["errors"].as_array().unwrap().len() < 12, "{answer:?}");
}

#[tokio::test]
async fn scope_and_accounts_of_the_token_are_kept() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("other", &bank, ""));
    let reader = daemon.client_with("orders:read", &[]);
    reader.post("/v1/orders:batch", &json!({"orders": []})).await.problem(403, "missing-scope");
    daemon.anonymous().post("/v1/orders:batch", &json!({"orders": []})).await.problem(401, ANY);
    let narrow = daemon.client_with("orders:write", &["--accounts", "other"]);
    let mut own = line("PED-2", "1.00");
    own["account"] = json!("other");
    assert_eq!(statuses(&batch(&narrow, &[line("PED-1", "1.00"), own]).await), [404, 201]);
    daemon.client().get(&order_path("PED-1")).await.problem(404, ANY);
}
