//! An HTTP client with a token, replies that assert, and the few questions nearly every test asks.

use super::{ACCOUNT, SELLER_TOKEN, encoded, until};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::time::Duration;

/// In place of a problem's slug where none is fixed.
pub const ANY: &str = "";

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
}

/// What was answered, and to what.
#[derive(Debug)]
pub struct Reply {
    pub asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: &str, token: Option<&str>) -> Client {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Client { http, base: base.to_owned(), token: token.map(str::to_owned) }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends; an error of the connection is an error here, for tests that kill the other side.
    pub async fn attempt(&self, request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let request = request.timeout(Duration::from_secs(60)).build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let answer = self.http.execute(request).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await?.to_vec();
        Ok(Reply { asked, status, headers, body })
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.attempt(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Reply {
        self.with_body("PUT", path, body).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.with_body("POST", path, body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.with_body("PATCH", path, body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path)).await
    }

    async fn with_body(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = self.request(method, path).header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }

    // --- what providers and shops do ---

    /// A callback as PicPay posts it, not yet sent.
    pub fn callback_request(&self, reference: &str) -> reqwest::RequestBuilder {
        let body = json!({"referenceId": reference, "authorizationId": "66b0f3d2a4c19e0021d7b5aa"});
        self.callback_raw(&format!("/callbacks/{ACCOUNT}"), SELLER_TOKEN, body.to_string().into_bytes())
    }

    pub fn callback_raw(&self, path: &str, seller_token: &str, body: Vec<u8>) -> reqwest::RequestBuilder {
        let request = self.http.request(reqwest::Method::POST, format!("{}{path}", self.base));
        request.header("content-type", "application/json").header("x-seller-token", seller_token).body(body)
    }

    /// Posts a callback, asserts the answer that is promised, and returns the receipt's id.
    pub async fn callback(&self, reference: &str) -> String {
        let reply = self.send(self.callback_request(reference)).await;
        let body = reply.is(200);
        body["receipt"].as_str().unwrap_or_else(|| panic!("no receipt in {body}")).to_owned()
    }

    /// A callback whose consequences are awaited.
    pub async fn news(&self, reference: &str) -> Value {
        let receipt = self.callback(reference).await;
        self.settled(&receipt).await;
        self.order(reference).await
    }

    /// The receipt once it is no longer pending.
    pub async fn settled(&self, receipt: &str) -> Value {
        let path = format!("/v1/callbacks/{}", encoded(receipt));
        until("a receipt's outcome", async || {
            Some(self.get(&path).await.ok()).filter(|receipt| receipt["outcome"] != "pending")
        })
        .await
    }

    pub async fn register(&self, reference: &str, amount: &str) -> Value {
        self.put(&order_path(reference), &json!({"amount": amount, "currency": "BRL"})).await.is(201)
    }

    pub async fn order(&self, reference: &str) -> Value {
        self.get(&order_path(reference)).await.ok()
    }

    pub async fn poll(&self, reference: &str) -> Reply {
        self.post(&format!("{}/poll", order_path(reference)), &json!({})).await
    }

    /// An order's entries, oldest first.
    pub async fn history(&self, reference: &str) -> Vec<Value> {
        self.all(&format!("{}/history", order_path(reference))).await
    }

    /// The whole ledger as this token sees it.
    pub async fn ledger(&self) -> Vec<Value> {
        self.all("/v1/ledger?limit=1000").await
    }

    /// Every page of a list.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let glue = if path.contains('?') { '&' } else { '?' };
        let mut found = Vec::new();
        let mut page = self.get(path).await.ok();
        loop {
            found.extend(page["data"].as_array().unwrap_or_else(|| panic!("no data in {page}")).clone());
            let Some(cursor) = page["next_cursor"].as_str() else { return found };
            assert!(found.len() < 1_000_000, "{path} pages for ever");
            page = self.get(&format!("{path}{glue}cursor={}", encoded(cursor))).await.ok();
        }
    }

    /// Waits until no receipt is pending or waiting for another try.
    pub async fn idle(&self) {
        until("an idle daemon", async || {
            let status = self.get("/v1/admin/status").await.ok();
            let count = |name: &str| status["receipts"][name].as_u64().unwrap_or_else(|| panic!("{status}"));
            (count("pending") == 0 && count("retrying") == 0).then_some(())
        })
        .await
    }

    /// Balance by ledger account, now or with further parameters (`?as_of=3`).
    pub async fn balances(&self, query: &str) -> std::collections::BTreeMap<String, String> {
        let answer = self.get(&format!("/v1/balances{query}")).await.ok();
        let lines = answer["data"].as_array().unwrap_or_else(|| panic!("no data in {answer}"));
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        lines.iter().map(|line| (text(&line["ledger_account"]), text(&line["balance"]))).collect()
    }
}

pub fn order_path(reference: &str) -> String {
    format!("/v1/orders/{ACCOUNT}/{}", encoded(reference))
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {}", self.asked, self.text()))
    }

    /// The body of an answer with exactly this status.
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        self.json()
    }

    /// The body of any 2xx.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {} {}", self.asked, self.status, self.text());
        self.json()
    }

    /// A problem (RFC 9457) with this status whose `type` ends with the slug.
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        let kind = self.header("content-type").unwrap_or("none").to_owned();
        assert!(kind.starts_with("application/problem+json"), "{}: {kind}: {}", self.asked, self.text());
        let body = self.json();
        assert_eq!(body["status"], status, "{}: {body}", self.asked);
        for member in ["type", "title", "detail"] {
            assert!(body[member].is_string(), "{}: no {member} in {body}", self.asked);
        }
        let ends = body["type"].as_str().is_some_and(|kind| kind.ends_with(slug));
        assert!(ends, "{}: the type of {body} does not end with {slug}", self.asked);
        body
    }

    /// A problem with one of several statuses, where the choice is free.
    pub fn problem_among(&self, statuses: &[u16]) -> Value {
        assert!(statuses.contains(&self.status), "{}: {} {}", self.asked, self.status, self.text());
        self.problem(self.status, ANY)
    }
}
