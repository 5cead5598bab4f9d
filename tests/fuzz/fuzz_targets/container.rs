//! Any bytes as a JAR. Both ways of judging must answer the same, and what is verified must read as it was signed.
#![no_main]

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mexe_certs::{
    Evidence, Part, Source, TrustStore, TrustVerdict, WholeDigest, read_entry, verify_in_parts,
};
use mexe_fuzz::{AT, builder, judge, limits};

static STORE: LazyLock<TrustStore> = LazyLock::new(|| builder().build());
/// The entries of every package that the world's signers signed.
static SIGNED: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let package = include_bytes!("../world/signed.jar");
    let names = ["com/example/Main.class", "data.bin"];
    names.into_iter().map(|name| (name, entry(package, name).unwrap())).collect()
});

fn entry(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    read_entry(Cursor::new(bytes), bytes.len() as u64, name, &limits()).ok()
}

fuzz_target!(|bytes: &[u8]| {
    let judged = judge(bytes, Evidence::Inside, &STORE, AT);
    let source =
        Source { open: || Ok(Cursor::new(bytes)), size: bytes.len() as u64, digest: WholeDigest::Wanted };
    let one_by_one = |parts: Vec<Part<'_, _>>| parts.into_iter().rev().map(Part::run).collect();
    let (in_parts, _) = verify_in_parts(&source, Evidence::Inside, &STORE, AT, &limits(), one_by_one);
    match (&judged.verdict, &in_parts.verdict) {
        // With several faults each way may name another one first.
        (TrustVerdict::Refused(_), TrustVerdict::Refused(_)) => {}
        (one, other) => assert_eq!(one, other),
    }
    if let TrustVerdict::Verified(_) = judged.verdict {
        for (name, content) in &*SIGNED {
            assert_eq!(entry(bytes, name).as_ref(), Some(content), "{name}");
        }
    }
});
