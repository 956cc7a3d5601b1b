//! Deliveries skip nothing and keep each order's order, whatever fails, restarts and is changed on the way: the real
//! plan over the real ledger, with a target, a clock and crashes that dice decide. `RAZAO_SEEDS` sets how many lives.

use crate::books::{Ledger, lives_of, newborn, register};
use razao::delivery::plan::{Line, Outcome, Plan, Policy};
use razao::delivery::runner::stretch;
use razao::domain::ids::{Nonce, OrderKey, Seq};
use razao::domain::receipt::Private;
use razao::domain::time::Time;
use razao::domain::webhook::{
    Attempt, Delivery, DeliveryId, Miss, Pattern, Position, Reach, Stage, Webhook, WebhookId,
};
use razao::ledger::command::{Command, Reply};
use razao::ledger::webhooks::{Change, NewWebhook, Noted, Notes, WebhookCommand};
use razao::store::engine::Engine;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const POLICY: Policy = Policy {
    first_pause: Duration::from_secs(5),
    max_pause: Duration::from_secs(3600),
    max_attempts: 6,
    in_flight_max: 4,
    disable_after: Duration::from_secs(12 * 3600),
};

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a life does not lose in a crash: the ledger, the target, and what was seen of both.
struct World {
    ledger: Ledger,
    id: WebhookId,
    dice: Dice,
    /// In how many of a hundred attempts the target confirms.
    health: u64,
    confirmed: BTreeSet<Seq>,
    attempts: u64,
    crashes: u64,
}

/// What a crash takes away.
struct Run {
    plan: Plan,
    webhook: Webhook,
    flying: BTreeSet<Position>,
    notes: Vec<Noted>,
}

impl World {
    fn hook(&self, command: WebhookCommand) {
        let reply = self.ledger.then(Command::Webhook(command));
        assert!(matches!(reply, Reply::Hooked(_) | Reply::Noted), "{reply:?}");
    }

    fn now(&self) -> Time {
        Time(self.ledger.clock.0.load(Ordering::SeqCst))
    }

    fn start(&self) -> Run {
        let reader = &self.ledger.reader;
        let (webhook, course) =
            (reader.webhook(self.id).unwrap().unwrap(), reader.course(self.id).unwrap().unwrap());
        let plan = Plan::new(self.id, &course, POLICY);
        Run { plan, webhook, flying: BTreeSet::new(), notes: Vec::new() }
    }

    fn reload(&self, run: &mut Run) {
        run.plan.reload(&self.ledger.reader.course(self.id).unwrap().unwrap());
    }

    fn delivery(&self, seq: Seq) -> Option<Delivery> {
        let id = DeliveryId { webhook: self.id, position: Position::entry(seq) };
        self.ledger.reader.delivery(id).unwrap().filter(|delivery| delivery.attempts_count > 0)
    }

    /// Reads and takes what there is; each attempt is checked as it begins.
    fn take(&mut self, run: &mut Run) {
        let head = self.ledger.reader.head();
        while let Some((lane, from, to)) = run.plan.wants(head) {
            let found = stretch(&self.ledger.reader, &run.webhook, from, to).unwrap();
            run.plan.feed(lane, found, self.now());
        }
        while let Some(position) = run.plan.next(self.now()) {
            self.attempts += 1;
            let order = self.order(position.seq);
            for flying in &run.flying {
                assert_ne!(self.order(flying.seq), order, "two attempts of an order at once");
            }
            for earlier in
                self.ledger.reader.history(&self.ledger.reader.order(&order).unwrap().unwrap()).unwrap()
            {
                let seq = earlier.entry.seq;
                let over = self.delivery(seq).is_some_and(|it| !matches!(it.stage, Stage::Pending { .. }));
                assert!(seq >= position.seq || over, "{:?} went before {seq:?} was over", position.seq);
            }
            run.flying.insert(position);
        }
    }

    fn order(&self, seq: Seq) -> OrderKey {
        let entry = self.ledger.reader.entry(seq).unwrap().unwrap().entry;
        OrderKey::new(entry.account, entry.order.unwrap())
    }

