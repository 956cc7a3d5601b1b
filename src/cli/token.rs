//! A signed token. Needs the configuration and the key alone; never opens the database.

use super::args::TokenOptions;
use super::{End, note, say, usage};
use crate::auth::Keys;
use crate::auth::{Grant, mint};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, units};
use crate::domain::ids::AccountId;
use std::path::Path;

pub fn run(path: &Path, options: &TokenOptions) -> End {
    match token(path, options) {
        Ok(token) => {
            say(format_args!("{token}"));
            End::Success
        }
        Err(error) => usage(error),
    }
}

fn token(path: &Path, options: &TokenOptions) -> anyhow::Result<String> {
    let config = config::load(path)?;
    let keys = Keys::load(&config.auth, &config.data.dir)?;
    if let Some(path) = keys.made {
        note(format_args!("razao: no [[auth.keys]] configured: made a signing key, {}", path.display()));
    }
    let accounts: Vec<AccountId> =
        options.accounts.iter().map(|id| AccountId::parse(id)).collect::<Result<_, _>>()?;
    let grant = Grant {
        subject: &options.subject,
        scopes: &options.scope,
        accounts: &accounts,
        ttl: units::duration(&options.ttl)?,
    };
    Ok(mint(&keys.keys, &config.auth.issuer, &config.auth.audience, &grant, SystemClock.now())?)
}
