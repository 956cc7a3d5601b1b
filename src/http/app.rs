//! What every handler can reach.

use crate::auth::Keys;
use crate::clock::Clock;
use crate::ingest::accounts::Accounts;
use crate::ingest::activity::Activity;
use crate::ingest::runner::Task;
use crate::ledger::reader::Reader;
use crate::ledger::writer::Handle;
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

pub struct App {
    pub accounts: Accounts,
    pub activity: Arc<Activity>,
    pub clock: Arc<dyn Clock>,
    pub handle: Handle,
    pub reader: Reader,
    pub tasks: mpsc::UnboundedSender<Task>,
    pub keys: Keys,
    pub issuer: String,
    pub audience: String,
    pub data_dir: PathBuf,
    pub min_free_bytes: u64,
    pub trusted_proxies: Vec<IpNet>,
    /// Turns true when the daemon drains; streams end then.
    pub draining: watch::Receiver<bool>,
}

impl App {
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
