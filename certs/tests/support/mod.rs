//! What the tests of this crate share: a fixed time, a world of authorities, and judging bytes.

#![allow(dead_code, unreachable_pub, reason = "every test file uses some of it")]

pub mod exceptions;

use std::io::Cursor;

use mexe_certs::{Evidence, Limits, RootKind, TrustStore, TrustVerdict, Verification};
use mexe_forge::jar::{JarBuilder, Part};
use mexe_forge::pki::{Authority, Shape, Signer};
use mexe_model::{Reason, SecurityDomain, WallTime};

/// The time of all forged worlds: 2026-11-24.
pub const AT: WallTime = WallTime::from_secs(1_795_489_491);
pub const DAY: u64 = 86_400;

pub fn later(seconds: u64) -> WallTime {
    WallTime::from_secs(AT.as_secs() + seconds)
}

pub fn earlier(seconds: u64) -> WallTime {
    WallTime::from_secs(AT.as_secs() - seconds)
}

/// A store of these roots; each must be accepted.
pub fn store(roots: &[(RootKind, &Authority)]) -> TrustStore {
    store_at(roots, AT)
}

/// The same for roots of another time.
pub fn store_at(roots: &[(RootKind, &Authority)], at: WallTime) -> TrustStore {
    let mut builder = TrustStore::builder();
    for (kind, root) in roots {
        for added in builder.add(*kind, "root.pem", root.pem().as_bytes(), at) {
            added.unwrap();
        }
    }
    builder.build()
}

pub fn judge(bytes: &[u8], store: &TrustStore) -> Verification {
    judge_at(bytes, store, AT)
}

pub fn judge_at(bytes: &[u8], store: &TrustStore, at: WallTime) -> Verification {
    mexe_certs::verify(
        Cursor::new(bytes),
        bytes.len() as u64,
        Evidence::Inside,
        store,
        at,
        &Limits::default(),
    )
}

#[track_caller]
pub fn assert_refused(bytes: &[u8], store: &TrustStore, reason: Reason) {
    let verification = judge(bytes, store);
    match &verification.verdict {
        TrustVerdict::Refused(refusal) => assert_eq!(refusal.reason, reason, "{}", refusal.detail),
        other => panic!("expected a refusal for {reason}, got {other:?}"),
    }
    assert!(verification.package.is_none());
}

#[track_caller]
pub fn assert_verified(bytes: &[u8], store: &TrustStore, domain: SecurityDomain) {
    match judge(bytes, store).verdict {
        TrustVerdict::Verified(voucher) => assert_eq!(voucher.domain, domain),
        other => panic!("expected it verified into {domain}, got {other:?}"),
    }
}

/// One domain's root, an issuer below it and a signer, and a store that knows the root.
pub struct World {
    pub root: Authority,
    pub issuer: Authority,
    pub signer: Signer,
    pub store: TrustStore,
}

impl World {
    pub fn new(kind: RootKind) -> Self {
        Self::shaped(kind, &Shape::at(AT))
    }

    /// The signer looks like that; the authorities are sound.
    pub fn shaped(kind: RootKind, signer: &Shape) -> Self {
        let sound = Shape::at(AT);
        let root = Authority::root("Root", &sound).unwrap();
        let issuer = root.intermediate("Issuer", &sound).unwrap();
        let signer = issuer.signer("Signer", signer).unwrap();
        let store = store(&[(kind, &root)]);
        Self { root, issuer, signer, store }
    }
}

/// A package of a few entries.
pub fn sample() -> JarBuilder {
    JarBuilder::new()
        .attribute("MExE-Name", "sample")
        .attribute("MExE-Version", "1.2")
        .entry("com/", "")
        .entry("com/example/Main.class", "class bytes of the main class")
        .entry("META-INF/services/com.example.Service", "com.example.Main\n")
        .entry("META-INF/versions/9/com/example/Main.class", "other class bytes")
        .entry("data.bin", [7_u8; 3000])
}

/// The part of that name.
pub fn part<'a>(parts: &'a mut [Part], name: &str) -> &'a mut Vec<u8> {
    &mut parts.iter_mut().find(|(n, _)| n == name).unwrap().1
}

/// Replaces every occurrence of `from` by `to`, which is as long.
pub fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = out[at..].windows(from.len()).position(|w| w == from.as_bytes()) {
        out[at + found..at + found + from.len()].copy_from_slice(to.as_bytes());
        at += found + from.len();
    }
    out
}
