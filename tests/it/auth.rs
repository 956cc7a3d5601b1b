//! Who may see what: tokens that are none, scopes, and the accounts a token reaches.

use crate::support::client::order_path;
use crate::support::{ANY, Bank, Client, Daemon, Setup};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes-1";
const SCOPES: &str =
    "orders:read orders:write ledger:read events:read balances:read callbacks:read callbacks:write admin";

fn setup(bank: &Bank) -> Setup {
    Setup::new(bank).account("loja-b", bank, "").auth(&format!(
        "issuer = \"shop\"\naudience = \"razao-test\"\n[[auth.keys]]\nkid = \"main\"\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\""
    ))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": "shop", "aud": "razao-test", "exp": now() + 600, "scope": SCOPES, "accounts": ["*"], "sub": "tests"})
}

/// The good claims with some changed; null takes one out.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn signed(kid: Option<&str>, secret: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn token(changes: Value) -> String {
    signed(Some("main"), SECRET, &with(changes))
}

async fn refused(daemon: &Daemon, what: &str, token: &str) {
    let reply = daemon.client_by(token).get("/v1/orders").await;
    assert_eq!(reply.status, 401, "{what}: {}", reply.text());
    reply.problem(401, ANY);
    let challenge = reply.header("www-authenticate").unwrap_or_else(|| panic!("{what}: no WWW-Authenticate"));
    assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
}

async fn accepted(daemon: &Daemon, what: &str, token: &str) {
    let reply = daemon.client_by(token).get("/v1/orders").await;
    assert_eq!(reply.status, 200, "{what}: {}", reply.text());
}

#[tokio::test]
async fn tokens_that_are_none_are_401() {
    let bank = Bank::open();
    let daemon = Daemon::with(setup(&bank));
    accepted(&daemon, "the good one", &token(json!({}))).await;
    let bare = daemon.anonymous().get("/v1/orders").await;
    bare.problem(401, ANY);
    assert!(bare.header("www-authenticate").is_some());
    let part = |json: Value| unpadded(json.to_string().as_bytes());
    let none = format!("{}.{}.", part(json!({"alg": "none", "typ": "JWT"})), part(claims()));
    let none_with_kid = format!("{}.{}.", part(json!({"alg": "none", "kid": "main"})), part(claims()));
    let good = token(json!({}));
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned();
    let cases = [
        ("garbage", "garbage".to_owned()),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("alg none", none),
        ("alg none with a kid", none_with_kid),
        ("no signature", format!("{unsigned}.")),
        ("two parts", unsigned),
        ("another secret", signed(Some("main"), "another-secret-of-more-than-32-bytes-00", &claims())),
        ("an unknown kid", signed(Some("other"), SECRET, &claims())),
        ("cut", good[..good.len() - 4].to_owned()),
    ];
    for (what, token) in cases {
        refused(&daemon, what, &token).await;
    }
    // Another algorithm of the same family is not the key's algorithm.
    let mut header = Header::new(Algorithm::HS512);
    header.kid = Some("main".to_owned());
    let hs512 = encode(&header, &claims(), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    refused(&daemon, "HS512 by an HS256 key", &hs512).await;
}

#[tokio::test]
async fn claims_are_required_and_checked() {
    let bank = Bank::open();
    let daemon = Daemon::with(setup(&bank));
    let bad = [
        ("another issuer", json!({"iss": "someone"})),
        ("no issuer", json!({"iss": null})),
        ("another audience", json!({"aud": "someone"})),
        ("no audience", json!({"aud": null})),
        ("other audiences", json!({"aud": ["a", "b"]})),
        ("no end", json!({"exp": null})),
        ("ended beyond the leeway", json!({"exp": now() - 120})),
        ("an end that is no number", json!({"exp": "never"})),
        ("not yet", json!({"nbf": now() + 600})),
    ];
    for (what, changes) in bad {
        refused(&daemon, what, &token(changes)).await;
    }
    let good = [
        ("one of several audiences", json!({"aud": ["other", "razao-test"]})),
        ("ended within the leeway", json!({"exp": now() - 20})),
        ("begun", json!({"nbf": now() - 1})),
        ("begins within the leeway", json!({"nbf": now() + 20})),
    ];
    for (what, changes) in good {
        accepted(&daemon, what, &token(changes)).await;
    }
    accepted(&daemon, "no kid where one key has its algorithm", &signed(None, SECRET, &claims())).await;
}

/// Base64url without padding, as JWTs have it.
fn unpadded(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift) as usize & 63] as char);
        text.extend(&digits[..=chunk.len()]);
    }
    text
}

