//! Work that is due later. Pure: time and dice are arguments.

pub mod backoff;
pub mod breaker;
pub mod cadence;
pub mod limiter;
pub mod silence;
