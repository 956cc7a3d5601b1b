//! From the file's text and the environment to one tree of values.

use super::check::Notes;
use config::{ConfigError, File, FileFormat, Map, Source, Value};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

const PREFIX: &str = "RAZAO__";
const SEPARATOR: &str = "__";
/// Entries of a list that the environment may name; one variable must not make a list of billions.
const INDEX_DIGITS_MAX: usize = 3;
/// What values from the environment say they come from; they are text, whatever their key wants.
const ORIGIN: &str = "the environment";

/// The tree; none if it would make no sense to look any further.
pub(super) fn read(
    path: &Path,
    env: impl Iterator<Item = (String, String)>,
    notes: &Notes,
) -> Option<Map<String, Value>> {
    let text = text(path, notes)?;
    let mut builder = config::Config::builder().add_source(File::from_str(&text, FileFormat::Toml));
    for (key, value) in overlay(env, notes) {
        let value = Value::new(Some(&ORIGIN.to_owned()), value);
        builder = builder.set_override(key, value).map_err(|error| unread(path, &error, notes)).ok()?;
    }
    let built = builder.build().and_then(|config| config.collect());
    built.map_err(|error| unread(path, &error, notes)).ok()
}

/// Whether a value is text only because the environment knows nothing else.
pub(super) fn is_from_env(value: &Value) -> bool {
    value.origin() == Some(ORIGIN)
}

fn text(path: &Path, notes: &Notes) -> Option<String> {
    let what = match std::fs::read_to_string(path) {
        Ok(text) => return Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            "there is no such file; create one or pass --config FILE".to_owned()
        }
        Err(error) => format!("cannot be read: {error}"),
    };
    notes.wrong(path.display().to_string(), what);
    None
}

/// The variables that are ours, by the key they name.
fn overlay(env: impl Iterator<Item = (String, String)>, notes: &Notes) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    for (name, value) in env.filter(|(name, _)| name.starts_with(PREFIX)) {
        match key(&name) {
            None => notes.wrong(name, "names no key; write RAZAO__SECTION__KEY, or RAZAO__ACCOUNTS__0__KEY"),
            Some(_) if value.contains('\u{fffd}') => notes.wrong(name, "is not UTF-8"),
            Some(key) => drop(named.insert(key, value)),
        }
    }
    // Setting both `a` and `a.b` would take away what the file says of `a`.
    let is_section = |key: &str| named.keys().any(|other: &String| begins_with(other, key));
    for section in named.keys().filter(|key| is_section(key)) {
        notes.wrong(section.as_str(), format!("is set by {ORIGIN}, and so is a key within it"));
    }
    named
}

fn begins_with(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// `RAZAO__ACCOUNTS__0__CALLBACK_KEY` names `accounts[0].callback_key`.
fn key(name: &str) -> Option<String> {
    let mut key = String::new();
    for part in name.strip_prefix(PREFIX)?.split(SEPARATOR) {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if digits && !key.is_empty() && part.len() <= INDEX_DIGITS_MAX {
            key.push_str(&format!("[{part}]"));
        } else if !digits && !part.is_empty() && part.bytes().all(word) {
            let dot = if key.is_empty() { "" } else { "." };
            key.push_str(&format!("{dot}{}", part.to_ascii_lowercase()));
        } else {
            return None;
        }
    }
    key.contains(['.', '[']).then_some(key)
}

fn unread(path: &Path, error: &ConfigError, notes: &Notes) {
    let what = match error {
        ConfigError::FileParse { cause, .. } => without_quotation(&cause.to_string()),
        _ => error.to_string(),
    };
    notes.wrong(path.display().to_string(), what);
}

/// The parser quotes the line it stumbles over, and that line may hold a secret: only the place and the words stay.
fn without_quotation(shown: &str) -> String {
    let mut lines = shown.lines();
    let first = lines.next().unwrap_or_default();
    match first.strip_prefix("TOML parse error at ") {
        None => first.to_owned(),
        Some(place) => format!("is not TOML at {place}: {}", lines.skip(3).collect::<Vec<_>>().join(" ")),
    }
}
