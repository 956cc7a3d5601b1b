//! A charge found by its `custom_id`: Efí's lists of charges go by kind and by days, at most 31 of them.
//!
//! ASSUMED: a list may end in the future; only charges of these kinds carry a `custom_id` of their own (a carnê's and a
//! subscription's are shared); what stands in one page is all there is for one `custom_id`.

use super::{Asked, broken, charge_now};
use crate::domain::ids::ProviderRef;
use crate::domain::time::Time;
use crate::providers::provider::{Findings, Known, Merchant, Question, Search, Trouble};
use crate::wire::json::Json;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::collections::BTreeSet;

/// The lists, one after another.
const KINDS: [&str; 2] = ["billet", "card"];
/// A charge is looked for so many days around the time when its order was first known here.
const DAYS_AROUND: i64 = 15;

pub fn begin(known: Known<'_>) -> Question {
    let Known { reference, known_since, .. } = known;
    Question::Search(Search { reference: reference.clone(), known_since, looked: 0, found: None })
}

/// Route and query of the list that comes next.
pub fn path(merchant: &Merchant, search: &Search) -> String {
    let kind = KINDS.get(usize::from(search.looked)).copied().unwrap_or_default();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("charge_type", kind);
    query.append_pair("begin_date", &day(search.known_since, -DAYS_AROUND, &merchant.zone));
    query.append_pair("end_date", &day(search.known_since, DAYS_AROUND, &merchant.zone));
    query.append_pair("custom_id", search.reference.as_str());
    format!("charges?{}", query.finish())
}

/// What a list says: the one charge it names is asked about next, else the next list.
pub fn read_list(search: &Search, listed: Result<Json, Trouble>) -> Result<Findings, Trouble> {
    let next = |search: Search| Findings { questions: vec![Question::Search(search)], ..Findings::default() };
    let charges = match listed {
        Ok(data) => charges(search, &data)?,
        Err(Trouble::NotThere { .. }) => BTreeSet::new(),
        Err(trouble) => return Err(trouble),
    };
    let mut charges = charges.into_iter();
    match (charges.next(), charges.next()) {
        (Some(charge), None) => Ok(next(Search { found: Some(charge), ..search.clone() })),
        (Some(_), Some(_)) => {
            Err(broken("several of its charges have this custom_id; only their ids tell them apart"))
        }
        (None, _) if usize::from(search.looked) + 1 < KINDS.len() => {
            Ok(next(Search { looked: search.looked + 1, ..search.clone() }))
        }
        (None, _) => Err(Trouble::NotThere { status: 404 }),
    }
}

/// The charge that was found, as it is now.
pub fn read_charge(
    merchant: &Merchant,
    search: &Search,
    charge: &ProviderRef,
    data: &Json,
) -> Result<Findings, Trouble> {
    if data.get("custom_id").and_then(Json::literal) != Some(search.reference.as_str()) {
        return Err(broken("its charge names another custom_id than its list"));
    }
    charge_now(merchant, Asked { charge: charge.as_str(), reference: Some(&search.reference) }, data)
}

/// The ids of those with this `custom_id`; a list may repeat itself, and a filter may be passed over.
fn charges(search: &Search, data: &Json) -> Result<BTreeSet<ProviderRef>, Trouble> {
    let same =
        |item: &&Json| item.get("custom_id").and_then(Json::literal) == Some(search.reference.as_str());
    let id = |item: &Json| {
        let id = item.get("id").and_then(Json::literal);
        let id = id.ok_or_else(|| broken("its list names a charge without `id`"))?;
        ProviderRef::parse(id).map_err(|error| Trouble::Broken(error.to_string()))
    };
    data.items().iter().filter(same).map(id).collect()
}

/// The day so many days after a time, as the merchant's calendar has it.
fn day(time: Time, days: i64, zone: &TimeZone) -> String {
    let at = Timestamp::from_microsecond(time.0).unwrap_or_default().to_zoned(zone.clone()).date();
    at.saturating_add(Span::new().days(days)).to_string()
}
