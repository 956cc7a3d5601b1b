//! Providers' settlement files in a world: late, doubled, partial and wrong. They go through the file's own reader and the
//! same commands as over HTTP, a few lines at a time, so that a death cuts them anywhere.

use super::faults::Fault;
use super::payments::Payment;
use super::world::{Event, World};
use crate::fold::dice::Dice;
use razao::domain::ids::{OrderKey, Reference, SettlementId};
use razao::domain::money::{Currency, Money};
use razao::domain::order::Order;
use razao::domain::settlement::{Applied, FileTerms, Finding, LineResult, Numbered};
use razao::ingest::statement::{File, Form, Mapping, Reading};
use razao::ledger::command::{Command, SubmitError};
use razao::ledger::payouts::PayoutRequest;
use razao::ledger::settlements::{NewSettlement, SettleLines, SettlementCommand};
use std::collections::BTreeMap;

const HEADER: &str = "line_id,reference,provider_ref,gross,fee,net,settled_date";

/// The files of one world. They have dice of their own: a world without files is what it was before there were any.
pub struct Files {
    pub dice: Dice,
    /// Whether providers send files here at all.
    exist: bool,
    posted: u64,
    /// How each payment's line reads, once it was written: a provider does not change it.
    written: BTreeMap<usize, String>,
    /// What the last answer said of each line, by account and id.
    told: BTreeMap<(String, String), LineResult>,
}

impl Files {
    pub fn draw(seed: u64) -> Files {
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95) ^ 0xf11e);
        let exist = dice.happens(300);
        Files { dice, exist, posted: 0, written: BTreeMap::new(), told: BTreeMap::new() }
    }
}

