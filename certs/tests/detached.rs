//! Files with a CMS signature beside them: what openssl makes verifies in every form, and from there every way to break it
//! is refused by its reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs,
    reason = "tests that run outside tools"
)]

#[path = "support/openssl.rs"]
mod openssl;
mod support;

use std::io::{Cursor, Read, Seek, SeekFrom};

use mexe_certs::{Evidence, Limits, RootKind, Runtime, TrustStore, TrustVerdict, Verification, verify};
use mexe_forge::cms::{Defect, detached};
use mexe_forge::pki::{KeyKind, Shape, pem};
use mexe_model::{Reason, SecurityDomain, WallTime};
use openssl::{Bench, CODE, now};
use support::{AT, World};

const FILE: &[u8] = b"\x7fELF some program\r\nwith \0 any bytes\n";

fn judge(file: &[u8], signature: &[u8], store: &TrustStore, at: WallTime) -> Verification {
    let size = file.len() as u64;
    verify(Cursor::new(file), size, Evidence::Detached(signature), store, at, &Limits::default())
}

#[track_caller]
fn assert_reason(what: &str, verification: &Verification, reason: Option<Reason>) {
    assert_eq!(verification.verdict.reason(), reason, "{what}: {:?}", verification.verdict);
}

#[test]
fn what_openssl_signs_verifies_whatever_the_key_and_the_form() {
    let bench = Bench::new();
    bench.write("app.bin", FILE);
    bench.root("root", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-sha384");
    let store = bench.store(&[(RootKind::Manufacturer, "root")]);
    for (name, key, digests) in [
        ("rsa2048", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", &["sha256", "sha384", "sha512"][..]),
        ("rsa3072", "-algorithm RSA -pkeyopt rsa_keygen_bits:3072", &["sha256"]),
        ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", &["sha256", "sha384", "sha512"]),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", &["sha256", "sha384", "sha512"]),
        ("p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", &["sha256", "sha384", "sha512"]),
    ] {
        bench.certificate(name, "root", key, CODE, "");
        for digest in digests {
            for form in ["DER", "PEM"] {
                for how in ["", "-nosmimecap", "-noattr", "-keyid", "-keyid -noattr"] {
                    let what = format!("{name} {digest} {form} {how}");
                    let signature =
                        bench.cms("app.bin", name, &format!("-outform {form} -md {digest} {how}"));
                    assert!(bench.accepts("app.bin", &signature, form, "root"), "openssl refuses {what}");
                    assert_reason(&what, &judge(FILE, &signature, &store, now()), None);
                    let other = judge(b"another program", &signature, &store, now());
                    assert_reason(&what, &other, Some(Reason::SignatureWrong));
                }
            }
        }
    }
}

#[test]
fn pss_verifies_with_both_kinds_of_key_also_in_the_chain() {
    let bench = Bench::new();
    bench.write("app.bin", FILE);
    let pss = "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048";
    let only = format!(
        "{pss} -pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 \
         -pkeyopt rsa_pss_keygen_saltlen:32"
    );
    let plain = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    let salted = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1";
    bench.root("root", pss, &format!("-sha256 {salted}"));
    let store = bench.store(&[(RootKind::Operator, "root")]);
    for (name, key) in [("any", pss), ("only", only.as_str()), ("plain", plain)] {
        bench.certificate(name, "root", key, CODE, &format!("-sha256 {salted}"));
        for how in ["", "-noattr"] {
            let how = format!(
                "-outform DER -md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:-1 {how}"
            );
            let signature = bench.cms("app.bin", name, &how);
            assert!(bench.accepts("app.bin", &signature, "DER", "root"), "openssl refuses {name} {how}");
            let judged = judge(FILE, &signature, &store, now());
            assert_reason(&format!("{name} {how}"), &judged, None);
            let TrustVerdict::Verified(voucher) = judged.verdict else { panic!("verified") };
            assert_eq!(
                (voucher.domain, voucher.signers[0].signature),
                (SecurityDomain::Operator, "RSASSA-PSS")
            );
        }
    }
    // A salt of another length than the digest's is legal, and not accepted.
    let how = "-outform DER -md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:20";
    let signature = bench.cms("app.bin", "plain", how);
    assert!(bench.accepts("app.bin", &signature, "DER", "root"));
    assert_reason("salt", &judge(FILE, &signature, &store, now()), Some(Reason::CertificateMalformed));
}

#[test]
fn ed25519_signs_attributes_and_never_a_file_directly() {
    let world = World::shaped(RootKind::ThirdParty, &Shape::at(AT).with_key(KeyKind::Ed25519));
    let signature = detached(&world.signer, FILE, true, Defect::None).unwrap();
    assert_reason("with attributes", &judge(FILE, &signature, &world.store, AT), None);
    let signature = detached(&world.signer, FILE, false, Defect::None).unwrap();
    let judged = judge(FILE, &signature, &world.store, AT);
    assert_reason("without", &judged, Some(Reason::SignatureMalformed));
}

#[test]
fn the_whole_file_is_the_program_and_says_nothing_of_itself() {
    let world = World::new(RootKind::ThirdParty);
    let signature = detached(&world.signer, FILE, true, Defect::None).unwrap();
    let judged = judge(FILE, &signature, &world.store, AT);
    let package = judged.package.unwrap();
    assert_eq!((package.runtime.as_str(), package.runtime.executable()), ("native", None));
    assert_eq!(package.runtime, Runtime::Program);
    assert_eq!((package.name, package.version, package.entries), (None, None, 0));
    let unsigned =
        verify(Cursor::new(FILE), FILE.len() as u64, Evidence::Inside, &world.store, AT, &Limits::default());
    assert_eq!(unsigned.digest, judged.digest);
}

#[test]
fn what_is_wrong_with_a_signature_or_its_signer_is_refused_by_its_reason() {
    let world = World::new(RootKind::Operator);
    let sound = detached(&world.signer, FILE, true, Defect::None).unwrap();
    let defective = |defect| detached(&world.signer, FILE, true, defect).unwrap();
    for (what, signature, reason) in [
        ("content inside", defective(Defect::ContentInside), Reason::SignatureMalformed),
        ("no signer", defective(Defect::SignerMissing), Reason::SignatureMalformed),
        ("two signers", defective(Defect::SignerTwice), Reason::SignatureMalformed),
        ("another digest", defective(Defect::DigestWrong), Reason::SignatureWrong),
        ("unsorted", defective(Defect::AttributesUnsortedAfterwards), Reason::SignatureMalformed),
        ("empty", Vec::new(), Reason::SignatureMalformed),
        ("cut off", sound[..sound.len() - 1].to_vec(), Reason::SignatureMalformed),
        ("trailing", [sound.as_slice(), b"x"].concat(), Reason::SignatureMalformed),
        ("another PEM", pem("CERTIFICATE", &sound).into_bytes(), Reason::SignatureMalformed),
        ("two PEM blocks", pem("CMS", &sound).repeat(2).into_bytes(), Reason::SignatureMalformed),
        ("too large", vec![0x30; (1 << 20) + 1], Reason::SignatureMalformed),
    ] {
        let judged = judge(FILE, &signature, &world.store, AT);
        assert_reason(what, &judged, Some(reason));
        assert!(judged.package.is_none() && judged.digest != [0; 32], "{what}");
    }
    for end in 0..sound.len() {
        let judged = judge(FILE, &sound[..end], &world.store, AT);
        assert_reason("cut off", &judged, Some(Reason::SignatureMalformed));
    }
    assert_reason("PEM", &judge(FILE, pem("CMS", &sound).as_bytes(), &world.store, AT), None);
    assert_reason("PKCS7", &judge(FILE, pem("PKCS7", &sound).as_bytes(), &world.store, AT), None);
    let stranger = World::new(RootKind::Operator);
    assert_reason("stranger", &judge(FILE, &sound, &stranger.store, AT), Some(Reason::NoRoot));
    let expired = support::later(4000 * support::DAY);
    assert_reason("late", &judge(FILE, &sound, &world.store, expired), Some(Reason::CertificateExpired));
    let no_code = World::shaped(RootKind::Operator, &Shape { code_signing: false, ..Shape::at(AT) });
    let signature = detached(&no_code.signer, FILE, true, Defect::None).unwrap();
    let judged = judge(FILE, &signature, &no_code.store, AT);
    assert_reason("usage", &judged, Some(Reason::UsageNotCodeSigning));
}

/// A file of that many bytes that exists nowhere, and counts what is read of it.
struct Endless {
    size: u64,
    at: u64,
    read: u64,
    largest: usize,
}

impl Read for Endless {
    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        let length = piece.len().min(usize::try_from(self.size - self.at).unwrap());
        piece[..length].fill(0x5a);
        self.at += length as u64;
        self.read += length as u64;
        self.largest = self.largest.max(piece.len());
        Ok(length)
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let SeekFrom::Start(at) = to else { panic!("only from the start") };
        self.at = at;
        Ok(at)
    }
}

#[test]
fn a_large_file_is_read_once_and_in_small_pieces() {
    let size = 24 << 20;
    let world = World::new(RootKind::Operator);
    let signature = detached(&world.signer, &vec![0x5a; size], false, Defect::None).unwrap();
    let size = size as u64;
    let mut file = Endless { size, at: 0, read: 0, largest: 0 };
    let evidence = Evidence::Detached(&signature);
    let judged = verify(&mut file, size, evidence, &world.store, AT, &Limits::default());
    assert_reason("large", &judged, None);
    assert_eq!(file.read, size);
    assert!(file.largest <= 64 * 1024, "{}", file.largest);
    let small = Limits { package: size - 1, ..Limits::default() };
    let judged = verify(&mut file, size, evidence, &world.store, AT, &small);
    assert_reason("too large", &judged, Some(Reason::PackageTooLarge));
    let judged = verify(&mut file, size + 1, evidence, &world.store, AT, &Limits::default());
    assert_reason("another size", &judged, Some(Reason::ContainerMalformed));
}
