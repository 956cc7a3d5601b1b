//! Registers existing orders in bulk: line by line, what is wrong with one said with its number, the others unharmed. The
//! same file again changes nothing.

mod door;
pub mod sheet;

use super::args::ImportOptions;
use super::{End, note, say, usage};
use crate::config;
use crate::http::control::Said;
use door::Door;
use sheet::{Line, Sheet};
use std::io::{IsTerminal, Write};
use std::path::Path;

/// So many lines are handed over at once.
const LINES_AT_ONCE: usize = 500;

#[derive(Default)]
struct Tally {
    lines: u64,
    new: u64,
    known: u64,
    failed: u64,
}

pub fn run(path: &Path, options: &ImportOptions) -> End {
    match import(path, options) {
        Ok(Tally { lines, new, known, failed }) => {
            say(format_args!("{lines} lines: {new} registered, {known} known before, {failed} failed"));
            if failed == 0 { End::Success } else { End::Failed }
        }
        Err(error) => usage(error),
    }
}

fn import(path: &Path, options: &ImportOptions) -> anyhow::Result<Tally> {
    let config = config::load(path)?;
    let mut sheet = Sheet::open(&options.file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut door = Door::open(config)?;
    let terminal = std::io::stderr().is_terminal();
    let mut tally = Tally::default();
    loop {
        let lines: Vec<Line> = sheet.by_ref().take(LINES_AT_ONCE).collect::<anyhow::Result<_>>()?;
        if lines.is_empty() {
            break;
        }
        let readable = lines.iter().filter_map(|line| line.json.clone().ok()).collect();
        let mut said = runtime.block_on(door.register(readable))?.into_iter();
        for line in &lines {
            let said = match &line.json {
                Ok(_) => said.next().ok_or_else(|| anyhow::anyhow!("the ledger answered too few lines"))?,
                Err(wrong) => Said::Refused(wrong.clone()),
            };
            tally.count(line.number, said);
        }
        if terminal {
            let mut stderr = std::io::stderr();
            drop(write!(stderr, "\r{} lines", tally.lines).and_then(|()| stderr.flush()));
        }
    }
    if terminal {
        note("");
    }
    door.close()?;
    Ok(tally)
}

impl Tally {
    fn count(&mut self, number: u64, said: Said) {
        self.lines += 1;
        match said {
            Said::New => self.new += 1,
            Said::Known => self.known += 1,
            Said::Refused(why) => {
                self.failed += 1;
                note(format_args!("razao: line {number}: {why}"));
            }
        }
    }
}
