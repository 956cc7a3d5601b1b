//! A webhook: where events go, which ones, and how far it is; and a delivery: one event's way there. Neither targets nor
//! secrets print.

use super::entry::Entry;
use super::ids::{AccountId, Reference, Seq};
use super::receipt::Private;
use super::time::Time;
use bincode::{Decode, Encode};
use std::collections::BTreeSet;
use std::fmt;

/// The types of the events that ledger entries have.
pub const EVENT_TYPES: [&str; 11] = [
    "order.created",
    "order.in_analysis",
    "order.paid",
    "order.completed",
    "order.expired",
    "order.refunded",
    "order.chargeback",
    "order.adjusted",
    "order.discrepancy",
    "order.resolved",
    "payout.recorded",
];
/// The event that only shows that a webhook works; no pattern names it.
pub const TEST: &str = "webhook.test";
/// Told to the other webhooks when one was disabled.
pub const WEBHOOK_DISABLED: &str = "operator.webhook_disabled";
const FAMILIES: [&str; 3] = ["order", "payout", "operator"];

/// How many attempts a delivery lists; older ones but the first are dropped.
pub const ATTEMPTS_LISTED_MAX: usize = 30;

/// A subscription. Ids sort by the time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct WebhookId(pub [u8; 16]);

/// What a webhook is told: the event of the entry `seq`; or, where `notice` is not 0, an event of no entry that came up
/// when the ledger was there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub struct Position {
    pub seq: Seq,
    pub notice: u64,
}

/// A delivery is one event's way to one webhook: its name follows from both, so that no counter can disagree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub struct DeliveryId {
    pub webhook: WebhookId,
    pub position: Position,
}

/// Which types of events are wanted: one, `order.*` or `*`.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Pattern(String);

/// Which accounts a webhook is told of.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Reach {
    All,
    Only(BTreeSet<AccountId>),
}

#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Webhook {
    pub id: WebhookId,
    pub target: String,
    pub description: Option<String>,
    pub events: Vec<Pattern>,
    pub accounts: Reach,
    /// Further headers of each request.
    pub headers: Vec<(String, String)>,
    /// The first entry it was told of.
    pub from: Seq,
    pub created_at: Time,
    pub updated_at: Time,
}

/// What a webhook signs and identifies itself with.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Keyring {
    pub secret: Private,
    /// The secret before the last rotation, and until when it signs too.
    pub previous: Option<(Private, Time)>,
    /// The Authorization header's value.
    pub authorization: Option<Private>,
}

/// How far a webhook is in the ledger. What lies beyond it is read from the ledger again; what was already delivered
/// there has its delivery in the store.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Course {
    /// Counts changes by people; what was decided before one is not written after it.
    pub revision: u32,
    /// All up to here is delivered or given up.
    pub cursor: Seq,
    /// Given up since then and before `enabled_at`, and beyond the cursor: due once more.
    pub again_since: Option<Time>,
    pub enabled_at: Time,
    /// Stretches of the ledger that are delivered again.
    pub replays: Vec<Replay>,
    /// Events of no entry that are not delivered yet.
    pub notices: Vec<Position>,
    pub off: Option<Off>,
    pub trouble: Option<Trouble>,
    pub delivered_count: u64,
    /// Deliveries that are given up.
    pub failed_count: u64,
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Replay {
    /// When it was asked for; no two of a webhook have the same.
    pub asked_at: Time,
    pub from: Seq,
    /// The last one, inclusive.
    pub to: Seq,
    pub cursor: Seq,
    /// One delivery that somebody wants again, whatever the patterns say.
    pub single: bool,
}

/// Why a webhook is disabled, and since when.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Off {
    pub why: String,
    pub since: Time,
}

/// Failures in a row.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Trouble {
    pub since: Time,
    pub failures: u32,
    /// Whether so many orders failed that the target counts as dead.
    pub dead: bool,
    /// What the last attempt failed with.
    pub status: Option<u16>,
    pub miss: Option<Miss>,
    /// The first entry whose event was given up meanwhile.
    pub given_up_from: Option<Seq>,
}

/// Where a delivery is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Stage {
    Pending { next_at: Time },
    Delivered { at: Time },
    Failed { at: Time },
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    /// The event's id and type.
    pub event: String,
    pub kind: String,
    /// Null for events of no account.
    pub account: Option<AccountId>,
    pub order: Option<Reference>,
    pub stage: Stage,
    /// Attempts since it began, or began again.
    pub tries: u32,
    /// All attempts there were, also those no longer listed.
    pub attempts_count: u32,
    pub attempts: Vec<Attempt>,
    pub updated_at: Time,
}

