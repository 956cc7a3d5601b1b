//! Puts the rooms together: starts bottom-up, drains top-down.

mod lookout;
mod reload;

pub use reload::Reloader;

use crate::auth::Keys;
use crate::backup::rota::{Rota, RotaError};
use crate::clock::{Clock, SystemClock, random_bytes, secret};
use crate::config::{self, Webhooks};
use crate::config::{Account, Config};
use crate::delivery;
use crate::delivery::alarms::Alarms;
use crate::delivery::board::Board;
use crate::domain::chain::Hash;
use crate::domain::ids::{ReceiptId, RunId};
use crate::domain::time::Time;
use crate::export::Custom;
use crate::faults::{self, Fault};
use crate::http::app::{App, Believed, Configured};
use crate::http::batch::Turns;
use crate::http::control::{self, Control, Office};
use crate::http::counts::Counts;
use crate::http::idempotency::UnderWay;
use crate::http::limits::DoorLimits;
use crate::http::server::{self, Serves};
use crate::http::tail::Tails;
use crate::http::tickets::Tickets;
use crate::http::tls::{self, Shown};
use crate::http::trail::RequestIds;
use crate::ingest::accounts::Accounts;
use crate::ingest::activity::Activity;
use crate::ingest::caller::{Caller, KeepSessions};
use crate::ingest::desk::Desk;
use crate::ingest::resolve::Policy;
use crate::ingest::runner::{self, Task};
use crate::ledger::books::{Books, Group};
use crate::ledger::command::Command;
use crate::ledger::erasure::Erasure;
use crate::ledger::reader::Reader;
use crate::ledger::seal::Sealer;
use crate::ledger::writer::{self, Handle, Published, Rim, Started};
use crate::net::client::Client;
use crate::net::guard::Guard;
use crate::net::post::Poster;
use crate::providers::mistaken::Mistaken;
use crate::providers::provider::Provider;
use crate::store::directory::{self, OpenError};
use crate::store::engine::{Batch, Engine};
use crate::store::entries;
use crate::store::meta::{self, DATA_VERSION, Meta, StoreError};
use crate::store::migrate;
use crate::store::seal_key;
use crate::store::seals;
use crate::store::sled::Durability;
use crate::store::slots;
use crate::store::vault;
use crate::swap::Swap;
use crate::views::seal::key_text;
use actix_web::web::Data;
use secrecy::ExposeSecret;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often the durable head is noted outside the database.
const NOTE_HEAD_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether a backup is due.
const LOOK_FOR_BACKUP_EVERY: Duration = Duration::from_secs(1);
/// How often what has expired is looked for, or four times within the shortest retention …
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// … and how many are forgotten at once, with a pause for others between.
const FORGET_AT_ONCE: usize = 100;
const FORGET_PAUSE: Duration = Duration::from_millis(200);
const FORGET_EVERY_MIN: Duration = Duration::from_millis(250);
/// Requests to one webhook's target at the same time.
const DELIVERIES_IN_FLIGHT: usize = 8;
/// A target without any success for so long is disabled.
const DISABLE_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// Opens the data directory of a ledger, making it if it is new, and checks that it is whole.
pub fn open(dir: &Path) -> Result<(Arc<dyn Engine>, Books), OpenError> {
    let durability = if Fault::NoSync.is_on() { Durability::NoSync } else { Durability::Full };
    let engine: Arc<dyn Engine> = Arc::new(slots::open(dir, durability, secret)?);
    let meta = meta::get(&*engine)?;
    check(dir, &*engine, meta.as_ref())?;
    if meta.is_none() {
        bear(dir, &*engine)?;
    }
    if let Some(meta) = meta.filter(|meta| meta.data_version < DATA_VERSION) {
        migrate(dir, &*engine, meta)?;
    }
    let gone = || OpenError::Damaged { path: dir.to_owned(), what: "its head is missing".to_owned() };
    let books = Books::load(&*engine)?.ok_or_else(gone)?;
    Ok((engine, books))
}

