//! Packages at the door: each broken one is refused by its own reason, offline and at the gate alike, and leaves nothing
//! behind; who may take whose name.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mexe_forge::jar::{JarBuilder, Part, SignOptions, pack};
use mexe_forge::pki::{Authority, Branch, Shape, Signer};
use mexe_model::{SecurityDomain, WallTime};
use rig::cli::code;
use rig::packages::{now, write};
use rig::{Control, Output, Rig};
use serde_json::json;

const HOUR: u64 = 3600;

fn sample() -> JarBuilder {
    JarBuilder::new()
        .attribute("MExE-Name", "sample")
        .attribute("MExE-Version", "1.2")
        .entry("com/example/Main.class", "class bytes of the main class")
        .entry("data.bin", [7_u8; 3000])
        .entry("more.bin", [8_u8; 300])
}

fn branch(rig: &Rig, domain: SecurityDomain) -> &Branch {
    rig.packages().demo().pki.branch(domain).expect("a demo has a branch for each domain")
}

fn parts(rig: &Rig) -> Vec<Part> {
    sample().sign_parts(&[("A", &branch(rig, SecurityDomain::Operator).signer)]).unwrap()
}

fn part<'a>(parts: &'a mut [Part], name: &str) -> &'a mut Vec<u8> {
    &mut parts.iter_mut().find(|(own, _)| own == name).expect("there is such a part").1
}

/// The sample, its files changed after signing.
fn changed(rig: &Rig, change: impl FnOnce(&mut Vec<Part>)) -> Vec<u8> {
    let mut parts = parts(rig);
    change(&mut parts);
    pack(&parts).unwrap()
}

/// The sample, signed by a signer of that shape below the operator's root.
fn shaped(rig: &Rig, change: impl FnOnce(&mut Shape)) -> Vec<u8> {
    let mut shape = Shape::at(now());
    change(&mut shape);
    sample().sign(&branch(rig, SecurityDomain::Operator).issuer.signer("Signer", &shape).unwrap()).unwrap()
}

