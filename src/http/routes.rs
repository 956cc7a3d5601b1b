//! Every route in one table.

use super::problem::Problem;
use super::{
    admin, balances, batch, callbacks, deliveries, discrepancies, entries, erasure, events, export, metrics,
    openapi, orders, payouts, periods, receipts, reconciliations, reprocess, settlements, socket, statement,
    stream, tickets, upkeep, webhooks,
};
use actix_web::Resource;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{ServiceConfig, delete, get, head, patch, post, put, resource};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};

/// What faces providers.
pub fn callbacks(config: &mut ServiceConfig) {
    config
        .service(at("/callbacks/{account}").route(post().to(callbacks::post)))
        .service(at("/callbacks/{account}/{callback_key}").route(post().to(callbacks::post_with_key)));
}

/// What faces shops, accounting systems and admins.
pub fn api(config: &mut ServiceConfig) {
    config
        .service(at("/v1/orders").route(get().to(orders::list)))
        .service(
            at("/v1/orders/{account}/{reference}").route(get().to(orders::get)).route(put().to(orders::put)),
        )
        .service(at("/v1/orders:batch").route(post().to(batch::post)))
        .service(at("/v1/orders/{account}/{reference}/history").route(get().to(orders::history)))
        .service(at("/v1/orders/{account}/{reference}/poll").route(post().to(orders::poll)))
        .service(at("/v1/ledger").route(get().to(entries::list)))
        .service(at("/v1/ledger/head").route(get().to(entries::head)))
        .service(at("/v1/ledger/{seq}").route(get().to(entries::get)))
        .service(at("/v1/events").route(get().to(events::list)))
        .service(at("/v1/stream").route(get().to(stream::get)))
        .service(at("/v1/ws").route(get().to(socket::get)))
        .service(at("/v1/tickets").route(post().to(tickets::post)))
        .service(at("/v1/balances").route(get().to(balances::get)))
        .service(at("/v1/export").route(get().to(export::get)))
        .service(at("/v1/statement").route(get().to(statement::get)))
        .service(at("/v1/periods").route(get().to(periods::list)))
        .service(at("/v1/periods/{period}").route(get().to(periods::get)))
        .service(at("/v1/periods/{period}/close").route(post().to(periods::close)))
        .service(at("/v1/periods/{period}/corrections").route(get().to(periods::corrections)))
        .service(at("/v1/settlements").route(get().to(settlements::list)).route(post().to(settlements::post)))
        .service(at("/v1/settlements/{id}").route(get().to(settlements::get)))
        .service(at("/v1/payouts").route(get().to(payouts::list)).route(post().to(payouts::post)))
        .service(at("/v1/callbacks").route(get().to(receipts::list)))
        .service(at("/v1/receipts").route(delete().to(erasure::delete)))
        .service(at("/v1/callbacks:reprocess").route(post().to(reprocess::post)))
        .service(at("/v1/callbacks/{id}").route(get().to(receipts::get)))
        .service(at("/v1/callbacks/{id}/reprocess").route(post().to(receipts::reprocess)))
        .service(at("/v1/discrepancies").route(get().to(discrepancies::list)))
        .service(at("/v1/discrepancies/{id}/resolve").route(post().to(discrepancies::resolve)))
        .service(
            at("/v1/reconciliations")
                .route(get().to(reconciliations::list))
                .route(post().to(reconciliations::post)),
        )
        .service(at("/v1/reconciliations/{id}").route(get().to(reconciliations::get)))
        .service(at("/v1/webhooks").route(post().to(webhooks::create)).route(get().to(webhooks::list)))
        .service(
            at("/v1/webhooks/{id}")
                .route(get().to(webhooks::get))
                .route(patch().to(webhooks::change))
                .route(delete().to(webhooks::delete)),
        )
        .service(at("/v1/webhooks/{id}/rotate").route(post().to(webhooks::rotate)))
        .service(at("/v1/webhooks/{id}/test").route(post().to(webhooks::test)))
        .service(at("/v1/webhooks/{id}/enable").route(post().to(webhooks::enable)))
        .service(at("/v1/webhooks/{id}/replay").route(post().to(webhooks::replay)))
        .service(at("/v1/webhooks/{id}/deliveries").route(get().to(deliveries::list)))
        .service(at("/v1/deliveries/{id}").route(get().to(deliveries::get)))
        .service(at("/v1/deliveries/{id}/resend").route(post().to(deliveries::resend)))
        .service(at("/v1/admin/status").route(get().to(admin::status)))
        .service(at("/v1/admin/backup").route(post().to(upkeep::backup)))
        .service(at("/v1/admin/verify").route(post().to(upkeep::verify_now)))
        .service(at("/healthz").route(get().to(admin::health)).route(head().to(admin::health)))
        .service(at("/readyz").route(get().to(admin::ready)).route(head().to(admin::ready)))
        .service(at("/metrics").route(get().to(metrics::get)))
        .service(at("/openapi.json").route(get().to(openapi::get)));
}

/// A path that answers other methods as a problem.
fn at(path: &str) -> Resource {
    resource(path).default_service(web::to(method_not_allowed))
}

async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    let problem =
        Problem::new(405, "method-not-allowed", "Method not allowed", "this path has other methods");
    let mut response = problem.error_response();
    let methods = request.match_pattern().and_then(|path| openapi::methods(&path));
    if let Some(methods) = methods {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// Anything that has no route.
pub async fn not_found() -> HttpResponse {
    Problem::not_found("path; /openapi.json lists them").error_response()
}
