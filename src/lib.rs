//! Razão.

pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod faults;
pub mod http;
pub mod ingest;
pub mod ledger;
pub mod net;
pub mod providers;
pub mod schedule;
pub mod store;
pub mod telemetry;
pub mod views;
pub mod wire;
