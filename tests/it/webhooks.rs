//! Subscriptions: what may be asked for, what is shown of them, and who sees them.

use crate::support::hooks::{Hooked, SOON, make, pairs, quiet, told};
use crate::support::shop::{Shop, answer};
use crate::support::{ANY, Bank, Daemon, SELLER_TOKEN, Setup, encoded, until};
use serde_json::{Value, json};

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_deleted() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let client = daemon.client();
    let fields = json!({
        "events": ["order.paid", "payout.*"], "description": "the shop", "accounts": ["loja-picpay"],
        "authorization": "Basic abc", "headers": {"X-Shop": "7"},
    });
    let made = make(&client, &shop.url(), fields).await;
    let secret = made["secret"].as_str().unwrap();
    let decoded = secret.strip_prefix("whsec_").unwrap();
    assert!((32..=44).contains(&decoded.len()), "24 to 32 bytes in base64: {secret}");
    assert_eq!((&made["target"], &made["description"]), (&json!(shop.url()), &json!("the shop")));
    assert_eq!(
        (&made["events"], &made["accounts"]),
        (&json!(["order.paid", "payout.*"]), &json!(["loja-picpay"]))
    );
    assert_eq!((&made["headers"], &made["has_authorization"]), (&json!({"x-shop": "7"}), &json!(true)));
    for (field, value) in [("status", json!("enabled")), ("reason", Value::Null), ("since", Value::Null)] {
        assert_eq!(made[field], value, "{field} of {made}");
    }
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let shown = client.get(&path).await.is(200);
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown, expected, "all but the secret");
    assert_eq!(client.all("/v1/webhooks").await, [shown]);

    let change = json!({"events": ["*"], "authorization": null, "headers": null, "description": "x"});
    let changed = client.patch(&path, &change).await.is(200);
    assert_eq!((&changed["events"], &changed["description"]), (&json!(["*"]), &json!("x")));
    assert_eq!((&changed["headers"], &changed["has_authorization"]), (&json!({}), &json!(false)));
    assert_eq!((&changed["target"], changed.get("secret")), (&json!(shop.url()), None));
    assert_eq!(client.get(&path).await.is(200), changed);
    let unchanged = client.patch(&path, &json!({})).await.is(200);
    assert_eq!(unchanged["events"], json!(["*"]));

    assert_eq!(client.delete(&path).await.status, 204);
    client.get(&path).await.problem(404, ANY);
    client.delete(&path).await.problem(404, ANY);
    client.patch(&path, &json!({})).await.problem(404, ANY);
    assert_eq!(client.all("/v1/webhooks").await, [Value::Null; 0]);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_with_every_reason() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).webhooks(SOON));
    let client = daemon.client();
    let url = shop.url();
    for (body, field) in [
        (json!({}), "target"),
        (json!({"target": 7}), "target"),
        (json!({"target": null}), "target"),
        (json!({"target": "not a url"}), "target"),
        (json!({"target": "ftp://shop.example.com/"}), "target"),
        (json!({"target": "http://ana:secret@127.0.0.1/"}), "target"),
        (json!({"target": "http://127.0.0.1/#x"}), "target"),
        (json!({"target": url, "events": []}), "events"),
        (json!({"target": url, "events": "*"}), "events"),
        (json!({"target": url, "events": ["order.payed"]}), "events"),
        (json!({"target": url, "events": ["webhook.test"]}), "events"),
        (json!({"target": url, "accounts": ["nobody"]}), "accounts"),
        (json!({"target": url, "accounts": ["*", "loja-picpay"]}), "accounts"),
        (json!({"target": url, "authorization": "a\r\nX-Evil: 1"}), "authorization"),
        (json!({"target": url, "headers": {"X-A": "b\r\nHost: evil"}}), "headers"),
        (json!({"target": url, "headers": {"Host": "evil"}}), "headers"),
        (json!({"target": url, "headers": {"Content-Length": "0"}}), "headers"),
        (json!({"target": url, "headers": {"Transfer-Encoding": "chunked"}}), "headers"),
        (json!({"target": url, "headers": {"Authorization": "x"}}), "headers"),
        (json!({"target": url, "headers": {"webhook-signature": "v1,x"}}), "headers"),
        (json!({"target": url, "headers": {"X\nY": "z"}}), "headers"),
        (json!({"target": url, "from": 0}), "from"),
        (json!({"target": url, "from": "1"}), "from"),
        (json!({"target": url, "from": 1.5}), "from"),
        (json!({"target": url, "description": "a\u{7}b"}), "description"),
        (json!({"target": url, "secret": "whsec_mine"}), "secret"),
    ] {
        let problem = client.post("/v1/webhooks", &body).await.problem(422, "invalid-fields");
        let named = problem["errors"].as_array().unwrap().iter().any(|error| error["field"] == field);
        assert!(named, "{body}: {problem}");
    }
    let two = json!({"target": url, "from": 0, "events": ["x"]});
    assert_eq!(
        client.post("/v1/webhooks", &two).await.problem(422, ANY)["errors"].as_array().unwrap().len(),
        2
    );
    for raw in ["[]", "{", "", "7"] {
        let request = client.request("POST", "/v1/webhooks").header("content-type", "application/json");
        client.send(request.body(raw)).await.problem(400, ANY);
    }
    assert_eq!(client.all("/v1/webhooks").await, [Value::Null; 0]);
    let made = make(&client, &url, json!({})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    for change in [
        json!({"target": "https://a b"}),
        json!({"target": null}),
        json!({"events": null}),
        json!({"status": "failing"}),
        json!({"from": 1}),
        json!({"headers": {"Host": "evil"}}),
    ] {
        client.patch(&path, &change).await.problem(422, "invalid-fields");
    }
    assert_eq!(client.get(&path).await.is(200)["updated_at"], made["updated_at"], "nothing of it was taken");
}

