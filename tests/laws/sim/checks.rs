//! The laws, as they are looked at in a world: at every start of the daemon, when nothing is left to do, and at the end.

use super::payments::{Payment, Side};
use super::world::World;
use crate::fold::dice::Dice;
use razao::domain::chain::Hash;
use razao::domain::discrepancy::Cause;
use razao::domain::entry::Kind;
use razao::domain::evidence::{Evidence, Identity, Piece, Said};
use razao::domain::fold::stand;
use razao::domain::ids::{AccountId, OrderKey, ProviderRef, ReceiptId, Seq};
use razao::domain::order::Order;
use razao::domain::payout;
use razao::domain::posting::{LedgerAccount, postings};
use razao::domain::receipt::Progress;
use razao::domain::standing::OrderBalances;
use razao::domain::state::State;
use razao::domain::time::Time;
use razao::ingest::desk::PollError;
use razao::ledger::command::{Command, News, Record};
use razao::ledger::reader::Reader;
use razao::ledger::verify::verify;
use razao::providers::provider::Known;
use razao::store::engine::{Direction, Read};
use razao::store::{entries, evidence, keys, orders, payouts, receipts, sealed};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

type Checked = Result<(), String>;

/// What the outside saw: it must stay true whatever happens to the daemon.
#[derive(Default)]
pub struct Seen {
    /// Receipts that were answered with 200, and what was in them.
    pub acknowledged: BTreeMap<ReceiptId, (AccountId, Vec<u8>)>,
    /// The last date of ours that anybody was given.
    pub last_date: Time,
    published: (Seq, Option<Hash>),
    /// Entries up to here were looked at as they came.
    followed: Seq,
    /// Entries that were read, and the seq to read on from.
    read: BTreeMap<Seq, Hash>,
    next: Seq,
}

impl Seen {
    pub fn published(&mut self, seq: Seq, hash: Hash) {
        if seq > self.published.0 {
            self.published = (seq, Some(hash));
        }
    }

    pub fn head(&self) -> (String, u64) {
        (self.published.1.map(|hash| hash.to_hex()).unwrap_or_default(), self.published.0.0)
    }

    /// Reads on: every entry once, in order, chained, and the same as whenever it was read before.
    pub fn read_on(&mut self, reader: &Reader, limit: usize) -> Checked {
        let from = self.next.max(Seq(1));
        let (found, next) =
            reader.entries(from, limit, 10_000, |_| true).map_err(|error| error.to_string())?;
        let mut expected = from;
        for stored in found {
            let (seq, entry) = (stored.entry.seq, &stored.entry);
            if seq != expected {
                return Err(format!("a reader that is at {expected} is given {seq}"));
            }
            if self.read.get(&Seq(seq.0 - 1)).is_some_and(|before| *before != entry.prev_hash) {
                return Err(format!("entry {seq} is not chained to the one that was read before it"));
            }
            if self.read.insert(seq, entry.hash).is_some_and(|before| before != entry.hash) {
                return Err(format!("entry {seq} is another one than when it was read before"));
            }
            expected = expected.next();
        }
        self.next = next.max(from);
        Ok(())
    }

