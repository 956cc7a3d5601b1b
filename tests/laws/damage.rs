//! Damaged data files: whatever byte is flipped, opening or verifying fails with a message. Never a panic, never a ledger
//! that is silently shorter.

use crate::books::{Ledger, lives};
use razao::daemon;
use razao::ledger::verify::verify;
use razao::store::directory;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// How many bytes of the database are flipped, spread over all of it. `RAZAO_FLIPS=all` flips each.
const FLIPS: usize = 150;

fn data_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![dir.join("head"), dir.join("slots")];
    files.extend(
        fs::read_dir(dir.join("db"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file()),
    );
    files.sort();
    files
}

/// Opens and verifies. `Ok`: all is well, with the head's hash.
fn look(dir: &Path) -> Result<String, String> {
    let (engine, _) = daemon::open(dir).map_err(|error| error.to_string())?;
    verify(&*engine, &mut |_, _| {}).map(|verified| verified.head.to_hex()).map_err(|error| error.to_string())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("db")).unwrap();
    for file in data_files(from) {
        fs::copy(&file, to.join(file.strip_prefix(from).unwrap())).unwrap();
    }
}

#[test]
fn a_flipped_byte_is_told_or_does_not_matter() {
    let whole = tempfile::tempdir().unwrap();
    {
        let (engine, _) = daemon::open(whole.path()).unwrap();
        let ledger = Ledger::start(engine);
        lives().into_iter().for_each(|command| drop(ledger.submit(command).unwrap()));
        let last = ledger.reader.published();
        directory::note_head(whole.path(), &last.database, last.seq, last.hash).unwrap();
        ledger.stop();
    }
    let head = look(whole.path()).unwrap();
    let all = std::env::var("RAZAO_FLIPS").is_ok_and(|value| value == "all");
    let mut told = 0;
    for file in data_files(whole.path()) {
        let bytes = fs::read(&file).unwrap();
        // Most of the database is space that nothing was written to yet.
        let written: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
        let step = if all { 1 } else { (written.len() / FLIPS).max(1) };
        for place in written.into_iter().step_by(step) {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x04;
            fs::write(dir.path().join(file.strip_prefix(whole.path()).unwrap()), damaged).unwrap();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            match catch_unwind(AssertUnwindSafe(|| look(dir.path()))) {
                Ok(Err(message)) => {
                    assert!(message.len() > 20, "{name} byte {place}: {message}");
                    told += 1;
                }
                Ok(Ok(found)) => {
                    assert_eq!(found, head, "{name} byte {place}: another ledger passes as whole")
                }
                Err(_) => panic!("{name} byte {place}: a panic instead of a message"),
            }
        }
    }
    assert!(told > 20, "only {told} flips were told");
}
