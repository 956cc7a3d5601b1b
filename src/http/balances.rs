//! Balances: now from the published value, at an earlier moment from the running balances, by the providers' dates by
//! replay.

use super::app::App;
use super::guard::{BalancesRead, Permit};
use super::orders::account_filter;
use super::page;
use super::problem::Problem;
use crate::auth::Accounts;
use crate::domain::balance::Balances;
use crate::domain::ids::{AccountId, Seq};
use crate::domain::money::Currency;
use crate::domain::time::Time;
use crate::store::meta::StoreError;
use crate::views::balance::{BalanceView, TotalView};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BalancesQuery {
    account: Option<String>,
    currency: Option<String>,
    /// Only accounts at this provider.
    provider: Option<String>,
    /// A seq, or a time of recording: the balances as they were then, inclusive.
    as_of: Option<String>,
    /// Only what the provider says happened before this time.
    occurred_before: Option<String>,
}

/// Balances that agree with each other.
#[derive(Serialize, ToSchema)]
pub struct BalancesAnswer {
    /// The seq they are true at.
    pub seq: u64,
    pub data: Vec<BalanceView>,
    /// What they add up to, a line per currency; every `balance` is zero. Null for a token that sees only some accounts,
    /// unless `account` names one of them.
    pub totals: Option<Vec<TotalView>>,
}

/// Balances per ledger account and currency; they sum to zero.
#[utoipa::path(
    get, path = "/v1/balances", tag = "balances", params(BalancesQuery),
    responses(
        (status = 200, body = BalancesAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<BalancesRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: BalancesQuery = page::query(&request)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let currency = query.currency.as_deref().map(Currency::parse).transpose();
    let currency = currency.map_err(|error| Problem::parameter(error.to_string()))?;
    let moment = Moment::parse(query.as_of.as_deref(), query.occurred_before.as_deref())?;
    let (seq, mut balances) = at(&app, moment).await?;
    let at_provider = |id: &AccountId, provider: &str| {
        app.accounts.get(id).is_some_and(|account| account.provider.spec().id == provider)
    };
    balances.0.retain(|(ledger_account, in_currency), _| {
        let id = &ledger_account.account;
        permit.sees(id)
            && account.as_ref().is_none_or(|account| account == id)
            && currency.is_none_or(|currency| currency == *in_currency)
            && query.provider.as_deref().is_none_or(|provider| at_provider(id, provider))
    });
    let sees_all = match &account {
        Some(account) => permit.sees(account),
        None => permit.claims.accounts == Accounts::All,
    };
    let totals = sees_all.then(|| balances.totals());
    let totals = totals.map(|totals| totals.iter().map(|(at, sides)| TotalView::of(*at, sides)).collect());
    Ok(HttpResponse::Ok().json(BalancesAnswer { seq: seq.0, data: BalanceView::all(&balances), totals }))
}

/// The moment balances are wanted for; nothing named is now.
#[derive(Clone, Copy, Default)]
struct Moment {
    seq: Option<Seq>,
    recorded: Option<Time>,
    occurred_before: Option<Time>,
}

impl Moment {
    fn parse(as_of: Option<&str>, occurred_before: Option<&str>) -> Result<Moment, Problem> {
        let time =
            |text: &str| Time::parse(text).map_err(|_| Problem::parameter("a time or seq is expected"));
        let mut moment =
            Moment { occurred_before: occurred_before.map(time).transpose()?, ..Moment::default() };
        match as_of.map(|text| (text, text.parse().map(Seq))) {
            Some((_, Ok(seq))) => moment.seq = Some(seq),
            Some((text, Err(_))) => moment.recorded = Some(time(text)?),
            None => {}
        }
        Ok(moment)
    }

    fn is_now(&self) -> bool {
        self.seq.is_none() && self.recorded.is_none() && self.occurred_before.is_none()
    }
}

/// The balances of a moment, and the seq they are true at. Only the providers' dates need a replay.
async fn at(app: &Data<App>, moment: Moment) -> Result<(Seq, Balances), Problem> {
    let published = app.reader.published();
    if moment.is_now() {
        return Ok((published.seq, (*published.balances).clone()));
    }
    if moment.seq.is_some_and(|seq| seq > published.seq) {
        return Err(Problem::parameter(format!("the ledger ends at seq {}", published.seq)));
    }
    let reader = app.reader.clone();
    let look = move || {
        let last = match (moment.seq, moment.recorded) {
            (Some(seq), _) => seq,
            (None, Some(until)) => reader.last_recorded(|at| at <= until)?,
            (None, None) => published.seq,
        };
        let balances = match moment.occurred_before {
            Some(before) => reader.balances_replayed(last, |entry| entry.occurred_at.at < before)?,
            None => reader.balances_as_of(last)?,
        };
        Ok::<_, StoreError>((last, balances))
    };
    Ok(web::block(look).await??)
}
