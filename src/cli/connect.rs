//! Which callback URL to enter where, so that a provider's callbacks reach an account. Needs the configuration alone.

use super::api::checked;
use super::args::ConnectOptions;
use super::{End, say, usage};
use crate::config::{self, Account};
use anyhow::anyhow;
use secrecy::ExposeSecret;
use std::path::Path;

pub fn run(path: &Path, options: &ConnectOptions) -> End {
    match connect(path, options) {
        Ok(lines) => {
            lines.iter().for_each(say);
            End::Success
        }
        Err(error) => usage(error),
    }
}

fn connect(path: &Path, options: &ConnectOptions) -> anyhow::Result<[String; 3]> {
    let public_url = checked("--public-url", &options.public_url)?;
    let config = config::load(path)?;
    let account = config.accounts.iter().find(|account| account.merchant.id.as_str() == options.account);
    let account = account.ok_or_else(|| unknown(&config.accounts, path))?;
    if public_url.starts_with("http://") {
        eprintln!("razao: warning: callbacks and their credential travel unencrypted over http; use https");
    }
    let spec = account.provider.spec();
    Ok([
        format!("account:      {} at {}", account.merchant.id, spec.name),
        // The key is a secret; it is shown because the one who can read the configuration asks for it.
        format!("callback URL: {}", callback_url(&public_url, account)),
        format!("to be entered {}", spec.callback_entry),
    ])
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
