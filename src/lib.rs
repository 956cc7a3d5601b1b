//! Razão.

pub mod clock;
pub mod domain;
pub mod ingest;
pub mod ledger;
pub mod net;
pub mod providers;
pub mod schedule;
pub mod store;
pub mod views;
pub mod wire;
