//! What can be erased is stored sealed: below the sealing nobody finds it, what was erased stays unreadable whatever the
//! database kept of it, and no kill or power cut between any two steps loses what was acknowledged.

use crate::books::{Ledger, key, newborn, receive, register};
use crate::fold::dice::Dice;
use crate::vault::Vault;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use razao::domain::ids::ReceiptId;
use razao::domain::receipt::Private;
use razao::store::directory::OpenError;
use razao::store::engine::{Batch, Direction, Engine, EngineError, Read, Scan};
use razao::store::memory::Memory;
use razao::store::meta::{self, Meta};
use razao::store::sealed::{self, Body};
use razao::store::sealing::{Sealing, Secret, Slots};
use razao::store::{keys, migrate};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex};

type Pair = (Vec<u8>, Vec<u8>);

/// A database that keeps every value it was ever given, as sled's file does for long.
#[derive(Default)]
struct Hoarder {
    below: Memory,
    ever: Arc<Mutex<Vec<Pair>>>,
}

impl Hoarder {
    fn after_power_cut(&self) -> Hoarder {
        Hoarder { below: self.below.after_power_cut(), ever: Arc::clone(&self.ever) }
    }

    /// Everything of it that can be read with these keys.
    fn readable(&self, secrets: &[Secret]) -> Vec<Vec<u8>> {
        let ever = self.ever.lock().unwrap();
        ever.iter().filter_map(|(key, value)| read_with(key, value, secrets)).collect()
    }
}

impl Read for Hoarder {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.below.get(key)
    }

    fn scan(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, direction: Direction) -> Scan<'_> {
        self.below.scan(from, to, direction)
    }
}

impl Engine for Hoarder {
    fn apply(&self, batch: &Batch) -> Result<(), EngineError> {
        let puts = batch.changes().filter_map(|(key, value)| Some((key.to_vec(), value?.to_vec())));
        self.ever.lock().unwrap().extend(puts.filter(|(key, _)| keys::is_erasable(key)));
        self.below.apply(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.below.sync()
    }
}

/// A stored value as whoever has the key file reads it: a byte 2, the slot, then ChaCha20-Poly1305 under the slot's key
/// with the value's key as its context. What is not sealed anybody reads.
fn read_with(key: &[u8], value: &[u8], secrets: &[Secret]) -> Option<Vec<u8>> {
    let [2, rest @ ..] = value else { return Some(value.to_vec()) };
    let (slot, sealed) = rest.split_first_chunk::<8>()?;
    let secret = secrets.get(usize::try_from(u64::from_le_bytes(*slot)).ok()?)?;
    let mut nonce = [0; 12];
    nonce[11] = keys::chunk(key);
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, secret).unwrap());
    let mut bytes = sealed.to_vec();
    let plain = cipher.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(key), &mut bytes).ok()?;
    Some(plain.to_vec())
}

fn sealing(below: &Arc<Hoarder>, vault: &Arc<Vault>) -> Sealing {
    let below = Arc::clone(below) as Arc<dyn Engine>;
    Sealing::open(below, Arc::clone(vault) as Arc<dyn Slots>, Path::new("data")).unwrap()
}

fn holds(values: &[Vec<u8>], text: &str) -> bool {
    values.iter().any(|value| value.windows(text.len()).any(|window| window == text.as_bytes()))
}

fn put(id: u64, text: &[u8]) -> Batch {
    let mut batch = Batch::default();
    let body = Body { query: None, bytes: Private(text.to_vec()) };
    sealed::put_body(&mut batch, ReceiptId(id), &body).unwrap();
    batch
}

fn erase(id: u64, chunks: u8) -> Batch {
    let mut batch = Batch::default();
    (0..chunks).for_each(|chunk| batch.delete(keys::body(ReceiptId(id), chunk)));
    batch
}

fn text_of(read: &dyn Read, id: u64) -> Option<Vec<u8>> {
    sealed::body(read, ReceiptId(id)).unwrap().map(|body| body.bytes.0)
}

