//! Commands, a file each. Exit codes: 0 success, 1 a check failed, 2 usage or configuration. Errors go to stderr in one
//! line that says what to do.

mod api;
pub mod args;
mod backup;
mod check_config;
mod connect;
mod demo;
mod export;
pub mod import;
mod kept;
mod listen;
mod progress;
mod remote;
mod sandbox;
mod serve;
mod stage;
mod token;
mod verify;

use args::{Arguments, Command};
use clap::Parser;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// How a command ended.
pub enum End {
    Success,
    /// A check failed; what to say is said.
    Failed,
    /// Usage or configuration; said in one line.
    Usage(String),
}

/// Parses the command line and runs the command.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let end = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&arguments.config),
        Command::Demo(options) => demo::run(&options),
        Command::Sandbox(options) => sandbox::run(&options),
        Command::Token(options) => token::run(&arguments.config, &options),
        Command::Import(options) => import::run(&arguments.config, &options),
        Command::Connect(options) => connect::run(&arguments.config, &options),
        Command::Listen(options) => listen::run(&arguments.config, &options),
        Command::Verify(options) => verify::run(&arguments.config, &options),
        Command::Export(options) => export::run(&arguments.config, options),
        Command::Backup(options) => backup::run(&arguments.config, &options),
        Command::Restore(options) => backup::restore(&options),
        Command::CheckConfig => check_config::run(&arguments.config),
    };
    match end {
        End::Success => ExitCode::SUCCESS,
        End::Failed => ExitCode::from(1),
        End::Usage(what) => {
            note(format_args!("razao: {what}"));
            ExitCode::from(2)
        }
    }
}

/// Prints a line for whoever still reads. A reader that went away (`| head`) is no reason to end, let alone to panic.
fn say(line: impl Display) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// The same, on stderr.
fn note(line: impl Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// An error as one line.
fn usage(error: impl Display) -> End {
    let text = format!("{error:#}");
    End::Usage(text.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}
