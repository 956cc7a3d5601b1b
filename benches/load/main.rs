//! The load table of the README: callbacks over HTTP against the daemon, and in the same run against a bare handler that
//! reads the same body and answers 200, and against one that also appends it to a plain file with group-committed
//! `fdatasync`. Then callbacks that are evidence themselves, against the same work done with PostgreSQL, and what a
//! details call costs.
//!
//! `cargo bench --bench load` prints it; `-- --seconds 5` measures each cell longer, `-- --events-seconds 10` the events
//! shorter, `-- --only table|details|events` a part, `-- --connections 16` a row of the table. All traffic stays on
//! loopback; every cell ends by itself.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, clippy::float_arithmetic)]

mod daemon;
mod drive;
mod postgres;
mod servers;

use actix_web::{HttpRequest, HttpResponse, web};
use daemon::{Cpu, Daemon};
use drive::{Call, Figures, drive, percentile};
use postgres::{Balances, Cluster, Served};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
/// At so many connections events are measured.
const EVENTS_CONNECTIONS: usize = 64;
/// Connections to PostgreSQL; the fastest number is kept.
const POOLS: [usize; 4] = [8, 16, 32, 64];
/// A port where nobody listens, for accounts that ask nothing.
const NOWHERE: u16 = 9;

fn main() {
    let options = Options::parse();
    let dir = tempfile::tempdir().unwrap();
    if options.wants("table") {
        table(dir.path(), options.cell, options.connections);
    }
    if options.wants("details") {
        details(&dir.path().join("details"), options.cell);
    }
    if options.wants("events") {
        events(&dir.path().join("events"), options.cell, options.events);
    }
}

struct Options {
    /// How long a cell of the table takes.
    cell: Duration,
    /// How long events are measured.
    events: Duration,
    only: Option<String>,
    /// The one row of the table that is wanted.
    connections: Option<usize>,
}

impl Options {
    /// `cargo test --benches` runs everything once, briefly.
    fn parse() -> Options {
        let arguments: Vec<String> = std::env::args().collect();
        let once = !arguments.iter().any(|argument| argument == "--bench");
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            Some(arguments[at + 1].clone())
        };
        let span = |name: &str, usual: f64| {
            let seconds = value(name).map(|text| text.parse().unwrap());
            Duration::from_secs_f64(seconds.unwrap_or(if once { 0.2 } else { usual }))
        };
        Options {
            cell: span("--seconds", 3.0),
            events: span("--events-seconds", 60.0),
            only: value("--only"),
            connections: value("--connections").map(|text| text.parse().unwrap()),
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == part)
    }
}

