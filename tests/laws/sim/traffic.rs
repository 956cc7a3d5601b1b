//! What travels in a world: lives that change, callbacks to the door and what they are answered, calls and their answers.

use super::network::{Fate, PATIENCE, Sent, as_answer, bend, garble};
use super::world::{Event, World};
use crate::fold::dice::Dice;
use razao::clock::Clock;
use razao::domain::time::Time;
use razao::ingest::receive::{admit, receive};
use razao::ledger::command::{Command, Reply, SubmitError, Verdict};
use razao::net::client::NoAnswer;
use razao::providers::provider::Incoming;
use razao::sandbox::persona::Response;
use razao::sandbox::world::Post;
use razao::wire::call::Answer;
use std::collections::BTreeMap;
use std::time::Duration;

/// A callback on its way to the door.
pub struct Knock {
    pub side: usize,
    /// What its sender waits for; a copy that the line made has none.
    pub post: Option<Post>,
    pub headers: Vec<(String, String)>,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub unanswered: bool,
}

/// A callback whose receipt is being written: what it will be answered, and whether its provider must be asked then.
pub struct AtDoor {
    pub knock: Knock,
    pub status: u16,
    pub asks: bool,
}

/// A call on its way to its provider.
pub struct Request {
    pub sent: Sent,
    pub at: Time,
    pub epoch: u64,
    pub fate: Fate,
}

impl World {
    pub fn begin(&mut self, nth: usize) {
        let payment = &mut self.payments[nth];
        let side = &mut self.sides[payment.side];
        let now = side.now(self.now);
        let scenes = payment.scenes.clone().unwrap_or_else(|| payment.life.scenes(payment.cents));
        let ordered = side
            .world
            .play(side.provider, payment.life, scenes, &payment.reference, payment.cents, now)
            .unwrap();
        payment.provider_ref = Some(ordered.provider_ref);
        let (provider, reference, cents, life) =
            (side.provider, payment.reference.clone(), payment.cents, payment.life.as_str());
        self.tell(|| format!("{provider}: {reference} begins, {cents} cents, {life}"));
    }

    pub fn step_side(&mut self, side: usize) {
        let now = self.sides[side].now(self.now);
        let posts = self.sides[side].world.step(now);
        self.note_truths(side);
        posts.into_iter().for_each(|post| self.send(side, post));
    }

    /// Notes which payments changed, and that dates of ours given so far speak of the time before.
    pub fn note_truths(&mut self, side: usize) {
        let last = self.last_date();
        let truths: BTreeMap<String, _> =
            self.sides[side].world.orders().map(|it| (it.reference.clone(), it.truth)).collect();
        for nth in 0..self.payments.len() {
            let payment = &mut self.payments[nth];
            let Some(truth) = truths.get(&payment.reference).filter(|_| payment.side == side) else {
                continue;
            };
            if payment.truth != *truth {
                (payment.truth, payment.changed) = (*truth, last);
                let (reference, state) = (payment.reference.clone(), truth.state);
                let (refunded, provider) = (truth.refunded, self.sides[side].provider);
                self.tell(|| format!("{provider}: {reference} is {state}, {refunded} cents went back"));
            }
        }
    }

    /// The last date of ours that was given.
    pub fn last_date(&mut self) -> Time {
        if let Some(daemon) = &self.daemon {
            let stamped = *daemon.desk.stamped.lock().unwrap();
            self.seen.last_date = self.seen.last_date.max(stamped).max(daemon.desk.reader.published().stamp);
        }
        self.seen.last_date
    }

