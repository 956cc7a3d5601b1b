//! The daemon seen from outside: a real process, real HTTP, a simulated bank. What is asserted here is what the documents promise;
//! nothing of the program's own code is used. One binary, an area a file.

// A panic is how a test reports, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod amounts;
mod auth;
mod balances;
mod batch;
mod callbacks;
mod cli;
mod config;
mod connect;
mod deliveries;
mod demo;
mod discrepancies;
mod document;
mod doors;
mod durable;
mod events;
mod history;
mod hostile;
mod idempotency;
mod import;
mod interop;
mod keys;
mod kill;
mod kill_all;
mod ledger;
mod libraries;
mod limits;
mod listen;
mod lists;
mod lives;
mod orders;
mod periods;
mod poller;
mod polls;
mod receipts;
mod reconciliations;
mod references;
mod resume;
mod samples;
mod secrets;
mod socket;
mod statement;
mod stream;
mod support;
mod system;
mod targets;
mod tickets;
mod tls;
mod unreachable;
mod upgrade;
mod visible;
mod webhooks;
