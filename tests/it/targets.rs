//! Which targets are called: refused when they are named, and again when they are dialled.

use crate::support::hooks::{Hooked, SOON, make};
use crate::support::{Bank, Daemon, Setup, Shop};
use serde_json::json;

#[tokio::test]
async fn private_targets_are_refused_when_they_are_named() {
    let bank = Bank::open();
    let daemon = Daemon::with(Setup::new(&bank));
    let client = daemon.client();
    let public = json!({"target": "https://1.1.1.1/webhooks"});
    let made = client.post("/v1/webhooks", &public).await.is(201);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    for target in [
        "http://1.1.1.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1:8443/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0.0.0.0/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://198.51.100.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[2002:7f00:1::]/",
        "https://[64:ff9b::7f00:1]/",
        "https://localhost/",
        "https://localhost.:8443/",
        "https://shop.localhost/",
        "https://metadata.google.internal/",
        "https://ana:secret@1.1.1.1/",
        "https://1.1.1.1/#fragment",
        "gopher://1.1.1.1/",
    ] {
        for reply in [
            client.post("/v1/webhooks", &json!({"target": target})).await,
            client.patch(&path, &json!({"target": target})).await,
        ] {
            let problem = reply.problem(422, "invalid-fields");
            assert_eq!(problem["errors"][0]["field"], "target", "{target}: {problem}");
        }
    }
    assert_eq!(client.get(&path).await.is(200)["target"], "https://1.1.1.1/webhooks");
}

#[tokio::test]
async fn private_targets_are_refused_again_when_they_are_dialled() {
    let mut hooked = Hooked::with(&format!("{SOON}\nmax_attempts = 2"), json!({})).await;
    let by_name = Shop::open();
    let target = format!("http://localhost:{}/", by_name.port());
    let other = make(&hooked.client(), &target, json!({})).await;
    hooked.client().register("PED-1", "10.00").await;
    hooked.quiet().await;
    assert_eq!((hooked.shop.received().len(), by_name.received().len()), (1, 1));
    // The same data under a stricter configuration.
    let toml = hooked.daemon.place().setup.toml(&hooked.daemon.data());
    hooked.daemon.stop();
    hooked.daemon.place().write(&toml.replace("allow_private = true", "allow_private = false"));
    hooked.daemon.restart();
    hooked.client().register("PED-2", "10.00").await;
    let failed = hooked.delivered(2, "failed").await;
    assert_eq!(failed["attempts"][0]["error"], "forbidden_target", "{failed}");
    assert!(failed["attempts"][0]["meaning"].as_str().unwrap().contains("allow_private"), "{failed}");
    hooked.quiet().await;
    let path = format!("/v1/webhooks/{}/deliveries?status=failed", other["id"].as_str().unwrap());
    assert_eq!(hooked.client().all(&path).await.len(), 1);
    assert_eq!((hooked.shop.received().len(), by_name.received().len()), (1, 1), "nobody was called");
}
