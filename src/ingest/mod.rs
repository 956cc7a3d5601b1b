//! From receipt to evidence. Decides when to ask, what an answer means and when to give up; only `runner` and `runs` do I/O.

pub mod accounts;
pub mod activity;
pub mod agenda;
pub mod caller;
pub mod desk;
pub mod health;
pub mod poll;
pub mod receive;
pub mod reconcile;
pub mod resolve;
pub mod rounds;
pub mod runner;
pub mod runs;
pub mod session;
pub mod statement;
pub mod translate;
