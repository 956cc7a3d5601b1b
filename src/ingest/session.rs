//! Access that a provider grants for a while: when to log in, when to renew. No I/O; time is an argument.

use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::providers::provider::{Merchant, Provider, Session};
use crate::wire::call::Call;
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A session is renewed so long before it ends: a call under way must not find it ended.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Sessions {
    open: BTreeMap<AccountId, Held>,
    /// Accounts whose configured session was refused: a renewed one takes its place from then on.
    spent: BTreeSet<AccountId>,
}

/// How to go about a call.
#[derive(Debug)]
pub enum Access {
    /// With this session, or without any where the provider wants none.
    Use(Option<Session>),
    /// This comes first.
    LogIn(Call),
}

struct Held {
    session: Session,
    ends: Time,
}

impl Sessions {
    /// An open session first, then the configured one unless it was refused, then a login. Where there is no way to
    /// log in, a refused session is tried all the same: the provider's answer says best what is wrong.
    pub fn access(&self, provider: &dyn Provider, merchant: &Merchant, now: Time) -> Access {
        let open = self.open.get(&merchant.id).filter(|held| now.plus(MARGIN) < held.ends);
        if let Some(held) = open {
            return Access::Use(Some(held.session.clone()));
        }
        let configured = provider.first_session(merchant);
        if configured.is_some() && !self.spent.contains(&merchant.id) {
            return Access::Use(configured);
        }
        provider.login(merchant, None).map_or(Access::Use(configured), Access::LogIn)
    }

    pub fn opened(&mut self, account: &AccountId, session: Session, now: Time) {
        let ends = now.plus(session.lives);
        self.open.insert(account.clone(), Held { session, ends });
    }

    /// The provider refused it before its time. One that was opened in the meantime stays.
    pub fn refused(&mut self, account: &AccountId, session: &Session) {
        let same = |held: &Held| held.session.token.expose_secret() == session.token.expose_secret();
        if self.open.get(account).is_some_and(same) {
            self.open.remove(account);
        } else {
            self.spent.insert(account.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;
    use crate::providers::provider::Credentials;
    use crate::providers::registry;
    use jiff::tz::TimeZone;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn merchant(credentials: &[&str]) -> Merchant {
        let values = credentials.iter().map(|name| ((*name).to_owned(), vec![(*name).into()]));
        Merchant {
            id: AccountId::parse("loja").unwrap(),
            currency: Currency::BRL,
            zone: TimeZone::UTC,
            base_url: "https://provider.example".to_owned(),
            credentials: Credentials(values.collect()),
        }
    }

    fn session(token: &str) -> Session {
        Session { token: token.into(), lives: WEEK }
    }

    /// `use <token>`, `use nothing`, or the login's address.
    fn shown(sessions: &Sessions, provider: &str, merchant: &Merchant, now: Time) -> String {
        match sessions.access(registry::find(provider).unwrap(), merchant, now) {
            Access::Use(None) => "use nothing".to_owned(),
            Access::Use(Some(session)) => format!("use {}", session.token.expose_secret()),
            Access::LogIn(call) => format!("{call:?}"),
        }
    }

    #[test]
    fn a_session_is_opened_used_and_renewed_in_time() {
        let (mut sessions, merchant) = (Sessions::default(), merchant(&["client_id"]));
        let at = |sessions: &Sessions, now| shown(sessions, "gerencianet", &merchant, now);
        let login = "POST https://provider.example/v1/authorize";
        assert_eq!(at(&sessions, Time(0)), login);
        let lives = Duration::from_secs(600);
        sessions.opened(&merchant.id, Session { lives, ..session("one") }, Time(0));
        let margin = Time(0).plus(lives - MARGIN);
        assert_eq!(at(&sessions, Time(margin.0 - 1)), "use one");
        assert_eq!(at(&sessions, margin), login);
        sessions.refused(&merchant.id, &session("one"));
        assert_eq!(at(&sessions, Time(0)), login);
        assert_eq!(shown(&sessions, "picpay", &merchant, Time(0)), "use nothing");
    }

    #[test]
    fn a_configured_session_is_used_until_it_is_refused() {
        let mut sessions = Sessions::default();
        let merchant = merchant(&["access_token", "refresh_token", "seller_id"]);
        let at = |sessions: &Sessions, now| shown(sessions, "genpag", &merchant, now);
        let renewal = "POST https://provider.example/api/seller_id/tokens";
        assert_eq!(at(&sessions, Time(0)), "use access_token");
        sessions.refused(&merchant.id, &session("access_token"));
        assert_eq!(at(&sessions, Time(0)), renewal);
        sessions.opened(&merchant.id, session("renewed"), Time(0));
        assert_eq!(at(&sessions, Time(0)), "use renewed");
        sessions.refused(&merchant.id, &session("access_token"));
        assert_eq!(at(&sessions, Time(0)), "use renewed", "a late refusal of the first leaves the second");
        sessions.refused(&merchant.id, &session("renewed"));
        assert_eq!(at(&sessions, Time(0)), renewal);
        sessions.opened(&merchant.id, session("again"), Time(0));
        assert_eq!(at(&sessions, Time(0).plus(WEEK)), renewal, "not the first again");
    }

    #[test]
    fn without_a_way_to_renew_the_configured_session_stays() {
        let (mut sessions, merchant) = (Sessions::default(), merchant(&["access_token", "seller_id"]));
        sessions.refused(&merchant.id, &session("access_token"));
        assert_eq!(shown(&sessions, "genpag", &merchant, Time(0)), "use access_token");
    }
}
