//! The daemon, driven by hand: the real writer, reader, desk and agenda, without a thread, a socket or a timer. Its
//! futures are polled one by one, so that between any two of their steps anything else may happen, death included.

use super::disk::Disk;
use super::faults::Fault;
use super::network::Wires;
use super::plan::Plan;
use crate::vault::Vault;
use razao::clock::Clock;
use razao::domain::ids::{AccountId, OrderKey, ReceiptId};
use razao::domain::settlement::LineResult;
use razao::domain::time::Time;
use razao::ingest::accounts::Accounts;
use razao::ingest::activity::Activity;
use razao::ingest::agenda::{self, Agenda, Work};
use razao::ingest::caller::Caller;
use razao::ingest::desk::{Desk, PollError};
use razao::ingest::resolve::Policy;
use razao::ledger::books::Books;
use razao::ledger::command::{Command, Reply, SubmitError};
use razao::ledger::writer::{self, Job, Prepared, Rim, Writer};
use razao::store::engine::{Batch, Engine};
use razao::store::meta::{self, Meta};
use razao::store::sealing::{Sealing, Slots};
use razao::store::vault::Kept;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::mpsc;

/// Our clock: right, or wrong by a while.
#[derive(Default)]
pub struct OurClock(AtomicI64);

impl OurClock {
    pub fn set(&self, now: Time) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for OurClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

/// What outlives the daemon.
pub struct Machine {
    pub disk: Arc<Disk>,
    /// The file of keys beside it.
    pub keys: Arc<Vault>,
    pub wires: Wires,
    pub clock: Arc<OurClock>,
    pub accounts: Accounts,
    /// The file of renewed sessions.
    pub vault: Arc<Mutex<Vec<Kept>>>,
    pub fault: Option<Fault>,
}

pub struct Daemon {
    pub desk: Arc<Desk>,
    pub agenda: Agenda,
    writer: Writer,
    jobs: mpsc::Receiver<Job>,
    tasks: BTreeMap<u64, Task>,
    started: u64,
    fault: Option<Fault>,
}

struct Task {
    purpose: Purpose,
    future: Pin<Box<dyn Future<Output = Done>>>,
}

/// What a task is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Process,
    Poll,
    Door,
    People,
    /// A settlement file, command after command.
    File,
}

/// How a task ended.
pub enum Done {
    Worked(agenda::Done),
    /// Somebody asked by hand.
    Polled(OrderKey, agenda::Treated, Result<(), PollError>),
    Answered {
        knock: u64,
        result: Result<Reply, SubmitError>,
    },
    Acted(Result<Reply, SubmitError>),
    /// A command about a shop's webhook: what its deliveries came to, or what people want.
    Hooked {
        shop: usize,
        note: bool,
        result: Result<Reply, SubmitError>,
    },
    Reprocessed(AccountId, ReceiptId, Result<Reply, SubmitError>),
    /// As far as the file came.
    Filed(AccountId, Vec<LineResult>, Result<(), SubmitError>),
}

impl Machine {
    /// Makes an empty ledger, as the first start of a daemon does.
    pub fn bear(&self) {
        let mut batch = Batch::default();
        meta::put(&mut batch, &Meta::newborn([5; 16])).unwrap();
        while self.disk.apply(&batch).and_then(|()| self.disk.sync()).is_err() {
            self.disk.power_cut();
        }
    }

    /// The disk as the daemon sees it: with what can be erased unsealed.
    pub fn engine(&self) -> Result<Arc<dyn Engine>, String> {
        let (disk, keys) =
            (Arc::clone(&self.disk) as Arc<dyn Engine>, Arc::clone(&self.keys) as Arc<dyn Slots>);
        let sealing = Sealing::open(disk, keys, Path::new("data")).map_err(|error| error.to_string())?;
        Ok(Arc::new(sealing))
    }

    pub fn boot(&self, plan: &Plan) -> Result<Daemon, String> {
        let engine = self.engine()?;
        let mut books =
            Books::load(&*engine).map_err(|error| error.to_string())?.ok_or("the head is gone")?;
        match self.fault {
            Some(Fault::PrevHashStale) => books.meta.hash = razao::domain::chain::Hash::genesis(),
            Some(Fault::StampRepeats) => books.meta.stamp = Time(0),
            _ => {}
        }
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let rim = Rim {
            engine,
            clock: Arc::clone(&clock),
            free_bytes: Box::new(|| None),
            min_free_bytes: 0,
            acknowledge_before_sync: self.fault == Some(Fault::EarlyAck),
        };
        let Prepared { handle, reader, writer, jobs } = writer::prepare(rim, books);
        let vault = Arc::clone(&self.vault);
        let kept = vault.lock().unwrap().clone();
        let days = if self.fault == Some(Fault::NotFoundForever) { 3650 } else { 2 };
        let desk = Desk {
            accounts: self.accounts.clone(),
            caller: Caller::new(
                Box::new(self.wires.clone()),
                Arc::clone(&clock),
                Arc::default(),
                &self.accounts,
                kept,
                Box::new(move |kept| *vault.lock().unwrap() = kept.to_vec()),
            ),
            handle,
            reader,
            activity: Arc::new(Activity::default()),
            policy: Policy {
                first_pause: Duration::from_secs(1),
                max_pause: Duration::from_secs(3600),
                give_up_after: Duration::from_secs(86_400) * days,
                per_account: plan.per_account,
            },
            stamped: Mutex::default(),
            dated_after_answer: self.fault == Some(Fault::DatedAfterAnswer),
            clock,
        };
        let agenda = desk.agenda().map_err(|error| error.to_string())?;
        let (desk, tasks) = (Arc::new(desk), BTreeMap::new());
        Ok(Daemon { desk, agenda, writer, jobs, tasks, started: 0, fault: self.fault })
    }
}

