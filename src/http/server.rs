//! Listeners, limits, drain.

use super::app::App;
use super::routes;
use actix_cors::Cors;
use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, Data};
use actix_web::{App as Actix, HttpServer};
use std::net::TcpListener;
use std::time::Duration;

/// Request heads that take longer are cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long running requests may take when the daemon stops.
const DRAIN_SECONDS: u64 = 10;
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

/// Starts serving on listeners that are bound already. Signals are the daemon's business.
pub fn run(
    app: Data<App>,
    listeners: Vec<(TcpListener, Serves)>,
    tls: Option<&rustls::ServerConfig>,
) -> std::io::Result<(Vec<Server>, Vec<ServerHandle>)> {
    let mut servers = Vec::new();
    for (listener, serves) in listeners {
        let app = app.clone();
        let factory = move || {
            let headers = DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff"));
            Actix::new()
                .app_data(app.clone())
                .wrap(headers)
                .wrap(cors(&app.cors_origins))
                .configure(|config| configure(config, serves))
                .default_service(web::to(routes::not_found))
        };
        let server = HttpServer::new(factory)
            .workers(std::thread::available_parallelism().map_or(2, usize::from).min(WORKERS_MAX))
            .max_connections(CONNECTIONS_MAX)
            .client_request_timeout(HEAD_TIMEOUT)
            .keep_alive(KEEP_ALIVE)
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

/// Which other origins' pages may call the API; without any configured, none.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "PUT", "POST", "PATCH", "DELETE"])
        .allowed_headers([
            "authorization",
            "content-type",
            "idempotency-key",
            "if-none-match",
            "last-event-id",
        ])
        .expose_headers(["etag", "retry-after", "www-authenticate"])
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
