//! The bodies about webhooks: every field checked, every problem named at once. What leads a request astray (another
//! host, a second signature, a line break in a header) is refused here.

use super::problem::{FieldProblem, Problem};
use crate::auth::Accounts;
use crate::domain::ids::{AccountId, Seq};
use crate::domain::receipt::Private;
use crate::domain::webhook::{Pattern, Reach};
use crate::ledger::webhooks::Change;
use crate::wire::json::Json;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

const DESCRIPTION_CHARS_MAX: usize = 500;
const AUTHORIZATION_CHARS_MAX: usize = 4096;
const PATTERNS_MAX: usize = 50;
const ACCOUNTS_MAX: usize = 500;
const HEADERS_MAX: usize = 20;
const HEADERS_BYTES_MAX: usize = 8192;
/// Headers that the request has already, or that speak to the connection.
const TAKEN: [&str; 20] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const TAKEN_PREFIXES: [&str; 4] = ["webhook-", "x-forwarded-", "sec-", "proxy-"];

/// What somebody subscribes to. (Documentation: [`created`] reads it.)
#[derive(Serialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(deny_unknown_fields)]
pub struct NewWebhookBody {
    /// Where events are posted: https, and not in a private network, unless the configuration allows it.
    #[schema(example = "https://shop.example.com/webhooks")]
    pub target: String,
    /// Types of events: `order.paid`, `order.*`, `*` (all, if absent).
    pub events: Option<Vec<String>>,
    /// Sent in the Authorization header of each request; never shown again.
    pub authorization: Option<String>,
    /// Accounts it is told of, within the token's (all of those, if absent).
    pub accounts: Option<Vec<String>>,
    /// Further headers of each request.
    pub headers: Option<BTreeMap<String, String>>,
    /// The seq of the first entry it is told of; the next one, if absent.
    #[schema(format = "uint64")]
    pub from: Option<u64>,
    pub description: Option<String>,
}

/// What changes; what is absent stays, and null takes `authorization`, `headers` or `description` away. (Documentation:
/// [`changed`] reads it.)
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookChange)]
#[serde(deny_unknown_fields)]
pub struct WebhookChangeBody {
    #[schema(nullable = false)]
    pub target: Option<String>,
    #[schema(nullable = false)]
    pub events: Option<Vec<String>>,
    pub authorization: Option<String>,
    #[schema(nullable = false)]
    pub accounts: Option<Vec<String>>,
    pub headers: Option<BTreeMap<String, String>>,
    pub description: Option<String>,
    /// enabled or disabled
    #[schema(nullable = false)]
    pub status: Option<String>,
}

/// Which entries' events are delivered again. (Documentation: [`replay`] reads it.)
#[derive(Serialize, ToSchema)]
#[schema(as = ReplayRequest)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// The first seq.
    #[schema(format = "uint64")]
    pub from: u64,
    /// The last seq, inclusive.
    #[schema(format = "uint64")]
    pub to: u64,
}

/// What a body about a webhook may name.
pub struct Bounds<'a> {
    pub visible: &'a Accounts,
    pub is_configured: &'a dyn Fn(&AccountId) -> bool,
}

/// A subscription as it was asked for.
#[derive(Debug)]
pub struct Wanted {
    pub target: String,
    pub change: Change,
    pub from: Option<Seq>,
}

/// A new subscription; `target` is only known to be text.
pub fn created(json: &Json, bounds: &Bounds<'_>) -> Result<Wanted, Problem> {
    let mut reader = Fields { json, problems: Vec::new() };
    reader.unknown(&["target", "events", "authorization", "accounts", "headers", "from", "description"]);
    let change = reader.change(bounds);
    if json.get("target").is_none() {
        reader.problem("target", "is required");
    }
    let from = reader.seq("from");
    match (change.target.clone(), reader.problems.is_empty()) {
        (Some(target), true) => Ok(Wanted { target, change, from }),
        (_, _) => Err(Problem::fields(reader.problems)),
    }
}

/// What changes of a subscription.
pub fn changed(json: &Json, bounds: &Bounds<'_>) -> Result<Change, Problem> {
    let mut reader = Fields { json, problems: Vec::new() };
    reader.unknown(&["target", "events", "authorization", "accounts", "headers", "description", "status"]);
    for field in ["target", "events", "accounts", "status"] {
        if reader.is_null(field) {
            reader.problem(field, "cannot be null");
        }
    }
    let mut change = reader.change(bounds);
    change.enabled = match json.get("status").map(Json::as_str) {
        None => None,
        Some(Some("enabled")) => Some(true),
        Some(Some("disabled")) => Some(false),
        Some(_) => {
            reader.problem("status", "is set to enabled or disabled");
            None
        }
    };
    if reader.problems.is_empty() { Ok(change) } else { Err(Problem::fields(reader.problems)) }
}

