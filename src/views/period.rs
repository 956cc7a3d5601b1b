//! Closed months as the API shows them.

use super::balance::BalanceView;
use super::seal::SealView;
use crate::domain::balance::Balances;
use crate::domain::ids::Seq;
use crate::domain::period::{Closing, Mark};
use serde::Serialize;
use utoipa::ToSchema;

/// A closed month.
#[derive(Serialize, ToSchema)]
#[schema(as = Period)]
pub struct PeriodView {
    #[schema(example = "2026-10")]
    pub period: String,
    /// Where its days begin and end: `reports.timezone` when it was closed.
    pub timezone: String,
    /// Inclusive.
    pub from: String,
    /// Exclusive.
    pub to: String,
    pub closed_at: String,
    /// The subject of the token that closed it.
    pub closed_by: Option<String>,
    /// The last entry recorded before `to`: what statements of the month end at.
    pub end: MarkView,
    /// The last entry there was when it was closed. Later entries that happened within the month are corrections.
    pub head: MarkView,
    /// Both, with the balances there, signed: what an accountant keeps.
    pub seal: SealView,
}

/// A point of the chain.
#[derive(Serialize, ToSchema)]
#[schema(as = Mark)]
pub struct MarkView {
    /// 0 before the first entry.
    pub seq: u64,
    pub hash: String,
}

/// What was recorded after a month was closed, and happened within it.
#[derive(Serialize, ToSchema)]
#[schema(as = Corrections)]
pub struct CorrectionsView {
    /// How many entries, those without postings among them.
    pub count: u64,
    /// The seq it is true at.
    pub seq: u64,
    /// What they add to each ledger account that they move.
    pub balances: Vec<BalanceView>,
}

impl PeriodView {
    pub fn of(closing: &Closing, seal: SealView) -> PeriodView {
        PeriodView {
            period: closing.month.to_string(),
            timezone: closing.timezone.clone(),
            from: closing.from.to_string(),
            to: closing.to.to_string(),
            closed_at: closing.closed_at.to_string(),
            closed_by: closing.closed_by.clone(),
            end: MarkView::of(closing.end),
            head: MarkView::of(closing.close),
            seal,
        }
    }

    /// The path where a month is found.
    pub fn path(closing: &Closing) -> String {
        format!("/v1/periods/{}", closing.month)
    }
}

impl MarkView {
    fn of(mark: Mark) -> MarkView {
        MarkView { seq: mark.seq.0, hash: mark.hash.to_hex() }
    }
}

impl CorrectionsView {
    pub fn of(count: u64, seq: Seq, sums: &Balances) -> CorrectionsView {
        CorrectionsView { count, seq: seq.0, balances: BalanceView::all(sums) }
    }
}
