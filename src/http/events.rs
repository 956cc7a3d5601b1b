//! Events as a list, and the filter that list and stream share.

use super::app::App;
use super::guard::{EventsRead, Permit};
use super::orders::account_filter;
use super::page::{self, Listed};
use super::problem::Problem;
use crate::auth::Accounts;
use crate::domain::entry::Entry;
use crate::domain::ids::{AccountId, Reference, Seq};
use crate::domain::state::State;
use crate::views::event::EventView;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

const SCAN_MAX: usize = 20_000;

/// Which events a reader wants of those it may see.
#[derive(Clone, Debug)]
pub struct EventFilter {
    pub visible: Accounts,
    pub account: Option<AccountId>,
    /// Patterns: a type, `order.*` or `*`.
    pub types: Vec<String>,
    /// The order's state as of the entry.
    pub state: Option<State>,
    pub order: Option<String>,
}

impl EventFilter {
    pub fn new(
        visible: Accounts,
        account: Option<&str>,
        types: Option<&str>,
        state: Option<&str>,
        order: Option<String>,
    ) -> Result<EventFilter, Problem> {
        let state =
            state.map(|text| State::parse(text).ok_or_else(|| Problem::parameter("state has no such value")));
        let types = types.into_iter().flat_map(|text| text.split(',')).map(|text| text.trim().to_owned());
        Ok(EventFilter {
            visible,
            account: account.map(account_filter).transpose()?,
            types: types.filter(|text| !text.is_empty()).collect(),
            state: state.transpose()?,
            order,
        })
    }

    pub fn wants(&self, subject: Subject<'_>) -> bool {
        self.visible.sees(subject.account)
            && self.account.as_ref().is_none_or(|account| account == subject.account)
            && (self.types.is_empty() || self.types.iter().any(|pattern| matches_type(pattern, subject.kind)))
            && self.state.is_none_or(|state| subject.state == Some(state))
            && self.order.as_ref().is_none_or(|order| subject.order.is_some_and(|it| it.as_str() == order))
    }

    /// Whether it leaves nothing out.
    pub fn wants_all(&self) -> bool {
        self.visible == Accounts::All
            && self.account.is_none()
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern == "*"))
            && self.state.is_none()
            && self.order.is_none()
    }
}

/// What a filter asks of an event.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub account: &'a AccountId,
    /// The event's type.
    pub kind: &'static str,
    pub state: Option<State>,
    pub order: Option<&'a Reference>,
}

impl Subject<'_> {
    pub fn of(entry: &Entry) -> Subject<'_> {
        Subject {
            account: &entry.account,
            kind: entry.event_type(),
            state: entry.to,
            order: entry.order.as_ref(),
        }
    }
}

/// Whether an event's type fits a pattern: the type itself, `order.*` or `*`.
pub fn matches_type(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The first seq wanted, inclusive; 1 if absent.
    #[param(format = "uint64")]
    from: Option<u64>,
    /// A type or pattern, such as `order.paid` or `order.*`; several with commas.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    kind: Option<String>,
    account: Option<String>,
    /// An order's reference.
    order: Option<String>,
    /// The order's state as of the entry.
    state: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The stream's bodies as a list, oldest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", params(EventsQuery),
    responses(
        (status = 200, body = Listed<EventView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<EventsRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: EventsQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let from = Seq(page::number(query.cursor.as_deref())?.or(query.from).unwrap_or(1).max(1));
    let filter = EventFilter::new(
        permit.claims.accounts,
        query.account.as_deref(),
        query.kind.as_deref(),
        query.state.as_deref(),
        query.order,
    )?;
    let reader = app.reader.clone();
    let read =
        move || reader.entries(from, limit, SCAN_MAX, |stored| filter.wants(Subject::of(&stored.entry)));
    let (entries, next) = web::block(read).await??;
    let next_cursor = (next <= app.reader.head()).then(|| page::cursor(&[&next.to_string()]));
    let data = entries.iter().map(|stored| EventView::of(&stored.entry, stored.order.as_ref())).collect();
    Ok(HttpResponse::Ok().json(Listed::<EventView> { data, next_cursor }))
}
