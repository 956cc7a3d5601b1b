//! The simulated providers alone, for integrators without credentials.

use super::args::SandboxOptions;
use super::stage::Cast;
use super::{End, say, usage};
use crate::clock::SystemClock;
use crate::config::units;
use crate::net::client::Client;
use crate::sandbox::life::Tempo;
use crate::sandbox::server::Stage;
use crate::sandbox::world::World;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const RETRIES_MAX: u32 = 20;
/// An outage lasts so many beats.
const TROUBLE_BEATS: u32 = 5;

pub fn run(options: &SandboxOptions) -> End {
    match actix_web::rt::System::new().block_on(sandbox(options)) {
        Ok(()) => End::Success,
        Err(error) => usage(error),
    }
}

async fn sandbox(options: &SandboxOptions) -> anyhow::Result<()> {
    let beat = units::duration(&options.beat)?;
    let tempo = Tempo { beat, retry: beat, retries_max: RETRIES_MAX, trouble: beat * TROUBLE_BEATS };
    let stage = Stage::new(World::new(tempo), Arc::new(SystemClock));
    let listener = TcpListener::bind(&options.listen)
        .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}; is it taken?", options.listen))?;
    let address = format!("http://{}", listener.local_addr()?);
    let cast = Cast::of(&stage, "sandbox", &address);
    cast.aim(&stage, options.daemon.trim_end_matches('/'));
    say(format_args!("# Simulated providers at {address}; their callbacks go to {}.", options.daemon));
    say(format_args!("# Put this into config.toml:"));
    say(format_args!("{}", cast.toml()));
    say(format_args!(
        "# Begin a life: happy, expiry, late-payment, refund, partial-refunds, chargeback-lost, chargeback-won,"
    ));
    say(format_args!(
        "# duplicates, simultaneous, out-of-order, outage or rate-limited. GET {address}/lives lists what is true."
    ));
    if let Some(player) = cast.players().next() {
        let body = format!(
            "{{\"provider\":\"{}\",\"life\":\"happy\",\"reference\":\"PED-1\",\"cents\":12990}}",
            player.provider
        );
        say(format_args!("#   curl -s {address}/lives -H 'Content-Type: application/json' -d '{body}'"));
    }
    drop(std::io::stdout().flush());
    let client = Client::new(Duration::from_secs(10))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = actix_web::rt::spawn(stage.serve(listener)?);
    tokio::select! {
        () = stage.drive(&client) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    serving.abort();
    Ok(())
}