    /// One attempt ends.
    fn land(&mut self, run: &mut Run) {
        let at = self.dice.below(run.flying.len().max(1) as u64) as usize;
        let Some(position) = run.flying.iter().nth(at).copied() else { return };
        run.flying.remove(&position);
        let status = match self.dice.below(100) {
            roll if roll < self.health => 200,
            _ if self.health > 0 && self.dice.below(40) == 0 => 410,
            _ => 500,
        };
        if status == 200 {
            self.confirmed.insert(position.seq);
        }
        let outcome = Outcome { status: Some(status), miss: Miss::of(status), retry_after: None };
        let now = self.now();
        let verdict = run.plan.heard(now, position, outcome).unwrap();
        let entry = self.ledger.reader.entry(position.seq).unwrap().unwrap().entry;
        let Delivery { event, kind, account, order, id, .. } = Delivery::unheard(self.id, &entry);
        let attempt = Attempt {
            number: 0,
            at: now,
            duration_ms: 1,
            status: Some(status),
            miss: outcome.miss,
            answered: false,
        };
        let (stage, tries) = (verdict.stage, verdict.tries);
        run.notes.push(Noted {
            id,
            event,
            kind,
            account,
            order,
            attempt,
            answer: Private(b"ok".to_vec()),
            stage,
            tries,
        });
    }

    fn write(&mut self, run: &mut Run) {
        let attempts = std::mem::take(&mut run.notes);
        let positions: Vec<Position> = attempts.iter().map(|note| note.id.position).collect();
        let advance = run.plan.advance();
        self.hook(WebhookCommand::Note(Notes { attempts, advances: vec![advance.clone()] }));
        positions.into_iter().for_each(|position| run.plan.recorded(position));
        run.plan.retire(&advance);
    }

    fn step(&mut self, run: &mut Run) {
        match self.dice.below(100) {
            0..=39 => self.take(run),
            40..=69 => self.land(run),
            70..=84 => self.write(run),
            85..=92 => {
                let pause = self.dice.below(20) * self.dice.below(600) * 1_000_000;
                self.ledger.clock.0.fetch_add(pause as i64, Ordering::SeqCst);
            }
            93 => {
                self.crashes += 1;
                *run = self.start();
            }
            94 => {
                self.hook(WebhookCommand::Rotate {
                    id: self.id,
                    nonce: Nonce([1; 16]),
                    secret: Private(vec![1]),
                });
                // Sometimes an outcome is written on the revision before.
                if self.dice.below(2) == 0 {
                    self.write(run);
                }
                self.reload(run);
            }
            95 => {
                let enabled = Some(self.dice.below(3) > 0);
                self.hook(WebhookCommand::Change(self.id, Change { enabled, ..Change::default() }));
                self.reload(run);
            }
            96 => {
                self.hook(WebhookCommand::Enable(self.id));
                self.reload(run);
            }
            97 => self.health = [0, 10, 50, 95][self.dice.below(4) as usize],
            _ => self.land(run),
        }
    }

    /// From now on the target is well and somebody enables the webhook.
    fn recover(&mut self, run: &mut Run) {
        self.health = 100;
        self.write(run);
        self.hook(WebhookCommand::Enable(self.id));
        self.reload(run);
        for _ in 0..10_000 {
            self.take(run);
            while !run.flying.is_empty() {
                self.land(run);
            }
            self.write(run);
            if run.plan.standing(self.now()).cursor == self.ledger.reader.head() {
                return;
            }
            self.ledger.clock.0.fetch_add(600_000_000, Ordering::SeqCst);
        }
        panic!("it never came to the end: {:?}", run.plan.standing(self.now()));
    }
}

/// A webhook for everything, at the beginning of an empty ledger.
fn begin(seed: u64, health: u64) -> World {
    let ledger = Ledger::start(newborn() as Arc<dyn Engine>);
    let id = WebhookId(Nonce::new(Time(1), [7; 8]).0);
    let new = NewWebhook {
        id,
        target: "https://shop.example.com".to_owned(),
        description: None,
        events: vec![Pattern::all()],
        accounts: Reach::All,
        headers: Vec::new(),
        from: Some(Seq(1)),
        secret: Private(vec![0]),
        authorization: None,
    };
    let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let world = World { ledger, id, dice, health, confirmed: BTreeSet::new(), attempts: 0, crashes: 0 };
    world.hook(WebhookCommand::Create(new));
    world
}

