//! The configuration: `config.toml` and its overlay from the environment, `RAZAO__SECTION__KEY`.
//!
//! It is read once and whole: either everything holds and there is a [`Config`] of plain typed values, or all that is
//! wrong is named at once, each with its key. Knows nothing of HTTP, the store or the clock; reads no files but
//! `config.toml` and those it names.

mod accounts;
mod check;
mod file;
mod keys;
mod reader;
mod secret;
mod sections;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;

pub use accounts::Account;
pub use check::{Problem, Problems};
pub(crate) use keys::SECRET_BYTES_MIN;
pub use keys::{Algorithm, AuthKey, Material};
pub use sections::{
    Auth, Backup, Data, Limits, Log, LogFormat, Poll, Reports, Resolver, Server, Telemetry, Tls, Webhooks,
};
pub use units::Rate;

use crate::domain::ids::AccountId;
use crate::providers::provider::Provider;
use crate::providers::registry::PROVIDERS;
use std::path::Path;

/// What a daemon was told. Its `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub data: Data,
    pub log: Log,
    pub auth: Auth,
    pub resolver: Resolver,
    /// The defaults of the accounts' own.
    pub poll: Poll,
    pub webhooks: Webhooks,
    pub limits: Limits,
    pub reports: Reports,
    pub backup: Backup,
    pub telemetry: Telemetry,
    pub accounts: Vec<Account>,
    /// What is allowed but probably not meant, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.merchant.id == *id)
    }
}

/// Reads the file at `path` and the process's environment.
pub fn load(path: &Path) -> Result<Config, Problems> {
    // What is not UTF-8 gets U+FFFD here, and that is refused where it stands in a variable of ours.
    let env = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    load_from(path, env)
}

/// Reads the file at `path` and the environment that is given.
pub fn load_from(path: &Path, env: impl Iterator<Item = (String, String)>) -> Result<Config, Problems> {
    load_with(path, env, PROVIDERS)
}

fn load_with(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    providers: &[&'static dyn Provider],
) -> Result<Config, Problems> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let notes = check::Notes::new(dir);
    let Some(tree) = tree::read(path, env, &notes) else { return Err(notes.problems()) };
    let mut config = file::read(tree, &notes, providers);
    config.warnings = notes.finish()?;
    Ok(config)
}
