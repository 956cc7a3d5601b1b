//! Parse, run, exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// The database copies a leaf for every change, so much of a callback's time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    razao::cli::run()
}