fn live(seed: u64) -> World {
    let mut world = begin(seed, 50);
    let mut run = world.start();
    let mut lives = lives_of(3).into_iter();
    for _ in 0..1500 {
        if world.dice.below(20) == 0
            && let Some(command) = lives.next()
        {
            world.ledger.then(command);
        }
        world.step(&mut run);
    }
    lives.for_each(|command| drop(world.ledger.then(command)));
    world.recover(&mut run);
    world
}

#[test]
fn nothing_is_skipped_and_no_order_overtakes_itself() {
    let seeds: u64 = std::env::var("RAZAO_SEEDS").ok().map_or(60, |text| text.parse().unwrap());
    let (mut attempts, mut crashes, mut failed) = (0, 0, 0);
    for seed in 1..=seeds {
        let world = live(seed);
        for seq in 1..=world.ledger.reader.head().0 {
            let seq = Seq(seq);
            let delivery =
                world.delivery(seq).unwrap_or_else(|| panic!("seed {seed}: {seq:?} was never tried"));
            match delivery.stage {
                Stage::Delivered { .. } => assert!(world.confirmed.contains(&seq), "seed {seed}: {seq:?}"),
                Stage::Failed { .. } => failed += 1,
                Stage::Pending { .. } => panic!("seed {seed}: {seq:?} is still pending"),
            }
        }
        let course = world.ledger.reader.course(world.id).unwrap().unwrap();
        assert_eq!(course.cursor, world.ledger.reader.head(), "seed {seed}");
        assert_eq!((course.status(), course.off), ("enabled", None), "seed {seed}");
        attempts += world.attempts;
        crashes += world.crashes;
        world.ledger.stop();
    }
    println!("{seeds} seeds: {attempts} attempts, {crashes} crashes, {failed} given up for good");
    assert!(attempts > seeds * 30 && crashes > seeds, "it was worth the name: {attempts}, {crashes}");
}

#[test]
fn what_was_given_up_while_the_target_was_dead_is_delivered_after_enable() {
    let mut world = begin(1, 0);
    let mut run = world.start();
    for hour in 0..30 {
        if hour % 8 == 0 {
            world.ledger.then(register(&format!("PED-{hour}"), 100));
        }
        world.take(&mut run);
        while !run.flying.is_empty() {
            world.land(&mut run);
        }
        world.write(&mut run);
        world.ledger.clock.0.fetch_add(3_600_000_000, Ordering::SeqCst);
    }
    let course = world.ledger.reader.course(world.id).unwrap().unwrap();
    assert_eq!((course.status(), course.failed_count), ("disabled", 1), "{course:?}");
    assert!(course.off.unwrap().why.contains("no delivery succeeded since"));
    assert!(matches!(world.delivery(Seq(1)).unwrap().stage, Stage::Failed { .. }));
    assert_eq!(world.delivery(Seq(3)), None, "nothing was sent after it was disabled");
    world.recover(&mut run);
    for seq in 1..=4 {
        assert!(matches!(world.delivery(Seq(seq)).unwrap().stage, Stage::Delivered { .. }), "{seq}");
    }
    let course = world.ledger.reader.course(world.id).unwrap().unwrap();
    assert_eq!((course.cursor, course.failed_count), (Seq(4), 0));
}

/// A plan alone over so many orders of one event each, all of which fail, for so long.
fn dead_target(orders: u64, span: Duration) -> (Vec<(Time, Seq)>, BTreeMap<Seq, u32>, Plan) {
    use razao::delivery::plan::Candidate;
    use razao::domain::webhook::Course;
    let default = Policy {
        first_pause: Duration::from_secs(5),
        max_pause: Duration::from_secs(12 * 3600),
        max_attempts: 20,
        in_flight_max: 8,
        disable_after: Duration::from_secs(5 * 86_400),
    };
    let begun = Time(1_800_000_000_000_000);
    let mut plan = Plan::new(WebhookId([3; 16]), &Course::before(Seq(1), begun), default);
    let mut now = begun;
    let (mut tried, mut given_up) = (Vec::new(), BTreeMap::new());
    let head = Seq(orders);
    loop {
        while let Some((lane, from, to)) = plan.wants(head) {
            let candidate = |seq| Candidate {
                seq: Seq(seq),
                line: Line::Alone(Position::entry(Seq(seq))),
                wanted: true,
                allowed: true,
                tried: None,
            };
            plan.feed(lane, (from.0..=to.0).map(candidate), now);
        }
        while let Some(position) = plan.next(now) {
            tried.push((now, position.seq));
            let outcome = Outcome { status: Some(500), miss: Some(Miss::ServerError), retry_after: None };
            let verdict = plan.heard(now, position, outcome).unwrap();
            if matches!(verdict.stage, Stage::Failed { .. }) {
                given_up.insert(position.seq, verdict.tries);
            }
            plan.recorded(position);
        }
        match plan.due(now).filter(|due| due.since(begun) < span) {
            Some(due) => now = due.max(now.next()),
            None => return (tried, given_up, plan),
        }
    }
}

