//! Reads one table of the tree: takes each key that is known, notes what is wrong with it and goes on.

use super::check::Notes;
use super::tree::is_from_env;
use super::units::url;
use config::{Map, Value, ValueKind};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const SHOWN_CHARS_MAX: usize = 40;

pub(super) struct Reader<'n> {
    pub(super) notes: &'n Notes,
    path: String,
    /// What has not been taken yet.
    table: BTreeMap<String, Value>,
    known: Vec<String>,
}

impl<'n> Reader<'n> {
    pub(super) fn root(tree: Map<String, Value>, notes: &'n Notes) -> Self {
        Reader::new(String::new(), tree, notes)
    }

    fn new(path: String, table: Map<String, Value>, notes: &'n Notes) -> Self {
        Reader { notes, path, table: table.into_iter().collect(), known: Vec::new() }
    }

    /// This table's own path.
    pub(super) fn here(&self) -> &str {
        &self.path
    }

    /// A key's full path.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn wrong(&self, name: &str, what: impl Display) {
        self.notes.wrong(self.key(name), what);
    }

    pub(super) fn warn(&self, name: &str, what: impl Display) {
        self.notes.warn(&self.key(name), what);
    }

    /// Whether the key is there and has not been taken yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.known.push(name.to_owned());
        self.table.remove(name)
    }

    /// All keys that have not been taken, for tables whose keys are free.
    pub(super) fn names(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = self.take(name)?;
        match value.kind {
            ValueKind::String(text) => Some(text),
            other => {
                self.wrong(name, format!("must be text in quotes, not {}", kind(&other)));
                None
            }
        }
    }

    /// Text that is there and not empty.
    pub(super) fn filled(&mut self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Text that means something; `default` where there is none.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        default: T,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let Some(text) = self.text(name) else { return default };
        self.understood(name, &text, parse).unwrap_or(default)
    }

    /// Text that means something, where empty text means that there is nothing.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let given = self.has(name);
        let text = match self.text(name) {
            Some(text) => text,
            None if given => return None,
            None => default.to_owned(),
        };
        if text.is_empty() { None } else { self.understood(name, &text, parse) }
    }

    fn understood<T, E: Display>(
        &self,
        name: &str,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text).map_err(|error| self.wrong(name, format!("{}: {error}", shown(text)))).ok()
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.take(name) else { return default };
        match &value.kind {
            ValueKind::Boolean(flag) => *flag,
            ValueKind::String(text) if is_from_env(&value) && text.eq_ignore_ascii_case("true") => true,
            ValueKind::String(text) if is_from_env(&value) && text.eq_ignore_ascii_case("false") => false,
            other => {
                self.wrong(name, format!("must be true or false, not {}", kind(other)));
                default
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let Some(value) = self.take(name) else { return default };
        let number = match &value.kind {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) if is_from_env(&value) => text.parse().ok(),
            _ => None,
        };
        let fit = number.and_then(|number| u32::try_from(number).ok()).filter(|fit| range.contains(fit));
        fit.unwrap_or_else(|| {
            let (from, to) = (range.start(), range.end());
            let found = number.map_or_else(|| kind(&value.kind).to_owned(), |number| number.to_string());
            self.wrong(name, format!("must be a whole number from {from} to {to}, not {found}"));
            default
        })
    }

    /// A list of texts; from the environment, text with commas.
    pub(super) fn list<T, E: Display>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let from_env = is_from_env(&value);
        let items = match value.kind {
            ValueKind::Array(items) => items,
            ValueKind::String(text) if from_env => split(&text),
            other => {
                self.wrong(name, format!("must be a list of texts, not {}", kind(&other)));
                Vec::new()
            }
        };
        let mut all = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let name = format!("{name}[{index}]");
            match item.kind {
                ValueKind::String(text) => all.extend(self.understood(&name, &text, &parse)),
                other => self.wrong(&name, format!("must be text in quotes, not {}", kind(&other))),
            }
        }
        all
    }

    /// A path, resolved against the directory of `config.toml`; none if empty.
    pub(super) fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.filled(name).map(|text| self.notes.resolve(&text))
    }

    /// An http or https address; none if empty. It is not repeated: some people write passwords into addresses.
    pub(super) fn address(&mut self, name: &str) -> Option<String> {
        let text = self.filled(name)?;
        url(&text).map_err(|error| self.wrong(name, error)).ok()
    }

    /// A table within this one; an absent one reads like an empty one.
    pub(super) fn section<T>(&mut self, name: &str, read: impl FnOnce(&mut Reader<'n>) -> T) -> T {
        let table = match self.take(name).map(|value| value.kind) {
            None => Map::new(),
            Some(ValueKind::Table(table)) => table,
            Some(other) => {
                self.wrong(name, format!("must be a section, [{}], not {}", self.key(name), kind(&other)));
                Map::new()
            }
        };
        Reader::new(self.key(name), table, self.notes).whole(read)
    }

    /// Tables of a list of tables.
    pub(super) fn each<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Reader<'n>) -> Option<T>,
    ) -> Vec<T> {
        let section = format!("[[{}]]", self.key(name));
        let items = match self.take(name).map(|value| value.kind) {
            None => Vec::new(),
            Some(ValueKind::Array(items)) => items,
            Some(other) => {
                self.wrong(name, format!("must be sections, {section}, not {}", kind(&other)));
                Vec::new()
            }
        };
        let mut all = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.key(name));
            match item.kind {
                ValueKind::Table(table) => all.extend(Reader::new(path, table, self.notes).whole(&mut read)),
                other => {
                    self.notes.wrong(path, format!("must be a section, {section}, not {}", kind(&other)))
                }
            }
        }
        all
    }

    /// Reads, then names the keys that nobody asked for.
    pub(super) fn whole<T>(mut self, read: impl FnOnce(&mut Reader<'n>) -> T) -> T {
        let result = read(&mut self);
        for name in self.table.keys() {
            self.wrong(name, format!("unknown key; known here: {}", self.known.join(", ")));
        }
        result
    }

    /// Drops what has not been taken, where what is known here is not known.
    pub(super) fn leave(&mut self) {
        self.table.clear();
    }
}

/// A list as the environment writes it.
fn split(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::new(None, item)).collect()
}

/// A value as far as it may be repeated: keys whose values are secret never come here.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{dots}")
}

/// What a value is, without saying it: it may be a secret on the wrong key.
pub(super) fn kind(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a whole number",
        ValueKind::Float(_) => "a number with decimals",
        ValueKind::String(_) => "text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
    }
}
