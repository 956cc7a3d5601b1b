//! The events of `/v1/stream` one after the other, opened again after every cut from where the last one ended.

use super::super::api::Api;
use super::line;
use crate::cli::note;
use crate::net::client::{Client, Incoming};
use crate::schedule::backoff::Growth;
use crate::wire::call::Call;
use crate::wire::json::Json;
use crate::wire::sse::{Frame, Parser};
use anyhow::{Context, anyhow, bail};
use std::collections::VecDeque;
use std::time::Duration;

/// Three missing heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const PAUSES: Growth =
    Growth { first_pause: Duration::from_millis(250), pause_max: Duration::from_secs(10), percent: 200 };

pub struct Event {
    pub seq: u64,
    /// `evt_…`
    pub id: String,
    /// As it came.
    pub body: String,
    /// As a person reads it.
    pub line: String,
}

pub enum Next {
    Event(Event),
    /// It cannot go on, and why.
    Over(String),
}

pub struct Feed {
    client: Client,
    api: Api,
    types: Option<String>,
    /// The first seq that is still wanted; not known before the stream first answers if nobody named one.
    position: Option<u64>,
    stream: Option<Stream>,
    /// Whether it was ever open: a daemon that was never there is a mistake, one that is gone comes back.
    opened: bool,
    failures: u32,
}

struct Stream {
    incoming: Incoming,
    parser: Parser,
    frames: VecDeque<Frame>,
    /// It said that its token is over.
    expired: bool,
}

/// Why there is no stream.
enum Refusal {
    /// Another try may do.
    ForNow(anyhow::Error),
    /// None will.
    ForGood(anyhow::Error),
}

impl Feed {
    pub fn new(api: Api, from: Option<u64>, types: Option<&str>) -> anyhow::Result<Feed> {
        let types = types.map(str::to_owned);
        let client = Client::patient(SILENCE_MAX)?;
        Ok(Feed { client, api, types, position: from, stream: None, opened: false, failures: 0 })
    }

    pub async fn next(&mut self) -> anyhow::Result<Next> {
        loop {
            let Some(stream) = &mut self.stream else {
                match self.open().await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        self.opened = true;
                    }
                    Err(Refusal::ForNow(why) | Refusal::ForGood(why)) if !self.opened => return Err(why),
                    Err(Refusal::ForNow(why)) => self.pause(Some(&why)).await,
                    Err(Refusal::ForGood(why)) => return Ok(Next::Over(format!("{why:#}"))),
                }
                continue;
            };
            match stream.next().await {
                Ok(Some(frame)) => {
                    if let Some(event) = self.heard(frame)? {
                        return Ok(Next::Event(event));
                    }
                }
                Ok(None) if stream.expired && !self.api.renews() => {
                    let over = "the token expired; go on with --from";
                    let at = self.position.map_or("…".to_owned(), |seq| seq.to_string());
                    return Ok(Next::Over(format!("{over} {at} and a new --token")));
                }
                Ok(None) => {
                    let why = (!stream.expired).then(|| anyhow!("the stream ended"));
                    self.stream = None;
                    self.pause(why.as_ref()).await;
                }
                Err(why) => {
                    self.stream = None;
                    self.pause(Some(&why)).await;
                }
            }
        }
    }

    async fn open(&self) -> Result<Stream, Refusal> {
        let base = &self.api.base;
        let token = self.api.token().map_err(Refusal::ForGood)?;
        let call = Call::get(self.url()).bearer(Some(&token));
        let advice = || format!("no daemon answers on {base}; start it, or say where it is with --url");
        let incoming = self.client.open(&call).await.with_context(advice).map_err(Refusal::ForNow)?;
        match (incoming.status(), incoming.content_type()) {
            (200, Some(kind)) if kind.starts_with("text/event-stream") => {
                Ok(Stream { incoming, parser: Parser::default(), frames: VecDeque::new(), expired: false })
            }
            (status @ (400 | 401 | 403 | 404 | 409 | 422), _) => {
                let detail = detail(incoming).await;
                Err(Refusal::ForGood(anyhow!("the daemon on {base} answered {status}: {detail}")))
            }
            (200, _) => Err(Refusal::ForGood(anyhow!("what answers on {base} is not razao; see --url"))),
            (status, _) => Err(Refusal::ForNow(anyhow!("the daemon on {base} answered {status}"))),
        }
    }

    fn url(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(position) = self.position {
            query.append_pair("from", &position.to_string());
        }
        if let Some(types) = &self.types {
            query.append_pair("type", types);
        }
        format!("{}/v1/stream?{}", self.api.base, query.finish())
    }

    /// An event that was not heard before. The greeting tells where "from now on" began, so that a cut before the first
    /// event leaves no gap either.
    fn heard(&mut self, frame: Frame) -> anyhow::Result<Option<Event>> {
        self.failures = 0;
        let (id, body) = match frame {
            Frame::Event { id, data } => (id, data),
            Frame::Comment(text) => {
                let head = text.strip_prefix("seq=").and_then(|seq| seq.parse::<u64>().ok());
                self.position = self.position.or(head.map(|head| head.saturating_add(1)));
                return Ok(None);
            }
        };
        let seq: u64 = id.parse().map_err(|_| anyhow!("the stream sent an event without a seq"))?;
        if self.position.is_some_and(|position| seq < position) {
            return Ok(None);
        }
        let json = Json::parse(body.as_bytes()).context("the stream sent an event that cannot be read")?;
        let Some(id) = json.get("id").and_then(Json::as_str) else {
            bail!("the stream sent an event without an id")
        };
        self.position = Some(seq.saturating_add(1));
        let (id, line) = (id.to_owned(), line(seq, &json));
        Ok(Some(Event { seq, id, body, line }))
    }

    async fn pause(&mut self, why: Option<&anyhow::Error>) {
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSES.plain(self.failures);
        if let Some(why) = why {
            note(format_args!("razao: {why:#}; trying again in {} ms", pause.as_millis()));
        }
        tokio::time::sleep(pause).await;
    }
}

impl Stream {
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                self.expired |= frame == Frame::Comment("token expired".to_owned());
                return Ok(Some(frame));
            }
            let Some(bytes) = self.incoming.next().await? else { return Ok(None) };
            self.frames.extend(self.parser.feed(&bytes)?);
        }
    }
}

/// What a problem document says of the refusal.
async fn detail(incoming: Incoming) -> String {
    let body = incoming.whole().await.map(|answer| answer.body).unwrap_or_default();
    let json = Json::parse(&body).ok();
    let detail = json.as_ref().and_then(|json| json.get("detail")).and_then(Json::as_str);
    detail.unwrap_or("no detail").to_owned()
}