/// One request to the target. The beginning of its answer lies apart, since it can be erased.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Attempt {
    pub number: u32,
    pub at: Time,
    pub duration_ms: u32,
    pub status: Option<u16>,
    pub miss: Option<Miss>,
    pub answered: bool,
}

/// Why an attempt confirmed nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Miss {
    /// The name has no address.
    Dns,
    /// The name or address may not be called.
    Forbidden,
    Refused,
    Unreachable,
    Tls,
    Timeout,
    /// The connection ended before an answer.
    Reset,
    /// Not HTTP.
    Unreadable,
    Redirect,
    ClientError,
    ServerError,
    /// A status that is none of a final answer.
    Odd,
    /// The request could not be made.
    Unmakeable,
}

impl Off {
    const BY_HAND: &str = "disabled by hand";

    /// As somebody wanted it.
    pub fn by_hand(since: Time) -> Off {
        Off { why: Off::BY_HAND.to_owned(), since }
    }

    pub fn is_by_hand(&self) -> bool {
        self.why == Off::BY_HAND
    }
}

impl WebhookId {
    pub fn parse(text: &str) -> Option<WebhookId> {
        text.strip_prefix("wh_").and_then(from_hex).map(WebhookId)
    }
}

impl Position {
    pub fn entry(seq: Seq) -> Position {
        Position { seq, notice: 0 }
    }
}

impl DeliveryId {
    pub fn parse(text: &str) -> Option<DeliveryId> {
        let mut parts = text.strip_prefix("dl_")?.split('_');
        let webhook = WebhookId(from_hex(parts.next()?)?);
        let seq = Seq(parts.next()?.parse().ok()?);
        let notice = parts.next().map_or(Ok(0), str::parse).ok()?;
        let id = DeliveryId { webhook, position: Position { seq, notice } };
        // Only as it is written here: `+1` and `01` are other names.
        (id.to_string() == text).then_some(id)
    }
}

impl Pattern {
    pub fn parse(text: &str) -> Option<Pattern> {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let known = text == "*"
            || EVENT_TYPES.contains(&text)
            || text.strip_suffix(".*").is_some_and(|family| FAMILIES.contains(&family))
            || text.strip_prefix("operator.").is_some_and(word);
        known.then(|| Pattern(text.to_owned()))
    }

    pub fn all() -> Pattern {
        Pattern("*".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn fits(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.0 == kind,
        }
    }
}

impl Reach {
    pub fn sees(&self, account: &AccountId) -> bool {
        match self {
            Reach::All => true,
            Reach::Only(accounts) => accounts.contains(account),
        }
    }

    /// Whether it sees all that `other` sees.
    pub fn covers(&self, other: &Reach) -> bool {
        match (self, other) {
            (Reach::All, Reach::All | Reach::Only(_)) => true,
            (Reach::Only(_), Reach::All) => false,
            (Reach::Only(own), Reach::Only(other)) => own.is_superset(other),
        }
    }
}

impl Webhook {
    pub fn wants_type(&self, kind: &str) -> bool {
        self.events.iter().any(|pattern| pattern.fits(kind))
    }
}

impl Keyring {
    /// The secrets that sign now, the newest first.
    pub fn signing(&self, now: Time) -> Vec<&[u8]> {
        let previous = self.previous.iter().filter(|(_, until)| *until > now).map(|(secret, _)| secret);
        std::iter::once(&self.secret).chain(previous).map(|secret| secret.0.as_slice()).collect()
    }
}

impl Course {
    /// At the beginning, before the entry `from`.
    pub fn before(from: Seq, now: Time) -> Course {
        Course {
            revision: 0,
            cursor: Seq(from.0.saturating_sub(1)),
            again_since: None,
            enabled_at: now,
            replays: Vec::new(),
            notices: Vec::new(),
            off: None,
            trouble: None,
            delivered_count: 0,
            failed_count: 0,
        }
    }

    /// enabled, failing or disabled.
    pub fn status(&self) -> &'static str {
        match (&self.off, &self.trouble) {
            (Some(_), _) => "disabled",
            (None, Some(_)) => "failing",
            (None, None) => "enabled",
        }
    }
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Pending { .. } => "pending",
            Stage::Delivered { .. } => "delivered",
            Stage::Failed { .. } => "failed",
        }
    }
}

