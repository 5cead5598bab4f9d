//! Changed bytes, anywhere: nothing panics, and nothing whose entries differ from what was signed is ever verified.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::LazyLock;

use mexe_certs::{RootKind, TrustStore, TrustVerdict};
use mexe_forge::jar::{Part, pack};
use proptest::prelude::*;
use support::{AT, World, judge, part, sample};

struct Signed {
    parts: Vec<Part>,
    package: Vec<u8>,
    store: TrustStore,
    root: String,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let world = World::new(RootKind::Operator);
    let parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
    let package = pack(&parts).unwrap();
    assert!(is_verified(&package, &world.store));
    Signed { parts, package, root: world.root.pem(), store: world.store }
});

fn is_verified(bytes: &[u8], store: &TrustStore) -> bool {
    matches!(judge(bytes, store).verdict, TrustVerdict::Verified(_))
}

/// Every file by name, as the zip crate reads them; `None` when it cannot.
fn contents(bytes: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).ok()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        files.insert(file.name().ok()?.into_owned(), content);
    }
    Some(files)
}

/// What a runtime would read: all but the signature block, whose certificates nobody signs.
fn without_block(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files.remove("META-INF/A.EC");
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_verified_package_reads_as_it_was_signed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = SIGNED.package.clone();
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if is_verified(&bytes, &SIGNED.store) {
            let (now, then) = (contents(&bytes).unwrap(), contents(&SIGNED.package).unwrap());
            prop_assert_eq!(without_block(now), without_block(then));
        }
    }

    #[test]
    fn a_changed_file_is_never_verified(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut parts = SIGNED.parts.clone();
        let names: Vec<_> =
            parts.iter().filter(|(name, b)| !b.is_empty() && name != "META-INF/A.EC").map(|p| p.0.clone()).collect();
        let content = part(&mut parts, &names[which.index(names.len())]);
        let at = at.index(content.len());
        content[at] ^= flip;
        prop_assert!(!is_verified(&pack(&parts).unwrap(), &SIGNED.store));
    }

    #[test]
    fn a_changed_block_is_never_another_verdict_than_refused_or_untrusted_or_the_same(
        at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut parts = SIGNED.parts.clone();
        let block = part(&mut parts, "META-INF/A.EC");
        let at = at.index(block.len());
        block[at] ^= flip;
        let changed = judge(&pack(&parts).unwrap(), &SIGNED.store).verdict;
        if let TrustVerdict::Verified(voucher) = changed {
            let TrustVerdict::Verified(before) = judge(&SIGNED.package, &SIGNED.store).verdict else { panic!() };
            prop_assert_eq!(voucher.signers[0].key, before.signers[0].key);
        }
    }

    #[test]
    fn cut_and_joined_packages_do_not_panic(
        from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), times in 0..3_usize,
    ) {
        let package = &SIGNED.package;
        let (from, to) = (from.index(package.len()), to.index(package.len()));
        let piece = &package[from.min(to)..from.max(to)];
        let bytes = [&package[..from], &piece.repeat(times), &package[to..]].concat();
        prop_assert!(bytes == *package || !is_verified(&bytes, &SIGNED.store));
    }

    #[test]
    fn any_bytes_are_no_root_and_no_package(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(!is_verified(&bytes, &SIGNED.store));
        let mut builder = TrustStore::builder();
        prop_assert!(builder.add(RootKind::Operator, "x", &bytes, AT).iter().all(Result::is_err));
    }

    #[test]
    fn a_damaged_root_is_named_or_is_another_key(at in any::<prop::sample::Index>(), flip in 1..=127_u8) {
        let mut pem = SIGNED.root.clone().into_bytes();
        let at = at.index(pem.len());
        pem[at] ^= flip;
        let mut builder = TrustStore::builder();
        let added = builder.add(RootKind::Operator, "x", &pem, AT);
        let store = builder.build();
        prop_assert_eq!(added.iter().filter(|a| a.is_ok()).count(), store.roots().len());
    }

    #[test]
    fn random_manifests_do_not_panic(text in "(([A-Za-z-]{0,9}(: ?)?|Name: a| )[ -~]{0,80}(\r\n|\n|\r){0,3}){0,12}") {
        let mut parts = SIGNED.parts.clone();
        for name in ["META-INF/MANIFEST.MF", "META-INF/A.SF"] {
            let before = std::mem::replace(part(&mut parts, name), text.clone().into_bytes());
            prop_assert!(!is_verified(&pack(&parts).unwrap(), &SIGNED.store));
            *part(&mut parts, name) = before;
        }
    }
}
