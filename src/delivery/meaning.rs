//! What an attempt's result means, and what to do: one sentence for who wrote the receiver.

use crate::domain::webhook::Miss;

/// Of a status, if an answer came; otherwise of what kept it away.
pub fn meaning(status: Option<u16>, miss: Option<Miss>) -> &'static str {
    match (status, miss) {
        (Some(status), _) => of_status(status),
        (None, Some(miss)) => of_miss(miss),
        (None, None) => "nothing is known of this attempt",
    }
}

fn of_status(status: u16) -> &'static str {
    match status {
        200..=299 => "confirmed: any 2xx is, whatever the body says",
        301 | 302 | 303 | 307 | 308 => {
            "the target redirects, and redirects are never followed; set `target` to the final address (often https:// or a missing slash)"
        }
        300..=399 => "only 2xx confirms; answer 200 once the event is stored",
        400 | 422 => {
            "the receiver found the request invalid; it must accept any event of the types it subscribed to, and ignore fields it does not know"
        }
        401 | 403 => {
            "the receiver refused the credentials; verify webhook-signature over the raw body with the current secret, set `authorization`, or let this address through its firewall"
        }
        404 => "nothing answers under this path; correct `target` or deploy the route",
        405 => "the path takes no POST; events are always posted",
        408 => "the receiver gave up waiting for the request; look for a slow proxy in front of it",
        409 => {
            "the receiver reports a conflict; an event that is already stored should be answered 200, since the same webhook-id may come twice"
        }
        410 => {
            "the receiver wants no more events, so the webhook is disabled; correct `target` and enable it, and this event is delivered again"
        }
        413 => "the receiver or a proxy takes no bodies of this size; allow at least 64 KiB",
        415 => "the receiver does not take application/json; it must",
        429 => "the receiver is asked too often; it may name a pause in Retry-After, which is kept",
        400..=499 => "the receiver refused the request; its log says why, and only 2xx confirms",
        500 => "the receiver failed while handling the event; look into its log at this time",
        502..=504 => {
            "a proxy answered in place of the receiver, which is down, starting or too slow; answer first and work afterwards"
        }
        501 | 505..=599 => "the receiver is in trouble; its log at this time says more",
        0..=199 | 600..=u16::MAX => "this is no final HTTP status; only 2xx confirms",
    }
}

fn of_miss(miss: Miss) -> &'static str {
    match miss {
        Miss::Dns => "the target's name has no address; correct the name in `target` or its DNS record",
        Miss::Forbidden => {
            "the target leads into a private network or to plain http, which this ledger's configuration does not allow (webhooks.allow_private, webhooks.require_https)"
        }
        Miss::Refused => {
            "nothing listens at the target's port; start the receiver or correct the port in `target`"
        }
        Miss::Unreachable => {
            "no connection to the target could be made; look at its firewall and at the network between"
        }
        Miss::Tls => {
            "the target's certificate was not accepted; it must be valid for the name in `target`, not expired, and sent with its whole chain"
        }
        Miss::Timeout => {
            "no answer came in time; answer 200 as soon as the event is stored, and work on it afterwards"
        }
        Miss::Reset => {
            "the connection ended before an answer; the receiver or a proxy may have crashed or restarted"
        }
        Miss::Unreadable => {
            "what came back is not HTTP; look whether `target` names the right port, and http or https"
        }
        Miss::Unmakeable => "the request could not be made of `target` and `headers`; correct them",
        // These come with a status, which says more.
        Miss::Redirect | Miss::ClientError | Miss::ServerError | Miss::Odd => "only 2xx confirms",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_every_miss_says_what_to_do_in_a_sentence() {
        for status in 0..=999 {
            let told = meaning(Some(status), Miss::of(status));
            assert!(told.len() > 20 && told.len() < 200, "{status}: {told}");
            assert_eq!(told.starts_with("confirmed"), Miss::of(status).is_none(), "{status}");
        }
        let without_answer = [
            Miss::Dns,
            Miss::Forbidden,
            Miss::Refused,
            Miss::Unreachable,
            Miss::Tls,
            Miss::Timeout,
            Miss::Reset,
            Miss::Unreadable,
            Miss::Unmakeable,
        ];
        let told: std::collections::BTreeSet<_> =
            without_answer.iter().map(|miss| meaning(None, Some(*miss))).collect();
        assert_eq!(told.len(), without_answer.len(), "each has its own");
    }
}