#[test]
fn twenty_attempts_take_about_three_days() {
    let (tried, given_up, _) = dead_target(1, Duration::from_secs(30 * 86_400));
    assert_eq!((tried.len(), given_up), (20, BTreeMap::from([(Seq(1), 20)])));
    let hours = tried[19].0.since(tried[0].0).as_secs() / 3600;
    assert!((60..=84).contains(&hours), "{hours} hours");
    assert!(tried[1].0.since(tried[0].0) < Duration::from_secs(10), "the first pauses are short");
}

#[test]
fn a_dead_target_is_probed_and_after_five_days_disabled() {
    let (tried, given_up, plan) = dead_target(900, Duration::from_secs(30 * 86_400));
    assert!(plan.advance().off.is_some());
    let hours = tried.last().unwrap().0.since(tried[0].0).as_secs() / 3600;
    assert!((120..=134).contains(&hours), "{hours} hours until it is disabled");
    assert!(tried.len() < 100, "{} probes for 900 orders", tried.len());
    assert!(given_up.len() < 5, "few are given up meanwhile: {given_up:?}");
}

#[test]
fn the_window_is_bounded_and_news_find_room_beside_replays() {
    let (_, _, plan) = dead_target(5000, Duration::from_secs(60));
    let standing = plan.standing(Time(1_800_000_060_000_000));
    assert!(standing.pending + standing.retrying <= 1000, "{standing:?}");
    assert_eq!((standing.cursor, standing.looked_at), (Seq(0), Seq(1000)));
}

#[test]
fn a_rotation_that_is_repeated_under_its_nonce_happens_once() {
    let world = begin(1, 100);
    let (first, second) = (Nonce([1; 16]), Nonce([2; 16]));
    let secret = |nonce: Nonce, chance: u8| Private([nonce.0.as_slice(), &[chance; 32]].concat());
    let rotate = |nonce, chance| {
        world.hook(WebhookCommand::Rotate { id: world.id, nonce, secret: secret(nonce, chance) });
        let keyring = world.ledger.reader.keyring(world.id).unwrap().unwrap();
        (keyring.secret, keyring.previous.unwrap().0)
    };
    let original = Private(vec![0]);
    assert_eq!(rotate(first, 7), (secret(first, 7), original.clone()));
    assert_eq!(rotate(first, 8), (secret(first, 7), original), "the repeat finds what is there");
    assert_eq!(rotate(second, 9), (secret(second, 9), secret(first, 7)));
    world.ledger.stop();
}

#[test]
fn a_replay_that_ends_while_an_earlier_advance_is_written_is_written_itself() {
    use razao::delivery::plan::Candidate;
    use razao::domain::webhook::{Course, Replay};
    let begun = Time(1_800_000_000_000_000);
    let mut course = Course::before(Seq(6), begun);
    course.replays.push(Replay { asked_at: begun, from: Seq(1), to: Seq(5), cursor: Seq(0), single: false });
    let mut plan = Plan::new(WebhookId([3; 16]), &course, POLICY);
    let early = plan.advance();
    let unwanted = |seq| Candidate {
        seq: Seq(seq),
        line: Line::Alone(Position::entry(Seq(seq))),
        wanted: false,
        allowed: true,
        tried: None,
    };
    while let Some((lane, from, to)) = plan.wants(Seq(5)) {
        plan.feed(lane, (from.0..=to.0).map(unwanted), begun);
    }
    plan.retire(&early);
    let late = plan.advance();
    assert_eq!(late.replays, [(begun, Seq(5))]);
    assert!(plan.is_worth_writing(Some(&early), &late), "its end is not in the store yet");
    plan.retire(&late);
    assert_eq!(plan.advance().replays, []);
}
