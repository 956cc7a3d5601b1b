//! The fold and the bridge: what one more piece of evidence costs, by how many an order has.

// A bench: a panic is its report.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use razao::domain::bridge::{From, Ledgered, bridge};
use razao::domain::evidence::{Amount, Evidence, Identity, Origin, Piece, Said, Source};
use razao::domain::fold::{Terms, stand};
use razao::domain::ids::AccountId;
use razao::domain::money::{Currency, Money};
use razao::domain::state::Word;
use razao::domain::time::Time;
use std::collections::BTreeMap;
use std::hint::black_box;

const WORDS: [Word; 5] = [Word::Created, Word::InAnalysis, Word::Paid, Word::Chargeback, Word::Paid];

fn piece(number: usize) -> Piece {
    let date = Time(i64::try_from(number).unwrap_or(0) * 1_000_000);
    Piece {
        said: Said::Word(WORDS[number % WORDS.len()]),
        provider_status: Some("paid".to_owned()),
        gross: Amount::Known(Money::from_minor(12_990).unwrap_or_default()),
        fee: Amount::Absent,
        refunded: Amount::Absent,
        currency: None,
        proof: false,
        date,
        occurred: None,
        identity: Identity::Content,
        asked: Some(date),
        origin: Origin { source: Source::Details, receipt: None, actor: None, reason_hash: None },
        details: Vec::new(),
    }
}

fn fold(criterion: &mut Criterion) {
    let terms = Terms { registered: Money::from_minor(12_990).ok(), currency: Currency::BRL };
    let account = AccountId::parse("loja-picpay").unwrap();
    let mut group = criterion.benchmark_group("fold");
    for pieces in [1, 4, 16, 64, 255] {
        let evidence = Evidence::new(None, (0..pieces).map(piece).collect());
        let before = stand(&evidence, terms);
        let ledgered = Ledgered { state: before.state, sums: before.sums };
        group.bench_with_input(BenchmarkId::new("one more piece", pieces), &evidence, |bench, evidence| {
            bench.iter(|| {
                let mut evidence = evidence.clone();
                evidence.insert(piece(pieces));
                let standing = stand(&evidence, terms);
                let open = BTreeMap::new();
                let from = From {
                    ledgered: Some(ledgered),
                    open: &open,
                    registered: terms.registered,
                    account: &account,
                };
                black_box(bridge(&from, &standing, None))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, fold);
criterion_main!(benches);