fn scoped(daemon: &Daemon, scope: &str) -> Client {
    daemon.client_by(&token(json!({"scope": scope})))
}

#[tokio::test]
async fn a_missing_scope_is_403_before_body_and_existence() {
    let bank = Bank::open();
    let daemon = Daemon::with(setup(&bank));
    let routes = [
        ("PUT", order_path("PED-1"), "orders:write"),
        ("GET", order_path("PED-1"), "orders:read"),
        ("GET", "/v1/orders".into(), "orders:read"),
        ("GET", format!("{}/history", order_path("PED-1")), "orders:read"),
        ("POST", format!("{}/poll", order_path("PED-1")), "orders:write"),
        ("GET", "/v1/ledger".into(), "ledger:read"),
        ("GET", "/v1/ledger/1".into(), "ledger:read"),
        ("GET", "/v1/ledger/head".into(), "ledger:read"),
        ("GET", "/v1/events".into(), "events:read"),
        ("GET", "/v1/stream".into(), "events:read"),
        ("GET", "/v1/balances".into(), "balances:read"),
        ("GET", "/v1/periods".into(), "balances:read"),
        ("GET", "/v1/periods/2026-02".into(), "balances:read"),
        ("GET", "/v1/periods/2026-02/corrections".into(), "balances:read"),
        ("POST", "/v1/periods/2026-02/close".into(), "admin"),
        ("GET", "/v1/callbacks".into(), "callbacks:read"),
        ("GET", "/v1/callbacks/x".into(), "callbacks:read"),
        ("POST", "/v1/callbacks/x/reprocess".into(), "callbacks:write"),
        ("GET", "/v1/discrepancies".into(), "orders:read"),
        ("POST", "/v1/discrepancies/1/resolve".into(), "orders:write"),
        ("GET", "/v1/admin/status".into(), "admin"),
    ];
    for (method, path, scope) in routes {
        let others: Vec<&str> = SCOPES.split(' ').filter(|other| *other != scope).collect();
        let without = scoped(&daemon, &others.join(" "));
        without.send(without.request(method, &path).body("{broken")).await.problem(403, ANY);
        let bare = daemon.anonymous();
        bare.send(bare.request(method, &path).body("{broken")).await.problem(401, ANY);
        if path != "/v1/stream" {
            let with = scoped(&daemon, scope);
            let status = with.send(with.request(method, &path).body("{broken")).await.status;
            assert!(![401, 403].contains(&status), "{method} {path} with {scope}: {status}");
        }
    }
    // No scope, a scope that begins like the right one, and the one that is not above the others.
    for scope in ["", "orders:reader", "orders", "orders:", "*", "admin", "ORDERS:READ"] {
        scoped(&daemon, scope).get("/v1/orders").await.problem(403, ANY);
    }
    daemon.client_by(&token(json!({"scope": null}))).get("/v1/orders").await.problem_among(&[401, 403]);
}

async fn one_order_each(bank: &Bank, client: &Client) -> (String, String) {
    bank.says("PED-1", "paid", "10", "0");
    let here = client.callback("PED-1").await;
    client.settled(&here).await;
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    let there = client.callback_raw("/callbacks/loja-b", crate::support::SELLER_TOKEN, body);
    let there = client.send(there).await.is(200)["receipt"].as_str().unwrap().to_owned();
    client.settled(&there).await;
    bank.says_legacy("PED-1", "expired");
    client.news("PED-1").await;
    (here, there)
}

