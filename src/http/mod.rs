//! Thin handlers, a resource a file: extract, ask, answer. The only room that knows actix; rooms below know no status
//! codes. Everything is read through `ledger::reader` and changed through `ledger::writer`.

pub mod admin;
pub mod app;
pub mod balances;
pub mod batch;
pub mod body;
pub mod callbacks;
pub mod control;
pub mod deliveries;
pub mod discrepancies;
pub mod entries;
pub mod events;
pub mod guard;
pub mod idempotency;
pub mod limits;
pub mod openapi;
pub mod orders;
pub mod page;
pub mod problem;
pub mod receipts;
pub mod reconciliations;
pub mod registration;
pub mod reprocess;
pub mod routes;
pub mod server;
pub mod sheet;
pub mod shelf;
pub mod socket;
pub mod statement;
pub mod stream;
pub mod tail;
pub mod tickets;
pub mod tls;
pub mod upkeep;
pub mod webhook_body;
pub mod webhooks;
