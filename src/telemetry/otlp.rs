//! Spans for a collector: OpenTelemetry's protocol as JSON over HTTP. What is finished goes into a bounded queue, and a
//! thread of its own posts it. A collector that is slow or dead costs traces, never anything else.

use crate::clock::{Clock, SystemClock, random_bytes};
use crate::net::client::{Client, NoAnswer};
use crate::wire::call::Call;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, warn};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Finished spans that wait to be posted; beyond, they are dropped.
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 256;
/// A span waits at most so long for others to go with it.
const PATIENCE: Duration = Duration::from_secs(1);
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last posts may take when the daemon stops.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// That the collector cannot be reached is said so often at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(300);
const PATH: &str = "/v1/traces";

/// Sends traces for as long as it lives; dropped, it posts what is left.
#[derive(Default)]
pub struct Traces {
    sender: Option<(SyncSender<Message>, JoinHandle<()>)>,
}

/// Notes spans, and hands those that have ended to the thread that posts them.
pub struct Spans {
    queue: SyncSender<Message>,
}

enum Message {
    Span(Box<Span>),
    End,
}

/// A span under way, or finished.
#[derive(Clone, Debug)]
struct Span {
    trace: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    name: &'static str,
    began_micros: i64,
    ended_micros: i64,
    attributes: BTreeMap<&'static str, Value>,
}

impl Traces {
    /// To the collector at `base`, which takes `/v1/traces`.
    pub fn to(base: &str) -> Result<(Spans, Traces), std::io::Error> {
        let url = format!("{}{PATH}", base.trim_end_matches('/').trim_end_matches(PATH));
        let client = Client::new(POST_TIMEOUT).map_err(std::io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (queue, finished) = sync_channel(QUEUE_MAX);
        let post = move || {
            let mut complained: Option<Instant> = None;
            let mut ended = false;
            while let Some(spans) = batch(&finished, &mut ended) {
                let call = Call::post(url.clone(), "application/json", &document(&spans));
                let Err(why) = runtime.block_on(posted(&client, &call)) else { continue };
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    warn!(%why, "traces could not be sent; look at telemetry.otlp");
                }
            }
        };
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(post)?;
        Ok((Spans { queue: queue.clone() }, Traces { sender: Some((queue, thread)) }))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        let Some((queue, thread)) = self.sender.take() else { return };
        let until = Instant::now() + FLUSH_MAX;
        let mut message = Message::End;
        while let Err(TrySendError::Full(again)) = queue.try_send(message) {
            if Instant::now() >= until {
                return;
            }
            message = again;
            std::thread::sleep(Duration::from_millis(10));
        }
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The next spans to post; `None` once it has ended.
fn batch(finished: &Receiver<Message>, ended: &mut bool) -> Option<Vec<Span>> {
    if *ended {
        return None;
    }
    let Ok(Message::Span(first)) = finished.recv() else { return None };
    let (mut spans, until) = (vec![*first], Instant::now() + PATIENCE);
    while spans.len() < BATCH_MAX {
        match finished.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Span(span)) => spans.push(*span),
            Err(RecvTimeoutError::Timeout) => break,
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => {
                *ended = true;
                break;
            }
        }
    }
    Some(spans)
}

async fn posted(client: &Client, call: &Call) -> Result<(), String> {
    let answer = client.perform(call).await.map_err(|error: NoAnswer| error.to_string())?;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("the collector answered {status}")),
    }
}

fn document(spans: &[Span]) -> String {
    let spans: Vec<Value> = spans.iter().map(Span::json).collect();
    let resource = attributes(&BTreeMap::from([
        ("service.name", Value::from("razao")),
        ("service.version", Value::from(env!("CARGO_PKG_VERSION"))),
    ]));
    let scopes = json!([{"scope": {"name": "razao"}, "spans": spans}]);
    json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": scopes}]}).to_string()
}

fn attributes(attributes: &BTreeMap<&'static str, Value>) -> Vec<Value> {
    let typed = |value: &Value| match value {
        Value::Bool(flag) => json!({"boolValue": flag}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Null | Value::Array(_) | Value::Object(_) => json!({"stringValue": value.to_string()}),
    };
    attributes.iter().map(|(key, value)| json!({"key": key, "value": typed(value)})).collect()
}

impl Span {
    /// As the protocol writes it; ids in hex, nanoseconds as text.
    fn json(&self) -> Value {
        // 2 is a server's, 3 a client's, 1 neither.
        let kind = match self.name {
            "request" => 2,
            "provider call" => 3,
            _ => 1,
        };
        let nanos = |micros: i64| format!("{micros}000");
        json!({
            "traceId": hex(&self.trace),
            "spanId": hex(&self.id),
            "parentSpanId": self.parent.map(|parent| hex(&parent)).unwrap_or_default(),
            "name": self.name,
            "kind": kind,
            "startTimeUnixNano": nanos(self.began_micros),
            "endTimeUnixNano": nanos(self.ended_micros),
            "attributes": attributes(&self.attributes),
        })
    }
}

impl<S> Layer<S> for Spans
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let above = span.parent().and_then(|parent| {
            let extensions = parent.extensions();
            extensions.get::<Span>().map(|above| (above.trace, above.id))
        });
        let (Ok(trace), Ok(own)) = (random_bytes(), random_bytes()) else { return };
        let began_micros = SystemClock.now().0;
        let mut noted = Span {
            trace: above.map_or(trace, |(trace, _)| trace),
            id: own,
            parent: above.map(|(_, id)| id),
            name: span.name(),
            began_micros,
            ended_micros: began_micros,
            attributes: BTreeMap::new(),
        };
        attributes.record(&mut Noting(&mut noted.attributes));
        span.extensions_mut().insert(noted);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(noted) = span.extensions_mut().get_mut::<Span>() {
            values.record(&mut Noting(&mut noted.attributes));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let noted = span.extensions_mut().remove::<Span>();
        if let Some(mut noted) = noted {
            noted.ended_micros = SystemClock.now().0.max(noted.began_micros);
            // Full: the collector is too slow, and this span is lost.
            drop(self.queue.try_send(Message::Span(Box::new(noted))));
        }
    }
}

/// Takes fields as JSON.
struct Noting<'a>(&'a mut BTreeMap<&'static str, Value>);

impl Visit for Noting<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
