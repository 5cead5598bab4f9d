//! Certificates and revocation lists that openssl made, each sound or wrong in one way: our verdict on what their keys signed,
//! and for lists also what `openssl verify -crl_check_all` says of the same files.

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

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use mexe_certs::{Evidence, Limits, RootKind, TrustStore, TrustVerdict};
use mexe_model::{Reason, WallTime};

const CONTENT: &[u8] = b"#!/bin/sh\necho an app\n";

/// Extensions of sound certificates.
const ROOT: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash";
const ISSUER: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
                      subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid";
const SIGNER: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=codeSigning\n\
                      subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid";

/// A folder with a root, an issuer below it and a signer, by openssl.
struct Lab {
    folder: tempfile::TempDir,
}

struct Plan<'a> {
    root: &'a str,
    issuer: &'a str,
    signer: &'a str,
    signer_key: &'a str,
    digest: &'a str,
}

const SOUND: Plan<'static> =
    Plan { root: ROOT, issuer: ISSUER, signer: SIGNER, signer_key: EC, digest: "-sha256" };
const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";

impl Lab {
    fn new(plan: &Plan<'_>) -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        for (name, extensions) in [("root", plan.root), ("issuer", plan.issuer), ("signer", plan.signer)] {
            let config = format!(
                "[req]\ndistinguished_name=dn\n[dn]\n[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\n\
                 crlnumber={name}.number\ndefault_md=sha256\n[ext]\n{extensions}\n"
            );
            lab.write(&format!("{name}.cnf"), config.as_bytes());
            lab.write(&format!("{name}.index"), b"");
            lab.write(&format!("{name}.number"), b"01\n");
        }
        lab.run(&format!(
            "req -x509 -config root.cnf -extensions ext -nodes {EC} -keyout root.key -subj /CN=Root -days 3650 -out root.pem"
        ));
        for (name, by, key) in [("issuer", "root", EC), ("signer", "issuer", plan.signer_key)] {
            lab.run(&format!(
                "req -config {name}.cnf -nodes {key} -keyout {name}.key -subj /CN={name} -out {name}.csr"
            ));
            lab.run(&format!(
                "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -set_serial 0x{} -days 365 {} \
                 -extfile {name}.cnf -extensions ext -out {name}.pem",
                if name == "issuer" { "1001" } else { "2002" },
                plan.digest,
            ));
        }
        lab
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn openssl(&self, arguments: &str) -> std::process::Output {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        command.output().unwrap_or_else(|error| panic!("`openssl` cannot be run: {error}; install openssl"))
    }

