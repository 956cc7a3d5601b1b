//! A tail of the ledger, for whoever follows it live: from a position on, every event that a filter wants, in seq order,
//! and a sign of life in between. It remembers only its position: it is woken by the writer and reads for itself, so it
//! may be slow, break off and come back without a gap or a duplicate.

use super::app::App;
use super::events::EventFilter;
use super::page;
use super::problem::Problem;
use super::sheet::Picked;
use super::shelf::{Shelf, Trouble};
use crate::auth::Claims;
use crate::clock::Clock;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::ledger::reader::Reader;
use crate::ledger::writer::Published;
use actix_web::HttpRequest;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use utoipa::IntoParams;

/// A sign of life so often shows readers and proxies that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// About so many bytes of events are handed out at once: what a slow reader costs.
const STEP_BYTES: usize = 16 * 1024;
/// So many readers follow at the same time at most.
const TAILS_MAX: usize = 5_000;
/// When one that finds no place may ask again.
const RETRY_AFTER_SECONDS: u32 = 10;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TailQuery {
    /// Starts at this seq. `Last-Event-ID` starts after its seq and wins; without either: what comes from now on.
    #[param(format = "uint64")]
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
    /// A ticket from `POST /v1/tickets` in place of the token, good for one stream.
    #[serde(rename = "ticket")]
    #[param(rename = "ticket")]
    _ticket: Option<String>,
}

/// What all tails share: the sheets they read from, and the places there are.
pub struct Tails {
    shelf: Arc<Shelf>,
    places: Arc<Semaphore>,
    places_max: usize,
    open: [Arc<AtomicU64>; 2],
}

/// How a reader follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Sse,
    WebSocket,
}

/// Counts one reader for as long as it follows.
struct Counted(Arc<AtomicU64>);

/// What comes next.
#[derive(Debug)]
pub enum Step {
    Events(Picked),
    /// A sign of life, with the head's seq.
    Alive(Seq),
    End(End),
}

/// Why nothing comes any more.
#[derive(Debug)]
pub enum End {
    /// The token's `exp` is there.
    Expired,
    Draining,
    Trouble(Trouble),
}

/// One reader's place in the ledger.
pub struct Tail {
    shelf: Arc<Shelf>,
    wake: watch::Receiver<Published>,
    draining: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    filter: EventFilter,
    next: Seq,
    expires_at: Time,
    alive_at: Instant,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Tails {
    /// No more than half of the files that the process may open: readers must not lock callbacks out.
    pub fn new(reader: Reader, open_files_max: usize) -> Tails {
        let places_max = TAILS_MAX.min(open_files_max / 2);
        let places = Arc::new(Semaphore::new(places_max));
        Tails { shelf: Arc::new(Shelf::new(reader)), places, places_max, open: Default::default() }
    }

    /// How many readers follow now, by their way.
    pub fn open(&self) -> [(&'static str, u64); 2] {
        let [sse, sockets] = &self.open;
        [("sse", sse.load(Ordering::Relaxed)), ("ws", sockets.load(Ordering::Relaxed))]
    }

    fn count(&self, way: Way) -> Counted {
        let [sse, sockets] = &self.open;
        let counter = match way {
            Way::Sse => sse,
            Way::WebSocket => sockets,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(counter))
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let detail = format!("{} streams are open, and no more are served; close some", self.places_max);
            Problem::unavailable(detail, RETRY_AFTER_SECONDS)
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Tail {
    /// As a request asks for it, for whoever these claims are of.
    pub fn open(claims: Claims, request: &HttpRequest, app: &App, way: Way) -> Result<Tail, Problem> {
        let query: TailQuery = page::query(request)?;
        let next = position(request, query.from, app.reader.head())?;
        let filter = EventFilter::new(
            claims.accounts,
            query.account.as_deref(),
            query.kind.as_deref(),
            query.state.as_deref(),
            query.order,
        )?;
        Ok(Tail {
            _place: app.tails.place()?,
            _counted: app.tails.count(way),
            shelf: Arc::clone(&app.tails.shelf),
            wake: app.reader.subscribe(),
            draining: app.draining.clone(),
            clock: Arc::clone(&app.clock),
            filter,
            next,
            expires_at: claims.expires_at,
            alive_at: Instant::now() + HEARTBEAT,
        })
    }

    pub fn head(&self) -> Seq {
        self.shelf.reader().head()
    }

    /// Waits for what comes next. Dropped while it waits, it has lost nothing: the position moves with what is returned.
    pub async fn step(&mut self) -> Step {
        loop {
            let left = self.expires_at.since(self.clock.now());
            if left.is_zero() {
                return Step::End(End::Expired);
            }
            if *self.draining.borrow() {
                return Step::End(End::Draining);
            }
            if self.alive_at <= Instant::now() {
                self.alive_at = Instant::now() + HEARTBEAT;
                return Step::Alive(self.head());
            }
            if self.next > self.head() {
                self.wait(left).await;
                continue;
            }
            match self.shelf.read(self.next, &self.filter).await {
                Err(trouble) => return Step::End(End::Trouble(trouble)),
                Ok(sheet) => {
                    let (picked, next) = sheet.pick(self.next, &self.filter, STEP_BYTES);
                    self.next = next;
                    if !picked.is_empty() {
                        return Step::Events(picked);
                    }
                }
            }
        }
    }

    /// Until something is new, a sign of life is due, or the token has expired.
    async fn wait(&mut self, left: Duration) {
        let due = self.alive_at.min(Instant::now() + left);
        // A closed channel means that the daemon is going; it has said so by draining.
        tokio::select! {
            _ = self.wake.changed() => {}
            _ = self.draining.changed() => {}
            () = tokio::time::sleep_until(due) => {}
        }
    }
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
