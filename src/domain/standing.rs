//! What the set of evidence says of an order: state, amounts, open discrepancies, the provider's last word.

use super::discrepancy::{Cause, Open};
use super::money::Money;
use super::state::State;
use bincode::{Decode, Encode};
use std::collections::BTreeMap;

/// The known numbers an order's balances are a function of.
#[derive(Clone, Copy, PartialEq, Eq, Default, Encode, Decode, Debug)]
pub struct Sums {
    /// G: 0 until the state says that money came.
    pub gross: Money,
    /// F: the latest fee named; booked once settled.
    pub fee: Money,
    /// R
    pub refunded: Money,
    /// C
    pub charged_back: Money,
    /// S: it has been `completed`.
    pub settled: bool,
}

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Standing {
    pub state: State,
    pub sums: Sums,
    /// The gross named by readings that say money came, else the registered amount; none: unknown.
    pub gross_known: Option<Money>,
    pub fee_known: Option<Money>,
    pub open: BTreeMap<Cause, Open>,
    pub provider_status: Option<String>,
}

/// Where an order's money is, debit positive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OrderBalances {
    pub pending: Money,
    pub available: Money,
    pub sales: Money,
    pub refunds: Money,
    pub fees: Money,
    pub chargebacks: Money,
}

impl Sums {
    /// The balance function. Its six values always sum to zero.
    pub fn balances(&self) -> OrderBalances {
        let fee = if self.settled { self.fee } else { Money::ZERO };
        let asset = self.gross - self.refunded - self.charged_back - fee;
        let (pending, available) = if self.settled { (Money::ZERO, asset) } else { (asset, Money::ZERO) };
        OrderBalances {
            pending,
            available,
            sales: -self.gross,
            refunds: self.refunded,
            fees: fee,
            chargebacks: self.charged_back,
        }
    }
}
