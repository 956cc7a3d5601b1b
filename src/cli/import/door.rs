//! The way into the ledger: its directory, where no daemon serves it; else that daemon, through its socket.

use crate::cli::remote::Remote;
use crate::config::Config;
use crate::daemon::{self, Alone};
use crate::http::control::{self, Line, Request, Said};
use crate::ingest::accounts::Accounts;
use crate::store::directory::OpenError;
use anyhow::bail;

pub enum Door {
    Own { ledger: Alone, accounts: Accounts },
    Daemon(Remote),
}

impl Door {
    pub fn open(config: Config) -> anyhow::Result<Door> {
        match daemon::open_alone(&config) {
            Ok(ledger) => Ok(Door::Own { ledger, accounts: Accounts::new(config.accounts) }),
            Err(OpenError::Locked(_)) => Ok(Door::Daemon(Remote::ask(&config.data.dir, &Request::Import)?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Registers lines, and answers each, in their order.
    pub async fn register(&mut self, lines: Vec<String>) -> anyhow::Result<Vec<Said>> {
        match self {
            Door::Own { ledger, accounts } => Ok(control::register(&ledger.handle, accounts, lines).await?),
            Door::Daemon(remote) => {
                remote.say(&serde_json::to_string(&lines)?)?;
                match remote.hear()? {
                    Line::Registered(said) => Ok(said),
                    _ => bail!("the daemon is of another version; restart it"),
                }
            }
        }
    }

    pub fn close(self) -> anyhow::Result<()> {
        match self {
            Door::Own { ledger, .. } => ledger.close(),
            Door::Daemon(_) => Ok(()),
        }
    }
}
