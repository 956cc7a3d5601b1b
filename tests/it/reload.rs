//! SIGHUP: keys, credentials and certificates are exchanged while the daemon runs and connections go on; a configuration
//! that does not hold changes nothing.

use crate::support::daemon::ALL_SCOPES;
use crate::support::setup::{PICPAY_TOKEN, SELLER_TOKEN};
use crate::support::sse::Sse;
use crate::support::{ANY, Bank, Client, Daemon, Setup, tool, until};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const NEW_TOKEN: &str = "seller-token-of-the-next-quarter-4b1e";

/// `config` in the status.
async fn config(client: &Client) -> Value {
    client.get("/v1/admin/status").await.ok()["config"].clone()
}

/// Sends SIGHUP and waits until it was heard: until the status says another thing of the configuration.
async fn reload(daemon: &Daemon, client: &Client) -> Value {
    let before = config(client).await;
    daemon.signal("HUP");
    until("a reload", async || Some(config(client).await).filter(|now| *now != before)).await
}

/// Writes the configuration with one text in place of another.
fn rewrite(daemon: &Daemon, from: &str, to: &str) {
    let text = std::fs::read_to_string(&daemon.place().config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    daemon.place().write(&text.replace(from, to));
}

async fn knock(client: &Client, seller_token: &str) -> u16 {
    let body = json!({"referenceId": "PED-1"}).to_string().into_bytes();
    client.send(client.callback_raw("/callbacks/loja-picpay", seller_token, body)).await.status
}

#[tokio::test]
async fn tokens_of_a_key_that_is_gone_are_refused_and_their_streams_go_on() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let old = daemon.client();
    let mut stream = Sse::open(&old, "?from=1", None).await;
    old.register("PED-1", "10.00").await;
    assert_eq!(stream.event().await.0, 1);
    let ticket = old.post("/v1/tickets", &json!({})).await.is(201)["ticket"].as_str().unwrap().to_owned();
    std::fs::write(daemon.data().join("jwt.key"), "0123456789abcdef".repeat(4)).unwrap();
    daemon.signal("HUP");
    until("the old key is gone", async || (old.get("/v1/orders").await.status == 401).then_some(())).await;
    let new = daemon.client_by(&daemon.place().token(crate::support::daemon::ALL_SCOPES, &[]));
    new.register("PED-2", "10.00").await;
    assert_eq!(stream.event().await.0, 2, "the stream that the old key opened");
    daemon.anonymous().get(&format!("/v1/stream?ticket={ticket}")).await.problem(401, ANY);
}

/// A token that the private key in this fixture signed under this kid.
fn signed(kid: &str, private: &str) -> String {
    let pem = std::fs::read(fixture(private)).unwrap();
    let (algorithm, key) = match kid {
        "set-ed" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&pem)),
        _ => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem)),
    };
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims = json!({"iss": "shop", "aud": "razao", "exp": exp, "scope": ALL_SCOPES, "accounts": ["*"], "sub": kid});
    encode(&header, &claims, &key.unwrap()).unwrap()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/auth").join(name)
}

/// The fixture's key set with these keys alone.
fn key_set(kids: &[&str]) -> String {
    let text = std::fs::read_to_string(fixture("jwks.json")).unwrap();
    let mut set: Value = serde_json::from_str(&text).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.retain(|key| kids.contains(&key["kid"].as_str().unwrap()));
    assert_eq!(keys.len(), kids.len(), "{kids:?}");
    set.to_string()
}

