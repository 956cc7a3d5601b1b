//! Out to the internet. The only HTTP client.

pub mod client;
