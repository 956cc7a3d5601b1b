//! The lines between the daemon and its providers. A call waits on the line until the world answers it; what the world
//! does to callbacks and answers on their way is decided here, by chance.

use super::plan::Line;
use crate::fold::dice::Dice;
use futures_util::future::BoxFuture;
use razao::ingest::caller::Calls;
use razao::net::client::NoAnswer;
use razao::sandbox::persona::{Request, Response};
use razao::wire::call::{Answer, Call};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the daemon waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Every call that waits, and every answer that waits to be looked at.
#[derive(Clone, Default)]
pub struct Wires(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: u64,
    sent: Vec<Sent>,
    answers: BTreeMap<u64, Result<Answer, NoAnswer>>,
}

/// A request on its way.
pub struct Sent {
    pub id: u64,
    /// The account's host, which is its id.
    pub account: String,
    pub request: Request,
}

impl Wires {
    /// What was sent since this was last asked.
    pub fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap().sent)
    }

    pub fn answer(&self, id: u64, answer: Result<Answer, NoAnswer>) {
        self.0.lock().unwrap().answers.insert(id, answer);
    }

    /// Whoever waited is gone.
    pub fn forget_answers(&self) {
        self.0.lock().unwrap().answers.clear();
    }
}

impl Calls for Wires {
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        let mut state = self.0.lock().unwrap();
        state.calls += 1;
        let id = state.calls;
        let (account, request) = request(call);
        state.sent.push(Sent { id, account, request });
        Box::pin(Waiting { wires: self.clone(), id })
    }
}

struct Waiting {
    wires: Wires,
    id: u64,
}

impl Future for Waiting {
    type Output = Result<Answer, NoAnswer>;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.wires.0.lock().unwrap().answers.remove(&self.id) {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

/// A call as the provider sees it.
fn request(call: &Call) -> (String, Request) {
    let url = call.url.expose_secret().strip_prefix("https://").unwrap();
    let (account, rest) = url.split_once('/').unwrap();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let text = |value: &secrecy::SecretString| value.expose_secret().to_owned();
    let request = Request {
        method: call.method.as_str().to_owned(),
        path: format!("/{path}"),
        query: query.to_owned(),
        headers: call.headers.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
        body: call.body.as_ref().map(|body| text(&body.bytes).into_bytes()).unwrap_or_default(),
    };
    (account.to_owned(), request)
}

pub fn as_answer(response: Response) -> Answer {
    Answer {
        status: response.status,
        content_type: Some(response.content_type.to_owned()),
        retry_after: response.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
        body: response.body,
    }
}

/// What becomes of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Arrives,
    Lost,
    Garbled,
    /// It arrives, and nobody learns that it did.
    Unanswered,
}

impl Line {
    pub fn fate(&self, dice: &mut Dice) -> Fate {
        if dice.happens(self.lost) {
            Fate::Lost
        } else if dice.happens(self.garbled) {
            Fate::Garbled
        } else if dice.happens(self.unanswered) {
            Fate::Unanswered
        } else {
            Fate::Arrives
        }
    }

    pub fn delay(&self, dice: &mut Dice) -> Duration {
        Duration::from_micros(dice.between(1, u64::try_from(self.delay.as_micros()).unwrap().max(1)))
    }
}

/// Cut short, empty, or another thing altogether. Never something that reads as another message: TLS sees to that.
pub fn garble(body: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(3) {
        0 => body.clear(),
        1 => *body = b"<html><body>Bad Gateway</body></html>".to_vec(),
        _ => body.truncate(dice.below(body.len().max(1))),
    }
}

/// What a mistaken provider says instead: an unknown word, an amount that is no number, a refund beyond everything, a
/// refund of a part that it calls a refund. It is made of what it would have said. Not among them: money that never came.
/// The step table takes "created" after "paid" for old news, so nobody could know.
const LIES: &[(&str, &str)] = &[
    ("\"status\":\"paid\"", "\"status\":\"quitado\""),
    ("\"status\":\"PAID\"", "\"status\":\"SETTLING\""),
    ("\"refunded\":0}", "\"refunded\":\"muito\"}"),
    ("\"refunded\":0}", "\"refunded\":99999}"),
    ("\"status\":\"paid\",\"summary\"", "\"status\":\"refunded\",\"summary\""),
    ("\"status_id\":6", "\"status_id\":66"),
    ("\"status\":\"paid\"", "\"status\":\"expired\""),
    ("\"status\":\"paid\"", "\"status\":\"analysis\""),
    ("\"status_id\":87,", "\"status_id\":7,"),
];

/// Whether there is anything in the answer to be mistaken about, and what it says instead.
pub fn bend(body: &mut Vec<u8>, dice: &mut Dice) -> Option<&'static str> {
    let text = String::from_utf8(body.clone()).ok()?;
    let fitting: Vec<_> = LIES.iter().filter(|(truth, _)| text.contains(truth)).collect();
    if fitting.is_empty() {
        return None;
    }
    let (truth, lie) = dice.pick(&fitting);
    *body = text.replacen(truth, lie, 1).into_bytes();
    Some(lie)
}