/// Every kind of broken package, and its reason.
fn broken(rig: &Rig) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let operator = &branch(rig, SecurityDomain::Operator).signer;
    let third = &branch(rig, SecurityDomain::ThirdParty).signer;
    let good = sample().sign(operator).unwrap();
    let late = |seconds: u64| WallTime::from_secs(now().as_secs() - seconds);
    let twice = {
        let renamed = changed(rig, |_| ());
        let bytes: Vec<u8> = renamed.clone();
        replaced(&bytes, b"more.bin", b"data.bin")
    };
    let swapped = {
        let mut others = JarBuilder::new().entry("a", "b").sign_parts(&[("A", operator)]).unwrap();
        let file = std::mem::take(part(&mut others, "META-INF/A.SF"));
        changed(rig, |parts| *part(parts, "META-INF/A.SF") = file)
    };
    let weak = SignOptions { digests: vec!["SHA-1"], ..SignOptions::default() };
    let issuer = &branch(rig, SecurityDomain::Operator).issuer;
    vec![
        ("bytes in front", "container-malformed", [b"#!/bin/sh\n", &good[..]].concat()),
        ("bytes behind", "container-malformed", [&good[..], b"x"].concat()),
        ("half", "container-malformed", good[..good.len() / 2].to_vec()),
        ("nothing", "container-malformed", Vec::new()),
        ("text", "container-malformed", b"this is no archive".to_vec()),
        ("a name twice", "duplicate-entry", twice),
        (
            "a byte of a class changed",
            "entry-changed",
            changed(rig, |parts| part(parts, "com/example/Main.class")[3] ^= 1),
        ),
        (
            "an entry removed",
            "entry-missing",
            changed(rig, |parts| parts.retain(|(name, _)| name != "data.bin")),
        ),
        ("an entry added", "entry-unsigned", changed(rig, |parts| parts.push(("new".into(), b"x".to_vec())))),
        (
            "a service added",
            "entry-unsigned",
            changed(rig, |parts| parts.push(("META-INF/services/x".into(), b"x".to_vec()))),
        ),
        (
            "a manifest that is none",
            "manifest-malformed",
            changed(rig, |parts| *part(parts, "META-INF/MANIFEST.MF") = b"no manifest\r\n\r\n".to_vec()),
        ),
        (
            "no such runtime",
            "manifest-malformed",
            sample().attribute("MExE-Runtime", "shell").sign(operator).unwrap(),
        ),
        (
            "a native package without a program",
            "manifest-malformed",
            sample().attribute("MExE-Runtime", "native").sign(operator).unwrap(),
        ),
        (
            "no block",
            "signature-malformed",
            changed(rig, |parts| parts.retain(|(name, _)| !name.ends_with(".EC"))),
        ),
        (
            "a block of nonsense",
            "signature-malformed",
            changed(rig, |parts| *part(parts, "META-INF/A.EC") = b"not a block".to_vec()),
        ),
        ("another package's signature file", "signature-wrong", swapped),
        (
            "signed for two domains",
            "ambiguous-domain",
            sample().sign_all(&[("A", operator), ("B", third)]).unwrap(),
        ),
        ("SHA-1", "algorithm-weak", sample().options(weak).sign(operator).unwrap()),
        ("an expired signer", "certificate-expired", shaped(rig, |shape| shape.not_after = late(HOUR))),
        (
            "a signer of tomorrow",
            "certificate-not-yet-valid",
            shaped(rig, |shape| {
                shape.not_before = WallTime::from_secs(now().as_secs() + HOUR);
            }),
        ),
        (
            "an unknown critical extension",
            "certificate-malformed",
            shaped(rig, |shape| shape.extension = Some(true)),
        ),
        ("a signer for servers", "usage-not-code-signing", shaped(rig, |shape| shape.code_signing = false)),
        (
            "a signer who may only encrypt",
            "usage-not-code-signing",
            shaped(rig, |shape| shape.digital_signature = false),
        ),
        ("a signer that signs as an authority", "certificate-malformed", {
            let short = Shape { path_length: Some(0), ..Shape::at(now()) };
            let root_like = issuer.intermediate("Short", &short).unwrap();
            let deeper = root_like.intermediate("Deeper", &Shape::at(now())).unwrap();
            sample().sign(&deeper.signer("Signer", &Shape::at(now())).unwrap()).unwrap()
        }),
        ("RSA 1024", "key-too-small", small_key(rig)),
    ]
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..out.len() - from.len() {
        if out[at..].starts_with(from) {
            out[at..at + to.len()].copy_from_slice(to);
        }
    }
    out
}

/// The sample as keytool and jarsigner make it, with a key of 1024 bits below a root that the gate will know.
fn small_key(rig: &Rig) -> Vec<u8> {
    let folder = rig.folder().join("java");
    fs::create_dir(&folder).unwrap();
    let tool = |name: &str, line: &str| {
        Output::of(Command::new(name).args(line.split_whitespace()).current_dir(&folder)).ended(0)
    };
    let store = "-keystore s.p12 -storetype PKCS12 -storepass secret";
    tool(
        "keytool",
        &format!(
            "-genkeypair -alias root -dname CN=root -keyalg RSA -keysize 2048 -validity 9 {store} -ext bc:c -ext ku:c=keyCertSign"
        ),
    );
    tool(
        "keytool",
        &format!(
            "-genkeypair -alias small -signer root -dname CN=small -keyalg RSA -keysize 1024 -validity 9 {store} -ext ku:c=digitalSignature -ext eku=codeSigning"
        ),
    );
    let root = tool("keytool", &format!("-exportcert -rfc -alias root {store}")).stdout;
    write(&rig.roots().join("operator/java.pem"), root.as_bytes());
    write(&folder.join("a.jar"), &sample().unsigned().unwrap());
    tool("jarsigner", &format!("{store} a.jar small"));
    fs::read(folder.join("a.jar")).unwrap()
}

