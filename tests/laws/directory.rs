//! The data directory: who may open it, and what it refuses. Real sled, real files.

use crate::books::{Ledger, lives};
use razao::daemon;
use razao::ledger::verify::verify;
use razao::store::directory::{self, OpenError};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

/// Writes the first `count` commands of the lives, and notes the head as the daemon does.
fn write(dir: &Path, skip: usize, count: usize) {
    let (engine, _) = daemon::open(dir).unwrap();
    let ledger = Ledger::start(Arc::clone(&engine));
    lives().into_iter().skip(skip).take(count).for_each(|command| drop(ledger.submit(command).unwrap()));
    let last = ledger.reader.published();
    directory::note_head(dir, &last.database, last.seq, last.hash).unwrap();
    ledger.stop();
}

#[test]
fn it_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 20);
    write(dir.path(), 20, 20);
    let (engine, books) = daemon::open(dir.path()).unwrap();
    let verified = verify(&*engine, &mut |_, _| {}).unwrap();
    assert_eq!(verified.head, books.meta.hash);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let held = daemon::open(dir.path()).unwrap();
    assert!(matches!(daemon::open(dir.path()), Err(OpenError::Locked(_))));
    drop(held);
    daemon::open(dir.path()).unwrap();
}

#[test]
fn a_cut_tail_is_seen_by_the_noted_head() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 20);
    let earlier = tempfile::tempdir().unwrap();
    copy(&dir.path().join("db"), earlier.path());
    write(dir.path(), 20, 20);
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    copy(earlier.path(), &dir.path().join("db"));
    let refused = daemon::open(dir.path()).map(drop);
    assert!(matches!(refused, Err(OpenError::Lost { .. })), "{refused:?}");
}

#[test]
fn a_deleted_database_is_not_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 5);
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let refused = daemon::open(dir.path()).map(drop);
    assert!(matches!(refused, Err(OpenError::Lost { .. })), "{refused:?}");
}

#[test]
fn another_database_is_not_this_one() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(one.path(), 0, 20);
    write(other.path(), 0, 20);
    fs::copy(other.path().join("head"), one.path().join("head")).unwrap();
    let refused = daemon::open(one.path()).map(drop);
    assert!(matches!(refused, Err(OpenError::Lost { .. })), "{refused:?}");
}

#[test]
fn leftovers_of_a_killed_snapshot_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 20);
    fs::write(dir.path().join("db/snap.0000000000000001.generating"), b"torn").unwrap();
    daemon::open(dir.path()).unwrap();
}

#[test]
fn a_truncated_database_is_damage_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 30);
    let file = dir.path().join("db/db");
    let bytes = fs::metadata(&file).unwrap().len();
    for part in [3, 2] {
        fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(bytes / part * (part - 1) + 13)
            .unwrap();
        match daemon::open(dir.path()) {
            Err(OpenError::Damaged { .. } | OpenError::Lost { .. } | OpenError::Unusable { .. }) => {}
            Err(other) => panic!("{other}"),
            // What was cut off may have been empty space: then all of it must still be there.
            Ok((engine, _)) => drop(verify(&*engine, &mut |_, _| {}).unwrap()),
        }
    }
}

/// Files that are empty, cut or hold something else: whatever happened to one of them, nothing panics, nothing starts as
/// if it were new, and the message says how to go on.
#[test]
fn a_damaged_file_is_told_with_the_way_back() {
    let garbage = vec![0xA7; 5_000];
    let cases: [(&str, Option<&[u8]>); 10] = [
        ("db/db", Some(b"")),
        ("db/db", Some(&garbage)),
        ("db/db", None),
        ("db/conf", Some(&garbage)),
        ("db/journal.0", None),
        ("db/journal.1", None),
        ("head", Some(&garbage)),
        ("slots", Some(b"")),
        ("slots", Some(&garbage)),
        ("slots", None),
    ];
    let whole = tempfile::tempdir().unwrap();
    // Twice: the journal of a first run holds all there is, and would bring a lost database back.
    write(whole.path(), 0, 10);
    write(whole.path(), 10, 10);
    for (name, content) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        match content {
            Some(bytes) => fs::write(dir.path().join(name), bytes).unwrap(),
            None => fs::remove_file(dir.path().join(name)).unwrap(),
        }
        let shown = format!("{name} of {:?} bytes", content.map(<[u8]>::len));
        let told = daemon::open(dir.path()).map(drop).expect_err(&shown).to_string();
        assert!(told.contains("razao restore --from DIR --data DIR"), "{shown}: {told}");
        assert!(!told.contains('\n') && !told.contains("panicked"), "{shown}: {told}");
    }
}

#[test]
fn the_keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, 5);
    let mode = fs::metadata(dir.path().join("slots")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn data_of_a_newer_version_is_refused() {
    use razao::store::engine::Batch;
    use razao::store::meta;
    let dir = tempfile::tempdir().unwrap();
    let (engine, books) = daemon::open(dir.path()).unwrap();
    let mut newer = books.meta.clone();
    newer.data_version += 1;
    let mut batch = Batch::default();
    meta::put(&mut batch, &newer).unwrap();
    engine.apply(&batch).unwrap();
    engine.sync().unwrap();
    drop(engine);
    // As often as it is tried: nothing is taken back to what this program knows.
    for _ in 0..2 {
        let error = daemon::open(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Newer { .. }) && !error.is_damage(), "{error}");
        let said = error.to_string();
        assert!(said.contains("newer version of razao") && said.contains("upgrade this program"), "{said}");
        assert!(said.contains(&newer.data_version.to_string()) && !said.contains('\n'), "{said}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let refused = daemon::open(&file.join("data")).map(drop);
    assert!(matches!(refused, Err(OpenError::Unusable { .. })), "{refused:?}");
}
