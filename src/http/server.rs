//! Listeners, limits, drain.

use super::app::App;
use super::problem::Problem;
use super::routes;
use super::trail;
use actix_cors::Cors;
use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, Version};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App as Actix, HttpMessage, HttpServer, ResponseError};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpListener;
use std::time::Duration;

/// Request heads that take longer are cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long running requests may take when the daemon stops.
const DRAIN_SECONDS: u64 = 10;
/// A peer that has not taken what was sent to it for so long is gone: nothing else ends a connection whose other side
/// vanished or stopped reading.
const UNREAD_MILLIS_MAX: u32 = 120_000;
/// What the kernel keeps for a peer that reads slowly (it takes twice of it, for its own book-keeping): left to itself it
/// takes megabytes for each, and there may be thousands.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
const CONNECTIONS_MAX: usize = 10_000;
const WORKERS_MAX: usize = 8;

/// What a listener serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// Everything, callbacks too.
    All,
    /// The API without callbacks.
    Api,
    /// Callbacks alone.
    Callbacks,
}

/// Lets the process open as many files as it may, and says how many that is: a connection is one, and the usual limit
/// of 1024 is kept low for programs of another age.
pub fn allow_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

/// Starts serving on listeners that are bound already. Signals are the daemon's business.
pub fn run(
    app: Data<App>,
    listeners: Vec<(TcpListener, Serves)>,
    tls: Option<&rustls::ServerConfig>,
) -> std::io::Result<(Vec<Server>, Vec<ServerHandle>)> {
    let mut servers = Vec::new();
    for (listener, serves) in listeners {
        // Its connections inherit both.
        set_tcp_user_timeout(&listener, UNREAD_MILLIS_MAX)?;
        set_socket_send_buffer_size(&listener, UNSENT_BYTES_MAX)?;
        let app = app.clone();
        let factory = move || {
            // What stands in an answer is nobody else's, and an address may hold a token or a ticket.
            let headers = DefaultHeaders::new()
                .add(("X-Content-Type-Options", "nosniff"))
                .add(("Referrer-Policy", "no-referrer"))
                .add(("Cache-Control", "no-store"));
            Actix::new()
                .app_data(app.clone())
                .wrap(cors(&app.cors_origins))
                .wrap(from_fn(refuse_other_than_utf8))
                .wrap(from_fn(take_no_needless_body))
                .wrap(headers)
                .wrap(from_fn(trail::follow))
                .configure(|config| configure(config, serves))
                .default_service(web::to(routes::not_found))
        };
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(WORKERS_MAX);
        let server = HttpServer::new(factory)
            .workers(workers)
            // It counts for each worker.
            .max_connections(CONNECTIONS_MAX / workers)
            .client_request_timeout(HEAD_TIMEOUT)
            .keep_alive(KEEP_ALIVE)
            // A reader of a stream that closed its side is gone, and its place is free at once.
            .h1_allow_half_closed(false)
            .shutdown_timeout(DRAIN_SECONDS)
            .disable_signals();
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls.clone())?,
            None => server.listen(listener)?,
        };
        servers.push(server.run());
    }
    let handles = servers.iter().map(Server::handle).collect();
    Ok((servers, handles))
}

/// actix reads a path leniently; a name that is not UTF-8 must not become another one.
async fn refuse_other_than_utf8(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if percent_encoding::percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        let problem = Problem::parameter("the path is not percent-encoded UTF-8");
        return Ok(request.into_response(problem.error_response()).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// h2 0.3 queues empty frames of a body without limit while somebody may still read it (RUSTSEC-2026-0258, mended in 0.4
/// alone). Where a request has no body by its method, nobody may: what a client sends nevertheless is dropped as it comes.
/// Handlers of bodies read them before anything else, and a POST without one is only for who has a token.
async fn take_no_needless_body(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // A WebSocket's GET reads on, over HTTP/1 alone.
    let bodiless = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS];
    if request.version() == Version::HTTP_2 && bodiless.contains(request.method()) {
        drop(request.take_payload());
    }
    next.call(request).await
}

/// Which other origins' pages may call the API; without any configured, none.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "PUT", "POST", "PATCH", "DELETE"])
        .allowed_headers([
            "authorization",
            "cache-control",
            "content-type",
            "idempotency-key",
            "if-none-match",
            "last-event-id",
        ])
        .expose_headers([
            "etag",
            "idempotency-replayed",
            "location",
            "retry-after",
            "www-authenticate",
            "x-request-id",
        ])
        .max_age(3600);
    if origins.iter().any(|origin| origin == "*") {
        return cors.allow_any_origin();
    }
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

fn configure(config: &mut web::ServiceConfig, serves: Serves) {
    match serves {
        Serves::All => {
            routes::callbacks(config);
            routes::api(config);
        }
        Serves::Api => routes::api(config),
        Serves::Callbacks => routes::callbacks(config),
    }
}