fn check(dir: &Path, engine: &dyn Engine, meta: Option<&Meta>) -> Result<(), OpenError> {
    if let Some(meta) = meta.filter(|meta| meta.data_version > DATA_VERSION) {
        let what = format!("its data has version {}, this program knows {DATA_VERSION}", meta.data_version);
        return Err(OpenError::Newer { path: dir.to_owned(), what });
    }
    let noted = directory::noted_seq(dir)?;
    let entry = noted.map(|seq| entries::get(engine, seq)).transpose()?.flatten();
    let hash: Option<Hash> = entry.map(|stored| stored.entry.hash);
    directory::check_head(dir, meta, hash)
}

/// Brings the data of an older version up to this one.
fn migrate(dir: &Path, engine: &dyn Engine, meta: Meta) -> Result<(), OpenError> {
    let from = meta.data_version;
    tracing::info!(dir = %dir.display(), from, to = DATA_VERSION, "migrating the data directory");
    migrate::forward(engine, meta, &mut |done, all| {
        tracing::info!(done, all, "migrating the data directory: entries");
    })?;
    tracing::info!(dir = %dir.display(), version = DATA_VERSION, "the data directory is migrated");
    Ok(())
}

/// The first batch of a database: which one it is, and that its ledger is empty.
fn bear(dir: &Path, engine: &dyn Engine) -> Result<(), OpenError> {
    let unusable = |what: String| OpenError::Unusable { path: dir.to_owned(), what };
    let database = random_bytes().map_err(|error| unusable(error.to_string()))?;
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn(database))?;
    engine.apply(&batch).and_then(|()| engine.sync()).map_err(meta::StoreError::from)?;
    Ok(())
}

/// A running daemon.
pub struct Daemon {
    /// `http` or `https`.
    pub scheme: &'static str,
    pub address: SocketAddr,
    pub callback_address: Option<SocketAddr>,
    pub reader: Reader,
    handle: Handle,
    published: watch::Receiver<Published>,
    writer: JoinHandle<()>,
    tasks: mpsc::UnboundedSender<Task>,
    ingest: JoinHandle<()>,
    deliveries: mpsc::UnboundedSender<delivery::runner::Task>,
    delivery: JoinHandle<()>,
    running: Vec<actix_web::rt::task::JoinHandle<std::io::Result<()>>>,
    handles: Vec<actix_web::dev::ServerHandle>,
    drain: watch::Sender<bool>,
    control: Control,
    app: Data<App>,
    /// The certificate of the listeners, where they speak TLS.
    shown: Option<Arc<Shown>>,
    dir: PathBuf,
    retention: Retention,
}

