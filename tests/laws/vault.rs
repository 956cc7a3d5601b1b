//! The keys of what is sealed, in memory: what the laws use in place of the file of slots.

use razao::store::engine::EngineError;
use razao::store::sealing::{Secret, Slots};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;

/// Slots of numbered keys instead of drawn ones, that fail when told to.
#[derive(Default)]
pub struct Vault(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    secrets: Vec<Secret>,
    drawn: u64,
    fails_to_wipe: bool,
    fails_to_draw: bool,
}

impl Vault {
    pub fn secrets(&self) -> Vec<Secret> {
        self.0.lock().unwrap().secrets.clone()
    }

    pub fn fail(&self, to_draw: bool, to_wipe: bool) {
        let mut shelf = self.0.lock().unwrap();
        (shelf.fails_to_draw, shelf.fails_to_wipe) = (to_draw, to_wipe);
    }

    /// Flips a bit of a key.
    pub fn damage(&self, slot: usize) {
        self.0.lock().unwrap().secrets[slot][5] ^= 1;
    }
}

impl Slots for Vault {
    fn count(&self) -> u64 {
        self.0.lock().unwrap().secrets.len() as u64
    }

    fn read(&self, slot: u64) -> Result<Option<Secret>, EngineError> {
        let secret = self.0.lock().unwrap().secrets[usize::try_from(slot).unwrap()];
        Ok(Some(secret).filter(|secret| *secret != Secret::default()))
    }

    fn draw(&self, slots: Range<u64>) -> Result<(), EngineError> {
        let mut shelf = self.0.lock().unwrap();
        if shelf.fails_to_draw {
            return Err(EngineError { what: "no room for keys".to_owned() });
        }
        let end = usize::try_from(slots.end).unwrap().max(shelf.secrets.len());
        shelf.secrets.resize(end, Secret::default());
        for slot in slots {
            shelf.drawn += 1;
            let mut secret = [9; 32];
            secret[..8].copy_from_slice(&shelf.drawn.to_le_bytes());
            shelf.secrets[usize::try_from(slot).unwrap()] = secret;
        }
        Ok(())
    }

    fn wipe(&self, slots: &BTreeSet<u64>) -> Result<(), EngineError> {
        let mut shelf = self.0.lock().unwrap();
        if shelf.fails_to_wipe {
            return Err(EngineError { what: "the keys cannot be written".to_owned() });
        }
        slots.iter().for_each(|slot| shelf.secrets[usize::try_from(*slot).unwrap()] = Secret::default());
        Ok(())
    }
}
