//! What is accepted, and what is never printed.

mod problems;

use super::*;
use crate::domain::money::Currency;
use crate::providers::provider::*;
use crate::wire::call::{Answer, Call};
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;

const ACCOUNT: &str = r#"
[[accounts]]
id = "loja"
provider = "picpay"
[accounts.credentials]
picpay_token = "hush-picpay"
seller_token = "hush-seller"
"#;

/// A provider whose callbacks prove nothing, whatever the registry holds.
struct Needy;

static NEEDY: Spec = Spec {
    id: "needy",
    name: "Needy",
    base_url: "https://needy.example.com/",
    credentials: &[
        Credential { name: "api_key", required: true },
        Credential { name: "extra", required: false },
    ],
    needs_callback_key: true,
    callback_shape: "",
    callback_entry: "",
    polling: Polling { pause_min: Duration::from_secs(1), quota: None },
    settlement: None,
};

impl Provider for Needy {
    fn spec(&self) -> &'static Spec {
        &NEEDY
    }
    fn authenticate(&self, _: &Merchant, _: &[(String, String)]) -> Result<(), Stranger> {
        Ok(())
    }
    fn hear(&self, _: &Merchant, _: &Incoming<'_>) -> Result<Notice, Unreadable> {
        Ok(Notice::default())
    }
    fn poll(&self, _: Known<'_>) -> Option<Question> {
        None
    }
    fn ask(&self, _: &Merchant, _: Option<&Session>, _: &Question) -> Call {
        Call::get(String::new())
    }
    fn read(&self, _: &Merchant, _: &Question, _: &Answer) -> Result<Findings, Trouble> {
        Ok(Findings::default())
    }
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn load(&self, text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
        let path = self.file("config.toml", text);
        let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let registered = PROVIDERS.iter().copied().filter(|provider| provider.spec().id == "picpay");
        let providers: Vec<&'static dyn Provider> = registered.chain([&Needy as &dyn Provider]).collect();
        load_with(&path, env, &providers)
    }
}

#[test]
fn the_defaults_are_the_contract_s() {
    let dir = Dir::new();
    let config = dir.load("", &[]).unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.server.callback_listen.is_none() && config.server.tls.is_none());
    assert_eq!(config.data.dir, dir.0.path().join("data"));
    assert_eq!(config.data.receipt_retention, seconds(90 * 86_400));
    assert_eq!(config.data.history_retention, seconds(400 * 86_400));
    assert_eq!(config.data.min_free_bytes, 512 * 1024 * 1024);
    assert_eq!(config.data.cache_bytes, 64 * 1024 * 1024);
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Human, "info"));
    assert_eq!((config.auth.issuer.as_str(), config.auth.audience.as_str()), ("razao", "razao"));
    assert!(config.auth.keys.is_empty());
    let resolver = &config.resolver;
    assert_eq!((resolver.first_pause, resolver.max_pause), (Duration::from_millis(500), seconds(3_600)));
    assert_eq!((resolver.give_up_after, resolver.timeout), (seconds(5 * 86_400), seconds(10)));
    assert_eq!(resolver.per_account, 8);
    let poll = Poll { enabled: true, min_interval: seconds(30), max_interval: seconds(6 * 3_600) };
    assert_eq!(config.poll, poll);
    let webhooks = &config.webhooks;
    assert!(!webhooks.allow_private && webhooks.require_https);
    assert_eq!((webhooks.timeout, webhooks.max_attempts), (seconds(10), 20));
    assert_eq!((webhooks.first_pause, webhooks.max_pause), (seconds(5), seconds(12 * 3_600)));
    assert_eq!(config.limits.callbacks_per_account, Some(Rate { count: 2000, per: seconds(1) }));
    assert_eq!(config.limits.callbacks_per_address, Some(Rate { count: 50, per: seconds(1) }));
    assert_eq!(config.reports.zone.iana_name(), Some("America/Sao_Paulo"));
    assert!(config.backup.every.is_none() && config.backup.to.is_none() && config.telemetry.otlp.is_none());
    assert_eq!(config.backup.keep, 14);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap();
    let dir = Dir::new();
    let config = dir.load(&shipped, &[]).unwrap();
    let plain = dir.load("", &[]).unwrap();
    let account = &config.accounts[0];
    assert_eq!(account.merchant.base_url, "http://127.0.0.1:9901");
    assert_eq!((account.merchant.id.as_str(), account.poll), ("loja-picpay", plain.poll));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let bare = Config { accounts: Vec::new(), warnings: plain.warnings.clone(), ..config };
    assert_eq!(format!("{bare:?}"), format!("{plain:?}"));
}