#[test]
fn below_the_sealing_nothing_personal_can_be_read_and_above_all_of_it() {
    let (below, vault) = (Arc::new(Hoarder::default()), Arc::new(Vault::default()));
    let engine = Arc::new(sealing(&below, &vault));
    let mut batch = Batch::default();
    meta::put(&mut batch, &Meta::newborn([7; 16])).unwrap();
    engine.apply(&batch).and_then(|()| engine.sync()).unwrap();
    let ledger = Ledger::start(Arc::clone(&engine) as Arc<dyn Engine>);
    ledger.then(receive("{\"cpf\":\"Maria 123.456.789-09\"}"));
    ledger.then(register("PED-1", 100));
    assert_eq!(ledger.reader.metadata(&key("PED-1")).unwrap().unwrap(), "{\"buyer\":\"Maria\"}");
    ledger.stop();
    let everything = |read: &dyn Read| {
        let pairs = read.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up);
        pairs.map(|pair| pair.unwrap().1).collect::<Vec<_>>()
    };
    assert!(holds(&everything(&*engine), "Maria 123"), "who reads through the sealing reads it");
    assert!(!holds(&everything(&*below), "Maria"), "the database itself holds none of it");
    assert!(holds(&below.readable(&vault.secrets()), "Maria 123"), "but with the keys: this check can fail");
    let of_slots = engine.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up);
    assert!(
        of_slots.map(Result::unwrap).all(|(key, _)| !keys::is_of_slots(&key)),
        "no copy takes them along"
    );
}

#[test]
fn what_was_erased_cannot_be_read_from_what_the_database_kept() {
    let (below, vault) = (Arc::new(Hoarder::default()), Arc::new(Vault::default()));
    let engine = sealing(&below, &vault);
    let long = "Maria ".repeat(25_000);
    for (id, text) in [(1, "João"), (2, long.as_str())] {
        engine.apply(&put(id, text.as_bytes())).and_then(|()| engine.sync()).unwrap();
    }
    let set_aside = vault.secrets();
    engine.apply(&erase(2, 3)).and_then(|()| engine.sync()).unwrap();
    assert_eq!(text_of(&engine, 2), None);
    assert_eq!(text_of(&engine, 1).unwrap(), "João".as_bytes());
    assert!(!holds(&below.readable(&vault.secrets()), "Maria"));
    assert!(holds(&below.readable(&vault.secrets()), "João"));
    assert!(holds(&below.readable(&set_aside), "Maria"), "with the keys set aside it would have been found");
}

#[test]
fn without_sealing_an_erased_value_is_found() {
    let below = Hoarder::default();
    below.apply(&put(1, b"Maria")).and_then(|()| below.sync()).unwrap();
    below.apply(&erase(1, 1)).and_then(|()| below.sync()).unwrap();
    assert!(holds(&below.readable(&[]), "Maria"), "this check must be able to fail");
}

/// Any puts, erasures and replacements, cut off between any two steps, with keys that cannot be written now and then.
/// After every start what was acknowledged is there, and of all that the database was ever given nothing else can be
/// read than what is there now. And no key ever sealed two things.
#[test]
fn cut_off_anywhere_it_keeps_what_it_promised_and_nothing_else() {
    for seed in 1..=150 {
        let mut dice = Dice(seed);
        let vault = Arc::new(Vault::default());
        let mut below = Arc::new(Hoarder::default());
        let mut engine = sealing(&below, &vault);
        let mut promised: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut uses: BTreeMap<(Secret, u8), Pair> = BTreeMap::new();
        for step in 0..40 {
            let id = 1 + dice.below(4) as u64;
            let wanted = dice.happens(650).then(|| format!("{seed} {step}").into_bytes().repeat(9_000));
            let batch = wanted.as_ref().map_or_else(|| erase(id, 2), |text| put(id, text));
            vault.fail(dice.happens(30), dice.happens(100));
            let applied = engine.apply(&batch);
            let fails = dice.happens(100);
            let done = applied.is_ok() && !fails && engine.sync().is_ok();
            note_uses(&below, &vault, &mut uses);
            vault.fail(false, false);
            let before = promised.get(&id).cloned();
            if done {
                set(&mut promised, id, wanted.clone());
            } else {
                below = Arc::new(below.after_power_cut());
                engine = sealing(&below, &vault);
                let found = text_of(&engine, id);
                assert!(found == before || found == wanted, "seed {seed} step {step}: neither old nor new");
                set(&mut promised, id, found);
            }
            for id in 1..=4 {
                assert_eq!(text_of(&engine, id).as_ref(), promised.get(&id), "seed {seed} step {step}: {id}");
            }
            let mut readable = below.readable(&vault.secrets());
            readable.sort();
            let (low, high) = (Bound::Unbounded, Bound::Unbounded);
            let there = engine.scan(low, high, Direction::Up).map(Result::unwrap);
            let mut there: Vec<_> =
                there.filter(|(key, _)| keys::is_erasable(key)).map(|(_, value)| value).collect();
            there.sort();
            assert!(readable == there, "seed {seed} step {step}: {} readable", readable.len());
        }
    }
}