    pub fn send(&mut self, side: usize, post: Post) {
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&post.outgoing.body)
            && let (Some(id), true) =
                (fields.get("id").and_then(|id| id.as_str()), fields.contains_key("event"))
            && let Some(payment) = self.payments.iter_mut().find(|it| it.reference == post.reference)
        {
            payment.told.insert(id.to_owned());
        }
        let line = self.plan.callbacks.clone();
        let fate = line.fate(&mut self.dice);
        let provider = self.sides[side].provider;
        let reference = post.reference.clone();
        self.tell(|| format!("{provider}: a callback about {reference}, {fate:?}"));
        self.count_fate("callback", fate);
        if self.dice.happens(line.doubled) {
            self.reach.count("callback doubled");
            let copy = Knock::of(side, &post, None, Fate::Arrives, &mut self.dice);
            self.put_on_line(copy);
        }
        if fate == Fate::Lost {
            self.schedule(self.now.plus(PATIENCE), Event::Learn(side, post, None));
        } else {
            let knock = Knock::of(side, &post.clone(), Some(post), fate, &mut self.dice);
            self.put_on_line(knock);
        }
    }

    pub fn count_fate(&mut self, what: &str, fate: Fate) {
        match fate {
            Fate::Arrives => {}
            Fate::Lost => self.reach.count(&format!("{what} lost")),
            Fate::Garbled => self.reach.count(&format!("{what} garbled")),
            Fate::Unanswered => self.reach.count(&format!("{what} unanswered")),
        }
    }

    pub fn put_on_line(&mut self, knock: Knock) {
        let at = self.now.plus(self.plan.callbacks.delay(&mut self.dice));
        self.knocks += 1;
        self.schedule(at, Event::Knock(self.knocks, knock));
    }

    pub fn knock(&mut self, id: u64, knock: Knock) {
        let Some(daemon) = &mut self.daemon else {
            return self.leave(knock, None);
        };
        let side = &self.sides[knock.side];
        let account = self.machine.accounts.get(&side.account).unwrap();
        if admit(&account, side.callback_key, None, &knock.headers).is_err() {
            return self.leave(knock, Some(401));
        }
        let incoming = Incoming {
            headers: &knock.headers,
            content_type: Some(knock.content_type),
            query: None,
            body: &knock.body,
        };
        let received = receive(&account, &incoming, self.machine.clock.now());
        let asks = matches!(received.verdict, Verdict::Ask | Verdict::Record { ask: true, .. });
        let status = received.answer_status;
        daemon.receive(id, Command::Receive(received));
        self.at_door.insert(id, AtDoor { knock, status, asks });
    }

    /// The callback's sender learns what it was answered.
    pub fn leave(&mut self, knock: Knock, status: Option<u16>) {
        let status = status.filter(|_| !knock.unanswered);
        if let Some(post) = knock.post {
            let at = self.within(Duration::from_millis(50));
            self.schedule(at, Event::Learn(knock.side, post, status));
        }
    }

    pub fn answered(&mut self, id: u64, result: Result<Reply, SubmitError>) {
        let Some(AtDoor { knock, status, asks }) = self.at_door.remove(&id) else { return };
        let account = self.sides[knock.side].account.clone();
        let Ok(Reply::Received { id: receipt, .. }) = result else {
            self.tell(|| format!("the door of {account} answers 503"));
            return self.leave(knock, Some(503));
        };
        if let (true, Some(daemon)) = (asks, &mut self.daemon) {
            daemon.enqueue(account.clone(), receipt);
        }
        self.seen.acknowledged.insert(receipt, (account.clone(), knock.body.clone()));
        self.tell(|| format!("{receipt} of {account} is acknowledged"));
        self.leave(knock, Some(status));
    }

    pub fn dispatch(&mut self) {
        for sent in self.machine.wires.take_sent() {
            let line = self.plan.calls.clone();
            let fate = line.fate(&mut self.dice);
            self.count_fate("call", fate);
            if sent.request.path.ends_with("/tokens") {
                self.reach.count("session renewed");
            } else if sent.request.path.ends_with("/authorize") {
                self.reach.count("session opened");
            }
            let (id, account, path) = (sent.id, sent.account.clone(), sent.request.path.clone());
            self.tell(|| format!("call {id} to {account}{path}, {fate:?}"));
            let at = match fate {
                Fate::Lost => self.now.plus(PATIENCE),
                Fate::Arrives | Fate::Garbled | Fate::Unanswered => {
                    self.now.plus(line.delay(&mut self.dice) / 2)
                }
            };
            self.requests.insert(id, Request { sent, at: self.now, epoch: self.epoch, fate });
            if fate == Fate::Lost {
                self.schedule(at, Event::Answer(id, Err(NoAnswer::Timeout)));
            } else {
                self.schedule(at, Event::Arrive(id));
            }
        }
    }

    pub fn arrive(&mut self, id: u64) {
        let Some(request) = self.requests.get(&id) else { return };
        let (fate, sent_at) = (request.fate, request.at);
        let mut response = self.respond(id);
        let lies = self.plan.lies;
        if self.dice.happens(lies)
            && let Some(lie) = bend(&mut response.body, &mut self.dice)
        {
            self.reach.count("provider mistaken");
            self.lied = true;
            self.tell(|| format!("call {id}: the provider is mistaken: {lie}"));
        }
        if fate == Fate::Garbled {
            garble(&mut response.body, &mut self.dice);
        }
        let status = response.status;
        self.tell(|| format!("call {id} is answered {status}"));
        let arrives = self.now.plus(self.plan.calls.delay(&mut self.dice));
        let patience = sent_at.plus(PATIENCE);
        if fate == Fate::Unanswered || arrives > patience {
            self.schedule(patience.max(self.now), Event::Answer(id, Err(NoAnswer::Timeout)));
        } else {
            self.schedule(arrives, Event::Answer(id, Ok(as_answer(response))));
        }
    }

    /// What the provider answers, or what stands before it.
    pub fn respond(&mut self, id: u64) -> Response {
        let (down, too_fast) = (self.plan.down, self.plan.too_fast);
        if self.dice.happens(down) {
            self.reach.count("call answered 5xx");
            return Response::json(*self.dice.pick(&[500, 502, 503]), "{}");
        }
        if self.dice.happens(too_fast) {
            self.reach.count("call answered 429");
            let retry_after = Some(u32::try_from(self.dice.between(1, 120)).unwrap());
            return Response { retry_after, ..Response::json(429, "{}") };
        }
        let Request { sent, .. } = &self.requests[&id];
        let side = self.sides.iter_mut().find(|side| side.account.as_str() == sent.account).unwrap();
        let now = Time(self.now.0 + side.skew);
        side.world.answer(side.provider, &sent.request, now)
    }

    pub fn answer(&mut self, id: u64, answer: Result<Answer, NoAnswer>) {
        let Some(request) = self.requests.remove(&id) else { return };
        if request.epoch != self.epoch {
            return;
        }
        if answer.is_ok() {
            let about = format!(
                "{}{}?{}",
                request.sent.account, request.sent.request.path, request.sent.request.query
            );
            let last = self.last_answered.entry(about).or_default();
            let overtaken = request.at < *last;
            *last = (*last).max(request.at);
            if overtaken {
                self.reach.count("answer overtaken by a later one");
            }
        } else {
            self.reach.count("call timed out");
        }
        self.machine.wires.answer(id, answer);
    }
}

impl Knock {
    fn of(side: usize, sent: &Post, post: Option<Post>, fate: Fate, dice: &mut Dice) -> Knock {
        let outgoing = &sent.outgoing;
        let headers = outgoing.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut body = outgoing.body.clone();
        if fate == Fate::Garbled {
            garble(&mut body, dice);
        }
        Knock {
            side,
            post,
            headers: headers.collect(),
            content_type: outgoing.content_type,
            body,
            unanswered: fate == Fate::Unanswered,
        }
    }
}
