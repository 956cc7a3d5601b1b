//! How a shop feels about requests, and what it answers then.

use crate::fold::dice::Dice;
use razao::delivery::plan::Outcome;
use razao::domain::webhook::Miss;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Well,
    Fails(u16),
    /// A page of somebody else's, with 200: by our word it has confirmed.
    Lies,
    Moved(u16),
    Gone,
    /// It reads and never answers.
    Hangs,
    /// Nobody is there.
    Down,
    /// It asks for a pause.
    Busy,
}

impl Mood {
    pub fn draw(dice: &mut Dice) -> Mood {
        *dice.pick(&[
            Mood::Well,
            Mood::Well,
            Mood::Fails(500),
            Mood::Fails(404),
            Mood::Lies,
            Mood::Moved(302),
            Mood::Gone,
            Mood::Hangs,
            Mood::Down,
            Mood::Busy,
        ])
    }

    /// What it answers: a status, or how the connection ends.
    pub fn answer(self) -> Outcome {
        let answered = |status: u16, retry_after: Option<Duration>| Outcome {
            status: Some(status),
            miss: Miss::of(status),
            retry_after,
        };
        let ended = |miss| Outcome { status: None, miss: Some(miss), retry_after: None };
        match self {
            Mood::Well | Mood::Lies => answered(200, None),
            Mood::Fails(status) | Mood::Moved(status) => answered(status, None),
            Mood::Gone => answered(410, None),
            Mood::Busy => answered(429, Some(Duration::from_secs(900))),
            Mood::Hangs => ended(Miss::Timeout),
            Mood::Down => ended(Miss::Refused),
        }
    }

    pub fn named(self) -> &'static str {
        match self {
            Mood::Well => "shop confirmed",
            Mood::Fails(_) => "shop failed",
            Mood::Lies => "shop lied with 200",
            Mood::Moved(_) => "shop redirected",
            Mood::Gone => "shop gone",
            Mood::Hangs => "shop timed out",
            Mood::Down => "shop unreachable",
            Mood::Busy => "shop asked for a pause",
        }
    }
}
