//! Orders, callbacks and discrepancies, page by page. A page's cursor names the last thing looked at, so paging is
//! stable while things are added, and a filter that finds little ends a page early instead of holding a thread.

use super::reader::Reader;
use crate::domain::ids::{AccountId, OrderKey, ProviderRef, ReceiptId, Seq};
use crate::domain::order::{Order, Reconciliation};
use crate::domain::receipt::Receipt;
use crate::domain::state::State;
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use crate::store::{orders, receipts};

/// How many records one page looks at.
const SCAN_MAX: usize = 20_000;

/// Things found, and after which to go on; `None` at the end.
#[derive(Debug)]
pub struct Page<T, C> {
    pub found: Vec<T>,
    pub next: Option<C>,
}

/// Which orders are wanted; what is absent does not matter.
#[derive(Clone, Default, Debug)]
pub struct OrderFilter {
    pub account: Option<AccountId>,
    pub provider: Option<String>,
    pub provider_ref: Option<ProviderRef>,
    pub reference_prefix: String,
    pub state: Option<State>,
    pub reconciliation: Option<Reconciliation>,
    pub updated_since: Option<Time>,
}

/// Which callbacks are wanted.
#[derive(Clone, Default, Debug)]
pub struct ReceiptFilter {
    pub account: Option<AccountId>,
    /// As the API words it.
    pub outcome: Option<String>,
    pub order: Option<String>,
    /// Received at this time or later …
    pub since: Option<Time>,
    /// … and before this one.
    pub until: Option<Time>,
}

impl OrderFilter {
    fn wants(&self, order: &Order) -> bool {
        fn is<T: PartialEq>(filter: &Option<T>, value: &T) -> bool {
            filter.as_ref().is_none_or(|wanted| wanted == value)
        }
        is(&self.account, &order.key.account)
            && is(&self.provider, &order.provider)
            && (self.provider_ref.is_none() || self.provider_ref == order.provider_ref)
            && order.key.reference.as_str().starts_with(&self.reference_prefix)
            && is(&self.state, &order.state())
            && is(&self.reconciliation, &order.reconciliation())
            && self.updated_since.is_none_or(|since| order.updated_at >= since)
    }
}

impl ReceiptFilter {
    fn wants(&self, receipt: &Receipt) -> bool {
        self.account.as_ref().is_none_or(|account| *account == receipt.account)
            && self.outcome.as_ref().is_none_or(|outcome| outcome == receipt.progress.as_str())
            && self.since.is_none_or(|since| receipt.received_at >= since)
            && self.until.is_none_or(|until| receipt.received_at < until)
            && self
                .order
                .as_ref()
                .is_none_or(|order| receipt.evidence.iter().any(|finding| finding.order.as_str() == order))
    }
}

/// Collects a page from an iterator, with the cursor of each thing.
pub(super) fn page<T, C: Clone>(
    items: impl Iterator<Item = Result<(C, T), StoreError>>,
    limit: usize,
    wants: impl Fn(&T) -> bool,
) -> Result<Page<T, C>, StoreError> {
    let mut found = Vec::new();
    let mut last = None;
    for (looked_at, item) in items.enumerate() {
        if found.len() == limit || looked_at == SCAN_MAX {
            return Ok(Page { found, next: last });
        }
        let (cursor, thing) = item?;
        last = Some(cursor);
        if wants(&thing) {
            found.push(thing);
        }
    }
    Ok(Page { found, next: None })
}

impl Reader {
    /// Orders by account and reference.
    pub fn orders(
        &self,
        filter: &OrderFilter,
        visible: impl Fn(&AccountId) -> bool,
        after: Option<&OrderKey>,
        limit: usize,
    ) -> Result<Page<Order, OrderKey>, StoreError> {
        if let (Some(account), Some(provider_ref)) = (&filter.account, &filter.provider_ref) {
            return self.order_of(account, provider_ref, filter, visible);
        }
        let all = orders::list(self.engine(), filter.account.as_ref(), &filter.reference_prefix, after);
        let keyed = all.map(|order| order.map(|order| (order.key.clone(), order)));
        page(keyed, limit, |order| visible(&order.key.account) && filter.wants(order))
    }

    fn order_of(
        &self,
        account: &AccountId,
        provider_ref: &ProviderRef,
        filter: &OrderFilter,
        visible: impl Fn(&AccountId) -> bool,
    ) -> Result<Page<Order, OrderKey>, StoreError> {
        let reference = self.by_provider_ref(account, provider_ref)?;
        let key = reference.map(|reference| OrderKey::new(account.clone(), reference));
        let order = key.map(|key| self.order(&key)).transpose()?.flatten();
        let found = order.into_iter().filter(|order| visible(account) && filter.wants(order)).collect();
        Ok(Page { found, next: None })
    }

    /// Callbacks, newest first.
    pub fn receipts(
        &self,
        filter: &ReceiptFilter,
        visible: impl Fn(&AccountId) -> bool,
        before: Option<ReceiptId>,
        limit: usize,
    ) -> Result<Page<Receipt, ReceiptId>, StoreError> {
        let keyed =
            receipts::newest_first(self.engine(), before).map(|receipt| receipt.map(|it| (it.id, it)));
        page(keyed, limit, |receipt| visible(&receipt.account) && filter.wants(receipt))
    }

    /// The order that an open discrepancy is about.
    pub fn discrepancy(&self, id: Seq) -> Result<Option<OrderKey>, StoreError> {
        orders::discrepancy(self.engine(), id)
    }

    /// Orders with an open discrepancy, by the seq of the discrepancy, oldest first.
    pub fn discrepancies(
        &self,
        wants: impl Fn(&OrderKey) -> bool,
        after: Seq,
        limit: usize,
    ) -> Result<Page<(Seq, OrderKey), Seq>, StoreError> {
        let keyed =
            orders::discrepancies(self.engine(), after).map(|item| item.map(|(seq, key)| (seq, (seq, key))));
        page(keyed, limit, |(_, key)| wants(key))
    }
}
