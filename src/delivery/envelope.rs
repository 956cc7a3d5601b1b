//! An event and a webhook as one request.

use super::sign;
use crate::domain::time::Time;
use crate::domain::webhook::{Keyring, Webhook};
use crate::wire::post::Post;
use secrecy::SecretString;

/// The request that carries an event, signed at `now`.
pub fn envelope(webhook: &Webhook, keyring: &Keyring, event_id: &str, body: String, now: Time) -> Post {
    let seconds = now.0.div_euclid(1_000_000);
    let signature = sign::signature(&keyring.signing(now), event_id, seconds, &body);
    let own = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", concat!("razao/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("webhook-id", event_id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
    ];
    let authorization = keyring.authorization.as_ref().map(|value| String::from_utf8_lossy(&value.0));
    let authorization = authorization.map(|value| ("authorization", value.into_owned()));
    let own = own.into_iter().chain(authorization).map(|(name, value)| (name.to_owned(), value));
    let headers = webhook.headers.iter().cloned().chain(own);
    Post {
        url: SecretString::from(webhook.target.as_str()),
        headers: headers.map(|(name, value)| (name, SecretString::from(value))).collect(),
        body,
    }
}
