//! Copies the ledger elsewhere, once or all the time; and makes a data directory of a copy.

use super::args::{BackupOptions, RestoreOptions};
use super::progress::Progress;
use super::remote::Remote;
use super::{End, note, say, usage, verify};
use crate::backup::BackupError;
use crate::backup::copy::{Shelf, Told};
use crate::backup::feed::{Feed, Live, Received};
use crate::backup::restore;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Config};
use crate::daemon;
use crate::http::control::{self, Line, Request};
use crate::store::directory::OpenError;
use anyhow::bail;
use std::path::Path;
use std::time::{Duration, Instant};

/// While following, a daemon that is away is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub fn run(path: &Path, options: &BackupOptions) -> End {
    let backed_up = config::load(path).map_err(anyhow::Error::from).and_then(|config| {
        if options.follow { follow(&config, &options.to) } else { once(&config, &options.to) }
    });
    match backed_up {
        Ok(()) if options.verify => verify::of_backup(&options.to),
        Ok(()) => End::Success,
        Err(error) if error.downcast_ref::<BackupError>().is_some_and(BackupError::is_damage) => {
            failed(&error)
        }
        Err(error) => usage(format!("{error:#}")),
    }
}

pub fn restore(options: &RestoreOptions) -> End {
    let begun = Instant::now();
    let progress = Progress::new("", "");
    let mut show = |what: &'static str, done, all| progress.show_stage(what, done, all);
    match restore::restore(&options.from, &options.data, &mut show) {
        Ok(verified) => {
            verify::report(&verified, begun);
            End::Success
        }
        Err(error) if error.is_damage() => failed(&error.into()),
        Err(error) => usage(error),
    }
}

fn failed(error: &anyhow::Error) -> End {
    note(format_args!("razao: {error:#}"));
    End::Failed
}

fn once(config: &Config, to: &Path) -> anyhow::Result<()> {
    let dir = &config.data.dir;
    if !dir.join("db").is_dir() {
        bail!("there is no ledger in {}; name it as data.dir in the configuration", dir.display());
    }
    let begun = Instant::now();
    let mut shelf = open(to, dir)?;
    let told = match daemon::open_alone(config) {
        Ok(alone) => {
            let taken = Live::new(&alone.reader, shelf.since().as_ref(), false, || false)
                .map_err(anyhow::Error::from)
                .and_then(|mut live| take(&mut shelf, &mut live));
            alone.close()?;
            taken?
        }
        Err(OpenError::Locked(_)) => {
            let remote = Remote::ask(dir, &Request::Backup { since: shelf.since(), follow: false })?;
            take(&mut shelf, &mut feed(remote)?)?
        }
        Err(error) => return Err(error.into()),
    };
    let head = shelf.manifest().map(|manifest| manifest.head_hash.as_str()).unwrap_or_default();
    let Told { new_records, new_bytes, seq, .. } = told;
    say(format_args!(
        "ok: seq {}, head {head}; {new_records} new records, {new_bytes} bytes, {} ms",
        seq.unwrap_or_default(),
        begun.elapsed().as_millis()
    ));
    Ok(())
}

fn open(to: &Path, data: &Path) -> anyhow::Result<Shelf> {
    if to.starts_with(data) {
        bail!("{} lies within the data directory; a backup belongs elsewhere", to.display());
    }
    Ok(Shelf::open(to)?)
}

/// The daemon's answer to a request for a backup.
fn feed(mut remote: Remote) -> anyhow::Result<impl Feed> {
    match remote.hear()? {
        Line::Feed => Ok(Received(remote.into_bytes())),
        _ => bail!("the daemon is of another version; restart it"),
    }
}

fn take(shelf: &mut Shelf, feed: &mut dyn Feed) -> anyhow::Result<Told> {
    let progress = Progress::new("", "");
    let told = shelf.take(feed, &|| SystemClock.now(), &mut |told: Told| {
        progress.line(|| format!("read {} records, {} of them new", told.records, told.new_records));
    })?;
    progress.end(&format!("read {} records, {} of them new", told.records, told.new_records));
    Ok(told)
}

/// Goes on until it is ended, through restarts of the daemon: what was missed meanwhile is found by comparing.
fn follow(config: &Config, to: &Path) -> anyhow::Result<()> {
    let mut shelf = open(to, &config.data.dir)?;
    let mut waiting = false;
    loop {
        let request = Request::Backup { since: shelf.since(), follow: true };
        let asked = match control::connect(&config.data.dir) {
            Some(stream) => Remote::over(stream, &request),
            None => {
                if !std::mem::replace(&mut waiting, true) {
                    note(format_args!("waiting for the daemon that uses {}", config.data.dir.display()));
                }
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        // A socket that a killed daemon left behind takes no request.
        let Ok(remote) = asked else { continue };
        let mut feed = feed(remote)?;
        let mut begun = false;
        let ended = shelf.take(&mut feed, &|| SystemClock.now(), &mut |told: Told| {
            if let (Some(seq), false) = (told.seq, begun) {
                begun = true;
                note(format_args!("following from seq {seq}"));
            }
        });
        match ended {
            Ok(_) | Err(BackupError::Gone | BackupError::Stopping | BackupError::Told(_)) => {
                waiting = false;
                if let Err(error) = ended {
                    note(format_args!("{error}; going on once it is there again"));
                }
                std::thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