impl Daemon {
    /// Takes from the agenda what is due. Says whether there was anything.
    pub fn take_due(&mut self) -> bool {
        let now = self.desk.clock.now();
        let due = self.agenda.next(now, &self.desk.reader).unwrap_or_default();
        let taken = !due.is_empty();
        for work in due {
            let purpose = if matches!(work, Work::Receipt(..)) { Purpose::Process } else { Purpose::Poll };
            let desk = Arc::clone(&self.desk);
            self.spawn(purpose, async move { Done::Worked(desk.work(work).await) });
        }
        taken
    }

    /// When something is due next, as far as anybody knows.
    pub fn due(&mut self) -> Option<Time> {
        self.agenda.look_again(self.desk.clock.now(), &self.desk.reader).unwrap_or_default()
    }

    /// A receipt is to be processed now.
    pub fn enqueue(&mut self, account: AccountId, id: ReceiptId) {
        let now = self.desk.clock.now();
        self.agenda.enqueue(account, id, now);
    }

    pub fn poll_order(&mut self, key: OrderKey) {
        let desk = Arc::clone(&self.desk);
        self.spawn(Purpose::Poll, async move {
            let (treated, result) = desk.poll(&key).await;
            Done::Polled(key, treated, result)
        });
    }

    /// A callback's command, as the door submits it.
    pub fn receive(&mut self, knock: u64, command: Command) {
        let handle = self.desk.handle.clone();
        self.spawn(
            Purpose::Door,
            async move { Done::Answered { knock, result: handle.submit(command).await } },
        );
    }

    pub fn act(&mut self, command: Command) {
        let handle = self.desk.handle.clone();
        self.spawn(Purpose::People, async move { Done::Acted(handle.submit(command).await) });
    }

    pub fn hook(&mut self, shop: usize, note: bool, command: Command) {
        let handle = self.desk.handle.clone();
        self.spawn(Purpose::People, async move {
            Done::Hooked { shop, note, result: handle.submit_patiently(command).await }
        });
    }

    /// A settlement file's commands, one after the other as the handler submits them.
    pub fn file(&mut self, account: AccountId, commands: Vec<Command>) {
        let handle = self.desk.handle.clone();
        self.spawn(Purpose::File, async move {
            let mut found = Vec::new();
            for command in commands {
                match handle.submit_patiently(command).await {
                    Ok(Reply::Settled(results)) => found.extend(results),
                    Ok(_) => {}
                    Err(error) => return Done::Filed(account, found, Err(error)),
                }
            }
            Done::Filed(account, found, Ok(()))
        });
    }

    pub fn reprocess(&mut self, account: AccountId, id: ReceiptId) {
        let handle = self.desk.handle.clone();
        self.spawn(Purpose::People, async move {
            Done::Reprocessed(account, id, handle.submit(Command::Reprocess(id)).await)
        });
    }

    fn spawn(&mut self, purpose: Purpose, future: impl Future<Output = Done> + 'static) {
        self.started += 1;
        self.tasks.insert(self.started, Task { purpose, future: Box::pin(future) });
    }

    pub fn tasks(&self) -> Vec<u64> {
        self.tasks.keys().copied().collect()
    }

    /// One step of one task, up to where it waits next.
    pub fn step(&mut self, task: u64) -> Option<Done> {
        let waiting = self.tasks.get_mut(&task)?;
        if self.fault == Some(Fault::StampRepeats) {
            *self.desk.stamped.lock().unwrap() = Time(0);
        }
        let mut context = Context::from_waker(Waker::noop());
        match waiting.future.as_mut().poll(&mut context) {
            Poll::Ready(done) => {
                self.tasks.remove(&task);
                Some(done)
            }
            Poll::Pending => None,
        }
    }

    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// The writer's turn: what has queued becomes durable, or not.
    pub fn turn(&mut self) {
        if let Ok(first) = self.jobs.try_recv() {
            self.writer.turn(first, &mut self.jobs);
        }
    }

    /// Notes how a piece of work ended.
    pub fn worked(&mut self, mut done: agenda::Done) {
        if let (Some(Fault::RetryForgotten), agenda::Done::Receipt { again, .. }) = (self.fault, &mut done) {
            *again = None;
        }
        self.agenda.done(done, self.desk.clock.now(), &self.desk.activity);
    }

    /// The daemon dies. Answers what its tasks were for, and which answers had left it before.
    pub fn die(mut self) -> (Vec<Purpose>, Vec<Done>) {
        let doors = self.tasks.iter().filter(|(_, task)| task.purpose == Purpose::Door);
        let doors: Vec<u64> = doors.map(|(task, _)| *task).collect();
        let left = doors.into_iter().filter_map(|task| self.step(task)).collect();
        (self.tasks.values().map(|task| task.purpose).collect(), left)
    }
}