    /// The reader forgets where it was, and resumes from somewhere before.
    pub fn forget(&mut self, dice: &mut Dice) {
        self.next = Seq(dice.between(1, self.next.0.max(1)));
    }
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn all_orders(world: &World) -> Result<Vec<Order>, String> {
    orders::list(&*world.machine.disk, None, "", None).map(|order| order.map_err(failed)).collect()
}

pub fn order_keys(world: &World) -> Result<Vec<OrderKey>, String> {
    Ok(all_orders(world)?.into_iter().map(|order| order.key).collect())
}

/// At a start: what was acknowledged and what was published is there, unchanged.
pub fn survived(world: &World) -> Checked {
    let disk = &*world.machine.disk;
    acknowledged_are_there(world)?;
    if let (seq, Some(hash)) = world.seen.published {
        let stored = entries::get(disk, seq).map_err(failed)?;
        let stored = stored.ok_or_else(|| format!("entry {seq} was published and is gone"))?;
        if stored.entry.hash != hash {
            return Err(format!("entry {seq} is not the one that was published"));
        }
    }
    Ok(())
}

fn acknowledged_are_there(world: &World) -> Checked {
    let disk = &*world.machine.engine()?;
    for (id, (account, bytes)) in &world.seen.acknowledged {
        let receipt = receipts::get(disk, *id).map_err(failed)?;
        let receipt = receipt.ok_or_else(|| format!("{id} was acknowledged and is gone"))?;
        let body = sealed::body(disk, *id).map_err(failed)?;
        let body = body.ok_or_else(|| format!("the body of {id} was acknowledged and is gone"))?;
        if receipt.account != *account || body.bytes.0 != *bytes {
            return Err(format!("{id} is not what was acknowledged"));
        }
    }
    Ok(())
}

/// Nothing is left to do: every receipt was seen to, and whoever heard everything knows the truth without being told once
/// more.
pub fn settled(world: &World) -> Checked {
    let reader = world.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()).ok_or("no daemon")?;
    if let Some(receipt) = reader.unprocessed().map_err(failed)?.first() {
        return Err(format!("{} still has to be processed, and nobody does it", receipt.id));
    }
    for (id, (account, _)) in &world.seen.acknowledged {
        let receipt = reader.receipt(*id).map_err(failed)?.ok_or_else(|| format!("{id} is gone"))?;
        if receipt.progress.is_open() {
            return Err(format!("{id} of {account} was acknowledged and is forgotten"));
        }
    }
    if world.lied {
        return Ok(());
    }
    for order in all_orders(world)? {
        let known = reader.evidence(&order.key).map_err(failed)?;
        if let Some(payment) = payment_of(world, &order)
            && heard_everything(&known, payment)
        {
            agrees(&order, &known, payment).map_err(|what| format!("before the last poll: {what}"))?;
        }
    }
    Ok(())
}

/// Without a single poll by hand: every order that can be asked about is where its provider has it.
pub fn found_by_polls(world: &World) -> Checked {
    for order in all_orders(world)? {
        let account = world.machine.accounts.get(&order.key.account).ok_or("no account")?;
        let known = Known {
            reference: &order.key.reference,
            provider_ref: order.provider_ref.as_ref(),
            token: order.token.as_ref(),
            known_since: order.created_at,
        };
        // What a mistaken provider called refunded is asked about no more.
        let ended = order.state() == State::Refunded && world.lied;
        if ended || account.provider.poll(known).is_none() {
            continue;
        }
        let evidence = evidence::load(&*world.machine.disk, &order.key).map_err(failed)?;
        if let Some(payment) = payment_of(world, &order) {
            agrees(&order, &evidence, payment).map_err(|what| format!("after all polls: {what}"))?;
        }
    }
    let told = world.payments.iter().filter(|it| world.sides[it.side].provider == "genpag");
    for payment in told.filter(|payment| payment.provider_ref.is_some()) {
        let account = &world.sides[payment.side].account;
        let name = payment.provider_ref.as_deref().and_then(|name| ProviderRef::parse(name).ok());
        let name = name.ok_or("a payment without a name")?;
        if orders::by_provider_ref(&*world.machine.disk, account, &name).map_err(failed)?.is_none() {
            return Err(format!("{name} stands in the list of events, and nobody read it"));
        }
    }
    Ok(())
}

/// After a group: an order that just moved, and has heard of its provider's last change by a call sent after it, is where
/// its provider has it.
pub fn moved(world: &mut World) -> Checked {
    let Some(reader) = world.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()) else { return Ok(()) };
    // What was published and lost is for others to notice.
    let from = world.seen.followed.min(reader.head()).next();
    let (found, _) = reader.entries(from, usize::MAX, usize::MAX, |_| true).map_err(failed)?;
    world.seen.followed = reader.head();
    let keys = found.into_iter().filter_map(|stored| stored.order.map(|order| order.key));
    for key in keys.collect::<BTreeSet<_>>() {
        let order = reader.order(&key).map_err(failed)?.ok_or_else(|| format!("{key} is gone"))?;
        let known = reader.evidence(&key).map_err(failed)?;
        let Some(payment) = payment_of(world, &order).filter(|_| !world.lied) else { continue };
        // Of events nobody can know whether another one is still to be told.
        if !has_events(&known) && heard_everything(&known, payment) {
            agrees(&order, &known, payment).map_err(|what| format!("at entry {}: {what}", order.seq))?;
        }
    }
    Ok(())
}

fn has_events(known: &Evidence) -> bool {
    let mut told = known.pieces().iter().filter(|piece| piece.said != Said::Settled);
    told.any(|piece| matches!(piece.identity, Identity::Event(_)))
}

