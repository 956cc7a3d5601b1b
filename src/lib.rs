//! Razão.

pub mod domain;
