//! The cases that the JDK's own tests of jarsigner and jar came with, made again: an archive whose two descriptions differ
//! (JDK-8339280), a signed entry that was removed (JDK-8309841), two manifests (JDK-8341775), names twice and names that
//! lead elsewhere (JDK-8345431); and archives by other makers around the same signed files. JDK 17 looks at few of the
//! former, so its opinion is asked on the latter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

#[path = "support/java.rs"]
mod java;
mod support;

use java::{Workshop, now, succeeds};
use mexe_certs::{RootKind, TrustVerdict};
use mexe_forge::jar::pack;
use mexe_model::{Reason, SecurityDomain};
use support::*;

/// A signed package in which this name, wherever it stands between `from` and `to` of the file, is another.
fn renamed(package: &[u8], which: Which, from: &str, to: &str) -> Vec<u8> {
    let directory = (0..package.len()).find(|at| package[*at..].starts_with(b"PK\x01\x02")).unwrap();
    let (local, central) = package.split_at(directory);
    match which {
        Which::Local => [replaced(local, from, to), central.to_vec()].concat(),
        Which::Central => [local.to_vec(), replaced(central, from, to)].concat(),
        Which::Both => replaced(package, from, to),
    }
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Both,
    Central,
    Local,
}

#[test]
fn jdk_8339280_both_descriptions_of_an_entry_must_name_the_same() {
    let world = World::new(RootKind::Operator);
    let package = sample().sign(&world.signer).unwrap();
    assert_verified(&package, &world.store, SecurityDomain::Operator);
    for name in ["META-INF/MANIFEST.MF", "META-INF/SIGNER.SF", "META-INF/SIGNER.EC", "data.bin"] {
        let other = format!("X{}", &name[1..]);
        for which in [Which::Local, Which::Central] {
            let package = renamed(&package, which, name, &other);
            assert_refused(&package, &world.store, Reason::ContainerMalformed);
        }
    }
    // In both it is another entry: one that nobody signed, or a signature that lost its half.
    let both = |name: &str, other: &str| renamed(&package, Which::Both, name, other);
    assert_refused(&both("data.bin", "data.bim"), &world.store, Reason::EntryUnsigned);
    let half = both("META-INF/SIGNER.EC", "META-INF/SIGNEX.EC");
    assert_refused(&half, &world.store, Reason::SignatureMalformed);
    let headless = both("META-INF/MANIFEST.MF", "META-INF/MANIFEST.MG");
    assert_refused(&headless, &world.store, Reason::SignatureMalformed);
}

#[test]
fn jdk_8309841_a_removed_entry_is_missed() {
    let world = World::new(RootKind::Operator);
    for name in ["data.bin", "META-INF/services/com.example.Service"] {
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        parts.retain(|(part, _)| part != name);
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryMissing);
        // Its section removed too: the manifest is not the one that was signed.
        let manifest = part(&mut parts, "META-INF/MANIFEST.MF");
        let text = String::from_utf8(manifest.clone()).unwrap();
        let begins = text.find(&format!("Name: {name}\r\n")).unwrap();
        let ends = begins + text[begins..].find("\r\n\r\n").unwrap() + 4;
        *manifest = [&text[..begins], &text[ends..]].concat().into_bytes();
        assert_refused(&pack(&parts).unwrap(), &world.store, Reason::EntryMissing);
    }
}

#[test]
fn jdk_8341775_two_manifests_are_refused_however_they_are_written() {
    let world = World::new(RootKind::Operator);
    for (name, reason) in [
        ("META-INF/MANIFEST.MF", Reason::DuplicateEntry),
        ("meta-inf/MANIFEST.MF", Reason::DuplicateEntry),
        ("META-INF/Manifest.mf", Reason::DuplicateEntry),
        ("META-INF/sub/MANIFEST.MF", Reason::EntryUnsigned),
    ] {
        for first in [true, false] {
            // Made under a name of the same length, then renamed: no maker writes it twice.
            let stand_in = format!("{}Z", &name[..name.len() - 1]);
            let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
            let second = (stand_in.clone(), b"Manifest-Version: 1.0\r\n\r\n".to_vec());
            parts.insert(if first { 0 } else { parts.len() }, second);
            let package = replaced(&pack(&parts).unwrap(), &stand_in, name);
            assert_refused(&package, &world.store, reason);
        }
    }
}

#[test]
fn jdk_8345431_names_twice_and_names_that_lead_elsewhere_are_refused() {
    let world = World::new(RootKind::Operator);
    let with = |name: &str| {
        let stand_in = "z".repeat(name.len());
        let mut parts = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        parts.push((stand_in.clone(), b"more".to_vec()));
        replaced(&pack(&parts).unwrap(), &stand_in, name)
    };
    for name in ["data.bin", "com/example/Main.class", "META-INF/A.SF", "META-INF/a.sf"] {
        assert_refused(&with(name), &world.store, Reason::DuplicateEntry);
    }
    for name in [
        "../x.txt",
        "a/../x",
        "/data.bin",
        "//x.txt",
        "a//b.txt",
        "./data.b",
        "a\\b.txt",
        "c:\\x.txt",
        "a\rb.txt",
        "a\nb.txt",
        "a\r\nb.txt",
        "a\0b.txt",
        "a/./b.txt",
        "..\\x.txt",
        "\u{7f}xx.txt",
    ] {
        assert_refused(&with(name), &world.store, Reason::ContainerMalformed);
    }
    assert_refused(&with("a:b.txt"), &world.store, Reason::EntryUnsigned);
}

