//! What every handler can reach.

use super::batch::Turns;
use super::counts::Counts;
use super::idempotency::UnderWay;
use super::limits::DoorLimits;
use super::problem::Problem;
use super::tail::Tails;
use super::tickets::Tickets;
use super::trail::RequestIds;
use crate::auth::Keys;
use crate::backup::rota::Rota;
use crate::clock::Clock;
use crate::delivery;
use crate::delivery::alarms::{About, Alarms, Kind};
use crate::delivery::board::Board;
use crate::domain::chart::Chart;
use crate::domain::ids::RunId;
use crate::domain::time::Time;
use crate::ingest::accounts::Accounts;
use crate::ingest::activity::Activity;
use crate::ingest::runner::Task;
use crate::ledger::reader::Reader;
use crate::ledger::seal::Sealer;
use crate::ledger::writer::Handle;
use crate::net::post::Poster;
use crate::store::meta::StoreError;
use crate::swap::Swap;
use actix_web::web;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{mpsc, watch};

/// Which tokens are believed: the keys they are checked with, and what they must say.
#[derive(Debug)]
pub struct Believed {
    pub keys: Keys,
    pub issuer: String,
    pub audience: String,
}

/// How the configuration was read last.
#[derive(Clone, Debug)]
pub struct Configured {
    /// When the one that is in force was read.
    pub loaded_at: Time,
    /// What is wrong with the one that was read last, if it is not in force.
    pub error: Option<String>,
    /// What differs from the one that is in force, and waits for a restart.
    pub restart_needed: Vec<String>,
}

pub struct App {
    pub accounts: Accounts,
    pub activity: Arc<Activity>,
    /// What the door counts.
    pub counts: Counts,
    pub request_ids: RequestIds,
    pub started_at: Time,
    pub clock: Arc<dyn Clock>,
    pub handle: Handle,
    pub reader: Reader,
    pub tasks: mpsc::UnboundedSender<Task>,
    /// Reconciliations that begin.
    pub runs: mpsc::UnboundedSender<RunId>,
    /// Requests with an Idempotency-Key that are being carried out.
    pub under_way: UnderWay,
    /// Whose large request is in memory.
    pub turns: Turns,
    pub deliveries: mpsc::UnboundedSender<delivery::runner::Task>,
    /// How far the deliveries are.
    pub board: Arc<Board>,
    /// What operators should know now.
    pub alarms: Alarms,
    /// Says which targets may be named.
    pub poster: Poster,
    /// Which tokens are believed.
    pub believed: Swap<Believed>,
    /// How the configuration was read last.
    pub configured: Swap<Configured>,
    /// Where a day of a report begins and ends.
    pub timezone: TimeZone,
    /// Signs checkpoints of the ledger.
    pub sealer: Arc<Sealer>,
    /// What reports call ledger accounts.
    pub chart: Arc<Chart>,
    pub data_dir: PathBuf,
    pub min_free_bytes: u64,
    /// Where backups go, if that is configured.
    pub rota: Option<Arc<Rota>>,
    /// Whether somebody has the ledger verified.
    pub verifying: AtomicBool,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: DoorLimits,
    /// One-time tickets that wait to be used.
    pub tickets: Tickets,
    /// What the streams share.
    pub tails: Tails,
    /// Origins whose pages may call the API; `*` is all.
    pub cors_origins: Vec<String>,
    /// Turns true when the daemon drains; streams end then.
    pub draining: watch::Receiver<bool>,
}

/// Carries something through to its end, also if whoever asked for it leaves meanwhile: what is durable and was handed on
/// to nobody would wait for the next start.
pub async fn through<T: 'static>(work: impl Future<Output = T> + 'static) -> Result<T, Problem> {
    let carried = actix_web::rt::spawn(work).await;
    carried.map_err(|_| Problem::unavailable("the daemon could not carry it through", 5))
}

impl App {
    /// Reads a record or two, and waits until what was read is durable.
    pub async fn read<T>(&self, read: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, Problem> {
        let found = read(&self.reader)?;
        self.reader.settled().await?;
        Ok(found)
    }

    /// [`App::read`] for what may take a while: off the thread that serves others.
    pub async fn read_many<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let reader = self.reader.clone();
        let found = web::block(move || read(&reader)).await??;
        self.reader.settled().await?;
        Ok(found)
    }

    /// Says what is so now (`None`: all is well), and tells the webhooks what was not so before.
    pub fn alarm(&self, kind: Kind, about: About, message: Option<String>, now: Time) {
        let Some(alert) = self.alarms.set(kind, about, message, now) else { return };
        tracing::warn!(kind = alert.kind, data = alert.data, "operators are told");
        // The receiver is gone only when the daemon stops.
        drop(self.deliveries.send(delivery::runner::Task::Alert(alert)));
    }

    /// Whether this is one of our own proxies.
    pub fn trusts(&self, address: &IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(address))
    }

    /// The client's address: the peer's, or where the peer is a trusted proxy the last untrusted one it forwards.
    pub fn client_address(&self, request: &actix_web::HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let trusted = |address: &IpAddr| self.trusts(address);
        if !trusted(&peer) {
            return Some(peer);
        }
        let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<IpAddr> =
            forwarded.flat_map(|value| value.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
        hops.into_iter().rev().find(|hop| !trusted(hop)).or(Some(peer))
    }
}
