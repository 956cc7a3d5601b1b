//! Chance from a fixed seed (splitmix64), every order of a few things, and work split over the cores.

use std::sync::Mutex;

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(end).unwrap()).unwrap()
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low + 1)
    }

    /// So often in a thousand.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        per_mille > 0 && self.roll() % 1000 < per_mille
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Every order of `n` things, as indices.
pub fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let put = |rest: Vec<usize>| (0..n).map(move |at| [&rest[..at], &[n - 1], &rest[at..]].concat());
    orders(n - 1).into_iter().flat_map(put).collect()
}

/// Every way to choose `n` of `0..choices`, with repetition, in order.
pub fn products(choices: usize, n: usize) -> impl Iterator<Item = Vec<usize>> {
    let digit =
        move |number: usize, place: usize| number / choices.pow(u32::try_from(place).unwrap()) % choices;
    let count = choices.pow(u32::try_from(n).unwrap());
    (0..count).map(move |number| (0..n).map(|place| digit(number, place)).collect())
}

/// Tries everything on all cores; the first fault of the lowest case is the answer.
pub fn try_all<T: Sync>(things: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8));
    let first: Mutex<Option<(usize, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for core in 0..cores {
            let (first, check) = (&first, &check);
            scope.spawn(move || {
                for (at, thing) in things.iter().enumerate().skip(core).step_by(cores) {
                    let earlier = first.lock().unwrap().as_ref().is_some_and(|(lowest, _)| *lowest < at);
                    if earlier {
                        return;
                    }
                    if let Err(fault) = check(thing) {
                        let mut first = first.lock().unwrap();
                        if first.as_ref().is_none_or(|(lowest, _)| at < *lowest) {
                            *first = Some((at, fault));
                        }
                        return;
                    }
                }
            });
        }
    });
    first.into_inner().unwrap().map_or(Ok(()), |(_, fault)| Err(fault))
}
