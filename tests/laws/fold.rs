//! The fold by brute force: all short histories of an order in every order of arrival, and each rule taken out.
//!
//! However the evidence arrives, the ledger must end at the same standing, by legal steps, with postings that sum to
//! zero and to the balances, and with the standing's discrepancies open. RAZAO_FOLD_LONG=1 runs the full size.

mod books;
mod cases;
pub mod dice;
mod efi;
mod entries;
mod operators;
pub mod reading;
mod rules;
mod sweep;
mod vectors;

/// Whether the full size was asked for.
pub fn long() -> bool {
    std::env::var_os("RAZAO_FOLD_LONG").is_some_and(|value| value == "1")
}
