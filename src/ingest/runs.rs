//! The I/O of reconciliations: reads which orders are next, asks about them, and notes what came of it.
//!
//! All of it may die at any moment: a run, its lanes and its results are durable, and asking again is harmless.

use super::agenda;
use super::desk::{Desk, OWN_TROUBLE_PAUSE, PollError};
use super::reconcile::{Heard, Reconciler, Step, Verdict};
use crate::domain::ids::{AccountId, OrderKey, Reference, RunId};
use crate::domain::run::{Finding, Run, RunResult};
use crate::ledger::command::{Command, SubmitError};
use crate::ledger::runs::{NoteResult, ToAsk};
use crate::store::meta::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// So many runs are under way; more of them wait for their turn.
const RUNS_MAX: usize = 4;
/// How long the task sleeps when nothing is due; new work wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// What a task of its own has done.
enum Done {
    Read { run: RunId, account: AccountId, found: ToAsk },
    Asked { run: RunId, order: OrderKey, heard: Heard },
    Noted { run: RunId, order: OrderKey },
    Ended { run: RunId, account: AccountId },
}

struct Driver {
    desk: Arc<Desk>,
    machine: Reconciler,
    /// Those whose lanes are open.
    under_way: BTreeMap<RunId, Arc<Run>>,
    /// By when they began.
    waiting: BTreeMap<RunId, Run>,
    done: mpsc::UnboundedSender<Done>,
    /// How providers treat the calls concerns everybody else's calls, too.
    reports: mpsc::UnboundedSender<agenda::Done>,
}

/// Drives every run that has not ended, and those that begin later.
pub async fn run(
    desk: Arc<Desk>,
    mut begun: mpsc::UnboundedReceiver<RunId>,
    reports: mpsc::UnboundedSender<agenda::Done>,
) {
    let (done, mut endings) = mpsc::unbounded_channel();
    let machine = Reconciler::new(desk.policy);
    let mut driver =
        Driver { desk, machine, under_way: BTreeMap::new(), waiting: BTreeMap::new(), done, reports };
    let unfinished = patiently(|| driver.desk.reader.unfinished_runs()).await;
    driver.waiting.extend(unfinished.into_iter().map(|run| (run.id, run)));
    loop {
        driver.open_runs().await;
        let now = driver.desk.clock.now();
        while let Some(step) = driver.machine.next(now) {
            driver.perform(step);
        }
        let pause = driver.machine.due().map_or(IDLE, |due| due.since(now)).min(IDLE);
        tokio::select! {
            id = begun.recv() => match id {
                Some(id) => driver.begin(id).await,
                None => return,
            },
            Some(done) = endings.recv() => driver.take(done),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Driver {
    /// A run has begun. One that is known already is the repeat of a request.
    async fn begin(&mut self, id: RunId) {
        let run = patiently(|| self.desk.reader.run(id)).await;
        let open = run.filter(|run| run.finished_at.is_none() && !self.under_way.contains_key(&id));
        self.waiting.extend(open.map(|run| (id, run)));
    }

    async fn open_runs(&mut self) {
        while self.under_way.len() < RUNS_MAX
            && let Some((id, run)) = self.waiting.pop_first()
        {
            let lanes = patiently(|| self.desk.reader.lanes(id)).await;
            for lane in lanes.into_iter().filter(|lane| !lane.finished) {
                self.machine.open(id, lane.account, lane.after);
            }
            tracing::info!(run = %id, "a reconciliation is under way");
            self.under_way.insert(id, Arc::new(run));
        }
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Read { run, account, after, limit } => self.read(run, account, after, limit),
            Step::Ask { run, order } => {
                let (desk, done) = (Arc::clone(&self.desk), self.done.clone());
                let reports = self.reports.clone();
                tokio::spawn(async move {
                    let (treated, polled) = desk.poll(&order).await;
                    let account = order.account.clone();
                    drop(reports.send(agenda::Done::ByHand { account, treated }));
                    let heard = heard(polled);
                    drop(done.send(Done::Asked { run, order, heard }));
                });
            }
            Step::Note { run, order, verdict } => self.note(run, order, verdict),
            Step::End { run, account } => {
                let (desk, done) = (Arc::clone(&self.desk), self.done.clone());
                tokio::spawn(async move {
                    submit(&desk, || Command::EndLane { run, account: account.clone() }).await;
                    drop(done.send(Done::Ended { run, account }));
                });
            }
        }
    }

    /// Looking for the next orders may pass over many that have ended: off the thread that asks.
    fn read(&self, id: RunId, account: AccountId, after: Option<Reference>, limit: usize) {
        let Some(run) = self.under_way.get(&id).map(Arc::clone) else { return };
        let (desk, done) = (Arc::clone(&self.desk), self.done.clone());
        tokio::spawn(async move {
            let found = loop {
                let (reader, run) = (desk.reader.clone(), Arc::clone(&run));
                let (account, after) = (account.clone(), after.clone());
                let read = move || reader.to_ask(&run, &account, after.as_ref(), limit);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(found)) => break found,
                    Ok(Err(error)) => tracing::warn!(run = %id, %error, "its orders could not be read yet"),
                    Err(_) => return,
                }
                tokio::time::sleep(OWN_TROUBLE_PAUSE).await;
            };
            drop(done.send(Done::Read { run: id, account, found }));
        });
    }

    fn note(&self, id: RunId, order: OrderKey, verdict: Verdict) {
        let Some(run) = self.under_way.get(&id).map(Arc::clone) else { return };
        let after = self.machine.position(id, &order);
        let (desk, done) = (Arc::clone(&self.desk), self.done.clone());
        tokio::spawn(async move {
            let note = patiently(|| result(&desk, &run, &order, &verdict, after.as_ref())).await;
            submit(&desk, || Command::NoteResult(Box::new(note.clone()))).await;
            drop(done.send(Done::Noted { run: id, order }));
        });
    }

    fn take(&mut self, done: Done) {
        let now = self.desk.clock.now();
        match done {
            Done::Read { run, account, found } => self.machine.read(run, &account, found, now),
            Done::Asked { run, order, heard } => {
                if let Some(verdict) = self.machine.heard(run, &order, heard, now) {
                    self.note(run, order, verdict);
                }
            }
            Done::Noted { run, order } => self.machine.noted(run, &order),
            Done::Ended { run, account } => {
                self.machine.ended(run, &account);
                if !self.machine.is_open(run) {
                    tracing::info!(%run, "a reconciliation has ended");
                    self.under_way.remove(&run);
                }
            }
        }
    }
}

