//! A small file system in memory, mounted for one test, and filled to the last byte.

use super::skipped;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Mount(PathBuf);

impl Mount {
    /// At a directory that is made for it, of so many megabytes; none where the machine lets nobody mount.
    pub fn at(dir: &Path, megabytes: u64) -> Option<Mount> {
        fs::create_dir(dir).unwrap();
        let mut mount = Command::new("mount");
        let options = format!("size={megabytes}m,mode=0700");
        mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(dir);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            skipped("no tmpfs can be mounted here; as root, or in a user namespace of its own, it can");
            return None;
        }
        Some(Mount(dir.to_owned()))
    }

    pub fn remount(&self, option: &str) -> bool {
        let option = format!("remount,{option}");
        Command::new("mount").args(["-o", &option]).arg(&self.0).status().is_ok_and(|status| status.success())
    }

    pub fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes so many bytes of its space away.
    pub fn take(&self, bytes: u64) {
        let mut file = File::create(self.filler()).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(7), bytes), &mut file).unwrap();
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the daemon may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes into a file until the file system is full to the last byte.
pub fn fill(filler: &Path) {
    let mut file = File::options().create(true).append(true).open(filler).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}
