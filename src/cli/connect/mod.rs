//! Which callback URL to enter where, so that a provider's callbacks reach an account. Needs the configuration alone.
//!
//! Where the provider has an API for it, the URL is registered there, unless it is already; and what the provider says it
//! delivered is laid beside what the daemon received.

mod compared;
mod registered;

use super::api::checked;
use super::args::ConnectOptions;
use super::{End, note, say, usage};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Account, Config};
use crate::ingest::accounts::Accounts;
use crate::ingest::caller::Caller;
use crate::net::client::Client;
use crate::providers::registrar::Registrar;
use crate::store::vault;
use anyhow::{Context, anyhow};
use secrecy::ExposeSecret;
use std::path::Path;
use std::sync::Arc;

pub fn run(path: &Path, options: &ConnectOptions) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(connect(path, options))) {
        Ok(end) => end,
        Err(error) => usage(error),
    }
}

async fn connect(path: &Path, options: &ConnectOptions) -> anyhow::Result<End> {
    let public_url = checked("--public-url", &options.public_url)?;
    let config = config::load(path)?;
    let account = config.accounts.iter().find(|account| account.merchant.id.as_str() == options.account);
    let account = account.ok_or_else(|| unknown(&config.accounts, path))?;
    if public_url.starts_with("http://") {
        note("razao: warning: callbacks and their credential travel unencrypted over http; use https");
    }
    let (spec, url) = (account.provider.spec(), callback_url(&public_url, account));
    say(format_args!("account:      {} at {}", account.merchant.id, spec.name));
    // The key is a secret; it is shown because the one who can read the configuration asks for it.
    say(format_args!("callback URL: {url}"));
    match account.provider.registrar() {
        Some(registrar) => see_to(&config, account, registrar, &url).await,
        None => {
            say(format_args!("to be entered {}", spec.callback_entry));
            Ok(End::Success)
        }
    }
}

/// Registers the URL and compares deliveries; what the provider refuses is said, with what can be done by hand.
async fn see_to(
    config: &Config,
    account: &Account,
    registrar: &dyn Registrar,
    url: &str,
) -> anyhow::Result<End> {
    let (spec, caller) = (account.provider.spec(), caller(config)?);
    let delivered = match registered::see_to(&caller, account, registrar, url).await {
        Ok(()) => registered::deliveries(&caller, account, registrar).await,
        Err(failure) => {
            say(format_args!("to be entered {}", spec.callback_entry));
            Err(failure)
        }
    };
    match delivered {
        Ok(delivered) => compared::beside_receipts(config, account, url, delivered).await,
        Err(failure) => {
            let name = spec.name;
            note(format_args!(
                "razao: {name} was asked at {} and did not do it: {failure}",
                account.merchant.base_url
            ));
            Ok(End::Failed)
        }
    }
}

/// Asks as the daemon does, with the session that the daemon renewed last. One that is renewed here is not kept: the file
/// is the daemon's.
fn caller(config: &Config) -> anyhow::Result<Caller> {
    let accounts = Accounts::new(config.accounts.clone());
    let client = Client::new(config.resolver.timeout).context("no calls can be made")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = vault::load(&config.data.dir);
    Ok(Caller::new(Box::new(client), clock, Arc::default(), &accounts, kept, Box::new(|_| {})))
}

fn callback_url(public_url: &str, account: &Account) -> String {
    let key = account.callback_key.as_ref().map(|key| format!("/{}", key.expose_secret()));
    format!("{public_url}/callbacks/{}{}", account.merchant.id, key.unwrap_or_default())
}

fn unknown(accounts: &[Account], path: &Path) -> anyhow::Error {
    let known: Vec<&str> = accounts.iter().map(|account| account.merchant.id.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    anyhow!("--account names no account of {}; known are: {known}", path.display())
}
