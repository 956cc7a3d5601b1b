//! Deliberate faults, for showing that the tests notice them. `RAZAO_FAULT=name` switches one on in debug builds; release
//! builds have none of this.

/// A fault that can be switched on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The device's sync is left out.
    NoSync,
    /// Commands are answered before their sync.
    EarlyAck,
    /// Answers to calls of ours are dated by when they came, not by when they were asked for.
    DatedAfterAnswer,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::NoSync => "no-sync",
            Fault::EarlyAck => "early-ack",
            Fault::DatedAfterAnswer => "dated-after-answer",
        }
    }

    /// Whether it is switched on.
    pub fn is_on(self) -> bool {
        switched_on().is_some_and(|name| name == self.name())
    }
}

/// Whether the adapter of this provider shall take one word for another: `RAZAO_FAULT=mistaken-{provider}`.
pub fn mistaken(provider: &str) -> bool {
    switched_on().is_some_and(|name| name.strip_prefix("mistaken-") == Some(provider))
}

fn switched_on() -> Option<String> {
    if cfg!(debug_assertions) { std::env::var("RAZAO_FAULT").ok() } else { None }
}
