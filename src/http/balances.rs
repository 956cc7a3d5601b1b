//! Balances: now from the published value, at an earlier moment by replay.

use super::app::App;
use super::guard::{BalancesRead, Permit};
use super::orders::account_filter;
use super::page;
use super::problem::Problem;
use crate::domain::balance::Balances;
use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::money::Currency;
use crate::domain::time::Time;
use crate::views::balance::BalanceView;
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
    let (seq, balances) = at(&app, moment).await?;
    let wanted = balances.0.iter().filter(|((ledger_account, in_currency), _)| {
        permit.sees(&ledger_account.account)
            && account.as_ref().is_none_or(|account| *account == ledger_account.account)
            && currency.is_none_or(|currency| currency == *in_currency)
    });
    let data =
        wanted.map(|((account, currency), sides)| BalanceView::of(account, *currency, sides)).collect();
    Ok(HttpResponse::Ok().json(BalancesAnswer { seq: seq.0, data }))
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

    fn includes(&self, entry: &Entry) -> bool {
        self.recorded.is_none_or(|until| entry.recorded_at <= until)
    }

    fn counts(&self, entry: &Entry) -> bool {
        self.occurred_before.is_none_or(|before| entry.occurred_at.at < before)
    }
}

async fn at(app: &Data<App>, moment: Moment) -> Result<(Seq, Balances), Problem> {
    let published = app.reader.published();
    if moment.is_now() {
        return Ok((published.seq, (*published.balances).clone()));
    }
    let last = moment.seq.unwrap_or(published.seq);
    if last > published.seq {
        return Err(Problem::parameter(format!("the ledger ends at seq {}", published.seq)));
    }
    let app = app.clone();
    let replay =
        move || app.reader.balances_at(last, |entry| moment.includes(entry), |entry| moment.counts(entry));
    Ok(web::block(replay).await??)
}