/// Whether the evidence holds all that its provider had to tell after the last change.
fn heard_everything(known: &Evidence, payment: &Payment) -> bool {
    let told = known.pieces().iter().filter(|piece| piece.said != Said::Settled);
    let pieces: Vec<&Piece> = told.collect();
    let event = |piece: &Piece| match &piece.identity {
        Identity::Event(id) => Some(id.clone()),
        Identity::Content | Identity::Change { .. } => None,
    };
    let is_change = |piece: &&&Piece| matches!(piece.identity, Identity::Change { .. });
    if has_events(known) {
        let events: BTreeSet<String> = pieces.iter().filter_map(|piece| event(piece)).collect();
        return events.len() == pieces.len() && events == payment.told;
    }
    let histories = pieces.iter().any(|piece| is_change(&piece));
    let counting = pieces.iter().filter(|piece| !histories || is_change(piece));
    counting.filter_map(|piece| piece.asked).max().is_some_and(|asked| asked > payment.changed)
}

fn payment_of<'a>(world: &'a World, order: &Order) -> Option<&'a Payment> {
    let own = |payment: &&Payment| {
        let named = payment.provider_ref.as_deref();
        let by_ref = order.provider_ref.as_ref().is_some_and(|name| Some(name.as_str()) == named);
        let side: &Side = &world.sides[payment.side];
        side.account == order.key.account && (by_ref || order.key.reference.as_str() == payment.reference)
    };
    world.payments.iter().find(own)
}

/// An order is what its provider knows it to be, or says by itself in what it may differ.
fn agrees(order: &Order, known: &Evidence, payment: &Payment) -> Checked {
    let (truth, sums) = (payment.truth, order.ledgered.sums);
    let ruled = known.pieces().iter().any(Piece::is_ruling) || known.foundation().is_some();
    let open = |causes: &[Cause]| causes.iter().any(|cause| order.open.contains_key(cause));
    let of_state = [Cause::Conflict, Cause::UnknownStatus, Cause::RefundUnclear];
    let of_amounts =
        [Cause::AmountUnknown, Cause::AmountUnreadable, Cause::RefundExceedsGross, Cause::RefundShrank];
    if ruled || open(&of_state) {
        return Ok(());
    }
    let found =
        (order.state().as_str(), sums.gross.minor(), sums.refunded.minor(), sums.charged_back.minor());
    // What a settlement file says is settled is completed, also where the provider's API has no word for it.
    let mut lines = known.pieces().iter().filter(|piece| piece.said == Said::Settled);
    let state =
        if truth.state == "paid" && lines.clone().next().is_some() { "completed" } else { truth.state };
    let expected = (state, truth.gross, truth.refunded, truth.charged_back);
    if found == expected {
        return Ok(());
    }
    let says_money_came = |piece: &&Piece| matches!(&piece.said, Said::Word(word) if word.says_money_came());
    let mut named = known.pieces().iter().filter(says_money_came).filter_map(|piece| piece.gross.known());
    let nobody_named_it = named.all(|gross| gross.is_zero());
    let another_registered = order.expected.amount.is_some_and(|amount| amount.minor() != truth.cents);
    // A line with another gross that was applied is listed as different, until the provider names it again.
    let mistaken_file =
        lines.any(|line| line.gross.known().is_some_and(|gross| gross.minor() != truth.gross));
    let excused = open(&of_amounts) || (nobody_named_it && another_registered) || mistaken_file;
    if found.0 == expected.0 && excused {
        return Ok(());
    }
    Err(format!("{} is {found:?}, its provider knows {expected:?}", order.key))
}

/// The end: everything that must hold of a ledger whose providers have said everything.
pub fn converged(world: &mut World) -> Checked {
    let disk = std::sync::Arc::clone(&world.machine.disk);
    acknowledged_are_there(world)?;
    verify(&*world.machine.engine()?, &mut |_, _| {}).map_err(failed)?;
    let reader = world.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()).ok_or("no daemon")?;
    let head = reader.head();
    while world.seen.next <= head {
        world.seen.read_on(&reader, 50)?;
    }
    world.seen.published(head, reader.published().hash);
    let all = all_orders(world)?;
    orders_are_true(world, &all)?;
    balances_are_their_sum(&all, &*disk, &reader)?;
    let mut dates = BTreeSet::new();
    for order in &all {
        let known = reader.evidence(&order.key).map_err(failed)?;
        no_piece_twice(order, &known)?;
        no_date_twice(&mut dates, order, &known)?;
        any_order_leads_there(world, order, &known)?;
        count_words(world, order, &known);
    }
    nothing_personal(&*disk)?;
    count_entries(world, &reader)?;
    count_receipts(world, &reader)?;
    said_again_changes_nothing(world, &all, &reader)
}

