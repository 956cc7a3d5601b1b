//! What a package holds beside the binary, made from the same definitions: the manual page, completions of three shells,
//! and config.toml with the places of a Linux system. `cargo run --example packaging -- DIR`
//!
//! An example and no command of the daemon: what only packagers need stays out of the binary and its dependencies.

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use razao::cli::args::Arguments;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const NAME: &str = "razao";
/// Where a packaged daemon keeps its ledger; in a checkout it is beside the configuration.
const DATA: (&str, &str) = ("\ndir = \"data\"\n", "\ndir = \"/var/lib/razao\"\n");

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(std::env::args_os().nth(1).ok_or("packaging DIR: where the files go")?);
    fs::create_dir_all(&dir)?;
    // A page for the whole, and one for each command.
    clap_mangen::generate_to(Arguments::command(), &dir)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Arguments::command(), NAME, &dir)?;
    }
    configuration(&dir)
}

fn configuration(dir: &Path) -> Result<(), Box<dyn Error>> {
    let text = include_str!("../config.toml");
    let (ours, theirs) = DATA;
    if text.matches(ours).count() != 1 {
        return Err("config.toml no longer says where the data lies in the one line that is replaced".into());
    }
    fs::write(dir.join("config.toml"), text.replace(ours, theirs))?;
    Ok(())
}
