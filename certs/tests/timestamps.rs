//! Timestamps of signatures: what a time forgives, whose times count, and which tokens are refused. Tokens are forged, and
//! made by openssl and through jarsigner, which are the judges of the form.

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

#[path = "support/java.rs"]
mod java;
#[path = "support/openssl.rs"]
mod openssl;
mod support;

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use mexe_certs::{
    Evidence, Limits, RootKind, Timestamp, TrustStore, TrustVerdict, Verification, Voucher, verify,
};
use mexe_forge::cms::stamped;
use mexe_forge::pki::{Authority, KeyKind, Shape, Signer};
use mexe_forge::timestamp::{Defect, token};
use mexe_model::{Reason, SecurityDomain, WallTime};
use openssl::{Bench, TIME, now};
use support::{AT, DAY, earlier, later};

const FILE: &[u8] = b"a program";

fn judge_at(signature: &[u8], store: &TrustStore, at: WallTime) -> Verification {
    let size = FILE.len() as u64;
    verify(Cursor::new(FILE), size, Evidence::Detached(signature), store, at, &Limits::default())
}

#[track_caller]
fn voucher(verification: Verification) -> Voucher {
    match verification.verdict {
        TrustVerdict::Verified(voucher) => voucher,
        other => panic!("expected it verified, got {other:?}"),
    }
}

/// A signer that is valid for ten days, and a timestamping authority of the same domain.
struct Times {
    root: Authority,
    signer: Signer,
    authorities: Authority,
    authority: Signer,
}

impl Times {
    fn new() -> Self {
        Self::with(&Shape { time_stamping: Some(true), ..Shape::at(AT) })
    }

    /// The authority's certificate looks like that.
    fn with(authority: &Shape) -> Self {
        let sound = Shape::at(AT);
        let root = Authority::root("Root", &sound).unwrap();
        let signer = root.signer("Signer", &Shape { not_after: later(10 * DAY), ..sound.clone() }).unwrap();
        let authorities = Authority::root("Times", &sound).unwrap();
        let authority = authorities.signer("Clock", authority).unwrap();
        Self { root, signer, authorities, authority }
    }

    fn store(&self, domain: SecurityDomain) -> TrustStore {
        let mut builder = TrustStore::builder();
        builder.add(RootKind::Operator, "root.pem", self.root.pem().as_bytes(), AT)[0].clone().unwrap();
        let times = self.authorities.pem();
        builder.add_timestamping(domain, "tsa.pem", times.as_bytes(), AT)[0].clone().unwrap();
        builder.build()
    }

    fn signature(&self, at: WallTime, defect: Defect) -> Vec<u8> {
        let stamp = |value: &[u8]| vec![token(&self.authority, value, at, defect).unwrap()];
        stamped(&self.signer, FILE, stamp).unwrap()
    }
}

#[test]
fn a_time_within_the_chains_validity_forgives_that_it_has_expired_since() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let signature = times.signature(later(DAY), Defect::None);
    for at in [later(2 * DAY), later(11 * DAY), later(3000 * DAY)] {
        let voucher = voucher(judge_at(&signature, &store, at));
        assert_eq!(voucher.stamped_at, Some(later(DAY)));
        assert_eq!(voucher.signers[0].timestamp, Timestamp::Counts { at: later(DAY) });
        assert_eq!(voucher.expires.to_string(), "9999-12-31T23:59:59.000Z");
    }
    // Before that time the token says nothing, and the chain does not need it.
    let voucher = voucher(judge_at(&signature, &store, AT));
    assert_eq!((voucher.stamped_at, voucher.expires), (None, later(10 * DAY)));
    assert!(matches!(voucher.signers[0].timestamp, Timestamp::Ignored { .. }));
}

#[test]
fn a_time_outside_the_chains_validity_forgives_nothing() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let after = times.signature(later(11 * DAY), Defect::None);
    let judged = judge_at(&after, &store, later(12 * DAY));
    assert_eq!(judged.verdict.reason(), Some(Reason::CertificateExpired));
    // The signer's certificate begins a day before, the time lies two days before.
    let old = Shape { not_before: earlier(9 * DAY), ..Shape::at(AT) };
    let times = Times::with(&Shape { time_stamping: Some(true), ..old });
    let before = times.signature(earlier(2 * DAY), Defect::None);
    let judged = judge_at(&before, &times.store(SecurityDomain::Operator), later(12 * DAY));
    assert_eq!(judged.verdict.reason(), Some(Reason::CertificateExpired));
}

#[test]
fn a_time_does_not_make_a_chain_valid_before_it_is() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let signature = times.signature(earlier(DAY), Defect::None);
    let judged = judge_at(&signature, &store, earlier(DAY + 1));
    assert_eq!(judged.verdict.reason(), Some(Reason::CertificateNotYetValid));
}

