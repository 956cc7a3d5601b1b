//! Yapay Intermediador (today Vindi Intermediador): a form whose only news is a token, and a query that answers a
//! snapshot. (Yapay's Gateway is another API with other status numbers.)
//!
//! The form repeats status, prices and the account's own token, and proves none of it: all but the token is a hint and
//! never evidence. A `transaction[seller_token]` of another account is refused, since such a callback was meant for
//! somebody else; a matching one proves nothing.
//!
//! The query exists twice: `get_by_token_brief` has the dates and refunds and no customer's data, `get_by_token` is
//! older. The first is asked by [`Question::Token`]; where it is answered 404 without Yapay's own envelope (ASSUMED:
//! that is how a missing route looks), the second is asked by [`Question::ProviderRef`] with the same token. The older
//! one names neither approval nor refunds, so a cancelled order is then judged by what the ledger knows.
//!
//! With which HTTP status errors come is not documented: what `message_response` says counts, but for 401, 403, 429
//! and 5xx. 001001 ("token invalid or not found") is AMBIGUOUS, it may mean the account's token too; it counts as not
//! there. So 404 and 410, whatever stands beside them.

use super::provider::{
    Columns, Credential, Dating, Finding, Findings, Incoming, Known, Merchant, Notice, Polling, Provider,
    Question, Reading, Search, Session, Spec, Stranger, Trouble, Unreadable, amount, body_json, check_status,
};
use crate::domain::evidence::{Amount, Identity, provider_status};
use crate::domain::ids::{IdError, ProviderRef, Reference, Token};
use crate::domain::money::{Currency, Money};
use crate::domain::state::Word;
use crate::domain::time::{OffsetTime, Time};
use crate::wire::call::{Answer, Call, segment};
use crate::wire::form;
use crate::wire::json::Json;
use secrecy::ExposeSecret;
use std::time::Duration;

pub struct Yapay;

static SPEC: Spec = Spec {
    id: "yapay",
    name: "Yapay Intermediador",
    base_url: "https://api.intermediador.yapay.com.br",
    credentials: &[Credential { name: "token_account", required: true }],
    needs_callback_key: true,
    callback_shape: "a form with a `token_transaction`, as Yapay posts it (not JSON)",
    callback_entry: "in each transaction: `transaction[url_notification]`, sent by the shop when it creates the transaction",
    polling: Polling { pause_min: Duration::from_secs(30), quota: None },
    settlement: Some(Columns::assumed(&[
        ("line_id", "ID do lançamento"),
        ("reference", "Número do pedido"),
        ("provider_ref", "Token da transação"),
        ("gross", "Valor bruto"),
        ("fee", "Taxa"),
        ("net", "Valor líquido"),
        ("settled_date", "Data do crédito"),
    ])),
};

/// Without customers' data, with dates and refunds.
const ROUTE: &str = "get_by_token_brief";
const ROUTE_OLDER: &str = "get_by_token";

/// What Yapay's status numbers mean. They do not rank: 5, 4, 88, 5, 4, 6 is a normal life.
const WORDS: &[(&str, Word)] = &[
    // Waiting for payment.
    ("4", Word::Created),
    // In processing: the first station of every sale, unpaid boletos too (AMBIGUOUS: one module takes it for analysis).
    ("5", Word::Created),
    // Approved.
    ("6", Word::Paid),
    // Cancelled, denied, refunded or lost in a dispute: one number for all of them.
    ("7", Word::Closed),
    // In dispute, open or lost (AMBIGUOUS).
    ("24", Word::Chargeback),
    // Under risk analysis.
    ("87", Word::InAnalysis),
    // Overdue or refused, the buyer is invited to pay again (AMBIGUOUS: some take it for failed).
    ("88", Word::Created),
    // Refused by risk analysis.
    ("89", Word::Expired),
    // Awaiting confirmation, of which nothing more is written (AMBIGUOUS).
    ("184", Word::InAnalysis),
];

/// The one refund status that is money; 155 and 156 are pending, 161 is cancelled, 183 expired.
const REFUND_FINISHED: &str = "157";

