//! A running daemon, through the socket in its data directory.

use crate::http::control::{self, BROKEN_OFF, Line, Request};
use anyhow::{Context, anyhow, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A daemon that has just taken the lock opens its socket within this time.
const OPENING_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

pub struct Remote {
    lines: BufReader<UnixStream>,
}

impl Remote {
    /// Asks the daemon that holds the lock of a data directory.
    pub fn ask(dir: &Path, request: &Request) -> anyhow::Result<Remote> {
        let begun = Instant::now();
        let stream = loop {
            match control::connect(dir) {
                Some(stream) => break stream,
                None if begun.elapsed() < OPENING_MAX => std::thread::sleep(PAUSE),
                None => bail!(
                    "the data directory {} is in use by another razao process that does not answer; stop it first",
                    dir.display()
                ),
            }
        };
        Remote::over(stream, request)
    }

    pub fn over(stream: UnixStream, request: &Request) -> anyhow::Result<Remote> {
        let mut remote = Remote { lines: BufReader::new(stream) };
        remote.say(&serde_json::to_string(request)?)?;
        Ok(remote)
    }

    /// Sends one line.
    pub fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let stream = self.lines.get_mut();
        let said = stream.write_all(line.as_bytes()).and_then(|()| stream.write_all(b"\n"));
        said.context("the daemon went away; try again once it is back")
    }

    /// The next line of the answer; what the daemon could not do is an error.
    pub fn hear(&mut self) -> anyhow::Result<Line> {
        let mut text = String::new();
        let heard = self.lines.read_line(&mut text);
        if heard.is_err() || text.is_empty() {
            bail!("the daemon went away; try again once it is back");
        }
        match serde_json::from_str(&text) {
            Ok(Line::Failed(why)) => Err(anyhow!("{why}")),
            Ok(line) => Ok(line),
            Err(_) => bail!("the daemon is of another version; restart it"),
        }
    }

    /// The next chunk of an export; none at its end.
    pub fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let gone = "the daemon went away; what was written lacks its end";
        let mut length = [0; 4];
        self.lines.read_exact(&mut length).context(gone)?;
        match u32::from_be_bytes(length) {
            0 => Ok(None),
            BROKEN_OFF => {
                // It says why, which is an error.
                self.hear()?;
                bail!("the daemon is of another version; restart it")
            }
            length => {
                let mut chunk = vec![0; usize::try_from(length)?];
                self.lines.read_exact(&mut chunk).context(gone)?;
                Ok(Some(chunk))
            }
        }
    }

    /// The bytes after the last line.
    pub fn into_bytes(self) -> BufReader<UnixStream> {
        self.lines
    }
}