fn orders_are_true(world: &World, all: &[Order]) -> Checked {
    for order in all {
        let payment =
            payment_of(world, order).ok_or_else(|| format!("{} is no payment of anybody", order.key))?;
        let known = evidence::load(&*world.machine.disk, &order.key).map_err(failed)?;
        match world.polled.get(&order.key) {
            Some(Ok(())) => agrees(order, &known, payment)?,
            Some(Err(PollError::NotPollable)) => {}
            other => return Err(format!("{}: its last poll came to {other:?}", order.key)),
        }
    }
    for payment in world.payments.iter().filter(|payment| payment.registered) {
        let key = payment.key(&world.sides);
        if !all.iter().any(|order| order.key == key) {
            return Err(format!("{key} was registered and is gone"));
        }
    }
    Ok(())
}

fn balances_are_their_sum(all: &[Order], disk: &dyn Read, reader: &Reader) -> Checked {
    let mut sums: BTreeMap<LedgerAccount, i128> = BTreeMap::new();
    for payout in payouts::list(disk, None, None) {
        let payout = payout.map_err(failed)?;
        for line in payout::postings(&payout.account, payout.amount) {
            *sums.entry(line.ledger_account).or_default() += i128::from(line.amount.minor());
        }
    }
    for order in all {
        let lines = postings(&order.key.account, &OrderBalances::default(), &order.ledgered.sums.balances());
        for line in lines {
            *sums.entry(line.ledger_account).or_default() += i128::from(line.amount.minor());
        }
    }
    for ((ledger_account, _), sides) in &reader.published().balances.0 {
        let expected = sums.remove(ledger_account).unwrap_or_default();
        if sides.balance().0 != expected {
            let found = sides.balance().0;
            return Err(format!("{ledger_account} is {found}, its orders and payouts come to {expected}"));
        }
    }
    match sums.iter().find(|(_, sum)| **sum != 0) {
        Some((ledger_account, _)) => Err(format!("{ledger_account} has no balance, and orders post to it")),
        None => Ok(()),
    }
}

fn no_piece_twice(order: &Order, known: &Evidence) -> Checked {
    let mut pieces = BTreeSet::new();
    for piece in known.pieces().iter().filter(|piece| !piece.is_ruling()) {
        let what = (piece.date, piece.said.clone(), piece.provider_status.clone(), piece.gross.clone());
        let what = (what, piece.refunded.clone(), matches!(piece.identity, Identity::Change { .. }));
        // Two changes of one history may well lie at one moment.
        if !what.2 && !pieces.insert(what) {
            return Err(format!("{} has a piece of evidence twice: {piece:?}", order.key));
        }
    }
    Ok(())
}

/// A date of ours is given to one request, ever.
fn no_date_twice(dates: &mut BTreeSet<Time>, order: &Order, known: &Evidence) -> Checked {
    let snapshots = known.pieces().iter().filter(|piece| piece.identity == Identity::Content);
    for asked in snapshots.filter_map(|piece| piece.asked) {
        if !dates.insert(asked) {
            return Err(format!("{}: two requests were dated {asked}", order.key));
        }
    }
    Ok(())
}

/// The order's evidence, put together in another order, comes to the same.
fn any_order_leads_there(world: &mut World, order: &Order, known: &Evidence) -> Checked {
    if known.foundation().is_some() {
        return Ok(());
    }
    let mut again = Evidence::default();
    for piece in world.shuffled(known.pieces().to_vec()) {
        again.insert(piece);
    }
    let standing = stand(&again, order.terms());
    let (found, expected) = (standing.sums.balances(), order.ledgered.sums.balances());
    if (standing.state, found) != (order.ledgered.state, expected) {
        return Err(format!(
            "{}: its evidence in another order comes to {}, {found:?}",
            order.key, standing.state
        ));
    }
    Ok(())
}

