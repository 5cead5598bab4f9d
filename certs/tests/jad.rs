//! MIDlet suites: a JAR with an application descriptor, signed and unsigned, sound and broken in one way each. The table of
//! MIDP 2.0 for signed suites is the contract.

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

use std::io::Cursor;

use mexe_certs::{
    Evidence, Limits, RequestedAction, RootKind, Rules, Runtime, TrustStore, TrustVerdict, Untrusted,
    Verification, verify,
};
use mexe_forge::jad::JadBuilder;
use mexe_forge::jar::JarBuilder;
use mexe_forge::pki::{KeyKind, Shape};
use mexe_model::{Reason, SecurityDomain, WallTime};
use openssl::{Bench, CODE, now};
use support::{AT, World, later};

fn suite() -> JarBuilder {
    JarBuilder::new()
        .attribute("MIDlet-Name", "Sample")
        .attribute("MIDlet-Version", "1.0.2")
        .attribute("MIDlet-Vendor", "Example")
        .attribute("MIDlet-1", "Sample, /icon.png, com.example.Sample")
        .entry("com/example/Sample.class", "class bytes")
}

fn descriptor(package: &[u8]) -> JadBuilder {
    JadBuilder::for_package(package)
        .attribute("MIDlet-Name", "Sample")
        .attribute("MIDlet-Version", "1.0.2")
        .attribute("MIDlet-Vendor", "Example")
        .attribute("MIDlet-Jar-URL", "http://example.com/sample.jar")
}

fn judge_at(package: &[u8], descriptor: &str, store: &TrustStore, at: WallTime) -> Verification {
    let evidence = Evidence::Descriptor(descriptor.as_bytes());
    verify(Cursor::new(package), package.len() as u64, evidence, store, at, &Limits::default())
}

fn judge(package: &[u8], descriptor: &JadBuilder, store: &TrustStore) -> Verification {
    judge_at(package, &descriptor.build(), store, AT)
}

#[track_caller]
fn assert_reason(what: &str, verification: &Verification, reason: Reason) {
    assert_eq!(verification.verdict.reason(), Some(reason), "{what}: {:?}", verification.verdict);
}

#[track_caller]
fn assert_refused(what: &str, verification: &Verification, reason: Reason) {
    assert_reason(what, verification, reason);
    assert!(matches!(verification.verdict, TrustVerdict::Refused(_)), "{what}: {:?}", verification.verdict);
}

#[track_caller]
fn assert_domain(what: &str, verification: &Verification, domain: SecurityDomain) {
    match &verification.verdict {
        TrustVerdict::Verified(voucher) => assert_eq!(voucher.domain, domain, "{what}"),
        other => panic!("{what}: expected it verified into {domain}, got {other:?}"),
    }
}

fn rsa() -> Shape {
    Shape::at(AT).with_key(KeyKind::Rsa2048)
}

#[test]
fn a_descriptor_signs_a_package_that_has_no_signature_of_its_own() {
    let world = World::shaped(RootKind::Operator, &rsa());
    let package = suite().unsigned().unwrap();
    let signed = descriptor(&package).sign(&package, &world.signer).unwrap();
    let judged = judge(&package, &signed, &world.store);
    assert_domain("signed", &judged, SecurityDomain::Operator);
    let facts = judged.package.unwrap();
    assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("Sample"), Some("1.0.2")));
    assert_eq!(facts.runtime, Runtime::Jar);
    let TrustVerdict::Verified(voucher) = judged.verdict else { panic!("verified") };
    assert_eq!((voucher.signers[0].signature, voucher.legacy), ("SHA256withRSA", false));
    assert_eq!(voucher.signers[0].chain.len(), 2);
}