/// Starts everything. Must run within actix's runtime.
pub fn start(config: Config) -> anyhow::Result<Daemon> {
    let dir = config.data.dir.clone();
    let shown = config.server.tls.as_ref().map(Shown::load).transpose()?.map(Arc::new);
    let tls = shown.clone().map(tls::server_config).transpose()?;
    let (listeners, address, callback_address) = bind(&config)?;
    let (engine, mut books) = open(&dir)?;
    directory::note_head(&dir, &books.meta.database, books.meta.seq, books.meta.hash)?;
    let keys = Keys::load(&config.auth, &dir)?;
    if let Some(path) = &keys.made {
        tracing::info!(path = %path.display(), "no [[auth.keys]] configured: made a signing key");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let sealer = Arc::new(sealer(&dir, &*engine, &mut books, clock.now())?);
    let rim = rim(&config, engine, Arc::clone(&clock));
    let Started { handle, reader, thread: writer } = writer::start(rim, books)?;
    let published = reader.subscribe();
    let accounts = Accounts::new(config.accounts.into_iter().map(with_faults).collect());
    let activity = Arc::new(Activity::default());
    let resolver = &config.resolver;
    let desk = Desk {
        accounts: accounts.clone(),
        caller: caller(&accounts, Client::new(resolver.timeout)?, &dir, &clock, &activity),
        clock: Arc::clone(&clock),
        handle: handle.clone(),
        reader: reader.clone(),
        activity: Arc::clone(&activity),
        policy: Policy {
            first_pause: resolver.first_pause,
            max_pause: resolver.max_pause,
            give_up_after: resolver.give_up_after,
            per_account: usize::try_from(resolver.per_account)?,
        },
        stamped: Mutex::default(),
        dated_after_answer: Fault::DatedAfterAnswer.is_on(),
    };
    let (runs_begun, begun) = mpsc::unbounded_channel();
    let (tasks, ingest) = start_ingest(desk, begun)?;
    let retention = config.data.history_retention;
    let deliveries = start_deliveries(&config.webhooks, retention, &clock, &handle, &reader)?;
    let (drain, draining) = watch::channel(false);
    let rota = rota(&config.backup, &reader, &clock, &draining);
    let custom = Custom { chart: Arc::new(config.reports.chart), zone: config.reports.zone };
    let control = open_control(&dir, &reader, &accounts, custom.clone(), &handle, &draining)?;
    let tails = Tails::new(reader.clone(), server::allow_open_files());
    let started_at = clock.now();
    let configured = Configured { loaded_at: started_at, error: None, restart_needed: Vec::new() };
    let app = Data::new(App {
        accounts,
        activity,
        counts: Counts::default(),
        request_ids: RequestIds::new().map_err(anyhow::Error::msg)?,
        started_at,
        clock,
        handle: handle.clone(),
        reader,
        tasks: tasks.clone(),
        runs: runs_begun,
        under_way: UnderWay::default(),
        turns: Turns::default(),
        deliveries: deliveries.tasks.clone(),
        board: deliveries.board,
        alarms: Alarms::default(),
        poster: deliveries.poster,
        believed: Swap::new(Believed {
            keys: keys.keys,
            issuer: config.auth.issuer,
            audience: config.auth.audience,
        }),
        configured: Swap::new(configured),
        timezone: custom.zone,
        sealer,
        chart: custom.chart,
        data_dir: dir.clone(),
        min_free_bytes: config.data.min_free_bytes,
        rota,
        verifying: AtomicBool::new(false),
        trusted_proxies: config.server.trusted_proxies,
        limits: DoorLimits::new(&config.limits),
        tickets: Tickets::default(),
        tails,
        cors_origins: config.server.cors_origins,
        draining,
    });
    let (servers, handles) = server::run(app.clone(), listeners, tls.as_ref())?;
    Ok(Daemon {
        scheme: if tls.is_some() { "https" } else { "http" },
        reader: app.reader.clone(),
        address,
        callback_address,
        handle,
        published,
        writer,
        tasks,
        ingest,
        deliveries: deliveries.tasks,
        delivery: deliveries.thread,
        running: servers.into_iter().map(actix_web::rt::spawn).collect(),
        handles,
        drain,
        control,
        app,
        shown,
        dir,
        retention: Retention::new(config.data.receipt_retention, config.data.history_retention),
    })
}

/// What signs this ledger's seals: with the directory's own key, which is made where there is none and noted in the
/// ledger where it is another one than before.
fn sealer(dir: &Path, engine: &dyn Engine, books: &mut Books, now: Time) -> anyhow::Result<Sealer> {
    let fresh = || random_bytes().map_err(|error| std::io::Error::other(error.to_string()));
    let seed = seal_key::load_or_make(dir, fresh)?;
    let sealer = Sealer::new(seed.expose_secret(), books.meta.database, &seals::known(engine)?)?;
    let mut group = Group::new(engine, books, now);
    group.execute(Command::AdoptSealKey(sealer.public_key()))?;
    let batch = group.finish()?;
    if !batch.is_empty() {
        engine.apply(&batch)?;
        engine.sync()?;
        tracing::info!(public_key = key_text(&sealer.public_key()), "seals are signed with a new key");
    }
    Ok(sealer)
}

/// What the writer needs from around it.
fn rim(config: &Config, engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Rim {
    let dir = config.data.dir.clone();
    Rim {
        engine,
        clock,
        free_bytes: Box::new(move || directory::free_bytes(&dir).ok()),
        min_free_bytes: config.data.min_free_bytes,
        acknowledge_before_sync: Fault::EarlyAck.is_on(),
    }
}

/// A ledger that no daemon serves, held by a command that writes to it.
pub struct Alone {
    pub handle: Handle,
    pub reader: Reader,
    published: watch::Receiver<Published>,
    writer: JoinHandle<()>,
    dir: PathBuf,
}

/// Opens the configured data directory for a command alone.
pub fn open_alone(config: &Config) -> Result<Alone, OpenError> {
    let dir = config.data.dir.clone();
    let (engine, books) = open(&dir)?;
    let unusable = |error: std::io::Error| OpenError::Unusable { path: dir.clone(), what: error.to_string() };
    directory::note_head(&dir, &books.meta.database, books.meta.seq, books.meta.hash).map_err(unusable)?;
    let started = writer::start(rim(config, engine, Arc::new(SystemClock)), books).map_err(unusable)?;
    let published = started.reader.subscribe();
    let Started { handle, reader, thread: writer } = started;
    Ok(Alone { handle, reader, published, writer, dir })
}

/// Opens the configured data directory for a command that only reads.
pub fn read_alone(config: &Config) -> Result<Reader, OpenError> {
    let (engine, books) = open(&config.data.dir)?;
    Ok(writer::prepare(rim(config, engine, Arc::new(SystemClock)), books).reader)
}

impl Alone {
    /// Waits until all is on disk, and notes the head.
    pub fn close(self) -> anyhow::Result<()> {
        drop(self.handle);
        self.writer.join().map_err(|_| anyhow::anyhow!("the writer ended in a panic"))?;
        let last = self.published.borrow().clone();
        Ok(directory::note_head(&self.dir, &last.database, last.seq, last.hash)?)
    }
}

/// Takes the deliberate fault of a mistaken adapter into account, if one is switched on.
fn with_faults(account: Account) -> Account {
    if faults::mistaken(account.provider.spec().id) {
        let provider: &'static dyn Provider = Box::leak(Box::new(Mistaken(account.provider)));
        return Account { provider, ..account };
    }
    account
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

type Listeners = (Vec<(TcpListener, Serves)>, SocketAddr, Option<SocketAddr>);

/// Binds the listeners first: a port that is taken must not cost an open database.
fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let bound = |address: SocketAddr| {
        TcpListener::bind(address)
            .map_err(|error| anyhow::anyhow!("cannot listen on {address}: {error}; is it taken?"))
    };
    let listener = bound(config.server.listen)?;
    let address = listener.local_addr()?;
    let Some(callback_listen) = config.server.callback_listen else {
        return Ok((vec![(listener, Serves::All)], address, None));
    };
    let callbacks = bound(callback_listen)?;
    let callback_address = callbacks.local_addr()?;
    Ok((vec![(listener, Serves::Api), (callbacks, Serves::Callbacks)], address, Some(callback_address)))
}

/// Where backups go, if that is configured.
fn rota(
    config: &config::Backup,
    reader: &Reader,
    clock: &Arc<dyn Clock>,
    draining: &watch::Receiver<bool>,
) -> Option<Arc<Rota>> {
    let to = config.to.clone()?;
    let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
    let draining = draining.clone();
    let stopping = move || *draining.borrow();
    Some(Arc::new(Rota::new(to, config.every, keep, reader.clone(), Arc::clone(clock), stopping)))
}

/// The admin's socket, once the directory is ours.
fn open_control(
    dir: &Path,
    reader: &Reader,
    accounts: &Accounts,
    custom: Custom,
    handle: &Handle,
    draining: &watch::Receiver<bool>,
) -> anyhow::Result<Control> {
    let office = Office {
        reader: reader.clone(),
        accounts: accounts.clone(),
        custom,
        draining: draining.clone(),
        handle: Mutex::new(Some(handle.clone())),
    };
    control::open(dir, office)
        .map_err(|error| anyhow::anyhow!("the control socket in {} cannot be opened: {error}", dir.display()))
}

/// Ingest has a thread and a runtime of its own: it goes on while HTTP workers are busy, and ends after them.
fn start_ingest(
    desk: Desk,
    begun: mpsc::UnboundedReceiver<RunId>,
) -> anyhow::Result<(mpsc::UnboundedSender<Task>, JoinHandle<()>)> {
    let (tasks, inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        if let Err(why) = runtime.block_on(runner::run(Arc::new(desk), inbox, begun)) {
            tracing::error!(%why, "callbacks are no longer processed; restart the daemon");
        }
        runtime.shutdown_background();
    };
    Ok((tasks, std::thread::Builder::new().name("ingest".to_owned()).spawn(run)?))
}

/// Deliveries at work, and what others need of them.
struct Deliveries {
    tasks: mpsc::UnboundedSender<delivery::runner::Task>,
    board: Arc<Board>,
    poster: Poster,
    thread: JoinHandle<()>,
}

/// Deliveries too have a thread and a runtime of their own.
fn start_deliveries(
    config: &Webhooks,
    history_retention: Duration,
    clock: &Arc<dyn Clock>,
    handle: &Handle,
    reader: &Reader,
) -> anyhow::Result<Deliveries> {
    let guard = Guard { allow_private: config.allow_private, require_https: config.require_https };
    let poster = Poster::new(config.timeout, guard)
        .map_err(|error| anyhow::anyhow!("no HTTP client for webhooks: {error}"))?;
    let board = Arc::new(Board::default());
    let shared = delivery::runner::Shared {
        poster: poster.clone(),
        clock: Arc::clone(clock),
        handle: handle.clone(),
        reader: reader.clone(),
        board: Arc::clone(&board),
        policy: delivery_policy(config),
        history_retention,
    };
    let (tasks, inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        if let Err(why) = runtime.block_on(delivery::runner::run(Arc::new(shared), inbox)) {
            tracing::error!(%why, "webhooks are no longer delivered to; restart the daemon");
        }
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("delivery".to_owned()).spawn(run)?;
    Ok(Deliveries { tasks, board, poster, thread })
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

impl Daemon {
    /// What takes another configuration while the daemon runs; `started` is what it was started with.
    pub fn reloader(&self, started: Config) -> Reloader {
        Reloader { app: self.app.clone(), tasks: self.tasks.clone(), shown: self.shown.clone(), started }
    }

    /// Serves until `stop` is done, then drains: no new connections, running requests finish, everything acknowledged
    /// is on disk, the head is noted.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let noting = actix_web::rt::spawn(note_head_now_and_then(self.dir.clone(), self.published.clone()));
        let backing_up = self
            .app
            .rota
            .clone()
            .map(|rota| actix_web::rt::spawn(back_up_now_and_then(rota, Arc::clone(&self.app.clock))));
        let forgetting = actix_web::rt::spawn(forget_now_and_then(self.app.clone(), self.retention));
        let watching = actix_web::rt::spawn(lookout::run(self.app.clone()));
        stop.await;
        tracing::info!("draining");
        self.drain.send_replace(true);
        self.reader.thaw("the daemon is stopping");
        for handle in &self.handles {
            handle.stop(true).await;
        }
        for server in self.running {
            server.await??;
        }
        let control = self.control;
        actix_web::rt::task::spawn_blocking(move || control.close()).await?;
        noting.abort();
        if let Some(backing_up) = backing_up {
            backing_up.abort();
        }
        forgetting.abort();
        watching.abort();
        // They hold the ledger's handle until they are gone.
        drop((forgetting.await, watching.await));
        drop((self.app, self.tasks, self.deliveries, self.handle));
        join(self.ingest).await?;
        join(self.delivery).await?;
        join(self.writer).await?;
        let last = self.published.borrow().clone();
        if let Err(error) = directory::note_head(&self.dir, &last.database, last.seq, last.hash) {
            // A full disk must not turn an orderly end into a failed one: the database has everything.
            tracing::warn!(%error, "the head could not be noted");
        }
        tracing::info!(seq = %last.seq, "stopped");
        Ok(())
    }
}

async fn join(thread: JoinHandle<()>) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("a thread ended in a panic; see the log"))
}

/// How long what can be erased or forgotten is kept, and how far looking for it has come.
struct Retention {
    receipts: Duration,
    history: Duration,
    /// Bodies before this are erased or still needed.
    bodies_after: ReceiptId,
    /// Receipts before this are gone or stay for good. Looking for them begins anew with each start.
    receipts_after: ReceiptId,
}

impl Retention {
    fn new(receipts: Duration, history: Duration) -> Retention {
        let none = ReceiptId(0);
        Retention { receipts, history, bodies_after: none, receipts_after: none }
    }

    fn pause(&self, more: bool) -> Duration {
        let shortest = self.receipts.min(self.history) / 4;
        if more { FORGET_PAUSE } else { shortest.clamp(FORGET_EVERY_MIN, FORGET_EVERY) }
    }
}

/// Forgets what is kept for a while: answers to requests with an Idempotency-Key, reconciliations, receipts' bodies, and
/// receipts that nothing refers to. A bounded piece at a time, with a pause for others between.
async fn forget_now_and_then(app: Data<App>, mut retention: Retention) {
    loop {
        let more = match forget_some(&app, &mut retention).await {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "what has expired could not be forgotten yet");
                false
            }
        };
        tokio::time::sleep(retention.pause(more)).await;
    }
}

