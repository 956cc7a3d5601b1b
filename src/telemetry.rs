//! Logs and traces, set up once. Logs go to stderr; stdout belongs to commands' results. Traces go to a collector, where
//! one is configured.

mod otlp;

pub use otlp::Traces;

use crate::config::{Log, LogFormat};
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};

/// Starts logging. A second call in one process is ignored.
pub fn start(log: &Log) {
    init(log, None::<Box<dyn Layer<registry::Registry> + Send + Sync>>);
}

/// Starts logging, and sending traces to the collector at this address, if there is one. They end with what is returned.
pub fn start_with_traces(log: &Log, otlp: Option<&str>) -> Traces {
    let started = otlp.map(Traces::to).transpose();
    let (started, failed) = started.map_or_else(|error| (None, Some(error)), |started| (started, None));
    let (layer, traces) = started.unzip();
    // Whatever the level of the logs is, traces hold the daemon's own spans and nobody else's.
    let ours = Targets::new().with_target("razao", tracing::Level::INFO);
    init(log, layer.map(|layer| layer.with_filter(ours).boxed()));
    if let Some(error) = failed {
        tracing::error!(%error, "no traces are sent");
    }
    traces.unwrap_or_default()
}

fn init(log: &Log, traces: Option<Box<dyn Layer<registry::Registry> + Send + Sync>>) {
    if let Err(error) = registry().with(traces).with(logs(log)).try_init() {
        tracing::debug!(%error, "logging was started already");
    }
}

fn logs<S>(log: &Log) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    // actix narrates its workers at info; a level named for it in the configuration still wins.
    let level = format!("actix_server=warn,{}", log.level);
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = fmt::layer().with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
        LogFormat::Human => layer.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
    }
}
