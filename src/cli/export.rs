//! A range of the ledger on stdout, for other programs: the bytes that the API answers.

use super::args::ExportOptions;
use super::{End, usage};
use crate::config::{self, Config};
use crate::daemon;
use crate::domain::ids::AccountId;
use crate::export::{Custom, Export, Wanted};
use crate::ledger::range::Edge;
use crate::ledger::reader::Reader;
use crate::store::directory::OpenError;
use anyhow::{anyhow, bail};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

pub fn run(path: &Path, options: &ExportOptions) -> End {
    match export(path, options) {
        Ok(()) => End::Success,
        Err(error) if error.downcast_ref::<OpenError>().is_some_and(OpenError::is_damage) => {
            eprintln!("razao: {error:#}");
            End::Failed
        }
        Err(error) => usage(error),
    }
}

fn export(path: &Path, options: &ExportOptions) -> anyhow::Result<()> {
    let config = config::load(path)?;
    if options.balances.is_some() && !options.format.is_journal() {
        bail!("--balances goes with hledger and beancount");
    }
    let reader = open(&config, options)?;
    let zone = config.reports.zone.clone();
    let (from, to) = Edge::pair(options.from.as_deref(), options.to.as_deref(), &zone)?;
    let account = options.account.as_deref().map(|id| known(id, &config, &reader)).transpose()?;
    let wanted = Wanted {
        format: options.format,
        range: reader.range(from, to)?,
        accounts: account.map(|account| [account].into()),
        ends: options.balances,
    };
    let custom = Custom { chart: Arc::new(config.reports.chart), zone };
    match write(Export::new(reader, custom, wanted)?) {
        // Who read has what they wanted (`| head`).
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn write(export: Export) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for chunk in export {
        out.write_all(&chunk?)?;
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The ledger, where no daemon serves it.
fn open(config: &Config, options: &ExportOptions) -> anyhow::Result<Reader> {
    let dir = &config.data.dir;
    if !dir.join("db").is_dir() {
        bail!("there is no ledger in {}; name its directory as data.dir", dir.display());
    }
    match daemon::read_alone(config) {
        Ok(reader) => Ok(reader),
        Err(OpenError::Locked(_)) => bail!(
            "a daemon serves {}; stop it, or ask it: GET /v1/export?format={}",
            dir.display(),
            options.format.as_str()
        ),
        Err(error) => Err(error.into()),
    }
}

/// An account that is configured or was posted to: a misspelt one must not look like one without entries.
fn known(id: &str, config: &Config, reader: &Reader) -> anyhow::Result<AccountId> {
    let account = AccountId::parse(id)?;
    let published = reader.published();
    let mut posted = published.balances.0.keys();
    if config.account(&account).is_some() || posted.any(|(of, _)| of.account == account) {
        return Ok(account);
    }
    Err(anyhow!("--account {id}: the ledger has no such account"))
}
