//! The world on a loopback port: each provider's API below its own path, and the callbacks that it posts.

use super::life::Life;
use super::persona::{Outgoing, Request, Response};
use super::world::{Ordered, Post, World};
use crate::clock::Clock;
use crate::net::client::Client;
use crate::wire::call::{Body, Call, Method};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the world is looked at when nothing is due: a life may begin at any time.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const BODY_BYTES_MAX: usize = 1024 * 1024;
const CENTS_DEFAULT: i64 = 12_990;

/// The world, shared between its API and what drives it.
#[derive(Clone)]
pub struct Stage {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    /// Where each provider's callbacks go; none: nowhere.
    targets: Arc<Mutex<BTreeMap<String, String>>>,
    /// What callbacks were answered with 200, as the bodies have it.
    answers: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Stage {
    pub fn new(world: World, clock: Arc<dyn Clock>) -> Stage {
        Stage { world: Arc::new(Mutex::new(world)), clock, targets: Arc::default(), answers: Arc::default() }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a provider's callbacks to this URL from now on.
    pub fn aim(&self, provider: &str, url: String) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).insert(provider.to_owned(), url);
    }

    fn target(&self, provider: &str) -> Option<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(provider).cloned()
    }

    /// Begins a life now.
    pub fn begin(&self, provider: &str, life: Life, reference: &str, cents: i64) -> Result<Ordered, String> {
        self.world()
            .begin(provider, life, reference, cents, self.clock.now())
            .map_err(|error| error.to_string())
    }

    /// Serves the providers' APIs until the future is dropped.
    pub fn serve(&self, listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
        let stage = self.clone();
        let factory = move || {
            App::new()
                .app_data(Data::new(stage.clone()))
                .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
                // A body typed into curl without a header is JSON all the same.
                .app_data(web::JsonConfig::default().content_type_required(false).content_type(|_| true))
                .service(
                    web::resource("/lives").route(web::post().to(begin_life)).route(web::get().to(lives)),
                )
                .service(web::resource("/answers").route(web::get().to(answers)))
                .service(web::resource("/{provider}/{path:.*}").route(web::route().to(api)))
        };
        Ok(HttpServer::new(factory).workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
    }

    /// Lets the world happen, and posts its callbacks, until the future is dropped.
    pub async fn drive(&self, client: &Client) {
        loop {
            let posts = self.world().step(self.clock.now());
            for post in posts {
                let (stage, client) = (self.clone(), client.clone());
                actix_web::rt::spawn(async move { stage.send(&client, post).await });
            }
            actix_web::rt::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn send(&self, client: &Client, post: Post) {
        let mut targets = self.world().subscribed(&post);
        if targets.is_empty() {
            targets.extend(self.target(post.provider).map(|url| (url, post.outgoing.clone())));
        }
        // Where one of several fails, all hear of it again.
        let mut worst = None;
        for (nth, (url, outgoing)) in targets.into_iter().enumerate() {
            let status = self.post(client, &url, &outgoing).await;
            let now = self.clock.now();
            self.world().delivered(&post, &url, status, now);
            let confirmed = status.is_some_and(|status| (200..300).contains(&status));
            worst = if nth == 0 || !confirmed { status } else { worst };
        }
        let now = self.clock.now();
        self.world().sent(post, worst, now);
    }

    /// Posts a callback; the status of the answer, if one came.
    async fn post(&self, client: &Client, url: &str, outgoing: &Outgoing) -> Option<u16> {
        let answer = client.perform(&call(url.to_owned(), outgoing)).await.ok()?;
        if answer.status == 200
            && let Ok(body) = serde_json::from_slice(&answer.body)
        {
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        Some(answer.status)
    }
}

fn call(url: String, outgoing: &Outgoing) -> Call {
    let bytes = String::from_utf8_lossy(&outgoing.body).into_owned().into();
    Call {
        method: Method::Post,
        url: url.into(),
        headers: outgoing.headers.iter().map(|(name, value)| (*name, value.clone().into())).collect(),
        body: Some(Body { content_type: outgoing.content_type, bytes }),
    }
}

async fn api(request: HttpRequest, body: Bytes, stage: Data<Stage>) -> HttpResponse {
    let path = request.uri().path().trim_start_matches('/');
    let (provider, rest) = path.split_once('/').unwrap_or((path, ""));
    let headers = request.headers().iter();
    let asked = Request {
        method: request.method().to_string(),
        path: format!("/{rest}"),
        query: request.query_string().to_owned(),
        headers: headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: body.to_vec(),
    };
    let now = stage.clock.now();
    let Response { status, content_type, retry_after, body } = stage.world().answer(provider, &asked, now);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(seconds) = retry_after {
        response.insert_header((RETRY_AFTER, seconds));
    }
    response.content_type(content_type).body(body)
}

/// What `POST /lives` takes.
#[derive(Deserialize)]
struct Begin {
    provider: String,
    life: String,
    reference: String,
    cents: Option<i64>,
}

/// What `POST /lives` answers, and `GET /lives` of each.
#[derive(Serialize)]
struct Told {
    provider: &'static str,
    reference: String,
    provider_ref: String,
    life: &'static str,
    state: &'static str,
    gross_cents: i64,
    refunded_cents: i64,
    charged_back_cents: i64,
}

impl Told {
    fn of(ordered: &Ordered) -> Told {
        Told {
            provider: ordered.provider,
            reference: ordered.reference.clone(),
            provider_ref: ordered.provider_ref.clone(),
            life: ordered.life.as_str(),
            state: ordered.truth.state,
            gross_cents: ordered.truth.gross,
            refunded_cents: ordered.truth.refunded,
            charged_back_cents: ordered.truth.charged_back,
        }
    }
}

async fn begin_life(stage: Data<Stage>, asked: web::Json<Begin>) -> HttpResponse {
    let Some(life) = Life::parse(&asked.life) else {
        let known: Vec<&str> = Life::ALL.into_iter().map(Life::as_str).collect();
        return HttpResponse::BadRequest().json(serde_json::json!({"error": "no such life", "known": known}));
    };
    match stage.begin(&asked.provider, life, &asked.reference, asked.cents.unwrap_or(CENTS_DEFAULT)) {
        Ok(ordered) => HttpResponse::Created().json(Told::of(&ordered)),
        Err(error) => HttpResponse::BadRequest().json(serde_json::json!({"error": error})),
    }
}

/// Whether everything has happened, whether every callback was delivered or given up, and what they were answered.
async fn answers(stage: Data<Stage>) -> HttpResponse {
    let happened = stage.world().has_happened();
    let over = stage.world().is_over();
    let answers = stage.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
    HttpResponse::Ok().json(serde_json::json!({"happened": happened, "over": over, "answers": answers}))
}

async fn lives(stage: Data<Stage>) -> HttpResponse {
    let told: Vec<Told> = stage.world().orders().map(Told::of).collect();
    HttpResponse::Ok().json(told)
}
