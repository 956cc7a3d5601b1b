//! The loop of ingest: takes what is due, lets the [`Desk`] see to it, sleeps until more is.
//!
//! One task owns the resolver; each receipt and each poll runs in a task of its own.

use super::desk::{Desk, PollError};
use crate::domain::ids::{AccountId, OrderKey, ReceiptId};
use crate::store::meta::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long the task sleeps when nothing is due; new work wakes it.
const IDLE: Duration = Duration::from_secs(60);

/// What the task is told.
#[derive(Debug)]
pub enum Task {
    /// A receipt is durable and has to be processed.
    Process { account: AccountId, id: ReceiptId },
    /// Somebody wants to know now.
    Poll { key: OrderKey, answer: oneshot::Sender<Result<(), PollError>> },
}

pub async fn run(desk: Arc<Desk>, mut tasks: mpsc::UnboundedReceiver<Task>) -> Result<(), StoreError> {
    let mut resolver = desk.resolver()?;
    let (ended, mut endings) = mpsc::unbounded_channel();
    loop {
        let now = desk.clock.now();
        while let Some((account, id)) = resolver.next(now) {
            let (desk, ended) = (Arc::clone(&desk), ended.clone());
            tokio::spawn(async move { drop(ended.send(desk.process(account, id).await)) });
        }
        let pause = resolver.due().map_or(IDLE, |due| due.since(now)).min(IDLE);
        tokio::select! {
            task = tasks.recv() => match task {
                Some(Task::Process { account, id }) => resolver.enqueue(account, id, now),
                Some(Task::Poll { key, answer }) => {
                    let desk = Arc::clone(&desk);
                    tokio::spawn(async move { drop(answer.send(desk.poll(&key).await)) });
                }
                None => return Ok(()),
            },
            Some(ended) = endings.recv() => resolver.ended(ended),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
