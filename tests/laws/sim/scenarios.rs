//! Bugs that shops' own callback handlers are known for, each as a story of one payment.

use super::bench::{Bench, CENTS};
use razao::domain::discrepancy::Cause;
use razao::domain::receipt::{Outcome, Progress};
use razao::sandbox::persona::Happening::{
    Completed, Created, DisputeWon, Disputed, Expired, InAnalysis, Paid, Refunded,
};
use razao::views::event::EventView;
use std::time::Duration;

/// A table of sent events with one row per payment swallows the second change: the row exists already.
#[test]
fn a_second_change_of_a_token_makes_its_event_though_the_first_came_twice() {
    for provider in ["gerencianet", "yapay", "fourp", "genpag", "picpay"] {
        let mut bench = Bench::new(provider, &[Created, InAnalysis, Paid]);
        for post in bench.minute() {
            bench.deliver(&post);
            let again = bench.deliver(&post);
            assert_eq!(again.progress, Progress::Done(Outcome::Duplicate), "{provider}");
        }
        for _ in 0..2 {
            let posts = bench.minute();
            assert_eq!(posts.len(), 1, "{provider}");
            let first = bench.deliver(&posts[0]);
            assert_eq!(first.progress, Progress::Done(Outcome::Applied), "{provider}");
        }
        assert_eq!(bench.events(), ["order.created", "order.in_analysis", "order.paid"], "{provider}");
    }
}

/// An event that is built from the order's row when it is sent shows the state before or long after what it tells of.
#[test]
fn an_event_shows_the_order_as_it_was_after_it() {
    let mut bench = Bench::new("picpay", &[Created, InAnalysis, Paid, Refunded(CENTS)]);
    for _ in 0..4 {
        bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
    }
    let shown: Vec<(&str, &str)> = bench
        .entries()
        .iter()
        .map(|stored| EventView::of(&stored.entry, stored.order.as_ref()))
        .map(|event| (event.kind, event.data.order.expect("each carries its order").state))
        .collect();
    let expected = [
        ("order.created", "created"),
        ("order.in_analysis", "in_analysis"),
        ("order.paid", "paid"),
        ("order.refunded", "refunded"),
    ];
    assert_eq!(shown, expected);
}

/// A poll that answers, and whose answer only the callback's handler would have acted on.
#[test]
fn an_order_in_analysis_moves_on_by_a_poll_alone() {
    for provider in ["gerencianet", "yapay", "fourp", "genpag", "picpay"] {
        let mut bench = Bench::new(provider, &[Created, InAnalysis, Paid]);
        for _ in 0..2 {
            bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
        }
        assert_eq!(bench.order().state().as_str(), "in_analysis", "{provider}");
        let lost = bench.minute();
        assert_eq!(lost.len(), 1);
        bench.poll();
        assert_eq!(bench.standing(), ("paid", CENTS, 0, 0), "{provider}");
        assert_eq!(bench.events().last(), Some(&"order.paid"));
        let late = bench.deliver(&lost[0]);
        assert!(matches!(late.progress, Progress::Done(Outcome::Duplicate | Outcome::Stale)), "{late:?}");
        assert_eq!(bench.events().len(), 3, "{provider}");
    }
}

/// A refund that the shop never asked for has no row to update.
#[test]
fn a_refund_that_only_a_callback_tells_of_is_booked() {
    for provider in ["gerencianet", "yapay", "genpag", "picpay"] {
        let mut bench = Bench::new(provider, &[Created, Paid, Refunded(CENTS)]);
        let posts = bench.all_posts();
        let receipt = bench.deliver(posts.last().unwrap());
        assert_eq!(bench.standing(), ("refunded", CENTS, CENTS, 0), "{provider}");
        let refund = bench.entries().pop().unwrap().entry;
        assert_eq!((refund.event_type(), refund.origin.receipt), ("order.refunded", Some(receipt.id)));
    }
}

