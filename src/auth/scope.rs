//! What a token may allow: scopes, and the accounts it sees.

use crate::domain::ids::AccountId;
use std::collections::BTreeSet;
use std::fmt;

/// In a token's `accounts`: every one.
pub(super) const EVERY_ACCOUNT: &str = "*";

/// What a token may allow. None includes another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    OrdersRead,
    OrdersWrite,
    LedgerRead,
    EventsRead,
    BalancesRead,
    WebhooksRead,
    WebhooksWrite,
    CallbacksRead,
    CallbacksWrite,
    Admin,
}

/// Which accounts a token sees; all others do not exist for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accounts {
    All,
    Only(BTreeSet<AccountId>),
}

impl Scope {
    pub const ALL: [Scope; 10] = [
        Scope::OrdersRead,
        Scope::OrdersWrite,
        Scope::LedgerRead,
        Scope::EventsRead,
        Scope::BalancesRead,
        Scope::WebhooksRead,
        Scope::WebhooksWrite,
        Scope::CallbacksRead,
        Scope::CallbacksWrite,
        Scope::Admin,
    ];

    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Scope::OrdersRead => "orders:read",
            Scope::OrdersWrite => "orders:write",
            Scope::LedgerRead => "ledger:read",
            Scope::EventsRead => "events:read",
            Scope::BalancesRead => "balances:read",
            Scope::WebhooksRead => "webhooks:read",
            Scope::WebhooksWrite => "webhooks:write",
            Scope::CallbacksRead => "callbacks:read",
            Scope::CallbacksWrite => "callbacks:write",
            Scope::Admin => "admin",
        }
    }

    pub(super) fn known() -> String {
        Scope::ALL.map(Scope::as_str).join(", ")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Accounts {
    /// As a token tells them. Ids that cannot be an account's are passed over: nothing is seen through them.
    pub(super) fn told(accounts: &[String]) -> Accounts {
        match accounts {
            [only] if only == EVERY_ACCOUNT => Accounts::All,
            some => Accounts::Only(some.iter().filter_map(|id| AccountId::parse(id).ok()).collect()),
        }
    }

    pub fn sees(&self, account: &AccountId) -> bool {
        match self {
            Accounts::All => true,
            Accounts::Only(accounts) => accounts.contains(account),
        }
    }
}