/// Whatever was recorded is recorded once more, in any order: no entry comes of it.
fn said_again_changes_nothing(world: &mut World, all: &[Order], reader: &Reader) -> Checked {
    let mut commands = Vec::new();
    for order in all {
        let known = reader.evidence(&order.key).map_err(failed)?;
        let side = world.sides.iter().find(|it| it.account == order.key.account).ok_or("no side")?;
        let terms = side.terms();
        for piece in known.pieces().iter().filter(|piece| !piece.is_ruling()) {
            let news = News {
                reference: order.key.reference.clone(),
                provider_ref: order.provider_ref.clone(),
                token: order.token.clone(),
                piece: piece.clone(),
            };
            let record = Record {
                terms: terms.clone(),
                news: vec![news],
                receipt: None,
                attempts: Vec::new(),
                done: true,
            };
            commands.push(Command::Record(record));
        }
    }
    let head = reader.published().hash;
    for command in world.shuffled(commands) {
        world.submit(command)?;
    }
    let reader = world.daemon.as_ref().map(|daemon| daemon.desk.reader.clone()).ok_or("no daemon")?;
    if reader.published().hash != head {
        return Err("evidence that was recorded once more made an entry".to_owned());
    }
    Ok(())
}

/// What the personas say of the people who pay.
const PERSONAL: &[&str] = &["Maria", "12345678909", "123.456.789-09", "maria@example.com"];

fn nothing_personal(disk: &dyn Read) -> Checked {
    let erasable = [keys::BODY, keys::METADATA, keys::REASON];
    for pair in disk.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up) {
        let (key, value) = pair.map_err(failed)?;
        if key.first().is_some_and(|kind| erasable.contains(kind)) {
            continue;
        }
        let text = String::from_utf8_lossy(&value);
        if let Some(what) = PERSONAL.iter().find(|what| text.contains(**what)) {
            return Err(format!("{} holds {what}", keys::describe(&key)));
        }
    }
    Ok(())
}

fn count_entries(world: &mut World, reader: &Reader) -> Checked {
    let (all, _) = reader.entries(Seq(1), usize::MAX, usize::MAX, |_| true).map_err(failed)?;
    for stored in all {
        let entry = stored.entry;
        let state = |state: Option<_>| state.map_or("(none)".to_owned(), |it: State| it.to_string());
        match (entry.kind, &entry.discrepancy) {
            (Kind::Transition, _) => {
                world.reach.count(&format!("step {} > {}", state(entry.from), state(entry.to)));
            }
            (Kind::Discrepancy, Some(note)) => world.reach.count(&format!("opened {}", note.cause)),
            (Kind::Resolution, Some(note)) => {
                let action = note.action.map_or("nothing", |action| action.as_str());
                world.reach.count(&format!("closed {}", note.cause));
                world.reach.count(&format!("closed by {action}"));
            }
            (Kind::Adjustment, _) => world.reach.count("adjustment"),
            (Kind::Discrepancy | Kind::Resolution | Kind::Payout, _) => {}
        }
    }
    Ok(())
}

fn count_receipts(world: &mut World, reader: &Reader) -> Checked {
    for id in world.seen.acknowledged.keys().copied().collect::<Vec<_>>() {
        let receipt = reader.receipt(id).map_err(failed)?.ok_or("gone")?;
        match &receipt.progress {
            Progress::Done(outcome) => world.reach.count(&format!("receipt {}", outcome.as_str())),
            Progress::Failed { reason } if reason.starts_with("given up") => {
                world.reach.count("receipt given up")
            }
            Progress::Failed { .. } => world.reach.count("receipt unreadable"),
            Progress::Pending | Progress::Retrying { .. } => {}
        }
        let retried = receipt.attempts_count > 1 && matches!(receipt.progress, Progress::Done(_));
        world.reach.add("receipt done after a retry", u64::from(retried));
        world.reach.add("provider did not know it", u64::from(receipt.not_found_count));
    }
    Ok(())
}

/// Which words met which states, by walking prefixes of the evidence.
fn count_words(world: &mut World, order: &Order, known: &Evidence) {
    if known.foundation().is_some() {
        return;
    }
    for (at, piece) in known.pieces().iter().enumerate() {
        let Said::Word(word) = &piece.said else { continue };
        let before = Evidence::new(None, known.pieces()[..at].to_vec());
        let state =
            if at == 0 { "(none)".to_owned() } else { stand(&before, order.terms()).state.to_string() };
        world.reach.count(&format!("table {state} + {word}"));
    }
}
