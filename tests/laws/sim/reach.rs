//! How often the worlds came where bugs live: steps of the table, discrepancies, retries, deaths. What is never reached
//! is not tested.

use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Clone, Default)]
pub struct Reach(BTreeMap<String, u64>);

impl Reach {
    pub fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &str, times: u64) {
        if times > 0 {
            *self.0.entry(what.to_owned()).or_default() += times;
        }
    }

    pub fn merge(&mut self, other: Reach) {
        other.0.into_iter().for_each(|(what, times)| self.add(&what, times));
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Those of a list that were never reached.
    pub fn missing(&self, wanted: &[&str]) -> Vec<String> {
        wanted.iter().filter(|what| self.of(what) == 0).map(|what| (*what).to_owned()).collect()
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for (what, times) in &self.0 {
            writeln!(text, "{times:>9}  {what}").unwrap();
        }
        text
    }
}
