//! Metrics as Prometheus reads them: the text format, version 0.0.4. Seconds are written from whole microseconds.

use crate::meter::Spread;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics, family by family.
#[derive(Default, Debug)]
pub struct Exposition(String);

/// A time as seconds, of which the microseconds are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Micros(pub u64);

/// In which unit a spread's values are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Count,
    /// Noted in microseconds, shown in seconds.
    Seconds,
}

/// A metric's name and what it tells; the suffix of the name says the unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Family(pub &'static str, pub &'static str);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    pub fn into_text(self) -> String {
        self.0
    }

    /// A number as of now.
    pub fn gauge(&mut self, family: Family, value: impl Display) {
        self.head(family, "gauge");
        self.sample(family.0, "", &[], None, value);
    }

    /// Numbers as of now, by one label.
    pub fn gauges<'a, V: Display>(
        &mut self,
        family: Family,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, V)>,
    ) {
        self.head(family, "gauge");
        values.into_iter().for_each(|(of, value)| self.sample(family.0, "", &[(label, of)], None, value));
    }

    /// What only grows, until the daemon restarts.
    pub fn counter(&mut self, family: Family, value: u64) {
        self.head(family, "counter");
        self.sample(family.0, "", &[], None, value);
    }

    pub fn counters<const N: usize>(
        &mut self,
        family: Family,
        labels: [&str; N],
        counts: &BTreeMap<[String; N], u64>,
    ) {
        self.head(family, "counter");
        for (values, count) in counts {
            let named = pairs(&labels, values);
            self.sample(family.0, "", &named, None, count);
        }
    }

    pub fn spreads<const N: usize>(
        &mut self,
        family: Family,
        unit: Unit,
        labels: [&str; N],
        spreads: &BTreeMap<[String; N], Spread>,
    ) {
        self.head(family, "histogram");
        for (values, spread) in spreads {
            self.spread(family.0, unit, &pairs(&labels, values), spread);
        }
    }

    fn spread(&mut self, name: &str, unit: Unit, labels: Labels<'_>, spread: &Spread) {
        let shown = |value: u64| match unit {
            Unit::Count => value.to_string(),
            Unit::Seconds => Micros(value).to_string(),
        };
        let bounds = spread.bounds.iter().map(|bound| shown(*bound)).chain(["+Inf".to_owned()]);
        let mut count: u64 = 0;
        for (bound, own) in bounds.zip(&spread.counts) {
            count = count.saturating_add(*own);
            self.sample(name, "_bucket", labels, Some(&bound), count);
        }
        self.sample(name, "_sum", labels, None, shown(spread.sum));
        self.sample(name, "_count", labels, None, count);
    }

    fn head(&mut self, Family(name, help): Family, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(
        &mut self,
        name: &str,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: impl Display,
    ) {
        let named = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let named: Vec<String> =
            named.map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let within = if named.is_empty() { String::new() } else { format!("{{{}}}", named.join(",")) };
        self.0.push_str(&format!("{name}{suffix}{within} {value}\n"));
    }
}

impl Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let decimals = format!("{rest:06}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            decimals => write!(f, "{whole}.{decimals}"),
        }
    }
}

fn pairs<'a>(labels: &[&'a str], values: &'a [String]) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().zip(values.iter().map(String::as_str)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::{QUICK, Spreads};

    #[test]
    fn a_spread_is_cumulative_and_in_seconds() {
        let spreads = Spreads::over(QUICK);
        [400, 3_000_000].into_iter().for_each(|micros| spreads.note(["a\"b".to_owned()], micros));
        let mut page = Exposition::default();
        page.spreads(Family("x_seconds", "How long."), Unit::Seconds, ["account"], &spreads.all());
        let text = page.into_text();
        for line in [
            "# TYPE x_seconds histogram",
            r#"x_seconds_bucket{account="a\"b",le="0.0005"} 1"#,
            r#"x_seconds_bucket{account="a\"b",le="1"} 1"#,
            r#"x_seconds_bucket{account="a\"b",le="+Inf"} 2"#,
            r#"x_seconds_sum{account="a\"b"} 3.0004"#,
            r#"x_seconds_count{account="a\"b"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
