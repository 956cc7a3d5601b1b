//! Who sealed something: the public key, the one before it, and the signature. What is signed stands in `views/seal.rs`.

use bincode::{Decode, Encode};

/// The public half of an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode, Debug)]
pub struct PublicKey(pub [u8; 32]);

#[derive(Clone, PartialEq, Eq, Encode, Decode, Debug)]
pub struct Signed {
    pub by: PublicKey,
    /// What this ledger signed with before; none for its first key.
    pub previous: Option<PublicKey>,
    pub signature: [u8; 64],
}
