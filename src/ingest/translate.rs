//! From an adapter's findings to evidence: names and the one date a piece sorts by.

use crate::domain::evidence::{Origin, Piece, Said, Source};
use crate::domain::ids::{ReceiptId, Reference};
use crate::domain::time::{OffsetTime, Time};
use crate::ledger::command::News;
use crate::providers::provider::{Dating, Finding, Reading};
use std::time::Duration;

/// A provider's clock is believed so far ahead of ours.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// What surrounds a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Context {
    pub source: Source,
    pub receipt: Option<ReceiptId>,
    /// When the request that brought it was sent; for callbacks' own bodies none was.
    pub asked: Option<Time>,
    /// When the callback arrived; for polls the time of the request. Stands in for dates that are not believed.
    pub received_at: Time,
    pub now: Time,
}

/// The evidence in an adapter's findings. A finding without any name speaks of no order.
pub fn news(findings: Vec<Finding>, context: Context) -> Vec<News> {
    findings.into_iter().filter_map(|finding| one(finding, context)).collect()
}

fn one(finding: Finding, context: Context) -> Option<News> {
    let by_provider_ref = finding.provider_ref.as_ref().and_then(|name| Reference::parse(name.as_str()).ok());
    let reference = finding.reference.or(by_provider_ref)?;
    Some(News {
        reference,
        provider_ref: finding.provider_ref,
        token: finding.token,
        piece: piece(finding.reading, context),
    })
}

fn piece(reading: Reading, context: Context) -> Piece {
    let (date, told) = date(reading.dating, context);
    Piece {
        said: reading.word.map_or(Said::Unknown, Said::Word),
        provider_status: Some(reading.provider_status),
        gross: reading.gross,
        fee: reading.fee,
        refunded: reading.refunded,
        currency: reading.currency,
        proof: reading.proof,
        date,
        occurred: reading.occurred.filter(|occurred| occurred.at <= context.now.plus(AHEAD_MAX)).or(told),
        identity: reading.identity,
        asked: context.asked,
        origin: Origin { source: context.source, receipt: context.receipt, actor: None, reason_hash: None },
        details: reading.details,
    }
}

/// The date a piece sorts by, and the provider's own telling of it where that is believed.
fn date(dating: Dating, context: Context) -> (Time, Option<OffsetTime>) {
    match dating {
        Dating::Snapshot => (context.asked.unwrap_or(context.received_at), None),
        Dating::Told { at, payment_created } => {
            let too_early = payment_created.is_some_and(|created| at.at < created);
            let too_late = at.at > context.now.plus(AHEAD_MAX);
            if too_early || too_late { (context.received_at, None) } else { (at.at, Some(at)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_date_is_believed_within_reason() {
        let hour = Duration::from_secs(3600);
        let now = Time(1_800_000_000_000_000);
        let context = Context {
            source: Source::Callback,
            receipt: None,
            asked: None,
            received_at: now.minus(hour),
            now,
        };
        let told = |at: Time, created: Option<Time>| {
            date(Dating::Told { at: OffsetTime::utc(at), payment_created: created }, context).0
        };
        assert_eq!(told(now.minus(hour * 50), None), now.minus(hour * 50));
        assert_eq!(told(now.plus(hour * 23), None), now.plus(hour * 23));
        assert_eq!(told(now.plus(hour * 25), None), context.received_at, "a day ahead is too far");
        assert_eq!(
            told(now.minus(hour * 3), Some(now.minus(hour * 2))),
            context.received_at,
            "before its payment"
        );
    }
}
