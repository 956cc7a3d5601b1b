//! A value or a file. Read anew with the whole configuration, so that a reload sees what was rotated.

use super::reader::{Reader, kind};
use config::{Value, ValueKind};
use secrecy::SecretString;
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

const FILE_BYTES_MAX: u64 = 1 << 20;

/// The values of `name`, or of the file that `{name}_file` names, a line each; empty ones do not count.
pub(super) fn values(section: &mut Reader<'_>, name: &str) -> Vec<SecretString> {
    let file_name = format!("{name}_file");
    let inline = section.take(name).map(|value| inline(section, name, value)).unwrap_or_default();
    let (source, texts) = match section.filled(&file_name) {
        None => (name, inline),
        Some(_) if !inline.is_empty() => {
            section.wrong(&file_name, format!("{name} is set too; keep one of them"));
            return Vec::new();
        }
        Some(path) => (file_name.as_str(), lines(section, &file_name, &path)),
    };
    if texts.iter().any(|text| text.chars().any(char::is_control)) {
        section.wrong(source, "holds a control character");
    }
    texts.into_iter().map(SecretString::from).collect()
}

fn inline(section: &Reader<'_>, name: &str, value: Value) -> Vec<String> {
    let items = match value.kind {
        ValueKind::Array(items) => items,
        other => vec![Value::new(None, other)],
    };
    let mut texts = Vec::new();
    for item in items {
        match item.kind {
            ValueKind::String(text) => texts.push(text),
            other => {
                section.wrong(name, format!("must be text in quotes or a list of such, not {}", kind(&other)))
            }
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

fn lines(section: &Reader<'_>, name: &str, path: &str) -> Vec<String> {
    let Some(text) = file(section, name, path) else { return Vec::new() };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The text of the file that a key names, without white space around it.
pub(super) fn file(section: &Reader<'_>, name: &str, path: &str) -> Option<String> {
    let path = section.notes.resolve(path);
    match read(&path) {
        Ok(text) if text.trim().is_empty() => section.wrong(name, format!("{} is empty", path.display())),
        Ok(text) => return Some(text.trim().to_owned()),
        Err(error) => section.wrong(name, format!("{} cannot be read: {error}", path.display())),
    }
    None
}

fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(Error::new(ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8 text"))
}