/// A stretch of the ledger, both ends inclusive.
pub fn replay(json: &Json) -> Result<(Seq, Seq), Problem> {
    let mut reader = Fields { json, problems: Vec::new() };
    reader.unknown(&["from", "to"]);
    let (from, to) = (reader.seq("from"), reader.seq("to"));
    for field in ["from", "to"] {
        if json.get(field).is_none() {
            reader.problem(field, "is required");
        }
    }
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        reader.problem("to", "lies before `from`");
    }
    match (from, to, reader.problems.is_empty()) {
        (Some(from), Some(to), true) => Ok((from, to)),
        (_, _, _) => Err(Problem::fields(reader.problems)),
    }
}

struct Fields<'a> {
    json: &'a Json,
    problems: Vec<FieldProblem>,
}

impl Fields<'_> {
    fn problem(&mut self, field: &str, detail: impl Into<String>) {
        let field = field.chars().take(64).collect();
        self.problems.push(FieldProblem { field, detail: detail.into() });
    }

    fn unknown(&mut self, known: &[&str]) {
        if let Json::Object(fields) = self.json {
            for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
                self.problem(name, "not a field here");
            }
        }
    }

    fn is_null(&self, field: &str) -> bool {
        matches!(self.json, Json::Object(fields) if fields.get(field) == Some(&Json::Null))
    }

    /// A value that null takes away: absent, taken away, or there.
    fn removable<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.is_null(field) { Some(None) } else { read(self).map(Some) }
    }

    fn change(&mut self, bounds: &Bounds<'_>) -> Change {
        Change {
            target: self.text("target", usize::MAX),
            description: self.removable("description", |it| it.text("description", DESCRIPTION_CHARS_MAX)),
            events: self.events(),
            accounts: self.accounts(bounds),
            headers: self.removable("headers", Self::headers).map(Option::unwrap_or_default),
            authorization: self.removable("authorization", Self::authorization),
            enabled: None,
            passed: None,
        }
    }

    fn text(&mut self, field: &str, chars_max: usize) -> Option<String> {
        let value = self.json.get(field)?;
        let text = value.as_str().filter(|text| text.chars().count() <= chars_max);
        let text = text.filter(|text| !text.chars().any(char::is_control));
        if text.is_none() {
            self.problem(
                field,
                format!("is text of at most {chars_max} characters, without control characters"),
            );
        }
        text.map(str::to_owned)
    }

    fn seq(&mut self, field: &str) -> Option<Seq> {
        let value = self.json.get(field)?;
        let seq = match value {
            Json::Number(literal) => literal.parse().ok().filter(|seq| *seq > 0).map(Seq),
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
        };
        if seq.is_none() {
            self.problem(field, "is the seq of an entry, from 1");
        }
        seq
    }

    /// A list of different texts, one at least.
    fn texts(&mut self, field: &str, most: usize) -> Option<BTreeSet<String>> {
        let value = self.json.get(field)?;
        let texts: Option<BTreeSet<String>> =
            value.items().iter().map(|item| item.as_str().map(str::to_owned)).collect();
        let texts = texts.filter(|texts| (1..=most).contains(&texts.len()));
        if texts.is_none() {
            self.problem(field, format!("is a list of 1 to {most} texts"));
        }
        texts
    }

    fn events(&mut self) -> Option<Vec<Pattern>> {
        let texts = self.texts("events", PATTERNS_MAX)?;
        let mut patterns = Vec::new();
        for text in texts {
            match Pattern::parse(&text) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let shown: String = text.chars().take(64).collect();
                    self.problem(
                        "events",
                        format!("{shown:?} is no type of event; order.paid, order.* and * are"),
                    );
                }
            }
        }
        Some(patterns)
    }

    fn accounts(&mut self, bounds: &Bounds<'_>) -> Option<Reach> {
        let texts = self.texts("accounts", ACCOUNTS_MAX)?;
        if texts.len() == 1 && texts.contains("*") {
            return Some(reach(bounds.visible));
        }
        let mut accounts = BTreeSet::new();
        for text in texts {
            let account = AccountId::parse(&text).ok();
            let seen = account.filter(|id| bounds.visible.sees(id) && (bounds.is_configured)(id));
            if seen.is_none() {
                let shown: String = text.chars().take(64).collect();
                self.problem("accounts", format!("there is no account {shown:?}"));
            }
            accounts.extend(seen);
        }
        Some(Reach::Only(accounts))
    }

    fn authorization(&mut self) -> Option<Private> {
        let value = self.json.get("authorization")?;
        let text =
            value.as_str().filter(|text| is_header_value(text) && text.len() <= AUTHORIZATION_CHARS_MAX);
        if text.is_none() {
            self.problem("authorization", "is a header's value: visible ASCII, at most 4096 characters");
        }
        text.map(|text| Private(text.as_bytes().to_vec()))
    }

    fn headers(&mut self) -> Option<Vec<(String, String)>> {
        let value = self.json.get("headers")?;
        let Json::Object(fields) = value else {
            self.problem("headers", "is an object of names and values");
            return None;
        };
        let mut headers = BTreeMap::new();
        for (name, value) in fields {
            let name = name.to_ascii_lowercase();
            match (header_problem(&name), value.as_str().filter(|value| is_header_value(value))) {
                (Some(problem), _) => {
                    let shown: String = name.chars().take(64).collect();
                    self.problem("headers", format!("{shown:?} {problem}"));
                }
                (None, None) => {
                    self.problem("headers", format!("the value of {name} is visible ASCII, not empty"))
                }
                (None, Some(value)) => {
                    headers.insert(name, value.to_owned());
                }
            }
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if fields.len() > HEADERS_MAX || bytes > HEADERS_BYTES_MAX {
            self.problem(
                "headers",
                format!("are at most {HEADERS_MAX}, of {HEADERS_BYTES_MAX} bytes together"),
            );
        }
        Some(headers.into_iter().collect())
    }
}

