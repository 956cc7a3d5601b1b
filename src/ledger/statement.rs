//! Statements: what moved one ledger account in a period, from its opening to its closing balance, page by page.
//!
//! By the time of recording a page is read from the running balances and costs what it shows. By the providers' dates
//! every entry of the ledger account is looked at for every page, and no more than a page of them is held.

use super::reader::Reader;
use crate::domain::balance::Sides;
use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::LedgerAccount;
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use crate::store::{entries, running};
use std::collections::BTreeMap;

/// Where a line stands among the others: its date, then its seq.
pub type Place = (Time, Seq);

/// What a statement is wanted of.
#[derive(Clone, Debug)]
pub struct Asked {
    pub ledger_account: LedgerAccount,
    pub currency: Currency,
    pub period: Period,
    /// The last line that was seen already.
    pub after: Option<Place>,
    pub limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// By the time of recording: entries from one seq to another, both inclusive.
    Recorded { from: Seq, to: Seq },
    /// By the providers' dates: from a time (inclusive) to another (exclusive), of what was recorded up to a seq.
    Occurred { from: Option<Time>, to: Option<Time>, upto: Seq },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub entry: Entry,
    pub amount: Total,
    /// The ledger account's balance after this line.
    pub balance: Total,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Of the whole period, as is `closing`.
    pub opening: Total,
    pub closing: Total,
    pub lines: Vec<Line>,
    /// The last line's place, if others follow it.
    pub next: Option<Place>,
}

impl Period {
    /// The last seq that such a statement can hold.
    pub fn upto(self) -> Seq {
        match self {
            Period::Recorded { to, .. } => to,
            Period::Occurred { upto, .. } => upto,
        }
    }

    fn place(self, entry: &Entry) -> Place {
        match self {
            Period::Recorded { .. } => (entry.recorded_at, entry.seq),
            Period::Occurred { .. } => (entry.occurred_at.at, entry.seq),
        }
    }
}

impl Reader {
    pub fn statement(&self, asked: &Asked) -> Result<Page, StoreError> {
        let mut page = match asked.period {
            Period::Recorded { from, to } => self.recorded(asked, from, to)?,
            Period::Occurred { from, to, upto } => self.occurred(asked, from, to, upto)?,
        };
        if page.lines.len() > asked.limit {
            page.lines.truncate(asked.limit);
            page.next = page.lines.last().map(|line| asked.period.place(&line.entry));
        }
        Ok(page)
    }

    /// A page, and one line more if there is one.
    fn recorded(&self, asked: &Asked, from: Seq, to: Seq) -> Result<Page, StoreError> {
        let Asked { ledger_account, currency, .. } = asked;
        let balance = |seq| -> Result<Total, StoreError> {
            let sides = running::at(self.engine(), ledger_account, *currency, seq)?;
            Ok(sides.as_ref().map_or(Total(0), Sides::balance))
        };
        let opening = balance(Seq(from.0.saturating_sub(1)))?;
        // An empty period closes as it opens.
        let closing = if from <= to { balance(to)? } else { opening };
        let first = asked.after.map_or(from, |(_, seq)| seq.next().max(from));
        let mut lines = Vec::new();
        for item in running::range(self.engine(), ledger_account, *currency, first, to).take(asked.limit + 1)
        {
            let (seq, sides) = item?;
            if let Some(stored) = entries::get(self.engine(), seq)? {
                let amount = moved(&stored.entry, ledger_account);
                lines.push(Line { entry: stored.entry, amount, balance: sides.balance() });
            }
        }
        Ok(Page { opening, closing, lines, next: None })
    }

    /// [`Reader::recorded`] in the order of the providers' dates.
    fn occurred(
        &self,
        asked: &Asked,
        from: Option<Time>,
        to: Option<Time>,
        upto: Seq,
    ) -> Result<Page, StoreError> {
        let (mut opening, mut before_page, mut closing) = (Total(0), Total(0), Total(0));
        let mut kept: BTreeMap<Place, (Entry, Total)> = BTreeMap::new();
        for item in running::range(self.engine(), &asked.ledger_account, asked.currency, Seq(1), upto) {
            let (seq, _) = item?;
            let Some(stored) = entries::get(self.engine(), seq)? else { continue };
            let place = asked.period.place(&stored.entry);
            if to.is_some_and(|to| place.0 >= to) {
                continue;
            }
            let amount = moved(&stored.entry, &asked.ledger_account);
            closing = sum(closing, amount);
            let early = from.is_some_and(|from| place.0 < from);
            if early {
                opening = sum(opening, amount);
            }
            if early || asked.after.is_some_and(|after| place <= after) {
                before_page = sum(before_page, amount);
            } else {
                kept.insert(place, (stored.entry, amount));
            }
            if kept.len() > asked.limit + 1 {
                kept.pop_last();
            }
        }
        let mut balance = before_page;
        let line = |(entry, amount)| {
            balance = sum(balance, amount);
            Line { entry, amount, balance }
        };
        Ok(Page { opening, closing, lines: kept.into_values().map(line).collect(), next: None })
    }
}

/// By how much an entry moves a ledger account.
fn moved(entry: &Entry, ledger_account: &LedgerAccount) -> Total {
    let postings = entry.postings.iter().filter(|posting| posting.ledger_account == *ledger_account);
    postings.fold(Total(0), |sum, posting| sum.plus(posting.amount))
}

fn sum(one: Total, other: Total) -> Total {
    Total(one.0.saturating_add(other.0))
}
