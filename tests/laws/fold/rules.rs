//! Each rule taken out must be caught: by a case, by a vector, or because some order of arrival then goes wrong.

use super::{cases, efi, entries, sweep, vectors};
use razao::domain::fold::{Rule, Rules};

/// Who notices that this rule is missing, the quickest first.
fn caught(rule: Rule) -> Option<&'static str> {
    let rules = Rules::without(rule);
    if !cases::differing(rules).is_empty() || !entries::differing(rules).is_empty() {
        return Some("cases");
    }
    if !vectors::differing(rules).is_empty() {
        return Some("vectors");
    }
    (sweep::small(rules).is_err() || efi::small(rules).is_err()).then_some("order of arrival")
}

#[test]
fn each_rule_is_needed() {
    let by: Vec<_> = Rule::EVERY.into_iter().map(|rule| (rule, caught(rule))).collect();
    by.iter().for_each(|(rule, by)| println!("{rule:?}: {}", by.unwrap_or("nobody")));
    let missed: Vec<_> = by.iter().filter(|(_, by)| by.is_none()).map(|(rule, _)| rule).collect();
    assert!(missed.is_empty(), "nobody noticed that these were taken out: {missed:?}");
}

#[test]
fn nobody_cries_where_all_rules_hold() {
    assert_eq!(sweep::small(Rules::ALL), Ok(()));
    assert_eq!(efi::small(Rules::ALL), Ok(()));
}
