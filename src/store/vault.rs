//! Sessions that providers renewed: one file of mode 0600 beside the database, never in it, so that no backup of the
//! ledger holds one.

use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "sessions.json";

/// A session that took the place of a configured one.
#[derive(Clone, Debug)]
pub struct Kept {
    pub account: AccountId,
    pub token: SecretString,
    pub ends: Time,
    /// A digest of the configured session: with another one configured, this one is forgotten.
    pub instead_of: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    account: String,
    token: String,
    ends: i64,
    instead_of: String,
}

/// What was kept; nothing where there is no file, or none that can be read: a session can be renewed again.
pub fn load(dir: &Path) -> Vec<Kept> {
    let lines: Vec<Line> = fs::read(dir.join(FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let kept = |line: Line| {
        let account = AccountId::parse(&line.account).ok()?;
        Some(Kept { account, token: line.token.into(), ends: Time(line.ends), instead_of: line.instead_of })
    };
    lines.into_iter().filter_map(kept).collect()
}

/// Keeps these and no others: written aside, synced, renamed.
pub fn save(dir: &Path, sessions: &[Kept]) -> io::Result<()> {
    let line = |kept: &Kept| Line {
        account: kept.account.to_string(),
        token: kept.token.expose_secret().to_owned(),
        ends: kept.ends.0,
        instead_of: kept.instead_of.clone(),
    };
    let lines: Vec<Line> = sessions.iter().map(line).collect();
    let aside = dir.join("sessions.new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&serde_json::to_vec(&lines)?)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}
