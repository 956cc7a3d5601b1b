//! One provider, one payment and the daemon, with everything in the hands of the test: what happens at the provider, which
//! callback arrives and when, and when somebody polls. Lines lose nothing and take no time.

use super::daemon::{Daemon, Done, Machine, OurClock};
use super::disk::Disk;
use super::network::{Wires, as_answer};
use super::payments::Side;
use super::plan::Plan;
use super::world::accounts;
use crate::fold::dice::Dice;
use razao::clock::Clock;
use razao::domain::ids::{OrderKey, ReceiptId, Reference, Seq};
use razao::domain::order::Order;
use razao::domain::receipt::{Progress, Receipt};
use razao::domain::time::Time;
use razao::ingest::desk::PollError;
use razao::ingest::receive::receive;
use razao::ledger::command::{Command, Reply};
use razao::providers::provider::Incoming;
use razao::sandbox::life::{Delivery, Life, Scene};
use razao::sandbox::persona::Happening;
use razao::sandbox::world::Post;
use razao::store::entries::StoredEntry;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const CENTS: i64 = 12_990;
const REFERENCE: &str = "PED-1";
const BEGIN: Time = Time(1_772_000_000_000_000);

pub struct Bench {
    side: Side,
    machine: Machine,
    daemon: Daemon,
    now: Time,
    polled: Option<Result<(), PollError>>,
    received: Option<ReceiptId>,
}

impl Bench {
    /// A payment at this provider to which these things will happen, a minute after one another.
    pub fn new(provider: &str, happenings: &[Happening]) -> Bench {
        let mut dice = Dice(1);
        let plan = Plan { beat: Duration::from_secs(60), retries_max: 0, ..Plan::draw(&mut dice).calmed() };
        let sides = Side::all(&Plan { their_skew: Duration::ZERO, ..plan.clone() }, &mut dice);
        let accounts = accounts(&sides, None, None);
        let mut side = sides.into_iter().find(|side| side.provider == provider).unwrap();
        let scene = |(nth, what): (usize, &Happening)| Scene {
            after: u32::from(nth > 0),
            what: *what,
            delivery: Delivery::Plain,
        };
        let scenes = happenings.iter().enumerate().map(scene).collect();
        side.world.play(side.provider, Life::Happy, scenes, REFERENCE, CENTS, BEGIN).unwrap();
        let machine = Machine {
            disk: Arc::new(Disk::new(&plan, None, 1)),
            keys: Arc::default(),
            wires: Wires::default(),
            clock: Arc::new(OurClock::default()),
            accounts,
            vault: Arc::new(Mutex::new(Vec::new())),
            fault: None,
        };
        machine.bear();
        let daemon = machine.boot(&plan).unwrap();
        let bench = Bench { side, machine, daemon, now: BEGIN, polled: None, received: None };
        bench.machine.clock.set(BEGIN);
        bench
    }

    /// Lets a minute pass, and answers the callbacks that are posted meanwhile.
    pub fn minute(&mut self) -> Vec<Post> {
        let posts = self.side.world.step(self.now);
        self.now = self.now.plus(Duration::from_secs(60));
        self.machine.clock.set(self.now);
        posts
    }

    /// The callback about each thing that happens, in its order.
    pub fn all_posts(&mut self) -> Vec<Post> {
        (0..20).flat_map(|_| self.minute()).collect()
    }

    /// A callback arrives, and is seen to.
    pub fn deliver(&mut self, post: &Post) -> Receipt {
        let account = self.machine.accounts.get(&self.side.account).unwrap();
        let outgoing = &post.outgoing;
        let content_type = Some(outgoing.content_type);
        let incoming = Incoming { headers: &[], content_type, query: None, body: &outgoing.body };
        let received = receive(&account, &incoming, self.machine.clock.now());
        self.daemon.receive(0, Command::Receive(received));
        self.work();
        let id = self.received.take().expect("the door answers");
        self.daemon.enqueue(self.side.account.clone(), id);
        self.work();
        let receipt = self.daemon.desk.reader.receipt(id).unwrap().unwrap();
        assert!(matches!(receipt.progress, Progress::Done(_)), "{receipt:?}");
        receipt
    }

    /// A poll while our clock is ahead by so much.
    pub fn poll_ahead(&mut self, ahead: Duration) {
        self.machine.clock.set(self.now.plus(ahead));
        self.poll();
        self.machine.clock.set(self.now);
    }

    pub fn poll(&mut self) {
        self.daemon.poll_order(self.key());
        self.work();
        self.polled.take().expect("the poll ends").expect("the provider answers");
    }

    fn work(&mut self) {
        let mut moved = true;
        while moved {
            moved = self.daemon.take_due();
            for task in self.daemon.tasks() {
                if let Some(done) = self.daemon.step(task) {
                    moved = true;
                    self.done(done);
                }
            }
            for sent in self.machine.wires.take_sent() {
                moved = true;
                let response = self.side.world.answer(self.side.provider, &sent.request, self.now);
                self.machine.wires.answer(sent.id, Ok(as_answer(response)));
            }
            if self.daemon.has_jobs() {
                moved = true;
                self.daemon.turn();
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Worked(done) => self.daemon.worked(done),
            Done::Polled(_, _, result) => self.polled = Some(result),
            Done::Answered { result: Ok(Reply::Received { id, .. }), .. } => self.received = Some(id),
            Done::Answered { .. }
            | Done::Acted(_)
            | Done::Hooked { .. }
            | Done::Reprocessed(..)
            | Done::Filed(..) => {}
        }
    }

    fn key(&self) -> OrderKey {
        OrderKey::new(self.side.account.clone(), Reference::parse(REFERENCE).unwrap())
    }

    pub fn order(&self) -> Order {
        self.daemon.desk.reader.order(&self.key()).unwrap().expect("the order is known")
    }

    /// State, gross, refunded and charged back, in cents.
    pub fn standing(&self) -> (&'static str, i64, i64, i64) {
        let (order, minor) = (self.order(), razao::domain::money::Money::minor);
        let sums = order.ledgered.sums;
        (order.state().as_str(), minor(sums.gross), minor(sums.refunded), minor(sums.charged_back))
    }

    pub fn entries(&self) -> Vec<StoredEntry> {
        self.daemon.desk.reader.entries(Seq(1), 1000, 1000, |_| true).unwrap().0
    }

    pub fn events(&self) -> Vec<&'static str> {
        self.entries().iter().map(|stored| stored.entry.event_type()).collect()
    }
}
