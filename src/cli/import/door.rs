//! The way into the ledger: its directory, where no daemon serves it; else that daemon's API, with a token of the
//! configuration's own key.

use crate::cli::api::{Api, Caller};
use crate::config::Config;
use crate::daemon::{self, Alone};
use crate::http::batch;
use crate::http::problem::Problem;
use crate::ingest::accounts::Accounts;
use crate::ledger::command::{Command, RegistrationNews, Reply, SubmitError};
use crate::net::client::Client;
use crate::store::directory::OpenError;
use crate::wire::call::Call;
use crate::wire::json::Json;
use anyhow::{Context, anyhow, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::time::Duration;

/// So many lines wait for the ledger at the same time.
const AT_ONCE: usize = 64;
/// Longer than the daemon takes for a full request, on a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);
const CALLER: Caller = Caller { subject: "razao-import", scopes: "orders:write" };

pub enum Door {
    Own { ledger: Alone, accounts: Accounts },
    Daemon { config: Box<Config>, client: Client },
}

/// What became of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    New,
    Known,
    Refused(String),
}

impl Door {
    pub fn open(config: Config) -> anyhow::Result<Door> {
        match daemon::open_alone(&config) {
            Ok(ledger) => Ok(Door::Own { ledger, accounts: Accounts::new(config.accounts) }),
            Err(OpenError::Locked(_)) => {
                Ok(Door::Daemon { config: Box::new(config), client: Client::new(PATIENCE)? })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Registers lines, and answers each, in their order.
    pub async fn register(&self, lines: Vec<&str>) -> anyhow::Result<Vec<Said>> {
        match self {
            Door::Own { ledger, accounts } => {
                let said = stream::iter(lines).map(|line| by_hand(ledger, accounts, line));
                said.buffered(AT_ONCE).try_collect().await
            }
            Door::Daemon { config, client } => by_request(config, client, &lines).await,
        }
    }

    pub fn close(self) -> anyhow::Result<()> {
        match self {
            Door::Own { ledger, .. } => ledger.close(),
            Door::Daemon { .. } => Ok(()),
        }
    }
}

async fn by_hand(ledger: &Alone, accounts: &Accounts, line: &str) -> anyhow::Result<Said> {
    let json = Json::parse(line.as_bytes())?;
    let registration = match batch::registration(&json, accounts, |_| true) {
        Ok(registration) => registration,
        Err(problem) => return Ok(Said::Refused(said(&problem))),
    };
    match ledger.handle.submit_patiently(Command::Register(registration)).await {
        Ok(Reply::Registered { news: RegistrationNews::First, .. }) => Ok(Said::New),
        Ok(Reply::Registered { news: RegistrationNews::Again, .. }) => Ok(Said::Known),
        Ok(_) => bail!("the ledger answered something else"),
        Err(SubmitError::Refused(refusal)) => Ok(Said::Refused(refusal.to_string())),
        Err(error @ (SubmitError::Busy | SubmitError::Stopped(_))) => Err(error.into()),
    }
}

fn said(problem: &Problem) -> String {
    problem.detail.clone()
}

async fn by_request(config: &Config, client: &Client, lines: &[&str]) -> anyhow::Result<Vec<Said>> {
    let api = Api::of(config, CALLER)?;
    let address = &api.base;
    let url = format!("{address}/v1/orders:batch");
    let body = format!("{{\"orders\":[{}]}}", lines.join(","));
    let call = Call::post(url, "application/json", &body).bearer(Some(&api.token()?));
    let advice =
        || format!("the daemon that uses {} does not answer on {address}", config.data.dir.display());
    let answer = client.perform(&call).await.with_context(advice)?;
    let json = Json::parse(&answer.body).with_context(advice)?;
    if answer.status != 200 {
        let detail = json.get("detail").and_then(Json::as_str).unwrap_or("no detail").to_owned();
        bail!("the daemon on {address} answered {}: {detail}", answer.status);
    }
    let lines = json.get("data").map(Json::items).unwrap_or_default();
    lines
        .iter()
        .map(|line| read(line).ok_or_else(|| anyhow!("{}: not an answer of razao's", advice())))
        .collect()
}

fn read(line: &Json) -> Option<Said> {
    match line.get("status")?.literal()? {
        "201" => Some(Said::New),
        "200" => Some(Said::Known),
        _ => Some(Said::Refused(line.get("error")?.get("detail")?.as_str()?.to_owned())),
    }
}