fn heard(polled: Result<(), PollError>) -> Heard {
    match polled {
        Ok(()) => Heard::Answered,
        Err(PollError::NoSuchOrder) => Heard::NoSuchOrder,
        Err(PollError::NotPollable) => Heard::NotPollable,
        Err(PollError::Provider(failure)) => Heard::Failed(failure),
        Err(PollError::Ledger(SubmitError::Refused(refusal))) => Heard::Refused(refusal.to_string()),
        Err(PollError::Ledger(SubmitError::Busy | SubmitError::Stopped(_)) | PollError::Store(_)) => {
            Heard::OwnTrouble
        }
    }
}

/// An order's result, from the verdict and from where the ledger has it now.
fn result(
    desk: &Desk,
    run: &Run,
    key: &OrderKey,
    verdict: &Verdict,
    after: Option<&Reference>,
) -> Result<NoteResult, StoreError> {
    let order = desk.reader.order(key)?;
    let polled = order.as_ref().map(|order| desk.reader.polled_since(order, run.head)).transpose()?;
    let (entries, before) = polled.unwrap_or_default();
    let differs = order.as_ref().is_some_and(|order| !order.open.is_empty());
    let (finding, reason) = match verdict {
        Verdict::Failed(why) => (Finding::Failed, Some(why.clone())),
        Verdict::Unreachable => (Finding::Unreachable, Some(PollError::NotPollable.to_string())),
        Verdict::Answered if differs => (Finding::Differing, None),
        Verdict::Answered if entries.is_empty() => (Finding::Matched, None),
        Verdict::Answered => (Finding::Corrected, None),
    };
    let state = order.as_ref().map(|order| order.state());
    let result = RunResult { finding, reason, state, entries, at: desk.clock.now() };
    let sums = order.map(|order| (order.currency, before, order.ledgered.sums));
    Ok(NoteResult { run: run.id, order: key.clone(), result, sums, after: after.cloned() })
}

/// Reads until it succeeds.
async fn patiently<T>(read: impl Fn() -> Result<T, StoreError>) -> T {
    loop {
        match read() {
            Ok(found) => return found,
            Err(error) => tracing::warn!(%error, "a reconciliation waits for the store"),
        }
        tokio::time::sleep(OWN_TROUBLE_PAUSE).await;
    }
}

/// Submits until the ledger takes it.
async fn submit(desk: &Desk, command: impl Fn() -> Command) {
    while let Err(error) = desk.handle.submit_patiently(command()).await {
        tracing::warn!(%error, "a reconciliation waits for the ledger");
        tokio::time::sleep(OWN_TROUBLE_PAUSE).await;
    }
}