    fn run(&self, arguments: &str) {
        let output = self.openssl(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A list by that authority, in which these serial numbers are revoked.
    fn list(&self, by: &str, revoked: &[&str]) -> String {
        let entry = |serial: &&str| format!("R\t401231235959Z\t250101000000Z\t{serial}\tunknown\t/CN=x\n");
        self.write(&format!("{by}.index"), revoked.iter().map(entry).collect::<String>().as_bytes());
        let name = format!("{by}.crl");
        self.run(&format!(
            "ca -gencrl -config {by}.cnf -keyfile {by}.key -cert {by}.pem -crldays 30 -out {name}"
        ));
        name
    }

    fn store(&self, lists: &[String]) -> TrustStore {
        let mut builder = TrustStore::builder();
        builder.add(RootKind::Operator, "root.pem", &self.read("root.pem"), support::AT);
        for list in lists {
            builder.add_list(list, &self.read(list))[0].as_ref().unwrap();
        }
        builder.build()
    }

    fn judged(&self, lists: &[String], at: WallTime) -> TrustVerdict {
        self.write("app.bin", CONTENT);
        self.run(
            "cms -sign -binary -md sha256 -signer signer.pem -inkey signer.key -certfile issuer.pem -in app.bin -outform DER \
             -out app.p7s",
        );
        let signature = self.read("app.p7s");
        mexe_certs::verify(
            Cursor::new(CONTENT),
            CONTENT.len() as u64,
            Evidence::Detached(&signature),
            &self.store(lists),
            at,
            &Limits::default(),
        )
        .verdict
    }
}

/// The files were made now, so they are judged now.
fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime::from_secs(since.as_secs() + 60)
}

#[track_caller]
fn expect(plan: &Plan<'_>, reason: Option<Reason>) {
    let verdict = Lab::new(plan).judged(&[], now());
    assert_eq!(verdict.reason(), reason, "{verdict:?}");
}

#[test]
fn a_sound_chain_by_openssl_vouches() {
    expect(&SOUND, None);
    // Nor are key identifiers: openssl itself may leave them out.
    let bare = SIGNER.replace("\nauthorityKeyIdentifier=keyid", "");
    expect(&Plan { signer: &bare, ..SOUND }, None);
    let bare = ISSUER.replace("subjectKeyIdentifier=hash\n", "");
    expect(&Plan { issuer: &bare, ..SOUND }, None);
    // Neither an authority's nor anybody's key usage is needed.
    let bare = ISSUER.replace("keyUsage=critical,keyCertSign,cRLSign\n", "");
    expect(&Plan { issuer: &bare, ..SOUND }, None);
    let bare = SIGNER.replace("keyUsage=digitalSignature\n", "");
    expect(&Plan { signer: &bare, ..SOUND }, None);
    expect(&Plan { issuer: &format!("{ISSUER}\nextendedKeyUsage=codeSigning"), ..SOUND }, None);
}

#[test]
fn what_a_signer_by_openssl_lacks_is_named() {
    for (from, to, reason) in [
        ("extendedKeyUsage=codeSigning\n", "", Reason::UsageNotCodeSigning),
        ("codeSigning", "anyExtendedKeyUsage", Reason::UsageNotCodeSigning),
        // An arc above 127, which webpki's decimal form gets wrong.
        ("codeSigning", "1.3.6.1.4.1.55555.1", Reason::UsageNotCodeSigning),
        ("keyUsage=digitalSignature", "keyUsage=keyEncipherment", Reason::UsageNotCodeSigning),
        ("CA:FALSE", "CA:TRUE", Reason::CertificateMalformed),
    ] {
        assert!(SIGNER.contains(from));
        expect(&Plan { signer: &SIGNER.replace(from, to), ..SOUND }, Some(reason));
    }
    let critical = format!("{SIGNER}\n1.2.3.4=critical,ASN1:NULL");
    expect(&Plan { signer: &critical, ..SOUND }, Some(Reason::CertificateMalformed));
    // The same extension, not critical.
    expect(&Plan { signer: &format!("{SIGNER}\n1.2.3.4=ASN1:NULL"), ..SOUND }, None);
}

#[test]
fn what_an_issuer_by_openssl_lacks_is_named() {
    for (from, to) in [("CA:TRUE", "CA:FALSE"), ("keyCertSign,cRLSign", "cRLSign")] {
        assert!(ISSUER.contains(from));
        expect(&Plan { issuer: &ISSUER.replace(from, to), ..SOUND }, Some(Reason::CertificateMalformed));
    }
    let other = format!("{ISSUER}\nextendedKeyUsage=serverAuth");
    expect(&Plan { issuer: &other, ..SOUND }, Some(Reason::UsageNotCodeSigning));
    // Even a matching one: the path checker takes such constraints as never matching.
    let named = format!("{ISSUER}\nnameConstraints=critical,permitted;dirName:here\n[here]\nCN=signer");
    expect(&Plan { issuer: &named, ..SOUND }, Some(Reason::CertificateMalformed));
    let place = format!("{ISSUER}\nnameConstraints=critical,permitted;URI:example.com");
    let there = format!("{SIGNER}\nsubjectAltName=URI:https://example.com/app");
    expect(&Plan { issuer: &place, signer: &there, ..SOUND }, Some(Reason::CertificateMalformed));
}

#[test]
fn a_path_longer_than_the_root_allows_is_refused() {
    let short = ROOT.replace("CA:TRUE", "CA:TRUE,pathlen:0");
    expect(&Plan { root: &short, ..SOUND }, Some(Reason::CertificateMalformed));
    let enough = ROOT.replace("CA:TRUE", "CA:TRUE,pathlen:1");
    expect(&Plan { root: &enough, ..SOUND }, None);
}

#[test]
fn keys_and_algorithms_are_those_of_the_policy() {
    for (key, reason) in [
        ("-newkey rsa:2048", None),
        ("-newkey rsa:3072", None),
        ("-newkey rsa:1024", Some(Reason::KeyTooSmall)),
        ("-newkey rsa:2047", Some(Reason::KeyTooSmall)),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384", None),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-521", None),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", Some(Reason::AlgorithmWeak)),
    ] {
        expect(&Plan { signer_key: key, ..SOUND }, reason);
    }
    expect(&Plan { digest: "-sha1", ..SOUND }, Some(Reason::AlgorithmWeak));
    expect(&Plan { digest: "-sha384", ..SOUND }, None);
}

