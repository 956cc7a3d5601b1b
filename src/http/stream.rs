//! Server-Sent Events. A stream remembers only the last seq it sent: it is woken by the writer and reads the ledger
//! itself, so it may be slow, break off and come back without a gap or a duplicate.

use super::app::App;
use super::events::EventFilter;
use super::guard::{Permit, StreamRead};
use super::page;
use super::problem::Problem;
use crate::clock::Clock;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::ledger::reader::Reader;
use crate::ledger::writer::Published;
use crate::store::entries::StoredEntry;
use crate::views::event::EventView;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use utoipa::IntoParams;

/// A comment so often shows readers and proxies that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many events one write holds …
const EVENTS_PER_WRITE: usize = 100;
/// … and how many entries are looked at for them.
const SCAN_MAX: usize = 2000;
/// What a reader that lost its stream waits before it comes back, in milliseconds.
const RETRY_MILLIS: u32 = 2000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Starts at this seq. `Last-Event-ID` starts after its seq and wins; without either: what comes from now on.
    from: Option<u64>,
    account: Option<String>,
    /// A type or pattern, such as `order.paid` or `order.*`; several with commas.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    /// The order's state as of the entry.
    state: Option<String>,
    /// An order's reference.
    order: Option<String>,
    /// The token, for browsers, which cannot set a header here.
    #[serde(rename = "access_token")]
    #[param(rename = "access_token")]
    _access_token: Option<String>,
}

/// Events as they are recorded, one per ledger entry, in seq order.
///
/// Ends with the comment `: token expired` at the token's `exp`. A position beyond head + 1 is 409 `cursor-ahead`.
#[utoipa::path(
    get, path = "/v1/stream", tag = "events",
    params(StreamQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Starts after this seq")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "`id:` is the seq, `data:` an Event"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "cursor-ahead"),
    )
)]
pub async fn get(
    permit: Permit<StreamRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: StreamQuery = page::query(&request)?;
    let next = position(&request, query.from, app.reader.head())?;
    let filter = EventFilter::new(
        permit.claims.accounts,
        query.account.as_deref(),
        query.kind.as_deref(),
        query.state.as_deref(),
        query.order,
    )?;
    let follower = Follower {
        wake: app.reader.subscribe(),
        draining: app.draining.clone(),
        clock: Arc::clone(&app.clock),
        reader: app.reader.clone(),
        filter,
        next,
        expires_at: permit.claims.expires_at,
        phase: Phase::Greeting,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-cache, no-transform"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(follower.into_stream()))
}

/// The first seq to send.
fn position(request: &HttpRequest, from: Option<u64>, head: Seq) -> Result<Seq, Problem> {
    let last = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    let last = last.filter(|text| !text.is_empty());
    let last: Option<u64> = last
        .map(|text| text.parse().map_err(|_| Problem::parameter("Last-Event-ID is the seq of an event")))
        .transpose()?;
    let next = match (last, from) {
        (Some(last), _) => Seq(last).next(),
        (None, Some(from)) => Seq(from.max(1)),
        (None, None) => head.next(),
    };
    if next > head.next() {
        let detail = format!("the ledger ends at seq {head}; this position lies beyond it");
        return Err(Problem::new(409, "cursor-ahead", "Cursor ahead", detail));
    }
    Ok(next)
}

enum Phase {
    Greeting,
    Following,
    Ended,
}

struct Follower {
    reader: Reader,
    wake: watch::Receiver<Published>,
    draining: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    filter: EventFilter,
    next: Seq,
    expires_at: Time,
    phase: Phase,
}

impl Follower {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            let bytes = follower.step().await?;
            Some((Ok(Bytes::from(bytes)), follower))
        })
    }

    /// The next thing to send; `None` ends the stream.
    async fn step(&mut self) -> Option<String> {
        match self.phase {
            Phase::Greeting => {
                self.phase = Phase::Following;
                return Some(format!("retry: {RETRY_MILLIS}\n{}", self.heartbeat()));
            }
            Phase::Following => {}
            Phase::Ended => return None,
        }
        loop {
            let left = self.expires_at.since(self.clock.now());
            if left.is_zero() {
                self.phase = Phase::Ended;
                return Some(": token expired\n\n".to_owned());
            }
            if *self.draining.borrow() {
                return None;
            }
            match self.read().await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(events),
                Err(why) => {
                    tracing::error!(%why, "a stream ended");
                    return None;
                }
            }
            if self.next <= self.reader.head() {
                continue;
            }
            tokio::select! {
                changed = self.wake.changed() => changed.ok()?,
                drained = self.draining.changed() => drained.ok()?,
                () = tokio::time::sleep(left.min(HEARTBEAT)) => {
                    if left > HEARTBEAT {
                        return Some(self.heartbeat());
                    }
                }
            }
        }
    }

    /// Events from the position on, as text; moves the position past what was looked at.
    async fn read(&mut self) -> Result<String, Problem> {
        if self.next > self.reader.head() {
            return Ok(String::new());
        }
        let (reader, filter, from) = (self.reader.clone(), self.filter.clone(), self.next);
        let read = move || reader.entries(from, EVENTS_PER_WRITE, SCAN_MAX, |stored| filter.wants(stored));
        let (entries, next) = web::block(read).await??;
        self.next = next;
        Ok(entries.iter().map(frame).collect())
    }

    fn heartbeat(&self) -> String {
        format!(": seq={}\n\n", self.reader.head())
    }
}

fn frame(stored: &StoredEntry) -> String {
    let event = EventView::of(&stored.entry, stored.order.as_ref());
    let json = serde_json::to_string(&event).unwrap_or_default();
    format!("id: {}\ndata: {json}\n\n", stored.entry.seq)
}