/// Token invalid or not found; transaction not found.
const CODES_NOT_THERE: &[&str] = &["001001", "003042"];

/// So many error codes are shown.
const CODES_SHOWN: usize = 5;

impl Provider for Yapay {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn authenticate(&self, _merchant: &Merchant, _headers: &[(String, String)]) -> Result<(), Stranger> {
        Ok(())
    }

    fn hear(&self, merchant: &Merchant, incoming: &Incoming<'_>) -> Result<Notice, Unreadable> {
        let unreadable = |found: &str| Unreadable { expected: SPEC.callback_shape, found: found.to_owned() };
        let pairs = form::pairs(incoming.body);
        let field = |name: &str| form::value(&pairs, name).filter(|value| !value.is_empty());
        let token =
            field("token_transaction").ok_or_else(|| unreadable("there is no `token_transaction`"))?;
        let token = Token::parse(token).map_err(|error| unreadable(&error.to_string()))?;
        if let Some(order_number) = field("transaction[order_number]") {
            Reference::parse(order_number).map_err(|error| unreadable(&error.to_string()))?;
        }
        let seller = field("transaction[seller_token]");
        if seller.is_some_and(|seller| !merchant.credentials.accepts("token_account", seller)) {
            return Err(unreadable("its `transaction[seller_token]` is not this account's `token_account`"));
        }
        Ok(Notice { questions: vec![Question::Token(token)], ..Notice::default() })
    }

    fn poll(&self, known: Known<'_>) -> Option<Question> {
        known.provider_ref.and_then(|name| Token::parse(name.as_str()).ok()).map(Question::Token)
    }

    fn ask(&self, merchant: &Merchant, _session: Option<&Session>, question: &Question) -> Call {
        let (route, token) = asked(question);
        let account = merchant.credentials.first("token_account");
        let account = segment(account.expose_secret());
        Call::get(format!(
            "{}/api/v3/transactions/{route}?token_account={account}&token_transaction={}",
            merchant.base_url,
            segment(token),
        ))
    }

    fn read(&self, merchant: &Merchant, question: &Question, answer: &Answer) -> Result<Findings, Trouble> {
        let json = body_json(answer);
        let message = json.as_ref().ok().and_then(message);
        if let (None, 404, Question::Token(token)) = (message, answer.status, question) {
            return Ok(Findings {
                findings: Vec::new(),
                questions: vec![Question::ProviderRef(name(token)?)],
            });
        }
        let success = message == Some("success");
        let json = match check_status(answer) {
            Ok(()) | Err(Trouble::Broken(_)) if message.is_some() && !success => {
                return Err(refusal(answer.status, &json?));
            }
            status => status.and(json)?,
        };
        if !success {
            return Err(broken("its answer has no `message_response`"));
        }
        let transaction = json.get("data_response").and_then(|data| data.get("transaction"));
        let transaction = transaction.ok_or_else(|| broken("its answer has no `transaction`"))?;
        let finding = finding(merchant, transaction, asked(question).1)?;
        Ok(Findings { findings: vec![finding], questions: Vec::new() })
    }
}

/// The query's route and the token it is asked with. (No question of this adapter is a reference.)
fn asked(question: &Question) -> (&'static str, &str) {
    match question {
        Question::Token(token) => (ROUTE, token.as_str()),
        Question::ProviderRef(provider_ref) => (ROUTE_OLDER, provider_ref.as_str()),
        Question::Reference(reference) | Question::Search(Search { reference, .. }) => {
            (ROUTE, reference.as_str())
        }
    }
}

fn message(json: &Json) -> Option<&str> {
    json.get("message_response")?.get("message")?.as_str()
}

fn broken(what: &str) -> Trouble {
    Trouble::Broken(what.to_owned())
}

fn invalid(error: IdError) -> Trouble {
    broken(&error.to_string())
}

fn name(token: &Token) -> Result<ProviderRef, Trouble> {
    ProviderRef::parse(token.as_str()).map_err(invalid)
}

