//! What is refused, and in which words.

use super::*;

fn problems(text: &str, env: &[(&str, &str)]) -> String {
    Dir::new().load(text, env).map(|config| format!("{config:?}")).unwrap_err().to_string()
}

/// A configuration and the beginnings of the lines it is answered with, all of them.
#[test]
fn every_problem_with_its_key() {
    let account = |keys: &str| format!("[[accounts]]\nid = \"a\"\nprovider = \"needy\"\n{keys}");
    let good_key = "callback_key = \"0123456789abcdef\"";
    let good_credentials = "credentials = { api_key = \"x\" }";
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("frobnicate = 1".into(), vec!["frobnicate: unknown key; known here: server, data, log"]),
        ("[resolver]\nfrist_pause = \"1s\"".into(), vec!["resolver.frist_pause: unknown key; known here: first_pause"]),
        ("server = 5".into(), vec!["server: must be a section, [server], not a whole number"]),
        (
            "[server]\nlisten = 8080\ncors_origins = \"x\"\ntrusted_proxies = [\"10.0.0.0/40\", 7]\ncallback_listen = \"here\"".into(),
            vec![
                "server.listen: must be text in quotes, not a whole number",
                "server.callback_listen: \"here\": not an address and port",
                "server.cors_origins: must be a list of texts, not text",
                "server.trusted_proxies[0]: \"10.0.0.0/40\": neither an address nor a network",
                "server.trusted_proxies[1]: must be text in quotes",
            ],
        ),
        ("[server]\ncallback_listen = \"127.0.0.1:8080\"".into(), vec!["server.callback_listen: the same address"]),
        ("[server]\ncors_origins = [\"shop.example.com\"]".into(), vec!["server.cors_origins[0]: \"shop.example.com\""]),
        (
            "[server]\ntls_cert_file = \"no.pem\"".into(),
            vec!["server.tls_cert_file: ", "server.tls_key_file: missing; server.tls_cert_file needs it"],
        ),
        (
            "[data]\ndir = \"\"\nreceipt_retention = \"90\"\nhistory_retention = 400\nmin_free = \"512mb\"\ncache = \"1MiB\"".into(),
            vec!["data.dir: \"\": name", "data.receipt_retention: \"90\": not a duration", "data.history_retention: must be text", "data.min_free: \"512mb\": not a size", "data.cache: \"1MiB\": too little"],
        ),
        ("[log]\nformat = \"xml\"\nlevel = \"loud\"".into(), vec!["log.format: \"xml\": must be human or json", "log.level: \"loud\""]),
        (
            "[resolver]\nfirst_pause = \"2h\"\nper_account = 0".into(),
            vec!["resolver.first_pause: longer than max_pause", "resolver.per_account: must be a whole number from 1 to 1000, not 0"],
        ),
        ("[poll]\nenabled = \"yes\"\nmin_interval = \"7h\"".into(), vec!["poll.enabled: must be true or false, not text", "poll.min_interval: longer than max_interval"]),
        ("[webhooks]\nmax_attempts = 2.5\nmax_pause = \"1s\"".into(), vec!["webhooks.first_pause: longer", "webhooks.max_attempts: must be a whole number"]),
        ("[limits]\ncallbacks_per_account = \"2000\"".into(), vec!["limits.callbacks_per_account: \"2000\": not a rate"]),
        ("[reports]\ntimezone = \"Mars\"\n[reports.chart]\n\"assets:a:pending\" = 1".into(), vec!["reports.timezone: \"Mars\": not a time zone", "reports.chart.assets:a:pending: must be text"]),
        (
            "[reports.chart]\n\"income:a:sale\" = \"1\"\n\"income:a:sales\" = \"a;b\"\n\"income:b:refunds\" = \"3.1 x\"\n\"income:b:sales\" = \"3-1 x\"".into(),
            vec![
                "reports.chart.income:a:sale: \"income:a:sale\" is no ledger account; one is such as",
                "reports.chart.income:a:sales: \"a;b\": an account's name is 1 to 200 characters",
                "reports.chart.income:b:sales: \"3-1 x\" and \"3.1 x\" are both Income:3-1-x in beancount",
            ],
        ),
        ("[backup]\nevery = \"24h\"".into(), vec!["backup.to: missing; backup.every needs"]),
        ("[backup]\nto = \"data/backup\"".into(), vec!["backup.to: lies within data.dir"]),
        ("[telemetry]\notlp = \"localhost:4317\"".into(), vec!["telemetry.otlp: not an address"]),
        ("accounts = 1".into(), vec!["accounts: must be sections, [[accounts]], not a whole number"]),
        ("[[accounts]]".into(), vec!["accounts[0].id: missing", "accounts[0].provider: missing; one of picpay, needy"]),
        (
            "[[accounts]]\nid = 5\nprovider = 5\ncurrency = 5".into(),
            vec!["accounts[0].id: must be text", "accounts[0].provider: must be text", "accounts[0].currency: must be text"],
        ),
        (
            "[[accounts]]\nid = \"A\"\nprovider = \"stripe\"\ncurrency = \"XXX\"\ntimezone = \"X\"\ncredentials = { any = 1 }".into(),
            vec!["accounts[0].id: an account id is", "accounts[0].provider: unknown provider \"stripe\"; known are picpay, needy", "accounts[0].currency: \"XXX\": unknown currency", "accounts[0].timezone: "],
        ),
        (
            account(""),
            vec!["accounts[0].callback_key: missing; a callback of Needy proves nothing", "accounts[0].credentials.api_key: missing; Needy needs it"],
        ),
        (account(&format!("callback_key = \"0123456789abcde\"\n{good_credentials}")), vec!["accounts[0].callback_key: too short; at least 16"]),
        (account(&format!("callback_key = \"0123456789/abcdef\"\n{good_credentials}")), vec!["accounts[0].callback_key: stands in a URL"]),
        (account(&format!("callback_key = 1234567890123456\n{good_credentials}")), vec!["accounts[0].callback_key: must be text in quotes, not a whole number"]),
        (
            account(&format!("{good_key}\ncredentials = {{ api_key = \"x\", x = 1 }}\ncallback_allow = [\"all\"]\nbase_url = \"ftp://x\"")),
            vec!["accounts[0].base_url: not an address", "accounts[0].callback_allow[0]: \"all\"", "accounts[0].credentials.x: unknown key; known here: api_key, api_key_file, extra"],
        ),
        (account(&format!("{good_key}\ncredentials = {{ api_key = 5 }}")), vec!["accounts[0].credentials.api_key: must be text in quotes or a list of such, not a whole number"]),
        (account(&format!("{good_key}\ncredentials = {{ api_key = \"\", extra = \"\" }}")), vec!["accounts[0].credentials.api_key: missing"]),
        (account(&format!("{good_key}\ncredentials = {{ api_key = \"a\\nb\" }}")), vec!["accounts[0].credentials.api_key: holds a control character"]),
        (account(&format!("{good_key}\ncredentials = {{ api_key_file = \"gone\" }}")), vec!["accounts[0].credentials.api_key_file: "]),
        (account(&format!("{good_key}\ncredentials = {{ api_key = \"x\", api_key_file = \"gone\" }}")), vec!["accounts[0].credentials.api_key_file: api_key is set too"]),
        (account(&format!("{good_key}\n{good_credentials}\npoll = {{ min_interval = \"7h\", often = true }}")), vec!["accounts[0].poll.min_interval: longer", "accounts[0].poll.often: unknown key"]),
        (format!("{ACCOUNT}{ACCOUNT}"), vec!["accounts[1].id: accounts[0] has the same"]),
    ];
    for (text, expected) in cases {
        let got = problems(&text, &[]);
        let lines: Vec<&str> = got.lines().collect();
        let same = lines.len() == expected.len()
            && lines.iter().zip(&expected).all(|(line, start)| line.starts_with(start));
        assert!(same, "{text}\n---\n{got}\n--- expected\n{expected:#?}");
    }
}

