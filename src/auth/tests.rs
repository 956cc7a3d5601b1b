//! Tokens of all four kinds, good ones and bad ones. The keys under `tests/fixtures/auth/` are for this alone.

use super::*;
use crate::config::{Algorithm, AuthKey, Material, SECRET_BYTES_MIN};
use crate::domain::ids::AccountId;
use crate::domain::time::Time;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const SECRET: &str = "a secret of this test, and of nothing else";
const OTHER: &str = "another secret of this test and nothing more";
const NOW_SECONDS: i64 = 1_772_000_000;

fn now() -> Time {
    Time::from_seconds(NOW_SECONDS).unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/auth").join(name)).unwrap()
}

fn secret(kid: &str, secret: &str) -> AuthKey {
    let material = Material::Secret(secret.into());
    AuthKey { kid: Some(kid.to_owned()), algorithm: Some(Algorithm::HS256), material }
}

fn pem(kid: &str, algorithm: Algorithm, name: &str) -> AuthKey {
    AuthKey {
        kid: Some(kid.to_owned()),
        algorithm: Some(algorithm),
        material: Material::PublicPem(fixture(name)),
    }
}

fn jwks(kid: Option<&str>, algorithm: Option<Algorithm>, text: &str) -> AuthKey {
    AuthKey { kid: kid.map(str::to_owned), algorithm, material: Material::Jwks(text.to_owned()) }
}

fn keys() -> Keys {
    let set = String::from_utf8(fixture("jwks.json")).unwrap();
    Keys::configured(&[
        pem("rs", Algorithm::RS256, "rs256.public.pem"),
        pem("es", Algorithm::ES256, "es256.public.pem"),
        pem("ed", Algorithm::EdDSA, "eddsa.public.pem"),
        secret("hs", SECRET),
        jwks(None, None, &set),
    ])
    .unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "razao", "aud": "shop", "sub": "ana", "exp": NOW_SECONDS + 100,
        "scope": "orders:read unknown:scope admin", "accounts": ["loja", "Not An Id"],
    })
}

/// A token as somebody else would make it; private keys of fixtures by name, otherwise a secret.
fn signed(algorithm: jsonwebtoken::Algorithm, kid: Option<&str>, key: &str, claims: &Value) -> String {
    let key = match key {
        "rs256" => EncodingKey::from_rsa_pem(&fixture("rs256.private.pem")).unwrap(),
        "es256" => EncodingKey::from_ec_pem(&fixture("es256.private.pem")).unwrap(),
        "eddsa" => EncodingKey::from_ed_pem(&fixture("eddsa.private.pem")).unwrap(),
        secret => EncodingKey::from_secret(secret.as_bytes()),
    };
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

fn check(token: &str) -> Result<Claims, Denied> {
    verify(&keys(), "razao", "shop", token, now())
}

fn hs(claims: &Value) -> String {
    signed(jsonwebtoken::Algorithm::HS256, Some("hs"), SECRET, claims)
}

#[test]
fn every_algorithm_and_both_ways_to_give_a_key() {
    use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256, RS256};
    let cases = [
        (HS256, Some("hs"), SECRET),
        (RS256, Some("rs"), "rs256"),
        (ES256, Some("es"), "es256"),
        (EdDSA, Some("ed"), "eddsa"),
        (RS256, Some("set-rs"), "rs256"),
        (ES256, Some("set-es"), "es256"),
        (EdDSA, Some("set-ed"), "eddsa"),
        // The only HS256 key: no kid is needed.
        (HS256, None, SECRET),
    ];
    for (algorithm, kid, key) in cases {
        let claims = check(&signed(algorithm, kid, key, &claims())).unwrap();
        assert_eq!(claims.subject, "ana", "{algorithm:?} {kid:?}");
        assert_eq!(claims.scopes.into_iter().collect::<Vec<_>>(), [Scope::OrdersRead, Scope::Admin]);
        assert_eq!(claims.expires_at, Time::from_seconds(NOW_SECONDS + 100).unwrap());
        assert!(claims.accounts.sees(&AccountId::parse("loja").unwrap()));
        assert!(!claims.accounts.sees(&AccountId::parse("other").unwrap()));
    }
}

