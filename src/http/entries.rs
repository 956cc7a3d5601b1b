//! The ledger: entries by seq, and its head.

use super::app::App;
use super::guard::{LedgerRead, Permit};
use super::orders::account_filter;
use super::page::{self, Listed};
use super::problem::Problem;
use crate::domain::ids::Seq;
use crate::domain::period::Mark;
use crate::ledger::writer::Published;
use crate::views::entry::EntryView;
use crate::views::seal::SealView;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many entries one page looks at: a rare filter ends a page early.
const SCAN_MAX: usize = 20_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// The first seq wanted, inclusive; 1 if absent.
    #[param(format = "uint64")]
    from: Option<u64>,
    account: Option<String>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Entries, oldest first.
///
/// A token that does not see all accounts gets holes in `seq`: each entry's own hash can be checked, not the chain.
#[utoipa::path(
    get, path = "/v1/ledger", tag = "ledger", params(LedgerQuery),
    responses(
        (status = 200, body = Listed<EntryView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<LedgerRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: LedgerQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let from = Seq(page::number(query.cursor.as_deref())?.or(query.from).unwrap_or(1).max(1));
    let reader = app.reader.clone();
    let read = move || {
        reader.entries(from, limit, SCAN_MAX, |stored| {
            let id = &stored.entry.account;
            permit.sees(id) && account.as_ref().is_none_or(|account| account == id)
        })
    };
    let (entries, next) = web::block(read).await??;
    let next_cursor = (next <= app.reader.head()).then(|| page::cursor(&[&next.to_string()]));
    let data = entries.iter().map(|stored| EntryView::of(&stored.entry)).collect();
    Ok(HttpResponse::Ok().json(Listed::<EntryView> { data, next_cursor }))
}

/// One entry.
#[utoipa::path(
    get, path = "/v1/ledger/{seq}", tag = "ledger", params(("seq" = u64, Path)),
    responses(
        (status = 200, body = EntryView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<LedgerRead>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let seq = path.parse().map(Seq).map_err(|_| Problem::parameter("a seq is a number from 1"))?;
    let stored = app.reader.entry(seq)?.filter(|stored| permit.sees(&stored.entry.account));
    let stored = stored.ok_or_else(|| Problem::not_found("entry"))?;
    Ok(HttpResponse::Ok().json(EntryView::of(&stored.entry)))
}

/// Where the ledger ends.
#[derive(Serialize, ToSchema)]
pub struct Head {
    /// 0 for an empty ledger.
    pub seq: u64,
    /// The last entry's hash; for an empty ledger the hash that the first entry is chained to.
    pub hash: String,
    /// The same, signed: kept elsewhere, it proves later whether the ledger up to here was rewritten.
    pub seal: SealView,
}

/// The last entry's seq and hash, also as a signed seal.
///
/// A head's seal holds no balances, so every token with the scope gets the same statement. `razao verify --seal` compares
/// a kept one with the ledger.
#[utoipa::path(
    get, path = "/v1/ledger/head", tag = "ledger",
    responses(
        (status = 200, body = Head),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn head(_permit: Permit<LedgerRead>, app: Data<App>) -> Result<HttpResponse, Problem> {
    let Published { seq, hash, .. } = app.reader.published();
    let seal = app.sealer.head(Mark { seq, hash }, app.clock.now())?;
    Ok(HttpResponse::Ok().json(Head { seq: seq.0, hash: hash.to_hex(), seal }))
}
