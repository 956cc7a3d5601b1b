//! Server-Sent Events: a tail of the ledger as frames, for `EventSource` and its like.

use super::app::App;
use super::guard::{Permit, StreamRead};
use super::problem::Problem;
use super::tail::{End, Step, Tail, TailQuery, Way};
use crate::domain::ids::Seq;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;

/// What a reader that lost its stream waits before it comes back, in milliseconds.
const RETRY_MILLIS: u32 = 2000;

/// Events as they are recorded, one per ledger entry, in seq order.
///
/// Begins with a `retry:` line; a comment `: seq=<head>` comes every 15 s; ends with the comment `: token expired` at the
/// token's `exp`. A position beyond head + 1 is 409 `cursor-ahead`.
#[utoipa::path(
    get, path = "/v1/stream", tag = "events",
    params(TailQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Starts after this seq")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "`id:` is the seq, `data:` an Event"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "cursor-ahead"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "5,000 streams are open, or as many as the process may open files for"),
    )
)]
pub async fn get(
    permit: Permit<StreamRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let tail = Tail::open(permit.claims, &request, &app, Way::Sse)?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-cache, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames(tail)))
}

fn frames(tail: Tail) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Phase::Greeting(tail), |phase| async move {
        let (bytes, phase) = phase.step().await?;
        Some((Ok(bytes), phase))
    })
}

enum Phase {
    Greeting(Tail),
    Following(Tail),
    Ended,
}

impl Phase {
    /// The next thing to send, and what comes after it.
    async fn step(self) -> Option<(Bytes, Phase)> {
        let mut tail = match self {
            Phase::Greeting(tail) => {
                let greeting = format!("retry: {RETRY_MILLIS}\n{}", heartbeat(tail.head()));
                return Some((greeting.into(), Phase::Following(tail)));
            }
            Phase::Following(tail) => tail,
            Phase::Ended => return None,
        };
        match tail.step().await {
            Step::Events(picked) => Some((picked.frames(), Phase::Following(tail))),
            Step::Alive(head) => Some((heartbeat(head).into(), Phase::Following(tail))),
            Step::End(End::Expired) => Some((Bytes::from_static(b": token expired\n\n"), Phase::Ended)),
            Step::End(End::Draining) => None,
            Step::End(End::Trouble(why)) => {
                tracing::error!(%why, "a stream ended");
                None
            }
        }
    }
}

fn heartbeat(head: Seq) -> String {
    format!(": seq={head}\n\n")
}
