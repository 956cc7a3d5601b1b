//! Who may see what: keys, and the bearer tokens that are checked with them.
//!
//! Knows the configuration's keys and the ledger's account ids; nothing of HTTP, which turns a [`Denied`] into words
//! and headers. The time is an argument.

mod jwks;
mod keys;
mod mint;
mod scope;
#[cfg(test)]
mod tests;
mod token;

pub use keys::{Keys, KeysError, Loaded};
pub use mint::{Grant, MintError, mint};
pub use scope::{Accounts, Scope};
pub use token::{Claims, Denied, verify};