fn verify(rig: &Rig, file: &Path) -> Output {
    let arguments = ["--json", "app", "verify", "--roots"].map(OsStr::new);
    rig.cli(arguments.into_iter().chain([rig.roots().as_os_str(), file.as_os_str()]))
}

fn install(rig: &Rig, file: &Path) -> Output {
    rig.cli(["--json", "app", "install"].map(OsStr::new).into_iter().chain([file.as_os_str()]))
}

#[test]
fn a_broken_package_is_refused_by_its_reason_offline_and_at_the_gate() {
    let mut rig = Rig::builder().prepare();
    let broken = broken(&rig);
    rig.start_again();
    let file = rig.folder().join("package.jar");
    for (what, reason, bytes) in &broken {
        fs::write(&file, bytes).unwrap();
        let verified = verify(&rig, &file).ended(code::REFUSED);
        assert_eq!((verified.text("verdict"), verified.text("reason")), ("refused", *reason), "{what}");
        assert!(
            verified.json["domain"].is_null() && verified.json["signers"] == serde_json::json!([]),
            "{what}"
        );
        let installed = install(&rig, &file).ended(code::REFUSED);
        assert_eq!(installed.text("reason"), *reason, "{what}");
        assert_eq!(installed.stderr.lines().count(), 1, "{what}: {}", installed.stderr);
        let record = rig.journal(["--action", "app.install"]).pop().expect("it is written down");
        assert_eq!((&record["reason"], &record["decision"]), (&(*reason).into(), &"deny".into()), "{what}");
    }
    assert!(rig.json(["app", "list"])["items"].as_array().unwrap().is_empty());
    assert_eq!(fs::read_dir(rig.state_dir().join("packages")).unwrap().count(), 0, "nothing is left behind");
    let metric = |result: &str| rig.metric(&format!("mexegate_verifications_total{{result=\"{result}\"}}"));
    assert_eq!(metric("refused"), broken.len() as f64);
    // And the one that is whole goes in.
    fs::write(&file, sample().sign(&branch(&rig, SecurityDomain::Operator).signer).unwrap()).unwrap();
    assert_eq!(verify(&rig, &file).ended(code::DONE).text("domain"), "operator");
    assert_eq!(install(&rig, &file).ended(code::DONE).text("domain"), "operator");
}

#[test]
fn who_is_vouched_for_by_nobody_is_untrusted_and_says_why() {
    let mut rig = Rig::start();
    let file = rig.folder().join("package.jar");
    let stranger = Authority::root("Stranger", &Shape::at(now())).unwrap();
    let signer = stranger.signer("Signer of Renown", &Shape::at(now())).unwrap();
    for (bytes, reason) in
        [(sample().unsigned().unwrap(), "unsigned"), (sample().sign(&signer).unwrap(), "no-root")]
    {
        fs::write(&file, bytes).unwrap();
        let verified = verify(&rig, &file).ended(code::DONE);
        assert_eq!((verified.text("verdict"), verified.text("reason")), ("untrusted", reason));
        assert!(
            !verified.stdout.contains("Renown"),
            "an unverified name is never shown: {}",
            verified.stdout
        );
        let installed = install(&rig, &file).ended(code::DONE);
        assert_eq!(
            (installed.text("verdict"), installed.text("reason"), &installed.json["domain"]),
            ("untrusted", reason, &serde_json::Value::Null)
        );
        // The reason stays with the app, also over a restart of the gate, and through a run.
        let id = installed.text("id").to_owned();
        rig.kill();
        rig.start_again();
        rig.run(&id);
        for shown in [&rig.json(["app", "show", &id]), &rig.json(["app", "list"])["items"][0]] {
            assert_eq!((&shown["reason"], &shown["state"]), (&json!(reason), &json!("active")), "{shown}");
        }
        let page = Control::of(&rig).done("GET", &format!("/v1/apps/{id}"), None).json;
        assert_eq!(page["reason"], reason);
        rig.json(["app", "remove", &id]);
    }
}

