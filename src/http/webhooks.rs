//! /v1/webhooks: subscriptions to events, and what is done with them.

use super::app::{App, through};
use super::body;
use super::guard::{Permit, WebhooksRead, WebhooksWrite};
use super::idempotency::{self, Made};
use super::page::{self, Listed};
use super::problem::{FieldProblem, Problem};
use super::webhook_body::{self, Bounds, NewWebhookBody, ReplayBody, Wanted, WebhookChangeBody};
use crate::auth::Accounts;
use crate::clock::random_bytes;
use crate::delivery::runner::Task;
use crate::delivery::sign;
use crate::domain::ids::{AccountId, Nonce};
use crate::domain::receipt::Private;
use crate::domain::webhook::{Course, Keyring, Pattern, Reach, Webhook, WebhookId};
use crate::ledger::command::{Command, Reply};
use crate::ledger::reader::Reader;
use crate::ledger::webhooks::{Change, Hooked, NewWebhook, WebhookCommand};
use crate::store::meta::StoreError;
use crate::views::webhook::{DeliveryView, Now, WebhookView, WebhookWithSecret};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WebhooksQuery {
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Subscribes to events. The answer shows the signing secret, this once.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request is answered the same, secret included, with `Idempotency-Replayed: true`")),
    request_body = NewWebhookBody,
    responses(
        (status = 201, body = WebhookWithSecret, headers(("Location" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "cursor-ahead, too many webhooks, idempotency-in-progress or idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "Among others: a target that may not be called"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    permit: Permit<WebhooksWrite>,
    request: HttpRequest,
    app: Data<App>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::limited(payload, body::BODY_BYTES_MAX).await?;
    let json = body::json_object(&bytes)?;
    let configured = |id: &AccountId| app.accounts.get(id).is_some();
    let bounds = Bounds { visible: &permit.claims.accounts, is_configured: &configured };
    let Wanted { target, change, from } = webhook_body::created(&json, &bounds)?;
    check_target(&app, &target).await?;
    let new = |nonce: Nonce| {
        Ok::<_, Problem>(NewWebhook {
            id: WebhookId(nonce.0),
            target,
            description: change.description.flatten(),
            events: change.events.unwrap_or_else(|| vec![Pattern::all()]),
            accounts: change.accounts.unwrap_or_else(|| webhook_body::reach(&permit.claims.accounts)),
            headers: change.headers.unwrap_or_default(),
            from,
            secret: new_secret()?,
            authorization: change.authorization.flatten(),
        })
    };
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |nonce| {
        let new = new(nonce)?;
        tracing::info!(webhook = %new.id, "a webhook is made");
        let hooked = submit(app, WebhookCommand::Create(new)).await?;
        let path = format!("/v1/webhooks/{}", hooked.webhook.id);
        Ok(Made::json(StatusCode::CREATED, &with_secret(app, &hooked)).at(path))
    })
    .await
}

/// Webhooks, oldest first; those that reach further than the token do not exist for it.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", params(WebhooksQuery),
    responses(
        (status = 200, body = Listed<WebhookView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    permit: Permit<WebhooksRead>,
    request: HttpRequest,
    app: Data<App>,
) -> Result<HttpResponse, Problem> {
    let query: WebhooksQuery = page::query(&request)?;
    let limit = page::limit(query.limit)?;
    let after = query.cursor.as_deref().map(page::parts).transpose()?;
    let after = after.and_then(|parts| parts.first().and_then(|part| WebhookId::parse(part)));
    let visible = permit.claims.accounts;
    let read = move |reader: &Reader| {
        let page = reader.webhooks(|webhook| lies_within(&webhook.accounts, &visible), after, limit)?;
        let known: Result<Vec<_>, StoreError> =
            page.found.into_iter().map(|webhook| whole(reader, webhook)).collect();
        Ok((known?, page.next))
    };
    let (found, next) = app.read_many(read).await?;
    let next_cursor = next.map(|id| page::cursor(&[&id.to_string()]));
    let data = found.iter().flatten().map(|hooked| view(&app, hooked)).collect();
    Ok(HttpResponse::Ok().json(Listed::<WebhookView> { data, next_cursor }))
}

/// One webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    permit: Permit<WebhooksRead>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let hooked = find(&permit, &app, &path).await?;
    Ok(HttpResponse::Ok().json(view(&app, &hooked)))
}

/// Changes a webhook; what is absent stays. It applies to the entries beyond its cursor, and to deliveries that began.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = WebhookChangeBody,
    responses(
        (status = 200, body = WebhookView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let json = body::object(payload).await?;
    let id = find(&permit, &app, &path).await?.webhook.id;
    let configured = |id: &AccountId| app.accounts.get(id).is_some();
    let bounds = Bounds { visible: &permit.claims.accounts, is_configured: &configured };
    let change = webhook_body::changed(&json, &bounds)?;
    if let Some(target) = &change.target {
        check_target(&app, target).await?;
    }
    let passed = app.board.get(id).map(|standing| (standing.revision, standing.cursor));
    let hooked = submit(&app, WebhookCommand::Change(id, Change { passed, ..change })).await?;
    Ok(HttpResponse::Ok().json(view(&app, &hooked)))
}

/// Ends a subscription, and erases its deliveries.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 204),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = find(&permit, &app, &path).await?.webhook.id;
    let (handle, deliveries) = (app.handle.clone(), app.deliveries.clone());
    let carried = through(async move {
        handle.submit(Command::Webhook(WebhookCommand::Delete(id))).await?;
        drop(deliveries.send(Task::Changed(id)));
        Ok::<(), Problem>(())
    });
    carried.await??;
    tracing::info!(webhook = %id, "a webhook is deleted");
    Ok(HttpResponse::NoContent().finish())
}

/// Makes a new signing secret, shown this once. For 24 hours the old one signs too: the signature header carries both.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters; for 24 hours the same request rotates nothing again and is answered the same, secret included, with `Idempotency-Replayed: true`"),
    ),
    responses(
        (status = 200, body = WebhookWithSecret),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "idempotency-in-progress or idempotency-key-reused"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    permit: Permit<WebhooksWrite>,
    request: HttpRequest,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let bytes = body::limited(payload, body::BODY_BYTES_MAX).await?;
    let id = find(&permit, &app, &path).await?.webhook.id;
    let app = &app;
    idempotency::once(app, &permit.claims, &request, &bytes, async |nonce| {
        let secret = Private([nonce.0.as_slice(), &new_secret()?.0].concat());
        let hooked = submit(app, WebhookCommand::Rotate { id, nonce, secret }).await?;
        Ok(Made::json(StatusCode::OK, &with_secret(app, &hooked)))
    })
    .await
}

/// Sends a `webhook.test` event, whatever the webhook's `events` are; answers its delivery.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 202, body = DeliveryView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "webhook-disabled, or too many wait"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn test(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = find(&permit, &app, &path).await?.webhook.id;
    let hooked = submit(&app, WebhookCommand::Test(id)).await?;
    super::deliveries::answer(&app, hooked.delivery, StatusCode::ACCEPTED).await
}

/// Turns a webhook on again: it goes on from its own seq, nothing is skipped, and what waits is tried at once.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/enable", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn enable(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = find(&permit, &app, &path).await?.webhook.id;
    let hooked = submit(&app, WebhookCommand::Enable(id)).await?;
    Ok(HttpResponse::Ok().json(view(&app, &hooked)))
}

