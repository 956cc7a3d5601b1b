//! The dated history behind a notification token: one finding per change of a charge.

use super::{Sums, broken, reading, word};
use crate::domain::evidence::{Amount, Identity};
use crate::domain::ids::{ProviderRef, Reference, Token};
use crate::domain::money::Money;
use crate::domain::state::Word;
use crate::domain::time::OffsetTime;
use crate::providers::provider::{Dating, Finding, Findings, Merchant, Question, Trouble, amount_minor};
use crate::wire::dates;
use crate::wire::json::Json;
use std::collections::BTreeMap;

/// The types of changes that speak of a charge. Those of a carnê or a subscription itself are of no order, though they
/// use some of the same words.
const CHARGE_TYPES: &[&str] = &[SINGLE, "subscription_charge", "carnet_charge"];
/// The only type whose `custom_id` names one charge: a carnê's parcels share theirs.
const SINGLE: &str = "charge";

/// In no list of Efí's, though partial refunds exist. ASSUMED: `value` is then the total that went back. It counts only
/// where it is less than the same history says was paid; anything else is a word nobody knows, for somebody to look at.
const PARTIALLY_REFUNDED: &str = "partially_refunded";

/// One change of one charge in a history.
struct Change {
    id: u64,
    charge: ProviderRef,
    reference: Reference,
    status: String,
    value: Amount,
    at: OffsetTime,
}

/// What a history has said of one charge so far.
#[derive(Default)]
struct Course {
    latest: Option<OffsetTime>,
    gross: Option<Money>,
    money_came: bool,
}

pub fn read(merchant: &Merchant, token: &Token, data: &Json) -> Result<Findings, Trouble> {
    let Json::Array(items) = data else { return Err(broken("the `data` of its history is no list")) };
    let kind = |item: &Json| item.get("type").and_then(Json::as_str).map(str::to_owned);
    let of_charges = items.iter().filter_map(|item| {
        let kind = kind(item).filter(|kind| CHARGE_TYPES.contains(&kind.as_str()))?;
        Some(change(merchant, &kind, item))
    });
    let mut changes = of_charges.collect::<Result<Vec<Change>, Trouble>>()?;
    changes.sort_by_key(|change| change.id);
    let mut courses: BTreeMap<ProviderRef, Course> = BTreeMap::new();
    let mut findings = Vec::with_capacity(changes.len());
    for change in changes {
        let course = courses.entry(change.charge.clone()).or_default();
        findings.push(found(token, course, change));
    }
    let unknown = courses.into_iter().filter(|(_, course)| course.money_came && course.gross.is_none());
    let questions = unknown.map(|(charge, _)| Question::ProviderRef(charge)).collect();
    Ok(Findings { findings, questions })
}

fn change(merchant: &Merchant, kind: &str, item: &Json) -> Result<Change, Trouble> {
    let id: Option<u64> = item.get("id").and_then(Json::literal).and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| broken("a change in its history has no whole `id`"))?;
    let lacks = |what: &str| Trouble::Broken(format!("change {id} in its history has no readable {what}"));
    let charge = item.get("identifiers").and_then(|named| named.get("charge_id")).and_then(Json::literal);
    let charge =
        charge.and_then(|charge| ProviderRef::parse(charge).ok()).ok_or_else(|| lacks("charge_id"))?;
    let status = item.get("status").and_then(|status| status.get("current")).and_then(Json::as_str);
    let at = item.get("created_at").and_then(Json::as_str);
    let at = at.and_then(|text| dates::seconds(text, &merchant.zone).ok());
    // A custom_id that is no reference here (Efí takes up to 255 characters) must not hide the charge.
    let own = item.get("custom_id").and_then(Json::literal).filter(|_| kind == SINGLE);
    let own = own.and_then(|name| Reference::parse(name).ok());
    let reference = own.or_else(|| Reference::parse(charge.as_str()).ok());
    Ok(Change {
        id,
        reference: reference.ok_or_else(|| lacks("charge_id"))?,
        charge,
        status: status.ok_or_else(|| lacks("status"))?.to_owned(),
        value: amount_minor(item.get("value"), merchant.currency),
        at: at.ok_or_else(|| lacks("created_at"))?,
    })
}

fn found(token: &Token, course: &mut Course, change: Change) -> Finding {
    let latest = course.latest.filter(|latest| latest.at > change.at.at).unwrap_or(change.at);
    course.latest = Some(latest);
    let mut sums = Sums { word: word(&change.status), gross: Amount::Absent, refunded: Amount::Absent };
    if sums.word == Some(Word::Paid) {
        // Only a confirmed payment has a `value` whose meaning is known.
        course.gross = change.value.known().filter(|value| !value.is_zero()).or(course.gross);
        sums.gross = change.value;
    } else if change.status == PARTIALLY_REFUNDED {
        sums = partial(course.gross, change.value).unwrap_or(sums);
    }
    course.money_came |= sums.word.is_some_and(Word::says_money_came);
    let identity = Identity::Change { token: token.clone(), id: change.id };
    let dating = Dating::Told { at: latest, payment_created: None };
    Finding {
        reference: Some(change.reference),
        provider_ref: Some(change.charge),
        token: Some(token.clone()),
        reading: reading(&change.status, sums, dating, Some(change.at), identity),
    }
}

/// A part of what was paid that went back.
fn partial(paid: Option<Money>, value: Amount) -> Option<Sums> {
    let (paid, back) = (paid?, value.known()?);
    let sums = Sums { word: Some(Word::Paid), gross: Amount::Known(paid), refunded: Amount::Known(back) };
    (!back.is_zero() && back < paid).then_some(sums)
}
