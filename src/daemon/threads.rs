//! Ingest and deliveries, each on a thread and a runtime of its own: they go on while HTTP workers are busy, and end after
//! them.

use super::ledger::Ledger;
use crate::clock::Clock;
use crate::config::{Config, Webhooks};
use crate::delivery;
use crate::delivery::board::Board;
use crate::domain::ids::RunId;
use crate::faults::Fault;
use crate::ingest::accounts::Accounts;
use crate::ingest::activity::Activity;
use crate::ingest::caller::{Caller, KeepSessions};
use crate::ingest::desk::Desk;
use crate::ingest::resolve::Policy;
use crate::ingest::runner::{self, Task};
use crate::net::client::Client;
use crate::net::guard::Guard;
use crate::net::post::Poster;
use crate::store::meta::StoreError;
use crate::store::vault;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests to one webhook's target at the same time.
const DELIVERIES_IN_FLIGHT: usize = 8;
/// A target without any success for so long is disabled.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// Ingest at work, and what others need of it.
pub(super) struct Ingest {
    pub accounts: Accounts,
    pub activity: Arc<Activity>,
    pub tasks: mpsc::UnboundedSender<Task>,
    /// Reconciliations that begin.
    pub runs: mpsc::UnboundedSender<RunId>,
    thread: JoinHandle<()>,
}

impl Ingest {
    pub fn start(config: &Config, accounts: Accounts, ledger: &Ledger) -> anyhow::Result<Ingest> {
        let activity = Arc::new(Activity::default());
        let desk = Arc::new(desk(config, &accounts, ledger, &activity)?);
        let (tasks, inbox) = mpsc::unbounded_channel();
        let (runs, begun) = mpsc::unbounded_channel();
        let work = move || runner::run(desk, inbox, begun);
        let thread = apart("ingest", "callbacks are no longer processed; restart the daemon", work)?;
        Ok(Ingest { accounts, activity, tasks, runs, thread })
    }

    /// Gives up the way in. What it answers ends once nobody else has one.
    pub fn leave(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Deliveries at work, and what others need of them.
pub(super) struct Deliveries {
    pub tasks: mpsc::UnboundedSender<delivery::runner::Task>,
    pub board: Arc<Board>,
    pub poster: Poster,
    thread: JoinHandle<()>,
}

impl Deliveries {
    pub fn start(config: &Config, ledger: &Ledger) -> anyhow::Result<Deliveries> {
        let webhooks = &config.webhooks;
        let guard = Guard { allow_private: webhooks.allow_private, require_https: webhooks.require_https };
        let poster = Poster::new(webhooks.timeout, guard)
            .map_err(|error| anyhow::anyhow!("no HTTP client for webhooks: {error}"))?;
        let board = Arc::new(Board::default());
        let shared = Arc::new(delivery::runner::Shared {
            poster: poster.clone(),
            clock: Arc::clone(&ledger.clock),
            handle: ledger.handle.clone(),
            reader: ledger.reader.clone(),
            board: Arc::clone(&board),
            policy: delivery_policy(webhooks),
            history_retention: config.data.history_retention,
        });
        let (tasks, inbox) = mpsc::unbounded_channel();
        let work = move || delivery::runner::run(shared, inbox);
        let thread = apart("delivery", "webhooks are no longer delivered to; restart the daemon", work)?;
        Ok(Deliveries { tasks, board, poster, thread })
    }

    /// As with [`Ingest::leave`].
    pub fn leave(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Does the work on a thread of that name; `lost` is what its failure means.
fn apart<W: Future<Output = Result<(), StoreError>>>(
    name: &str,
    lost: &'static str,
    work: impl FnOnce() -> W + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(why) = runtime.block_on(work()) {
            tracing::error!(%why, "{lost}");
        }
        runtime.shutdown_background();
    })
}

fn desk(
    config: &Config,
    accounts: &Accounts,
    ledger: &Ledger,
    activity: &Arc<Activity>,
) -> anyhow::Result<Desk> {
    let resolver = &config.resolver;
    let client = Client::new(resolver.timeout)?;
    Ok(Desk {
        accounts: accounts.clone(),
        caller: caller(accounts, client, &config.data.dir, &ledger.clock, activity),
        clock: Arc::clone(&ledger.clock),
        handle: ledger.handle.clone(),
        reader: ledger.reader.clone(),
        activity: Arc::clone(activity),
        policy: Policy {
            first_pause: resolver.first_pause,
            max_pause: resolver.max_pause,
            give_up_after: resolver.give_up_after,
            per_account: usize::try_from(resolver.per_account)?,
        },
        stamped: Mutex::default(),
        dated_after_answer: Fault::DatedAfterAnswer.is_on(),
    })
}

/// What asks the providers; renewed sessions stand in a file of their own.
fn caller(
    accounts: &Accounts,
    client: Client,
    dir: &Path,
    clock: &Arc<dyn Clock>,
    activity: &Arc<Activity>,
) -> Caller {
    let kept = vault::load(dir);
    let dir = dir.to_owned();
    let keep: KeepSessions = Box::new(move |kept| {
        if let Err(error) = vault::save(&dir, kept) {
            tracing::warn!(%error, "a renewed session could not be kept; it is renewed again after a restart");
        }
    });
    Caller::new(Box::new(client), Arc::clone(clock), Arc::clone(activity), accounts, kept, keep)
}

fn delivery_policy(config: &Webhooks) -> delivery::plan::Policy {
    delivery::plan::Policy {
        first_pause: config.first_pause,
        max_pause: config.max_pause,
        max_attempts: config.max_attempts,
        in_flight_max: DELIVERIES_IN_FLIGHT,
        disable_after: DISABLE_AFTER,
    }
}
