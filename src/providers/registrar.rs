//! What a provider with an API for it is asked about callbacks: where they go, that they shall go somewhere, and what it
//! says it delivered. Pure, as all of an adapter: requests as data, and what the answers mean.

use super::provider::{Merchant, Session, Trouble};
use crate::domain::ids::EventId;
use crate::domain::time::OffsetTime;
use crate::wire::call::{Answer, Call};

pub trait Registrar: Sync + Send {
    /// The request for the addresses that are registered.
    fn ask_addresses(&self, merchant: &Merchant, session: Option<&Session>) -> Call;

    /// All of them, in the provider's order.
    fn read_addresses(&self, answer: &Answer) -> Result<Vec<Address>, Trouble>;

    /// The request that registers one more.
    fn register(&self, merchant: &Merchant, session: Option<&Session>, target: &str) -> Call;

    /// Whether it is registered.
    fn registered(&self, answer: &Answer) -> Result<(), Trouble>;

    /// The request for what was delivered, or tried.
    fn ask_deliveries(&self, merchant: &Merchant, session: Option<&Session>) -> Call;

    fn read_deliveries(&self, answer: &Answer) -> Result<Vec<Delivered>, Trouble>;
}

/// Where callbacks go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub target: String,
    /// The names or patterns of the events that go there.
    pub events: Vec<String>,
    /// Whether all news of payments are among them.
    pub hears_payments: bool,
}

/// A callback as the provider tells of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    pub event: EventId,
    pub target: Option<String>,
    /// What it was answered last; none where nothing came back.
    pub status: Option<u16>,
    pub at: Option<OffsetTime>,
}

impl Delivered {
    /// Whether the provider takes it for delivered.
    pub fn is_confirmed(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}