#[test]
fn the_table_of_midp_for_signed_suites_holds() {
    let world = World::shaped(RootKind::Operator, &rsa());
    let package = suite().unsigned().unwrap();
    let plain = descriptor(&package);
    let signed = plain.clone().sign(&package, &world.signer).unwrap();

    let unsigned = judge(&package, &plain, &world.store);
    assert!(matches!(unsigned.verdict, TrustVerdict::Untrusted(Untrusted::Unsigned { .. })));

    let elsewhere = World::new(RootKind::Operator);
    assert_refused("no root", &judge(&package, &signed, &elsewhere.store), Reason::NoRoot);

    let late = judge_at(&package, &signed.build(), &world.store, later(4000 * support::DAY));
    assert_refused("expired", &late, Reason::CertificateExpired);

    let broken = signed.clone().binary("MIDlet-Certificate-1-1", b"no certificate");
    assert_refused("rejected", &judge(&package, &broken, &world.store), Reason::CertificateMalformed);
    let no_code = Shape { code_signing: false, ..rsa() };
    let no_code = world.issuer.signer("Signer", &no_code).unwrap();
    let other = plain.clone().sign(&package, &no_code).unwrap();
    assert_refused("usage", &judge(&package, &other, &world.store), Reason::UsageNotCodeSigning);

    let wrong = signed.clone().binary("MIDlet-Jar-RSA-SHA256", &[7; 256]);
    assert_refused("signature", &judge(&package, &wrong, &world.store), Reason::SignatureWrong);
    let mut changed = package.clone();
    let at = changed.windows(11).position(|w| w == b"com/example").unwrap();
    changed[at] = b'k';
    assert_refused("changed", &judge(&changed, &signed, &world.store), Reason::SignatureWrong);

    assert_domain("good", &judge(&package, &signed, &world.store), SecurityDomain::Operator);
}

#[test]
fn ways_are_tried_in_order_and_the_first_that_holds_decides() {
    // openssl certifies one key by several authorities; the forge makes a key with each certificate.
    let bench = Bench::new();
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    let package = suite().unsigned().unwrap();
    bench.write("suite.jar", &package);
    bench.write("extensions", CODE);
    bench.key("signer", rsa);
    bench.openssl("req -new -key signer.key -subj /CN=signer -out signer.csr");
    for (root, days) in [("operator", 365), ("maker", 365), ("soon", 1), ("stranger", 365)] {
        bench.root(root, rsa, "-sha256");
        bench.openssl(&format!(
            "x509 -req -in signer.csr -CA {root}.pem -CAkey {root}.key -CAcreateserial -days {days} \
             -extfile extensions -out by-{root}.pem"
        ));
    }
    let signature = bench.openssl("dgst -sha256 -sign signer.key suite.jar").stdout;
    let store = bench.store(&[
        (RootKind::Operator, "operator"),
        (RootKind::Manufacturer, "maker"),
        (RootKind::ThirdParty, "soon"),
    ]);
    let tomorrow = WallTime::from_secs(now().as_secs() + 2 * support::DAY);
    let ways = |roots: &[&str]| {
        let mut signed = descriptor(&package).binary("MIDlet-Jar-RSA-SHA256", &signature);
        for (n, root) in (1..).zip(roots) {
            signed = signed.way(n, &[bench.der(&format!("by-{root}"))]);
        }
        judge_at(&package, &signed.build(), &store, tomorrow)
    };
    assert_domain("operator", &ways(&["operator", "maker"]), SecurityDomain::Operator);
    assert_domain("maker", &ways(&["maker", "operator"]), SecurityDomain::Manufacturer);
    assert_domain("stranger", &ways(&["stranger", "maker"]), SecurityDomain::Manufacturer);
    assert_domain("expired", &ways(&["soon", "stranger", "operator"]), SecurityDomain::Operator);
    assert_refused("none", &ways(&["stranger"]), Reason::NoRoot);
    assert_refused("worse", &ways(&["stranger", "soon"]), Reason::CertificateExpired);
}

