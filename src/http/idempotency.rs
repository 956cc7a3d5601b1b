//! `Idempotency-Key`: the same request twice is carried out once, and answered the same.
//!
//! A handler passes what it does to [`once`]. A key belongs to the token's subject and accounts, and goes with one
//! request: path, query and body. The claim is durable before anything is done, the answer before it is given. A request
//! that was cut off in between is carried out again under the nonce that it was claimed with: what it makes is named by
//! the nonce, so that nothing is made twice. Refusals are not kept: nothing came of them.

use super::app::App;
use super::problem::Problem;
use crate::auth::{Accounts, Claims};
use crate::clock::random_bytes;
use crate::domain::ids::Nonce;
use crate::domain::receipt::Private;
use crate::ledger::command::{Command, Reply};
use crate::ledger::idempotency::{Claim, ClaimRequest, KeepAnswer};
use crate::store::idempotency::{Answer, RequestKey};
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

pub const HEADER: &str = "idempotency-key";
pub const REPLAYED: &str = "idempotency-replayed";
const KEY_CHARS_MAX: usize = 255;

/// Requests with a key that are being carried out at this moment.
#[derive(Default)]
pub struct UnderWay(Mutex<BTreeSet<RequestKey>>);

/// What a handler answers, as it is given and kept.
pub struct Made {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Made {
    pub fn json(status: StatusCode, body: &impl Serialize) -> Made {
        Made { status, location: None, body: serde_json::to_vec(body).unwrap_or_default() }
    }

    /// With the path where what was made is found.
    pub fn at(self, path: String) -> Made {
        Made { location: Some(path), ..self }
    }
}

/// Carries a request out, or answers what it was answered before. Without a key it is carried out, with a nonce of its
/// own.
pub async fn once(
    app: &App,
    claims: &Claims,
    request: &HttpRequest,
    body: &[u8],
    make: impl AsyncFnOnce(Nonce) -> Result<Made, Problem>,
) -> Result<HttpResponse, Problem> {
    let chance = random_bytes().map_err(|error| Problem::unavailable(error.to_string(), 1))?;
    let nonce = Nonce::new(app.clock.now(), chance);
    let Some(text) = key(request)? else {
        let made = make(nonce).await?;
        return Ok(answered(made.status, made.location.as_deref(), made.body, false));
    };
    let key = request_key(claims, text);
    let _turn = app.under_way.enter(key)?;
    let fingerprint = fingerprint(request, body);
    let claim = Command::ClaimRequest(ClaimRequest { key, fingerprint, nonce });
    let Reply::Claimed(claim) = app.handle.submit(claim).await? else {
        return Err(Problem::another_answer());
    };
    match claim {
        Claim::Answered(Answer { status, location, body }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            Ok(answered(status, location.as_deref(), body.0, true))
        }
        Claim::Granted(nonce) => {
            let made = settle(app, key, make(nonce).await).await?;
            Ok(answered(made.status, made.location.as_deref(), made.body, false))
        }
    }
}

/// Who asks, as a digest: a token's subject and the accounts it sees.
pub fn caller(claims: &Claims) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("razao 2026 caller");
    let mut add = |text: &str| {
        hasher.update(&text.len().to_be_bytes()).update(text.as_bytes());
    };
    add(&claims.subject);
    match &claims.accounts {
        Accounts::All => add("*"),
        Accounts::Only(accounts) => accounts.iter().for_each(|account| add(account.as_str())),
    }
    *hasher.finalize().as_bytes()
}

fn key(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut given = request.headers().get_all(HEADER);
    let Some(value) = given.next() else { return Ok(None) };
    let printable = |text: &&str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let text = value.to_str().ok().filter(printable);
    let text = text.filter(|text| !text.is_empty() && text.len() <= KEY_CHARS_MAX && given.next().is_none());
    let wrong = || {
        Problem::parameter(format!(
            "Idempotency-Key is given once, with 1 to {KEY_CHARS_MAX} printable ASCII characters"
        ))
    };
    text.map(Some).ok_or_else(wrong)
}

fn request_key(claims: &Claims, text: &str) -> RequestKey {
    let mut hasher = blake3::Hasher::new_derive_key("razao 2026 idempotency key");
    hasher.update(&caller(claims)).update(text.as_bytes());
    RequestKey(*hasher.finalize().as_bytes())
}

/// What is asked: method, path, query and body.
fn fingerprint(request: &HttpRequest, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("razao 2026 idempotent request");
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let head = format!("{} {target}\0", request.method());
    hasher.update(head.as_bytes()).update(body);
    *hasher.finalize().as_bytes()
}

/// Keeps what was made, or lets go of a claim that came to nothing. After trouble of our own it is not known what came
/// of it, and the claim stays: the repeat goes by the same nonce.
async fn settle(app: &App, key: RequestKey, made: Result<Made, Problem>) -> Result<Made, Problem> {
    match made {
        Ok(made) => {
            let body = Private(made.body.clone());
            let answer = Answer { status: made.status.as_u16(), location: made.location.clone(), body };
            app.handle.submit_patiently(Command::KeepAnswer(KeepAnswer { key, answer })).await?;
            Ok(made)
        }
        Err(problem) if problem.status < 500 => {
            app.handle.submit_patiently(Command::ForgetRequests(vec![key])).await?;
            Err(problem)
        }
        Err(problem) => Err(problem),
    }
}

fn answered(status: StatusCode, location: Option<&str>, body: Vec<u8>, replayed: bool) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if let Some(location) = location {
        response.insert_header((LOCATION, location));
    }
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response.content_type("application/json").body(body)
}

/// Held while a request with a key is carried out, however it ends.
struct Turn<'a> {
    under_way: &'a UnderWay,
    key: RequestKey,
}

impl UnderWay {
    fn enter(&self, key: RequestKey) -> Result<Turn<'_>, Problem> {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let detail =
                "the first request with this Idempotency-Key is still being carried out; try again soon";
            return Err(Problem::new(409, "idempotency-in-progress", "In progress", detail));
        }
        Ok(Turn { under_way: self, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
