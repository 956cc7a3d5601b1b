//! What the model does not know, by hand: rulings, statement lines, proof, foreign and unreadable amounts, ties.

use super::reading::{Tell, about, keep, money, reading, set_state, settled, show};
use razao::domain::discrepancy::{Cause, Subject};
use razao::domain::evidence::{Evidence, Piece};
use razao::domain::fold::{Rules, Terms, stand_by};
use razao::domain::money::Currency;
use razao::domain::state::State;

/// A history and the standing it comes to.
struct Case {
    name: &'static str,
    registered: Option<i64>,
    pieces: Vec<Piece>,
    stands: &'static str,
}

fn case(
    name: &'static str,
    registered: impl Into<Option<i64>>,
    pieces: impl Into<Vec<Piece>>,
    stands: &'static str,
) -> Case {
    Case { name, registered: registered.into(), pieces: pieces.into(), stands }
}

impl Case {
    fn check(&self, rules: Rules) -> Result<(), String> {
        let terms = Terms { registered: self.registered.map(money), currency: Currency::BRL };
        let mut evidence = Evidence::default();
        for piece in &self.pieces {
            evidence.insert_by(rules, piece.clone());
        }
        let stands = show(&stand_by(rules, &evidence, terms));
        if stands == self.stands {
            Ok(())
        } else {
            Err(format!("{}: {stands}, not {}", self.name, self.stands))
        }
    }
}

fn amounts() -> Vec<Case> {
    let paid = |at| reading(at, "paid").gross(100);
    vec![
        case("0 is no gross", 80, [reading(1, "paid").gross(0)], "paid G80"),
        case("0 does not replace a gross", None, [paid(1), reading(2, "paid").gross(0)], "paid G100"),
        case("0 is nothing to compare with", 50, [reading(1, "paid").gross(0).total(50)], "refunded G50 R50"),
        case(
            "only words that say money came name a gross",
            80,
            [reading(1, "created").gross(50), reading(2, "paid")],
            "paid G80",
        ),
        case(
            "a total and nothing to compare it with",
            None,
            [reading(1, "paid").total(30)],
            "paid: amount_unknown",
        ),
        case(
            "refunded, and nothing to compare its total with",
            None,
            [paid(1), reading(2, "refunded").total(30)],
            "paid G100 R30: refund_unclear",
        ),
        case(
            "an unknown word has no total that counts",
            None,
            [paid(1), reading(2, "odd").gross(90).total(30)],
            "paid G100: unknown_status",
        ),
        case(
            "an unknown word's fee counts",
            None,
            [paid(1), reading(2, "odd").fee(2), reading(3, "completed")],
            "completed G100 F2 settled",
        ),
        case(
            "the fee named latest counts",
            None,
            [paid(1).fee(2), reading(2, "completed").fee(3)],
            "completed G100 F3 settled",
        ),
        case(
            "dollars are not used",
            100,
            [reading(1, "paid").gross(70).currency("USD")],
            "paid G100: currency",
        ),
        case(
            "nor is a refund in dollars",
            100,
            [paid(1), reading(2, "paid").total(40).currency("USD")],
            "paid G100: currency",
        ),
        case(
            "until another currency is named",
            100,
            [reading(1, "paid").gross(70).currency("USD"), reading(2, "paid").gross(90).currency("BRL")],
            "paid G90: underpaid",
        ),
        case(
            "a piece without a currency changes nothing",
            100,
            [reading(1, "paid").currency("USD"), reading(2, "paid").gross(100)],
            "paid G100: currency",
        ),
        case(
            "unreadable while no newer piece has an amount",
            100,
            [paid(1).unreadable_fee(), reading(2, "completed")],
            "completed G100 settled: amount_unreadable",
        ),
        case(
            "readable again",
            100,
            [paid(1).unreadable_fee(), reading(2, "completed").fee(1)],
            "completed G100 F1 settled",
        ),
        case("paid less than registered", 100, [reading(1, "paid").gross(99)], "paid G99: underpaid"),
        case("more is normal", 100, [reading(1, "paid").gross(101)], "paid G101"),
        case("not while nothing was paid", 100, [reading(1, "created").gross(99)], "created"),
        case(
            "refunds above the gross",
            None,
            [paid(1).total(40), reading(2, "paid").gross(30)],
            "paid G30 R30: refund_exceeds_gross",
        ),
    ]
}

