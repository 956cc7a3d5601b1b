//! `schema/openapi.json` is what the code says. `RAZAO_BLESS=1 cargo test --test openapi` writes it anew.

use std::path::Path;

#[test]
fn the_kept_document_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/openapi.json");
    let fresh = razao::http::openapi::json().unwrap();
    if std::env::var_os("RAZAO_BLESS").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == fresh, "schema/openapi.json differs from the code; RAZAO_BLESS=1 writes it anew");
}

#[test]
fn every_route_is_documented_and_every_error_a_problem() {
    let document: serde_json::Value = serde_json::from_str(&razao::http::openapi::json().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "only {} paths", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let error = status.starts_with('4') || status.starts_with('5');
                let problem = response["content"].get("application/problem+json").is_some();
                assert_eq!(error, problem, "{method} {path} {status}");
            }
            let open = path.starts_with("/callbacks") || path.ends_with('z') || path == "/openapi.json";
            let denied =
                operation["responses"].get("403").is_some() && operation["responses"].get("401").is_some();
            assert!(open || denied, "{method} {path} does not say that a token is needed");
        }
    }
}
