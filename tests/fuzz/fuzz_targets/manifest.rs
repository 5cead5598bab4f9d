//! Any manifest and signature file, with a right signature over whatever they say: the two are parted by a byte FF; without
//! one, the signature file is made to fit the manifest. What is verified must have the digest of every entry.
#![no_main]

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use libfuzzer_sys::fuzz_target;
use mexe_certs::{Evidence, RootKind, TrustStore, TrustVerdict};
use mexe_forge::jar::pack;
use mexe_forge::pki::{Authority, Shape, Signer};
use mexe_forge::sealed::sha256;
use mexe_fuzz::{AT, judge};

struct World {
    signer: Signer,
    store: TrustStore,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = Authority::root("Root", &Shape::at(AT)).unwrap();
    let mut builder = TrustStore::builder();
    builder.add(RootKind::Operator, "root", root.certificate(), AT)[0].as_ref().unwrap();
    World { signer: root.signer("Signer", &Shape::at(AT)).unwrap(), store: builder.build() }
});

const ENTRIES: [(&str, &[u8]); 2] = [("a", b"one"), ("b/C.class", b"two")];

fn digest(bytes: &[u8]) -> String {
    BASE64.encode(sha256(bytes))
}

fuzz_target!(|bytes: &[u8]| {
    let mut halves = bytes.splitn(2, |byte| *byte == 0xff);
    let manifest = halves.next().unwrap_or_default();
    let file = match halves.next() {
        Some(file) => file.to_vec(),
        None => {
            let sections: String = ENTRIES
                .iter()
                .map(|(name, _)| format!("\r\nName: {name}\r\nSHA-256-Digest: {}\r\n", digest(b"")))
                .collect();
            let whole = digest(manifest);
            format!("Signature-Version: 1.0\r\nSHA-256-Digest-Manifest: {whole}\r\n{sections}").into_bytes()
        }
    };
    let block = mexe_forge::cms::detached(&WORLD.signer, &file, true, mexe_forge::jar::Defect::None).unwrap();
    let mut parts = vec![
        ("META-INF/MANIFEST.MF".to_owned(), manifest.to_vec()),
        ("META-INF/A.SF".to_owned(), file.clone()),
        ("META-INF/A.EC".to_owned(), block),
    ];
    parts.extend(ENTRIES.map(|(name, content)| (name.to_owned(), content.to_vec())));
    let package = pack(&parts).unwrap();
    if let TrustVerdict::Verified(_) = judge(&package, Evidence::Inside, &WORLD.store, AT).verdict {
        let unwrap = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).unwrap();
            ["\r\n ", "\n ", "\r "].iter().fold(text.to_owned(), |text, wrap| text.replace(wrap, ""))
        };
        let (manifest, file) = (unwrap(manifest), unwrap(&file));
        for (name, content) in ENTRIES {
            let sha512 = "SHA-512-Digest: ";
            let named = |text: &str| {
                text.to_ascii_lowercase().contains(&format!("name: {name}").to_ascii_lowercase())
            };
            assert!(named(&manifest) && named(&file));
            assert!(
                manifest.contains(&digest(content)) || manifest.contains(sha512) || manifest.contains("384"),
                "{name} is not covered"
            );
        }
    }
});