#[tokio::test]
async fn of_a_key_set_new_keys_are_believed_and_removed_ones_refused_at_once() {
    let (bank, dir) = (Bank::open(), tempfile::tempdir().unwrap());
    let set = dir.path().join("jwks.json");
    std::fs::write(&set, key_set(&["set-ed"])).unwrap();
    let auth =
        format!("issuer = \"shop\"\naudience = \"razao\"\n[[auth.keys]]\njwks_file = \"{}\"", set.display());
    let daemon = Daemon::with(Setup::new(&bank).auth(&auth));
    let old = daemon.client_by(&signed("set-ed", "eddsa.private.pem"));
    let new = daemon.client_by(&signed("set-es", "es256.private.pem"));
    let statuses = async || [old.get("/v1/orders").await.status, new.get("/v1/orders").await.status];
    let mut stream = Sse::open(&old, "?from=1", None).await;
    old.register("PED-1", "10.00").await;
    assert_eq!(stream.event().await.0, 1);
    assert_eq!(statuses().await, [200, 401]);
    std::fs::write(&set, key_set(&["set-ed", "set-es"])).unwrap();
    reload(&daemon, &old).await;
    assert_eq!(statuses().await, [200, 200]);
    std::fs::write(&set, key_set(&["set-es"])).unwrap();
    reload(&daemon, &new).await;
    assert_eq!(statuses().await, [401, 200]);
    new.register("PED-2", "10.00").await;
    assert_eq!(stream.event().await.0, 2, "the stream that the removed key opened");
    // A set that cannot be read, and one without a key, change nothing.
    for broken in ["{\"keys\": [".to_owned(), key_set(&[])] {
        std::fs::write(&set, broken).unwrap();
        let status = reload(&daemon, &new).await;
        let error = status["error"].as_str().unwrap_or_else(|| panic!("no error in {status}"));
        assert!(error.contains("jwks_file"), "{error}");
        assert_eq!(statuses().await, [401, 200]);
    }
}

#[tokio::test]
async fn two_seller_tokens_are_good_during_a_rotation() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    assert_eq!((knock(&client, SELLER_TOKEN).await, knock(&client, NEW_TOKEN).await), (200, 401));
    let line = |tokens: &str| format!("seller_token = {tokens}\n");
    let (one, both) = (format!("\"{SELLER_TOKEN}\""), format!("[\"{SELLER_TOKEN}\", \"{NEW_TOKEN}\"]"));
    rewrite(&daemon, &line(&one), &line(&both));
    let status = reload(&daemon, &client).await;
    assert_eq!((&status["error"], &status["restart_needed"]), (&Value::Null, &json!([])), "{status}");
    assert_eq!((knock(&client, SELLER_TOKEN).await, knock(&client, NEW_TOKEN).await), (200, 200));
    rewrite(&daemon, &line(&both), &line(&format!("\"{NEW_TOKEN}\"")));
    reload(&daemon, &client).await;
    assert_eq!((knock(&client, SELLER_TOKEN).await, knock(&client, NEW_TOKEN).await), (401, 200));
    let printed = daemon.printed();
    assert!(!printed.contains(SELLER_TOKEN) && !printed.contains(NEW_TOKEN), "{printed}");
}

#[tokio::test]
async fn a_broken_configuration_changes_nothing_and_is_named_whole() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let good = std::fs::read_to_string(&daemon.place().config).unwrap();
    let broken = good.replace(SELLER_TOKEN, NEW_TOKEN).replace("timeout = \"3s\"", "timeout = \"soon\"");
    daemon.place().write(&format!("{broken}\n[no_such_section]\n"));
    let status = reload(&daemon, &client).await;
    let error = status["error"].as_str().unwrap_or_else(|| panic!("no error in {status}"));
    assert!(error.contains("resolver.timeout") && error.contains("no_such_section"), "{error}");
    assert_eq!((knock(&client, SELLER_TOKEN).await, knock(&client, NEW_TOKEN).await), (200, 401));
    let printed = daemon.printed();
    assert!(printed.contains("resolver.timeout") && !printed.contains(NEW_TOKEN), "{printed}");
    daemon.place().write(&good);
    let status = reload(&daemon, &client).await;
    assert_eq!(status["error"], Value::Null, "{status}");
}

