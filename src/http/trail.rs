//! A request's trail: an id that the answer carries and that stands on everything logged meanwhile. Neither paths nor
//! queries are logged, which hold keys and names: routes are.

use super::app::App;
use super::problem::Problem;
use crate::clock::random_bytes;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use std::time::Instant;
use tracing::Instrument;

const HEADER: &str = "x-request-id";
const ID_BYTES: usize = 12;
/// What a proxy names a request is taken if it is no longer.
const ID_CHARS_MAX: usize = 100;

/// Names the request, and counts how it was answered.
pub async fn follow(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return Err(Problem::unavailable("the daemon is not ready", 1).into());
    };
    let id = told(&request, &app).map_or_else(made, Ok)?;
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = method(request.method());
    let span = tracing::info_span!("request", request_id = id, method, route, status = tracing::field::Empty);
    let began = Instant::now();
    let mut answer = next.call(request).instrument(span.clone()).await?;
    let status = answer.status().as_u16();
    span.record("status", status);
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status, millis, "answered"));
    app.counts.request(status);
    if let Ok(value) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(HeaderName::from_static(HEADER), value);
    }
    Ok(answer)
}

/// What a trusted proxy named it.
fn told(request: &ServiceRequest, app: &App) -> Option<String> {
    let peer = request.peer_addr()?.ip();
    if !app.trusts(&peer) {
        return None;
    }
    let text = request.headers().get(HEADER)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
    let fits = !text.is_empty() && text.len() <= ID_CHARS_MAX && text.bytes().all(plain);
    fits.then(|| text.to_owned())
}

fn made() -> Result<String, Problem> {
    let bytes: [u8; ID_BYTES] =
        random_bytes().map_err(|_| Problem::unavailable("the system has no randomness", 1))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Only the usual ones: others are any text that a client chose.
fn method(method: &Method) -> &'static str {
    let usual = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    usual.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}
