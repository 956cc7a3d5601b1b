//! From serving to the orderly end: no new connections, running requests finish, the rooms end top-down, everything
//! acknowledged is on disk.

use super::upkeep::{back_up_now_and_then, forget_now_and_then, note_head_now_and_then};
use super::{Daemon, lookout};
use crate::store::directory;
use std::sync::Arc;
use std::thread::JoinHandle;

impl Daemon {
    /// Serves until `stop` is done, then drains: no new connections, running requests finish, everything acknowledged
    /// is on disk, the head is noted.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let noting = actix_web::rt::spawn(note_head_now_and_then(self.dir.clone(), self.published.clone()));
        let backing_up = self
            .app
            .rota
            .clone()
            .map(|rota| actix_web::rt::spawn(back_up_now_and_then(rota, Arc::clone(&self.app.clock))));
        let forgetting = actix_web::rt::spawn(forget_now_and_then(self.app.clone(), self.retention));
        let watching = actix_web::rt::spawn(lookout::run(self.app.clone()));
        stop.await;
        tracing::info!("draining");
        self.drain.send_replace(true);
        self.reader.thaw("the daemon is stopping");
        for handle in &self.handles {
            handle.stop(true).await;
        }
        for server in self.running {
            server.await??;
        }
        let control = self.control;
        actix_web::rt::task::spawn_blocking(move || control.close()).await?;
        noting.abort();
        if let Some(backing_up) = backing_up {
            backing_up.abort();
        }
        forgetting.abort();
        watching.abort();
        // They hold the ledger's handle until they are gone.
        drop((forgetting.await, watching.await));
        let (ingest, deliveries) = (self.ingest.leave(), self.deliveries.leave());
        drop((self.app, self.handle));
        join(ingest).await?;
        join(deliveries).await?;
        join(self.writer).await?;
        let last = self.published.borrow().clone();
        if let Err(error) = directory::note_head(&self.dir, &last.database, last.seq, last.hash) {
            // A full disk must not turn an orderly end into a failed one: the database has everything.
            tracing::warn!(%error, "the head could not be noted");
        }
        tracing::info!(seq = %last.seq, "stopped");
        Ok(())
    }
}

async fn join(thread: JoinHandle<()>) -> anyhow::Result<()> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("a thread ended in a panic; see the log"))
}
