//! What each provider says and what it means. Pure; knows neither store, ledger nor network.

mod fourp;
mod picpay;
pub mod provider;
pub mod registry;
mod yapay;