#[test]
fn the_index_and_other_versions_are_entries_like_others() {
    let world = World::new(RootKind::Operator);
    let jar = sample()
        .attribute("Multi-Release", "true")
        .entry("META-INF/INDEX.LIST", "JarIndex-Version: 1.0\n\nsample.jar\ncom/example\n\n")
        .entry("META-INF/versions/17/com/example/Main.class", "newer class bytes");
    let parts = || jar.sign_parts(&[("A", &world.signer)]).unwrap();
    assert_verified(&pack(&parts()).unwrap(), &world.store, SecurityDomain::Operator);
    for name in ["META-INF/INDEX.LIST", "META-INF/versions/17/com/example/Main.class"] {
        let mut changed = parts();
        part(&mut changed, name)[3] ^= 1;
        assert_refused(&pack(&changed).unwrap(), &world.store, Reason::EntryChanged);
        let mut added = sample().sign_parts(&[("A", &world.signer)]).unwrap();
        added.push((name.to_owned(), b"added".to_vec()));
        assert_refused(&pack(&added).unwrap(), &world.store, Reason::EntryUnsigned);
    }
}

#[test]
fn a_wrong_digest_of_any_algorithm_is_wrong_wherever_it_stands() {
    use mexe_forge::jar::SignOptions;
    let world = World::new(RootKind::Operator);
    let options = SignOptions { digests: vec!["SHA-1", "SHA-256"], ..SignOptions::default() };
    let jar = sample().options(options);
    // Of data.bin in the manifest, signed as it stands there: only the entry tells that one of the two is wrong.
    for algorithm in ["SHA-1", "SHA-256"] {
        let parts = jar.sign_parts_with(&[("A", &world.signer)], |manifest: &mut String| {
            if !manifest.starts_with("Name: data.bin") {
                return;
            }
            let at = manifest.find(&format!("{algorithm}-Digest: ")).unwrap() + algorithm.len() + 9;
            let other = if manifest.as_bytes()[at] == b'A' { "B" } else { "A" };
            manifest.replace_range(at..at + 1, other);
        });
        assert_refused(&pack(&parts.unwrap()).unwrap(), &world.store, Reason::EntryChanged);
    }
}

#[test]
fn archives_of_every_usual_maker_verify_around_the_same_signed_files() {
    let shop = Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    shop.signer("leaf", "root", "-keyalg EC -groupname secp256r1");
    let store = shop.store(&[(RootKind::Operator, "root")]);
    let signed = shop.sign("plain.jar", "signed.jar", "leaf", "");
    // What Java's own stream writes: sizes behind the data.
    assert_ne!(signed[6] & 8, 0, "no data descriptor");
    let mut unpack = shop.tool("python3");
    unpack.args(["-c", "import zipfile; zipfile.ZipFile('signed.jar').extractall('files')"]);
    succeeds(unpack);
    let first = "META-INF/MANIFEST.MF META-INF/LEAF.SF META-INF/LEAF.EC META-INF com";
    let python = |how: &str| {
        format!(
            "import os, zipfile\n\
             class Pipe:\n    def __init__(self, f): self.f = f\n    def write(self, b): return self.f.write(b)\n    \
             def flush(self): self.f.flush()\n\
             os.chdir('files')\n\
             f = open('../made.jar', 'wb')\n\
             z = zipfile.ZipFile({how})\n\
             names = '{first}'.split()[:3]\n\
             names += sorted(os.path.join(d, n)[2:] for d, _, ns in os.walk('.') for n in ns)\n\
             [z.write(n) for n in dict.fromkeys(names)]\n\
             z.close()\n"
        )
    };
    let zip =
        |how: &str| vec!["sh".to_owned(), "-c".to_owned(), format!("cd files && {how} ../made.jar {first}")];
    let py = |how: &str| vec!["python3".to_owned(), "-c".to_owned(), python(how)];
    for (what, command) in [
        ("zip", zip("zip -q -r")),
        ("zip without extra fields", zip("zip -q -X -r")),
        ("zip, stored", zip("zip -q -0 -r")),
        ("jar", zip("jar cfM")),
        ("jar, stored", zip("jar cf0M")),
        ("python, stored", py("f, 'w'")),
        ("python, deflated", py("f, 'w', zipfile.ZIP_DEFLATED")),
        ("python to a pipe", py("Pipe(f), 'w', zipfile.ZIP_DEFLATED")),
    ] {
        let _ = std::fs::remove_file(shop.path("made.jar"));
        let mut make = shop.tool(&command[0]);
        make.args(&command[1..]);
        succeeds(make);
        let made = shop.read("made.jar");
        match judge_at(&made, &store, now()).verdict {
            TrustVerdict::Verified(voucher) => assert_eq!(voucher.domain, SecurityDomain::Operator, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let opinion = shop.opinion(&shop.read("made.jar"));
    assert!(opinion.exit == 0 && opinion.says.contains("jar verified."), "{opinion:?}");
}
