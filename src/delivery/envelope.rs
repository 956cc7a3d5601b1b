//! An event and a webhook as one request.

use super::sign;
use crate::domain::time::Time;
use crate::domain::webhook::{Keyring, Webhook};
use crate::wire::post::Post;
use secrecy::SecretString;

/// The request that carries an event to a webhook, signed at `now`.
pub fn envelope(webhook: &Webhook, keyring: &Keyring, event_id: &str, body: String, now: Time) -> Post {
    let authorization = keyring.authorization.as_ref().map(|value| String::from_utf8_lossy(&value.0));
    let authorization = authorization.map(|value| ("authorization".to_owned(), value.into_owned()));
    let further = webhook.headers.iter().cloned().chain(authorization).collect();
    signed(&webhook.target, &keyring.signing(now), event_id, body, further, now)
}

/// The request that carries an event to any target. `further` headers stand beside the event's own.
pub fn signed(
    target: &str,
    secrets: &[&[u8]],
    event_id: &str,
    body: String,
    further: Vec<(String, String)>,
    now: Time,
) -> Post {
    let seconds = now.0.div_euclid(1_000_000);
    let own = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", concat!("razao/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("webhook-id", event_id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", sign::signature(secrets, event_id, seconds, &body)),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    Post {
        url: SecretString::from(target),
        headers: own.chain(further).map(|(name, value)| (name, SecretString::from(value))).collect(),
        body,
    }
}
