//! The sections as plain values. Their defaults stand in `file.rs`, where they are read.

use super::keys::AuthKey;
use super::units::Rate;
use crate::domain::chart::Chart;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Server {
    pub listen: SocketAddr,
    /// A second listener for callbacks alone.
    pub callback_listen: Option<SocketAddr>,
    /// Origins as browsers send them, or `*`.
    pub cors_origins: Vec<String>,
    pub trusted_proxies: Vec<IpNet>,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Data {
    pub dir: PathBuf,
    pub receipt_retention: Duration,
    pub history_retention: Duration,
    pub min_free_bytes: u64,
    /// Of the database, in memory.
    pub cache_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub format: LogFormat,
    /// A level, or `target=level` several times with commas, as `tracing` filters.
    pub level: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Human,
    Json,
}

#[derive(Clone, Debug)]
pub struct Auth {
    pub issuer: String,
    pub audience: String,
    pub keys: Vec<AuthKey>,
}

#[derive(Clone, Debug)]
pub struct Resolver {
    pub first_pause: Duration,
    pub max_pause: Duration,
    pub give_up_after: Duration,
    pub timeout: Duration,
    pub per_account: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Poll {
    pub enabled: bool,
    pub min_interval: Duration,
    pub max_interval: Duration,
}

#[derive(Clone, Debug)]
pub struct Webhooks {
    pub allow_private: bool,
    pub require_https: bool,
    pub timeout: Duration,
    pub max_attempts: u32,
    pub first_pause: Duration,
    pub max_pause: Duration,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub callbacks_per_account: Option<Rate>,
    /// Of those that fail.
    pub callbacks_per_address: Option<Rate>,
}

#[derive(Clone, Debug)]
pub struct Reports {
    pub zone: TimeZone,
    /// The accountant's names by ledger account.
    pub chart: Chart,
}

#[derive(Clone, Debug)]
pub struct Backup {
    pub every: Option<Duration>,
    pub to: Option<PathBuf>,
    pub keep: u32,
}

#[derive(Clone, Debug)]
pub struct Telemetry {
    pub otlp: Option<String>,
}
