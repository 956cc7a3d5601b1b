//! Scripted lives of a payment, and the truth they end in.

use super::persona::Happening;
use std::time::Duration;

/// How a payment fares, and how its callbacks do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Life {
    Happy,
    Expiry,
    LatePayment,
    Refund,
    PartialRefunds,
    ChargebackLost,
    ChargebackWon,
    /// Every callback is sent twice.
    Duplicates,
    /// Three of each at the same moment.
    Simultaneous,
    /// Callbacks overtake each other.
    OutOfOrder,
    /// The provider's API is down while the news comes.
    Outage,
    /// The provider's API answers 429 for a while.
    RateLimited,
}

/// How the callback about something is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    Plain,
    Twice,
    Together,
    /// So many beats later.
    Held(u32),
}

/// What happens, so many beats after what happened before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene {
    pub after: u32,
    pub what: Happening,
    pub delivery: Delivery,
}

/// What keeps the provider's API from answering, from the first scene on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    Down,
    TooFast,
}

/// What an order must be in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truth {
    pub state: &'static str,
    pub cents: i64,
    /// 0 until money came.
    pub gross: i64,
    pub refunded: i64,
    pub charged_back: i64,
    pub settled: bool,
}

impl Life {
    pub const ALL: [Life; 12] = [
        Life::Happy,
        Life::Expiry,
        Life::LatePayment,
        Life::Refund,
        Life::PartialRefunds,
        Life::ChargebackLost,
        Life::ChargebackWon,
        Life::Duplicates,
        Life::Simultaneous,
        Life::OutOfOrder,
        Life::Outage,
        Life::RateLimited,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Life::Happy => "happy",
            Life::Expiry => "expiry",
            Life::LatePayment => "late-payment",
            Life::Refund => "refund",
            Life::PartialRefunds => "partial-refunds",
            Life::ChargebackLost => "chargeback-lost",
            Life::ChargebackWon => "chargeback-won",
            Life::Duplicates => "duplicates",
            Life::Simultaneous => "simultaneous",
            Life::OutOfOrder => "out-of-order",
            Life::Outage => "outage",
            Life::RateLimited => "rate-limited",
        }
    }

    pub fn parse(text: &str) -> Option<Life> {
        Life::ALL.into_iter().find(|life| life.as_str() == text)
    }

    /// What happens to a payment of so many cents.
    pub fn scenes(self, cents: i64) -> Vec<Scene> {
        use Happening::{Completed, Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded};
        let happenings = match self {
            Life::Happy
            | Life::Duplicates
            | Life::Simultaneous
            | Life::OutOfOrder
            | Life::Outage
            | Life::RateLimited => {
                vec![Created, InAnalysis, Paid, Completed]
            }
            Life::Expiry => vec![Created, Expired],
            Life::LatePayment => vec![Created, Expired, Paid, Completed],
            Life::Refund => vec![Created, Paid, Refunded(cents)],
            Life::PartialRefunds => vec![Created, Paid, Refunded(cents / 4), Refunded(cents / 3)],
            Life::ChargebackLost => vec![Created, Paid, Disputed],
            Life::ChargebackWon => vec![Created, Paid, Disputed, DisputeWon],
        };
        let delivery = |nth: u32| match self {
            Life::Duplicates => Delivery::Twice,
            Life::Simultaneous => Delivery::Together,
            Life::OutOfOrder if !nth.is_multiple_of(2) => Delivery::Held(3),
            Life::OutOfOrder
            | Life::Happy
            | Life::Expiry
            | Life::LatePayment
            | Life::Refund
            | Life::PartialRefunds
            | Life::ChargebackLost
            | Life::ChargebackWon
            | Life::Outage
            | Life::RateLimited => Delivery::Plain,
        };
        let scene = |(what, nth): (Happening, u32)| Scene {
            after: u32::from(nth > 0),
            what,
            delivery: delivery(nth),
        };
        happenings.into_iter().zip(0..).map(scene).collect()
    }

    pub fn trouble(self) -> Option<Trouble> {
        match self {
            Life::Outage => Some(Trouble::Down),
            Life::RateLimited => Some(Trouble::TooFast),
            Life::Happy
            | Life::Expiry
            | Life::LatePayment
            | Life::Refund
            | Life::PartialRefunds
            | Life::ChargebackLost
            | Life::ChargebackWon
            | Life::Duplicates
            | Life::Simultaneous
            | Life::OutOfOrder => None,
        }
    }
}

impl Truth {
    pub fn new(cents: i64) -> Truth {
        Truth { state: "created", cents, gross: 0, refunded: 0, charged_back: 0, settled: false }
    }

    pub fn after(self, what: Happening) -> Truth {
        let standing = if self.settled { "completed" } else { "paid" };
        match what {
            Happening::Created => Truth { state: "created", ..self },
            Happening::InAnalysis => Truth { state: "in_analysis", ..self },
            Happening::Paid => Truth { state: "paid", gross: self.cents, ..self },
            Happening::Completed => Truth { state: "completed", settled: true, ..self },
            Happening::Expired => Truth { state: "expired", ..self },
            Happening::Refunded(cents) => {
                let refunded = self.refunded + cents;
                let state = if refunded >= self.gross { "refunded" } else { self.state };
                Truth { state, refunded, charged_back: 0, ..self }
            }
            Happening::Disputed => {
                Truth { state: "chargeback", charged_back: self.gross - self.refunded, ..self }
            }
            Happening::DisputeWon => Truth { state: standing, charged_back: 0, ..self },
        }
    }
}

/// How long a beat is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tempo {
    pub beat: Duration,
    /// The first pause before a callback is sent again; it doubles.
    pub retry: Duration,
    pub retries_max: u32,
    /// How long an outage or a rate limit lasts.
    pub trouble: Duration,
}
