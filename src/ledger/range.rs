//! Ranges of the ledger as people name them: from and to a day, a time of recording or a seq.

use super::reader::Reader;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use jiff::tz::TimeZone;
use std::fmt;

/// Where a range begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    Seq(Seq),
    Time(Time),
}

/// Entries from one seq to another, both inclusive; none where `from` lies after `to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub from: Seq,
    pub to: Seq,
}

#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    #[error("a day such as 2026-11-01, an RFC 3339 time or a seq is expected")]
    NotAnEdge,
    #[error("from lies after to")]
    Turned,
    #[error("the ledger ends at seq {0}")]
    Beyond(Seq),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Edge {
    /// A day means its start in `zone`.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Edge, RangeError> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(|seq| Edge::Seq(Seq(seq))).map_err(|_| RangeError::NotAnEdge);
        }
        let time = Time::day(text, zone).or_else(|_| Time::parse(text));
        time.map(Edge::Time).map_err(|_| RangeError::NotAnEdge)
    }

    /// Both edges of a range, which must not be turned round.
    pub fn pair(
        from: Option<&str>,
        to: Option<&str>,
        zone: &TimeZone,
    ) -> Result<(Option<Edge>, Option<Edge>), RangeError> {
        let edge = |text: Option<&str>| text.map(|text| Edge::parse(text, zone)).transpose();
        let pair = (edge(from)?, edge(to)?);
        let turned = match pair {
            (Some(Edge::Seq(from)), Some(Edge::Seq(to))) => from > to,
            (Some(Edge::Time(from)), Some(Edge::Time(to))) => from > to,
            (Some(_) | None, Some(_) | None) => false,
        };
        if turned { Err(RangeError::Turned) } else { Ok(pair) }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edge::Seq(seq) => seq.fmt(f),
            Edge::Time(time) => time.fmt(f),
        }
    }
}

impl Reader {
    /// The entries between two edges: `from` is inclusive, `to` exclusive for times and inclusive for seqs. Without `to` it
    /// ends at the head of this moment.
    pub fn range(&self, from: Option<Edge>, to: Option<Edge>) -> Result<Range, RangeError> {
        let head = self.head();
        let before = |time: Time| self.last_recorded(|at| at < time);
        let from = match from {
            None => Seq(1),
            Some(Edge::Seq(seq)) => seq.max(Seq(1)),
            Some(Edge::Time(time)) => before(time)?.next(),
        };
        let to = match to {
            None => head,
            Some(Edge::Seq(seq)) if seq > head => return Err(RangeError::Beyond(head)),
            Some(Edge::Seq(seq)) => seq,
            Some(Edge::Time(time)) => before(time)?,
        };
        Ok(Range { from, to })
    }
}
