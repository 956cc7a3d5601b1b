//! What people do in a world: the shop registers, somebody polls, operators rule and process again, readers read on.

use super::world::World;
use razao::domain::ids::{AccountId, OrderKey, ReceiptId};
use razao::domain::state::State;
use razao::ledger::command::{Command, Reply, Ruled, RulingRequest, SubmitError};

impl World {
    pub fn register(&mut self, nth: usize) {
        let named = self.dice.happens(500);
        let payment = &self.payments[nth];
        let (Some(amount), Some(daemon)) = (payment.registers, &mut self.daemon) else { return };
        daemon.act(payment.registration(&self.sides, amount, named));
        let reference = payment.reference.clone();
        self.tell(|| format!("the shop registers {reference} with {amount} cents"));
    }

    pub fn acted(&mut self, result: Result<Reply, SubmitError>) {
        match result {
            Ok(Reply::Registered { order, news }) => {
                self.reach.count(&format!("registered {news:?}"));
                let known = self.payments.iter_mut().find(|it| it.reference == order.key.reference.as_str());
                known.into_iter().for_each(|payment| payment.registered = true);
            }
            Ok(Reply::Ruled(order)) => self.tell(|| format!("{} was ruled: {}", order.key, order.state())),
            Ok(Reply::PaidOut(paid_out)) => {
                self.reach.count(if paid_out.new { "payout recorded" } else { "payout repeated" });
            }
            Ok(_) => {}
            Err(SubmitError::Refused(refusal)) => {
                self.reach.count("people refused");
                self.tell(|| format!("refused: {refusal}"));
            }
            Err(error) => self.tell(|| format!("not done: {error}")),
        }
    }

    pub fn act(&mut self) {
        if self.daemon.is_none() || self.calm {
            return;
        }
        let shop = self.plan.shop.clone();
        let nth = self.dice.below(usize::try_from(shop.polls + shop.rules + shop.reprocesses).unwrap());
        let nth = u64::try_from(nth).unwrap();
        if nth < shop.polls {
            let payment = self.dice.below(self.payments.len());
            let key = self.payments[payment].key(&self.sides);
            self.poll(key);
        } else if nth < shop.polls + shop.rules {
            self.rule();
        } else {
            self.reprocess();
        }
    }

    pub fn poll(&mut self, key: OrderKey) {
        if let Some(daemon) = &mut self.daemon {
            daemon.poll_order(key);
        }
    }

    pub fn reprocess(&mut self) {
        let known: Vec<(ReceiptId, AccountId)> =
            self.seen.acknowledged.iter().map(|(id, (account, _))| (*id, account.clone())).collect();
        if let (Some(daemon), false) = (&mut self.daemon, known.is_empty()) {
            let (id, account) = self.dice.pick(&known);
            daemon.reprocess(account.clone(), *id);
        }
    }

    /// An operator's word about some open discrepancy.
    pub fn rule(&mut self) {
        let Some(daemon) = &mut self.daemon else { return };
        let keys = self.payments.iter().map(|payment| payment.key(&self.sides));
        let orders = keys.filter_map(|key| daemon.desk.reader.order(&key).ok().flatten());
        let open: Vec<_> = orders.flat_map(|order| order.open.into_values().map(|open| open.id)).collect();
        if open.is_empty() {
            return;
        }
        let action = match self.dice.below(3) {
            0 => Ruled::SetState(*self.dice.pick(&State::ALL)),
            _ => Ruled::Keep,
        };
        daemon.act(Command::Rule(RulingRequest {
            discrepancy: *self.dice.pick(&open),
            actor: Some("ana".to_owned()),
            reason: "Maria de Teste phoned".to_owned(),
            action,
        }));
        self.tell(|| format!("an operator rules: {action:?}"));
    }

    /// Somebody reads the ledger on from where they were.
    pub fn read(&mut self) -> Result<(), String> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let reader = daemon.desk.reader.clone();
        let limit = 1 + self.dice.below(20);
        self.seen.read_on(&reader, limit)?;
        if self.dice.happens(300) {
            self.seen.forget(&mut self.dice);
        }
        Ok(())
    }
}
