//! An export as somebody asked for it at the command line: words, of which each is checked here.

use super::{Custom, Ends, Export, ExportError, Format, Wanted};
use crate::domain::ids::{AccountId, IdError};
use crate::ledger::range::{Edge, RangeError};
use crate::ledger::reader::Reader;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Asked {
    pub format: Format,
    pub from: Option<String>,
    pub to: Option<String>,
    pub account: Option<String>,
    pub balances: Option<Ends>,
}

#[derive(Debug, thiserror::Error)]
pub enum AskedError {
    #[error("--balances goes with hledger and beancount")]
    NoJournal,
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error("--account: {0}")]
    Account(#[from] IdError),
    #[error("--account {0}: the ledger has no such account")]
    NoSuchAccount(AccountId),
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl Asked {
    /// The export that is meant. An account is configured or was posted to: a misspelt one must not look like one without
    /// entries.
    pub fn begin(
        &self,
        reader: Reader,
        custom: Custom,
        is_configured: impl Fn(&AccountId) -> bool,
    ) -> Result<Export, AskedError> {
        if self.balances.is_some() && !self.format.is_journal() {
            return Err(AskedError::NoJournal);
        }
        let (from, to) = Edge::pair(self.from.as_deref(), self.to.as_deref(), &custom.zone)?;
        let account = self.account.as_deref().map(AccountId::parse).transpose()?;
        if let Some(account) = &account {
            let published = reader.published();
            let mut posted = published.balances.0.keys();
            if !is_configured(account) && !posted.any(|(of, _)| of.account == *account) {
                return Err(AskedError::NoSuchAccount(account.clone()));
            }
        }
        let wanted = Wanted {
            format: self.format,
            range: reader.range(from, to)?,
            accounts: account.map(|account| [account].into()),
            ends: self.balances,
        };
        Ok(Export::new(reader, custom, wanted)?)
    }
}
