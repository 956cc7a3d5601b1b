//! What each provider says and what it means. Pure; knows neither store, ledger nor network.

mod fourp;
mod genpag;
mod gerencianet;
pub mod mistaken;
mod picpay;
pub mod provider;
pub mod registrar;
pub mod registry;
mod yapay;
