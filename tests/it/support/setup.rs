//! The configuration a test's daemon runs on: everything on loopback, pauses short, nothing that acts by itself.

use super::{ACCOUNT, Bank};
use std::path::Path;

pub const PICPAY_TOKEN: &str = "picpay-token-7d0c2f41-0b6e-4c3a-8f52-1be9a0d4c7f3";
pub const SELLER_TOKEN: &str = "seller-token-9b1f6c3e-58d2-4d0a-9a77-2f1c6f0b7e11";

/// What config.toml will say, section by section, and how the program is started.
#[derive(Clone, Default)]
pub struct Setup {
    /// The whole `[resolver]` section.
    pub resolver: String,
    /// `[[auth.keys]]` and the like; by default the daemon makes its own key.
    pub auth: String,
    pub limits: String,
    pub log: String,
    pub accounts: String,
    /// Sections that are nowhere else.
    pub extra: String,
    pub env: Vec<(String, String)>,
    /// A program and its arguments that run the daemon, such as a tracer.
    pub wrapper: Vec<String>,
}

impl Setup {
    pub fn new(bank: &Bank) -> Setup {
        Setup {
            resolver: "first_pause = \"20ms\"\nmax_pause = \"200ms\"\ntimeout = \"3s\"\n".to_owned(),
            accounts: account(ACCOUNT, bank, ""),
            ..Setup::default()
        }
    }

    pub fn resolver(mut self, toml: &str) -> Setup {
        self.resolver = toml.to_owned();
        self
    }

    pub fn auth(mut self, toml: &str) -> Setup {
        self.auth = toml.to_owned();
        self
    }

    pub fn limits(mut self, toml: &str) -> Setup {
        self.limits = toml.to_owned();
        self
    }

    pub fn log(mut self, toml: &str) -> Setup {
        self.log = toml.to_owned();
        self
    }

    /// Lets webhooks go to loopback; further lines of the `[webhooks]` section.
    pub fn webhooks(mut self, toml: &str) -> Setup {
        let open = "[webhooks]\nallow_private = true\nrequire_https = false";
        self.extra = format!("{open}\n{toml}\n");
        self
    }

    /// One more account; `keys` are further lines of its table.
    pub fn account(mut self, id: &str, bank: &Bank, keys: &str) -> Setup {
        self.accounts.push_str(&account(id, bank, keys));
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Setup {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn toml(&self, data: &Path) -> String {
        let Setup { resolver, auth, limits, log, accounts, extra, .. } = self;
        let data = data.display();
        // Polls by the clock are off: what a test sees is what it caused.
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[data]\ndir = \"{data}\"\nmin_free = \"1MiB\"\n[log]\n{log}\n\
             [auth]\n{auth}\n[resolver]\n{resolver}\n[poll]\nenabled = false\n[limits]\n{limits}\n{extra}\n{accounts}"
        )
    }
}

/// One `[[accounts]]` table of a PicPay merchant.
pub fn account(id: &str, bank: &Bank, keys: &str) -> String {
    let base = bank.base_url();
    format!(
        "[[accounts]]\nid = \"{id}\"\nprovider = \"picpay\"\ncurrency = \"BRL\"\nbase_url = \"{base}\"\n{keys}\n\
         [accounts.credentials]\npicpay_token = \"{PICPAY_TOKEN}\"\nseller_token = \"{SELLER_TOKEN}\"\n"
    )
}