impl Delivery {
    /// Of an entry's event, before the first attempt.
    pub fn unheard(webhook: WebhookId, entry: &Entry) -> Delivery {
        Delivery {
            id: DeliveryId { webhook, position: Position::entry(entry.seq) },
            event: entry.event_id(),
            kind: entry.event_type().to_owned(),
            account: Some(entry.account.clone()),
            order: entry.order.clone(),
            stage: Stage::Pending { next_at: entry.recorded_at },
            tries: 0,
            attempts_count: 0,
            attempts: Vec::new(),
            updated_at: entry.recorded_at,
        }
    }

    /// Adds an attempt; answers the number of one that is no longer listed.
    pub fn note(&mut self, attempt: Attempt) -> Option<u32> {
        let full = self.attempts.len() >= ATTEMPTS_LISTED_MAX;
        let dropped = full.then(|| self.attempts.remove(1).number);
        self.attempts_count = self.attempts_count.saturating_add(1);
        self.attempts.push(Attempt { number: self.attempts_count, ..attempt });
        dropped
    }
}

impl Miss {
    /// The failure of an answer that is none of 2xx.
    pub fn of(status: u16) -> Option<Miss> {
        match status {
            200..=299 => None,
            300..=399 => Some(Miss::Redirect),
            400..=499 => Some(Miss::ClientError),
            500..=599 => Some(Miss::ServerError),
            0..=199 | 600..=u16::MAX => Some(Miss::Odd),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Miss::Dns => "dns",
            Miss::Forbidden => "forbidden_target",
            Miss::Refused => "refused",
            Miss::Unreachable => "unreachable",
            Miss::Tls => "tls",
            Miss::Timeout => "timeout",
            Miss::Reset => "reset",
            Miss::Unreadable => "unreadable",
            Miss::Redirect => "redirect",
            Miss::ClientError => "4xx",
            Miss::ServerError => "5xx",
            Miss::Odd => "unexpected_status",
            Miss::Unmakeable => "unmakeable",
        }
    }
}

fn from_hex(text: &str) -> Option<[u8; 16]> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let fits = text.len() == 32 && text.bytes().all(lower);
    let number = fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
    Some(number.to_be_bytes())
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wh_{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { seq, notice } = self.position;
        write!(f, "dl_{:032x}_{seq}", u128::from_be_bytes(self.webhook.0))?;
        if notice > 0 { write!(f, "_{notice}") } else { Ok(()) }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::Nonce;
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_no_other_way() {
        let webhook = WebhookId(Nonce::new(Time(1_700_000_000_000_000), [1, 2, 3, 4, 5, 6, 7, 8]).0);
        assert_eq!(WebhookId::parse(&webhook.to_string()), Some(webhook));
        for (seq, notice) in [(7, 0), (7, 1_700_000_000_000_001)] {
            let id = DeliveryId { webhook, position: Position { seq: Seq(seq), notice } };
            let text = id.to_string();
            assert_eq!(DeliveryId::parse(&text), Some(id));
            for other in [
                format!("{text}_"),
                text.replace("_7", "_07"),
                text.replace("_7", "_+7"),
                text.to_uppercase(),
            ] {
                assert_eq!(DeliveryId::parse(&other), None, "{other}");
            }
        }
        assert_eq!(DeliveryId::parse(&format!("{}_7_0", webhook.to_string().replace("wh", "dl"))), None);
        let at = |micros, chance| WebhookId(Nonce::new(Time(micros), chance).0);
        assert!(at(2, [0; 8]) > at(1, [255; 8]), "ids sort by time");
    }

    #[test]
    fn patterns_name_what_there_is() {
        for (pattern, kind, fits) in [
            ("*", "order.paid", true),
            ("*", "operator.webhook_disabled", true),
            ("order.*", "order.paid", true),
            ("order.*", "payout.recorded", false),
            ("order.paid", "order.paid", true),
            ("order.paid", "order.adjusted", false),
            ("operator.*", "operator.webhook_disabled", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().fits(kind), fits, "{pattern} {kind}");
        }
        for bad in
            ["", "order", "order.", "order.pai*", "order.payed", "**", "webhook.test", "operator.", "o.*"]
        {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
