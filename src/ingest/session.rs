//! Access that a provider grants for a while: when to log in, when to renew. No I/O; time is an argument.

use super::accounts::Accounts;
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use crate::providers::provider::{Merchant, Provider, Session};
use crate::store::vault::Kept;
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
    /// A digest of the configured session that it took the place of, if one is configured.
    instead_of: Option<String>,
}

impl Sessions {
    /// What is open after a start: the sessions that were kept.
    pub fn restored(accounts: &Accounts, kept: Vec<Kept>, now: Time) -> Sessions {
        let mut sessions = Sessions::default();
        for kept in kept {
            if let Some(account) = accounts.get(&kept.account) {
                sessions.restore(account.provider, &account.merchant, kept, now);
            }
        }
        sessions
    }

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

    /// A login was answered. Says whether the session has to be kept across restarts: where it took the place of a
    /// configured one, which may not be good for another renewal.
    pub fn opened(
        &mut self,
        provider: &dyn Provider,
        merchant: &Merchant,
        session: Session,
        now: Time,
    ) -> bool {
        let ends = now.plus(session.lives);
        let instead_of = provider.first_session(merchant).as_ref().map(digest);
        let keep = instead_of.is_some();
        self.open.insert(merchant.id.clone(), Held { session, ends, instead_of });
        keep
    }

    /// What has to be kept across restarts.
    pub fn kept(&self) -> Vec<Kept> {
        let kept = |(account, held): (&AccountId, &Held)| {
            let (account, token) = (account.clone(), held.session.token.clone());
            held.instead_of.clone().map(|instead_of| Kept { account, token, ends: held.ends, instead_of })
        };
        self.open.iter().filter_map(kept).collect()
    }

    /// Takes up a session that was kept, if the one it took the place of is still the configured one.
    fn restore(&mut self, provider: &dyn Provider, merchant: &Merchant, kept: Kept, now: Time) {
        let same = provider.first_session(merchant).as_ref().map(digest).as_ref() == Some(&kept.instead_of);
        if same && now < kept.ends {
            let session = Session { token: kept.token, lives: kept.ends.since(now) };
            self.spent.insert(merchant.id.clone());
            let held = Held { session, ends: kept.ends, instead_of: Some(kept.instead_of) };
            self.open.insert(merchant.id.clone(), held);
        }
    }

    /// What is configured is tried first again.
    pub fn forget(&mut self, account: &AccountId) {
        self.open.remove(account);
        self.spent.remove(account);
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

/// Tells sessions apart without naming them.
fn digest(session: &Session) -> String {
    blake3::hash(session.token.expose_secret().as_bytes()).to_hex().to_string()
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

    fn opened(sessions: &mut Sessions, merchant: &Merchant, session: Session, now: Time) {
        let provider =
            if merchant.credentials.0.contains_key("client_id") { "gerencianet" } else { "genpag" };
        sessions.opened(registry::find(provider).unwrap(), merchant, session, now);
    }

    #[test]
    fn a_session_is_opened_used_and_renewed_in_time() {
        let (mut sessions, merchant) = (Sessions::default(), merchant(&["client_id"]));
        let at = |sessions: &Sessions, now| shown(sessions, "gerencianet", &merchant, now);
        let login = "POST https://provider.example/v1/authorize";
        assert_eq!(at(&sessions, Time(0)), login);
        let lives = Duration::from_secs(600);
        opened(&mut sessions, &merchant, Session { lives, ..session("one") }, Time(0));
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
        opened(&mut sessions, &merchant, session("renewed"), Time(0));
        assert_eq!(at(&sessions, Time(0)), "use renewed");
        sessions.refused(&merchant.id, &session("access_token"));
        assert_eq!(at(&sessions, Time(0)), "use renewed", "a late refusal of the first leaves the second");
        sessions.refused(&merchant.id, &session("renewed"));
        assert_eq!(at(&sessions, Time(0)), renewal);
        opened(&mut sessions, &merchant, session("again"), Time(0));
        assert_eq!(at(&sessions, Time(0).plus(WEEK)), renewal, "not the first again");
    }

    #[test]
    fn without_a_way_to_renew_the_configured_session_stays() {
        let (mut sessions, merchant) = (Sessions::default(), merchant(&["access_token", "seller_id"]));
        sessions.refused(&merchant.id, &session("access_token"));
        assert_eq!(shown(&sessions, "genpag", &merchant, Time(0)), "use access_token");
    }

    #[test]
    fn a_renewed_session_survives_a_restart_until_another_is_configured() {
        let merchant = merchant(&["access_token", "refresh_token", "seller_id"]);
        let genpag = registry::find("genpag").unwrap();
        let mut before = Sessions::default();
        assert!(before.opened(genpag, &merchant, session("renewed"), Time(0)));
        let kept = before.kept();
        assert_eq!(kept.len(), 1);
        let restored = |merchant: &Merchant, now: Time| {
            let mut after = Sessions::default();
            after.restore(genpag, merchant, kept[0].clone(), now);
            shown(&after, "genpag", merchant, now)
        };
        assert_eq!(restored(&merchant, Time(5)), "use renewed");
        assert_eq!(restored(&merchant, Time(0).plus(WEEK)), "use access_token", "it has ended");
        let mut other = merchant.clone();
        other.credentials.0.insert("access_token".to_owned(), vec!["newly-configured".into()]);
        assert_eq!(restored(&other, Time(5)), "use newly-configured");
    }
}
