//! The OpenAPI document, from the handlers' own types.

use super::{
    admin, balances, batch, callbacks, deliveries, discrepancies, entries, erasure, events, export, metrics,
    orders, payouts, periods, receipts, reconciliations, reprocess, settlements, socket, statement, stream,
    tickets, upkeep, webhooks,
};
use actix_web::HttpResponse;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::openapi::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Razão",
        description = "A payments ledger beside the shop. Amounts are decimal strings with the currency's full scale, \
                       times RFC 3339, fields without a value null, errors application/problem+json (RFC 9457). Lists \
                       take `limit` and `cursor`, and answer `data` and `next_cursor`."
    ),
    paths(
        callbacks::post, callbacks::post_with_key,
        orders::put, orders::get, orders::list, orders::history, orders::poll, batch::post,
        entries::list, entries::get, entries::head, export::get,
        events::list, stream::get, socket::get, tickets::post,
        balances::get, statement::get,
periods::close, periods::list, periods::get, periods::corrections, settlements::post, settlements::list, settlements::get, payouts::post, payouts::list, receipts::list, receipts::get, receipts::reprocess, reprocess::post, erasure::delete,
        discrepancies::list, discrepancies::resolve,
        reconciliations::post, reconciliations::list, reconciliations::get,
        webhooks::create, webhooks::list, webhooks::get, webhooks::change, webhooks::delete,
        webhooks::rotate, webhooks::test, webhooks::enable, webhooks::replay,
        deliveries::list, deliveries::get, deliveries::resend,
admin::status, admin::health, admin::ready, upkeep::backup, upkeep::verify_now, metrics::get, get,
    ),
    security(("bearer" = [])),
    modifiers(&Bearer),
    tags(
        (name = "callbacks", description = "What providers send, and what became of it. Scopes callbacks:read, callbacks:write"),
        (name = "orders", description = "One payment at one account. Scopes orders:read, orders:write"),
        (name = "discrepancies", description = "Where evidence contradicts. Scopes orders:read, orders:write"),
        (name = "reconciliations", description = "Asking the provider about many orders. Scopes orders:read, orders:write"),
        (name = "ledger", description = "The append-only, hash-chained entries. Scope ledger:read"),
        (name = "events", description = "One event per entry. Scope events:read"),
        (name = "balances", description = "Double-entry balances. Scope balances:read"),
        (name = "periods", description = "Closed months, sealed. Scopes admin, balances:read; for tokens that see all accounts"),
        (name = "settlements", description = "Providers' settlement files. Scopes orders:read, orders:write"),
        (name = "payouts", description = "Money that left a provider for the bank. Scopes orders:read, orders:write"),
        (name = "webhooks", description = "Events posted to your systems, by Standard Webhooks. Scopes webhooks:read, webhooks:write"),
        (name = "admin", description = "The daemon itself. Scope admin"),
    )
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        // Wherever a token can be refused, too many refused ones can be slowed.
        for item in document.paths.paths.values_mut() {
            let methods = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
                &mut item.patch,
                &mut item.head,
            ];
            for operation in methods.into_iter().flatten() {
                let responses = &mut operation.responses.responses;
                if let Some(refused) = responses.get("401").cloned() {
                    responses.entry("429".to_owned()).or_insert(refused);
                }
            }
        }
    }
}

/// The document as pretty JSON, as `schema/openapi.json` keeps it.
pub fn json() -> Result<String, serde_json::Error> {
    Document::openapi().to_pretty_json().map(|text| text + "\n")
}

/// The methods that a path of the document has, as an `Allow` header lists them.
pub fn methods(path: &str) -> Option<&'static str> {
    static METHODS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let paths = Document::openapi().paths.paths;
        paths.into_iter().map(|(path, item)| (path, listed(&item))).collect()
    });
    METHODS.get(path).map(String::as_str)
}

fn listed(item: &PathItem) -> String {
    let methods = [
        ("GET", &item.get),
        ("HEAD", &item.head),
        ("PUT", &item.put),
        ("POST", &item.post),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    let known = methods.iter().filter(|(_, operation)| operation.is_some()).map(|(name, _)| *name);
    known.collect::<Vec<_>>().join(", ")
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "admin", security(()),
    responses((status = 200, body = Object, content_type = "application/json"))
)]
pub async fn get() -> HttpResponse {
    match json() {
        Ok(text) => HttpResponse::Ok().content_type("application/json").body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
