//! From entry to the shops. A machine that reads the ledger by seq and knows neither HTTP nor the clock, and one dull
//! runner; no queue of its own that could disagree with the ledger.

pub mod alarms;
pub mod board;
pub mod envelope;
pub mod meaning;
pub mod plan;
pub mod runner;
pub mod sign;
