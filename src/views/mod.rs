//! The JSON the world sees, once. Pure: from the domain's values to shapes that serialise.
//!
//! Amounts are decimal strings with the currency's full scale, times RFC 3339; a field without a value is null.

pub mod balance;
pub mod entry;
pub mod event;
pub mod exposition;
pub mod order;
pub mod payout;
pub mod period;
pub mod receipt;
pub mod run;
pub mod seal;
pub mod settlement;
pub mod statement;
pub mod webhook;