fn set(promised: &mut BTreeMap<u64, Vec<u8>>, id: u64, text: Option<Vec<u8>>) {
    match text {
        Some(text) => promised.insert(id, text),
        None => promised.remove(&id),
    };
}

/// Remembers what each key sealed, before it may be wiped.
fn note_uses(below: &Hoarder, vault: &Vault, uses: &mut BTreeMap<(Secret, u8), Pair>) {
    let secrets = vault.secrets();
    for (key, value) in below.ever.lock().unwrap().iter() {
        if read_with(key, value, &secrets).is_some() {
            let slot = u64::from_le_bytes(value[1..9].try_into().unwrap());
            let secret = secrets[usize::try_from(slot).unwrap()];
            let used = (key.clone(), value.clone());
            let known = uses.entry((secret, keys::chunk(key))).or_insert_with(|| used.clone());
            assert_eq!(*known, used, "a key sealed two things");
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_and_not_an_erasure() {
    let (below, vault) = (Arc::new(Hoarder::default()), Arc::new(Vault::default()));
    let engine = sealing(&below, &vault);
    engine.apply(&put(1, b"Maria")).and_then(|()| engine.sync()).unwrap();
    for place in 0..30 {
        let flip = |value: &mut Vec<u8>| value[place] ^= 0x20;
        below.below.tamper(&keys::body(ReceiptId(1), 0), flip);
        let told = sealed::body(&engine, ReceiptId(1)).unwrap_err().to_string();
        assert!(told.contains("body of receipt 1 is damaged"), "byte {place}: {told}");
        below.below.tamper(&keys::body(ReceiptId(1), 0), flip);
    }
    vault.damage(0);
    assert!(sealed::body(&engine, ReceiptId(1)).is_err(), "a damaged key is told too");
}

#[test]
fn keys_that_are_missing_are_damage() {
    let (below, vault) = (Arc::new(Hoarder::default()), Arc::new(Vault::default()));
    let engine = sealing(&below, &vault);
    engine.apply(&put(1, b"Maria")).and_then(|()| engine.sync()).unwrap();
    let empty = Arc::new(Vault::default());
    let refused = Sealing::open(Arc::clone(&below) as Arc<dyn Engine>, empty, Path::new("data")).map(drop);
    let Err(error @ OpenError::Damaged { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("razao restore"), "{error}");
}

#[test]
fn what_was_stored_before_there_was_sealing_is_sealed_by_the_migration() {
    let plain = newborn();
    let ledger = Ledger::start(Arc::clone(&plain) as Arc<dyn Engine>);
    ledger.then(receive("Maria"));
    ledger.then(register("PED-1", 100));
    ledger.stop();
    let mut old = meta::get(&*plain).unwrap().unwrap();
    old.data_version = 2;
    let mut batch = Batch::default();
    meta::put(&mut batch, &old).unwrap();
    plain.apply(&batch).and_then(|()| plain.sync()).unwrap();

    let vault = Arc::new(Vault::default());
    let engine = Sealing::open(
        Arc::clone(&plain) as Arc<dyn Engine>,
        Arc::clone(&vault) as Arc<dyn Slots>,
        Path::new("data"),
    );
    let engine = engine.unwrap();
    assert_eq!(text_of(&engine, 1).unwrap(), b"Maria", "it can be read before it is sealed");
    let now = migrate::forward(&engine, old, &mut |_, _| {}).unwrap();
    assert_eq!(now.data_version, meta::DATA_VERSION);
    assert_eq!(text_of(&engine, 1).unwrap(), b"Maria");
    assert_eq!(sealed::metadata(&engine, &key("PED-1")).unwrap().unwrap(), "{\"buyer\":\"Maria\"}");
    for pair in plain.scan(Bound::Unbounded, Bound::Unbounded, Direction::Up) {
        let (key, value) = pair.unwrap();
        assert!(!holds(&[value], "Maria"), "still plain: {}", keys::describe(&key));
    }
}
