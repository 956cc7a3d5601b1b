//! Settlement files: what a line says, what it comes to against the order it names, and the report of a whole file.
//!
//! A line that is believed becomes evidence like everything else a provider says; one that contradicts what is known is
//! listed as different. [`judge`] decides, and knows no file: a dry run and a real one ask it the same.

use super::evidence::{Amount, Identity, Origin, Piece, Said, Source, provider_status};
use super::ids::{AccountId, LineId, OrderKey, ProviderRef, Reference, Seq, SettlementId};
use super::money::{Currency, Money, Total};
use super::order::Order;
use super::time::{OffsetTime, Time};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// Under this name the details of entries that come of a line hold the line's id.
const DETAIL: &str = "settlement_line";
/// What a line's piece of evidence is called, before the line's id.
const IDENTITY: &str = "settlement line ";

/// One line of a provider's file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub id: LineId,
    /// The order by the name it has here, by the provider's, or both.
    pub names: Names,
    pub amounts: LineAmounts,
    /// As the line names it, if it does.
    pub currency: Option<String>,
    /// A moment, or the end of a day.
    pub settled: Option<OffsetTime>,
}

/// Which payment a line is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// Where the line names none, the provider's name stands in: some orders are called so.
    pub reference: Reference,
    pub stands_in: bool,
    pub provider_ref: Option<ProviderRef>,
}

#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub struct LineAmounts {
    pub gross: Money,
    pub fee: Option<Money>,
    pub net: Option<Money>,
}

/// A line that is no line, and what was expected of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    pub id: Option<LineId>,
    pub expected: String,
}

/// A line of a file by its number, as an editor counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbered {
    pub number: u32,
    pub line: Result<Line, Unreadable>,
}

/// A line that became evidence. The same line again is recognised by it.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Claim {
    pub settlement: SettlementId,
    pub order: OrderKey,
    pub amounts: LineAmounts,
    pub settled: Option<Time>,
    pub finding: Finding,
    pub reason: Option<Reason>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Debug)]
pub enum Finding {
    /// File and ledger agree.
    Matched,
    /// They disagree.
    Different,
    /// The ledger has a payment that the file does not have.
    OnlyHere,
    /// The file has a payment that the ledger does not have.
    OnlyThere,
    Unreadable,
}

/// In what a line and the ledger disagree.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Reason {
    pub what: What,
    pub expected: Option<String>,
    pub found: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub enum What {
    /// The order's gross is another.
    Gross,
    /// Another fee was named for the order before.
    Fee,
    /// Net is not gross less fee.
    Net,
    /// Another currency than the account's.
    Currency,
    /// Another line had this id.
    LineId,
    /// It lies before what the order's evidence still tells apart.
    TooOld,
    NoSuchOrder,
    /// Its evidence could not be applied.
    Refused,
    /// What was expected of an unreadable line.
    Expected,
}

/// Whether a line is evidence now.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub enum Applied {
    /// By this file.
    Now,
    /// By an earlier file, or an earlier line of this one.
    Before,
    No,
}

/// What one line came to; or an order that no line names.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct LineResult {
    /// None: no line of the file, but an order that is only here.
    pub number: Option<u32>,
    pub id: Option<LineId>,
    pub reference: Option<Reference>,
    pub provider_ref: Option<ProviderRef>,
    pub amounts: Option<LineAmounts>,
    pub settled: Option<OffsetTime>,
    pub finding: Finding,
    pub reason: Option<Reason>,
    /// The order it is about.
    pub order: Option<Reference>,
    pub applied: Applied,
    pub entries: Vec<Seq>,
}

/// A file that was posted.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Settlement {
    pub id: SettlementId,
    pub account: AccountId,
    pub currency: Currency,
    pub terms: FileTerms,
    pub begun_at: Time,
    /// None: it was cut off, or is still under way.
    pub finished_at: Option<Time>,
    pub tally: Tally,
}

/// How a file was read.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct FileTerms {
    pub mapping: String,
    /// Whether nobody documents the format it stands for.
    pub assumed: bool,
    /// From the first day that a line names to the end of the last one (exclusive).
    pub days: Option<(Time, Time)>,
}

/// What the results of a file add up to.
#[derive(Clone, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Tally {
    pub sums: BTreeMap<Finding, LinesSum>,
    pub applied: u64,
    pub repeated: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct LinesSum {
    pub lines: u64,
    pub gross: Total,
    pub fee: Total,
    pub net: Total,
}

/// What is known where a line points.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub key: &'a OrderKey,
    pub order: Option<&'a Order>,
    /// The line that had this id before.
    pub claim: Option<&'a Claim>,
    /// The order's evidence before this is no longer told apart.
    pub foundation: Option<Time>,
    pub currency: Currency,
}

