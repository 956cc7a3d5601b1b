//! Out to the internet. The only HTTP clients: one for providers, one for targets that anybody may name.

pub mod client;
pub mod guard;
pub mod post;
