//! JSON with exact numbers: a number is its literal text. Depth and keys are bounded; the last of equal keys wins.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

const DEPTH_MAX: usize = 32;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotJson {
    #[error("not JSON: {0}")]
    Syntax(String),
    #[error("JSON nested deeper than {DEPTH_MAX}")]
    TooDeep,
}

impl Json {
    pub fn parse(bytes: &[u8]) -> Result<Json, NotJson> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotJson::Syntax("not UTF-8".to_owned()))?;
        let raw: &RawValue = serde_json::from_str(text).map_err(syntax)?;
        Json::from_raw(raw, 0)
    }

    fn from_raw(raw: &RawValue, depth: usize) -> Result<Json, NotJson> {
        if depth > DEPTH_MAX {
            return Err(NotJson::TooDeep);
        }
        let text = raw.get().trim();
        match text.as_bytes().first() {
            Some(b'{') => {
                let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(syntax)?;
                let read = |(key, raw)| Ok((key, Json::from_raw(raw, depth + 1)?));
                Ok(Json::Object(fields.into_iter().map(read).collect::<Result<_, NotJson>>()?))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
                let read = |raw| Json::from_raw(raw, depth + 1);
                Ok(Json::Array(items.into_iter().map(read).collect::<Result<_, NotJson>>()?))
            }
            Some(b'"') => Ok(Json::String(serde_json::from_str(text).map_err(syntax)?)),
            Some(b't') => Ok(Json::Bool(true)),
            Some(b'f') => Ok(Json::Bool(false)),
            Some(b'n') => Ok(Json::Null),
            Some(_) => Ok(Json::Number(text.to_owned())),
            None => Err(NotJson::Syntax("empty".to_owned())),
        }
    }

    /// A field of an object; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.get(key).filter(|value| **value != Json::Null),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// The text of a string or the literal of a number: ids and amounts come as either.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Json::String(text) | Json::Number(text) => Some(text),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => &[],
        }
    }

    /// The same JSON as text: keys sorted, numbers as they were written, no white space.
    pub fn to_text(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Number(literal) => literal.clone(),
            Json::String(text) => quoted(text),
            Json::Array(items) => {
                let items: Vec<String> = items.iter().map(Json::to_text).collect();
                format!("[{}]", items.join(","))
            }
            Json::Object(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| format!("{}:{}", quoted(key), value.to_text()))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Json::Object(_))
    }
}

// serde_json's messages name line and column and the kind of fault, never the text itself.
fn syntax(error: serde_json::Error) -> NotJson {
    NotJson::Syntax(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let json = Json::parse(br#"{"a":{"b":[3.0900000000000034, 9007199254740993]},"n":null}"#).unwrap();
        let b = json.get("a").and_then(|a| a.get("b")).unwrap().items();
        assert_eq!(b[0].literal(), Some("3.0900000000000034"));
        assert_eq!(b[1].literal(), Some("9007199254740993"));
        assert_eq!(json.get("n"), None);
    }

    #[test]
    fn hostile_input() {
        assert!(matches!(Json::parse(b"{"), Err(NotJson::Syntax(_))));
        assert!(matches!(Json::parse(b""), Err(NotJson::Syntax(_))));
        assert!(matches!(Json::parse(b"{\"a\":\"\xff\"}"), Err(NotJson::Syntax(_))));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(Json::parse(deep.as_bytes()).is_err());
        let bearable = "[".repeat(34) + &"]".repeat(34);
        assert_eq!(Json::parse(bearable.as_bytes()), Err(NotJson::TooDeep));
    }
}