#[test]
fn problems_of_keys() {
    let dir = Dir::new();
    dir.file("short", "tooshort\n");
    dir.file("long", format!("  {}\n", "k".repeat(32)));
    dir.file("binary", [0xff; 40]);
    dir.file("empty", "\n");
    dir.file("private.pem", "-----BEGIN PRIVATE KEY-----");
    let entry = |keys: &str| format!("[[auth.keys]]\n{keys}");
    let none = "auth.keys[0].secret_file: a key needs exactly one of";
    let cases = [
        ("kid = \"a\"", none),
        ("secret = \"\"", none),
        ("secret = \"x\"\nsecret_file = \"long\"", none),
        ("secret = \"x\"", "auth.keys[0].secret: has 1 bytes; at least 32"),
        ("secret_file = \"short\"", "auth.keys[0].secret_file: has 8 bytes; at least 32"),
        ("secret_file = \"gone\"", "auth.keys[0].secret_file: "),
        ("secret_file = \"binary\"", "auth.keys[0].secret_file: "),
        ("secret_file = \"empty\"", "auth.keys[0].secret_file: "),
        ("secret_file = \"long\"\nalgorithm = \"RS256\"", "auth.keys[0].secret_file: does not go with RS256"),
        ("public_key_file = \"long\"", "auth.keys[0].algorithm: missing; a public key needs"),
        (
            "public_key_file = \"long\"\nalgorithm = \"HS256\"",
            "auth.keys[0].public_key_file: does not go with HS256",
        ),
        (
            "public_key_file = \"private.pem\"\nalgorithm = \"RS256\"",
            "auth.keys[0].public_key_file: holds a private key",
        ),
        ("jwks_file = \"long\"\nalgorithm = \"HS256\"", "auth.keys[0].jwks_file: does not go with HS256"),
        (
            "secret_file = \"long\"\nalgorithm = \"none\"",
            "auth.keys[0].algorithm: \"none\": must be HS256, RS256",
        ),
        (
            "secret_file = \"long\"\nkeyid = \"x\"",
            "auth.keys[0].keyid: unknown key; known here: kid, algorithm, secret",
        ),
        (
            "secret_file = \"long\"\n[[auth.keys]]\nsecret_file = \"long\"",
            "auth.keys[1].kid: another key has the same",
        ),
    ];
    for (keys, expected) in cases {
        let got = dir.load(&entry(keys), &[]).unwrap_err().to_string();
        assert!(got.starts_with(expected) && got.lines().count() == 1, "{keys}\n{got}");
    }
    let two = "secret_file = \"long\"\nalgorithm = \"\"\n[[auth.keys]]\njwks_file = \"long\"\n";
    let keys = dir.load(&entry(two), &[]).unwrap().auth.keys;
    assert_eq!((keys[0].kid.as_deref(), keys[0].algorithm), (Some("main"), Some(Algorithm::HS256)));
    assert!(
        matches!(&keys[0].material, Material::Secret(secret) if secret.expose_secret() == "k".repeat(32))
    );
    assert_eq!((keys[1].kid.as_deref(), keys[1].algorithm), (None, None));
}

