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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Instrument;

const HEADER: &str = "x-request-id";
/// What tells ids of one start of the daemon from those of another.
const START_BYTES: usize = 7;
/// What a proxy names a request is taken if it is no longer.
const ID_CHARS_MAX: usize = 100;

/// Makes ids for requests: the same beginning for one start of the daemon, then a number.
pub struct RequestIds {
    start: String,
    made: AtomicU64,
}

/// Names the request, and counts how it was answered.
pub async fn follow(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let Some(app) = request.app_data::<Data<App>>().cloned() else {
        return Err(Problem::unavailable("the daemon is not ready", 1).into());
    };
    let id = told(&request, &app).unwrap_or_else(|| app.request_ids.next());
    // The fields are only made where somebody listens: finding the route costs a match of the path.
    let span = tracing::info_span!(
        "request",
        request_id = id,
        method = method(request.method()),
        route = request.match_pattern().as_deref().unwrap_or("none"),
        status = tracing::field::Empty
    );
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

impl RequestIds {
    pub fn new() -> Result<RequestIds, String> {
        let start: [u8; START_BYTES] = random_bytes().map_err(|error| error.to_string())?;
        let start = start.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(RequestIds { start, made: AtomicU64::new(0) })
    }

    fn next(&self) -> String {
        format!("{}{:010x}", self.start, self.made.fetch_add(1, Ordering::Relaxed))
    }
}

/// Only the usual ones: others are any text that a client chose.
fn method(method: &Method) -> &'static str {
    let usual = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    usual.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}
