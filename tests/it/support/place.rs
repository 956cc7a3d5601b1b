//! A directory with a configuration, and the program's commands run in it.

use super::{Setup, run};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A directory with a configuration, with or without a daemon in it.
pub struct Place {
    dir: TempDir,
    pub config: PathBuf,
    pub setup: Setup,
}

impl Place {
    pub fn new(setup: Setup) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        let place = Place { dir, config, setup };
        place.write(&place.setup.toml(&place.data()));
        place
    }

    pub fn write(&self, toml: &str) {
        std::fs::write(&self.config, toml).unwrap();
    }

    /// A file beside config.toml.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command that uses this place's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = razao(&self.setup.wrapper);
        command.args(arguments).arg("--config").arg(&self.config);
        command.envs(self.setup.env.iter().map(|(key, value)| (key, value))).current_dir(self.dir.path());
        command
    }

    pub fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = razao(&[]);
        command.args(arguments).arg("--config").arg(&self.config).current_dir(self.dir.path());
        run(&mut command)
    }

    /// A token by the program's own hand.
    pub fn token(&self, scope: &str, more: &[&str]) -> String {
        let output = self.cli(&[&["token", "--scope", scope], more].concat());
        assert!(output.status.success(), "razao token: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// The program under test, its environment free of settings that lie around here.
pub fn razao(wrapper: &[String]) -> Command {
    let binary = env!("CARGO_BIN_EXE_razao");
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    let ours = std::env::vars_os().map(|(key, _)| key);
    ours.filter(|key| key.to_string_lossy().starts_with("RAZAO_")).for_each(|key| {
        command.env_remove(key);
    });
    command
}

/// A command's two outputs, for messages.
pub fn both(output: &Output) -> String {
    format!(
        "{}{}[{}]",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status
    )
}

/// Asserts an error as it is promised: this exit code, and one line on stderr that says what to do.
pub fn assert_one_line_error(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}", both(output));
    let lines = stderr.lines().filter(|line| !line.trim().is_empty()).count();
    assert_eq!(lines, 1, "an error is one line on stderr:\n{stderr}");
    stderr
}

/// Copies the files of a directory of a stopped daemon.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        let kind = file.file_type().unwrap();
        if kind.is_dir() {
            copy_dir(&file.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}
