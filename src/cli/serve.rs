//! Runs the daemon until SIGTERM or Ctrl-C.

use super::{End, note, say, usage};
use crate::config::{self, Config};
use crate::store::directory::OpenError;
use crate::{daemon, telemetry};
use std::io::Write;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

pub fn run(path: &Path) -> End {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return usage(problems),
    };
    let _traces = telemetry::start_with_traces(&config.log, config.telemetry.otlp.as_deref());
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match actix_web::rt::System::new().block_on(serve(path, config)) {
        Ok(()) => End::Success,
        Err(error) if error.downcast_ref::<OpenError>().is_some_and(OpenError::is_damage) => {
            note(format_args!("razao: {error:#}"));
            End::Failed
        }
        Err(error) => usage(error),
    }
}

async fn serve(path: &Path, config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let daemon = daemon::start(config.clone())?;
    let reloader = daemon.reloader(config);
    say(format_args!("listening on {}://{}", daemon.scheme, daemon.address));
    if let Some(address) = daemon.callback_address {
        say(format_args!("callbacks on {}://{address}", daemon.scheme));
    }
    drop(std::io::stdout().flush());
    daemon
        .run(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = hangup.recv() => reloader.reload(config::load(path)),
                }
            }
        })
        .await
}
