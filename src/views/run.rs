//! A reconciliation as the API answers it.

use crate::domain::ids::{OrderKey, RunId};
use crate::domain::money::Currency;
use crate::domain::run::{Lane, Moved, OrdersSum, Run, RunResult, Tally};
use serde::Serialize;
use utoipa::ToSchema;

/// A run over many orders, each of which the provider is asked about.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = Reconciliation)]
pub struct RunView {
    #[schema(example = "run_0006253bd5a8a8009c2f31d7a4e80b16")]
    pub id: String,
    /// running or done.
    #[schema(example = "running")]
    pub status: &'static str,
    pub started_at: String,
    pub finished_at: Option<String>,
    pub progress: ProgressView,
    /// What it came to so far, a line per account.
    pub summary: Vec<AccountSummary>,
}

/// How many orders a run is about, and how many have their result.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = ReconciliationProgress)]
pub struct ProgressView {
    pub total: u64,
    pub done: u64,
}

/// What a run came to within one account.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = ReconciliationSummary)]
pub struct AccountSummary {
    pub account: String,
    pub total: u64,
    pub done: u64,
    pub matched: u64,
    pub corrected: u64,
    pub failed: u64,
    pub unreachable: u64,
    pub differing: u64,
    /// Sums over the orders that have their result, a line per currency.
    pub money: Vec<MoneySummary>,
}

/// What the orders added up to before the run, and what they do since.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = ReconciliationMoney)]
pub struct MoneySummary {
    #[schema(example = "BRL")]
    pub currency: &'static str,
    pub gross: ChangeView,
    pub refunded: ChangeView,
    pub charged_back: ChangeView,
}

#[derive(Serialize, ToSchema, Debug)]
#[schema(as = ReconciliationChange)]
pub struct ChangeView {
    #[schema(example = "100.00")]
    pub before: String,
    #[schema(example = "129.90")]
    pub after: String,
}

/// What asking about one order came to.
#[derive(Serialize, ToSchema, Debug)]
#[schema(as = ReconciliationResult)]
pub struct ResultView {
    pub account: String,
    pub reference: String,
    /// matched, corrected (the ledger follows what the provider said), failed, unreachable (nothing can be asked with
    /// what is known) or differing (a discrepancy is open).
    #[schema(example = "matched")]
    pub result: &'static str,
    /// Why it failed or is unreachable.
    pub reason: Option<String>,
    /// Null where there is no such order.
    #[schema(example = "paid")]
    pub state: Option<&'static str>,
    /// The seqs of the entries that polls of this order made since the run began.
    pub entries: Vec<u64>,
    pub checked_at: String,
}

impl RunView {
    /// A run as far as `lanes` show it.
    pub fn of(run: &Run, lanes: &[&Lane]) -> RunView {
        RunView {
            id: run.id.to_string(),
            status: if run.finished_at.is_some() { "done" } else { "running" },
            started_at: run.started_at.to_string(),
            finished_at: run.finished_at.map(|at| at.to_string()),
            progress: ProgressView {
                total: lanes.iter().map(|lane| lane.total).sum(),
                done: lanes.iter().map(|lane| lane.tally.done()).sum(),
            },
            summary: lanes.iter().map(|lane| AccountSummary::of(lane)).collect(),
        }
    }

    /// Where a run is found.
    pub fn path(id: RunId) -> String {
        format!("/v1/reconciliations/{id}")
    }
}

impl AccountSummary {
    fn of(lane: &Lane) -> AccountSummary {
        let Tally { matched, corrected, failed, unreachable, differing, ref money } = lane.tally;
        AccountSummary {
            account: lane.account.to_string(),
            total: lane.total,
            done: lane.tally.done(),
            matched,
            corrected,
            failed,
            unreachable,
            differing,
            money: money.iter().map(|(currency, moved)| MoneySummary::of(*currency, moved)).collect(),
        }
    }
}

impl MoneySummary {
    fn of(currency: Currency, moved: &Moved) -> MoneySummary {
        let change = |sum: fn(&OrdersSum) -> crate::domain::money::Total| ChangeView {
            before: sum(&moved.before).show(currency),
            after: sum(&moved.after).show(currency),
        };
        MoneySummary {
            currency: currency.code(),
            gross: change(|sums| sums.gross),
            refunded: change(|sums| sums.refunded),
            charged_back: change(|sums| sums.charged_back),
        }
    }
}

impl ResultView {
    pub fn of(order: &OrderKey, result: &RunResult) -> ResultView {
        ResultView {
            account: order.account.to_string(),
            reference: order.reference.to_string(),
            result: result.finding.as_str(),
            reason: result.reason.clone(),
            state: result.state.map(|state| state.as_str()),
            entries: result.entries.iter().map(|seq| seq.0).collect(),
            checked_at: result.at.to_string(),
        }
    }
}
