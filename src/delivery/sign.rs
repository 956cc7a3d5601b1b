//! Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and body; during a rotation one by each secret.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How many bytes a new secret has.
pub const SECRET_BYTES: usize = 32;

/// The value of `webhook-signature`.
pub fn signature(secrets: &[&[u8]], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let one = |secret: &&[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A secret as a receiver is given it.
pub fn shown(secret: &[u8]) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_verifies_what_any_of_the_secrets_signed() {
        let (id, body) = ("evt_0123", "{\"é\":1}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let (new, old): ([u8; SECRET_BYTES], [u8; SECRET_BYTES]) = ([7; SECRET_BYTES], [9; SECRET_BYTES]);
        let value = signature(&[&new, &old], id, now, body);
        for secret in [new, old] {
            let reference = standardwebhooks::Webhook::new(&shown(&secret)).unwrap();
            assert!(value.contains(&reference.sign(id, now, body.as_bytes()).unwrap()), "{value}");
        }
        assert!(
            !value.contains(
                &standardwebhooks::Webhook::new(&shown(&[1; 32]))
                    .unwrap()
                    .sign(id, now, body.as_bytes())
                    .unwrap()
            )
        );
    }
}
