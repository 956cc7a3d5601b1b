//! Seals that somebody kept, as files: read, and told whose key signed them.

use super::say;
use crate::domain::seal::PublicKey;
use crate::ledger::seal::{self, Kept, Sealer, Signer};
use crate::store::seal_key;
use secrecy::ExposeSecret;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a file is no seal to compare with.
pub enum Unkept {
    Gone(String),
    /// It is no seal, or was changed after it was signed.
    Unfit(String),
}

/// Kept seals whose signatures fit what they say.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Kept>, Unkept> {
    paths.iter().map(|path| one(path)).collect()
}

fn one(path: &Path) -> Result<Kept, Unkept> {
    let name = path.display().to_string();
    let gone = |error| Unkept::Gone(format!("the seal {name} cannot be read: {error}"));
    let bytes = fs::read(path).map_err(gone)?;
    let seal = seal::read(&bytes).map_err(|error| Unkept::Unfit(format!("seal {name}: {error}")))?;
    Ok(Kept { name, seal })
}

/// Says of each seal, which the ledger has borne out, whose key signed it. `known`: the keys this ledger signed with.
pub fn say_signers(dir: &Path, kept: &[Kept], known: &[PublicKey]) -> anyhow::Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let seed = seal_key::load(dir)?;
    let present = seed.map(|seed| Sealer::new(seed.expose_secret(), [0; 16], &[])).transpose()?;
    let present = present.map(|sealer| sealer.public_key());
    for Kept { name, seal } in kept {
        let by = match seal::signer(seal, present, known) {
            Signer::Present => "the key that this directory signs with now",
            Signer::Earlier => "a key that this ledger signed with earlier",
            Signer::Unknown => "a key that this directory does not know",
        };
        say(format_args!("ok: seal {name} holds at seq {}; signed at {} by {by}", seal.seq, seal.time));
    }
    Ok(())
}