fn table(dir: &Path, span: Duration, only: Option<usize>) {
    let (bare, plain) = (servers::serve_bare(), servers::serve_plain(&dir.join("plain")));
    // What is measured is the acknowledgement: the provider takes calls and never answers, so a few are under way for
    // ever and the rest of the callbacks wait for them. What calls cost beside it is measured apart.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(dir, silent.local_addr().unwrap().port());
    println!(
        "| connections | daemon | p50 | p99 | its writer | its CPU | plain file + fdatasync | p99 | bare handler | daemon / plain | p99 / p99 | daemon / bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut callbacks = 0;
    for connections in CONNECTIONS.into_iter().filter(|row| only.is_none_or(|only| only == *row)) {
        let (begun, before) = (Instant::now(), daemon.cpu());
        let ours = drive(daemon.port, "/callbacks/bench", connections, span);
        let cost = Cost::between(before, daemon.cpu(), begun.elapsed(), &ours);
        callbacks += ours.calls.len();
        let plain = drive(plain, "/", connections, span);
        let bare = drive(bare, "/", connections, span);
        println!(
            "| {connections} | {:.0}/s | {:.1?} | {:.1?} | {:.0} % busy | {:.0?} each | {:.0}/s | {:.1?} | {:.0}/s | {:.2} | {:.1} | {:.2} |",
            ours.per_second,
            ours.p50,
            ours.p99,
            cost.writer_percent,
            cost.each,
            plain.per_second,
            plain.p99,
            bare.per_second,
            ours.per_second / plain.per_second,
            ours.p99.as_secs_f64() / plain.p99.as_secs_f64(),
            ours.per_second / bare.per_second,
        );
    }
    daemon.report(callbacks);
}

/// CPU time that callbacks took.
struct Cost {
    /// Of the writer's thread, of one core.
    writer_percent: f64,
    /// Of the whole process, a callback.
    each: Duration,
}

impl Cost {
    fn between(before: Cpu, after: Cpu, elapsed: Duration, figures: &Figures) -> Cost {
        let writer = (after.writer - before.writer).as_secs_f64();
        let count = u32::try_from(figures.calls.len()).unwrap().max(1);
        Cost {
            writer_percent: 100.0 * writer / elapsed.as_secs_f64(),
            each: (after.process - before.process) / count,
        }
    }
}

/// The details call's cost apart: acknowledged, and from the callback to its event on the stream. The provider answers at
/// once, on loopback.
fn details(dir: &Path, span: Duration) {
    let provider = servers::serve(|config| {
        config.default_service(web::to(|request: HttpRequest| async move {
            let reference = request.path().split('/').nth(4).unwrap_or_default().to_owned();
            let body = format!("{{\"referenceId\":\"{reference}\",\"status\":\"paid\",\"summary\":{{\"paid\":129.9,\"refunded\":0}}}}");
            HttpResponse::Ok().content_type("application/json").body(body)
        }));
    });
    let daemon = Daemon::start(dir, provider);
    let follower = daemon.follow();
    let figures = drive(daemon.port, "/callbacks/details", 1, span);
    let seen = follower.wait_for(figures.calls.len());
    let mut lags = lags(&figures.calls, &seen, |call| call.sent);
    println!(
        "\nWith a details call each, 1 connection: acknowledged {:.0}/s, p50 {:.1?}, p99 {:.1?}; callback to event p50 {:.1?}, p99 {:.1?}",
        figures.per_second,
        figures.p50,
        figures.p99,
        percentile(&mut lags, 50),
        percentile(&mut lags, 99)
    );
    let figures = drive(daemon.port, "/callbacks/details", 16, span);
    println!(
        "With calls under way all the time, 16 connections: acknowledged {:.0}/s, p50 {:.1?}, p99 {:.1?}",
        figures.per_second, figures.p50, figures.p99
    );
}

/// Callbacks that are evidence themselves: acknowledged and folded, while a reader follows the stream; beside it, half
/// before and half after, the same with PostgreSQL, which no reader follows.
fn events(dir: &Path, trial: Duration, span: Duration) {
    let cluster = Cluster::start();
    if let Err(why) = &cluster {
        println!("\nNOT COMPARED WITH POSTGRESQL: {why}");
    }
    let rival = cluster.as_ref().ok().map(|cluster| Rival::tuned(cluster, trial));
    let before = rival.as_ref().map(|rival| rival.drive(span / 2));
    let ours = events_folded(dir, span);
    if let (Some(rival), Some(before)) = (rival, before) {
        let after = rival.drive(span / 2);
        rival.compare(ours, [before, after], trial);
    }
}

/// Events a second.
fn events_folded(dir: &Path, span: Duration) -> f64 {
    let daemon = Daemon::start(dir, NOWHERE);
    let follower = daemon.follow();
    let (begun, before) = (Instant::now(), daemon.cpu());
    let events = drive(daemon.port, "/callbacks/events", EVENTS_CONNECTIONS, span);
    let cost = Cost::between(before, daemon.cpu(), begun.elapsed(), &events);
    let seen = follower.wait_for(events.calls.len());
    let mut lags = lags(&events.calls, &seen, |call| call.acknowledged);
    println!(
        "\nGenPag events at {EVENTS_CONNECTIONS} connections for {span:.0?}, acknowledged and folded, a reader following: {:.0}/s, \
         p50 {:.1?}, p99 {:.1?}; from the acknowledgement to the event at the reader p50 {:.1?}, p99 {:.1?}, longest {:.1?}; \
         writer {:.0} % busy, {:.0?} CPU each",
        events.per_second,
        events.p50,
        events.p99,
        percentile(&mut lags, 50),
        percentile(&mut lags, 99),
        percentile(&mut lags, 100),
        cost.writer_percent,
        cost.each,
    );
    events.per_second
}

/// From a moment of each call to its event; nothing where the event was there first.
fn lags(calls: &[Call], seen: &[(u64, Instant)], from: impl Fn(&Call) -> Instant) -> Vec<Duration> {
    let seen_at = |order: u64| {
        let at =
            seen.binary_search_by_key(&order, |(order, _)| *order).expect("every callback has its event");
        seen[at].1
    };
    calls.iter().map(|call| seen_at(call.order).saturating_duration_since(from(call))).collect()
}

/// The same with PostgreSQL, and the pool that suits it best.
struct Rival<'a> {
    cluster: &'a Cluster,
    pool: usize,
    served: Served,
}

impl<'a> Rival<'a> {
    fn tuned(cluster: &'a Cluster, trial: Duration) -> Rival<'a> {
        println!("\nPostgreSQL: {}", cluster.settings());
        let tried = POOLS.map(|pool| {
            let served = cluster.serve(pool, Balances::Kept);
            let rate = drive(served.port, "/events", EVENTS_CONNECTIONS, trial).per_second;
            println!("  over {pool} connections to it: {rate:.0}/s");
            (rate, pool)
        });
        let best = tried.into_iter().max_by(|one, other| one.0.total_cmp(&other.0));
        let pool = best.map_or(POOLS[0], |(_, pool)| pool);
        Rival { cluster, pool, served: cluster.serve(pool, Balances::Kept) }
    }

    fn drive(&self, span: Duration) -> Figures {
        drive(self.served.port, "/events", EVENTS_CONNECTIONS, span)
    }

    fn compare(&self, ours: f64, halves: [Figures; 2], trial: Duration) {
        let rate = (halves[0].per_second + halves[1].per_second) / 2.0;
        let took = |call: &Call| call.acknowledged - call.sent;
        let mut took: Vec<Duration> = halves.iter().flat_map(|half| half.calls.iter().map(took)).collect();
        println!(
            "\nThe same with PostgreSQL, a transaction each, over {} connections to it: {rate:.0}/s, p50 {:.1?}, p99 {:.1?}; the ledger is {:.1} times as fast",
            self.pool,
            percentile(&mut took, 50),
            percentile(&mut took, 99),
            ours / rate
        );
        let served = self.cluster.serve(self.pool, Balances::LeftOut);
        let rate = drive(served.port, "/events", EVENTS_CONNECTIONS, trial).per_second;
        println!(
            "Without its balances, which every event of an account changes: {rate:.0}/s; the ledger is {:.1} times as fast",
            ours / rate
        );
    }
}