#[test]
fn a_name_belongs_to_the_signer_who_came_first() {
    let rig = Rig::start();
    let signers: Vec<Signer> = ["One", "Two"]
        .iter()
        .map(|name| branch(&rig, SecurityDomain::ThirdParty).issuer.signer(name, &Shape::at(now())).unwrap())
        .collect();
    let package = |name: &str, version: &str, signer: &Signer| -> PathBuf {
        let jar =
            JarBuilder::new().attribute("MExE-Name", name).attribute("MExE-Version", version).entry("a", "b");
        let file = rig.folder().join("own.jar");
        fs::write(&file, jar.sign(signer).unwrap()).unwrap();
        file
    };
    let first = install(&rig, &package("Notes", "1.0", &signers[0])).ended(code::DONE);
    assert_eq!((first.text("id"), first.text("name"), first.text("version")), ("notes", "Notes", "1.0"));
    // Another signer's app of that name carries its mark.
    let second = install(&rig, &package("Notes", "9.0", &signers[1])).ended(code::DONE);
    let mark = second.text("id").strip_prefix("notes-").expect("the plain name is taken").to_owned();
    assert_eq!(mark.len(), 8);
    assert_eq!(rig.json(["app", "show", "notes"])["version"], "1.0");

    // The first signer's next version takes its place: grants stay, runs end. An older one does not.
    rig.grant("notes", "network.connect", "blanket");
    let run = rig.run("notes");
    let older = install(&rig, &package("Notes", "0.9", &signers[0])).ended(code::REFUSED);
    assert_eq!(older.text("reason"), "older-version");
    assert_eq!(rig.json(["runs"])["items"].as_array().unwrap().len(), 1);
    let newer = install(&rig, &package("Notes", "1.10", &signers[0])).ended(code::DONE);
    assert_eq!((newer.text("id"), newer.text("version")), ("notes", "1.10"));
    assert!(rig.json(["runs"])["items"].as_array().unwrap().is_empty());
    assert_eq!(rig.journal(["--run", &run.run, "--reason", "app-removed"]).len(), 1);
    assert_eq!(rig.json(["grants", "notes"])["items"].as_array().unwrap().len(), 1);

    // Whoever takes another's marked name keeps it.
    rig.json(["app", "remove", second.text("id")]);
    let squatter = install(&rig, &package(second.text("id"), "1", &signers[0])).ended(code::DONE);
    assert_eq!(squatter.text("id"), second.text("id"));
    let taken = install(&rig, &package("Notes", "9.0", &signers[1])).ended(code::REFUSED);
    assert_eq!(taken.text("reason"), "id-taken");
}

#[test]
fn an_untrusted_package_inherits_nothing() {
    let rig = Rig::start();
    let file = rig.folder().join("own.jar");
    let jar =
        |text: &str| JarBuilder::new().attribute("MExE-Name", "dialer").entry("a", text).unsigned().unwrap();
    fs::write(&file, jar("one")).unwrap();
    let first = install(&rig, &file).ended(code::DONE).text("id").to_owned();
    rig.grant(&first, "network.call", "single");
    fs::write(&file, jar("two")).unwrap();
    let second = install(&rig, &file).ended(code::DONE);
    assert_eq!(second.text("id"), first, "nobody vouches that it is another app either");
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty());
}