#[test]
fn what_descriptor_and_manifest_both_say_must_be_equal() {
    let world = World::shaped(RootKind::Operator, &rsa());
    let package = suite().attribute("X-Note", "a").unsigned().unwrap();
    for (name, value, signed, unsigned) in [
        ("MIDlet-Name", "Other", Some(Reason::DescriptorMismatch), Reason::DescriptorMismatch),
        ("MIDlet-Version", "1.0.3", Some(Reason::DescriptorMismatch), Reason::DescriptorMismatch),
        ("MIDlet-Vendor", "Others", Some(Reason::DescriptorMismatch), Reason::DescriptorMismatch),
        ("MIDlet-1", "Sample, , com.example.Other", Some(Reason::DescriptorMismatch), Reason::Unsigned),
        ("X-Note", "b", Some(Reason::DescriptorMismatch), Reason::Unsigned),
        ("x-note", "b", Some(Reason::DescriptorMismatch), Reason::Unsigned),
        ("MIDlet-Permissions", "", Some(Reason::DescriptorMismatch), Reason::Unsigned),
        ("MExE-QoS-Profile", "fast", Some(Reason::DescriptorMismatch), Reason::Unsigned),
        ("X-Note", "a", None, Reason::Unsigned),
        ("X-Other", "only here", None, Reason::Unsigned),
        ("MIDlet-Jar-Size", "7", Some(Reason::DescriptorMismatch), Reason::DescriptorMismatch),
        ("MIDlet-Jar-Size", "+1", Some(Reason::DescriptorMalformed), Reason::DescriptorMalformed),
        ("MIDlet-Name", "", Some(Reason::DescriptorMalformed), Reason::DescriptorMalformed),
    ] {
        let what = format!("{name}: {value}");
        let plain = descriptor(&package).attribute(name, value);
        assert_reason(&what, &judge(&package, &plain, &world.store), unsigned);
        let judged = judge(&package, &plain.sign(&package, &world.signer).unwrap(), &world.store);
        assert_eq!(judged.verdict.reason(), signed, "{what}: {:?}", judged.verdict);
    }
    // A signed suite must say in its manifest who it is: the descriptor is covered by nothing.
    let silent = JarBuilder::new().entry("a", "b").unsigned().unwrap();
    let plain = descriptor(&silent);
    let judged = judge(&silent, &plain, &world.store);
    assert_reason("silent", &judged, Reason::Unsigned);
    assert_eq!(judged.package.unwrap().name.as_deref(), Some("Sample"));
    let judged = judge(&silent, &plain.sign(&silent, &world.signer).unwrap(), &world.store);
    assert_refused("silent", &judged, Reason::DescriptorMismatch);
}

#[test]
fn a_descriptor_without_signature_leaves_the_package_its_own() {
    let world = World::new(RootKind::Manufacturer);
    let package = suite().sign(&world.signer).unwrap();
    let judged = judge(&package, &descriptor(&package), &world.store);
    assert_domain("its own", &judged, SecurityDomain::Manufacturer);
    let other = descriptor(&package).attribute("MIDlet-1", "Sample, , com.example.Other");
    assert_refused("both", &judge(&package, &other, &world.store), Reason::DescriptorMismatch);
}

#[test]
fn a_package_must_be_sound_also_under_a_signed_descriptor() {
    let world = World::shaped(RootKind::Operator, &rsa());
    let package = [suite().unsigned().unwrap(), b"trailing".to_vec()].concat();
    let signed = descriptor(&package).sign(&package, &world.signer).unwrap();
    assert_refused("trailing", &judge(&package, &signed, &world.store), Reason::ContainerMalformed);
}

#[test]
fn signers_of_a_descriptor_have_one_rsa_key_and_certificates_without_a_gap() {
    let world = World::shaped(RootKind::Operator, &rsa());
    let package = suite().unsigned().unwrap();
    let signed = descriptor(&package).sign(&package, &world.signer).unwrap();
    let other = world.issuer.signer("Other", &rsa()).unwrap();
    let two = signed.clone().way(2, &other.chain);
    assert_refused("two keys", &judge(&package, &two, &world.store), Reason::DescriptorMalformed);
    let gap = signed.clone().way(3, &world.signer.chain);
    assert_refused("gap", &judge(&package, &gap, &world.store), Reason::DescriptorMalformed);
    let none = descriptor(&package).binary("MIDlet-Jar-RSA-SHA256", &[7; 256]);
    assert_refused("none", &judge(&package, &none, &world.store), Reason::DescriptorMalformed);
    let junk = signed.clone().attribute("MIDlet-Jar-RSA-SHA256", "%%%");
    assert_refused("base64", &judge(&package, &junk, &world.store), Reason::DescriptorMalformed);
    let curve = World::new(RootKind::Operator);
    let signed = descriptor(&package).sign(&package, &curve.signer).unwrap();
    assert_refused("curve", &judge(&package, &signed, &curve.store), Reason::DescriptorMalformed);
    let line = judge_at(&package, "MIDlet-Name Sample\n", &world.store, AT);
    assert_refused("line", &line, Reason::DescriptorMalformed);
}

