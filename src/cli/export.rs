//! A range of the ledger on stdout, for other programs: the bytes that the API answers.

use super::args::ExportOptions;
use super::remote::Remote;
use super::{End, note, usage};
use crate::config::{self, Config};
use crate::daemon;
use crate::export::asked::Asked;
use crate::export::{Custom, Export};
use crate::http::control::{Line, Request};
use crate::store::directory::OpenError;
use anyhow::bail;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

pub fn run(path: &Path, options: ExportOptions) -> End {
    match export(path, options) {
        Ok(()) => End::Success,
        // Who read has what they wanted (`| head`).
        Err(error) if is_broken_pipe(&error) => End::Success,
        Err(error) if error.downcast_ref::<OpenError>().is_some_and(OpenError::is_damage) => {
            note(format_args!("razao: {error:#}"));
            End::Failed
        }
        Err(error) => usage(error),
    }
}

fn export(path: &Path, options: ExportOptions) -> anyhow::Result<()> {
    let config = config::load(path)?;
    let ExportOptions { format, from, to, account, balances } = options;
    let asked = Asked { format, from, to, account, balances };
    let dir = &config.data.dir;
    if !dir.join("db").is_dir() {
        bail!("there is no ledger in {}; name its directory as data.dir", dir.display());
    }
    match daemon::read_alone(&config) {
        Ok(reader) => {
            let custom = custom(&config);
            write(asked.begin(reader, custom, |account| config.account(account).is_some())?)
        }
        Err(OpenError::Locked(_)) => write_from(Remote::ask(dir, &Request::Export(asked))?),
        Err(error) => Err(error.into()),
    }
}

fn custom(config: &Config) -> Custom {
    Custom { chart: Arc::new(config.reports.chart.clone()), zone: config.reports.zone.clone() }
}

fn write(export: Export) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for chunk in export {
        out.write_all(&chunk?)?;
    }
    Ok(out.flush()?)
}

/// What the daemon that has the directory says it is.
fn write_from(mut remote: Remote) -> anyhow::Result<()> {
    match remote.hear()? {
        Line::Feed => {}
        _ => bail!("the daemon is of another version; restart it"),
    }
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(chunk) = remote.chunk()? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