/// Whether openssl accepts the chain with the same lists at that time.
fn openssl_accepts(lab: &Lab, lists: &[String], at: WallTime) -> bool {
    let all: Vec<u8> = lists.iter().flat_map(|list| lab.read(list)).collect();
    lab.write("all.crl", &all);
    let output = lab.openssl(&format!(
        "verify -attime {} -crl_check_all -CRLfile all.crl -CAfile root.pem -untrusted issuer.pem signer.pem",
        at.as_secs()
    ));
    assert!(Path::new(&lab.path("all.crl")).exists());
    output.status.success()
}

#[test]
fn openssl_agrees_on_who_is_revoked() {
    let lab = Lab::new(&SOUND);
    let late = WallTime::from_secs(now().as_secs() + 40 * 86_400);
    for (root, issuer, at, reason) in [
        (&[][..], &[][..], now(), None),
        (&["1001"], &[], now(), Some(Reason::CertificateRevoked)),
        (&[], &["2002"], now(), Some(Reason::CertificateRevoked)),
        // The other's serial number.
        (&["2002"], &["1001"], now(), None),
        (&[], &[], late, Some(Reason::RevocationStale)),
    ] {
        let lists = [lab.list("root", root), lab.list("issuer", issuer)];
        let verdict = lab.judged(&lists, at);
        assert_eq!(verdict.reason(), reason, "{verdict:?}");
        assert_eq!(openssl_accepts(&lab, &lists, at), reason.is_none(), "{root:?} {issuer:?}");
    }
}

#[test]
fn lists_that_do_not_say_all_that_was_revoked_are_refused_by_name() {
    let lab = Lab::new(&SOUND);
    for (number, extensions, how, code) in [
        ("crlnumber=root.number\n", "2.5.29.27=critical,ASN1:INTEGER:1", "", "list-delta"),
        (
            "crlnumber=root.number\n",
            "issuingDistributionPoint=critical,@scope\n[scope]\nindirectCRL=TRUE",
            "",
            "list-indirect",
        ),
        (
            "crlnumber=root.number\n",
            "issuingDistributionPoint=critical,@scope\n[scope]\nonlyCA=TRUE",
            "",
            "list-partial",
        ),
        ("crlnumber=root.number\n", "1.2.3.4=critical,ASN1:NULL", "", "list-unknown-extension"),
        ("", "authorityKeyIdentifier=keyid", "", "list-without-number"),
        ("crlnumber=root.number\n", "authorityKeyIdentifier=keyid", "-md sha1", "list-algorithm-weak"),
    ] {
        let config = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase=root.index\n{number}default_md=sha256\n[more]\n{extensions}\n"
        );
        lab.write("more.cnf", config.as_bytes());
        lab.run(&format!(
            "ca -gencrl -config more.cnf -crlexts more -keyfile root.key -cert root.pem -crldays 30 {how} -out more.crl"
        ));
        let mut builder = TrustStore::builder();
        let added = builder.add_list("more.crl", &lab.read("more.crl"));
        let [Err(problem)] = added.as_slice() else { panic!("{code}: {added:?}") };
        assert_eq!(problem.code(), code, "{problem}");
    }
}
