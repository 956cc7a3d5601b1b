//! Traces go to a collector that speaks OpenTelemetry's protocol; one that does not answer changes nothing.

use crate::support::{Bank, Daemon, SELLER_TOKEN, Setup, Shop, until};
use serde_json::Value;
use std::net::TcpListener;
use std::time::Instant;

fn setup(bank: &Bank, otlp: &str) -> Setup {
    Setup::new(bank).env("RAZAO__TELEMETRY__OTLP", otlp)
}

/// All spans that arrived.
fn spans(collector: &Shop) -> Vec<Value> {
    let mut spans = Vec::new();
    for posted in collector.received() {
        assert!(posted.line.starts_with("POST /v1/traces "), "{}", posted.line);
        assert_eq!(posted.header("content-type"), "application/json");
        let document = posted.json();
        let resource = document["resourceSpans"][0]["resource"]["attributes"].to_string();
        assert!(resource.contains("service.name") && resource.contains("razao"), "{resource}");
        spans.extend(document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
    }
    spans
}

fn attribute(span: &Value, key: &str) -> Option<String> {
    let attributes = span["attributes"].as_array()?;
    let value = &attributes.iter().find(|attribute| attribute["key"] == key)?["value"];
    value["stringValue"].as_str().or_else(|| value["intValue"].as_str()).map(str::to_owned)
}

#[tokio::test]
async fn a_callback_is_traced_to_the_providers_answer() {
    let (bank, collector) = (Bank::open(), Shop::open());
    let base = format!("http://127.0.0.1:{}", collector.port());
    // Whatever the log says, traces are whole.
    let daemon = Daemon::with(setup(&bank, &base).log("level = \"off\""));
    let client = daemon.client();
    bank.says("PED-1", "paid", "10", "0");
    let reply = client.send(client.callback_request("PED-1")).await;
    let id = reply.header("x-request-id").unwrap().to_owned();
    let receipt = reply.is(200)["receipt"].as_str().unwrap().to_owned();
    let (request, callback, call) = until("three spans", async || {
        let spans = spans(&collector);
        let named = |name: &str, key: &str, value: &str| {
            let fits = |span: &&Value| span["name"] == name && attribute(span, key).as_deref() == Some(value);
            spans.iter().find(fits).cloned()
        };
        let request = named("request", "request_id", &id)?;
        let callback = named("callback", "receipt", &receipt)?;
        let call = named("provider call", "account", "loja-picpay")?;
        Some((request, callback, call))
    })
    .await;
    assert_eq!(attribute(&request, "route").as_deref(), Some("/callbacks/{account}"));
    assert_eq!(
        (attribute(&request, "status"), attribute(&call, "status")),
        (Some("200".into()), Some("200".into()))
    );
    assert_eq!((&call["parentSpanId"], &call["traceId"]), (&callback["spanId"], &callback["traceId"]));
    assert_eq!(request["traceId"].as_str().map(str::len), Some(32));
    assert_eq!(request["spanId"].as_str().map(str::len), Some(16));
    for span in [&request, &callback, &call] {
        let nanos = |field: &str| span[field].as_str().unwrap().parse::<u64>().unwrap();
        assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"), "{span}");
    }
    let all = collector.received().iter().map(|posted| posted.json().to_string()).collect::<String>();
    for never in ["PED-1", SELLER_TOKEN, daemon.token()] {
        assert!(!all.contains(never), "{never} is in a trace");
    }
}

#[tokio::test]
async fn what_is_left_is_sent_when_the_daemon_stops() {
    let (bank, collector) = (Bank::open(), Shop::open());
    let mut daemon = Daemon::with(setup(&bank, &format!("http://127.0.0.1:{}", collector.port())));
    let health = daemon.anonymous().get("/healthz").await;
    let id = health.header("x-request-id").unwrap().to_owned();
    daemon.stop();
    let found = |span: &Value| attribute(span, "request_id").as_ref() == Some(&id);
    assert!(spans(&collector).iter().any(found), "{id} is in no trace");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nothing_up() {
    let bank = Bank::open();
    // It takes connections into its backlog, and nothing more.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [deaf.local_addr().unwrap(), dead] {
        let mut daemon = Daemon::with(setup(&bank, &format!("http://{address}")));
        let client = daemon.client();
        bank.says("PED-1", "paid", "10", "0");
        for _ in 0..50 {
            client.news("PED-1").await;
        }
        let begun = Instant::now();
        daemon.stop();
        assert!(begun.elapsed().as_secs() < 30, "it took {:?} to stop", begun.elapsed());
    }
}
