//! Settlement files: posted, tried without consequences, listed, read page by page.

use super::app::App;
use super::body;
use super::guard::{OrdersRead, OrdersWrite, Permit};
use super::idempotency::{self, Made};
use super::orders::account_filter;
use super::page::{self, Listed};
use super::problem::Problem;
use crate::config::Account;
use crate::domain::ids::{AccountId, Nonce, Reference, SettlementId};
use crate::domain::settlement::{FileTerms, Finding, LineResult, Numbered, Tally};
use crate::domain::time::Time;
use crate::ingest::statement::{BODY_BYTES_MAX, File, Form, Mapping, Reading, Unusable};
use crate::ledger::command::{AccountTerms, Command, Reply};
use crate::ledger::settlements::{
    LINES_AT_ONCE, NOTED_AT_ONCE, NewSettlement, OnlyHere, SettleLines, SettlementCommand,
};
use crate::store::settlements::Place;
use crate::views::settlement::{LineView, SettlementView, Tried};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PostQuery {
    account: String,
    /// true: the same report, and nothing is changed or kept.
    dry_run: Option<bool>,
    /// The name of a shipped mapping (`razao`, or a provider's), or pairs `ours:theirs` separated by commas.
    #[param(example = "line_id:NSU,gross:Valor bruto")]
    mapping: Option<String>,
}

/// A file's report with its lines.
#[derive(Serialize, ToSchema)]
pub struct SettlementWithLines {
    #[serde(flatten)]
    pub settlement: SettlementView,
    /// In the file's order; after them the orders that no line names, at most 10,000 of them.
    pub lines: Vec<LineView>,
    /// Pass it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// Reconciles a provider's settlement file with the ledger.
///
/// The body is CSV with a header, separated by `,` or `;`, in UTF-8 or ISO 8859-1, or a JSON object per line; at most
/// 16 MiB and 20,000 lines. Columns: `line_id`, `reference` or `provider_ref`, `gross`, `fee` or `net`, and if the file has
/// them `settled_date` and `currency`; others are passed over. In files separated by `;` a comma is the decimal point.
/// Each line that fits its order becomes evidence `completed` with its fee; the same line again adds nothing. The answer
/// holds every line.
#[utoipa::path(
    post, path = "/v1/settlements", tag = "settlements",
    params(
        PostQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, with `Idempotency-Replayed: true`"),
    ),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 201, body = SettlementWithLines, headers(("Location" = String))),
        (status = 200, body = SettlementWithLines, description = "A dry run"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "idempotency-in-progress, idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "More than 20,000 lines, or more than 16 MiB"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "unreadable-file: the header lacks a column"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "Some lines may have been applied; send it again"),
    )
)]
pub async fn post(
    permit: Permit<OrdersWrite>,
    request: HttpRequest,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query: PostQuery = page::query(&request)?;
    let account = permit.account(&query.account)?;
    let account = app.accounts.get(&account).ok_or_else(|| Problem::not_found("account"))?.clone();
    let mapping = Mapping::parse(query.mapping.as_deref());
    let mapping = mapping.map_err(|error| Problem::parameter(error.to_string()))?;
    let _turn = app.turns.take().await?;
    let bytes = body::limited(payload, BODY_BYTES_MAX).await?;
    let form = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let form = Form::of(form, &bytes);
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |nonce| {
        let posted = Posted::read(&account, mapping, form, bytes.clone()).await?;
        match query.dry_run {
            Some(true) => posted.tried(app).await,
            Some(false) | None => posted.carried_out(app, nonce).await,
        }
    })
    .await
}

/// A file that was read.
struct Posted {
    account: AccountTerms,
    terms: FileTerms,
    lines: Vec<Numbered>,
}

impl Posted {
    async fn read(
        account: &Account,
        mapping: Mapping,
        form: Form,
        bytes: Vec<u8>,
    ) -> Result<Posted, Problem> {
        let (mapped, assumed) = (mapping.name.clone(), mapping.assumed);
        let reading =
            Reading { mapping, currency: account.merchant.currency, zone: account.merchant.zone.clone() };
        let File { lines, days } = web::block(move || File::read(form, &bytes, &reading)).await??;
        Ok(Posted { account: account.terms(), terms: FileTerms { mapping: mapped, assumed, days }, lines })
    }

    /// What the file would come to.
    async fn tried(self, app: &App) -> Result<Made, Problem> {
        let now = app.clock.now();
        let Posted { account, terms, lines } = self;
        let (terms, account, results, tally) = app
            .read_many(move |reader| {
                let mut results = reader.try_lines(&account, &lines, now)?;
                let mut tally = Tally::default();
                results.iter().for_each(|result| tally.add(result));
                if let Some(days) = terms.days {
                    let only_here = reader.only_here(&account.account, days, &named(&results))?;
                    tally.join(&only_here.tally);
                    results.extend(only_here.listed);
                }
                Ok((terms, account, results, tally))
            })
            .await?;
        let currency = account.currency;
        let settlement = SettlementView::tried(&Tried {
            account: account.account.as_str(),
            currency,
            terms: &terms,
            now,
            tally: &tally,
        });
        let lines = results.iter().map(|result| LineView::of(result, currency)).collect();
        Ok(Made::json(StatusCode::OK, &SettlementWithLines { settlement, lines, next_cursor: None }))
    }