#[test]
fn only_an_authority_of_the_same_domain_counts_and_only_for_that_use() {
    let sound = Times::new();
    let signature = sound.signature(later(DAY), Defect::None);
    let not_critical = Times::with(&Shape { time_stamping: Some(false), ..Shape::at(AT) });
    let for_code = Times::with(&Shape::at(AT));
    let short = Shape { time_stamping: Some(true), not_after: later(3600), ..Shape::at(AT) };
    let expired = Times::with(&short);
    let early = Shape { time_stamping: Some(true), not_before: later(5 * DAY), ..Shape::at(AT) };
    let early = Times::with(&early);
    for (what, signature, store) in [
        ("another domain", signature.clone(), sound.store(SecurityDomain::ThirdParty)),
        ("unknown", signature, support::store(&[(RootKind::Operator, &sound.root)])),
        (
            "not critical",
            not_critical.signature(later(DAY), Defect::None),
            not_critical.store(SecurityDomain::Operator),
        ),
        ("for code", for_code.signature(later(DAY), Defect::None), for_code.store(SecurityDomain::Operator)),
        ("expired", expired.signature(later(DAY), Defect::None), expired.store(SecurityDomain::Operator)),
        ("early", early.signature(later(DAY), Defect::None), early.store(SecurityDomain::Operator)),
    ] {
        let voucher = voucher(judge_at(&signature, &store, later(2 * DAY)));
        assert_eq!(voucher.stamped_at, None, "{what}");
        assert!(matches!(voucher.signers[0].timestamp, Timestamp::Ignored { .. }), "{what}");
        let late = judge_at(&signature, &store, later(11 * DAY));
        assert_eq!(late.verdict.reason(), Some(Reason::CertificateExpired), "{what}");
    }
}

#[test]
fn a_timestamping_root_vouches_for_no_package_and_a_packages_root_for_no_time() {
    let times = Times::new();
    let mut builder = TrustStore::builder();
    builder.add_timestamping(SecurityDomain::Operator, "tsa.pem", times.root.pem().as_bytes(), AT)[0]
        .clone()
        .unwrap();
    let judged = judge_at(&times.signature(AT, Defect::None), &builder.build(), AT);
    assert_eq!(judged.verdict.reason(), Some(Reason::NoRoot));
    let roots = [(RootKind::Operator, &times.root), (RootKind::Operator, &times.authorities)];
    let late = judge_at(&times.signature(AT, Defect::None), &support::store(&roots), later(11 * DAY));
    assert_eq!(late.verdict.reason(), Some(Reason::CertificateExpired));
}

#[test]
fn a_token_that_is_broken_or_for_something_else_is_refused() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let with = |tokens: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| stamped(&times.signer, FILE, tokens).unwrap();
    let sound = |value: &[u8]| token(&times.authority, value, AT, Defect::None).unwrap();
    for (what, signature) in [
        ("critical", times.signature(AT, Defect::CriticalExtension)),
        ("other", times.signature(AT, Defect::ImprintOfOther)),
        ("not named", times.signature(AT, Defect::NotNamed)),
        ("other named", times.signature(AT, Defect::OtherNamed)),
        ("signature", times.signature(AT, Defect::SignatureWrong)),
        ("type", times.signature(AT, Defect::Type)),
        ("version", times.signature(AT, Defect::Version)),
        ("two", with(&|value| vec![sound(value), sound(value)])),
        ("junk", with(&|_| vec![vec![0x30, 0]])),
        ("trailing", with(&|value| vec![[sound(value), vec![5, 0]].concat()])),
    ] {
        let judged = judge_at(&signature, &store, AT);
        assert_eq!(judged.verdict.reason(), Some(Reason::TimestampWrong), "{what}: {:?}", judged.verdict);
        // Whether the authority is known does not matter.
        let judged = judge_at(&signature, &support::store(&[(RootKind::Operator, &times.root)]), AT);
        assert_eq!(judged.verdict.reason(), Some(Reason::TimestampWrong), "{what}");
    }
}

#[test]
fn no_byte_of_a_signature_or_its_token_can_be_changed_to_another_time() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let signature = times.signature(later(DAY), Defect::None);
    let (mut verified, mut refused) = (0, 0);
    for at in 0..signature.len() {
        for bit in [0x01, 0x80] {
            let mut changed = signature.clone();
            changed[at] ^= bit;
            match judge_at(&changed, &store, later(11 * DAY)).verdict {
                // A few bytes mean nothing: the versions of the structures, and algorithms that are only listed.
                TrustVerdict::Verified(voucher) => {
                    verified += 1;
                    assert_eq!(voucher.stamped_at, Some(later(DAY)), "byte {at}");
                }
                TrustVerdict::Refused(_) | TrustVerdict::Untrusted(_) => refused += 1,
            }
        }
    }
    println!("{verified} changes are without effect, {refused} are refused");
    assert!(verified < 20 && refused > 2000, "{verified} {refused}");
}