#[tokio::test]
async fn scopes_are_asked_for_before_anything_else() {
    let hooked = Hooked::open().await;
    let (path, delivery) = (hooked.path(), format!("/v1/deliveries/dl_{}_1", "0".repeat(32)));
    let reader = hooked.daemon.client_with("webhooks:read", &[]);
    let writer = hooked.daemon.client_with("webhooks:write", &[]);
    let stranger = hooked.daemon.client_with("orders:read events:read admin", &[]);
    for get in ["/v1/webhooks", &path, &format!("{path}/deliveries"), &delivery] {
        hooked.daemon.anonymous().get(get).await.problem(401, ANY);
        stranger.get(get).await.problem(403, "missing-scope");
        writer.get(get).await.problem(403, "missing-scope");
    }
    for post in ["/rotate", "/test", "/enable", "/replay"] {
        reader.post(&format!("{path}{post}"), &json!({})).await.problem(403, "missing-scope");
    }
    reader.post("/v1/webhooks", &json!({})).await.problem(403, "missing-scope");
    reader.post(&format!("{delivery}/resend"), &json!({})).await.problem(403, "missing-scope");
    reader.patch(&path, &json!({})).await.problem(403, "missing-scope");
    reader.delete(&path).await.problem(403, "missing-scope");
    reader.get(&path).await.is(200);
    reader.get(&delivery).await.problem(404, ANY);
    writer.patch(&path, &json!({})).await.is(200);
    for absent in ["wh_x", "x", "..%2F", &format!("wh_{}", "0".repeat(32)), &hooked.id.to_uppercase()] {
        reader.get(&format!("/v1/webhooks/{absent}")).await.problem(404, ANY);
    }
}

#[tokio::test]
async fn a_token_bounds_what_its_webhooks_are_told_and_which_it_sees() {
    let (bank, all, own) = (Bank::open(), Shop::open(), Shop::open());
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, "").webhooks(SOON));
    let client = daemon.client();
    let limited = daemon.client_with("webhooks:read webhooks:write", &["--accounts", "loja-b"]);
    let wide = make(&client, &all.url(), json!({})).await;
    let narrow = make(&limited, &own.url(), json!({})).await;
    assert_eq!((&wide["accounts"], &narrow["accounts"]), (&json!(["*"]), &json!(["loja-b"])));
    let more = json!({"target": own.url(), "accounts": ["loja-b", "loja-picpay"]});
    limited.post("/v1/webhooks", &more).await.problem(422, "invalid-fields");
    let everything = json!({"target": own.url(), "accounts": ["*"]});
    assert_eq!(limited.post("/v1/webhooks", &everything).await.is(201)["accounts"], json!(["loja-b"]));

    let path = |webhook: &Value| format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    limited.get(&path(&wide)).await.problem(404, ANY);
    limited.patch(&path(&wide), &json!({"events": ["*"]})).await.problem(404, ANY);
    limited.delete(&path(&wide)).await.problem(404, ANY);
    limited.post(&format!("{}/rotate", path(&wide)), &json!({})).await.problem(404, ANY);
    limited.get(&format!("{}/deliveries", path(&wide))).await.problem(404, ANY);
    limited.patch(&path(&narrow), &json!({"accounts": ["loja-picpay"]})).await.problem(422, ANY);
    assert_eq!(limited.all("/v1/webhooks").await.len(), 2);
    assert_eq!(client.all("/v1/webhooks?limit=1").await.len(), 3);

    bank.says("PED-1", "created", "0", "0");
    let order = json!({"amount": "10.00", "currency": "BRL"});
    client.register("PED-1", "10.00").await;
    client.put("/v1/orders/loja-b/PED-2", &order).await.is(201);
    quiet(&client).await;
    assert_eq!(told(&own.confirmed()), pairs(&[("PED-2", "order.created"); 2]), "both of loja-b's webhooks");
    assert_eq!(all.confirmed().len(), 2);
    let theirs = client.all(&format!("{}/deliveries", path(&wide))).await;
    for delivery in &theirs {
        let id = delivery["id"].as_str().unwrap();
        client.get(&format!("/v1/deliveries/{id}")).await.is(200);
        limited.get(&format!("/v1/deliveries/{id}")).await.problem(404, ANY);
        limited.post(&format!("/v1/deliveries/{id}/resend"), &json!({})).await.problem(404, ANY);
    }
    assert_eq!(theirs.len(), 2);
}

