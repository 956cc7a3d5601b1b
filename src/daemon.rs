//! Puts the rooms together, bottom-up. What it started runs and ends in `run.rs`.

mod data;
mod ledger;
mod lookout;
mod reload;
mod run;
mod threads;
mod upkeep;

pub use data::open;
pub use ledger::{Alone, open_alone, read_alone};
pub use reload::Reloader;

use crate::auth::Keys;
use crate::backup::rota::Rota;
use crate::config::{self, Account, Auth, Config};
use crate::delivery::alarms::Alarms;
use crate::export::Custom;
use crate::faults;
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
use crate::ledger::reader::Reader;
use crate::ledger::writer::{Handle, Published};
use crate::providers::mistaken::Mistaken;
use crate::providers::provider::Provider;
use crate::store::directory;
use crate::swap::Swap;
use actix_web::web::Data;
use ledger::Ledger;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use threads::{Deliveries, Ingest};
use tokio::sync::watch;
use upkeep::Retention;

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
    ingest: Ingest,
    deliveries: Deliveries,
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
    let shown = config.server.tls.as_ref().map(Shown::load).transpose()?.map(Arc::new);
    let tls = shown.clone().map(tls::server_config).transpose()?;
    let (listeners, address, callback_address) = bind(&config)?;
    let dir = config.data.dir.clone();
    let (engine, books) = data::open_with(&dir, config.data.cache_bytes)?;
    directory::note_head(&dir, &books.meta.database, books.meta.seq, books.meta.hash)?;
    let keys = keys(&config.auth, &dir)?;
    let ledger = Ledger::start(&config, engine, books)?;
    let published = ledger.reader.subscribe();
    let accounts = Accounts::new(config.accounts.iter().cloned().map(with_faults).collect());
    let ingest = Ingest::start(&config, accounts, &ledger)?;
    let deliveries = Deliveries::start(&config, &ledger)?;
    let (drain, draining) = watch::channel(false);
    let control = open_control(&config, &ledger, &ingest, &draining)?;
    let retention = Retention::new(config.data.receipt_retention, config.data.history_retention);
    let app = Data::new(app(config, keys, &ledger, &ingest, &deliveries, draining)?);
    let (servers, handles) = server::run(app.clone(), listeners, tls.as_ref())?;
    Ok(Daemon {
        scheme: if tls.is_some() { "https" } else { "http" },
        address,
        callback_address,
        reader: ledger.reader,
        handle: ledger.handle,
        published,
        writer: ledger.writer,
        ingest,
        deliveries,
        running: servers.into_iter().map(actix_web::rt::spawn).collect(),
        handles,
        drain,
        control,
        app,
        shown,
        dir,
        retention,
    })
}

/// What every handler can reach, of the rooms below and the configuration.
fn app(
    config: Config,
    keys: Keys,
    ledger: &Ledger,
    ingest: &Ingest,
    deliveries: &Deliveries,
    draining: watch::Receiver<bool>,
) -> anyhow::Result<App> {
    let started_at = ledger.clock.now();
    let Auth { issuer, audience, .. } = config.auth;
    Ok(App {
        accounts: ingest.accounts.clone(),
        activity: Arc::clone(&ingest.activity),
        counts: Counts::default(),
        request_ids: RequestIds::new()
            .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?,
        started_at,
        clock: Arc::clone(&ledger.clock),
        handle: ledger.handle.clone(),
        reader: ledger.reader.clone(),
        tasks: ingest.tasks.clone(),
        runs: ingest.runs.clone(),
        under_way: UnderWay::default(),
        turns: Turns::default(),
        deliveries: deliveries.tasks.clone(),
        board: Arc::clone(&deliveries.board),
        alarms: Alarms::default(),
        poster: deliveries.poster.clone(),
        believed: Swap::new(Believed { keys, issuer, audience }),
        configured: Swap::new(Configured { loaded_at: started_at, error: None, restart_needed: Vec::new() }),
        timezone: config.reports.zone,
        sealer: Arc::clone(&ledger.sealer),
        chart: Arc::new(config.reports.chart),
        data_dir: config.data.dir,
        min_free_bytes: config.data.min_free_bytes,
        rota: rota(&config.backup, ledger, &draining),
        verifying: AtomicBool::new(false),
        trusted_proxies: config.server.trusted_proxies,
        limits: DoorLimits::new(&config.limits),
        tickets: Tickets::default(),
        tails: Tails::new(ledger.reader.clone(), server::allow_open_files()),
        cors_origins: config.server.cors_origins,
        draining,
    })
}

/// What tokens are checked with; where nothing is configured, a key in the data directory.
fn keys(auth: &Auth, dir: &Path) -> anyhow::Result<Keys> {
    let loaded = Keys::load(auth, dir)?;
    if let Some(path) = &loaded.made {
        tracing::info!(path = %path.display(), "no [[auth.keys]] configured: made a signing key");
    }
    Ok(loaded.keys)
}

/// Takes the deliberate fault of a mistaken adapter into account, if one is switched on.
fn with_faults(account: Account) -> Account {
    if faults::mistaken(account.provider.spec().id) {
        let provider: &'static dyn Provider = Box::leak(Box::new(Mistaken(account.provider)));
        return Account { provider, ..account };
    }
    account
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
fn rota(config: &config::Backup, ledger: &Ledger, draining: &watch::Receiver<bool>) -> Option<Arc<Rota>> {
    let to = config.to.clone()?;
    let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
    let draining = draining.clone();
    let stopping = move || *draining.borrow();
    let (reader, clock) = (ledger.reader.clone(), Arc::clone(&ledger.clock));
    Some(Arc::new(Rota::new(to, config.every, keep, reader, clock, stopping)))
}

/// The admin's socket, once the directory is ours.
fn open_control(
    config: &Config,
    ledger: &Ledger,
    ingest: &Ingest,
    draining: &watch::Receiver<bool>,
) -> anyhow::Result<Control> {
    let (dir, reports) = (&config.data.dir, &config.reports);
    let office = Office {
        reader: ledger.reader.clone(),
        accounts: ingest.accounts.clone(),
        custom: Custom { chart: Arc::new(reports.chart.clone()), zone: reports.zone.clone() },
        draining: draining.clone(),
        handle: Mutex::new(Some(ledger.handle.clone())),
    };
    control::open(dir, office)
        .map_err(|error| anyhow::anyhow!("the control socket in {} cannot be opened: {error}", dir.display()))
}
