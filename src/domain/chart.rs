//! What ledger accounts are called outside: the accountant's own names where there are some, in two forms.
//!
//! As it is written, for journals whose account names are free text (hledger) and for tables. And in components, for
//! journals whose names are strict (beancount): a root of five, then components of letters, digits and hyphens that
//! begin with a capital or a digit. Several ledger accounts may have one name: they are one account outside.

use super::posting::{LedgerAccount, Purpose};
use std::collections::BTreeMap;
use std::fmt;

const NAME_CHARS_MAX: usize = 200;
const ROOTS: [&str; 5] = ["Assets", "Liabilities", "Equity", "Income", "Expenses"];

/// The accountant's names by ledger account; others keep their own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Chart(BTreeMap<LedgerAccount, Name>);

/// One account of the accountant's chart: `3.1.01 Receita de vendas`, or with parents `Ativo:1.1 Caixa`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name(String);

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChartError {
    #[error(
        "an account's name is 1 to {NAME_CHARS_MAX} characters; its parts (between colons) begin with a letter or digit, \
         and hold single spaces and no semicolon"
    )]
    NotAName,
    #[error(
        "{told:?} and {other:?} are both {components} in beancount; let them differ in letters or digits"
    )]
    Clash { told: String, other: String, components: String },
}

impl Name {
    pub fn parse(text: &str) -> Result<Name, ChartError> {
        let odd = |c: char| c == ';' || c.is_control() || (c.is_whitespace() && c != ' ');
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_alphabetic() || c.is_ascii_digit())
                && !part.ends_with(' ')
                && !part.contains("  ")
                && !part.contains(odd)
        };
        if text.chars().count() > NAME_CHARS_MAX || !text.split(':').all(part) {
            return Err(ChartError::NotAName);
        }
        Ok(Name(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Chart {
    /// Gives a ledger account a name. Two names must not become one in components.
    pub fn call(&mut self, ledger_account: LedgerAccount, name: Name) -> Result<(), ChartError> {
        let components = in_components(&name.0, root(ledger_account.purpose));
        let other = self.0.iter().find(|(known, other)| {
            **other != name && in_components(&other.0, root(known.purpose)) == components
        });
        if let Some((_, other)) = other {
            return Err(ChartError::Clash { told: name.0, other: other.0.clone(), components });
        }
        self.0.insert(ledger_account, name);
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&LedgerAccount, &Name)> {
        self.0.iter()
    }

    /// As it is written.
    pub fn name(&self, ledger_account: &LedgerAccount) -> String {
        self.0.get(ledger_account).map_or_else(|| ledger_account.to_string(), Name::to_string)
    }

    /// In components.
    pub fn components(&self, ledger_account: &LedgerAccount) -> String {
        match self.0.get(ledger_account) {
            Some(name) => in_components(&name.0, root(ledger_account.purpose)),
            None => own(ledger_account),
        }
    }
}

fn root(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Pending | Purpose::Available | Purpose::Bank => "Assets",
        Purpose::Sales | Purpose::Refunds => "Income",
        Purpose::Fees | Purpose::Chargebacks => "Expenses",
    }
}

/// Of our own names only an account id that begins with a hyphen does not fit: it gets `ID`, two capitals that no other id
/// leads to, so that different ids stay different.
fn own(ledger_account: &LedgerAccount) -> String {
    let component = |part: &str| if part.starts_with('-') { format!("ID{part}") } else { capitalised(part) };
    joined(ledger_account.to_string().split(':').map(component))
}

/// What does not fit becomes a hyphen; a name that does not begin with a root is put under `root`.
fn in_components(name: &str, root: &str) -> String {
    let parts: Vec<String> = name.split(':').map(component).collect();
    let rooted = parts.len() > 1 && parts.first().is_some_and(|first| ROOTS.contains(&first.as_str()));
    joined((!rooted).then(|| root.to_owned()).into_iter().chain(parts))
}

fn component(part: &str) -> String {
    let mut fit = String::new();
    for c in part.chars() {
        if c.is_alphabetic() || c.is_ascii_digit() {
            fit.push(c);
        } else if !fit.ends_with('-') {
            fit.push('-');
        }
    }
    capitalised(fit.trim_end_matches('-'))
}

/// With a capital or a digit ahead; of a script that has no capitals, `X`.
fn capitalised(part: &str) -> String {
    let mut chars = part.chars();
    let Some(first) = chars.next() else { return String::new() };
    let capital: String = first.to_uppercase().collect();
    let fits = capital.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
    format!("{}{capital}{}", if fits { "" } else { "X" }, chars.as_str())
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_account(name: &str) -> LedgerAccount {
        LedgerAccount::parse(name).unwrap()
    }

    #[test]
    fn names_in_components() {
        let components = |own: &str, name: &str| {
            let mut chart = Chart::default();
            if !name.is_empty() {
                chart.call(ledger_account(own), Name::parse(name).unwrap()).unwrap();
            }
            chart.components(&ledger_account(own))
        };
        for (own, name, expected) in [
            ("assets:loja-picpay:pending", "", "Assets:Loja-picpay:Pending"),
            ("assets:bank:7-dias", "", "Assets:Bank:7-dias"),
            ("expenses:-x-:fees", "", "Expenses:ID-x-:Fees"),
            ("income:x:sales", "3.1.01 Receita de vendas", "Income:3-1-01-Receita-de-vendas"),
            ("income:x:sales", "receita:ícones (líq.)", "Income:Receita:Ícones-líq"),
            ("assets:x:pending", "assets:a receber", "Assets:A-receber"),
            ("assets:x:pending", "Assets", "Assets:Assets"),
            ("assets:x:pending", "現金", "Assets:X現金"),
            ("assets:x:available", "Liabilities:Conta-corrente", "Liabilities:Conta-corrente"),
        ] {
            assert_eq!(components(own, name), expected, "{own} as {name:?}");
        }
    }

    #[test]
    fn names_that_journals_could_not_hold() {
        for bad in ["", ":", "a:", " a", "a ", "a  b", "a;b", "(a)", "*", "a\tb", "a\u{a0}b", "a:-b", "a\nb"]
        {
            assert_eq!(Name::parse(bad), Err(ChartError::NotAName), "{bad:?}");
        }
        assert!(Name::parse(&"a".repeat(201)).is_err());
        assert!(Name::parse("1.1 Caixa & bancos: (x)").is_err());
        assert!(Name::parse("1.1 Caixa & \"bancos\" = [x]").is_ok());
    }

    #[test]
    fn one_name_for_several_is_one_account_and_two_names_stay_two() {
        let mut chart = Chart::default();
        let name = |text| Name::parse(text).unwrap();
        chart.call(ledger_account("income:a:sales"), name("3.1 Vendas")).unwrap();
        chart.call(ledger_account("income:b:sales"), name("3.1 Vendas")).unwrap();
        let clash =
            chart.call(ledger_account("income:c:sales"), name("3-1 vendas")).map_err(|e| e.to_string());
        assert!(clash.is_ok(), "3-1-vendas and 3-1-Vendas differ: {clash:?}");
        let clash = chart.call(ledger_account("income:d:sales"), name("3/1 Vendas")).unwrap_err().to_string();
        assert!(clash.contains("\"3/1 Vendas\" and \"3.1 Vendas\" are both Income:3-1-Vendas"), "{clash}");
        // Under another root it is another account.
        chart.call(ledger_account("expenses:d:fees"), name("3/1 Vendas")).unwrap();
    }
}
