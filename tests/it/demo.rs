//! The demo: every life of every simulated provider through real HTTP, compared with what the providers know.

use std::process::{Command, Output};

fn demo(fault: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_razao"));
    command.args(["demo", "--once"]).env_remove("RAZAO_FAULT");
    if let Some(fault) = fault {
        command.env("RAZAO_FAULT", fault);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The data directory that a demo names, and its parent, which goes with it.
fn directory(stdout: &str) -> (String, std::path::PathBuf) {
    let data =
        stdout.lines().find_map(|line| line.strip_prefix("data directory: ")).expect(stdout).to_owned();
    let parent = std::path::Path::new(&data).parent().unwrap().to_owned();
    assert!(parent.file_name().unwrap().to_str().unwrap().starts_with("razao-demo-"), "{data}");
    (data, parent)
}

#[test]
fn the_ledger_equals_what_the_providers_know() {
    let ended = demo(None);
    let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
    assert_eq!(ended.status.code(), Some(0), "{stdout}{stderr}");
    let curls = stdout.lines().filter(|line| line.trim_start().starts_with("curl ")).count();
    assert_eq!(curls, 3, "{stdout}");
    assert!(!stdout.contains('\u{1b}'), "colour on a pipe");
    for provider in razao::providers::registry::PROVIDERS {
        let account = format!("demo-{}", provider.spec().id);
        assert!(
            stdout.lines().any(|line| line.starts_with(&account) && line.contains("happy-1")),
            "{account}: {stdout}"
        );
    }
    let (data, parent) = directory(&stdout);
    let verified =
        Command::new(env!("CARGO_BIN_EXE_razao")).args(["verify", "--data", &data]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    std::fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_wrong_mapping_in_any_adapter_is_named() {
    std::thread::scope(|scope| {
        for provider in razao::providers::registry::PROVIDERS {
            scope.spawn(move || {
                let id = provider.spec().id;
                let ended = demo(Some(&format!("mistaken-{id}")));
                let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
                assert_eq!(ended.status.code(), Some(1), "{id}: {stdout}{stderr}");
                assert!(stderr.contains(&format!("demo-{id}/happy-1 differs")), "{id}: {stderr}");
                let others = stderr
                    .lines()
                    .filter(|line| line.contains("differs") && !line.contains(&format!("demo-{id}")));
                assert_eq!(others.count(), 0, "{id}: {stderr}");
                std::fs::remove_dir_all(directory(&stdout).1).unwrap();
            });
        }
    });
}
