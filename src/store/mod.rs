//! The data directory. Only here sled and bincode are known; everything else sees keys as types and values as records.
//!
//! Above it nobody may assume more than [`engine::Engine`] promises: a batch is atomic, and durable once `sync` came back.

pub mod agenda;
pub mod balances;
pub mod codec;
pub mod directory;
pub mod engine;
pub mod entries;
pub mod evidence;
pub mod frozen;
pub mod idempotency;
pub mod journal;
pub mod journaled;
pub mod keys;
pub mod layers;
pub mod memory;
pub mod meta;
pub mod migrate;
pub mod orders;
pub mod page;
pub mod payouts;
pub mod periods;
pub mod polls;
pub mod receipts;
pub mod running;
pub mod runs;
pub mod seal_key;
pub mod sealed;
pub mod sealing;
pub mod seals;
pub mod settlements;
pub mod shaped;
pub mod sled;
pub mod slots;
pub mod vault;
pub mod webhooks;
