//! Follows a running daemon's events from a terminal: a line each, without a gap or a duplicate across cuts, and on to
//! another address if wanted.

mod feed;
mod forward;

use super::api::{Api, Caller};
use super::args::ListenOptions;
use super::{End, note, usage};
use crate::config;
use crate::wire::json::Json;
use feed::{Event, Feed, Next};
use forward::Forwarder;
use std::io::Write;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

const CALLER: Caller = Caller { subject: "razao-listen", scopes: "events:read" };

pub fn run(path: &Path, options: &ListenOptions) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(listen(path, options))) {
        Ok(end) => end,
        Err(error) => usage(error),
    }
}

async fn listen(path: &Path, options: &ListenOptions) -> anyhow::Result<End> {
    let config = || Ok(config::load(path)?);
    let api = Api::given(options.url.as_deref(), options.token.as_deref(), config, CALLER)?;
    let forwarder = options.forward_to.as_deref();
    let forwarder = forwarder.map(|target| Forwarder::new(target, options.secret.as_deref())).transpose()?;
    let feed = Feed::new(api, options.from, options.types.as_deref())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let printer = Printer { json: options.json, forwarder };
    tokio::select! {
        end = follow(feed, printer) => end,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted.map(|()| End::Success)?),
        _ = terminate.recv() => Ok(End::Success),
    }
}

async fn follow(mut feed: Feed, printer: Printer) -> anyhow::Result<End> {
    printer.greet();
    loop {
        match feed.next().await? {
            Next::Event(event) => {
                let read = printer.print(&event);
                printer.forward(event).await;
                // Nobody reads the lines, and they are all there is to do.
                if !read && printer.forwarder.is_none() {
                    return Ok(End::Success);
                }
            }
            Next::Over(why) => {
                note(format_args!("razao: {why}"));
                return Ok(End::Failed);
            }
        }
    }
}

struct Printer {
    json: bool,
    forwarder: Option<Forwarder>,
}

impl Printer {
    fn greet(&self) {
        if let Some(secret) = self.forwarder.as_ref().and_then(|forwarder| forwarder.made.as_deref()) {
            self.remark(&format!("forwarded events are signed with {secret}"));
        }
    }

    /// Whether somebody still reads it.
    fn print(&self, event: &Event) -> bool {
        written(if self.json { &event.body } else { event.line.as_str() })
    }

    async fn forward(&self, event: Event) {
        let Some(forwarder) = &self.forwarder else { return };
        let seq = event.seq;
        forwarder.forward(event, &mut |what| self.remark(&format!("{seq:>8}  {what}"))).await;
    }

    /// What is no event. Among bodies that a program reads it would be in the way.
    fn remark(&self, what: &str) {
        if self.json {
            note(format_args!("razao: {what}"));
        } else {
            written(what);
        }
    }
}

fn written(line: &str) -> bool {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
}

/// An event as a person reads it: seq, time, type, order, its state and gross amount. Control characters cannot move the
/// terminal's cursor.
fn line(seq: u64, body: &Json) -> String {
    let text = |json: Option<&Json>| json.and_then(Json::literal).unwrap_or("-").to_owned();
    let data = body.get("data");
    let order = data.and_then(|data| data.get("order"));
    let of_order = |field: &str| text(order.and_then(|order| order.get(field)));
    let reference = text(data.and_then(|data| data.get("entry")).and_then(|entry| entry.get("order")));
    let amounts = order.and_then(|order| order.get("amounts"));
    let amount = amounts.and_then(|amounts| amounts.get("gross").or_else(|| amounts.get("expected")));
    let line = format!(
        "{seq:>8}  {time}  {kind:<18} {account}/{reference}  {state}  {currency} {amount}",
        time = text(body.get("timestamp")),
        kind = text(body.get("type")),
        account = text(body.get("account")),
        state = of_order("state"),
        currency = of_order("currency"),
        amount = text(amount),
    );
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_happened_to_which_order() {
        let body = Json::parse(
            br#"{"id":"evt_1","seq":7,"type":"order.paid","timestamp":"2026-03-01T10:00:00Z","account":"loja",
            "data":{"order":{"state":"paid","currency":"BRL","amounts":{"expected":"10.00","gross":"12.00"}},
            "entry":{"order":"PED-1\u001b[2J"}}}"#,
        )
        .unwrap();
        assert_eq!(
            line(7, &body),
            "       7  2026-03-01T10:00:00Z  order.paid         loja/PED-1\u{fffd}[2J  paid  BRL 12.00"
        );
        let bare = Json::parse(br#"{"type":"payout.recorded","data":{"order":null}}"#).unwrap();
        assert_eq!(line(8, &bare), "       8  -  payout.recorded    -/-  -  - -");
    }
}