/// What the provider keeps of a payment.
pub fn fee(payment: &Payment) -> i64 {
    payment.cents * 3 / 100
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl World {
    pub fn set_out_files(&mut self) {
        if !self.files.exist {
            return;
        }
        let span = u64::try_from(self.plan.chaos().as_micros()).unwrap();
        for _ in 0..self.files.dice.between(1, 8) {
            let off = std::time::Duration::from_micros(self.files.dice.between(1, span));
            self.schedule(self.now.plus(off), Event::File);
        }
    }

    /// Money leaves for the bank, and is told of now and then twice, or with another amount.
    fn pay_out(&mut self, side: usize) {
        let nth = self.files.dice.below(5);
        let odd = i64::from(self.files.dice.happens(200));
        let request = PayoutRequest {
            account: self.sides[side].account.clone(),
            reference: Reference::parse(&format!("TED-{nth}")).unwrap(),
            amount: Money::from_minor(i64::try_from(nth).unwrap() * 100 + 50 + odd).unwrap(),
            currency: Currency::BRL,
            occurred_at: None,
        };
        self.tell(|| format!("{request:?}"));
        if let Some(daemon) = &mut self.daemon {
            daemon.act(Command::RecordPayout(request));
        }
    }

    /// A file of one provider: some of its payments, some lines wrong, now and then twice.
    pub fn post_some_file(&mut self) {
        let side = self.files.dice.below(self.sides.len());
        if self.files.dice.happens(500) {
            self.pay_out(side);
        }
        let mut lines = Vec::new();
        for nth in self.settled_at(side) {
            if self.files.dice.happens(700) {
                lines.push(self.line(nth));
            }
            if self.files.dice.happens(350) {
                lines.push(self.wrong_line(nth));
            }
        }
        let times = if self.files.dice.happens(300) { 2 } else { 1 };
        for _ in 0..times {
            self.post_file(side, &lines);
        }
    }

    /// Every provider's whole file, when all is over; and once more, which must change nothing.
    pub fn post_last_files(&mut self) -> Result<(), String> {
        if !self.files.exist {
            return Ok(());
        }
        for side in 0..self.sides.len() {
            let payments = self.settled_at(side);
            let lines: Vec<String> = payments.into_iter().map(|nth| self.line(nth)).collect();
            self.files.told.clear();
            self.post_file(side, &lines);
            self.go_on(None)?;
            let (first, head) = (self.files.told.clone(), self.head());
            if first.len() != lines.len() {
                return Err(format!("a file of {} lines was answered for {}", lines.len(), first.len()));
            }
            self.files.told.clear();
            self.post_file(side, &lines);
            self.go_on(None)?;
            for (name, before) in &first {
                let again = self.files.told.get(name).ok_or("a line was not answered")?;
                let expected = if before.applied == Applied::No { Applied::No } else { Applied::Before };
                if (again.applied, again.finding) != (expected, before.finding) {
                    return Err(format!("{name:?} came to {before:?}, and then to {again:?}"));
                }
            }
            if self.head() != head {
                return Err("a settlement file that was posted again made an entry".to_owned());
            }
            self.files_are_true(side)?;
        }
        Ok(())
    }

    fn head(&self) -> Option<razao::domain::ids::Seq> {
        self.daemon.as_ref().map(|daemon| daemon.desk.reader.head())
    }

    /// The payments of a side whose money came, as its provider knows by now.
    fn settled_at(&self, side: usize) -> Vec<usize> {
        let came = |payment: &Payment| {
            let state = payment.truth.state;
            payment.side == side && ["paid", "completed", "refunded", "chargeback"].contains(&state)
        };
        (0..self.payments.len()).filter(|nth| came(&self.payments[*nth])).collect()
    }

    fn line(&mut self, nth: usize) -> String {
        if let Some(line) = self.files.written.get(&nth) {
            return line.clone();
        }
        let payment = &self.payments[nth];
        let now = self.sides[payment.side].now(self.now);
        let when = match self.files.dice.below(3) {
            0 => String::new(),
            1 => now.to_string(),
            _ => now.to_string()[..10].to_owned(),
        };
        let named = payment.provider_ref.clone().unwrap_or_default();
        let line = Self::written(&format!("L{nth}"), payment, &named, payment.cents, fee(payment), 0, &when);
        self.files.written.insert(nth, line.clone());
        line
    }

    fn written(
        id: &str,
        payment: &Payment,
        provider_ref: &str,
        gross: i64,
        fee: i64,
        off: i64,
        when: &str,
    ) -> String {
        let (reference, net) = (&payment.reference, money(gross - fee - off));
        format!("{id},{reference},{provider_ref},{},{},{net},{when}", money(gross), money(fee))
    }

    fn wrong_line(&mut self, nth: usize) -> String {
        self.files.posted += 1;
        let id = format!("X{}", self.files.posted);
        let payment = &self.payments[nth];
        let named = payment.provider_ref.clone().unwrap_or_default();
        let (cents, fee) = (payment.cents, fee(payment));
        match self.files.dice.below(6) {
            // What the provider said of this line is not what it says.
            0 => Self::written(&format!("L{nth}"), payment, &named, cents, fee + 1, 0, ""),
            1 => Self::written(&id, payment, &named, cents - 7, fee, 0, ""),
            2 => Self::written(&id, payment, &named, cents + 7, fee, 0, ""),
            3 => Self::written(&id, payment, &named, cents, fee, 1, ""),
            4 => format!("{id},PED-nobody,,1.00,0.01,0.99,"),
            _ => format!("{id},{},,much,0.01,0.99,", payment.reference),
        }
    }

    fn post_file(&mut self, side: usize, lines: &[String]) {
        if self.daemon.is_none() || lines.is_empty() {
            return;
        }
        self.files.posted += 1;
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        let commands = self.commands(side, &text);
        let account = self.sides[side].account.clone();
        self.tell(|| format!("a file of {account} is posted: {}", lines.join(" | ")));
        self.reach.count("settlement file posted");
        if let Some(daemon) = &mut self.daemon {
            daemon.file(account, commands);
        }
    }

    fn commands(&mut self, side: usize, text: &str) -> Vec<Command> {
        let zone = jiff::tz::TimeZone::get("America/Sao_Paulo").unwrap();
        let mapping = Mapping::parse(None).unwrap();
        let reading = Reading { mapping, currency: Currency::BRL, zone };
        let file = File::read(Form::Csv, text.as_bytes(), &reading).unwrap();
        let lines: Vec<Numbered> = file.lines.into_iter().map(|line| self.bent(line)).collect();
        let id = SettlementId(u128::from(self.files.posted).to_be_bytes());
        let account = self.sides[side].terms();
        let terms = FileTerms { mapping: "razao".to_owned(), assumed: false, days: file.days };
        let begin = NewSettlement { id, account: account.clone(), terms };
        let mut commands = vec![SettlementCommand::Begin(begin)];
        for lines in lines.chunks(1 + self.files.dice.below(3)) {
            let (account, lines) = (account.clone(), lines.to_vec());
            commands.push(SettlementCommand::Settle(SettleLines { id, account, lines }));
        }
        commands.push(SettlementCommand::End { id, only_here: Box::default() });
        commands.into_iter().map(Command::Settlement).collect()
    }

    /// The line as a reader of files would have it that forgets fees.
    fn bent(&self, mut numbered: Numbered) -> Numbered {
        if let (Some(Fault::FeeForgotten), Ok(line)) = (self.machine.fault, &mut numbered.line) {
            line.amounts.fee = None;
            line.amounts.net = None;
        }
        numbered
    }

    pub fn filed(&mut self, account: &str, results: Vec<LineResult>, end: Result<(), SubmitError>) {
        if let Err(error) = end {
            self.tell(|| format!("the file was cut off: {error}"));
        }
        for result in results {
            self.tell(|| format!("{result:?}"));
            self.reach.count(&format!("line {}", result.finding.as_str()));
            self.reach.add("line repeated", u64::from(result.applied == Applied::Before));
            if let Some(id) = &result.id {
                self.files.told.insert((account.to_owned(), id.to_string()), result);
            }
        }
    }

    /// Of every payment that the last file names: it is settled with its fee, or the file says in what they differ.
    fn files_are_true(&self, side: usize) -> Result<(), String> {
        let reader = self.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()).ok_or("no daemon")?;
        for nth in self.settled_at(side) {
            let payment = &self.payments[nth];
            let name = (self.sides[side].account.to_string(), format!("L{nth}"));
            let told = self.files.told.get(&name).ok_or_else(|| format!("nothing was said of {name:?}"))?;
            let key = told.order.clone().map(|order| OrderKey::new(self.sides[side].account.clone(), order));
            let order = key.map(|key| reader.order(&key)).transpose().map_err(|error| error.to_string())?;
            match (told.finding, order.flatten()) {
                (Finding::Matched, Some(order)) => settled_with_its_fee(&order, payment)?,
                (Finding::Different, Some(_)) => {}
                (Finding::OnlyThere, None) => {
                    let known = reader.order(&payment.key(&self.sides)).map_err(|error| error.to_string())?;
                    if known.is_some() {
                        return Err(format!("{} is here, and a file finds it only there", payment.reference));
                    }
                }
                other => return Err(format!("{name:?} came to {other:?}")),
            }
        }
        Ok(())
    }
}

fn settled_with_its_fee(order: &Order, payment: &Payment) -> Result<(), String> {
    let fee = order.fee_known.map(|fee| fee.minor());
    let expected = self::fee(payment);
    if fee != Some(expected) {
        return Err(format!("{} has the fee {fee:?}, its line says {expected}", order.key));
    }
    Ok(())
}
