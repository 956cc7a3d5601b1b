//! The export: a range of the ledger for other programs, streamed.

use super::app::App;
use super::guard::{LedgerRead, Permit};
use super::orders::account_filter;
use super::page;
use super::problem::Problem;
use crate::auth::Accounts;
use crate::domain::ids::AccountId;
use crate::export::{Custom, Ends, Export, Format, Wanted};
use crate::ledger::range::Edge;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::error::Error;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    #[param(inline)]
    format: Format,
    /// Inclusive: a day such as 2026-11-01 (its start in `reports.timezone`), a time of recording, or a seq. Absent: the
    /// beginning.
    from: Option<String>,
    /// A day's start or a time, exclusive, or a seq, inclusive. Absent: the head of this moment.
    to: Option<String>,
    account: Option<String>,
    /// For hledger and beancount: balances at both ends as comments, asserted, or posted from equity and then asserted.
    /// Absent: asserted where nothing was held before the range, else comments.
    #[param(inline)]
    balances: Option<Ends>,
}

/// A range of the ledger as CSV, NDJSON, hledger journal or beancount ledger.
///
/// The same range gives the same bytes. An answer that is cut off lacks its end: compare the head's hash, or ask again.
#[utoipa::path(
    get, path = "/v1/export", tag = "ledger", params(ExportQuery),
    responses(
        (status = 200, content(
            (String = "text/csv"), (String = "application/x-ndjson"), (String = "text/plain"),
        )),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<LedgerRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: ExportQuery = page::query(&request)?;
    let accounts = accounts(&permit, query.account.as_deref())?;
    let export = web::block(move || begin(&app, &query, accounts)).await??;
    let wanted = export.wanted();
    Ok(HttpResponse::Ok()
        .content_type(wanted.format.content_type())
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", wanted.file_name())))
        .streaming(chunks(export)))
}

/// The export that a query means, of these accounts. It reads the ledger: off the thread that serves others.
pub fn begin(
    app: &App,
    query: &ExportQuery,
    accounts: Option<BTreeSet<AccountId>>,
) -> Result<Export, Problem> {
    if query.balances.is_some() && !query.format.is_journal() {
        return Err(Problem::parameter("balances goes with hledger and beancount"));
    }
    let (from, to) = Edge::pair(query.from.as_deref(), query.to.as_deref(), &app.timezone)?;
    let range = app.reader.range(from, to)?;
    let wanted = Wanted { format: query.format, range, accounts, ends: query.balances };
    let custom = Custom { chart: app.chart.clone(), zone: app.timezone.clone() };
    Ok(Export::new(app.reader.clone(), custom, wanted)?)
}

/// Whose entries: of what the token sees, what is asked for.
fn accounts(
    permit: &Permit<LedgerRead>,
    asked: Option<&str>,
) -> Result<Option<BTreeSet<AccountId>>, Problem> {
    let asked = asked.map(account_filter).transpose()?;
    Ok(match (&permit.claims.accounts, asked) {
        (Accounts::All, None) => None,
        (Accounts::Only(seen), None) => Some(seen.iter().cloned().collect()),
        (Accounts::All | Accounts::Only(_), Some(account)) => {
            Some(Some(account).into_iter().filter(|account| permit.sees(account)).collect())
        }
    })
}

/// The chunks as they are asked for. An error cuts the answer off, so that what lacks its end does not look whole.
fn chunks(export: Export) -> impl Stream<Item = Result<Bytes, Box<dyn Error>>> {
    stream::try_unfold(export, step)
}

async fn step(mut export: Export) -> Result<Option<(Bytes, Export)>, Box<dyn Error>> {
    loop {
        let read = move || {
            let chunk = export.next();
            (chunk, export)
        };
        let chunk;
        (chunk, export) = web::block(read).await?;
        match chunk.transpose()? {
            // An empty piece would end the body.
            Some(bytes) if bytes.is_empty() => {}
            Some(bytes) => return Ok(Some((Bytes::from(bytes), export))),
            None => return Ok(None),
        }
    }
}