/// What a line comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    pub finding: Finding,
    pub reason: Option<Reason>,
    /// Whether it is evidence, and was before.
    pub applied: Applied,
}

/// Compares a line with what is known. Whether it is applied does not depend on when its file came, only on what is known.
pub fn judge(line: &Line, known: Known<'_>) -> Judged {
    let Some(order) = known.order else {
        return Judged::refused(Finding::OnlyThere, Reason::plain(What::NoSuchOrder));
    };
    if let Some(claim) = known.claim {
        return claim.judge(line, known);
    }
    if let Some(reason) = line.contradicts_itself(known) {
        return Judged::refused(Finding::Different, reason);
    }
    let shown = |money: Money| Some(money.show(known.currency));
    let differs = |what, expected: Option<Money>, found: Option<Money>| Reason {
        what,
        expected: expected.and_then(shown),
        found: found.and_then(shown),
    };
    let paid = order.state().has_money();
    let expected = order.gross_known.filter(|_| paid).or(order.expected.amount);
    let gross = line.amounts.gross;
    if let Some(expected) = expected.filter(|expected| *expected != gross) {
        let reason = differs(What::Gross, Some(expected), Some(gross));
        let underpaid = order.expected.amount.is_some_and(|registered| gross < registered);
        // The fold opens `underpaid`; before money came it takes more for what it is. Otherwise nothing would say that
        // the provider contradicts itself, and sales would be changed in silence.
        return if underpaid || !paid {
            Judged::applied(Finding::Different, Some(reason))
        } else {
            Judged::refused(Finding::Different, reason)
        };
    }
    match order.fee_known.filter(|fee| Some(*fee) != line.amounts.fee) {
        Some(fee) => {
            let reason = differs(What::Fee, Some(fee), line.amounts.fee);
            Judged::applied(Finding::Different, Some(reason))
        }
        None => Judged::applied(Finding::Matched, None),
    }
}

impl Claim {
    fn judge(&self, line: &Line, known: Known<'_>) -> Judged {
        let settled = line.settled.map(|told| told.at);
        if (&self.order, self.amounts, self.settled) == (known.key, line.amounts, settled) {
            let applied = Applied::Before;
            return Judged { finding: self.finding, reason: self.reason.clone(), applied };
        }
        let told = |order: &OrderKey, amounts: LineAmounts, settled: Option<Time>| {
            let amount = |money: Option<Money>| money.map_or("-".to_owned(), |it| it.show(known.currency));
            let LineAmounts { gross, fee, net } = amounts;
            let day = settled.map_or("-".to_owned(), |at| at.to_string());
            let amounts = [amount(Some(gross)), amount(fee), amount(net)].join(" ");
            Some(format!("{} {amounts} {day}", order.reference))
        };
        let expected = told(&self.order, self.amounts, self.settled);
        let found = told(known.key, line.amounts, settled);
        Judged::refused(Finding::Different, Reason { what: What::LineId, expected, found })
    }
}

impl Judged {
    fn applied(finding: Finding, reason: Option<Reason>) -> Judged {
        Judged { finding, reason, applied: Applied::Now }
    }

    pub fn refused(finding: Finding, reason: Reason) -> Judged {
        Judged { finding, reason: Some(reason), applied: Applied::No }
    }
}

impl Reason {
    fn plain(what: What) -> Reason {
        Reason { what, expected: None, found: None }
    }

    /// Evidence for which there is no legal way.
    pub fn no_way(why: String) -> Reason {
        Reason { found: Some(why), ..Reason::plain(What::Refused) }
    }
}

impl Line {
    /// What is wrong with it whatever the order is.
    fn contradicts_itself(&self, known: Known<'_>) -> Option<Reason> {
        if let Some(named) = self.currency.as_ref().filter(|named| *named != known.currency.code()) {
            let expected = Some(known.currency.code().to_owned());
            return Some(Reason { what: What::Currency, expected, found: Some(named.clone()) });
        }
        let LineAmounts { gross, fee, net } = self.amounts;
        let expected = gross - fee.unwrap_or_default();
        if let Some(net) = net.filter(|net| *net != expected) {
            let (expected, found) = (expected.show(known.currency), net.show(known.currency));
            return Some(Reason { what: What::Net, expected: Some(expected), found: Some(found) });
        }
        let (settled, end) = (self.settled?.at, known.foundation?);
        (settled < end).then(|| Reason {
            what: What::TooOld,
            expected: Some(end.to_string()),
            found: Some(settled.to_string()),
        })
    }

    /// The date it sorts by, never after `now`; none: the moment it is recorded.
    pub fn date(&self, now: Time) -> Option<Time> {
        self.settled.map(|told| told.at.min(now))
    }