#[test]
fn the_environment_wins() {
    let env = [
        ("RAZAO__SERVER__LISTEN", "127.0.0.1:9000"),
        ("RAZAO__SERVER__TRUSTED_PROXIES", "10.0.0.7, 10.1.0.0/16"),
        ("RAZAO__POLL__ENABLED", "false"),
        ("RAZAO__RESOLVER__PER_ACCOUNT", "3"),
        ("RAZAO__LIMITS__CALLBACKS_PER_ACCOUNT", ""),
        ("RAZAO__ACCOUNTS__0__CREDENTIALS__SELLER_TOKEN", "a,b"),
        ("RAZAO__ACCOUNTS__1__ID", "second"),
        ("RAZAO__ACCOUNTS__1__PROVIDER", "needy"),
        ("RAZAO__ACCOUNTS__1__CALLBACK_KEY", "0123456789abcdef"),
        ("RAZAO__ACCOUNTS__1__CREDENTIALS__API_KEY", "17"),
        // Not ours, or not configuration.
        ("RAZAO_SEED", "7"),
        ("RAZAO_FAULT", "x"),
        ("RAZAO", "x"),
        ("OTHER__SERVER__LISTEN", "x"),
    ];
    let config = Dir::new().load(ACCOUNT, &env).unwrap();
    assert_eq!(config.server.listen.port(), 9000);
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert!(!config.poll.enabled && !config.accounts[0].poll.enabled);
    assert_eq!((config.resolver.per_account, config.limits.callbacks_per_account), (3, None));
    let [first, second] = config.accounts.as_slice() else { panic!("{config:?}") };
    // A token may hold a comma, so only lists are split.
    assert_eq!(first.merchant.credentials.first("seller_token").expose_secret(), "a,b");
    assert_eq!(first.merchant.credentials.first("picpay_token").expose_secret(), "hush-picpay");
    assert_eq!(second.merchant.base_url, "https://needy.example.com");
    assert!(config.account(&second.merchant.id).is_some());
}

#[test]
fn an_account_in_full() {
    let dir = Dir::new();
    dir.file("tokens", "  new \n\nold\n");
    let text = r#"
        [poll]
        max_interval = "2h"
        [[accounts]]
        id = "loja"
        provider = "picpay"
        currency = "USD"
        timezone = "UTC"
        base_url = "http://sandbox.example.com/"
        callback_key = "any-key"
        callback_allow = ["10.0.0.0/8", "::1"]
        credentials = { picpay_token = ["first", "second"], seller_token_file = "tokens" }
        poll = { enabled = false, min_interval = "1m" }
        [[accounts]]
        id = "other"
        provider = "picpay"
        credentials = { picpay_token = "p", seller_token = "s" }
    "#;
    let config = dir.load(text, &[]).unwrap();
    let account = &config.accounts[0];
    let merchant = &account.merchant;
    assert_eq!((merchant.currency.code(), merchant.base_url.as_str()), ("USD", "http://sandbox.example.com"));
    assert!(merchant.credentials.accepts("picpay_token", "second"));
    assert_eq!(merchant.credentials.first("seller_token").expose_secret(), "new");
    assert!(merchant.credentials.accepts("seller_token", "old"));
    assert!(!merchant.credentials.accepts("seller_token", ""));
    assert_eq!(account.callback_allow.len(), 2);
    assert_eq!((account.poll.enabled, account.poll.min_interval), (false, Duration::from_secs(60)));
    assert_eq!(account.poll.max_interval, Duration::from_secs(7_200));
    assert_eq!(config.warnings.len(), 1, "http beyond this machine is warned of: {:?}", config.warnings);
    let other = &config.accounts[1];
    assert_eq!(
        (other.merchant.currency, other.merchant.base_url.as_str()),
        (Currency::BRL, "https://appws.picpay.com")
    );
}

#[test]
fn the_chart_names_ledger_accounts() {
    let chart =
        "[reports.chart]\n\"income:loja:sales\" = \"3.1 Vendas\"\n\"income:gone:sales\" = \"3.1 Vendas\"";
    let config = Dir::new().load(&format!("{ACCOUNT}{chart}"), &[]).unwrap();
    let names: Vec<String> =
        config.reports.chart.iter().map(|(own, name)| format!("{own} is {name}")).collect();
    assert_eq!(names, ["income:gone:sales is 3.1 Vendas", "income:loja:sales is 3.1 Vendas"]);
    let strange = "reports.chart.income:gone:sales: no account gone is configured";
    assert_eq!(
        config.warnings.iter().filter(|warning| warning.starts_with("reports")).collect::<Vec<_>>(),
        [strange]
    );
}

#[test]
fn secrets_are_never_printed() {
    let dir = Dir::new();
    dir.file("seller", "hush-file-1\nhush-file-2");
    let text = r#"
        [[auth.keys]]
        secret = "hush-hush-hush-hush-hush-hush-hush"
        [[accounts]]
        id = "loja"
        provider = "picpay"
        callback_key = "hush-callback-key"
        credentials = { picpay_token = ["hush-a", "hush-b"], seller_token_file = "seller" }
    "#;
    let shown = format!("{:?} {:#?}", dir.load(text, &[]).unwrap(), dir.load(text, &[]).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
    // Nor where they are wrong.
    let wrong = r#"
        [telemetry]
        otlp = "https://hush:hush@example.com"
        [[auth.keys]]
        secret = "hush"
        [[accounts]]
        id = "loja"
        provider = "needy"
        base_url = "https://hush:hush@example.com"
        callback_key = "hush"
        hush_free = "hush"
        credentials = { api_key = ["hush", 5, "hu\nsh-hush"], secret = "hush" }
    "#;
    let shown = dir.load(wrong, &[("RAZAO__ACCOUNTS__0__TOKEN", "hush")]).unwrap_err().to_string();
    assert!(!shown.replace("hush_free", "").contains("hush"), "{shown}");
}
