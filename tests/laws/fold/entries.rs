//! The entries that news makes, line by line and by hand.

use super::books::{Arrival, Books};
use super::reading::{Tell, about, keep, money, reading, set_state, show_draft};
use razao::domain::discrepancy::Cause;
use razao::domain::evidence::Piece;
use razao::domain::fold::Rules;
use razao::domain::state::State;

/// News one after the other, and the entries that the last of it makes.
struct News {
    name: &'static str,
    registered: Option<i64>,
    pieces: Vec<Piece>,
    entries: &'static [&'static str],
}

fn news() -> Vec<News> {
    let paid = |at| reading(at, "paid").gross(100);
    let back = |at| reading(at, "refunded").gross(100).total(100);
    let of = |name, registered: Option<i64>, pieces: Vec<Piece>, entries| News {
        name,
        registered,
        pieces,
        entries,
    };
    vec![
        of(
            "nothing is jumped",
            Some(100),
            vec![reading(1, "completed").fee(4)],
            &[
                "transition none>created =100",
                "transition created>paid =100 pending+100 sales-100",
                "transition paid>completed =96 pending-100 available+96 fees+4",
            ],
        ),
        of(
            "a step carries the ledger's refunds, an adjustment the new ones",
            None,
            vec![paid(1).total(30)],
            &[
                "transition none>created",
                "transition created>paid =100 pending+100 sales-100",
                "adjustment paid =-30 pending-30 refunds+30",
            ],
        ),
        of(
            "a dispute of what is left",
            None,
            vec![paid(1).total(30), reading(2, "chargeback").total(50)],
            &[
                "transition paid>chargeback =70 pending-70 chargebacks+70",
                "adjustment chargeback =0 refunds+20 chargebacks-20",
            ],
        ),
        of(
            "what is left is refunded",
            None,
            vec![paid(1).total(30), back(2)],
            &["transition paid>refunded =70 pending-70 refunds+70"],
        ),
        of(
            "a dispute that was won",
            None,
            vec![paid(1), reading(2, "chargeback"), paid(3)],
            &["transition chargeback>paid =-100 pending+100 chargebacks-100"],
        ),
        of(
            "no gross yet",
            None,
            vec![reading(1, "paid")],
            &["transition none>created", "transition created>paid", "discrepancy paid opens amount_unknown"],
        ),
        of(
            "known later",
            None,
            vec![reading(1, "paid"), paid(2)],
            &["adjustment paid =100 pending+100 sales-100", "resolution paid closes amount_unknown agreed"],
        ),
        of(
            "one closes, two open",
            Some(50),
            vec![paid(1), reading(2, "odd"), reading(3, "refunded").gross(40).total(30)],
            &[
                "adjustment paid =-90 pending-90 sales+60 refunds+30",
                "discrepancy paid opens underpaid",
                "discrepancy paid opens refund_unclear",
            ],
        ),
        of(
            "an operator's word is one entry",
            None,
            vec![
                back(1),
                paid(2),
                set_state(3, State::Paid, Cause::Conflict, about("paid", Some(100), None)),
            ],
            &["resolution refunded>paid =-100 pending+100 refunds-100 closes conflict set_state"],
        ),
        of(
            "kept, without postings",
            None,
            vec![back(1), paid(2), keep(3, Cause::Conflict, about("paid", Some(100), None))],
            &["resolution refunded closes conflict keep"],
        ),
        of(
            "kept, but about something else: it opens again",
            None,
            vec![back(1), paid(2), keep(3, Cause::Conflict, about("chargeback", None, None))],
            &["resolution refunded closes conflict keep", "discrepancy refunded opens conflict"],
        ),
        of("the same again is nothing", None, vec![paid(1), paid(2), paid(3)], &[]),
    ]
}

impl News {
    fn check(&self, rules: Rules) -> Result<(), String> {
        let mut books = Books::new(rules);
        self.registered.into_iter().for_each(|minor| books.register(money(minor)));
        let mut last = Vec::new();
        for piece in &self.pieces {
            let heard = books.hear(&Arrival::from(piece.clone()));
            last = heard.map_err(|fault| format!("{}: {fault}", self.name))?;
        }
        let found: Vec<_> = last.iter().map(show_draft).collect();
        if found == self.entries { Ok(()) } else { Err(format!("{}: {found:#?}", self.name)) }
    }
}

/// The news whose entries come out otherwise.
pub fn differing(rules: Rules) -> Vec<String> {
    news().iter().filter_map(|news| news.check(rules).err()).collect()
}

#[test]
fn entries_by_hand() {
    let faults = differing(Rules::ALL);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