    /// What it says as evidence of that date.
    pub fn piece(&self, date: Time) -> Piece {
        Piece {
            said: Said::Settled,
            provider_status: None,
            gross: Amount::Known(self.amounts.gross),
            fee: self.amounts.fee.map_or(Amount::Absent, Amount::Known),
            refunded: Amount::Absent,
            currency: None,
            proof: false,
            date,
            occurred: self.settled.filter(|told| told.at <= date),
            identity: Identity::Event(format!("{IDENTITY}{}", self.id)),
            asked: None,
            origin: Origin { source: Source::Statement, receipt: None, actor: None, reason_hash: None },
            details: vec![(DETAIL.to_owned(), provider_status(self.id.as_str()))],
        }
    }

    pub fn claim(&self, settlement: SettlementId, order: OrderKey, judged: &Judged) -> Claim {
        Claim {
            settlement,
            order,
            amounts: self.amounts,
            settled: self.settled.map(|told| told.at),
            finding: judged.finding,
            reason: judged.reason.clone(),
        }
    }
}

/// The line that a piece of evidence was; none where it is anything else.
pub fn line_of(piece: &Piece) -> Option<LineId> {
    match (&piece.said, &piece.identity) {
        (Said::Settled, Identity::Event(name)) => LineId::parse(name.strip_prefix(IDENTITY)?).ok(),
        (_, _) => None,
    }
}

impl LineResult {
    pub fn unreadable(number: u32, unreadable: &Unreadable) -> LineResult {
        let expected = Some(unreadable.expected.clone());
        LineResult {
            number: Some(number),
            id: unreadable.id.clone(),
            reference: None,
            provider_ref: None,
            amounts: None,
            settled: None,
            finding: Finding::Unreadable,
            reason: Some(Reason { expected, ..Reason::plain(What::Expected) }),
            order: None,
            applied: Applied::No,
            entries: Vec::new(),
        }
    }

    pub fn of(number: u32, line: &Line, order: Option<&Reference>, judged: Judged) -> LineResult {
        LineResult {
            number: Some(number),
            id: Some(line.id.clone()),
            reference: Some(line.names.reference.clone()).filter(|_| !line.names.stands_in),
            provider_ref: line.names.provider_ref.clone(),
            amounts: Some(line.amounts),
            settled: line.settled,
            finding: judged.finding,
            reason: judged.reason,
            order: order.cloned(),
            applied: judged.applied,
            entries: Vec::new(),
        }
    }

    /// An order that no line names, paid at that moment.
    pub fn only_here(order: &Order, paid: OffsetTime) -> LineResult {
        let gross = order.ledgered.sums.gross;
        let fee = order.fee_known;
        LineResult {
            number: None,
            id: None,
            reference: Some(order.key.reference.clone()),
            provider_ref: order.provider_ref.clone(),
            amounts: Some(LineAmounts { gross, fee, net: fee.map(|fee| gross - fee) }),
            settled: Some(paid),
            finding: Finding::OnlyHere,
            reason: None,
            order: Some(order.key.reference.clone()),
            applied: Applied::No,
            entries: Vec::new(),
        }
    }
}

impl Tally {
    pub fn add(&mut self, result: &LineResult) {
        let sum = self.sums.entry(result.finding).or_default();
        sum.lines = sum.lines.saturating_add(1);
        if let Some(LineAmounts { gross, fee, net }) = result.amounts {
            sum.gross = sum.gross.plus(gross);
            sum.fee = sum.fee.plus(fee.unwrap_or_default());
            sum.net = sum.net.plus(net.unwrap_or_default());
        }
        self.applied += u64::from(result.applied == Applied::Now);
        self.repeated += u64::from(result.applied == Applied::Before);
    }

    /// Takes over what is counted apart.
    pub fn join(&mut self, other: &Tally) {
        self.sums.extend(other.sums.iter().map(|(finding, sum)| (*finding, *sum)));
    }
}

impl Finding {
    pub const ALL: [Finding; 5] =
        [Finding::Matched, Finding::Different, Finding::OnlyHere, Finding::OnlyThere, Finding::Unreadable];

    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Matched => "matched",
            Finding::Different => "different",
            Finding::OnlyHere => "only_here",
            Finding::OnlyThere => "only_there",
            Finding::Unreadable => "unreadable",
        }
    }

    pub fn parse(text: &str) -> Option<Finding> {
        Finding::ALL.into_iter().find(|finding| finding.as_str() == text)
    }
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            What::Gross => "gross",
            What::Fee => "fee",
            What::Net => "net",
            What::Currency => "currency",
            What::LineId => "line_id",
            What::TooOld => "too_old",
            What::NoSuchOrder => "no_such_order",
            What::Refused => "refused",
            What::Expected => "unreadable",
        }
    }
}
