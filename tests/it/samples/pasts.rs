//! What one and the same news means depends on what went before: several cases happen to one account, one after the
//! other, and the order must stand where the documents' tables lead.

use super::{Order, Trade, shown, shown_expected, text};
use crate::support::cases::Case;
use crate::support::chain::{minor, sums};

/// Provider, what happens, and where the order then stands.
const PASTS: &[(&str, &[&str], Order)] = &[
    // A smaller total is a part; a repeated sale is none.
    (
        "picpay",
        &["created", "legacy_analysis", "authorized", "paid", "paid_partially_refunded", "refunded"],
        ("PED-2026-000481", "refunded", "129.90", "129.90", &[]),
    ),
    ("picpay", &["paid", "legacy_completed"], ("PED-2026-000481", "completed", "129.90", "0.00", &[])),
    ("picpay", &["paid", "legacy_analysis"], ("PED-2026-000481", "paid", "129.90", "0.00", &[])),
    ("picpay", &["chargeback", "paid"], ("PED-2026-000481", "paid", "129.90", "0.00", &[])),
    ("picpay", &["unknown_word", "created"], ("PED-2026-000481", "created", "unknown", "0.00", &[])),
    // One token for the whole life of a charge: the history is told again, longer each time.
    (
        "gerencianet",
        &["waiting", "approved", "boleto_paid", "card_paid_refunded"],
        ("PED-7001", "refunded", "69.90", "69.90", &[]),
    ),
    ("gerencianet", &["contested", "contested_won"], ("PED-7001", "paid", "69.90", "0.00", &[])),
    ("gerencianet", &["canceled", "canceled_then_paid"], ("PED-7001", "paid", "69.90", "0.00", &[])),
    // Yapay's 7 is the end of a sale that was never paid, and the refund of one that was.
    ("yapay", &["monitoring", "cancelled_never_paid"], ("VIT-2071", "expired", "unknown", "0.00", &[])),
    ("yapay", &["approved", "cancelled_never_paid"], ("VIT-2071", "refunded", "89.90", "89.90", &[])),
    ("yapay", &["approved", "older_route_cancelled"], ("VIT-2071", "refunded", "89.90", "89.90", &[])),
    (
        "yapay",
        &["approved", "cancelled_partial_refund"],
        ("VIT-2071", "paid", "89.90", "10.00", &["refund_unclear"]),
    ),
    ("yapay", &["approved", "contestation", "approved"], ("VIT-2071", "paid", "89.90", "0.00", &[])),
    // Its numbers do not rank.
    (
        "yapay",
        &["processing", "waiting", "recovery", "processing", "waiting", "approved"],
        ("VIT-2071", "paid", "89.90", "0.00", &[]),
    ),
    // So with GenPag's CANCELLED.
    ("genpag", &["payment_created", "cancelled_days_later"], ("GEN-901", "expired", "unknown", "0.00", &[])),
    (
        "genpag",
        &["payment_created", "payment_paid", "cancelled_days_later"],
        ("GEN-901", "refunded", "100.00", "100.00", &[]),
    ),
    // Whatever comes first.
    (
        "genpag",
        &["cancelled_days_later", "payment_paid", "payment_created"],
        ("GEN-901", "refunded", "100.00", "100.00", &[]),
    ),
    ("genpag", &["payment_paid", "payment_reversed"], ("GEN-901", "refunded", "100.00", "100.00", &[])),
    ("genpag", &["payment_pre_authorized", "order_paid"], ("GEN-901", "in_analysis", "unknown", "0.00", &[])),
    // 4P's second notification repeats the amount of the first, and must not sell twice.
    ("fourp", &["pix_paid", "crypto_delivered"], ("PN-417", "completed", "57.30", "0.00", &[])),
    ("fourp", &["crypto_delivered", "pix_paid"], ("PN-417", "completed", "57.30", "0.00", &[])),
    ("fourp", &["pix_paid", "processing"], ("PN-417", "paid", "57.30", "0.00", &[])),
    ("fourp", &["expired", "pix_paid"], ("PN-417", "paid", "57.30", "0.00", &[])),
    // What nobody knows moves nothing; what was paid never silently expires.
    ("yapay", &["approved", "unknown_status"], ("VIT-2071", "paid", "89.90", "0.00", &["unknown_status"])),
    ("fourp", &["pix_paid", "unknown_status"], ("PN-417", "paid", "57.30", "0.00", &["unknown_status"])),
    ("fourp", &["pix_paid", "error"], ("PN-417", "paid", "57.30", "0.00", &["conflict"])),
    ("fourp", &["pix_paid", "expired"], ("PN-417", "paid", "57.30", "0.00", &["conflict"])),
];

/// A case that happens to the account of the nth of the above.
fn case(nth: usize, name: &str) -> Case {
    let provider = PASTS[nth].0;
    Case { account: format!("{provider}-{nth}"), ..Case::read(provider, name) }
}

#[tokio::test]
async fn what_news_means_depends_on_the_past() {
    // Nobody is asked anything before the first turn.
    let silent =
        |(nth, past): (usize, &(&str, &[&str], Order))| Case { answers: Vec::new(), ..case(nth, past.1[0]) };
    let trade = Trade::open(PASTS.iter().enumerate().map(silent).collect());
    for (nth, (provider, names, expected)) in PASTS.iter().enumerate() {
        for name in *names {
            let case = case(nth, name);
            trade.stub.turn(&case);
            let request = case.callback_request(&trade.daemon.anonymous()).unwrap();
            let receipt = trade.daemon.anonymous().send(request).await.is(200);
            trade.client.settled(&text(&receipt["receipt"])).await;
            assert_eq!(trade.stub.complaints(), [""; 0], "{provider} {names:?} at {name}");
        }
        let account = format!("{provider}-{nth}");
        let orders = trade.client.all(&format!("/v1/orders?account={account}")).await;
        let orders: Vec<_> = orders.iter().map(shown).collect();
        assert_eq!(orders, [shown_expected(expected)], "{provider} {names:?}");
        let ledger = trade.client.all(&format!("/v1/ledger?limit=1000&account={account}")).await;
        let sold = sums(&ledger).get(&format!("income:{account}:sales")).copied().unwrap_or_default();
        let gross = if expected.2 == "unknown" { 0 } else { minor(expected.2) };
        assert_eq!(-sold, gross, "sold once: {provider} {names:?}");
    }
    trade.close().await;
}
