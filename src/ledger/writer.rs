//! The one thread that changes the data directory: drain, commit, sync once, publish, answer.
//!
//! Whoever waits for a command shares the cost of its sync with everyone whose command joined the same group. Nothing is
//! answered or published before the group is durable. The queue is bounded: full means busy, never memory.

use super::books::{Books, Group, Queue};
use super::command::{Command, Fault, Reply, SubmitError};
use super::meter::Meter;
use super::reader::Reader;
use super::witness::Witnesses;
use crate::clock::Clock;
use crate::domain::balance::Balances;
use crate::domain::chain::Hash;
use crate::domain::ids::Seq;
use crate::domain::time::Time;
use crate::store::engine::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// A group ends at so many commands …
const GROUP_COMMANDS_MAX: usize = 64;
/// … or at about so many bytes: larger groups make readers wait.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
const QUEUE_COMMANDS_MAX: usize = 4096;

/// What is durable and agrees with itself, as one immutable value.
#[derive(Clone, Debug)]
pub struct Published {
    /// Counts groups; see [`Applied`].
    pub group: u64,
    pub seq: Seq,
    pub hash: Hash,
    /// The last date of ours that evidence has.
    pub stamp: Time,
    pub database: [u8; 16],
    pub queue: Queue,
    pub balances: Arc<Balances>,
    /// Why the writer takes nothing more; for good, until a restart.
    pub stopped: Option<String>,
    /// The disk has less free space than it must have; until it is back.
    pub short_of_space: bool,
}

/// How many groups were made visible in the store. Between that and their publication they are not yet durable: who
/// reads the store itself waits for the group that was visible when it read.
pub type Applied = Arc<AtomicU64>;

/// What the writer needs from the rim.
pub struct Rim {
    pub engine: Arc<dyn Engine>,
    pub clock: Arc<dyn Clock>,
    /// Free bytes on the device, if that can be known.
    pub free_bytes: Box<dyn Fn() -> Option<u64> + Send>,
    pub min_free_bytes: u64,
    /// A deliberate fault for showing that tests notice: acknowledge before the sync.
    pub acknowledge_before_sync: bool,
}

/// Takes commands for the writer.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::Sender<Job>,
}

/// A command that waits for its turn, and who waits for its answer.
pub struct Job {
    command: Command,
    answer: oneshot::Sender<Result<Reply, SubmitError>>,
}

/// A ledger that nobody works on yet: the queue's two ends, the reader, and the writer to take turns.
pub struct Prepared {
    pub handle: Handle,
    pub reader: Reader,
    pub writer: Writer,
    pub jobs: mpsc::Receiver<Job>,
}

/// A writer at work, and what its ledger is read through.
pub struct Started {
    pub handle: Handle,
    pub reader: Reader,
    pub thread: JoinHandle<()>,
}

/// Puts the pieces together and starts no thread: whoever has them lets the writer take its turns.
pub fn prepare(rim: Rim, books: Books) -> Prepared {
    let (queue, jobs) = mpsc::channel(QUEUE_COMMANDS_MAX);
    let (publish, published) = watch::channel(Published::of(&books));
    let applied = Applied::default();
    let witnesses = Arc::<Witnesses>::default();
    let meter = Arc::new(Meter::default());
    let reader = Reader::new(
        Arc::clone(&rim.engine),
        published,
        Arc::clone(&applied),
        Arc::clone(&witnesses),
        Arc::clone(&meter),
    );
    let writer = Writer { rim, books, publish, applied, witnesses, meter };
    Prepared { handle: Handle { queue }, reader, writer, jobs }
}

/// Starts the thread. It ends when every [`Handle`] is gone and the queue is empty.
pub fn start(rim: Rim, books: Books) -> std::io::Result<Started> {
    let Prepared { handle, reader, writer, jobs } = prepare(rim, books);
    let thread =
        std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || writer.run(jobs))?;
    Ok(Started { handle, reader, thread })
}

