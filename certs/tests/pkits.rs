//! NIST PKITS (the Public Key Interoperability Test Suite): signatures, validity, name chaining, revocation, path lengths, key
//! usage and names. Its folder is named by MEXEGATE_PKITS (tests/run fetches it). A case's certificate is named Valid or
//! Invalid; policies, which this engine does not have, are left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::path::{Path, PathBuf};

use mexe_certs::door::{self, Wanted};
use mexe_certs::{Revocation, RootKind, TrustStore, TrustStoreBuilder};
use support::AT;
use support::exceptions::{Exceptions, listed};

/// Of cases that are about certificate policies (4.8 to 4.12).
const POLICIES: [&str; 4] = ["Policy", "Policies", "inhibitAny", "requireExplicit"];

#[test]
fn pkits_agrees_but_for_the_exceptions() {
    let Some(folder) = std::env::var_os("MEXEGATE_PKITS").map(PathBuf::from) else {
        eprintln!("skipped: MEXEGATE_PKITS is not set");
        return;
    };
    let certificates = files(&folder.join("certs"));
    let lists = files(&folder.join("crls"));
    let (leaves, authorities): (Vec<_>, Vec<_>) =
        certificates.into_iter().partition(|(name, _)| name.ends_with("EE"));
    let root = authorities.iter().find(|(name, _)| name == "TrustAnchorRootCertificate").unwrap();
    let others: Vec<_> = authorities.iter().map(|(_, der)| der.clone()).collect();
    let mut builder = TrustStore::builder();
    builder.add(RootKind::Operator, "root.crt", &root.1, AT)[0].as_ref().unwrap();
    let refused = add(&mut builder, &lists);
    eprintln!("{} of {} lists count", lists.len() - refused, lists.len());
    let store = builder.build();
    let mut exceptions = Exceptions::read(&listed("pkits-exceptions.txt"));
    for (name, leaf) in &leaves {
        let expected = name.starts_with("Valid");
        if POLICIES.iter().any(|part| name.contains(part)) || !(expected || name.starts_with("Invalid")) {
            exceptions.skip();
            continue;
        }
        let judged = door::judge(leaf, &others, &store, AT, Wanted { purpose: None, name: None });
        exceptions.note(
            name,
            expected,
            match judged {
                // Each case wants to know of each certificate whether it was revoked.
                Ok(Revocation::Checked) => Ok(()),
                Ok(other) => Err(format!("revocation is {}", other.as_str())),
                Err(refusal) => Err(refusal.to_string()),
            },
        );
    }
    exceptions.settle(140);
}

fn add(builder: &mut TrustStoreBuilder, lists: &[(String, Vec<u8>)]) -> usize {
    let added = lists.iter().flat_map(|(name, der)| builder.add_list(name, der));
    added
        .filter(|added| {
            added.as_ref().is_err_and(|problem| {
                eprintln!("{problem}");
                true
            })
        })
        .count()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}
