//! What every handler can reach.

use super::batch::Turns;
use super::idempotency::UnderWay;
use super::limits::DoorLimits;
use super::problem::Problem;
use super::tail::Tails;
use super::tickets::Tickets;
use crate::auth::Keys;
use crate::backup::rota::Rota;
use crate::clock::Clock;
use crate::delivery;
use crate::delivery::board::Board;
use crate::domain::chart::Chart;
use crate::domain::ids::RunId;
use crate::ingest::accounts::Accounts;
use crate::ingest::activity::Activity;
use crate::ingest::runner::Task;
use crate::ledger::reader::Reader;
use crate::ledger::seal::Sealer;
use crate::ledger::writer::Handle;
use crate::net::post::Poster;
use crate::store::meta::StoreError;
use actix_web::web;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{mpsc, watch};

pub struct App {
    pub accounts: Accounts,
    pub activity: Arc<Activity>,
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
    /// Says which targets may be named.
    pub poster: Poster,
    pub keys: Keys,
    pub issuer: String,
    pub audience: String,
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

    /// The client's address: the peer's, or where the peer is a trusted proxy the last untrusted one it forwards.
    pub fn client_address(&self, request: &actix_web::HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let trusted = |address: &IpAddr| self.trusted_proxies.iter().any(|net| net.contains(address));
        if !trusted(&peer) {
            return Some(peer);
        }
        let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
        let hops: Vec<IpAddr> =
            forwarded.flat_map(|value| value.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
        hops.into_iter().rev().find(|hop| !trusted(hop)).or(Some(peer))
    }
}
