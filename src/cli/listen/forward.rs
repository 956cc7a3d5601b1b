//! Events on to an address of one's own, signed as webhooks are. A few tries each; then the next one's turn comes.

use super::feed::Event;
use crate::clock::{Clock, SystemClock, random_bytes};
use crate::delivery::envelope;
use crate::delivery::meaning::meaning;
use crate::delivery::sign::{self, SECRET_BYTES};
use crate::domain::webhook::Miss;
use crate::net::guard::Guard;
use crate::net::post::Poster;
use anyhow::{Context, anyhow};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// What lies between the tries of one event.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

pub struct Forwarder {
    poster: Poster,
    target: String,
    secret: Vec<u8>,
    /// The secret to print, where it was made here.
    pub made: Option<String>,
}

impl Forwarder {
    pub fn new(target: &str, secret: Option<&str>) -> anyhow::Result<Forwarder> {
        // The one at the terminal says where; a test receiver speaks plain HTTP on loopback.
        let guard = Guard { allow_private: true, require_https: false };
        guard.check(target).map_err(|refused| anyhow!("--forward-to {refused}"))?;
        let (secret, made) = match secret {
            Some(text) => {
                let advice =
                    "--secret is whsec_ and base64 of 24 to 64 bytes, as a webhook's secret is shown";
                (sign::parse(text).context(advice)?, None)
            }
            None => {
                let secret = random_bytes::<SECRET_BYTES>().map_err(|error| anyhow!("{error}"))?.to_vec();
                let shown = sign::shown(&secret);
                (secret, Some(shown))
            }
        };
        let poster = Poster::new(TIMEOUT, guard).map_err(|error| anyhow!("{error}"))?;
        Ok(Forwarder { poster, target: target.to_owned(), secret, made })
    }

    pub async fn forward(&self, event: Event, remark: &mut impl FnMut(String)) {
        let Event { id, body, .. } = event;
        for pause in PAUSES.into_iter().map(Some).chain([None]) {
            let secrets = [self.secret.as_slice()];
            let post =
                envelope::signed(&self.target, &secrets, &id, body.clone(), Vec::new(), SystemClock.now());
            let (status, miss) = match self.poster.post(post).await {
                Ok(answered) => (Some(answered.status), Miss::of(answered.status)),
                Err(miss) => (None, Some(miss)),
            };
            let shown = status.map_or("no answer".to_owned(), |status| status.to_string());
            if miss.is_none() {
                return remark(format!("-> {shown}"));
            }
            let what = meaning(status, miss);
            match pause {
                Some(pause) => {
                    remark(format!("-> {shown}: {what}; again in {} ms", pause.as_millis()));
                    tokio::time::sleep(pause).await;
                }
                None => remark(format!("-> {shown}: {what}; given up, going on")),
            }
        }
    }
}
