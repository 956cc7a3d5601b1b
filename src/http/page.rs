//! Lists: `limit`, `cursor`, and the answer's `next_cursor`. A cursor is opaque to its reader.

use super::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Listed<T> {
    pub data: Vec<T>,
    /// Pass it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// How many things a page holds.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::parameter(format!("limit is 1 to {LIMIT_MAX}"))),
    }
}

/// A query string as a type; unknown parameters are errors, so that a misspelt filter does not answer everything.
pub fn query<T: DeserializeOwned>(request: &actix_web::HttpRequest) -> Result<T, Problem> {
    let parsed = actix_web::web::Query::<T>::from_query(request.query_string());
    parsed.map(actix_web::web::Query::into_inner).map_err(|error| Problem::parameter(error.to_string()))
}

/// A cursor from what a page ended at.
pub fn cursor(parts: &[&str]) -> String {
    let text = parts.join("\0");
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What a page ended at.
pub fn parts(cursor: &str) -> Result<Vec<String>, Problem> {
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    let byte = |pair: &[u8]| -> Option<u8> { u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok() };
    if cursor.is_empty() || !cursor.len().is_multiple_of(2) {
        return Err(invalid());
    }
    let bytes: Option<Vec<u8>> = cursor.as_bytes().chunks(2).map(byte).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    Ok(text.split('\0').map(str::to_owned).collect())
}

/// A number that a page ended at.
pub fn number(cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    let parts = parts(cursor)?;
    parts.first().and_then(|part| part.parse().ok()).map(Some).ok_or_else(invalid)
}
