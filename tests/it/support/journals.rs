//! hledger and beancount on journals of ours: whether their checks pass, and which balances they see. Knows nothing of the
//! rest of the suite, so that the laws use it too.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Balances that are not zero, by account and currency.
pub type Balances = BTreeMap<(String, String), String>;

/// What `hledger` says of a journal, once its checks have passed; none where the program is not there.
pub fn hledger(journal: &[u8]) -> Option<Balances> {
    passed(ask("hledger", &["check", "--strict"], journal)?);
    passed(ask("hledger", &["check", "ordereddates"], journal)?);
    let bal = ["balance", "--flat", "--no-total", "--empty", "--layout=bare", "--output-format=csv"];
    Some(balances(&passed(ask("hledger", &bal, journal)?)))
}

/// What `bean-query` says of a ledger, once `bean-check` has passed; none where they are not there.
pub fn beancount(ledger: &[u8]) -> Option<Balances> {
    passed(ask("bean-check", &[], ledger)?);
    // Positions show a currency's own decimals; bare numbers would get those that are most common in the column.
    let wanted = "select account, currency, sum(position) group by account, currency";
    let balances = balances(&passed(ask("bean-query", &[wanted], ledger)?));
    let number = |position: String| position.split(' ').next().unwrap_or_default().to_owned();
    Some(balances.into_iter().map(|(of, position)| (of, number(position))).collect())
}

/// Asks hledger or one of beancount's programs about a file of this content.
pub fn ask(name: &str, arguments: &[&str], content: &[u8]) -> Option<Output> {
    let mut command = Command::new(program(name)?);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export");
    std::fs::write(&path, content).unwrap();
    match name {
        "hledger" => command.arg("-f").arg(&path).args(arguments),
        "bean-query" => command.args(["-f", "csv"]).arg(&path).args(arguments),
        _ => command.arg(&path).args(arguments),
    };
    // Both read files as the locale says.
    Some(command.env("LC_ALL", "C.UTF-8").output().unwrap())
}

/// What a program printed that has ended well.
pub fn passed(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a CSV below its header. bean-query fills cells up with spaces.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let cells = |row: csv::StringRecord| row.iter().map(|cell| cell.trim().to_owned()).collect();
    reader.records().map(|row| cells(row.unwrap())).collect()
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file());
    if found.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        // Written past the harness's capture, so that it is seen among passing tests too.
        let _ = writeln!(
            std::io::stderr().lock(),
            "SKIPPED {test}: `{name}` is not installed; .ci/run installs it"
        );
    }
    found
}

fn balances(csv: &str) -> Balances {
    let balance = |row: Vec<String>| ((row[0].clone(), row[1].clone()), row[2].clone());
    let mut balances: Balances = rows(csv).into_iter().map(balance).collect();
    balances.retain(|_, balance| balance.chars().any(|c| ('1'..='9').contains(&c)));
    balances
}
