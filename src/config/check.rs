//! Every problem at once, each with its key.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong. Never holds a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The key's full path, such as `accounts[1].credentials.client_id`; or the file's, where it cannot be read.
    pub key: String,
    /// What is wrong and what to do about it.
    pub what: String,
}

/// Everything that is wrong, in the order of the file's sections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(pub Vec<Problem>);

/// What is noticed while reading.
pub(super) struct Notes {
    /// Where relative paths start: the directory of `config.toml`.
    dir: PathBuf,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Notes {
    pub(super) fn new(dir: &Path) -> Notes {
        Notes { dir: dir.to_owned(), problems: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn wrong(&self, key: impl Into<String>, what: impl fmt::Display) {
        self.problems.borrow_mut().push(Problem { key: key.into(), what: what.to_string() });
    }

    pub(super) fn warn(&self, key: &str, what: impl fmt::Display) {
        self.warnings.borrow_mut().push(format!("{key}: {what}"));
    }

    /// Whether something was said of a key already, so that it is not called missing too.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.problems.borrow().iter().any(|problem| problem.key == key)
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub(super) fn problems(self) -> Problems {
        Problems(self.problems.into_inner())
    }

    /// The warnings, if that is all there is.
    pub(super) fn finish(self) -> Result<Vec<String>, Problems> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(self.warnings.into_inner()) } else { Err(Problems(problems)) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