#[test]
fn keys_that_do_not_fit() {
    use jsonwebtoken::Algorithm::{ES256, HS256, HS512, RS256, RS512};
    let public = String::from_utf8(fixture("rs256.public.pem")).unwrap();
    let cases = [
        (HS256, Some("gone"), SECRET, Denied::UnknownKey),
        (HS256, Some(""), SECRET, Denied::UnknownKey),
        (HS256, Some("hs"), OTHER, Denied::Signature),
        (HS256, Some("rs"), SECRET, Denied::Algorithm),
        // The oldest trick: the public key as the secret.
        (HS256, Some("rs"), public.as_str(), Denied::Algorithm),
        (RS256, Some("es"), "rs256", Denied::Algorithm),
        (RS256, Some("set-enc"), "rs256", Denied::UnknownKey),
        // Two keys have it: the PEM and the set's.
        (ES256, None, "es256", Denied::NoKey),
        (HS512, Some("hs"), SECRET, Denied::Unreadable),
        (RS512, Some("rs"), "rs256", Denied::Unreadable),
    ];
    for (algorithm, kid, key, expected) in cases {
        assert_eq!(check(&signed(algorithm, kid, key, &claims())), Err(expected), "{algorithm:?} {kid:?}");
    }
}

#[test]
fn what_is_no_token() {
    let good = hs(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    // {"alg":"none","typ":"JWT"}, {"alg":"HS256","kid":"hs","crit":["exp"]}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let crit = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImhzIiwiY3JpdCI6WyJleHAiXX0";
    for bad in [
        String::new(),
        "abc".to_owned(),
        "..".to_owned(),
        head.to_owned(),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{crit}.{payload}.{signature}"),
        format!("{good}.x"),
    ] {
        assert_eq!(check(&bad), Err(Denied::Unreadable), "{bad}");
    }
    assert_eq!(check(&format!("{head}.")), Err(Denied::Signature));
    assert_eq!(check(&format!("{head}.{}", "A".repeat(43))), Err(Denied::Signature));
    assert_eq!(check(&"a".repeat(8 * 1024 + 1)), Err(Denied::TooLong));
    assert_eq!(check(&"a".repeat(8 * 1024)), Err(Denied::Unreadable));
}

#[test]
fn claims_one_by_one() {
    let absent = Value::Null;
    let all = Ok(());
    let cases = [
        ("iss", json!("other"), Err(Denied::Issuer)),
        ("iss", json!(["razao"]), Err(Denied::Claims)),
        ("iss", absent.clone(), Err(Denied::Missing("iss"))),
        ("aud", json!(["other", "shop"]), all),
        ("aud", json!(["other"]), Err(Denied::Audience)),
        ("aud", json!([]), Err(Denied::Audience)),
        ("aud", json!("shops"), Err(Denied::Audience)),
        ("aud", absent.clone(), Err(Denied::Missing("aud"))),
        ("exp", absent.clone(), Err(Denied::Missing("exp"))),
        ("exp", json!("1772000100"), Err(Denied::Claims)),
        ("exp", json!(NOW_SECONDS - 59), all),
        ("exp", json!(NOW_SECONDS - 60), Err(Denied::Expired)),
        ("exp", json!(0), Err(Denied::Expired)),
        ("exp", json!(-1), Err(Denied::Expired)),
        ("exp", json!(1_772_000_000.5), all),
        ("exp", json!(i64::MAX), all),
        ("exp", json!(u64::MAX), all),
        ("nbf", json!(NOW_SECONDS + 60), all),
        ("nbf", json!(NOW_SECONDS + 61), Err(Denied::NotYet)),
        ("nbf", json!("later"), Err(Denied::Claims)),
        ("scope", json!(["orders:read"]), Err(Denied::Claims)),
        ("accounts", json!("*"), Err(Denied::Claims)),
        ("sub", absent, all),
    ];
    for (name, value, expected) in cases {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        assert_eq!(check(&hs(&claims)).map(drop), expected, "{name} {}", claims[name]);
    }
}

#[test]
fn accounts_and_scopes() {
    let loja = AccountId::parse("loja").unwrap();
    let sees = |accounts: Value| {
        let mut claims = claims();
        claims["accounts"] = accounts;
        check(&hs(&claims)).unwrap().accounts.sees(&loja)
    };
    assert!(sees(json!(["*"])) && sees(json!(["loja"])) && sees(json!(["other", "loja"])));
    assert!(!sees(json!([])) && !sees(json!(null)) && !sees(json!(["lo*"])) && !sees(json!(["other", "*"])));
    for (scope, expected) in [("admin", vec![Scope::Admin]), ("", vec![]), ("Admin orders:*", vec![])] {
        let mut claims = claims();
        claims["scope"] = json!(scope);
        let claims = check(&hs(&claims)).unwrap();
        assert_eq!(claims.scopes.iter().copied().collect::<Vec<_>>(), expected, "{scope}");
        assert!(!claims.allows(Scope::OrdersRead));
    }
    for scope in Scope::ALL {
        assert_eq!(Scope::parse(scope.as_str()), Some(scope));
    }
}

#[test]
fn what_is_minted_is_believed() {
    let accounts = [AccountId::parse("loja").unwrap()];
    let ttl = Duration::from_secs(3600);
    let grant = Grant { subject: "ana", scopes: "orders:read  balances:read", accounts: &accounts, ttl };
    let token = mint(&keys(), "razao", "shop", &grant, now()).unwrap();
    let claims = check(&token).unwrap();
    assert_eq!(claims.subject, "ana");
    assert_eq!(claims.scopes.into_iter().collect::<Vec<_>>(), [Scope::OrdersRead, Scope::BalancesRead]);
    assert_eq!(claims.accounts, Accounts::Only(accounts.iter().cloned().collect()));
    assert_eq!(claims.expires_at, now().plus(ttl));
    let late = now().plus(ttl).plus(Duration::from_secs(60));
    assert_eq!(verify(&keys(), "razao", "shop", &token, late), Err(Denied::Expired));
    let everywhere = Grant { accounts: &[], ..grant };
    let token = mint(&keys(), "razao", "shop", &everywhere, now()).unwrap();
    assert_eq!(check(&token).unwrap().accounts, Accounts::All);
}

#[test]
fn what_is_not_minted() {
    let grant = Grant { subject: "", scopes: "admin", accounts: &[], ttl: Duration::from_secs(1) };
    let try_mint = |keys: &Keys, grant: Grant<'_>| mint(keys, "razao", "shop", &grant, now()).unwrap_err();
    let public = Keys::configured(&[pem("rs", Algorithm::RS256, "rs256.public.pem")]).unwrap();
    assert_eq!(try_mint(&public, grant), MintError::NoSigningKey);
    let typo = try_mint(&keys(), Grant { scopes: "order:read", ..grant });
    assert!(typo.to_string().contains("orders:read, orders:write"), "{typo}");
    assert_eq!(try_mint(&keys(), Grant { scopes: " ", ..grant }), MintError::NoScope);
    assert_eq!(try_mint(&keys(), Grant { ttl: Duration::from_millis(999), ..grant }), MintError::Ttl);
    assert_eq!(try_mint(&keys(), Grant { ttl: Duration::MAX, ..grant }), MintError::Ttl);
    let many: Vec<_> = (0..1_000).map(|n| AccountId::parse(&format!("account-{n}")).unwrap()).collect();
    assert_eq!(try_mint(&keys(), Grant { accounts: &many, ..grant }), MintError::TooLong);
}

#[test]
fn keys_that_cannot_verify_are_refused_at_once() {
    let set = String::from_utf8(fixture("jwks.json")).unwrap();
    let oct = r#"{"keys":[{"kty":"oct","kid":"x","k":"c2VjcmV0"}]}"#;
    let short = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"x","x":"AAAA"}]}"#;
    let bad = [
        pem("a", Algorithm::RS256, "es256.public.pem"),
        pem("b", Algorithm::ES256, "p384.public.pem"),
        pem("c", Algorithm::EdDSA, "rs256.public.pem"),
        pem("d", Algorithm::RS256, "rsa1024.public.pem"),
        jwks(None, None, "not json"),
        jwks(None, None, oct),
        jwks(None, None, short),
        jwks(None, None, r#"{"keys":[]}"#),
        pem("set-rs", Algorithm::RS256, "rs256.public.pem"),
        jwks(None, None, &set),
    ];
    let problems = Keys::configured(&bad).unwrap_err();
    let named: Vec<_> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    let expected = [0, 1, 2, 3].map(|index| format!("auth.keys[{index}].public_key_file")).into_iter();
    let expected = expected.chain([4, 5, 6, 7, 9].map(|index| format!("auth.keys[{index}].jwks_file")));
    assert_eq!(named, expected.collect::<Vec<_>>(), "{problems}");
}

#[test]
fn a_set_may_be_narrowed_and_given_a_kid() {
    let set = String::from_utf8(fixture("jwks.json")).unwrap();
    let nameless = set.replace(r#""kid": "set-es","#, "");
    let keys = Keys::configured(&[jwks(Some("mine"), Some(Algorithm::ES256), &nameless)]).unwrap();
    assert_eq!(format!("{keys:?}"), r#"[(Some("mine"), ES256)]"#);
    assert!(SECRET.len() >= SECRET_BYTES_MIN);
}
