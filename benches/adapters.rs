//! Adapters: what a callback and an answer cost to read.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use razao::domain::ids::{AccountId, Reference};
use razao::domain::money::Currency;
use razao::providers::provider::{Credentials, Incoming, Merchant, Question};
use razao::providers::registry::find;
use razao::wire::call::Answer;
use std::hint::black_box;

fn adapters(criterion: &mut Criterion) {
    let merchant = Merchant {
        id: AccountId::parse("loja").unwrap(),
        currency: Currency::BRL,
        zone: TimeZone::UTC,
        base_url: String::new(),
        credentials: Credentials::default(),
    };
    let picpay = find("picpay").unwrap();
    let body = br#"{"referenceId":"PED-2026-000481","authorizationId":"66b0f3d2a4c19e0021d7b5aa"}"#;
    let incoming = Incoming { headers: &[], content_type: Some("application/json"), query: None, body };
    let question = Question::Reference(Reference::parse("PED-2026-000481").unwrap());
    let answer = Answer {
        status: 200,
        content_type: None,
        retry_after: None,
        body:
            br#"{"authorizationId":"66b0f3d2a4c19e0021d7b5aa","referenceId":"PED-2026-000481","status":"paid",
            "summary":{"authorized":129.9,"paid":129.9,"refunded":29.9}}"#
                .to_vec(),
    };
    let mut group = criterion.benchmark_group("adapters");
    group.bench_function("picpay callback", |bench| {
        bench.iter(|| black_box(picpay.hear(&merchant, &incoming)))
    });
    group.bench_function("picpay answer", |bench| {
        bench.iter(|| black_box(picpay.read(&merchant, &question, &answer)))
    });
    group.finish();
}

criterion_group!(benches, adapters);
criterion_main!(benches);