#[test]
fn a_token_that_rests_on_sha_1_is_as_if_there_were_none() {
    let times = Times::new();
    let store = times.store(SecurityDomain::Operator);
    let signature = times.signature(AT, Defect::ImprintWeak);
    assert_eq!(voucher(judge_at(&signature, &store, AT)).stamped_at, None);
    let late = judge_at(&signature, &store, later(11 * DAY));
    assert_eq!(late.verdict.reason(), Some(Reason::CertificateExpired));
}

#[test]
fn every_kind_of_key_may_stamp() {
    for key in [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384, KeyKind::Rsa2048] {
        let times = Times::with(&Shape { time_stamping: Some(true), ..Shape::at(AT) }.with_key(key));
        let signature = times.signature(later(DAY), Defect::None);
        let judged = judge_at(&signature, &times.store(SecurityDomain::Operator), later(11 * DAY));
        assert_eq!(voucher(judged).stamped_at, Some(later(DAY)), "{key:?}");
    }
}

/// An authority below a root of its own, run by openssl.
fn tsa() -> Bench {
    let bench = Bench::new();
    bench.root("times", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha256");
    bench.certificate("clock", "times", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", TIME, "");
    bench
}

#[test]
fn what_openssl_stamps_counts_in_all_its_forms() {
    let bench = tsa();
    let times = bench.read("times.pem");
    let world = Times::new();
    for (config, query) in [
        ("", "-sha256"),
        ("", "-sha512 -no_nonce"),
        ("accuracy=secs:1,millisecs:500,microsecs:100\nordering=yes\ntsa_name=yes\n", "-sha384"),
        ("ess_cert_id_chain=yes\ness_cert_id_alg=sha1\n", "-sha256"),
        ("ess_cert_id_chain=yes\ness_cert_id_alg=sha512\n", "-sha256"),
        ("clock_precision_digits=6\n", "-sha256"),
    ] {
        bench.tsa("clock", config);
        let before = now();
        let signature = stamped(&world.signer, FILE, |value| vec![bench.token(value, query)]).unwrap();
        let after = now();
        let mut builder = TrustStore::builder();
        builder.add(RootKind::ThirdParty, "root.pem", world.root.pem().as_bytes(), AT)[0].clone().unwrap();
        builder.add_timestamping(SecurityDomain::ThirdParty, "times", &times, now())[0].clone().unwrap();
        let judged = voucher(judge_at(&signature, &builder.build(), later(3000 * DAY)));
        let stamped_at = judged.stamped_at.unwrap_or_else(|| panic!("{config:?}: {:?}", judged.signers));
        assert!((before..=after).contains(&stamped_at), "{config:?}");
    }
}

/// Answers timestamp queries over HTTP, each by openssl, until it is told to end.
fn serve(bench: Arc<Bench>) -> (String, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tsa", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut served = 0;
        for stream in listener.incoming() {
            if !answer(stream.unwrap(), &bench) {
                break;
            }
            served += 1;
        }
        served
    });
    (url, thread)
}

fn answer(stream: TcpStream, bench: &Bench) -> bool {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    if !first.starts_with("POST ") {
        return false;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query).unwrap();
    bench.write("query.tsq", query);
    bench.openssl("ts -reply -config tsa.cnf -queryfile query.tsq -out reply.tsr");
    let reply = bench.read("reply.tsr");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reply.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(&[head.as_bytes(), &reply].concat()).unwrap();
    true
}

#[test]
fn what_jarsigner_had_stamped_outlives_its_signer() {
    let bench = tsa();
    bench.tsa("clock", "");
    let times = bench.read("times.pem");
    let (url, server) = serve(Arc::new(bench));
    let shop = java::Workshop::new();
    shop.jar("plain.jar");
    shop.root("root");
    shop.signer("leaf", "root", "-keyalg EC -groupname secp256r1");
    let package = shop.sign("plain.jar", "signed.jar", "leaf", &format!("-tsa {url}"));
    TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/tsa"))
        .unwrap()
        .write_all(b"END\n")
        .unwrap();
    assert_eq!(server.join().unwrap(), 1);
    let root = shop.keytool("-exportcert -rfc -alias root");
    let store = |known: bool| {
        let mut builder = TrustStore::builder();
        builder.add(RootKind::Operator, "root.pem", &root, now())[0].clone().unwrap();
        if known {
            builder.add_timestamping(SecurityDomain::Operator, "times", &times, now())[0].clone().unwrap();
        }
        builder.build()
    };
    let next_year = WallTime::from_secs(now().as_secs() + 400 * DAY);
    assert!(voucher(support::judge_at(&package, &store(true), next_year)).stamped_at.is_some());
    let unknown = support::judge_at(&package, &store(false), next_year);
    assert_eq!(unknown.verdict.reason(), Some(Reason::CertificateExpired));
    let now_unknown = voucher(support::judge_at(&package, &store(false), now()));
    assert!(matches!(now_unknown.signers[0].timestamp, Timestamp::Ignored { .. }));
}
