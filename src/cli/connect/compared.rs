//! What a provider says it delivered, beside the receipts of the running daemon.

use crate::cli::api::{Api, Caller};
use crate::cli::{End, note, say};
use crate::config::{Account, Config};
use crate::domain::time::Time;
use crate::net::client::Client;
use crate::providers::registrar::Delivered;
use crate::wire::call::{Call, segment};
use crate::wire::json::Json;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::time::Duration;

const CALLER: Caller = Caller { subject: "razao-connect", scopes: "callbacks:read" };
const PAGE: usize = 200;
/// A receipt may be older than what the provider tells of it: clocks differ.
const EARLIER: Duration = Duration::from_secs(86_400);

/// A receipt: its id and what came of it.
type Known = (String, String);

/// Lists them, and names what the provider takes for delivered here and nobody received: then a check has failed.
pub async fn beside_receipts(
    config: &Config,
    account: &Account,
    url: &str,
    delivered: Vec<Delivered>,
) -> anyhow::Result<End> {
    let here = |it: &Delivered| it.target.as_ref().is_none_or(|target| target == url);
    let (ours, elsewhere): (Vec<Delivered>, Vec<Delivered>) = delivered.into_iter().partition(here);
    say(format_args!("deliveries:   {} to this URL, {} elsewhere", ours.len(), elsewhere.len()));
    if ours.is_empty() {
        return Ok(End::Success);
    }
    let known = match receipts(config, account, &ours).await {
        Ok(known) => known,
        Err(error) => {
            note(format_args!(
                "razao: warning: not compared with what was received: {error:#}; start the daemon and try again"
            ));
            return Ok(End::Success);
        }
    };
    ours.iter().for_each(|it| say(line(it, known.get(it.event.as_str()))));
    let missing =
        ours.iter().filter(|it| it.is_confirmed() && !known.contains_key(it.event.as_str())).count();
    if missing == 0 {
        return Ok(End::Success);
    }
    note(format_args!(
        "razao: {missing} of them count as delivered there and are missing here; does the URL lead to this data directory? Polls bring what they said"
    ));
    Ok(End::Failed)
}

fn line(delivered: &Delivered, receipt: Option<&Known>) -> String {
    let at = delivered.at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let answer = delivered.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let found = match receipt {
        Some((id, outcome)) => format!("{id} {outcome}"),
        None if delivered.is_confirmed() => "missing here".to_owned(),
        None => "not here yet".to_owned(),
    };
    format!("  {at}  {}  {answer}  {found}", delivered.event)
}

/// The daemon's receipts by the provider's id of the event, as far back as the deliveries go.
async fn receipts(
    config: &Config,
    account: &Account,
    delivered: &[Delivered],
) -> anyhow::Result<BTreeMap<String, Known>> {
    let api = Api::of(config, CALLER)?;
    let client = Client::new(config.resolver.timeout)?;
    let oldest = delivered.iter().map(|it| it.at.map_or(Time(0), |at| at.at)).min().unwrap_or_default();
    let since = segment(&Time(oldest.0.max(0)).minus(EARLIER).to_string());
    let path = format!("/v1/callbacks?account={}&since={since}&limit={PAGE}", account.merchant.id);
    let mut known = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = page(&api, &client, &format!("{path}{cursor}")).await?;
        let listed = page.get("data").map(Json::items).unwrap_or_default();
        known.extend(listed.iter().filter_map(receipt));
        match page.get("next_cursor").and_then(Json::as_str) {
            Some(next) => cursor = format!("&cursor={}", segment(next)),
            None => return Ok(known),
        }
    }
}

async fn page(api: &Api, client: &Client, path: &str) -> anyhow::Result<Json> {
    let call = Call::get(format!("{}{path}", api.base)).bearer(Some(&api.token()?));
    let answer = client.perform(&call).await.with_context(|| format!("no daemon at {}", api.base))?;
    if answer.status != 200 {
        bail!("the daemon at {} answered HTTP {}", api.base, answer.status);
    }
    Json::parse(&answer.body).with_context(|| format!("{} is not razao", api.base))
}

/// One that the door turned away has no receipt.
fn receipt(listed: &Json) -> Option<(String, Known)> {
    let text = |name: &str| listed.get(name).and_then(Json::as_str).map(str::to_owned);
    Some((text("event")?, (text("id")?, text("outcome")?)))
}
