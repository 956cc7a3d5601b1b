//! The statement of one ledger account: as a page of JSON, or the whole period as CSV.

use super::app::App;
use super::guard::{BalancesRead, Permit};
use super::page;
use super::problem::Problem;
use crate::domain::ids::Seq;
use crate::domain::money::{Currency, Total};
use crate::domain::posting::{LedgerAccount, Purpose};
use crate::domain::time::Time;
use crate::export::{Dialect, Row};
use crate::ledger::range::{Edge, Range};
use crate::ledger::reader::Reader;
use crate::ledger::statement::{Asked, Page, Period, Place};
use crate::views::statement::StatementLineView;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::error::Error;
use utoipa::{IntoParams, ToSchema};

/// Lines that a CSV is read by.
const LINES_PER_WRITE: usize = 5_000;
const COLUMNS: [&str; 8] =
    ["seq", "recorded_at", "occurred_at", "order", "kind", "amount", "running_balance", "currency"];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StatementQuery {
    /// Such as `assets:loja-picpay:pending`.
    ledger_account: String,
    /// Inclusive: a day such as 2026-11-01 (its start in `reports.timezone`), a time, or a seq. Absent: the beginning.
    from: Option<String>,
    /// A day's start or a time, exclusive, or a seq, inclusive. Absent: now.
    to: Option<String>,
    /// By which date: ours (`recorded`, the default: a period that is over never changes) or the provider's.
    #[param(inline)]
    date: Option<By>,
    /// Required only where the ledger account has several.
    currency: Option<String>,
    /// `csv` answers all lines at once, between a row of the opening and one of the closing balance.
    #[param(inline)]
    format: Option<Format>,
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Which of an entry's dates counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    #[default]
    Recorded,
    Occurred,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// A period of one ledger account: opening balance + lines = closing balance.
#[derive(Serialize, ToSchema)]
pub struct StatementAnswer {
    pub ledger_account: String,
    pub account: String,
    pub currency: &'static str,
    #[schema(inline)]
    pub date: By,
    /// As it was understood: a time in UTC, or a seq.
    pub from: Option<String>,
    pub to: Option<String>,
    /// The last seq that was looked at; the same on every page.
    pub seq: u64,
    /// Of the whole period, on every page.
    pub opening_balance: String,
    /// Of the whole period, on every page.
    pub closing_balance: String,
    pub data: Vec<StatementLineView>,
    /// Pass it as `cursor` to go on; null at the end.
    pub next_cursor: Option<String>,
}

/// What moved one ledger account in a period.
///
/// By the time of recording, unless `date=occurred` asks for the provider's dates: then news about the past may still come
/// in, and every page looks at the ledger account's whole history.
#[utoipa::path(
    get, path = "/v1/statement", tag = "balances", params(StatementQuery),
    responses(
        (status = 200, content((StatementAnswer = "application/json"), (String = "text/csv"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<BalancesRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: StatementQuery = page::query(&request)?;
    let ledger_account = named(&app, &permit, &query.ledger_account)?;
    let currency = currency(&app, &ledger_account, query.currency.as_deref())?;
    let format = query.format.unwrap_or_default();
    if format == Format::Csv && (query.limit.is_some() || query.cursor.is_some()) {
        return Err(Problem::parameter("csv answers all lines; leave out limit and cursor"));
    }
    let limit = if format == Format::Csv { LINES_PER_WRITE } else { page::limit(query.limit)? };
    let cursor = query.cursor.as_deref().map(|text| Cursor::parse(text, app.reader.head())).transpose()?;
    let edges = Edges::parse(&query, &app.timezone)?;
    let reader = app.reader.clone();
    let read = move || {
        let period = edges.period(&reader, cursor.map(|cursor| cursor.upto))?;
        let after = cursor.map(|cursor| cursor.after);
        let asked = Asked { ledger_account, currency, period, after, limit };
        let page = reader.statement(&asked)?;
        Ok::<_, Problem>((asked, edges, page))
    };
    let (asked, edges, page) = web::block(read).await??;
    Ok(match format {
        Format::Json => HttpResponse::Ok().json(answer(&asked, &edges, &page)),
        Format::Csv => csv_answer(app.reader.clone(), asked, page),
    })
}

/// The ledger account of a name, among those that are posted to and those that may be; others do not exist.
fn named(app: &App, permit: &Permit<BalancesRead>, name: &str) -> Result<LedgerAccount, Problem> {
    let published = app.reader.published();
    let posted = published.balances.0.keys().map(|(ledger_account, _)| ledger_account.clone());
    let configured = app.accounts.all().flat_map(|account| {
        let of = |purpose| LedgerAccount { account: account.merchant.id.clone(), purpose };
        Purpose::ALL.map(of)
    });
    let found = posted
        .chain(configured)
        .find(|ledger_account| permit.sees(&ledger_account.account) && ledger_account.to_string() == name);
    found.ok_or_else(|| Problem::not_found("ledger account"))
}

/// The currency asked for, or the only one there is.
fn currency(app: &App, ledger_account: &LedgerAccount, asked: Option<&str>) -> Result<Currency, Problem> {
    if let Some(code) = asked {
        return Currency::parse(code).map_err(|error| Problem::parameter(error.to_string()));
    }
    let published = app.reader.published();
    let posted = published.balances.0.keys().filter(|(name, _)| name == ledger_account);
    let posted: BTreeSet<&str> = posted.map(|(_, currency)| currency.code()).collect();
    let configured =
        app.accounts.get(&ledger_account.account).map(|account| account.merchant.currency.code());
    let code = match posted.len() {
        0 => configured,
        1 => posted.first().copied(),
        _ => None,
    };
    let code =
        code.ok_or_else(|| Problem::parameter("this ledger account has several currencies; name one"))?;
    Currency::parse(code).map_err(|error| Problem::parameter(error.to_string()))
}

fn time(edge: Edge) -> Result<Time, Problem> {
    match edge {
        Edge::Time(time) => Ok(time),
        Edge::Seq(_) => Err(Problem::parameter("with date=occurred, from and to are days or times")),
    }
}

#[derive(Clone, Copy)]
struct Edges {
    from: Option<Edge>,
    to: Option<Edge>,
    by: By,
}

impl Edges {
    fn parse(query: &StatementQuery, zone: &TimeZone) -> Result<Edges, Problem> {
        let (from, to) = Edge::pair(query.from.as_deref(), query.to.as_deref(), zone)?;
        Ok(Edges { from, to, by: query.date.unwrap_or_default() })
    }

    /// The period they mean. `upto`: the seq that an earlier page of the same statement ended at.
    fn period(&self, reader: &Reader, upto: Option<Seq>) -> Result<Period, Problem> {
        if self.by == By::Occurred {
            let (from, to) = (self.from.map(time).transpose()?, self.to.map(time).transpose()?);
            return Ok(Period::Occurred { from, to, upto: upto.unwrap_or(reader.head()) });
        }
        let Range { from, to } = reader.range(self.from, upto.map(Edge::Seq).or(self.to))?;
        Ok(Period::Recorded { from, to })
    }
}

/// What a page ended at, and what all pages of one statement have in common.
#[derive(Clone, Copy)]
struct Cursor {
    upto: Seq,
    after: Place,
}

impl Cursor {
    fn parse(text: &str, head: Seq) -> Result<Cursor, Problem> {
        let invalid = || Problem::parameter("the cursor is not one that this list gave");
        let parts = page::parts(text)?;
        let [upto, time, seq] = parts.as_slice() else { return Err(invalid()) };
        let number = |text: &str| text.parse().map(Seq).map_err(|_| invalid());
        let time = time.parse().map(Time).map_err(|_| invalid())?;
        let cursor = Cursor { upto: number(upto)?, after: (time, number(seq)?) };
        if cursor.upto > head { Err(invalid()) } else { Ok(cursor) }
    }

    fn text(self) -> String {
        let (time, seq) = self.after;
        page::cursor(&[&self.upto.to_string(), &time.0.to_string(), &seq.to_string()])
    }
}

fn answer(asked: &Asked, edges: &Edges, page: &Page) -> StatementAnswer {
    let upto = asked.period.upto();
    StatementAnswer {
        ledger_account: asked.ledger_account.to_string(),
        account: asked.ledger_account.account.to_string(),
        currency: asked.currency.code(),
        date: edges.by,
        from: edges.from.map(|edge| edge.to_string()),
        to: edges.to.map(|edge| edge.to_string()),
        seq: upto.0,
        opening_balance: page.opening.show(asked.currency),
        closing_balance: page.closing.show(asked.currency),
        data: lines(asked, page).collect(),
        next_cursor: page.next.map(|after| Cursor { upto, after }.text()),
    }
}

fn lines<'a>(asked: &'a Asked, page: &'a Page) -> impl Iterator<Item = StatementLineView> + 'a {
    page.lines
        .iter()
        .map(|line| StatementLineView::of(&line.entry, asked.currency, line.amount, line.balance))
}

fn csv_answer(reader: Reader, asked: Asked, first: Page) -> HttpResponse {
    let sheet = Sheet { reader, asked, opened: false, next: Some(first) };
    HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header(("Content-Disposition", "attachment; filename=\"statement.csv\""))
        .streaming(sheet.into_stream())
}

/// A CSV on its way, a page at a time.
struct Sheet {
    reader: Reader,
    asked: Asked,
    opened: bool,
    next: Option<Page>,
}

impl Sheet {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Box<dyn Error>>> {
        stream::try_unfold(self, Sheet::step)
    }

    /// The next piece of text. An error cuts the answer off: a statement that lacks its end must not look whole.
    async fn step(mut self) -> Result<Option<(Bytes, Sheet)>, Box<dyn Error>> {
        let Some(page) = self.next.take() else { return Ok(None) };
        let text = self.write(&page);
        if page.next.is_some() {
            self.asked.after = page.next;
            let (reader, asked) = (self.reader.clone(), self.asked.clone());
            self.next = Some(web::block(move || reader.statement(&asked)).await??);
        }
        Ok(Some((Bytes::from(text), self)))
    }

    fn write(&mut self, page: &Page) -> String {
        let mut text = String::new();
        if !std::mem::replace(&mut self.opened, true) {
            COLUMNS.iter().fold(row(&mut text), |row, column| row.word(column)).end();
            self.balance("opening_balance", page.opening, &mut text);
        }
        for line in lines(&self.asked, page) {
            row(&mut text)
                .word(&line.seq.to_string())
                .word(&line.recorded_at)
                .word(&line.occurred_at)
                .text(&line.order.unwrap_or_default())
                .word(line.kind)
                .amount(&line.amount)
                .amount(&line.running_balance)
                .word(self.asked.currency.code())
                .end();
        }
        if page.next.is_none() {
            self.balance("closing_balance", page.closing, &mut text);
        }
        text
    }

    fn balance(&self, kind: &str, total: Total, text: &mut String) {
        let currency = self.asked.currency;
        let row = ["", "", "", "", kind, ""].into_iter().fold(row(text), |row, word| row.word(word));
        row.amount(&total.show(currency)).word(currency.code()).end();
    }
}

fn row(text: &mut String) -> Row<'_> {
    Row::new(text, Dialect::Plain)
}