/// What went back by a refund cannot be charged back as well.
#[test]
fn a_refund_and_a_chargeback_of_one_payment_never_book_more_than_was_paid() {
    let mut bench =
        Bench::new("picpay", &[Created, Paid, Refunded(2_990), Disputed, Refunded(CENTS - 2_990)]);
    let mut standings = Vec::new();
    for _ in 0..5 {
        bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
        standings.push(bench.standing());
    }
    let expected = [
        ("created", 0, 0, 0),
        ("paid", CENTS, 0, 0),
        ("paid", CENTS, 2_990, 0),
        ("chargeback", CENTS, 2_990, CENTS - 2_990),
        ("refunded", CENTS, CENTS, 0),
    ];
    assert_eq!(standings, expected);
}

/// A state machine that only knows steps forward throws at old news, and the provider sends it for days.
#[test]
fn old_news_is_stale_and_no_error() {
    let mut bench = Bench::new("genpag", &[Created, InAnalysis, Expired, Paid, Refunded(CENTS)]);
    let posts = bench.all_posts();
    assert_eq!(posts.len(), 5);
    bench.deliver(posts.last().unwrap());
    for late in posts[..4].iter().rev() {
        let receipt = bench.deliver(late);
        assert_eq!(receipt.answer_status, 200);
        assert_eq!(receipt.progress, Progress::Done(Outcome::Stale));
    }
    assert_eq!(bench.standing(), ("refunded", CENTS, CENTS, 0));
    assert!(bench.order().open.is_empty());
}

/// `paid` after a chargeback is a won dispute when it is news, and nothing when it is the old one once more.
#[test]
fn paid_after_a_chargeback_counts_by_when_it_was_said() {
    let mut bench = Bench::new("genpag", &[Created, Paid, Disputed, DisputeWon]);
    let posts = bench.all_posts();
    let [_, paid, disputed, won] = posts.as_slice() else { panic!("{} posts", posts.len()) };
    bench.deliver(paid);
    bench.deliver(disputed);
    bench.deliver(paid);
    assert_eq!(bench.standing(), ("chargeback", CENTS, 0, CENTS));
    bench.deliver(won);
    assert_eq!(bench.standing(), ("paid", CENTS, 0, 0));
    bench.deliver(disputed);
    assert_eq!(bench.standing(), ("paid", CENTS, 0, 0));
    assert_eq!(
        bench.events(),
        ["order.created", "order.paid", "order.chargeback", "order.paid"],
        "each change once, however often it was told"
    );
}

/// Settled money that a won dispute gives back is settled money.
#[test]
fn a_won_dispute_returns_to_where_it_came_from() {
    let mut bench = Bench::new("picpay", &[Created, Paid, Completed, Disputed, DisputeWon]);
    for _ in 0..5 {
        bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
    }
    assert_eq!(bench.standing(), ("completed", CENTS, 0, 0));
}

/// Our clock was hours ahead when a call of ours saw the cancellation, so the payment that came after it sorts before it.
#[test]
fn a_refund_that_only_disagreeing_clocks_made_is_asked_about_and_becomes_a_conflict() {
    let mut bench = Bench::new("genpag", &[Created, Expired, Paid]);
    for _ in 0..2 {
        bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
    }
    bench.poll_ahead(Duration::from_secs(6 * 3_600));
    assert_eq!(bench.standing(), ("expired", 0, 0, 0));
    bench.minute().iter().for_each(|post| drop(bench.deliver(post)));
    let misled = bench.order();
    assert_eq!(misled.state().as_str(), "refunded");
    assert!(misled.open.is_empty() && misled.poll_at.is_some(), "one poll is still to come");
    bench.poll();
    let asked = bench.order();
    assert_eq!(asked.open.keys().copied().collect::<Vec<_>>(), [Cause::Conflict]);
    assert_eq!(asked.poll_at, None, "`refunded` ends the polls once a call of ours was answered");
}
