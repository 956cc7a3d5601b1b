//! Deliberate faults, for showing that the tests notice them. `RAZAO_FAULT=name` switches one on in debug builds; release
//! builds have none of this.

/// A fault that can be switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The device's sync is left out.
    NoSync,
    /// Commands are answered before their sync.
    EarlyAck,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::NoSync => "no-sync",
            Fault::EarlyAck => "early-ack",
        }
    }

    /// Whether it is switched on.
    pub fn is_on(self) -> bool {
        cfg!(debug_assertions) && std::env::var("RAZAO_FAULT").is_ok_and(|name| name == self.name())
    }
}