#[tokio::test]
async fn what_waits_for_a_restart_is_named() {
    let bank = Bank::open();
    let daemon = Daemon::start(&bank);
    let client = daemon.client();
    let text = std::fs::read_to_string(&daemon.place().config).unwrap();
    let other = text
        .replace("\ndir = \"", "\ndir = \"/elsewhere")
        .replace("id = \"loja-picpay\"", "id = \"loja-nova\"");
    daemon.place().write(&other);
    let status = reload(&daemon, &client).await;
    let named: Vec<&str> =
        status["restart_needed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(named, ["data", "accounts.loja-picpay", "accounts.loja-nova"], "{status}");
    assert_eq!(knock(&client, SELLER_TOKEN).await, 200, "the account that runs goes on");
    assert!(daemon.printed().contains("accounts.loja-nova"));
}

#[tokio::test]
async fn credentials_that_were_refused_are_tried_at_once() {
    let bank = Bank::open();
    // No pause ends within this test by itself.
    let setup = Setup::new(&bank).resolver("first_pause = \"30m\"\nmax_pause = \"1h\"\ntimeout = \"3s\"\n");
    let good = format!("picpay_token = \"{PICPAY_TOKEN}\"");
    let setup = Setup { accounts: setup.accounts.replace(&good, "picpay_token = \"outdated\""), ..setup };
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let receipt = client.callback("PED-1").await;
    until("the token is refused", async || {
        let status = client.get("/v1/admin/status").await.ok();
        (status["receipts"]["retrying"] == 1 && status["accounts"][0]["last_error"].is_object()).then_some(())
    })
    .await;
    rewrite(&daemon, "picpay_token = \"outdated\"", &good);
    reload(&daemon, &client).await;
    assert_eq!(client.settled(&receipt).await["outcome"], "applied");
}

/// A certificate for 127.0.0.1 that nobody vouches for but itself, and its key.
fn certificate(openssl: &Path, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

/// A client that believes this certificate alone.
fn believing(cert: &Path) -> reqwest::Client {
    let pem = reqwest::Certificate::from_pem(&std::fs::read(cert).unwrap()).unwrap();
    reqwest::Client::builder().tls_certs_only([pem]).no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_connections_go_on_with_http_2() {
    let Some(openssl) = tool("openssl") else { return };
    let (bank, dir) = (Bank::open(), tempfile::tempdir().unwrap());
    let (first, first_key) = certificate(&openssl, dir.path(), "first");
    let (second, second_key) = certificate(&openssl, dir.path(), "second");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let install = |from: &Path, from_key: &Path| {
        std::fs::copy(from, &cert).unwrap();
        std::fs::copy(from_key, &key).unwrap();
    };
    install(&first, &first_key);
    let setup = Setup::new(&bank)
        .env("RAZAO__SERVER__TLS_CERT_FILE", cert.to_str().unwrap())
        .env("RAZAO__SERVER__TLS_KEY_FILE", key.to_str().unwrap())
        .env("RAZAO__SERVER__CALLBACK_LISTEN", "127.0.0.1:0");
    let daemon = Daemon::with(setup);
    assert!(daemon.base().starts_with("https://"), "{}", daemon.base());
    let callbacks = until("the second listener", async || {
        let printed = daemon.printed();
        printed.lines().find_map(|line| line.strip_prefix("callbacks on ")).map(str::to_owned)
    })
    .await;
    let health = format!("{}/healthz", daemon.base());
    let early = believing(&first);
    let answer = early.get(&health).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    let answer = early.post(format!("{callbacks}/callbacks/nobody")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (404, reqwest::Version::HTTP_2));
    let plain = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&std::fs::read(&first).unwrap()).unwrap()])
        .http1_only()
        .no_proxy()
        .build()
        .unwrap();
    assert_eq!(plain.get(&health).send().await.unwrap().version(), reqwest::Version::HTTP_11);
    assert!(believing(&second).get(&health).send().await.is_err(), "the first one is shown");

    // A key that is not the certificate's is refused, and nothing changes.
    install(&second, &first_key);
    daemon.signal("HUP");
    until("the refusal", async || daemon.printed().contains("server.tls_key_file").then_some(())).await;
    assert_eq!(believing(&first).get(&health).send().await.unwrap().status(), 200);

    install(&second, &second_key);
    daemon.signal("HUP");
    let late = believing(&second);
    until("the second certificate", async || late.get(&health).send().await.ok()).await;
    assert!(believing(&first).get(&health).send().await.is_err(), "new connections see the second one");
    for client in [&early, &plain] {
        let answer = client.get(&health).send().await.expect("the connection from before goes on");
        assert_eq!(answer.status(), 200);
    }
}
