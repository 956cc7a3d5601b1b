//! The configuration read anew while the daemon runs: keys, credentials and the certificate are exchanged, all of them or
//! none; what else differs is named, and waits for a restart.

use super::{Daemon, with_faults};
use crate::auth::Keys;
use crate::config::{Account, Config, Problems};
use crate::domain::ids::AccountId;
use crate::http::app::{App, Believed, Configured};
use crate::http::tls::Shown;
use crate::ingest::runner::Task;
use actix_web::web::Data;
use secrecy::ExposeSecret;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a reload exchanges, and what it compares with.
pub struct Reloader {
    app: Data<App>,
    tasks: mpsc::UnboundedSender<Task>,
    /// The certificate that is shown, where there is TLS.
    shown: Option<Arc<Shown>>,
    /// What the daemon started with.
    started: Config,
}

impl Daemon {
    /// What takes another configuration while the daemon runs; `started` is what it was started with.
    pub fn reloader(&self, started: Config) -> Reloader {
        let (app, tasks) = (self.app.clone(), self.ingest.tasks.clone());
        Reloader { app, tasks, shown: self.shown.clone(), started }
    }
}

/// A new configuration that holds in every part.
struct Ready {
    believed: Believed,
    shown: Option<Shown>,
    accounts: Vec<Account>,
    /// Accounts whose credentials differ.
    changed: Vec<AccountId>,
    restart_needed: Vec<String>,
    warnings: Vec<String>,
}

impl Reloader {
    /// Takes what was read, or keeps all as it is and says what is wrong.
    pub fn reload(&self, read: Result<Config, Problems>) {
        let ready = read.map_err(anyhow::Error::from).and_then(|config| self.prepare(config));
        let before = self.app.configured.get();
        match ready {
            Ok(ready) => self.take(ready),
            Err(why) => {
                let why = format!("{why:#}").replace('\n', "; ");
                tracing::error!(%why, "the new configuration is not taken; the one before stays");
                self.app.configured.set(Configured { error: Some(why), ..(*before).clone() });
            }
        }
    }

    fn prepare(&self, config: Config) -> anyhow::Result<Ready> {
        // The directory is the one that the daemon holds, whatever the file says now.
        let loaded = Keys::load(&config.auth, &self.started.data.dir)?;
        let tls = config.server.tls.as_ref().filter(|_| self.shown.is_some());
        let shown = tls.map(Shown::load).transpose()?;
        let mut restart_needed = self.differing(&config);
        let (auth, warnings) = (config.auth, config.warnings);
        let (mut accounts, mut changed) = (Vec::new(), Vec::new());
        for running in self.app.accounts.all() {
            let id = &running.merchant.id;
            let found = config.accounts.iter().find(|account| account.merchant.id == *id);
            let Some(new) = found.filter(|new| fits(&running, new)) else {
                restart_needed.push(format!("accounts.{id}"));
                accounts.push((*running).clone());
                continue;
            };
            if !same(&running.poll, &new.poll) {
                restart_needed.push(format!("accounts.{id}.poll"));
            }
            if differs(&running, new) {
                changed.push(id.clone());
            }
            accounts.push(with_faults(Account { poll: running.poll, ..new.clone() }));
        }
        let added = config.accounts.iter().filter(|new| self.app.accounts.get(&new.merchant.id).is_none());
        restart_needed.extend(added.map(|new| format!("accounts.{}", new.merchant.id)));
        let believed = Believed { keys: loaded.keys, issuer: auth.issuer, audience: auth.audience };
        Ok(Ready { believed, shown, accounts, changed, restart_needed, warnings })
    }

    /// Which parts differ that a running daemon cannot exchange.
    fn differing(&self, config: &Config) -> Vec<String> {
        let old = &self.started;
        let (was, is) = (&old.server, &config.server);
        let parts = [
            ("server.listen", same(&was.listen, &is.listen)),
            ("server.callback_listen", same(&was.callback_listen, &is.callback_listen)),
            ("server.cors_origins", same(&was.cors_origins, &is.cors_origins)),
            ("server.trusted_proxies", same(&was.trusted_proxies, &is.trusted_proxies)),
            ("server.tls_cert_file", was.tls.is_some() == is.tls.is_some()),
            ("data", same(&old.data, &config.data)),
            ("log", same(&old.log, &config.log)),
            ("resolver", same(&old.resolver, &config.resolver)),
            ("webhooks", same(&old.webhooks, &config.webhooks)),
            ("limits", same(&old.limits, &config.limits)),
            ("reports", same(&old.reports, &config.reports)),
            ("backup", same(&old.backup, &config.backup)),
            ("telemetry", same(&old.telemetry, &config.telemetry)),
        ];
        parts.into_iter().filter(|(_, same)| !same).map(|(name, _)| name.to_owned()).collect()
    }

    fn take(&self, ready: Ready) {
        for warning in &ready.warnings {
            tracing::warn!("{warning}");
        }
        self.app.believed.set(ready.believed);
        // Whoever got one may have shown a key that is gone.
        self.app.tickets.clear();
        if let (Some(shown), Some(new)) = (&self.shown, &ready.shown) {
            shown.exchange(new);
        }
        self.app.accounts.exchange(ready.accounts);
        drop(self.tasks.send(Task::Reconfigured { changed: ready.changed }));
        let restart_needed = ready.restart_needed;
        tracing::info!("the configuration is read anew: keys, credentials and certificates are the new ones");
        if !restart_needed.is_empty() {
            let keys = restart_needed.join(", ");
            tracing::warn!(%keys, "these differ from what the daemon runs with; restart it to apply them");
        }
        let loaded_at = self.app.clock.now();
        self.app.configured.set(Configured { loaded_at, error: None, restart_needed });
    }
}

/// Whether two values read the same. What is compared so holds no secrets, which would all read alike.
fn same(one: &impl Debug, other: &impl Debug) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Whether an account is still the one whose orders are in the ledger.
fn fits(running: &Account, new: &Account) -> bool {
    running.provider.spec().id == new.provider.spec().id
        && running.merchant.currency == new.merchant.currency
        && running.merchant.zone == new.merchant.zone
}

/// Whether a provider is called otherwise than before.
fn differs(running: &Account, new: &Account) -> bool {
    let shown = |account: &Account| {
        let credentials = account.merchant.credentials.0.iter();
        let texts = |(name, values): (&String, &Vec<secrecy::SecretString>)| {
            let values = values.iter().map(|value| value.expose_secret().to_owned());
            (name.clone(), values.collect::<Vec<_>>())
        };
        (account.merchant.base_url.clone(), credentials.map(texts).collect::<Vec<_>>())
    };
    shown(running) != shown(new)
}