#[tokio::test]
async fn patterns_choose_and_a_change_applies_to_what_comes() {
    let hooked = Hooked::with(SOON, json!({"events": ["order.paid", "order.refunded"]})).await;
    hooked.pay("PED-1").await;
    hooked.quiet().await;
    assert_eq!(hooked.confirmed(), pairs(&[("PED-1", "order.paid")]));
    let webhook = hooked.webhook().await;
    assert_eq!(webhook["cursor"], 2, "what nobody wants is passed: {webhook}");
    hooked.client().patch(&hooked.path(), &json!({"events": ["order.created"]})).await.is(200);
    hooked.pay("PED-2").await;
    hooked.quiet().await;
    let expected = [("PED-1", "order.paid"), ("PED-2", "order.created")];
    assert_eq!(hooked.confirmed(), pairs(&expected));
    hooked.bank.says("PED-2", "refunded", "10", "10");
    hooked.client().news("PED-2").await;
    hooked.client().patch(&hooked.path(), &json!({"events": ["order.*"]})).await.is(200);
    hooked.quiet().await;
    assert_eq!(hooked.confirmed(), pairs(&expected), "what was passed stays passed");
    assert_eq!(hooked.webhook().await["cursor"], 5);
}

#[tokio::test]
async fn a_changed_target_gets_what_the_old_one_did_not_take() {
    let hooked = Hooked::open().await;
    hooked.shop.answers(500);
    hooked.pay("PED-1").await;
    hooked.is("failing").await;
    let moved = Shop::open();
    hooked.client().patch(&hooked.path(), &json!({"target": moved.url()})).await.is(200);
    hooked.quiet().await;
    assert_eq!(told(&moved.confirmed()), pairs(&[("PED-1", "order.created"), ("PED-1", "order.paid")]));
    assert!(hooked.confirmed().is_empty());
}

#[tokio::test]
async fn secrets_and_authorization_are_shown_once_or_never_and_printed_nowhere() {
    let (bank, shop) = (Bank::open(), Shop::open());
    let setup = Setup::new(&bank).webhooks(SOON).log("level = \"trace\"");
    let mut daemon = Daemon::with(setup);
    let client = daemon.client();
    let authorization = "Bearer private-authorization-4711";
    let query = "token-in-the-query-4712";
    let target = format!("{}?key={query}", shop.url());
    let header = json!({"X-Api-Key": "private-header-4713"});
    let made = make(&client, &target, json!({"authorization": authorization, "headers": header})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let first = made["secret"].as_str().unwrap().trim_start_matches("whsec_").to_owned();
    shop.next(answer(500));
    client.register("PED-1", "10.00").await;
    quiet(&client).await;
    let rotated = client.post(&format!("{path}/rotate"), &json!({})).await.is(200);
    let second = rotated["secret"].as_str().unwrap().trim_start_matches("whsec_").to_owned();
    client.post(&format!("{path}/test"), &json!({})).await.is(202);
    quiet(&client).await;
    assert!(shop.received().iter().all(|it| it.header("authorization") == authorization));
    let mut answers = made.to_string().replace(&first, "") + &rotated.to_string().replace(&second, "");
    for get in
        ["/v1/webhooks".to_owned(), path.clone(), format!("{path}/deliveries"), "/v1/admin/status".to_owned()]
    {
        answers.push_str(&client.get(&get).await.text());
    }
    for delivery in client.all(&format!("{path}/deliveries")).await {
        let id = encoded(delivery["id"].as_str().unwrap());
        answers.push_str(&client.get(&format!("/v1/deliveries/{id}")).await.text());
    }
    answers.push_str(&client.patch(&path, &json!({"description": "x"})).await.text());
    answers.push_str(&client.post(&format!("{path}/enable"), &json!({})).await.text());
    daemon.stop();
    let printed = daemon.printed();
    assert!(
        printed.contains("a webhook is made") && answers.contains("order.created"),
        "there was something to look at"
    );
    for secret in [&first, &second, "private-authorization-4711"] {
        assert!(!answers.contains(secret), "an answer of the API holds {secret}");
    }
    for secret in [&first, &second, "private-authorization-4711", query, "private-header-4713"] {
        if let Some(line) = printed.lines().find(|line| line.contains(secret)) {
            panic!("{secret} was printed: {line}");
        }
    }
}

#[tokio::test]
async fn callbacks_lead_to_events_without_a_registration() {
    let hooked = Hooked::with(SOON, json!({"events": ["order.paid"]})).await;
    hooked.bank.says("PED-9", "paid", "12.5", "0");
    let body = json!({"referenceId": "PED-9"}).to_string().into_bytes();
    let client = hooked.client();
    client.send(client.callback_raw("/callbacks/loja-picpay", SELLER_TOKEN, body)).await.is(200);
    until("the event", async || (hooked.shop.confirmed().len() == 1).then_some(())).await;
    let body = hooked.shop.confirmed()[0].json();
    assert_eq!(
        (&body["data"]["order"]["state"], &body["data"]["entry"]["amount"]),
        (&json!("paid"), &json!("12.50"))
    );
}