/// Delivers a stretch of the ledger again, under the same ids. `to` beyond the head means the head.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path)), request_body = ReplayBody,
    responses(
        (status = 202, body = WebhookView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "cursor-ahead, or too many replays"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn replay(
    permit: Permit<WebhooksWrite>,
    app: Data<App>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let json = body::object(payload).await?;
    let id = find(&permit, &app, &path).await?.webhook.id;
    let (from, to) = webhook_body::replay(&json)?;
    let hooked = submit(&app, WebhookCommand::Replay { id, from, to }).await?;
    Ok(HttpResponse::Accepted().json(view(&app, &hooked)))
}

/// Carries out a command about a webhook, and tells those who deliver.
pub(super) async fn submit(app: &App, command: WebhookCommand) -> Result<Hooked, Problem> {
    let (handle, deliveries) = (app.handle.clone(), app.deliveries.clone());
    let carried = through(async move {
        let reply = handle.submit(Command::Webhook(command)).await?;
        let Reply::Hooked(hooked) = reply else { return Err(Problem::another_answer()) };
        drop(deliveries.send(Task::Changed(hooked.webhook.id)));
        Ok(*hooked)
    });
    carried.await?
}

/// A webhook that the token sees.
pub(super) async fn find<S>(permit: &Permit<S>, app: &App, id: &str) -> Result<Hooked, Problem> {
    let missing = || Problem::not_found("webhook");
    let id = WebhookId::parse(id).ok_or_else(missing)?;
    let read = |reader: &Reader| match reader.webhook(id)? {
        Some(webhook) => whole(reader, webhook),
        None => Ok(None),
    };
    let hooked = app.read(read).await?;
    let visible = &permit.claims.accounts;
    hooked.filter(|hooked| lies_within(&hooked.webhook.accounts, visible)).ok_or_else(missing)
}

fn whole(reader: &Reader, webhook: Webhook) -> Result<Option<Hooked>, StoreError> {
    let course: Option<Course> = reader.course(webhook.id)?;
    let keyring: Option<Keyring> = reader.keyring(webhook.id)?;
    Ok(course.zip(keyring).map(|(course, keyring)| Hooked { webhook, course, keyring, delivery: None }))
}

/// Whether a token sees all that a webhook is told of.
fn lies_within(reach: &Reach, visible: &Accounts) -> bool {
    match (reach, visible) {
        (_, Accounts::All) => true,
        (Reach::All, Accounts::Only(_)) => false,
        (Reach::Only(told), Accounts::Only(seen)) => told.is_subset(seen),
    }
}

fn view(app: &App, Hooked { webhook, course, keyring, .. }: &Hooked) -> WebhookView {
    let standing = app.board.get(webhook.id).unwrap_or_default();
    let now = Now {
        cursor: standing.cursor.max(course.cursor),
        pending: standing.pending,
        retrying: standing.retrying,
    };
    WebhookView::of(webhook, course, keyring, now)
}

fn with_secret(app: &App, hooked: &Hooked) -> WebhookWithSecret {
    WebhookWithSecret { webhook: view(app, hooked), secret: sign::shown(&hooked.keyring.secret.0) }
}

async fn check_target(app: &App, target: &str) -> Result<(), Problem> {
    app.poster.check(target).await.map_err(|refused| {
        Problem::fields(vec![FieldProblem { field: "target".to_owned(), detail: refused.to_string() }])
    })
}

fn new_secret() -> Result<Private, Problem> {
    Ok(Private(drawn::<{ sign::SECRET_BYTES }>()?.to_vec()))
}

fn drawn<const N: usize>() -> Result<[u8; N], Problem> {
    random_bytes().map_err(|_| Problem::unavailable("the system gives no randomness", 1))
}
