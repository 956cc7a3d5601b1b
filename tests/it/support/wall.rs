//! The wall clock of one daemon, moved while it runs: faketime's library reads from a file by how much. The clock that
//! nobody sets goes on as it does.

use super::{Daemon, Setup, tool};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

pub struct Wall {
    dir: TempDir,
    /// Of the daemons that ran under it.
    pids: Vec<u32>,
}

impl Wall {
    /// A clock that is right, for a daemon that is still to be started.
    pub fn hang(setup: Setup) -> Option<(Wall, Setup)> {
        let library = library()?;
        let wall = Wall { dir: tempfile::tempdir().unwrap(), pids: Vec::new() };
        wall.says("+0s");
        let setup = setup
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", wall.file().to_str().unwrap())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1")
            .env("NO_FAKE_STAT", "1");
        Some((wall, setup))
    }

    pub fn start(&mut self, setup: Setup) -> Daemon {
        let daemon = Daemon::with(setup);
        self.pids.push(daemon.pid());
        daemon
    }

    /// By how much it is ahead (`+25h`) or behind (`-2h`), and how fast it goes (`+0s x20`).
    pub fn says(&self, offset: &str) {
        let aside = self.dir.path().join("aside");
        std::fs::write(&aside, offset).unwrap();
        std::fs::rename(&aside, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        // The library takes them away itself where a program ends in order.
        for pid in &self.pids {
            for name in ["faketime_shm", "sem.faketime_sem"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{name}_{pid}"));
            }
        }
    }
}

/// Where faketime's own command loads its library from.
fn library() -> Option<String> {
    let faketime = tool("faketime")?;
    let output = Command::new(faketime).args(["-m", "-f", "+0s", "sh", "-c", "echo $LD_PRELOAD"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    Some(text.trim().to_owned())
}
