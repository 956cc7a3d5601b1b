//! What the writer counts: how long its syncs take, how many commands share one, and how receipts ended. In memory, since
//! the start.

use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::{Progress, Receipt};
use crate::domain::time::Time;
use crate::meter::{GROUP, QUICK, SLOW, Spreads, Tally};
use std::time::Duration;

#[derive(Debug)]
pub struct Meter {
    pub syncs: Spreads<()>,
    pub groups: Spreads<()>,
    /// Receipts by account and outcome.
    pub outcomes: Tally<(AccountId, &'static str)>,
    /// From a receipt to the evidence that came of it.
    pub lags: Spreads<AccountId>,
}

/// A receipt that needs nothing more, or was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    pub account: AccountId,
    pub receipt: ReceiptId,
    pub outcome: &'static str,
    /// None where it was given up.
    pub lag: Option<Duration>,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            syncs: Spreads::over(QUICK),
            groups: Spreads::over(GROUP),
            outcomes: Tally::default(),
            lags: Spreads::over(SLOW),
        }
    }
}

impl Meter {
    /// A group became durable.
    pub(super) fn written(&self, commands: usize, sync: Duration, ended: Vec<Ended>) {
        self.groups.note((), commands as u64);
        self.syncs.note_time((), sync);
        for Ended { account, outcome, lag, .. } in ended {
            if let Some(lag) = lag {
                self.lags.note_time(account.clone(), lag);
            }
            self.outcomes.add((account, outcome));
        }
    }
}

impl Ended {
    /// What a receipt's progress says, if that is an end.
    pub(super) fn of(receipt: &Receipt, now: Time) -> Option<Ended> {
        let lag = match &receipt.progress {
            Progress::Pending | Progress::Retrying { .. } => return None,
            Progress::Failed { .. } => None,
            Progress::Done(_) => Some(now.since(receipt.received_at)),
        };
        let (account, outcome) = (receipt.account.clone(), receipt.progress.as_str());
        Some(Ended { account, receipt: receipt.id, outcome, lag })
    }
}
