//! The callback URL at a provider that registers it by API: looked for first, registered once, never taken away.

use crate::cli::say;
use crate::config::Account;
use crate::ingest::caller::Caller;
use crate::ingest::resolve::Failure;
use crate::providers::provider::Session;
use crate::providers::registrar::{Address, Delivered, Registrar};

/// Sees to it that the URL is registered, and says what is there.
pub async fn see_to(
    caller: &Caller,
    account: &Account,
    registrar: &dyn Registrar,
    url: &str,
) -> Result<(), Failure> {
    let there = addresses(caller, account, registrar).await?;
    let (own, others): (Vec<Address>, Vec<Address>) = there.into_iter().partition(|it| it.target == url);
    match own.as_slice() {
        [] => {
            register(caller, account, registrar, url).await?;
            say("registered:   now");
        }
        own => own.iter().for_each(say_of_own),
    }
    if own.len() > 1 {
        say(format_args!(
            "              {} times: every callback comes as often; delete all but one",
            own.len()
        ));
    }
    for other in others {
        let (target, events) = (&other.target, other.events.join(", "));
        say(format_args!(
            "also there:   {target} for {events}; delete it at the provider if nobody needs it"
        ));
    }
    Ok(())
}

/// What the provider says it delivered or tried to.
pub async fn deliveries(
    caller: &Caller,
    account: &Account,
    registrar: &dyn Registrar,
) -> Result<Vec<Delivered>, Failure> {
    let call = |session: Option<&Session>| registrar.ask_deliveries(&account.merchant, session);
    caller.ask_within(account, call, |answer| registrar.read_deliveries(answer), &mut Vec::new()).await
}

async fn addresses(
    caller: &Caller,
    account: &Account,
    registrar: &dyn Registrar,
) -> Result<Vec<Address>, Failure> {
    let call = |session: Option<&Session>| registrar.ask_addresses(&account.merchant, session);
    caller.ask_within(account, call, |answer| registrar.read_addresses(answer), &mut Vec::new()).await
}

async fn register(
    caller: &Caller,
    account: &Account,
    registrar: &dyn Registrar,
    url: &str,
) -> Result<(), Failure> {
    let call = |session: Option<&Session>| registrar.register(&account.merchant, session, url);
    caller.ask_within(account, call, |answer| registrar.registered(answer), &mut Vec::new()).await
}

fn say_of_own(own: &Address) {
    let events = own.events.join(", ");
    say(format_args!("registered:   already, for {events}"));
    if !own.hears_payments {
        say("              not for all news of payments; what is missing comes by polls alone");
    }
}
