//! How far a command is: a line that is written over on a terminal; on a pipe only the end of each stage.

use super::note;
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Often enough for the eye.
const EVERY: Duration = Duration::from_millis(100);

pub struct Progress {
    terminal: bool,
    /// `verif`: of `verifying` and `verified`.
    stem: &'static str,
    what: &'static str,
    shown: Cell<Option<Instant>>,
}

impl Progress {
    pub fn new(stem: &'static str, what: &'static str) -> Progress {
        Progress { terminal: std::io::stderr().is_terminal(), stem, what, shown: Cell::new(None) }
    }

    pub fn show(&self, done: u64, all: u64) {
        let (stem, what) = (self.stem, self.what);
        if done >= all {
            self.end(&format!("{stem}ied {done} of {all} {what}"));
        } else {
            self.line(|| format!("{stem}ying {done} of {all} {what}"));
        }
    }

    /// `checked bytes`, so many of so many.
    pub fn show_stage(&self, stage: &str, done: u64, all: u64) {
        let text = || format!("{stage}: {done} of {all}");
        if done >= all { self.end(&text()) } else { self.line(text) }
    }

    pub fn line(&self, text: impl FnOnce() -> String) {
        let early = self.shown.get().is_some_and(|at| at.elapsed() < EVERY);
        if self.terminal && !early {
            self.shown.set(Some(Instant::now()));
            let mut stderr = std::io::stderr();
            drop(write!(stderr, "\r\x1b[K{}", text()).and_then(|()| stderr.flush()));
        }
    }

    pub fn end(&self, text: &str) {
        if self.terminal {
            note(format_args!("\r\x1b[K{text}"));
        } else {
            note(text);
        }
    }
}
