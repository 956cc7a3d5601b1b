//! Keys of every algorithm, by kid and without, their files made by openssl.

use crate::support::place::Place;
use crate::support::{ANY, Bank, Daemon, Setup, run, tool};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A private key in PKCS#8 and its public half, both as PEM files.
fn pair(openssl: &Path, place: &Place, name: &str, options: &[&str]) -> (Vec<u8>, PathBuf) {
    let (private, public) = (place.file(&format!("{name}.key")), place.file(&format!("{name}.pub")));
    let made = run(Command::new(openssl).arg("genpkey").args(options).arg("-out").arg(&private));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made =
        run(Command::new(openssl).args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read(private).unwrap(), public)
}

fn token(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
    let claims =
        json!({"iss": "razao", "aud": "razao", "exp": exp, "scope": "orders:read", "accounts": ["*"]});
    encode(&header, &claims, key).unwrap()
}

fn entry(kid: &str, algorithm: &str, file: &Path) -> String {
    format!(
        "[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"{algorithm}\"\npublic_key_file = \"{}\"\n",
        file.display()
    )
}

const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const ED: &[&str] = &["-algorithm", "ED25519"];

async fn status(daemon: &Daemon, token: &str) -> u16 {
    daemon.client_by(token).get("/v1/orders").await.status
}

#[tokio::test]
async fn rsa_ecdsa_and_eddsa() {
    let Some(openssl) = tool("openssl") else { return };
    let bank = Bank::open();
    let mut place = Place::new(Setup::new(&bank));
    let (rsa, rsa_public) = pair(&openssl, &place, "rsa", RSA);
    let (ec, ec_public) = pair(&openssl, &place, "ec", EC);
    let (ed, ed_public) = pair(&openssl, &place, "ed", ED);
    let (stranger, _) = pair(&openssl, &place, "stranger", RSA);
    place.setup.auth =
        [entry("r", "RS256", &rsa_public), entry("e", "ES256", &ec_public), entry("d", "EdDSA", &ed_public)]
            .concat();
    place.write(&place.setup.toml(&place.data()));
    let daemon = Daemon::at(place);
    let keys = [
        ("r", Algorithm::RS256, EncodingKey::from_rsa_pem(&rsa).unwrap()),
        ("e", Algorithm::ES256, EncodingKey::from_ec_pem(&ec).unwrap()),
        ("d", Algorithm::EdDSA, EncodingKey::from_ed_pem(&ed).unwrap()),
    ];
    for (kid, algorithm, key) in &keys {
        assert_eq!(status(&daemon, &token(*algorithm, key, Some(kid))).await, 200, "{algorithm:?}");
        assert_eq!(
            status(&daemon, &token(*algorithm, key, None)).await,
            200,
            "{algorithm:?} without kid: one key has it"
        );
        assert_eq!(
            status(&daemon, &token(*algorithm, key, Some("other"))).await,
            401,
            "{algorithm:?}, unknown kid"
        );
    }
    // A kid of another algorithm's key, another algorithm of the same key, and another's key.
    assert_eq!(status(&daemon, &token(Algorithm::RS256, &keys[0].2, Some("e"))).await, 401);
    assert_eq!(status(&daemon, &token(Algorithm::RS512, &keys[0].2, Some("r"))).await, 401);
    let stranger = EncodingKey::from_rsa_pem(&stranger).unwrap();
    assert_eq!(status(&daemon, &token(Algorithm::RS256, &stranger, Some("r"))).await, 401);
    // The old trick: the public key, which everybody has, used as an HMAC secret.
    let public = std::fs::read(&rsa_public).unwrap();
    for kid in [Some("r"), None] {
        let forged = token(Algorithm::HS256, &EncodingKey::from_secret(&public), kid);
        daemon.client_by(&forged).get("/v1/orders").await.problem(401, ANY);
    }
}

#[tokio::test]
async fn without_kid_only_where_one_key_has_the_algorithm() {
    let bank = Bank::open();
    let secrets = ["the-first-secret-of-more-than-32-bytes-x", "the-second-secret-of-more-than-32-bytes-"];
    let keys = ["a", "b"].iter().zip(secrets).map(|(kid, secret)| {
        format!("[[auth.keys]]\nkid = \"{kid}\"\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n")
    });
    let daemon = Daemon::with(Setup::new(&bank).auth(&keys.collect::<String>()));
    let key = |n: usize| EncodingKey::from_secret(secrets[n].as_bytes());
    assert_eq!(status(&daemon, &token(Algorithm::HS256, &key(0), Some("a"))).await, 200);
    assert_eq!(status(&daemon, &token(Algorithm::HS256, &key(1), Some("b"))).await, 200);
    assert_eq!(status(&daemon, &token(Algorithm::HS256, &key(0), Some("b"))).await, 401);
    assert_eq!(status(&daemon, &token(Algorithm::HS256, &key(0), None)).await, 401);
}

#[tokio::test]
async fn the_key_the_daemon_makes_is_private_and_stays() {
    use std::os::unix::fs::PermissionsExt;
    let bank = Bank::open();
    let mut daemon = Daemon::start(&bank);
    let file = daemon.data().join("jwt.key");
    let mode = std::fs::metadata(&file).expect("jwt.key in the data directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.restart();
    assert_eq!(daemon.client().get("/v1/orders").await.status, 200, "a token from before the restart");
}