/// Says whether there is more.
async fn forget_some(app: &App, retention: &mut Retention) -> anyhow::Result<bool> {
    let now = app.clock.now();
    let requests = app.reader.expired_requests(now, FORGET_AT_ONCE)?;
    let run = app.reader.run_to_forget(now.minus(retention.history), FORGET_AT_ONCE)?;
    let more = requests.len() == FORGET_AT_ONCE || run.is_some();
    if !requests.is_empty() {
        app.handle.submit_patiently(Command::ForgetRequests(requests)).await?;
    }
    if let Some(forget) = run {
        app.handle.submit_patiently(Command::ForgetRun(forget)).await?;
    }
    Ok(erase_old(app, retention, now).await? || more)
}

/// Erases some bodies and takes away some receipts that have outlived their time. Says whether there is more.
async fn erase_old(app: &App, retention: &mut Retention, now: Time) -> anyhow::Result<bool> {
    let (bodies_before, before) = (now.minus(retention.receipts), now.minus(retention.history));
    let (bodies_after, receipts_after) = (retention.bodies_after, retention.receipts_after);
    let reader = app.reader.clone();
    let look = move || {
        let bodies = reader.bodies_beyond(bodies_before, bodies_after)?;
        Ok::<_, StoreError>((bodies, reader.receipts_beyond(before, receipts_after)?))
    };
    let (bodies, receipts) = tokio::task::spawn_blocking(look).await??;
    let erasure = Erasure { bodies: bodies.found, receipts: receipts.found, ..Erasure::default() };
    if !erasure.is_empty() {
        let (bodies, receipts) = (erasure.bodies.len(), erasure.receipts.len());
        app.handle.submit_patiently(Command::Erase(Box::new(erasure))).await?;
        tracing::debug!(bodies, receipts, "erased what has outlived its retention");
    }
    // At the end of the bodies it begins anew: one that was still needed may not be any more.
    retention.bodies_after = bodies.next.unwrap_or_default();
    retention.receipts_after = receipts.next.unwrap_or(receipts_after);
    Ok(bodies.next.is_some() || receipts.next.is_some())
}

/// Takes a backup whenever one is due.
async fn back_up_now_and_then(rota: Arc<Rota>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(LOOK_FOR_BACKUP_EVERY).await;
        if rota.due().is_none_or(|due| due > clock.now()) {
            continue;
        }
        let taking = Arc::clone(&rota);
        match tokio::task::spawn_blocking(move || taking.take()).await {
            Ok(Ok(kept)) => tracing::info!(path = %kept.path.display(), seq = kept.seq, "backed up"),
            Ok(Err(RotaError::Running)) => {}
            Ok(Err(RotaError::Failed(error))) => {
                tracing::error!(%error, "the scheduled backup failed; it is tried again");
            }
            Err(error) => tracing::error!(%error, "the scheduled backup failed; it is tried again"),
        }
    }
}

async fn note_head_now_and_then(dir: PathBuf, published: watch::Receiver<Published>) {
    loop {
        tokio::time::sleep(NOTE_HEAD_EVERY).await;
        let now = published.borrow().clone();
        if let Err(error) = directory::note_head(&dir, &now.database, now.seq, now.hash) {
            tracing::warn!(%error, "the head could not be noted");
        }
    }
}
