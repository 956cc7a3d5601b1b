//! The loop of ingest: takes what is due, lets the [`Desk`] see to it, sleeps until more is.
//!
//! One task owns the agenda; each piece of work runs in a task of its own.

use super::agenda::{Agenda, Done, Work};
use super::desk::{Desk, PollError};
use super::runs;
use crate::domain::ids::{AccountId, OrderKey, ReceiptId, RunId};
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long the task sleeps when nothing is due; new work wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// So much of what has come in at once is heard before the agenda is looked through.
const HEARD_MAX: usize = 256;

/// What the task is told.
#[derive(Debug)]
pub enum Task {
    /// A receipt is durable and has to be processed.
    Process { account: AccountId, id: ReceiptId },
    /// Somebody wants to know now.
    Poll { key: OrderKey, answer: oneshot::Sender<Result<(), PollError>> },
    /// The configuration was read anew; these accounts are called otherwise than before.
    Reconfigured { changed: Vec<AccountId> },
}

pub async fn run(
    desk: Arc<Desk>,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    runs_begun: mpsc::UnboundedReceiver<RunId>,
) -> Result<(), StoreError> {
    let mut agenda = desk.agenda()?;
    let (done, mut endings) = mpsc::unbounded_channel();
    tokio::spawn(reschedule(Arc::clone(&desk)));
    tokio::spawn(runs::run(Arc::clone(&desk), runs_begun, done.clone()));
    loop {
        let now = desk.clock.now();
        for work in agenda.next(now, &desk.reader)? {
            tokio::spawn(see_to(Arc::clone(&desk), work, done.clone()));
        }
        let next = agenda.look_again(now, &desk.reader)?;
        let pause = next.map_or(IDLE, |next| next.since(now)).min(IDLE);
        tokio::select! {
            () = tokio::time::sleep(pause) => continue,
            task = tasks.recv() => match task {
                Some(task) => hear(task, now, &desk, &mut agenda, &done),
                None => return Ok(()),
            },
            Some(ended) = endings.recv() => agenda.done(ended, desk.clock.now(), &desk.activity),
        }
        // What one group of the writer made durable comes in together, if those who tell of it get to run; looking for due
        // polls after each of it would cost more than it does.
        std::thread::yield_now();
        for _ in 0..HEARD_MAX {
            match (tasks.try_recv(), endings.try_recv()) {
                (Err(_), Err(_)) => break,
                (task, ended) => {
                    task.into_iter().for_each(|task| hear(task, now, &desk, &mut agenda, &done));
                    ended.into_iter().for_each(|ended| agenda.done(ended, desk.clock.now(), &desk.activity));
                }
            }
        }
    }
}

fn hear(task: Task, now: Time, desk: &Arc<Desk>, agenda: &mut Agenda, done: &mpsc::UnboundedSender<Done>) {
    match task {
        Task::Process { account, id } => agenda.enqueue(account, id, now),
        Task::Poll { key, answer } => {
            tokio::spawn(poll_by_hand(Arc::clone(desk), key, answer, done.clone()));
        }
        Task::Reconfigured { changed } => {
            desk.caller.forget(&changed);
            agenda.lift_refusals(now, &desk.activity);
        }
    }
}

async fn see_to(desk: Arc<Desk>, work: Work, done: mpsc::UnboundedSender<Done>) {
    drop(done.send(desk.work(work).await));
}

async fn poll_by_hand(
    desk: Arc<Desk>,
    key: OrderKey,
    answer: oneshot::Sender<Result<(), PollError>>,
    done: mpsc::UnboundedSender<Done>,
) {
    let (treated, result) = desk.poll(&key).await;
    drop(done.send(Done::ByHand { account: key.account, treated }));
    drop(answer.send(result));
}

async fn reschedule(desk: Arc<Desk>) {
    if let Err(why) = desk.reschedule().await {
        tracing::warn!(%why, "polls go on in the intervals they had; restart the daemon to try again");
    }
}