#[tokio::test]
async fn a_token_sees_its_accounts_and_nothing_else_exists() {
    let bank = Bank::open();
    let daemon = Daemon::with(setup(&bank));
    let all = daemon.client_by(&token(json!({})));
    let (here, there) = one_order_each(&bank, &all).await;
    let b = daemon.client_by(&token(json!({"accounts": ["loja-b"]})));
    assert_eq!(b.get("/v1/orders/loja-b/PED-1").await.ok()["state"], "paid");
    b.get(&order_path("PED-1")).await.problem(404, ANY);
    b.get(&format!("{}/history", order_path("PED-1"))).await.problem(404, ANY);
    b.poll("PED-1").await.problem(404, ANY);
    b.put(&order_path("NEW"), &json!({"amount": "1.00", "currency": "BRL"})).await.problem(404, ANY);
    b.get(&format!("/v1/callbacks/{there}")).await.ok();
    b.get(&format!("/v1/callbacks/{here}")).await.problem(404, ANY);
    b.post(&format!("/v1/callbacks/{here}/reprocess"), &json!({})).await.problem(404, ANY);
    let open = all.all("/v1/discrepancies").await[0]["id"].as_str().unwrap().to_owned();
    let keep = json!({"action": "keep", "reason": "why"});
    b.post(&format!("/v1/discrepancies/{open}/resolve"), &keep).await.problem(404, ANY);
    b.get(&format!("/v1/ledger/{open}")).await.problem(404, ANY);
    for path in
        ["/v1/orders", "/v1/ledger", "/v1/events", "/v1/callbacks", "/v1/discrepancies", "/v1/balances"]
    {
        let text = b.get(path).await.is(200).to_string();
        assert!(!text.contains("loja-picpay"), "{path} shows another's account: {text}");
        let glue = format!("{path}?account=loja-picpay");
        assert_eq!(b.get(&glue).await.is(200)["data"], json!([]), "{glue}");
        assert!(all.get(path).await.text().contains("loja-picpay"), "{path} proves nothing");
    }
    // Holes in the seqs, but each entry stands for itself.
    let ledger = b.ledger().await;
    assert!(!ledger.is_empty());
    assert!(ledger.iter().all(|entry| entry["hash"] == crate::support::chain::hash_of(entry).as_str()));
}

#[tokio::test]
async fn without_the_accounts_claim_nothing_is_seen() {
    let bank = Bank::open();
    let daemon = Daemon::with(setup(&bank));
    one_order_each(&bank, &daemon.client_by(&token(json!({})))).await;
    for accounts in [json!(null), json!([]), json!(["nobody"]), json!(["loja"]), json!(["loja-*"])] {
        let blind = daemon.client_by(&token(json!({"accounts": accounts})));
        for path in
            ["/v1/orders", "/v1/ledger", "/v1/events", "/v1/callbacks", "/v1/discrepancies", "/v1/balances"]
        {
            assert_eq!(blind.get(path).await.is(200)["data"], json!([]), "{path} with {accounts}");
        }
        blind.get("/v1/orders/loja-b/PED-1").await.problem(404, ANY);
    }
}

#[tokio::test]
async fn the_programs_own_tokens_are_limited_as_told() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank).account("loja-b", &bank, ""));
    one_order_each(&bank, &daemon.client()).await;
    let b = daemon.client_with("orders:read", &["--accounts", "loja-b"]);
    let seen: Vec<_> = b.all("/v1/orders").await.iter().map(|order| order["account"].clone()).collect();
    assert_eq!(seen, ["loja-b"]);
    let both = daemon.client_with("orders:read", &["--accounts", "loja-b,loja-picpay"]);
    assert_eq!(both.all("/v1/orders").await.len(), 2);
    b.get("/v1/ledger").await.problem(403, ANY);
}
