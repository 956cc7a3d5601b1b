//! One-time tickets for a browser's streams, which can set no header: in memory alone, bounded, short-lived.
//!
//! A ticket is as good as the token that asked for it, for one stream and not beyond that token's `exp`. What is kept is
//! its hash: looking one up compares no secret byte by byte, and nothing here could print one.

use super::app::App;
use super::guard::{EventsRead, Permit};
use super::problem::Problem;
use crate::auth::{Claims, Scope};
use crate::clock::random_bytes;
use crate::domain::time::Time;
use actix_web::HttpResponse;
use actix_web::web::Data;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use utoipa::ToSchema;

/// How long a ticket may wait to be used.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// So many wait at the same time …
const TICKETS_MAX: usize = 10_000;
/// … and so many of them for one subject, so that none can use up everyone's.
const TICKETS_OF_SUBJECT_MAX: usize = 1_000;
const SECRET_BYTES: usize = 32;
const PREFIX: &str = "tkt_";

/// The tickets that wait to be used, by their hashes.
#[derive(Default)]
pub struct Tickets(Mutex<BTreeMap<[u8; 32], Waiting>>);

struct Waiting {
    claims: Claims,
    valid_until: Time,
}

/// Why no ticket is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Shortage {
    #[error("too many tickets wait to be used; use or drop some, they end after {} s", LIFETIME.as_secs())]
    OfAll,
    #[error("{TICKETS_OF_SUBJECT_MAX} tickets of this token's subject wait to be used; use those first")]
    OfSubject,
}

/// A ticket for one stream.
#[derive(Serialize, ToSchema)]
pub struct TicketView {
    /// For `?ticket=` of `/v1/stream` or `/v1/ws`, once.
    #[schema(example = "tkt_4tJ3m0Qx7bW2cF5hK8nP1rS6uV9yZ0aDgEiLoMqTwXs")]
    pub ticket: String,
    /// When it can no longer be used: after 60 s, or with the token that asked for it.
    pub expires_at: String,
}

/// A one-time ticket of 60 s, for `?ticket=` on `/v1/stream` and `/v1/ws` alone.
///
/// For browsers, which can set no header there. It sees what this token sees, and a stream that it opened ends at this
/// token's `exp`. Every request makes another ticket: being a secret, none is kept to be answered again
/// (`Idempotency-Key` has no effect).
#[utoipa::path(
    post, path = "/v1/tickets", tag = "events",
    responses(
        (status = 201, body = TicketView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "1,000 tickets of this subject wait"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "10,000 tickets wait"),
    )
)]
pub async fn post(permit: Permit<EventsRead>, app: Data<App>) -> Result<HttpResponse, Problem> {
    let secret = random_bytes().map_err(|error| Problem::unavailable(error.to_string(), 1))?;
    let (ticket, valid_until) = app.tickets.issue(permit.claims, secret, app.clock.now())?;
    let view = TicketView { ticket, expires_at: valid_until.to_string() };
    Ok(HttpResponse::Created().insert_header(("Cache-Control", "no-store")).json(view))
}

impl Tickets {
    /// A ticket for whoever holds these claims, and until when it can be used.
    pub fn issue(
        &self,
        claims: Claims,
        secret: [u8; SECRET_BYTES],
        now: Time,
    ) -> Result<(String, Time), Shortage> {
        let mut waiting = self.waiting();
        waiting.retain(|_, one| now < one.valid_until);
        if waiting.len() >= TICKETS_MAX {
            return Err(Shortage::OfAll);
        }
        if waiting.values().filter(|one| one.claims.subject == claims.subject).count()
            >= TICKETS_OF_SUBJECT_MAX
        {
            return Err(Shortage::OfSubject);
        }
        let ticket = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let valid_until = now.plus(LIFETIME).min(claims.expires_at);
        let claims = Claims { scopes: BTreeSet::from([Scope::EventsRead]), ..claims };
        waiting.insert(hash(&ticket), Waiting { claims, valid_until });
        Ok((ticket, valid_until))
    }

    /// What a ticket allows. It is used up by the question.
    pub fn redeem(&self, ticket: &str, now: Time) -> Option<Claims> {
        let found = self.waiting().remove(&hash(ticket))?;
        (now < found.valid_until).then_some(found.claims)
    }

    /// None is good any more.
    pub fn clear(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Shortage> for Problem {
    fn from(shortage: Shortage) -> Problem {
        match shortage {
            Shortage::OfAll => Problem::unavailable(shortage.to_string(), 5),
            Shortage::OfSubject => Problem::too_many(&shortage.to_string(), Duration::from_secs(5)),
        }
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    *blake3::hash(ticket.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::Accounts;

    const NOW: Time = Time(1_700_000_000_000_000);

    fn claims(subject: &str, ttl: Duration) -> Claims {
        Claims {
            subject: subject.to_owned(),
            scopes: BTreeSet::from([Scope::EventsRead, Scope::Admin]),
            accounts: Accounts::All,
            expires_at: NOW.plus(ttl),
        }
    }

    fn secret(number: usize) -> [u8; SECRET_BYTES] {
        let mut secret = [0; SECRET_BYTES];
        secret.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        secret
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_is_used_once_and_allows_events_alone() {
        let tickets = Tickets::default();
        let (ticket, _) = tickets.issue(claims("shop", HOUR), secret(1), NOW).unwrap();
        assert!(tickets.redeem("tkt_", NOW).is_none());
        let found = tickets.redeem(&ticket, NOW).unwrap();
        assert_eq!(found.scopes, BTreeSet::from([Scope::EventsRead]));
        assert_eq!((found.subject.as_str(), found.expires_at), ("shop", NOW.plus(HOUR)));
        assert!(tickets.redeem(&ticket, NOW).is_none());
    }

    #[test]
    fn it_ends_after_a_minute_or_with_its_token() {
        let second = Duration::from_secs(1);
        for (ttl, lasts) in [(HOUR, LIFETIME), (second * 5, second * 5)] {
            let tickets = Tickets::default();
            let (early, until) = tickets.issue(claims("shop", ttl), secret(1), NOW).unwrap();
            let (late, _) = tickets.issue(claims("shop", ttl), secret(2), NOW).unwrap();
            assert_eq!(until, NOW.plus(lasts));
            assert!(tickets.redeem(&early, NOW.plus(lasts).minus(second)).is_some());
            assert!(tickets.redeem(&late, NOW.plus(lasts)).is_none());
        }
    }

    #[test]
    fn neither_a_subject_nor_all_together_fill_the_memory() {
        let tickets = Tickets::default();
        for subject in 0..10 {
            for number in 0..TICKETS_OF_SUBJECT_MAX {
                let secret = secret(subject * TICKETS_OF_SUBJECT_MAX + number);
                tickets.issue(claims(&subject.to_string(), HOUR), secret, NOW).unwrap();
            }
            let more = tickets.issue(claims(&subject.to_string(), HOUR), secret(usize::MAX), NOW);
            assert_eq!(more.unwrap_err(), if subject < 9 { Shortage::OfSubject } else { Shortage::OfAll });
        }
        assert_eq!(tickets.issue(claims("11", HOUR), secret(0), NOW).unwrap_err(), Shortage::OfAll);
        assert!(tickets.issue(claims("11", HOUR), secret(0), NOW.plus(LIFETIME)).is_ok());
    }
}