/// What an answer with another message than success comes to.
fn refusal(status: u16, json: &Json) -> Trouble {
    let errors = json.get("error_response");
    let list = |name: &str| errors.and_then(|errors| errors.get(name)).map(Json::items).unwrap_or_default();
    let all = list("general_errors").iter().chain(list("validation_errors"));
    let codes: Vec<&str> = all.filter_map(|error| error.get("code")?.literal()).collect();
    if codes.iter().any(|code| CODES_NOT_THERE.contains(code)) {
        return Trouble::NotThere { status };
    }
    let shown: Vec<String> = codes.into_iter().take(CODES_SHOWN).map(provider_status).collect();
    Trouble::Broken(format!("it answered HTTP {status} with the error codes [{}]", shown.join(", ")))
}

fn finding(merchant: &Merchant, transaction: &Json, asked: &str) -> Result<Finding, Trouble> {
    let text = |name: &str| transaction.get(name).and_then(Json::literal).filter(|text| !text.is_empty());
    let token = text("token_transaction");
    let token = token.ok_or_else(|| broken("its answer has no `token_transaction`"))?;
    if token != asked {
        return Err(broken("its answer names another transaction than the one asked for"));
    }
    let status_id = text("status_id").ok_or_else(|| broken("its answer has no `status_id`"))?;
    Ok(Finding {
        reference: text("order_number").map(Reference::parse).transpose().map_err(invalid)?,
        provider_ref: Some(ProviderRef::parse(token).map_err(invalid)?),
        token: None,
        reading: reading(merchant, transaction, status_id, text("status_name")),
    })
}

fn reading(merchant: &Merchant, transaction: &Json, status_id: &str, status_name: Option<&str>) -> Reading {
    let word = WORDS.iter().find(|(theirs, _)| *theirs == status_id).map(|(_, word)| *word);
    let payment = |name: &str| transaction.get("payment").and_then(|payment| payment.get(name));
    let approved =
        payment("date_approval").and_then(Json::literal).filter(|date| !date.is_empty() && *date != "0");
    let refunds = transaction.get("refunds");
    let refunded_some = refunds.map(Json::items).unwrap_or_default().iter().any(is_finished);
    let status = [Some(status_id), status_name].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Reading {
        word,
        provider_status: provider_status(&status),
        // The shop's sale, not what the buyer paid with interest (AMBIGUOUS).
        gross: amount(payment("price_original"), merchant.currency),
        fee: Amount::Absent,
        refunded: refunds.map_or(Amount::Absent, |refunds| total(refunds, merchant.currency)),
        currency: None,
        proof: word == Some(Word::Closed) && (approved.is_some() || refunded_some),
        dating: Dating::Snapshot,
        occurred: approved.filter(|_| word == Some(Word::Paid)).and_then(epoch_seconds),
        identity: Identity::Content,
        details: Vec::new(),
    }
}

fn is_finished(refund: &Json) -> bool {
    refund.get("status_id").and_then(Json::literal) == Some(REFUND_FINISHED)
}

/// The exact sum of the finished refunds; unreadable as a whole if one of them is, or if a refund does not say whether
/// it is finished.
fn total(refunds: &Json, currency: Currency) -> Amount {
    let unreadable = |what: &str| Amount::Unreadable(what.to_owned());
    let Json::Array(refunds) = refunds else { return unreadable("refunds are not a list") };
    if refunds.iter().any(|refund| refund.get("status_id").and_then(Json::literal).is_none()) {
        return unreadable("a refund without a status");
    }
    let mut sum = Money::ZERO;
    for refund in refunds.iter().filter(|refund| is_finished(refund)) {
        let value = match amount(refund.get("value"), currency) {
            Amount::Known(value) => value,
            Amount::Absent => return unreadable("a finished refund without a value"),
            Amount::Unreadable(text) => return Amount::Unreadable(text),
        };
        match Money::from_minor((sum + value).minor()) {
            Ok(larger) => sum = larger,
            Err(_) => return unreadable("a sum beyond all bounds"),
        }
    }
    Amount::Known(sum)
}

fn epoch_seconds(text: &str) -> Option<OffsetTime> {
    text.parse().ok().and_then(Time::from_seconds).map(OffsetTime::utc)
}

#[cfg(test)]
mod tests;
