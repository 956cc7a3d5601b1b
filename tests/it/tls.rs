//! TLS: the daemon serves it from PEM files, and does not believe a provider whose certificate nobody vouches for.

use crate::support::setup::{PICPAY_TOKEN, SELLER_TOKEN};
use crate::support::{Bank, Daemon, Setup, tool, until};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A daemon that speaks TLS with a certificate it signed itself.
struct Untrusted {
    child: Child,
    base: String,
    _dir: tempfile::TempDir,
}

impl Drop for Untrusted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Untrusted {
    fn start(openssl: &Path) -> Untrusted {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let made = Command::new(openssl)
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-out"])
            .arg(&cert)
            .arg("-keyout")
            .arg(&key)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = dir.path().join("config.toml");
        let toml = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n[data]\nmin_free = \"1MiB\"\n",
            cert.display(),
            key.display()
        );
        std::fs::write(&config, toml).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_razao"))
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        assert!(base.starts_with("https://"), "{base}");
        Untrusted { child, base, _dir: dir }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_and_never_believed() {
    let Some(openssl) = tool("openssl") else { return };
    let untrusted = Untrusted::start(&openssl);
    // It does speak TLS, for those who do not care who it is.
    let careless =
        reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap();
    let health = careless.get(format!("{}/healthz", untrusted.base)).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.version()), (200, reqwest::Version::HTTP_2));
    // A body where none belongs is dropped as it comes.
    let needless = careless.get(format!("{}/healthz", untrusted.base)).body("x".repeat(100_000));
    assert_eq!(needless.send().await.unwrap().status(), 200);

    let bank = Bank::open();
    let mut setup = Setup::new(&bank);
    setup.accounts.push_str(&format!(
        "[[accounts]]\nid = \"untrusted\"\nprovider = \"picpay\"\nbase_url = \"{}\"\n[accounts.credentials]\n\
         picpay_token = \"{PICPAY_TOKEN}\"\nseller_token = \"{SELLER_TOKEN}\"\n",
        untrusted.base
    ));
    let daemon = Daemon::with(setup);
    let client = daemon.client();
    let body = br#"{"referenceId":"PED-1"}"#.to_vec();
    let reply = client.send(client.callback_raw("/callbacks/untrusted", SELLER_TOKEN, body)).await.is(200);
    let path = format!("/v1/callbacks/{}", reply["receipt"].as_str().unwrap());
    let attempt = until("an attempt", async || {
        let callback = client.get(&path).await.ok();
        callback["attempts"].get(0).cloned()
    })
    .await;
    let error = attempt["error"].as_str().unwrap();
    assert!(error.contains("no connection") && error.to_lowercase().contains("certificate"), "{error}");
}