#[test]
fn problems_of_the_environment() {
    let cases = [
        (vec![("RAZAO__SERVER", "x")], "RAZAO__SERVER: names no key"),
        (vec![("RAZAO__SERVER__", "x")], "RAZAO__SERVER__: names no key"),
        (vec![("RAZAO__ACCOUNTS__99999__ID", "x")], "RAZAO__ACCOUNTS__99999__ID: names no key"),
        (vec![("RAZAO__SERVER__LISTN", "x")], "server.listn: unknown key"),
        (vec![("RAZAO__POLL__ENABLED", "maybe")], "poll.enabled: must be true or false"),
        (
            vec![("RAZAO__BACKUP__KEEP", "many")],
            "backup.keep: must be a whole number from 1 to 10000, not text",
        ),
        (vec![("RAZAO__REPORTS__CHART", "x"), ("RAZAO__REPORTS__CHART__A", "x")], "reports.chart: is set by"),
        (vec![("RAZAO__SERVER__LISTEN", "127.0.0.1:1\u{fffd}")], "RAZAO__SERVER__LISTEN: is not UTF-8"),
        (vec![("RAZAO__ACCOUNTS__2__ID", "x")], "accounts[1]: must be a section, [[accounts]], not nothing"),
    ];
    for (env, expected) in cases {
        let got = problems(ACCOUNT, &env);
        assert!(got.starts_with(expected), "{env:?}\n{got}");
    }
}

#[test]
fn files_that_are_not_there_or_no_toml() {
    let gone = load_from(Path::new("/nowhere/config.toml"), std::iter::empty()).unwrap_err().to_string();
    assert_eq!(gone, "/nowhere/config.toml: there is no such file; create one or pass --config FILE");
    let broken = problems("[server]\n  secret = \"hush-hush\n", &[]);
    assert!(broken.contains("config.toml: is not TOML at line 2, column"), "{broken}");
    assert!(!broken.contains("hush") && broken.lines().count() == 1, "{broken}");
}
