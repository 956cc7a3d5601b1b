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

/// A secret as [`shown`] writes it, of a length that Standard Webhooks allows.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
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

    #[test]
    fn secrets_are_read_as_they_are_shown() {
        assert_eq!(parse(&shown(&[7; SECRET_BYTES])), Some(vec![7; SECRET_BYTES]));
        for odd in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
        assert_eq!(parse(&shown(&[1; 65])), None);
    }
}
