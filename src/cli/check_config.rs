//! Every problem of the configuration with its key.

use super::{End, note, say};
use crate::auth::Keys;
use crate::config;
use std::path::Path;

pub fn run(path: &Path) -> End {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return report(&problems.to_string()),
    };
    for warning in &config.warnings {
        note(format_args!("razao: warning: {warning}"));
    }
    if !config.auth.keys.is_empty()
        && let Err(problems) = Keys::configured(&config.auth.keys)
    {
        return report(&problems.to_string());
    }
    say(format_args!("{}: {} account(s), no problems", path.display(), config.accounts.len()));
    End::Success
}

/// A line a problem, then how many.
fn report(problems: &str) -> End {
    note(problems);
    let count = problems.lines().count();
    End::Usage(format!("the configuration has {count} problem(s), listed above; nothing was started"))
}
