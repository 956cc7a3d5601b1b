//! What one seed draws before anything happens: which faults exist in its world at all, and how strong they are. Worlds
//! with everything at once hide what worlds with two things show.

use crate::fold::dice::Dice;
use razao::schedule::cadence::Cadence;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Strengths are per mille; 0: it does not exist here.
#[derive(Clone, Debug)]
pub struct Plan {
    pub payments: u64,
    pub beat: Duration,
    pub retry: Duration,
    pub retries_max: u32,
    /// How long a provider's outage lasts.
    pub trouble: Duration,
    /// Whether orders are polled by the clock, and how often.
    pub polls: bool,
    pub cadence: Cadence,
    /// Calls at the same time, of each account.
    pub per_account: usize,
    /// Payments whose life nobody wrote in advance.
    pub improvised: u64,
    pub callbacks: Line,
    pub calls: Line,
    /// Answers with a status 5xx, and with 429.
    pub down: u64,
    pub too_fast: u64,
    /// Answers of a provider that is mistaken for a while.
    pub lies: u64,
    pub apply_fails: u64,
    pub sync_fails: u64,
    /// At each step that the daemon takes, and within each sync.
    pub dies_at_step: u64,
    pub dies_in_sync: u64,
    pub deaths_max: u64,
    /// How far clocks may be wrong.
    pub our_skew: Duration,
    pub their_skew: Duration,
    pub shop: Shop,
    /// How long the writer may let commands queue.
    pub queueing: Duration,
}

/// How messages of one kind travel.
#[derive(Clone, Debug)]
pub struct Line {
    pub lost: u64,
    pub doubled: u64,
    pub garbled: u64,
    /// They arrive, and the answer to them does not.
    pub unanswered: u64,
    pub delay: Duration,
}

/// What people do.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Of the payments.
    pub registers: u64,
    pub registers_another_amount: u64,
    /// How often anybody does anything else, and the shares of what that is.
    pub acts: u64,
    pub polls: u64,
    pub rules: u64,
    pub reprocesses: u64,
}

impl Plan {
    pub fn draw(dice: &mut Dice) -> Plan {
        // Everything at once: changes, callbacks and calls overlap, and answers are old before they arrive.
        let hurried = dice.happens(350);
        let beat_max = if hurried { Duration::from_secs(5) } else { DAY * 2 };
        let beat = spread(dice, Duration::from_millis(200), beat_max);
        // In proportion to what happens: ten thousands of polls in which nothing happens show nothing.
        let polls = dice.happens(400);
        let pause_min = (beat / u32::try_from(*dice.pick(&[4, 16])).unwrap()).max(Duration::from_secs(10));
        let cadence = Cadence { pause_min, pause_max: (pause_min * 4).max(HOUR) };
        Plan {
            payments: dice.between(2, 9),
            beat,
            retry: spread(dice, Duration::from_secs(1), HOUR),
            retries_max: u32::try_from(dice.between(3, 10)).unwrap(),
            trouble: spread(dice, Duration::from_secs(20), DAY),
            polls,
            cadence,
            per_account: usize::try_from(dice.between(1, 4)).unwrap(),
            improvised: *dice.pick(&[0, 500, 1000]),
            callbacks: Line::for_callbacks(dice, hurried),
            calls: Line::for_calls(dice, hurried),
            down: some(dice, 400),
            too_fast: some(dice, 200),
            lies: if dice.happens(350) { dice.between(100, 700) } else { 0 },
            apply_fails: seldom(dice, 20),
            sync_fails: seldom(dice, 20),
            dies_at_step: some(dice, 40),
            dies_in_sync: some(dice, 60),
            deaths_max: dice.between(1, 8),
            our_skew: if dice.happens(500) { HOUR * 6 } else { Duration::ZERO },
            their_skew: if dice.happens(500) { HOUR * 5 } else { Duration::ZERO },
            shop: Shop::draw(dice),
            queueing: span(dice, Duration::from_micros(100), Duration::from_secs(2)),
        }
    }

    /// The same world with every fault gone, except that clocks stay as wrong as they are.
    pub fn calmed(&self) -> Plan {
        let still = Line { lost: 0, doubled: 0, garbled: 0, unanswered: 0, delay: Duration::from_millis(20) };
        Plan {
            callbacks: still.clone(),
            calls: still,
            down: 0,
            too_fast: 0,
            lies: 0,
            apply_fails: 0,
            sync_fails: 0,
            dies_at_step: 0,
            dies_in_sync: 0,
            shop: Shop { acts: 0, ..self.shop.clone() },
            queueing: Duration::from_millis(1),
            ..self.clone()
        }
    }

    /// How long the faults last.
    pub fn chaos(&self) -> Duration {
        self.beat * 9 + HOUR
    }
}

impl Line {
    fn for_callbacks(dice: &mut Dice, hurried: bool) -> Line {
        let delay_max = if hurried { Duration::from_secs(2) } else { HOUR * 3 };
        Line {
            lost: some(dice, 400),
            doubled: some(dice, 400),
            garbled: some(dice, 200),
            unanswered: some(dice, 400),
            delay: span(dice, Duration::from_millis(1), delay_max),
        }
    }

    fn for_calls(dice: &mut Dice, hurried: bool) -> Line {
        let delay = if hurried {
            spread(dice, Duration::from_secs(2), Duration::from_secs(6))
        } else {
            span(dice, Duration::from_millis(1), Duration::from_secs(8))
        };
        let (lost, garbled, unanswered) = (some(dice, 300), some(dice, 200), some(dice, 300));
        Line { lost, doubled: 0, garbled, unanswered, delay }
    }
}

impl Shop {
    fn draw(dice: &mut Dice) -> Shop {
        Shop {
            registers: *dice.pick(&[0, 500, 900, 1000]),
            registers_another_amount: seldom(dice, 300),
            acts: if dice.happens(700) { dice.between(1, 20) } else { 0 },
            polls: dice.between(1, 10),
            rules: if dice.happens(500) { dice.between(1, 10) } else { 0 },
            reprocesses: if dice.happens(500) { dice.between(1, 5) } else { 0 },
        }
    }
}

/// In every second world; then up to `most`.
fn some(dice: &mut Dice, most: u64) -> u64 {
    if dice.happens(500) { dice.between(1, most) } else { 0 }
}

fn seldom(dice: &mut Dice, most: u64) -> u64 {
    if dice.happens(300) { dice.between(1, most) } else { 0 }
}

fn span(dice: &mut Dice, low: Duration, high: Duration) -> Duration {
    if dice.happens(500) { spread(dice, low, high) } else { low }
}

/// Between two durations, every power of two as likely.
fn spread(dice: &mut Dice, low: Duration, high: Duration) -> Duration {
    let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap();
    let (low, high) = (micros(low), micros(high));
    let doublings = u64::from((high / low).max(1).ilog2());
    let base = low << dice.between(0, doublings);
    Duration::from_micros((base + dice.roll() % base).min(high))
}
