//! A disk that forgets what was not synced: after a power cut a prefix of the batches since the last sync is left, chosen
//! by chance. It fails now and then, and the power may go within a sync.

use super::faults::Fault;
use super::plan::Plan;
use crate::fold::dice::Dice;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use razao::store::keys;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

pub struct Disk(Mutex<Platter>);

struct Platter {
    visible: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What undoes each batch since the last sync.
    unsynced: Vec<Undo>,
    dice: Dice,
    plan: Plan,
    fault: Option<Fault>,
    power: bool,
    deaths_left: u64,
    tally: Tally,
}

type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What befell it, since it was last asked.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub syncs: u64,
    pub failed_applies: u64,
    pub failed_syncs: u64,
    pub deaths: u64,
}

impl Disk {
    pub fn new(plan: &Plan, fault: Option<Fault>, seed: u64) -> Disk {
        Disk(Mutex::new(Platter {
            visible: BTreeMap::new(),
            unsynced: Vec::new(),
            dice: Dice(seed),
            plan: plan.clone(),
            fault,
            power: true,
            deaths_left: plan.deaths_max,
            tally: Tally::default(),
        }))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }

    pub fn has_power(&self) -> bool {
        self.platter().power
    }

    pub fn tally(&self) -> Tally {
        std::mem::take(&mut self.platter().tally)
    }

    pub fn calm(&self, plan: &Plan) {
        self.platter().plan = plan.clone();
    }

    /// The power goes and comes back. Answers how many unsynced batches there were, and how many of them are left.
    pub fn power_cut(&self) -> (usize, usize) {
        let mut platter = self.platter();
        let count = platter.unsynced.len();
        let left = platter.dice.below(count + 1);
        while platter.unsynced.len() > left {
            for (key, before) in platter.unsynced.pop().unwrap() {
                match before {
                    Some(value) => platter.visible.insert(key, value),
                    None => platter.visible.remove(&key),
                };
            }
        }
        platter.unsynced.clear();
        platter.power = true;
        (count, left)
    }
}

impl Platter {
    fn fails(&mut self, what: &str) -> Result<(), EngineError> {
        Err(EngineError { what: what.to_owned() })
    }

    /// Whether a deliberate fault keeps a change from being written.
    fn forgets(&self, key: &[u8]) -> bool {
        match self.fault {
            Some(Fault::AgendaLost) => key.first() == Some(&keys::AGENDA),
            Some(Fault::PollLost) => key.first() == Some(&keys::POLL),
            Some(Fault::PostingForgotten) => key.first() == Some(&keys::BALANCE),
            Some(Fault::ClaimForgotten) => key.first() == Some(&keys::CLAIM),
            Some(Fault::IndexForgotten) => key.first() == Some(&keys::PROVIDER_REF),
            _ => false,
        }
    }
}

impl Read for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.platter().visible.get(key).cloned())
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        let platter = self.platter();
        let pairs = platter.visible.range((from, to)).map(|(k, v)| Ok((k.clone(), v.clone())));
        let pairs: Vec<_> = match direction {
            Direction::Up => pairs.collect(),
            Direction::Down => pairs.rev().collect(),
        };
        Box::new(pairs.into_iter())
    }
}

impl Engine for Disk {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let mut platter = self.platter();
        let per_mille = platter.plan.apply_fails;
        if platter.dice.happens(per_mille) {
            platter.tally.failed_applies += 1;
            return platter.fails("the disk took no batch");
        }
        let mut undo = Undo::new();
        for (key, change) in batch.changes() {
            if platter.forgets(key) && change.is_some() {
                continue;
            }
            let before = match change {
                Some(value) => platter.visible.insert(key.to_vec(), value.to_vec()),
                None => platter.visible.remove(key),
            };
            undo.push((key.to_vec(), before));
        }
        if platter.fault == Some(Fault::StalePublish) {
            // What came before this batch is synced now, and this one by the next.
            platter.unsynced.clear();
        }
        platter.unsynced.push(undo);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut platter = self.platter();
        platter.tally.syncs += 1;
        let (fails, dies) = (platter.plan.sync_fails, platter.plan.dies_in_sync);
        if platter.deaths_left > 0 && platter.dice.happens(dies) {
            platter.deaths_left -= 1;
            platter.power = false;
            platter.tally.deaths += 1;
            return platter.fails("the power is gone");
        }
        if platter.dice.happens(fails) {
            platter.tally.failed_syncs += 1;
            return platter.fails("the disk did not sync");
        }
        if platter.fault != Some(Fault::StalePublish) {
            platter.unsynced.clear();
        }
        Ok(())
    }
}