impl Handle {
    /// Carries out a command; comes back once it is durable.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        let (answer, reply) = oneshot::channel();
        self.queue.try_send(Job { command, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        reply.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// How many commands wait for their turn, and how many may.
    pub fn queued(&self) -> (usize, usize) {
        let most = self.queue.max_capacity();
        (most.saturating_sub(self.queue.capacity()), most)
    }

    /// [`Handle::submit`] for work of our own that may wait its turn where callers at the door may not.
    pub async fn submit_patiently(&self, command: Command) -> Result<Reply, SubmitError> {
        let (answer, reply) = oneshot::channel();
        self.queue.send(Job { command, answer }).await.map_err(|_| stopped())?;
        reply.await.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> SubmitError {
    SubmitError::Stopped("the writer has ended".to_owned())
}

impl Published {
    fn of(books: &Books) -> Published {
        Published {
            group: 0,
            seq: books.meta.seq,
            hash: books.meta.hash,
            stamp: books.meta.stamp,
            database: books.meta.database,
            queue: books.queue,
            balances: Arc::new(books.balances.clone()),
            stopped: None,
            short_of_space: false,
        }
    }

    /// The next published value; balances are shared with the last one where nothing was posted.
    fn after(&self, books: &Books) -> Published {
        let posted = *self.balances != books.balances;
        let balances = if posted { Arc::new(books.balances.clone()) } else { Arc::clone(&self.balances) };
        Published {
            group: self.group + 1,
            seq: books.meta.seq,
            hash: books.meta.hash,
            stamp: books.meta.stamp,
            queue: books.queue,
            balances,
            short_of_space: false,
            ..self.clone()
        }
    }
}

/// Changes the data, a group of commands a turn.
pub struct Writer {
    rim: Rim,
    books: Books,
    publish: watch::Sender<Published>,
    applied: Applied,
    witnesses: Arc<Witnesses>,
    meter: Arc<Meter>,
}

type Answers = Vec<(oneshot::Sender<Result<Reply, SubmitError>>, Result<Reply, SubmitError>)>;

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            std::thread::yield_now();
            self.turn(first, &mut jobs);
        }
    }

    /// One turn: `first` and what has queued behind it become a group, which is durable and answered afterwards.
    pub fn turn(&mut self, first: Job, jobs: &mut mpsc::Receiver<Job>) {
        let group = drain(first, jobs);
        let stopped = self.publish.borrow().stopped.clone();
        if let Some(why) = stopped {
            refuse(group, || SubmitError::Stopped(why.clone()));
        } else if self.lacks_space() {
            refuse(group, || SubmitError::Stopped("the disk is nearly full; free some space".to_owned()));
        } else {
            self.commit(group);
        }
    }

    /// Looked at before each group, since what fills the disk need not be us: a failed write would end it all.
    fn lacks_space(&self) -> bool {
        let free = (self.rim.free_bytes)();
        let short = free.is_some_and(|free| free < self.rim.min_free_bytes);
        // An error here comes again with the write, and is told there.
        let short = short || matches!(self.rim.engine.make_room(), Ok(false));
        self.publish.send_if_modified(|published| {
            let changed = published.short_of_space != short;
            published.short_of_space = short;
            changed
        });
        short
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let mut group = Group::new(&*self.rim.engine, &mut self.books, self.rim.clock.now());
        let commands = jobs.len();
        let mut answers: Answers = Vec::with_capacity(commands);
        let mut broken = None;
        for Job { command, answer } in jobs {
            let result = match &broken {
                Some(why) => Err(SubmitError::Stopped(String::clone(why))),
                None => match group.execute(command) {
                    Ok(reply) => Ok(reply),
                    Err(Fault::Refused(refusal)) => Err(SubmitError::Refused(refusal)),
                    Err(fault) => {
                        broken = Some(fault.to_string());
                        Err(SubmitError::Stopped(fault.to_string()))
                    }
                },
            };
            answers.push((answer, result));
        }
        if self.rim.acknowledge_before_sync {
            answers = answer_early(answers);
        }
        let ended = std::mem::take(&mut group.ended);
        let began = Instant::now();
        let written = match broken {
            Some(why) => Err(why),
            None => group.finish().map_err(|error| error.to_string()).and_then(|batch| {
                if batch.is_empty() {
                    return Ok(false);
                }
                self.applied.fetch_add(1, Ordering::SeqCst);
                let applied = self.witnesses.apply(&*self.rim.engine, &batch);
                let written = applied.and_then(|()| self.rim.engine.sync());
                written.map_err(|error| error.to_string())?;
                self.witnesses.pass(&batch);
                Ok(true)
            }),
        };
        match written {
            Ok(changed) => {
                if changed {
                    self.meter.written(commands, began.elapsed(), ended);
                    let next = self.publish.borrow().after(&self.books);
                    self.publish.send_replace(next);
                }
                answers.into_iter().for_each(|(answer, result)| drop(answer.send(result)));
            }
            Err(why) => self.stop(why, answers),
        }
    }

    /// A failed write is never tried again as if nothing had happened: what is on the device is unknown.
    fn stop(&mut self, why: String, answers: Answers) {
        tracing::error!(%why, "the ledger stopped taking writes; restart once the cause is mended");
        for (answer, _) in answers {
            drop(answer.send(Err(SubmitError::Stopped(why.clone()))));
        }
        self.publish.send_modify(|published| published.stopped = Some(why));
    }
}

fn drain(first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.command.weight();
    let mut group = vec![first];
    while group.len() < GROUP_COMMANDS_MAX && bytes < GROUP_BYTES_MAX {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.command.weight();
        group.push(job);
    }
    group
}

fn refuse(group: Vec<Job>, why: impl Fn() -> SubmitError) {
    group.into_iter().for_each(|job| drop(job.answer.send(Err(why()))));
}

/// The deliberate fault: answers at once, and leaves nothing to answer later.
fn answer_early(answers: Answers) -> Answers {
    answers.into_iter().for_each(|(answer, result)| drop(answer.send(result)));
    Vec::new()
}
