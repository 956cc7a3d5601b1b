//! Payouts: recorded once under their reference, listed.

use super::books::Group;
use super::command::{Fault, Refusal, Reply};
use super::lists::{Page, page};
use super::reader::Reader;
use crate::domain::ids::{AccountId, Reference, Seq};
use crate::domain::money::{Currency, Money};
use crate::domain::payout::Payout;
use crate::domain::time::OffsetTime;
use crate::store::meta::StoreError;
use crate::store::payouts;

/// Money that is said to have left for the bank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayoutRequest {
    pub account: AccountId,
    pub reference: Reference,
    pub amount: Money,
    pub currency: Currency,
    /// `None`: now, or as it was recorded.
    pub occurred_at: Option<OffsetTime>,
}

/// A payout that is in the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaidOut {
    pub payout: Payout,
    /// Whether this request put it there.
    pub new: bool,
}

impl PayoutRequest {
    /// In what it differs from the payout that has its reference.
    fn differs(&self, known: &Payout) -> Option<&'static str> {
        let fields = [
            ("amount", self.amount != known.amount),
            ("currency", self.currency != known.currency),
            ("occurred_at", self.occurred_at.is_some_and(|told| told.at != known.occurred_at.at)),
        ];
        fields.into_iter().find(|(_, differs)| *differs).map(|(field, _)| field)
    }
}

impl Group<'_> {
    pub(super) fn record_payout(&mut self, request: PayoutRequest) -> Result<Reply, Fault> {
        if let Some(payout) = payouts::get(&self.read(), &request.account, &request.reference)? {
            return match request.differs(&payout) {
                Some(field) => Err(Refusal::PayoutDiffers { field }.into()),
                None => Ok(Reply::PaidOut(Box::new(PaidOut { payout, new: false }))),
            };
        }
        let now = self.recorded_at();
        let payout = self.append_payout(Payout {
            account: request.account,
            reference: request.reference,
            amount: request.amount,
            currency: request.currency,
            occurred_at: request.occurred_at.unwrap_or(OffsetTime::utc(now)),
            recorded_at: now,
            seq: Seq::default(),
        })?;
        payouts::put(&mut self.batch, &payout)?;
        Ok(Reply::PaidOut(Box::new(PaidOut { payout, new: true })))
    }
}

impl Reader {
    /// Payouts by account and reference.
    pub fn payouts(
        &self,
        account: Option<&AccountId>,
        visible: impl Fn(&AccountId) -> bool,
        after: Option<(AccountId, Reference)>,
        limit: usize,
    ) -> Result<Page<Payout, (AccountId, Reference)>, StoreError> {
        let after = after.as_ref().map(|(account, reference)| (account, reference));
        let all = payouts::list(self.engine(), account, after);
        let keyed = all.map(|item| item.map(|it| ((it.account.clone(), it.reference.clone()), it)));
        page(keyed, limit, |payout| visible(&payout.account))
    }
}
