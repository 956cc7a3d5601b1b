//! Shapes on a wire, as values. Pure; knows no provider.

pub mod call;
pub mod dates;
pub mod form;
pub mod json;
pub mod post;
pub mod sse;