fn words() -> Vec<Case> {
    let paid = |at| reading(at, "paid").gross(100);
    let cb = |at| reading(at, "chargeback");
    vec![
        case("closed without proof", 100, [reading(1, "closed")], "expired"),
        case("closed with proof", 100, [reading(1, "closed").proven()], "refunded G100 R100"),
        case("its gross counts", 80, [reading(1, "closed").proven().gross(100)], "refunded G100 R100"),
        case(
            "without proof it does not",
            80,
            [reading(1, "closed").gross(100), reading(2, "paid")],
            "paid G80",
        ),
        case(
            "proof, but less refunded than paid",
            100,
            [reading(1, "closed").proven().total(40)],
            "paid G100 R40: refund_unclear",
        ),
        case(
            "a finished refund is proof",
            80,
            [reading(1, "closed").gross(100).total(100)],
            "refunded G100 R100",
        ),
        case(
            "also where there is nothing to compare it with",
            None,
            [paid(1), reading(2, "closed").total(30)],
            "paid G100 R30: refund_unclear",
        ),
        case(
            "part refunded of a chargeback",
            100,
            [paid(1), cb(2), reading(3, "refunded").total(40)],
            "chargeback G100 R40 C60: refund_unclear",
        ),
        case(
            "unclear until a word without that fault",
            100,
            [paid(1), reading(2, "refunded").total(40), paid(3)],
            "paid G100 R40",
        ),
        case(
            "shrunk until a total that is not below",
            100,
            [paid(1).total(40), paid(2).total(30), paid(3).total(40)],
            "paid G100 R40",
        ),
        case("none is no smaller total", 100, [paid(1).total(40), paid(2)], "paid G100 R40"),
        case(
            "won and settled before",
            100,
            [reading(1, "completed"), cb(2), reading(3, "paid")],
            "completed G100 settled",
        ),
        case("won and never settled", 100, [paid(1), cb(2), reading(3, "paid")], "paid G100"),
        case(
            "stale closes nothing",
            100,
            [paid(1), reading(2, "expired"), reading(3, "created")],
            "paid G100: conflict",
        ),
        case("same closes", 100, [paid(1), reading(2, "expired"), paid(3)], "paid G100"),
        case(
            "a snapshot from before a history with its word",
            None,
            [
                reading(5, "chargeback").snapshot(5),
                reading(1, "paid").gross(100).change(1, 9),
                reading(2, "chargeback").change(2, 9),
                reading(3, "paid").change(3, 9),
            ],
            "paid G100",
        ),
        case(
            "one from after it",
            None,
            [
                reading(10, "chargeback").snapshot(10),
                reading(1, "paid").gross(100).change(1, 9),
                reading(2, "chargeback").change(2, 9),
                reading(3, "paid").change(3, 9),
            ],
            "chargeback G100 C100",
        ),
        case(
            "one whose word the history lacks",
            None,
            [reading(5, "refunded").snapshot(5), reading(1, "paid").gross(100).change(1, 9)],
            "refunded G100 R100",
        ),
        case(
            "its amounts, while no change names one",
            None,
            [reading(5, "paid").gross(70).snapshot(5), reading(1, "paid").change(1, 9)],
            "paid G70",
        ),
        case(
            "not when one does",
            None,
            [reading(5, "paid").gross(70).snapshot(5), reading(1, "paid").gross(90).change(1, 9)],
            "paid G90",
        ),
        case(
            "of one date: expired, then paid",
            100,
            [reading(1, "paid"), reading(1, "expired")],
            "paid G100",
        ),
        case(
            "of one date: an unknown word is last",
            100,
            [reading(1, "odd"), reading(1, "refunded")],
            "refunded G100 R100: unknown_status",
        ),
        case(
            "of one date: changes by their ids, before the rest",
            100,
            [reading(1, "expired"), reading(1, "expired").change(2, 9), reading(1, "paid").change(1, 9)],
            "paid G100: conflict",
        ),
    ]
}

fn statements() -> Vec<Case> {
    let paid = |at| reading(at, "paid").gross(100);
    let mut cases: Vec<_> = ["created", "in_analysis", "paid", "expired"]
        .map(|word| {
            case(
                "settles and completes",
                100,
                [reading(1, word), settled(2).fee(4)],
                "completed G100 F4 settled",
            )
        })
        .into();
    cases.extend([
        case("as the first news", None, [settled(1).gross(90).fee(4)], "completed G90 F4 settled"),
        case(
            "settled again, with another fee",
            100,
            [reading(1, "completed"), settled(2).fee(5)],
            "completed G100 F5 settled",
        ),
        case(
            "a refunded order stays refunded",
            100,
            [reading(1, "refunded"), settled(2).fee(4)],
            "refunded G100 F4 R100 settled",
        ),
        case(
            "a dispute stays open",
            100,
            [paid(1), reading(2, "chargeback"), settled(3)],
            "chargeback G100 C100 settled",
        ),
        case(
            "and returns to completed",
            100,
            [paid(1), reading(2, "chargeback"), settled(3), paid(4)],
            "completed G100 settled",
        ),
        case(
            "a statement opens no conflict",
            100,
            [paid(1), reading(2, "refunded"), settled(3)],
            "refunded G100 R100 settled",
        ),
        case("less settled than registered", 100, [settled(1).gross(90)], "completed G90 settled: underpaid"),
    ]);
    cases
}

