//! The house rules: which room may import which, which rooms may do I/O, and that every file says what it knows.
//!
//! A new arrow between rooms is a decision: it goes into ARCHITECTURE.md and into the table here in the same commit.

// A test file: a panic is its report.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor; each may import only rooms of lower floors (and itself).
const FLOORS: &[(u8, &[&str])] = &[
    (1, &["domain", "faults", "meter", "swap"]),
    (2, &["store", "wire", "schedule", "views", "clock"]),
    (3, &["ledger", "net", "providers"]),
    (4, &["backup", "config", "sandbox", "export"]),
    (5, &["ingest", "delivery", "auth", "telemetry"]),
    (6, &["http"]),
    (7, &["daemon"]),
    (8, &["cli"]),
    (9, &["main", "lib"]),
];

/// No I/O, no clock, no dice, no order that depends on hashing.
const PURE: &[&str] = &["domain", "wire", "providers", "schedule", "views", "sandbox"];
const NOT_IN_PURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::io",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "HashMap",
    "HashSet",
    "tokio",
    "actix",
    "reqwest",
    "sled::",
    "getrandom",
    "std::env",
];

/// I/O only through the engine; time and dice are arguments.
const DETERMINISTIC: &[&str] = &["store", "ledger", "ingest", "delivery", "export"];
const RIM_WITHIN: &[&str] = &[
    "store/sled.rs",
    "store/directory.rs",
    "store/journal.rs",
    "store/journaled.rs",
    "store/memory.rs",
    "store/slots.rs",
    "store/vault.rs",
    "store/seal_key.rs",
    "ledger/writer.rs",
    "ingest/runner.rs",
    "ingest/runs.rs",
    "delivery/runner.rs",
    "sandbox/server.rs",
];
const NOT_IN_DETERMINISTIC: &[&str] = &[
    "std::fs",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "HashMap",
    "HashSet",
    "tokio::time",
    "reqwest",
    "getrandom",
];

/// What only these files may name.
const ONLY: &[(&str, &[&str])] = &[
    ("sled::Db", &["store/sled.rs"]),
    ("sled::Config", &["store/sled.rs"]),
    ("bincode::encode", &["store/codec.rs"]),
    ("bincode::decode", &["store/codec.rs"]),
    ("reqwest", &["net/client.rs", "net/post.rs"]),
    ("SystemTime", &["clock.rs"]),
    ("getrandom", &["clock.rs"]),
    ("aws_lc_rs::aead", &["store/sealing.rs"]),
    // These panic where nobody reads any more; cli/mod.rs has what does not.
    ("println!", &[]),
    ("print!", &[]),
];

/// A room that no file of another one may import.
const NEVER: &[(&str, &str)] = &[
    ("providers", "store"),
    ("providers", "ledger"),
    ("providers", "net"),
    ("sandbox", "providers"),
    ("domain", "store"),
    ("views", "store"),
];

/// Crates that only these rooms may name.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "daemon", "cli", "sandbox"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli", "daemon"]),
];

struct Source {
    /// Below `src/`, with forward slashes.
    path: String,
    room: String,
    /// Without comments and without `#[cfg(test)]` modules at the end.
    code: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut |path| {
        if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            let room = below.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(path).unwrap();
            let production = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code = production.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push(Source { path: below, room, code: code.collect::<Vec<_>>().join("\n"), text });
        }
    });
    assert!(found.len() > 60, "only {} files were found", found.len());
    found
}

fn walk(dir: &Path, visit: &mut impl FnMut(&PathBuf)) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.ends_with("_tests.rs") || path.contains("/tests/")
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(floor, _)| *floor)
}

/// The rooms that a file names as `crate::room`, also within braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for piece in code.split("crate::").skip(1) {
        if let Some(group) = piece.strip_prefix('{') {
            let inside = group.split('}').next().unwrap_or("");
            rooms.extend(inside.split(',').map(|name| name.trim().split("::").next().unwrap().to_owned()));
        } else {
            rooms.insert(piece.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned());
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = floor(&source.room) else {
            wrong.push(format!("{}: room {} stands on no floor", source.path, source.room));
            continue;
        };
        for room in imports(&source.code).into_iter().filter(|room| *room != source.room) {
            match floor(&room) {
                Some(other) if other < own => {}
                Some(other) => {
                    wrong.push(format!("{} (floor {own}) imports {room} (floor {other})", source.path))
                }
                None => wrong.push(format!("{} imports {room}, which stands on no floor", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nevers() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.path)) {
        for (room, never) in NEVER {
            if source.room == *room && imports(&source.code).contains(*never) {
                wrong.push(format!("{} imports {never}", source.path));
            }
        }
        for (word, files) in ONLY {
            if source.code.contains(word) && !files.contains(&source.path.as_str()) {
                wrong.push(format!("{} names {word}, which only {files:?} may", source.path));
            }
        }
        for (name, rooms) in CRATES {
            if source.code.contains(&format!("{name}::")) && !rooms.contains(&source.room.as_str()) {
                wrong.push(format!("{} names {name}, which only {rooms:?} may", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_are_pure_and_deterministic_ones_deterministic() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.path)) {
        let room = source.room.as_str();
        let rim = RIM_WITHIN.contains(&source.path.as_str());
        let banned = if PURE.contains(&room) && !rim {
            NOT_IN_PURE
        } else if DETERMINISTIC.contains(&room) && !rim {
            NOT_IN_DETERMINISTIC
        } else {
            continue;
        };
        let named = banned.iter().filter(|word| source.code.contains(**word));
        wrong.extend(named.map(|word| format!("{} names {word}", source.path)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_knows() {
    let silent: Vec<_> =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

#[test]
fn providers_are_named_in_their_file_and_the_registry_alone() {
    let ids: Vec<&str> =
        razao::providers::registry::PROVIDERS.iter().map(|provider| provider.spec().id).collect();
    assert!(!ids.is_empty());
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_test(&source.path)) {
        for id in &ids {
            let own = source.path == format!("providers/{id}.rs")
                || source.path.starts_with(&format!("providers/{id}/"));
            let own = own || source.path == format!("sandbox/{id}.rs");
            let registered = ["providers/registry.rs", "providers/mod.rs"].contains(&source.path.as_str());
            if source.code.contains(&format!("\"{id}\"")) && !own && !registered {
                wrong.push(format!("{} names {id}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn money_has_no_float() {
    let floats: Vec<_> = sources()
        .into_iter()
        .filter(|source| {
            source
                .code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "f64" || word == "f32")
        })
        .map(|source| source.path)
        .collect();
    assert!(floats.is_empty(), "{floats:?}");
}

/// Names what has grown long, and fails on nothing.
#[test]
fn long_files_are_named() {
    let mut lines: BTreeMap<usize, String> = BTreeMap::new();
    for source in sources() {
        let count = source.text.lines().count();
        if count > 400 {
            lines.insert(count, source.path);
        }
    }
    lines
        .iter()
        .rev()
        .for_each(|(count, path)| println!("{path} has {count} lines: a room that may want a wall"));
}
