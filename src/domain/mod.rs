//! The words of the trade and what they mean. Pure: no I/O, no clock, no chance; times and ids are passed in.

pub mod balance;
pub mod bridge;
pub mod chain;
pub mod chart;
pub mod discrepancy;
pub mod entry;
pub mod evidence;
pub mod fold;
pub mod ids;
pub mod money;
pub mod order;
pub mod payout;
pub mod period;
pub mod posting;
pub mod receipt;
pub mod run;
pub mod seal;
pub mod settlement;
pub mod standing;
pub mod state;
pub mod time;
pub mod webhook;
