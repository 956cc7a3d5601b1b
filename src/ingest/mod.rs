//! From receipt to evidence. Decides when to ask, what an answer means and when to give up; `desk` reaches the world
//! through seams, and only `runner` spawns and sleeps.

pub mod accounts;
pub mod activity;
pub mod desk;
pub mod receive;
pub mod resolve;
pub mod runner;
pub mod session;
pub mod translate;