/// What is wrong with the name of a further header, in lower case.
fn header_problem(name: &str) -> Option<&'static str> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(token) {
        return Some("is no header's name");
    }
    let taken = TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    taken.then_some("cannot be set; the request has it already, or it speaks to the connection")
}

fn is_header_value(text: &str) -> bool {
    let visible = |b: u8| (b' '..=b'~').contains(&b);
    !text.is_empty() && text.bytes().all(visible) && text.trim() == text
}

/// All that a token sees.
pub fn reach(visible: &Accounts) -> Reach {
    match visible {
        Accounts::All => Reach::All,
        Accounts::Only(accounts) => Reach::Only(accounts.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Wanted, String> {
        let json = Json::parse(json.as_bytes()).unwrap();
        let bounds = Bounds { visible: &Accounts::All, is_configured: &|_| true };
        created(&json, &bounds).map_err(|problem| problem.detail)
    }

    #[test]
    fn headers_that_lead_astray_are_refused() {
        let ok = r#"{"target":"https://a.example","headers":{"X-Shop":"é"}}"#;
        assert!(read(&ok.replace('é', "loja 7")).is_ok());
        for header in [
            r#""X-A":"b\r\nHost: evil""#,
            r#""X-A":"b\nc""#,
            r#""X-A":"b\u0000""#,
            r#""X-A":"é""#,
            r#""X-A":"""#,
            r#""X-A":7"#,
            r#""X-A\r\nHost":"evil""#,
            r#""X A":"b""#,
            r#""":"b""#,
            r#""Host":"evil""#,
            r#""hOsT":"evil""#,
            r#""Content-Length":"0""#,
            r#""Transfer-Encoding":"chunked""#,
            r#""Connection":"close""#,
            r#""Authorization":"Bearer x""#,
            r#""Webhook-Signature":"v1,x""#,
            r#""webhook-anything":"x""#,
            r#""X-Forwarded-For":"1.1.1.1""#,
            r#""Content-Type":"text/plain""#,
        ] {
            let body = format!("{{\"target\":\"https://a.example\",\"headers\":{{{header}}}}}");
            assert!(read(&body).unwrap_err().contains("headers"), "{header}");
        }
        for authorization in [r#""Bearer a\r\nX: y""#, r#""é""#, r#""""#, "7"] {
            let body = format!("{{\"target\":\"https://a.example\",\"authorization\":{authorization}}}");
            assert!(read(&body).unwrap_err().contains("authorization"), "{authorization}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let detail = read(r#"{"events":["order.payed"],"accounts":[],"from":0,"nonsense":1,"headers":[]}"#)
            .unwrap_err();
        for field in ["target", "events", "accounts", "from", "nonsense", "headers"] {
            assert!(detail.contains(field), "{field}: {detail}");
        }
    }
}
