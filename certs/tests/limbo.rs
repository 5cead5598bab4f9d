//! x509-limbo: the path layer against a suite that others wrote, each case with its own purpose and name. Whatever the suite
//! says must be refused is refused; what we decide otherwise stands with its reason in limbo-exceptions.txt.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::path::PathBuf;

use mexe_certs::door::{self, Wanted};
use mexe_certs::{Refusal, Revocation, RootKind, TrustStore};
use mexe_model::WallTime;
use serde_json::Value;
use support::exceptions::{Exceptions, listed};

#[test]
fn limbo_agrees_but_for_the_exceptions() {
    let folder = std::env::var_os("MEXEGATE_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora"),
        PathBuf::from,
    );
    let Ok(bytes) = std::fs::read(folder.join("x509-limbo/limbo.json")) else {
        eprintln!("skipped: corpus not present");
        return;
    };
    let suite: Value = serde_json::from_slice(&bytes).unwrap();
    let mut exceptions = Exceptions::read(&listed("limbo-exceptions.txt"));
    for case in suite["testcases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        // How long a chain may be is no setting of this engine.
        if case["features"].as_array().unwrap().iter().any(|feature| feature == "max-chain-depth") {
            exceptions.skip();
            continue;
        }
        let expected = case["expected_result"] == "SUCCESS";
        exceptions.note(id, expected, judged(case));
    }
    exceptions.settle(190);
}

/// A case that brings revocation lists is about them: nothing of its chain may be left without one.
fn judged(case: &Value) -> Result<(), String> {
    let at = time(&case["validation_time"]);
    let mut builder = TrustStore::builder();
    let mut problems = Vec::new();
    for root in texts(&case["trusted_certs"]) {
        for added in builder.add(RootKind::Operator, "root.pem", root.as_bytes(), at) {
            problems.extend(added.err().map(|problem| problem.to_string()));
        }
    }
    let lists = texts(&case["crls"]);
    for list in &lists {
        for added in builder.add_list("list.crl", list.as_bytes()) {
            problems.extend(added.err().map(|problem| problem.to_string()));
        }
    }
    let others: Vec<_> = texts(&case["untrusted_intermediates"]).iter().map(|pem| der(pem)).collect();
    let leaf = der(case["peer_certificate"].as_str().unwrap());
    let purpose: Option<&'static [u8]> = match case["extended_key_usage"][0].as_str() {
        None => None,
        Some("serverAuth") => Some(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        Some("clientAuth") => Some(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        Some(other) => panic!("{other}"),
    };
    let wanted = Wanted { purpose, name: case["expected_peer_name"]["value"].as_str() };
    match door::judge(&leaf, &others, &builder.build(), at, wanted) {
        Ok(Revocation::Checked) => Ok(()),
        Ok(_) if lists.is_empty() => Ok(()),
        Ok(other) => Err(format!("revocation is {}: {problems:?}", other.as_str())),
        Err(Refusal { reason, detail }) => Err(format!("{reason}: {detail} {problems:?}")),
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn der(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::prelude::BASE64_STANDARD.decode(body.trim()).unwrap()
}

/// `2024-01-01T00:00:00+00:00`; without one the suite's cases hold now.
fn time(text: &Value) -> WallTime {
    let Some(text) = text.as_str() else { return support::AT };
    let part = |from: usize, to: usize| text[from..to].parse::<u16>().unwrap();
    let small = |from: usize| u8::try_from(part(from, from + 2)).unwrap();
    let date = der::DateTime::new(part(0, 4), small(5), small(8), small(11), small(14), small(17)).unwrap();
    assert!(text.ends_with("+00:00") || text.ends_with('Z'), "{text}");
    WallTime::from_secs(date.unix_duration().as_secs())
}
