//! Razão: a payments ledger beside the shop.
//!
//! One callback, walked through the house: `http::callbacks` finds the account, `ingest::receive` compares its credential
//! and shape, `ledger::writer` makes the receipt durable, and only then the provider gets its 200. `ingest::runner` takes
//! the receipt from the agenda, `ingest::desk` asks the provider what its adapter in `providers` tells it to ask, and hands
//! what the answer means back to the writer as evidence. `ledger::commit` puts it into the order's set, `domain::fold`
//! says where the order then stands, `domain::bridge` which entries lead there; they are hashed by `domain::chain` and
//! written with everything they change in one batch. `http::stream` is woken and reads the ledger from its own seq.
//!
//! The rest of this page is the architecture document.
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod auth;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod domain;
pub mod export;
pub mod faults;
pub mod http;
pub mod ingest;
pub mod ledger;
pub mod meter;
pub mod net;
pub mod providers;
pub mod sandbox;
pub mod schedule;
pub mod store;
pub mod swap;
pub mod telemetry;
pub mod views;
pub mod wire;