#[test]
fn permissions_become_the_actions_that_they_are() {
    let world = World::new(RootKind::Operator);
    let requested = |needs: &str, wants: &str| {
        let package = suite()
            .attribute("MIDlet-Permissions", needs)
            .attribute("MIDlet-Permissions-Opt", wants)
            .attribute("MExE-Permissions-Opt", "network.qos, nowhere.to-be-found")
            .unsigned()
            .unwrap();
        let judged = judge(&package, &descriptor(&package), &world.store);
        match judged.package {
            Some(package) => Ok(package.requested),
            None => Err(judged.verdict.reason().unwrap()),
        }
    };
    let asked = |action: &str, optional| RequestedAction { action: action.parse().unwrap(), optional };
    let needs = "javax.microedition.io.Connector.http, javax.microedition.io.Connector.https";
    let wants =
        "javax.wireless.messaging.sms.send,javax.microedition.io.Connector.socket,com.example.Unknown";
    assert_eq!(
        requested(needs, wants).unwrap(),
        [asked("network.connect", false), asked("network.qos", true), asked("network.sms", true)]
    );
    assert_eq!(requested("", "").unwrap(), [asked("network.qos", true)]);
    for unknown in
        ["com.example.Unknown", "javax.microedition.io.Connector.HTTP", "network.connect", ",", "a,"]
    {
        assert_eq!(requested(unknown, "").unwrap_err(), Reason::PermissionUnknown, "{unknown}");
    }
    let ours = JarBuilder::new().attribute("MExE-Permissions", "network.connect").entry("a", "b");
    let judged = support::judge(&ours.sign(&world.signer).unwrap(), &world.store);
    assert_eq!(judged.package.unwrap().requested, [asked("network.connect", false)]);
    let unknown = JarBuilder::new().attribute("MExE-Permissions", "nowhere.connect").entry("a", "b");
    support::assert_refused(&unknown.unsigned().unwrap(), &world.store, Reason::PermissionUnknown);
}

#[test]
fn sha_1_signs_a_suite_for_the_third_party_only_and_only_by_the_legacy_rules() {
    let bench = Bench::new();
    let package = suite().unsigned().unwrap();
    bench.write("suite.jar", &package);
    bench.root("root", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-sha256");
    bench.certificate("signer", "root", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", CODE, "");
    let chain = [bench.der("signer")];
    let sign = |digest: &str| bench.openssl(&format!("dgst -{digest} -sign signer.key suite.jar")).stdout;
    let old = descriptor(&package).way(1, &chain).binary("MIDlet-Jar-RSA-SHA1", &sign("sha1"));
    let both = old.clone().binary("MIDlet-Jar-RSA-SHA256", &sign("sha256"));
    let legacy = Rules { legacy: true, ..Rules::default() };
    for kind in RootKind::ALL {
        for rules in [Rules::default(), legacy] {
            let what = format!("{kind:?} {rules:?}");
            let store = bench.builder(&[(kind, "root")], rules).build();
            let judged = judge_at(&package, &old.build(), &store, now());
            if rules.legacy && kind.domain() == SecurityDomain::ThirdParty {
                let TrustVerdict::Verified(voucher) = judged.verdict else { panic!("{what}: {judged:?}") };
                assert!(voucher.legacy, "{what}");
            } else {
                assert_refused(&what, &judged, Reason::AlgorithmWeak);
            }
            let judged = judge_at(&package, &both.build(), &store, now());
            let TrustVerdict::Verified(voucher) = judged.verdict else { panic!("{what}: {judged:?}") };
            assert!(!voucher.legacy, "{what}");
        }
    }
    // Of two signatures each must be right.
    let wrong = both.binary("MIDlet-Jar-RSA-SHA1", &[7; 256]);
    let store = bench.store(&[(RootKind::Operator, "root")]);
    assert_refused("wrong", &judge_at(&package, &wrong.build(), &store, now()), Reason::SignatureWrong);
}
