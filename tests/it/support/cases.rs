//! What providers send, from `tests/fixtures/<provider>/<case>/`: a callback or an order to poll, and the answers to
//! what is then asked, in their order. And what an account of each provider needs to take them.

use super::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Long enough for a configuration to accept it.
pub const CALLBACK_KEY: &str = "key-of-the-callback-url";

/// The names of an account's credentials; each one's value is its name with `-` for `_`. Whether callbacks carry none,
/// so that their address needs a key.
const MERCHANTS: [(&str, &[&str], bool); 5] = [
    ("picpay", &["picpay_token", "seller_token"], false),
    ("gerencianet", &["client_id", "client_secret"], true),
    ("yapay", &["token_account"], true),
    ("genpag", &["webhook_authorization", "seller_id", "access_token", "refresh_token"], false),
    ("fourp", &["api_key"], true),
];

pub struct Case {
    pub provider: String,
    pub name: String,
    /// The account it happens to; its own, unless a test says otherwise.
    pub account: String,
    /// The file's name and content.
    pub callback: Option<(String, Vec<u8>)>,
    /// The order to poll.
    pub known: Option<Value>,
    pub answers: Vec<Answer>,
}

#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl Case {
    pub fn read(provider: &str, name: &str) -> Case {
        let directory = fixtures(provider).join(name);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for file in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}")) {
            let file = file.unwrap();
            files.insert(file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
        }
        let known = files.get("known.json").map(|bytes| serde_json::from_slice(bytes).unwrap());
        let mut answers: Vec<(u32, Answer)> = Vec::new();
        for (file, body) in files.iter().filter(|(file, _)| file.starts_with("answer")) {
            answers.push(answer(file, body));
        }
        answers.sort_by_key(|(nth, _)| *nth);
        Case {
            provider: provider.to_owned(),
            name: name.to_owned(),
            account: format!("{provider}-{name}").replace('_', "-"),
            callback: files.into_iter().find(|(file, _)| file.starts_with("callback.")),
            known,
            answers: answers.into_iter().map(|(_, answer)| answer).collect(),
        }
    }

    /// The names of a provider's cases.
    pub fn names(provider: &str) -> Vec<String> {
        let entries = std::fs::read_dir(fixtures(provider)).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Its table in the configuration, with the stub at `base` as its provider.
    pub fn account_toml(&self, base: &str) -> String {
        let (account, provider) = (&self.account, &self.provider);
        let (_, credentials, keyed) = self.merchant();
        let key = if keyed { format!("callback_key = \"{CALLBACK_KEY}\"\n") } else { String::new() };
        let credentials = credentials.iter().map(|name| format!("{name} = \"{}\"\n", name.replace('_', "-")));
        let credentials: String = credentials.collect();
        format!(
            "[[accounts]]\nid = \"{account}\"\nprovider = \"{provider}\"\nbase_url = \"{base}/{account}\"\n{key}\
             [accounts.credentials]\n{credentials}"
        )
    }

    fn merchant(&self) -> (&'static str, &'static [&'static str], bool) {
        *MERCHANTS.iter().find(|(provider, ..)| *provider == self.provider).unwrap()
    }

    /// Where its callbacks go.
    pub fn path(&self) -> String {
        let (account, (_, _, keyed)) = (&self.account, self.merchant());
        if keyed { format!("/callbacks/{account}/{CALLBACK_KEY}") } else { format!("/callbacks/{account}") }
    }

    /// The callback as the provider posts it.
    pub fn callback_request(&self, client: &Client) -> Option<reqwest::RequestBuilder> {
        let (file, bytes) = self.callback.as_ref()?;
        let kind = match file.rsplit('.').next().unwrap() {
            "http" => return Some(self.http_request(client, bytes)),
            "form" => "application/x-www-form-urlencoded",
            "json" => "application/json",
            other => panic!("{}: what is a callback.{other}?", self.name),
        };
        Some(client.request("POST", &self.path()).header("content-type", kind).body(bytes.clone()))
    }

    /// A file with request line and headers; whoever sends sets `Host` and `Content-Length` itself.
    fn http_request(&self, client: &Client, bytes: &[u8]) -> reqwest::RequestBuilder {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let target = lines.next().unwrap().split(' ').nth(1).unwrap();
        let query = target.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        let mut request = client.request("POST", &format!("{}{query}", self.path()));
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            if !["host", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
                request = request.header(name, value);
            }
        }
        request.body(body.to_owned())
    }
}

fn fixtures(provider: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(provider)
}

/// `answer-2.200.json` is the second, with HTTP status 200.
fn answer(file: &str, body: &[u8]) -> (u32, Answer) {
    let parts: Vec<&str> = file.split('.').collect();
    let [stem, status, kind] = parts[..] else { panic!("{file} is no answer-<nth>.<status>.<kind>") };
    let nth = stem.split_once('-').map_or(1, |(_, nth)| nth.parse().unwrap());
    let content_type = match kind {
        "json" => "application/json; charset=utf-8",
        "html" => "text/html",
        "xml" => "application/xml; charset=utf-8",
        other => panic!("{file}: what is {other}?"),
    };
    (nth, Answer { status: status.parse().unwrap(), content_type, body: body.to_vec() })
}