fn rulings() -> Vec<Case> {
    let paid = |at| reading(at, "paid").gross(100);
    let back = |at| reading(at, "refunded").gross(100).total(100);
    let set = |at, state| set_state(at, state, Cause::Conflict, about("paid", Some(100), None));
    let kept = |at| keep(at, Cause::Conflict, about("paid", Some(100), None));
    vec![
        case("out of refunded", None, [back(1), paid(2), set(3, State::Paid)], "paid G100"),
        case(
            "into completed settles",
            None,
            [back(1), paid(2), set(3, State::Completed)],
            "completed G100 settled",
        ),
        case(
            "into paid unsettles",
            None,
            [reading(1, "completed").gross(100), reading(2, "expired"), set(3, State::Paid)],
            "paid G100",
        ),
        case(
            "into chargeback keeps settled",
            None,
            [reading(1, "completed").gross(100), reading(2, "expired"), set(3, State::Chargeback)],
            "chargeback G100 C100 settled",
        ),
        case(
            "into expired takes the money out",
            None,
            [paid(1), reading(2, "expired"), set(3, State::Expired)],
            "expired",
        ),
        case(
            "leaving refunded forgets the refunds",
            None,
            [back(1), paid(2), set(3, State::Paid), paid(4).total(30)],
            "paid G100 R30",
        ),
        case(
            "leaving paid does not",
            None,
            [paid(1).total(30), reading(2, "expired"), set(3, State::Completed)],
            "completed G100 R30 settled",
        ),
        case(
            "the next piece walks from there",
            None,
            [back(1), paid(2), set(3, State::Paid), reading(4, "chargeback")],
            "chargeback G100 C100",
        ),
        case(
            "it closes a conflict, whatever it was about",
            None,
            [
                paid(1),
                reading(2, "odd"),
                reading(3, "expired"),
                set_state(4, State::Paid, Cause::UnknownStatus, about("odd", None, None)),
            ],
            "paid G100",
        ),
        case(
            "the word it is about",
            None,
            [
                paid(1),
                reading(2, "odd"),
                set_state(3, State::Completed, Cause::UnknownStatus, about("odd", None, None)),
            ],
            "completed G100 settled",
        ),
        case(
            "the condition it is about",
            200,
            [
                paid(1),
                set_state(2, State::Completed, Cause::Underpaid, Subject::Amounts(money(100), money(200))),
            ],
            "completed G100 settled",
        ),
        case(
            "other amounts open that again",
            200,
            [
                paid(1),
                set_state(2, State::Completed, Cause::Underpaid, Subject::Amounts(money(100), money(200))),
                reading(3, "completed").gross(90),
            ],
            "completed G90 settled: underpaid",
        ),
        case(
            "nothing else",
            200,
            [paid(1), reading(2, "expired"), set(3, State::Completed)],
            "completed G100 settled: underpaid",
        ),
        case("kept", None, [back(1), paid(2), kept(3)], "refunded G100 R100"),
        case("kept, and the same again", None, [back(1), paid(2), kept(3), paid(4)], "refunded G100 R100"),
        case(
            "kept, and something else",
            None,
            [back(1), paid(2), kept(3), reading(4, "completed")],
            "refunded G100 R100: conflict",
        ),
        case(
            "kept, something else, the same again",
            None,
            [back(1), paid(2), kept(3), back(4), paid(5)],
            "refunded G100 R100: conflict",
        ),
        case(
            "kept, other amounts",
            None,
            [back(1), paid(2), kept(3), reading(4, "paid").gross(90)],
            "refunded G90 R90: refund_exceeds_gross conflict",
        ),
        case(
            "a keep of something else closes nothing",
            None,
            [back(1), reading(2, "chargeback"), kept(3)],
            "refunded G100 R100: conflict",
        ),
        case(
            "no gross, and that is kept",
            None,
            [reading(1, "paid"), keep(2, Cause::AmountUnknown, Subject::Nothing)],
            "paid",
        ),
        case(
            "less, and that is kept",
            200,
            [paid(1), keep(2, Cause::Underpaid, Subject::Amounts(money(100), money(200)))],
            "paid G100",
        ),
        case(
            "kept until less",
            200,
            [
                paid(1),
                keep(2, Cause::Underpaid, Subject::Amounts(money(100), money(200))),
                reading(3, "paid").gross(90),
            ],
            "paid G90: underpaid",
        ),
        case(
            "unreadable, and that is kept",
            None,
            [paid(1).unreadable_fee(), keep(2, Cause::AmountUnreadable, Subject::Text("1.234".to_owned()))],
            "paid G100",
        ),
        case(
            "dollars, and they are kept",
            100,
            [reading(1, "paid").currency("USD"), keep(2, Cause::Currency, Subject::Text("USD".to_owned()))],
            "paid G100",
        ),
        case(
            "kept until pounds",
            100,
            [
                reading(1, "paid").currency("USD"),
                keep(2, Cause::Currency, Subject::Text("USD".to_owned())),
                reading(3, "paid").currency("GBP"),
            ],
            "paid G100: currency",
        ),
    ]
}

/// The cases that come out otherwise.
pub fn differing(rules: Rules) -> Vec<String> {
    let cases = amounts().into_iter().chain(words()).chain(statements()).chain(rulings());
    cases.filter_map(|case| case.check(rules).err()).collect()
}

#[test]
fn standings_by_hand() {
    let faults = differing(Rules::ALL);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
