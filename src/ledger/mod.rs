//! The books: one writer, many readers. Decides in `commit`, does in `writer`; knows no HTTP and no provider.

pub mod books;
pub mod command;
pub mod commit;
pub mod deliveries;
pub mod erasure;
pub mod idempotency;
pub mod lists;
pub mod meter;
pub mod payouts;
pub mod periods;
pub mod polls;
pub mod range;
pub mod reader;
pub mod runs;
pub mod seal;
pub mod settlements;
pub mod statement;
pub mod verify;
pub mod webhooks;
pub mod witness;
pub mod writer;