    async fn carried_out(self, app: &App, nonce: Nonce) -> Result<Made, Problem> {
        let id = SettlementId(nonce.0);
        let begin = NewSettlement { id, account: self.account.clone(), terms: self.terms.clone() };
        submit(app, SettlementCommand::Begin(begin)).await?;
        let mut named_there = BTreeSet::new();
        for lines in self.lines.chunks(LINES_AT_ONCE) {
            let (account, lines) = (self.account.clone(), lines.to_vec());
            let settle = SettleLines { id, account, lines };
            let reply = submit(app, SettlementCommand::Settle(settle)).await?;
            let Reply::Settled(results) = reply else { return Err(Problem::another_answer()) };
            named_there.extend(named(&results));
        }
        end(app, id, &self.account.account, self.terms.days, named_there).await?;
        let found =
            app.read_many(move |reader| Ok((reader.settlement(id)?, reader.all_settlement_lines(id)?)));
        let (Some(settlement), results) = found.await? else { return Err(Problem::another_answer()) };
        let lines = results.iter().map(|result| LineView::of(result, settlement.currency)).collect();
        let settlement = SettlementView::of(&settlement);
        let report = SettlementWithLines { settlement, lines, next_cursor: None };
        Ok(Made::json(StatusCode::CREATED, &report).at(SettlementView::path(id)))
    }
}

async fn submit(app: &App, command: SettlementCommand) -> Result<Reply, Problem> {
    Ok(app.handle.submit_patiently(Command::Settlement(command)).await?)
}

/// The orders that some lines name.
fn named(results: &[LineResult]) -> BTreeSet<Reference> {
    results.iter().filter_map(|result| result.order.clone()).collect()
}

/// Notes the orders that no line names, and ends the file.
async fn end(
    app: &App,
    id: SettlementId,
    account: &AccountId,
    days: Option<(Time, Time)>,
    named: BTreeSet<Reference>,
) -> Result<(), Problem> {
    let account = account.clone();
    let OnlyHere { listed, tally } = match days {
        Some(days) => app.read_many(move |reader| reader.only_here(&account, days, &named)).await?,
        None => OnlyHere::default(),
    };
    for (found, first) in listed.chunks(NOTED_AT_ONCE).zip((0u32..).step_by(NOTED_AT_ONCE)) {
        submit(app, SettlementCommand::NoteOnlyHere { id, first, found: found.to_vec() }).await?;
    }
    submit(app, SettlementCommand::End { id, only_here: Box::new(tally) }).await?;
    Ok(())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SettlementsQuery {
    account: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Settlement files, newest first, without their lines.
#[utoipa::path(
    get, path = "/v1/settlements", tag = "settlements", params(SettlementsQuery),
    responses(
        (status = 200, body = Listed<SettlementView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<OrdersRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: SettlementsQuery = page::query(&request)?;
    let account = query.account.as_deref().map(account_filter).transpose()?;
    let limit = page::limit(query.limit)?;
    let before = query.cursor.as_deref().map(cursor).transpose()?;
    let accounts = permit.claims.accounts.clone();
    let wants = move |id: &AccountId| accounts.sees(id) && account.as_ref().is_none_or(|wanted| wanted == id);
    let page = app.read_many(move |reader| reader.settlements(wants, before, limit)).await?;
    let data = page.found.iter().map(SettlementView::of).collect();
    let next_cursor = page.next.map(|id| page::cursor(&[&id.to_string()]));
    Ok(HttpResponse::Ok().json(Listed::<SettlementView> { data, next_cursor }))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LinesQuery {
    /// matched, different, only_here, only_there or unreadable.
    outcome: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A settlement file's report and a page of its lines.
#[utoipa::path(
    get, path = "/v1/settlements/{id}", tag = "settlements",
    params(("id" = String, Path), LinesQuery),
    responses(
        (status = 200, body = SettlementWithLines),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<OrdersRead>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let query: LinesQuery = page::query(&request)?;
    let missing = || Problem::not_found("settlement file");
    let id = SettlementId::parse(&path).ok_or_else(missing)?;
    let settlement = app.read(|reader| reader.settlement(id)).await?;
    let settlement = settlement.filter(|it| permit.sees(&it.account)).ok_or_else(missing)?;
    let unknown = || Problem::parameter("outcome has no such value");
    let outcome =
        query.outcome.as_deref().map(|text| Finding::parse(text).ok_or_else(unknown)).transpose()?;
    let wants = move |result: &LineResult| outcome.is_none_or(|wanted| wanted == result.finding);
    let limit = page::limit(query.limit)?;
    let after = page::number(query.cursor.as_deref())?.map(Place);
    let page = app.read_many(move |reader| reader.settlement_lines(id, wants, after, limit)).await?;
    let lines = page.found.iter().map(|result| LineView::of(result, settlement.currency)).collect();
    let next_cursor = page.next.map(|Place(place)| page::cursor(&[&place.to_string()]));
    let settlement = SettlementView::of(&settlement);
    Ok(HttpResponse::Ok().json(SettlementWithLines { settlement, lines, next_cursor }))
}

fn cursor(text: &str) -> Result<SettlementId, Problem> {
    let invalid = || Problem::parameter("the cursor is not one that this list gave");
    page::parts(text)?.first().and_then(|part| SettlementId::parse(part)).ok_or_else(invalid)
}

impl From<Unusable> for Problem {
    fn from(unusable: Unusable) -> Problem {
        let detail = unusable.to_string();
        match unusable {
            Unusable::TooManyLines => Problem::new(413, "too-many-lines", "Too many lines", detail),
            Unusable::Header { .. } | Unusable::Twice(_) => {
                Problem::new(422, "unreadable-file", "Unreadable file", detail)
            }
        }
    }
}
