//! Authorisation as a parameter type: a handler that takes [`Permit<OrdersRead>`] runs only for tokens with that scope.
//! It stands first in a handler's parameters, so that the scope is checked before body and existence.

use super::app::App;
use super::problem::Problem;
use crate::auth::{Accounts, Claims, Scope, verify};
use crate::domain::ids::AccountId;
use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use std::future::{Ready, ready};
use std::marker::PhantomData;

/// A scope as a type.
pub trait Scoped {
    const SCOPE: Scope;
    /// Whether the token, or a ticket for it, may come in the query: only where browsers cannot set a header.
    const IN_QUERY: bool = false;
}

macro_rules! scopes {
    ($($name:ident = $scope:ident),*) => {$(
        pub struct $name;
        impl Scoped for $name {
            const SCOPE: Scope = Scope::$scope;
        }
    )*};
}
scopes!(
    OrdersRead = OrdersRead,
    OrdersWrite = OrdersWrite,
    LedgerRead = LedgerRead,
    EventsRead = EventsRead,
    BalancesRead = BalancesRead,
    WebhooksRead = WebhooksRead,
    WebhooksWrite = WebhooksWrite,
    CallbacksRead = CallbacksRead,
    CallbacksWrite = CallbacksWrite,
    Admin = Admin
);

/// For streams, which browsers open without headers.
pub struct StreamRead;
impl Scoped for StreamRead {
    const SCOPE: Scope = Scope::EventsRead;
    const IN_QUERY: bool = true;
}

/// A believed token with the scope `S`.
pub struct Permit<S> {
    pub claims: Claims,
    scope: PhantomData<S>,
}

impl<S> Permit<S> {
    pub fn sees(&self, account: &AccountId) -> bool {
        self.claims.accounts.sees(account)
    }

    /// For what is said of the whole ledger: a token that sees only some accounts does not get in.
    pub fn sees_all(&self) -> Result<(), Problem> {
        if self.claims.accounts == Accounts::All {
            return Ok(());
        }
        let detail = "this needs a token that sees all accounts (\"accounts\": [\"*\"])";
        Err(Problem::new(403, "missing-accounts", "Forbidden", detail))
    }

    /// An account that the token sees; any other does not exist for it.
    pub fn account(&self, text: &str) -> Result<AccountId, Problem> {
        let account = AccountId::parse(text).ok().filter(|account| self.sees(account));
        account.ok_or_else(|| Problem::not_found("account"))
    }
}

impl<S: Scoped> FromRequest for Permit<S> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(permit(request))
    }
}

fn permit<S: Scoped>(request: &HttpRequest) -> Result<Permit<S>, Problem> {
    let app = request.app_data::<web::Data<App>>();
    let app = app.ok_or_else(|| Problem::unavailable("the daemon is not ready", 1))?;
    let claims = presented(request, S::IN_QUERY).and_then(|presented| claims(app, presented));
    let claims = claims.map_err(|problem| slowed(app, request, problem))?;
    if !claims.allows(S::SCOPE) {
        let detail = format!("the token lacks the scope {}", S::SCOPE);
        return Err(Problem::new(403, "missing-scope", "Forbidden", detail));
    }
    Ok(Permit { claims, scope: PhantomData })
}

/// An address that shows too many tokens nobody believes is told to wait.
fn slowed(app: &App, request: &HttpRequest, problem: Problem) -> Problem {
    app.counts.denied.add(());
    match app.limits.bad_token(app.client_address(request), app.clock.now()) {
        Ok(()) => problem,
        Err(wait) => Problem::too_many("this address failed to authenticate too often", wait),
    }
}

/// What a request shows to be let in.
enum Presented {
    Token(String),
    Ticket(String),
}

fn claims(app: &App, presented: Presented) -> Result<Claims, Problem> {
    let now = app.clock.now();
    match presented {
        Presented::Token(token) => {
            let believed = app.believed.get();
            Ok(verify(&believed.keys, &believed.issuer, &believed.audience, &token, now)?)
        }
        Presented::Ticket(ticket) => app.tickets.redeem(&ticket, now).ok_or_else(|| {
            Problem::unauthorized(
                "the ticket is used, expired or unknown; POST /v1/tickets gives another one",
            )
        }),
    }
}

fn presented(request: &HttpRequest, in_query: bool) -> Result<Presented, Problem> {
    if let Some(header) = request.headers().get(AUTHORIZATION) {
        let text = header.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = token.map(|(_, token)| Presented::Token(token.trim().to_owned()));
        return token.ok_or_else(|| Problem::unauthorized("the Authorization header holds no Bearer token"));
    }
    let mut query = form_urlencoded::parse(request.query_string().as_bytes());
    let found = query.find_map(|(name, value)| match &*name {
        "access_token" => Some(Presented::Token(value.into_owned())),
        "ticket" => Some(Presented::Ticket(value.into_owned())),
        _ => None,
    });
    found
        .filter(|_| in_query)
        .ok_or_else(|| Problem::unauthorized("a Bearer token is required; `razao token` prints one"))
}