#[test]
fn names_that_mean_to_mislead_are_shown_as_what_they_are() {
    let rig = Rig::start();
    let file = rig.folder().join("own.jar");
    let signer = &branch(&rig, SecurityDomain::ThirdParty).signer;
    let name = "Good\u{202e}ppa\u{7}\u{1b}[2J";
    fs::write(&file, JarBuilder::new().attribute("MExE-Name", name).entry("a", "b").sign(signer).unwrap())
        .unwrap();
    let output = install(&rig, &file);
    for text in
        [&output.stdout, &output.stderr, &rig.cli(["app", "list"]).stdout, &rig.cli(["journal"]).stdout]
    {
        assert!(!text.contains(['\u{202e}', '\u{7}', '\u{1b}']), "{text:?}");
    }
    // One of which no id can be made is refused.
    fs::write(&file, JarBuilder::new().attribute("MExE-Name", "☃☃☃").entry("a", "b").sign(signer).unwrap())
        .unwrap();
    assert_eq!(install(&rig, &file).ended(code::REFUSED).text("reason"), "manifest-malformed");
}

#[test]
fn a_package_is_judged_without_being_installed_and_only_what_was_shown_is_installed_then() {
    let rig = Rig::start();
    let signer = &branch(&rig, SecurityDomain::ThirdParty).signer;
    let package = |version: &str| {
        let jar = JarBuilder::new().attribute("MExE-Name", "judged").attribute("MExE-Version", version);
        let jar = jar.attribute("MExE-Permissions", "network.connect").attribute("MExE-Reason", "to see");
        let path = rig.folder().join(format!("judged-{version}.jar"));
        write(&path, &jar.entry("a.txt", "a").sign(signer).unwrap());
        format!("@{}", path.display())
    };
    let send = |body: &str, query: &str| {
        let reply = rig.api(["--data-binary", body], &format!("/v1/apps?{query}"));
        (reply.status, serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap())
    };
    let (first, second) = (package("1.0"), package("2.0"));
    let before = rig.journal([""; 0]).len();
    let (status, shown) = send(&first, "dry-run=true&file=x.jar");
    assert_eq!(status, 200, "{shown}");
    for (field, expected) in [
        ("verdict", serde_json::json!("verified")),
        ("domain", "third-party".into()),
        ("name", "judged".into()),
        ("version", "1.0".into()),
        ("installs_as", "judged".into()),
        ("replaces", serde_json::Value::Null),
        ("requested", serde_json::json!(["network.connect"])),
        ("stated_reason", "to see".into()),
    ] {
        assert_eq!(shown[field], expected, "{field}: {shown}");
    }
    assert_eq!(rig.json(["app", "list"])["items"], serde_json::json!([]), "nothing is installed");
    assert_eq!(rig.journal([""; 0]).len(), before, "and nothing happened");
    assert_eq!(fs::read_dir(rig.state_dir().join("packages")).unwrap().count(), 0, "and nothing is kept");
    // The same again is installed, anything else is not.
    let digest = shown["digest"].as_str().unwrap();
    for (body, query) in [
        (&second, format!("digest={digest}&domain=third-party")),
        (&first, format!("digest={digest}&domain=operator")),
        (&first, format!("digest={digest}&domain=untrusted")),
    ] {
        let (status, refused) = send(body, &query);
        assert_eq!((status, &refused["reason"]), (404, &"not-found".into()), "{query}: {refused}");
    }
    assert_eq!(send(&first, "domain=somebody").0, 400);
    assert_eq!(send(&first, &format!("digest={digest}&domain=third-party")).0, 201);
    // What is there is named, and what could not be installed is refused by its reason.
    let (_, shown) = send(&second, "dry-run=true");
    assert_eq!((&shown["replaces"], &shown["keeps_grants"]), (&"1.0".into(), &true.into()), "{shown}");
    assert_eq!(send(&second, "").0, 201);
    let (status, refused) = send(&first, "dry-run=true");
    assert_eq!((status, &refused["reason"]), (409, &"older-version".into()), "{refused}");
    let (_, shown) = send(&first, "dry-run=true&downgrade=true");
    assert_eq!((&shown["replaces"], &shown["keeps_grants"]), (&"2.0".into(), &false.into()), "{shown}");
    assert_eq!(rig.json(["app", "show", "judged"])["version"], "2.0");
}
