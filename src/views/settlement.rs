//! A settlement file's report as the API answers it.

use crate::domain::ids::{Reference, SettlementId};
use crate::domain::money::{Currency, Money};
use crate::domain::settlement::{
    Applied, FileTerms, Finding, LineAmounts, LineResult, LinesSum, Settlement, Tally,
};
use crate::domain::time::Time;
use serde::Serialize;
use utoipa::ToSchema;

/// A settlement file: how it was read, and what it came to.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Settlement)]
pub struct SettlementView {
    /// Null for a dry run, of which nothing is kept.
    #[schema(example = "set_0006253bd5a8a8009c2f31d7a4e80b16")]
    pub id: Option<String>,
    pub account: String,
    pub dry_run: bool,
    /// done, or unfinished: under way, or cut off; post the file again then.
    #[schema(example = "done")]
    pub status: &'static str,
    /// How its columns are called: the name of a shipped mapping, or pairs.
    pub mapping: String,
    /// Whether nobody documents the format that the mapping stands for: compare it with a real file.
    pub mapping_assumed: bool,
    pub currency: &'static str,
    /// The first day that a line names …
    pub from: Option<String>,
    /// … to the end of the last one (exclusive). Orders that became paid in between can be only here.
    pub to: Option<String>,
    pub begun_at: String,
    pub finished_at: Option<String>,
    pub summary: SettlementSummary,
}

/// Counts and money.
#[derive(Serialize, ToSchema, Debug)]
pub struct SettlementSummary {
    /// File and ledger agree.
    pub matched: LinesSumView,
    /// They disagree.
    pub different: LinesSumView,
    /// Orders that no line names.
    pub only_here: LinesSumView,
    /// Lines of payments that the ledger does not know.
    pub only_there: LinesSumView,
    pub unreadable: LinesSumView,
    /// Lines that became evidence by this file.
    pub applied: u64,
    /// Lines that had become evidence before.
    pub repeated: u64,
}

#[derive(Serialize, ToSchema, Debug)]
#[schema(as = SettlementSum)]
pub struct LinesSumView {
    pub lines: u64,
    #[schema(example = "129.90")]
    pub gross: String,
    #[schema(example = "3.90")]
    pub fee: String,
    #[schema(example = "126.00")]
    pub net: String,
}

/// What one line came to; or an order that no line names.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = SettlementLine)]
pub struct LineView {
    /// Its number in the file, as an editor counts; null for an order that no line names.
    pub line: Option<u32>,
    pub line_id: Option<String>,
    pub reference: Option<String>,
    pub provider_ref: Option<String>,
    pub gross: Option<String>,
    pub fee: Option<String>,
    pub net: Option<String>,
    /// As the line has it, a day as its end; of an order that is only here, when it became paid.
    pub settled_at: Option<String>,
    /// matched, different, only_here, only_there or unreadable.
    #[schema(example = "matched")]
    pub outcome: &'static str,
    /// In what they disagree: gross, fee, net, currency, line_id (another line had it), too_old, no_such_order, refused
    /// or unreadable.
    pub reason: Option<&'static str>,
    /// What the ledger has, or what was expected of the line.
    pub expected: Option<String>,
    pub found: Option<String>,
    /// The order it is about.
    pub order: Option<String>,
    /// Whether it is evidence, now or from before.
    pub applied: bool,
    /// Whether it had been applied before.
    pub repeated: bool,
    /// The seqs of the entries that it led to.
    pub entries: Vec<u64>,
}

/// A report that is not kept.
pub struct Tried<'a> {
    pub account: &'a str,
    pub currency: Currency,
    pub terms: &'a FileTerms,
    pub now: Time,
    pub tally: &'a Tally,
}

impl SettlementView {
    pub fn of(settlement: &Settlement) -> SettlementView {
        SettlementView {
            id: Some(settlement.id.to_string()),
            account: settlement.account.to_string(),
            dry_run: false,
            status: if settlement.finished_at.is_some() { "done" } else { "unfinished" },
            begun_at: settlement.begun_at.to_string(),
            finished_at: settlement.finished_at.map(|at| at.to_string()),
            ..SettlementView::read(&settlement.terms, settlement.currency, &settlement.tally)
        }
    }

    pub fn tried(tried: &Tried<'_>) -> SettlementView {
        let now = tried.now.to_string();
        SettlementView {
            account: tried.account.to_owned(),
            begun_at: now.clone(),
            finished_at: Some(now),
            ..SettlementView::read(tried.terms, tried.currency, tried.tally)
        }
    }

    /// What both have, as a dry run has the rest.
    fn read(terms: &FileTerms, currency: Currency, tally: &Tally) -> SettlementView {
        SettlementView {
            id: None,
            account: String::new(),
            dry_run: true,
            status: "done",
            mapping: terms.mapping.clone(),
            mapping_assumed: terms.assumed,
            currency: currency.code(),
            from: terms.days.map(|(from, _)| from.to_string()),
            to: terms.days.map(|(_, to)| to.to_string()),
            begun_at: String::new(),
            finished_at: None,
            summary: SettlementSummary::of(tally, currency),
        }
    }

    /// Where a report is found.
    pub fn path(id: SettlementId) -> String {
        format!("/v1/settlements/{id}")
    }
}

impl SettlementSummary {
    fn of(tally: &Tally, currency: Currency) -> SettlementSummary {
        let sum = |finding: Finding| {
            let LinesSum { lines, gross, fee, net } = tally.sums.get(&finding).copied().unwrap_or_default();
            let [gross, fee, net] = [gross, fee, net].map(|total| total.show(currency));
            LinesSumView { lines, gross, fee, net }
        };
        SettlementSummary {
            matched: sum(Finding::Matched),
            different: sum(Finding::Different),
            only_here: sum(Finding::OnlyHere),
            only_there: sum(Finding::OnlyThere),
            unreadable: sum(Finding::Unreadable),
            applied: tally.applied,
            repeated: tally.repeated,
        }
    }
}

impl LineView {
    pub fn of(result: &LineResult, currency: Currency) -> LineView {
        let show = |money: Money| money.show(currency);
        let amounts = result.amounts.as_ref();
        let reason = result.reason.as_ref();
        LineView {
            line: result.number,
            line_id: result.id.as_ref().map(|id| id.to_string()),
            reference: result.reference.as_ref().map(Reference::to_string),
            provider_ref: result.provider_ref.as_ref().map(|name| name.to_string()),
            gross: amounts.map(|LineAmounts { gross, .. }| show(*gross)),
            fee: amounts.and_then(|LineAmounts { fee, .. }| fee.map(show)),
            net: amounts.and_then(|LineAmounts { net, .. }| net.map(show)),
            settled_at: result.settled.map(|told| told.to_string()),
            outcome: result.finding.as_str(),
            reason: reason.map(|reason| reason.what.as_str()),
            expected: reason.and_then(|reason| reason.expected.clone()),
            found: reason.and_then(|reason| reason.found.clone()),
            order: result.order.as_ref().map(Reference::to_string),
            applied: result.applied != Applied::No,
            repeated: result.applied == Applied::Before,
            entries: result.entries.iter().map(|seq| seq.0).collect(),
        }
    }
}
