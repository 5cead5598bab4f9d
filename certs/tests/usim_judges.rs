//! Cards' certificates that were made by others: openssl's key identifiers, and openssl's RSA and SHA-1 under a WTLS
//! certificate. openssl has to be installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::string_slice,
    missing_docs,
    reason = "tests"
)]

#[path = "support/card.rs"]
mod card;
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use mexe_certs::usim::{CandidateCertificate, CardCertificate, WtlsName, decode};
use mexe_certs::{RootKind, Rules, Staleness};
use mexe_forge::usim::{self as forge, Card, Slot};
use support::{AT, DAY};

const LEGACY: Rules = Rules { legacy: true, staleness: Staleness::Strict };

fn openssl(dir: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The only record's problems.
fn problems(card: &Card) -> Vec<&'static str> {
    let read = decode(&card::image(card));
    assert_eq!(read.records.len(), 1);
    read.records[0].problems.iter().map(|problem| problem.code()).collect()
}

#[test]
fn the_key_identifiers_that_openssl_computes_name_the_key() {
    let dir = tempfile::tempdir().unwrap();
    for key in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256", "ed25519"] {
        let make = format!(
            "req -x509 -nodes -newkey {key} -keyout k.pem -outform DER -out c.der -days 9 -subj /CN=root"
        );
        openssl(dir.path(), &make, b"");
        let der = std::fs::read(dir.path().join("c.der")).unwrap();
        let text = openssl(dir.path(), "x509 -inform DER -in c.der -noout -ext subjectKeyIdentifier", b"");
        let text = String::from_utf8(text).unwrap();
        let identifier = hex(text.lines().nth(1).unwrap());
        assert_eq!(identifier.len(), 20);
        let mut card = Card::new(forge::CardKind::Usim);
        let record = card.describe(Slot::Operator, 1, &der, identifier).unwrap();
        card.add_record(Slot::Operator, record.encode());
        assert_eq!(problems(&card), [""; 0], "{key}");
    }
}

#[test]
fn an_identifier_that_the_certificate_only_claims_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let claimed = "0102030405060708090A0B0C0D0E0F1011121314";
    let make = format!(
        "req -x509 -nodes -newkey rsa:2048 -keyout k.pem -outform DER -out c.der -days 9 -subj /CN=root -addext subjectKeyIdentifier={claimed}"
    );
    openssl(dir.path(), &make, b"");
    let der = std::fs::read(dir.path().join("c.der")).unwrap();
    let mut card = Card::new(forge::CardKind::Usim);
    let record = card.describe(Slot::Operator, 1, &der, hex(claimed)).unwrap();
    card.add_record(Slot::Operator, record.encode());
    assert_eq!(problems(&card), ["key-identifier-mismatch"]);
}

/// A card with one WTLS root, signed by openssl, after a change to the signed bytes.
fn wtls_card(slot: Slot, change: impl FnOnce(&mut Vec<u8>)) -> Card {
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), "genrsa -out k.pem 1024", b"");
    let modulus = openssl(dir.path(), "rsa -in k.pem -noout -modulus", b"");
    let modulus = hex(String::from_utf8(modulus).unwrap().trim().strip_prefix("Modulus=").unwrap());
    let exponent = [1, 0, 1];
    // CN=wtls, as openssl and everybody encodes it.
    let name = hex("300f310d300b06035504030c0477746c73");
    let times = [AT.as_secs() - DAY, AT.as_secs() + DAY].map(|secs| u32::try_from(secs).unwrap());
    let to_be_signed = forge::wtls_to_be_signed(&name, times[0], times[1], &exponent, &modulus);
    let signature = openssl(dir.path(), "dgst -sha1 -sign k.pem -binary", &to_be_signed);
    let mut certificate = forge::wtls_signed(&to_be_signed, &signature);
    change(&mut certificate);
    let spki = openssl(dir.path(), "rsa -in k.pem -pubout -outform DER", b"");
    let identifier = forge::key_identifier(&spki).unwrap();
    let mut card = Card::new(forge::CardKind::Usim);
    let record = card.describe(slot, 0, &certificate, identifier).unwrap();
    card.add_record(slot, record.encode());

    // openssl says what the key is; the engine has to say the same.
    let read = decode(&card::image(&card));
    if let Some(CardCertificate::Wtls { certificate, .. }) = &read.records[0].certificate {
        assert_eq!(certificate.key.spki().unwrap(), spki);
    }
    card
}

#[test]
fn a_wtls_root_counts_under_the_legacy_rules_alone_and_never_for_the_operator() {
    for (slot, kind) in [
        (Slot::ThirdParty, Some(RootKind::ThirdParty)),
        (Slot::Administrator, Some(RootKind::Administrator)),
        (Slot::Operator, None),
    ] {
        let card = wtls_card(slot, |_| {});
        assert_eq!(problems(&card), [""; 0]);
        let read = decode(&card::image(&card));
        assert_eq!(read.candidates(Rules::default()), []);
        let offered = read.candidates(LEGACY);
        assert_eq!(offered.first().map(|candidate| candidate.kind), kind);
        let Some(candidate) = offered.first() else { continue };
        let CandidateCertificate::Wtls(certificate) = candidate.certificate else { panic!("{candidate:?}") };
        assert!(certificate.is_self_issued());
        assert_eq!(certificate.subject.to_string(), "CN=wtls");
        assert_eq!(certificate.not_after.as_secs(), AT.as_secs() + DAY);
        let anchor = certificate.anchor().unwrap();
        assert_eq!(WtlsName::X509(anchor.subject), certificate.subject);
    }
}

#[test]
fn a_wtls_root_that_was_changed_is_named_as_damaged() {
    // The last byte of the signature, and a bit of the end of validity.
    let damaged = wtls_card(Slot::ThirdParty, |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(problems(&damaged), ["wtls-signature-wrong"]);
    let prolonged = wtls_card(Slot::ThirdParty, |bytes| bytes[2 + 19 + 4] ^= 0x40);
    assert_eq!(problems(&prolonged), ["wtls-signature-wrong"]);
    let anonymous = wtls_card(Slot::ThirdParty, |bytes| bytes[1] = 0);
    assert_eq!(problems(&anonymous), ["wtls-unsigned"]);
    for change in [
        |b: &mut Vec<u8>| b[0] = 2,
        |b: &mut Vec<u8>| b[1] = 9,
        |b: &mut Vec<u8>| b.push(0),
        |b: &mut Vec<u8>| {
            b.pop();
        },
    ] {
        assert_eq!(problems(&wtls_card(Slot::ThirdParty, change)), ["certificate-malformed"]);
    }
}
