//! Packages of every format, from the file to a run: detached signatures over programs, MIDP suites, timestamps, old
//! algorithms; and the life of an app: updates, new signer keys, downgrades, a clock that was set back.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use mexe_forge::cms::{Defect, detached, stamped};
use mexe_forge::jad::JadBuilder;
use mexe_forge::jar::JarBuilder;
use mexe_forge::pki::{Authority, Branch, KeyKind, ListShape, Shape, Signer};
use mexe_forge::rotation::Statement;
use mexe_forge::sealed::SealDefect;
use mexe_forge::timestamp;
use mexe_model::SecurityDomain;
use rig::cli::code;
use rig::curl::Reply;
use rig::verbs::{cli, done, earlier, file, refused, root_of};
use rig::{Control, Output, Rig, packages, wait};
use serde_json::json;

fn branch(rig: &Rig, domain: SecurityDomain) -> &Branch {
    rig.packages().demo().pki.branch(domain).unwrap()
}

/// Verified offline and installed, both refused for that reason; extra arguments name what came along.
#[track_caller]
fn refused_everywhere(rig: &Rig, package: &Path, with: &[&str], reason: &str) {
    let (package, roots) = (package.to_str().unwrap(), rig.roots().to_str().unwrap().to_owned());
    refused(cli(rig, &[&["app", "verify", package, "--roots", &roots], with].concat()), reason);
    refused(cli(rig, &[&["app", "install", package], with].concat()), reason);
}

#[test]
fn a_program_with_a_detached_signature_is_an_app_and_runs_as_the_bytes_that_were_signed() {
    let rig = Rig::start();
    let signer = &branch(&rig, SecurityDomain::Operator).signer;
    let script = b"#!/bin/sh\necho \"ran with $1\"\n".to_vec();
    let program = file(&rig, "tool.sh", &script);
    let signature = file(&rig, "tool.p7s", detached(signer, &script, true, Defect::None).unwrap());
    let (path, signature) = (program.to_str().unwrap(), signature.to_str().unwrap());
    let roots = rig.roots().to_str().unwrap();
    let verified = done(&rig, &["app", "verify", path, "--signature", signature, "--roots", roots]);
    assert_eq!((&verified["verdict"], &verified["domain"]), (&json!("verified"), &json!("operator")));
    let line = ["app", "install", path, "--signature", signature, "--name", "Tool", "--version", "2.1"];
    let installed = done(&rig, &line);
    assert_eq!((&installed["id"], &installed["version"]), (&json!("tool"), &json!("2.1")));
    assert_eq!((&installed["format"], &installed["runtime"]), (&json!("detached"), &json!("native")));
    let ran = rig.cli(["app", "run", "tool", "an argument"]).ended(code::DONE);
    assert_eq!(ran.stdout, "ran with an argument\n");
    // It is the same app after a restart.
    let mut rig = rig;
    rig.kill();
    rig.start_again();
    assert_eq!(rig.cli(["app", "run", "tool", "again"]).ended(code::DONE).stdout, "ran with again\n");

    let changed = file(&rig, "changed.sh", b"#!/bin/sh\necho changed\n");
    let signature = rig.folder().join("tool.p7s");
    refused_everywhere(&rig, &changed, &["--signature", signature.to_str().unwrap()], "signature-wrong");
    // Without its signature it is no package at all.
    refused(cli(&rig, &["app", "install", changed.to_str().unwrap()]), "container-malformed");
    // Removing it takes both files along.
    done(&rig, &["app", "remove", "tool"]);
    assert_eq!(fs::read_dir(rig.state_dir().join("packages")).unwrap().count(), 0);
}

#[test]
fn a_signature_that_openssl_made_is_taken() {
    let rig = Rig::start();
    let signer = &branch(&rig, SecurityDomain::ThirdParty).signer;
    let program = file(&rig, "tool.sh", b"#!/bin/sh\necho hello\n");
    let key = file(&rig, "key.pem", signer.key_pem());
    let chain = signer.chain_pem();
    let first_end = chain.find("-----END CERTIFICATE-----").unwrap() + 26;
    let certificate = file(&rig, "signer.pem", &chain[..first_end]);
    let others = file(&rig, "others.pem", &chain[first_end..]);
    for format in ["DER", "PEM"] {
        let signature = rig.folder().join("openssl.p7s");
        let mut openssl = Command::new("openssl");
        openssl.args(["cms", "-sign", "-binary", "-outform", format, "-in"]).arg(&program);
        openssl.arg("-signer").arg(&certificate).arg("-inkey").arg(&key);
        openssl.arg("-certfile").arg(&others).arg("-out").arg(&signature);
        Output::of(&mut openssl).ended(0);
        let (program, signature) = (program.to_str().unwrap(), signature.to_str().unwrap());
        let installed = done(&rig, &["app", "install", program, "--signature", signature, "--name", "tool"]);
        assert_eq!((&installed["domain"], &installed["id"]), (&json!("third-party"), &json!("tool")));
    }
}

fn suite(name: &str) -> JarBuilder {
    JarBuilder::new()
        .attribute("MIDlet-Name", name)
        .attribute("MIDlet-Version", "1.2.3")
        .attribute("MIDlet-Vendor", "Example")
        .entry("com/example/Main.class", "class bytes")
}

fn descriptor(name: &str, package: &[u8]) -> JadBuilder {
    JadBuilder::for_package(package)
        .attribute("MIDlet-Name", name)
        .attribute("MIDlet-Version", "1.2.3")
        .attribute("MIDlet-Vendor", "Example")
}

fn rsa(rig: &Rig) -> Signer {
    let shape = Shape::at(packages::now()).with_key(KeyKind::Rsa2048);
    branch(rig, SecurityDomain::ThirdParty).issuer.signer("Suite signer", &shape).unwrap()
}

#[test]
fn a_midp_suite_is_vouched_for_by_its_descriptor() {
    let rig = Rig::start();
    let signer = rsa(&rig);
    let package = suite("Chess").unsigned().unwrap();
    let jar = file(&rig, "chess.jar", &package);
    let jad = descriptor("Chess", &package).sign(&package, &signer).unwrap();
    let jad_file = file(&rig, "chess.jad", jad.build());
    let jad_path = jad_file.to_str().unwrap();
    let installed = done(&rig, &["app", "install", jar.to_str().unwrap(), "--jad", jad_path]);
    assert_eq!((&installed["id"], &installed["domain"]), (&json!("chess"), &json!("third-party")));
    assert_eq!((&installed["format"], &installed["version"]), (&json!("midlet"), &json!("1.2.3")));
    done(&rig, &["app", "start", "chess"]);
    let judged = rig.metric("mexegate_verifications_total{format=\"midlet\",result=\"verified\"}");
    assert!(judged >= 2.0, "at install and at the start: {judged}");

    // The same suite without its descriptor, and with one that signs nothing, is untrusted.
    let plain = file(&rig, "plain.jad", descriptor("Chess", &package).build());
    for with in [vec![], vec!["--jad", plain.to_str().unwrap()]] {
        let line =
            [&["app", "verify", jar.to_str().unwrap(), "--roots", rig.roots().to_str().unwrap()], &with[..]];
        assert_eq!(done(&rig, &line.concat())["verdict"], "untrusted");
    }
    let broken = file(&rig, "broken.jad", "MIDlet-Name Chess\r\n");
    refused_everywhere(&rig, &jar, &["--jad", broken.to_str().unwrap()], "descriptor-malformed");
    let other = descriptor("Draughts", &package).sign(&package, &signer).unwrap();
    let other = file(&rig, "other.jad", other.build());
    refused_everywhere(&rig, &jar, &["--jad", other.to_str().unwrap()], "descriptor-mismatch");
    let tampered = suite("Chess").entry("more", "bytes").unsigned().unwrap();
    let wrong = descriptor("Chess", &tampered).sign(&package, &signer).unwrap();
    let wrong = file(&rig, "wrong.jad", wrong.build());
    let tampered = file(&rig, "tampered.jar", tampered);
    refused_everywhere(&rig, &tampered, &["--jad", wrong.to_str().unwrap()], "signature-wrong");
}

#[test]
fn a_suite_that_needs_what_nobody_knows_is_refused() {
    let rig = Rig::start();
    let signer = rsa(&rig);
    let with = |attribute: &str, value: &str| {
        let package = suite("Chess").attribute(attribute, value).unsigned().unwrap();
        let jad = descriptor("Chess", &package).attribute(attribute, value).sign(&package, &signer).unwrap();
        (file(&rig, "chess.jar", &package), file(&rig, "chess.jad", jad.build()))
    };
    let (jar, jad) = with("MIDlet-Permissions", "javax.microedition.io.Connector.http, com.example.fly");
    refused_everywhere(&rig, &jar, &["--jad", jad.to_str().unwrap()], "permission-unknown");
    let (jar, jad) = with("MIDlet-Permissions-Opt", "com.example.fly");
    done(&rig, &["app", "install", jar.to_str().unwrap(), "--jad", jad.to_str().unwrap()]);
}

#[test]
fn expiry_is_forgiven_with_a_timestamp_of_the_domains_authority_and_with_no_other() {
    let at = packages::now();
    let tsa_root = Authority::root("Stamping root", &Shape::at(earlier(at, 86_400 * 400))).unwrap();
    let stamping =
        Shape { code_signing: false, time_stamping: Some(true), ..Shape::at(earlier(at, 86_400 * 400)) };
    let tsa = tsa_root.signer("Stamping authority", &stamping).unwrap();
    let mut rig = Rig::builder().prepare();
    let folder = rig.roots().join("operator/tsa");
    fs::create_dir(&folder).unwrap();
    packages::write(&folder.join("tsa.pem"), tsa_root.pem().as_bytes());
    // The root and the issuer must have been there when the signature was made.
    let old = Shape::at(earlier(at, 86_400 * 300));
    let root = Authority::root("Old operator root", &old).unwrap();
    packages::write(&rig.roots().join("operator/old.pem"), root.pem().as_bytes());
    let expired = Shape { not_after: earlier(at, 86_400), ..old };
    let signer = root.signer("Expired", &expired).unwrap();
    rig.start_again();
    let script = b"#!/bin/sh\necho stamped\n".to_vec();
    let program = file(&rig, "tool.sh", &script);
    let sign = |name: &str, defect| {
        let stamp = |signature: &[u8]| {
            vec![timestamp::token(&tsa, signature, earlier(at, 86_400 * 100), defect).unwrap()]
        };
        file(&rig, name, stamped(&signer, &script, stamp).unwrap())
    };
    let plain = file(&rig, "plain.p7s", detached(&signer, &script, true, Defect::None).unwrap());
    refused_everywhere(&rig, &program, &["--signature", plain.to_str().unwrap()], "certificate-expired");
    let wrong = sign("wrong.p7s", timestamp::Defect::ImprintOfOther);
    refused_everywhere(&rig, &program, &["--signature", wrong.to_str().unwrap()], "timestamp-wrong");
    let good = sign("good.p7s", timestamp::Defect::None);
    let (program, good) = (program.to_str().unwrap(), good.to_str().unwrap());
    let roots = rig.roots().to_str().unwrap();
    let verified = done(&rig, &["app", "verify", program, "--signature", good, "--roots", roots]);
    assert_eq!((&verified["verdict"], &verified["domain"]), (&json!("verified"), &json!("operator")));
    assert!(verified["stamped_at"].is_string(), "{verified}");
    done(&rig, &["app", "install", program, "--signature", good, "--name", "tool"]);
    assert_eq!(rig.cli(["app", "run", "tool"]).ended(code::DONE).stdout, "stamped\n");
}

#[test]
fn a_new_signers_key_takes_an_app_over_only_with_the_old_ones_statement() {
    let rig = Rig::start();
    let domain = SecurityDomain::ThirdParty;
    let at = packages::now();
    let signer = |name: &str| branch(&rig, domain).issuer.signer(name, &Shape::at(at)).unwrap();
    let (old, new, thief) = (signer("Old"), signer("New"), signer("Thief"));
    let jar = |version: &str| {
        JarBuilder::new().attribute("MExE-Name", "notes").attribute("MExE-Version", version).entry("a", "b")
    };
    let install = |name: &str, bytes: Vec<u8>, more: &[&str]| {
        let path = file(&rig, name, bytes);
        cli(&rig, &[&["app", "install", path.to_str().unwrap()], more].concat())
    };
    install("1.jar", jar("1.0").sign(&old).unwrap(), &[]).ended(code::DONE);
    rig.grant("notes", "network.connect", "blanket");
    // Named as an update, another signer's package is refused by name.
    refused(install("2.jar", jar("2.0").sign(&thief).unwrap(), &["--update", "notes"]), "signer-changed");
    // A statement that somebody else signed is worth nothing.
    let statement = Statement::new(domain, "notes", old.certificate(), thief.certificate(), at).unwrap();
    let forged = statement.sign(&thief, SealDefect::None).unwrap();
    refused(install("3.jar", jar("2.0").rotations(&[forged]).sign(&thief).unwrap(), &[]), "rotation-wrong");
    let statement =
        Statement::new(domain, "notes", old.certificate(), new.certificate(), earlier(at, 60)).unwrap();
    let statement = statement.sign(&old, SealDefect::None).unwrap();
    let rotated =
        install("4.jar", jar("2.0").rotations(std::slice::from_ref(&statement)).sign(&new).unwrap(), &[]);
    let rotated = rotated.ended(code::DONE);
    assert_eq!((rotated.text("id"), rotated.text("version")), ("notes", "2.0"));
    assert_eq!(rig.json(["grants", "notes"])["items"].as_array().unwrap().len(), 1, "what was granted stays");
    // From now on the new key is the app's, and the old one's packages are another app.
    install("5.jar", jar("2.1").sign(&new).unwrap(), &["--update", "notes"]).ended(code::DONE);
    refused(install("6.jar", jar("3.0").sign(&old).unwrap(), &["--update", "notes"]), "signer-changed");
    let other = install("7.jar", jar("3.0").sign(&old).unwrap(), &[]).ended(code::DONE);
    assert!(other.text("id").starts_with("notes-"), "{}", other.stdout);

    // Going back is refused, and where it is forced it costs the grants.
    refused(install("8.jar", jar("2.0").sign(&new).unwrap(), &[]), "older-version");
    let run = rig.run("notes");
    let back = install("9.jar", jar("2.0").sign(&new).unwrap(), &["--downgrade"]).ended(code::DONE);
    assert_eq!((back.text("id"), back.text("version")), ("notes", "2.0"));
    assert!(rig.json(["grants", "notes"])["items"].as_array().unwrap().is_empty());
    assert_eq!(rig.journal(["--run", &run.run, "--reason", "app-removed"]).len(), 1, "its runs end");
}

#[test]
fn a_signer_that_was_revoked_hands_no_app_over() {
    let rig = Rig::start();
    let domain = SecurityDomain::ThirdParty;
    let at = packages::now();
    let issuer = &branch(&rig, domain).issuer;
    let [old, new] = ["Old", "New"].map(|name| issuer.signer(name, &Shape::at(at)).unwrap());
    let jar = |version: &str| {
        JarBuilder::new().attribute("MExE-Name", "notes").attribute("MExE-Version", version).entry("a", "b")
    };
    let first = file(&rig, "1.jar", jar("1.0").sign(&old).unwrap());
    done(&rig, &["app", "install", first.to_str().unwrap()]);
    // What whoever has the old key signs, the day before the issuer learns of it.
    let statement =
        Statement::new(domain, "notes", old.certificate(), new.certificate(), earlier(at, 60)).unwrap();
    let statement = statement.sign(&old, SealDefect::None).unwrap();
    let taken_over = file(&rig, "2.jar", jar("2.0").rotations(&[statement]).sign(&new).unwrap());
    let list = ListShape::at(at).revoking(old.certificate(), earlier(at, 3600)).unwrap();
    let list = file(&rig, "issuer.crl", issuer.list(&list).unwrap());
    done(&rig, &["roots", "crl", "add", list.to_str().unwrap()]);
    refused(cli(&rig, &["app", "install", taken_over.to_str().unwrap()]), "rotation-wrong");
    let shown = done(&rig, &["app", "show", "notes"]);
    assert_eq!((&shown["version"], &shown["state"]), (&json!("1.0"), &json!("suspended")));
}

#[test]
fn old_algorithms_reach_the_third_party_domain_alone_and_never_a_blanket_permission() {
    let at = packages::now();
    let rig = Rig::builder().section("trust", "legacy = true").start();
    let jar = || {
        let options = mexe_forge::jar::SignOptions { digests: vec!["SHA-1"], ..Default::default() };
        mexe_forge::demo::native_app("old").options(options)
    };
    let operator = jar().sign(&branch(&rig, SecurityDomain::Operator).signer).unwrap();
    let operator = file(&rig, "operator-old.jar", operator);
    refused(cli(&rig, &["app", "install", operator.to_str().unwrap()]), "algorithm-weak");
    let signer = branch(&rig, SecurityDomain::ThirdParty).issuer.signer("Old", &Shape::at(at)).unwrap();
    let third = file(&rig, "third-old.jar", jar().sign(&signer).unwrap());
    let installed = done(&rig, &["app", "install", third.to_str().unwrap()]);
    assert_eq!((&installed["domain"], &installed["legacy"]), (&json!("third-party"), &json!(true)));
    let origin = rig::Origin::start();
    let blanket = ["grant", "old", "network.connect=127.0.0.1", "--permission", "blanket"];
    refused(cli(&rig, &blanket), "permission-above-maximum");
    let run = rig.run("old");
    rig.grant("old", "network.connect=127.0.0.1", "session");
    assert_eq!(rig.curl(["--proxy", &run.http, &origin.url("/hello")]).status, 200);
}

#[test]
fn a_clock_that_was_set_back_judges_nothing_and_ends_what_was_given_for_a_time() {
    let mut rig = Rig::start();
    let app = rig.app("third-party");
    rig.json(["grant", &app, "network.connect", "--permission", "blanket", "--for", "1h"]);
    rig.json(["grant", &app, "network.connect=example.org", "--permission", "blanket"]);
    rig.stop();
    // The same gate, whose clock stands a month earlier.
    rig.set_clock(Some("-30d"));
    rig.start_again();
    let package = rig.package("operator");
    refused(cli(&rig, &["app", "install", package.to_str().unwrap()]), "clock-suspect");
    refused(cli(&rig, &["app", "start", &app]), "clock-suspect");
    let left = wait::within(std::time::Duration::from_secs(10), || {
        let grants = rig.json(["grants", &app]);
        let grants = grants["items"].as_array().unwrap().clone();
        (grants.len() == 1).then_some(grants)
    });
    assert_eq!(left.expect("the timed permission lapses")[0]["target"], "example.org");
    rig.stop();
    rig.set_clock(None);
    rig.start_again();
    done(&rig, &["app", "start", &app]);
}

#[test]
fn a_package_that_costs_too_much_to_judge_is_refused() {
    let rig = Rig::start();
    // More digests of one thing than anybody needs: each would have to be computed.
    let digests = vec!["SHA-1", "SHA-256", "SHA-384", "SHA-512"];
    let options = mexe_forge::jar::SignOptions { digests, ..Default::default() };
    let signers: Vec<Signer> = (0..12)
        .map(|n| {
            let shape = Shape::at(packages::now());
            branch(&rig, SecurityDomain::Operator).issuer.signer(&format!("Signer {n}"), &shape).unwrap()
        })
        .collect();
    let names: Vec<String> = (0..12).map(|n| format!("S{n}")).collect();
    let all: Vec<(&str, &Signer)> = names.iter().map(String::as_str).zip(&signers).collect();
    let package = mexe_forge::demo::native_app("costly").options(options).sign_all(&all).unwrap();
    let package = file(&rig, "costly.jar", package);
    refused_everywhere(&rig, &package, &[], "too-costly");
}

#[test]
fn a_package_is_fetched_judged_and_installed_when_the_user_says_so() {
    let Some(world) = rig::world::inside("a_package_is_fetched_judged_and_installed_when_the_user_says_so")
    else {
        return;
    };
    let resolver = world.resolver();
    resolver.set("apps.example.org", &["93.184.215.14"]);
    resolver.set("inward.example.org", &["127.0.0.1"]);
    let mut rig = Rig::builder().prepare();
    let at = packages::now();
    // A server with a certificate of an authority that this device knows, and no other.
    let authority = Authority::root("Web authority", &Shape::at(at)).unwrap();
    packages::write(&rig.folder().join("web.pem"), authority.pem().as_bytes());
    let text = fs::read_to_string(rig.config_file()).unwrap();
    let servers = rig.folder().join("web.pem");
    let text = text.replace("[trust]\n", &format!("[trust]\nservers = \"{}\"\n", servers.display()));
    packages::write(&rig.config_file(), text.as_bytes());
    let alternative = [&[0x30, 0x12, 0x82, 0x10][..], b"apps.example.org"].concat();
    let shape = Shape {
        code_signing: false,
        other_purpose: Some(vec![1, 3, 6, 1, 5, 5, 7, 3, 1]),
        more: vec![(vec![2, 5, 29, 17], false, alternative)],
        ..Shape::at(at)
    };
    let server = authority.signer("apps.example.org", &shape).unwrap();
    let web = rig.folder().join("web");
    fs::create_dir(&web).unwrap();
    packages::write(&web.join("key.pem"), server.key_pem().as_bytes());
    packages::write(&web.join("chain.pem"), server.chain_pem().as_bytes());
    fs::copy(rig.package("third-party"), web.join("app.jar")).unwrap();
    fs::copy(rig.package("unsigned"), web.join("unsigned.jar")).unwrap();
    packages::write(&web.join("broken.jar"), b"no archive");
    let _serving = Serving(world.outside(|| {
        let mut python = Command::new("python3");
        python.arg("-c").arg(SERVER).arg("93.184.215.14").current_dir(&web);
        python.spawn().unwrap()
    }));
    rig.start_again();
    let fetch =
        |path: &str| cli(&rig, &["app", "fetch", "--yes", &format!("https://apps.example.org{path}")]);
    let fetched = wait::within(std::time::Duration::from_secs(10), || {
        let output = fetch("/app.jar");
        (output.json["reason"] != "fetch-failed").then_some(output)
    });
    let installed = fetched.expect("the server answers").ended(code::DONE).json;
    assert_eq!((&installed["id"], &installed["domain"]), (&json!("third-party-app"), &json!("third-party")));
    refused(fetch("/broken.jar"), "container-malformed");
    refused(fetch("/nothing.jar"), "fetch-failed");
    // Another path on the same server, and away from HTTPS.
    assert_eq!(fetch("/moved").ended(code::DONE).json["id"], "third-party-app");
    refused(fetch("/plain"), "fetch-failed");
    let elsewhere = |url: &str| cli(&rig, &["app", "fetch", "--yes", url]);
    refused(elsewhere("https://inward.example.org/app.jar"), "address-not-public");
    refused(elsewhere("https://127.0.0.1/app.jar"), "address-not-public");
    let own = format!("https://{}/", rig.ports().console);
    refused(elsewhere(&own), "own-address");
    // A server that is not who it says.
    resolver.set("other.example.org", &["93.184.215.14"]);
    refused(elsewhere("https://other.example.org/app.jar"), "fetch-failed");
    assert_eq!(elsewhere("http://apps.example.org/app.jar").code, code::USAGE);
    // Without a terminal and without a yes nothing is fetched.
    let asked = cli(&rig, &["app", "fetch", "https://apps.example.org/unsigned.jar"]);
    assert_eq!(asked.code, code::FAULT, "{}", asked.stderr);
    let records = rig.journal(["--kind", "change"]);
    let fetches = records.iter().filter(|record| record["action"] == "app.fetch").count();
    assert!(fetches >= 8, "{fetches}");

    // What the user was shown is what is installed: not the same bytes under another trust.
    let mut control = Control::of(&rig);
    let url = json!({ "url": "https://apps.example.org/app.jar" });
    // The console shows the same before it is installed.
    let page = format!("http://{}/console/fetch", rig.ports().console);
    let user = format!("Authorization: Bearer {}", rig.console_token());
    let page = Reply::of([page.as_str(), "--header", &user, "--data", &url.to_string()]);
    assert_eq!(page.status, 200, "{}", page.text());
    for said in ["Third party", "CN=", "was fetched", "/install\"", "nothing in advance"] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    let shown = control.done("POST", "/v1/fetches", Some(&url)).json;
    assert_eq!(shown["domain"], "third-party", "{shown}");
    done(&rig, &["app", "remove", "third-party-app"]);
    let root = root_of(&rig, "third-party");
    done(&rig, &["roots", "disable", &root]);
    let id =
        shown["id"].as_u64().map_or_else(|| shown["id"].as_str().unwrap().to_owned(), |id| id.to_string());
    let late = control.ask("POST", &format!("/v1/fetches/{id}/install"), None).unwrap();
    assert_eq!(late.json["reason"], "not-found", "{}", late.json);
    assert_eq!(done(&rig, &["app", "list"])["items"], json!([]));
}

/// A server that ends with its test, also when that fails.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Serves the folder over HTTPS, and two redirects.
const SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        to = {"/moved": "/app.jar", "/plain": "http://apps.example.org/app.jar"}.get(self.path)
        if to:
            self.send_response(302)
            self.send_header("Location", to)
            self.end_headers()
        else:
            super().do_GET()
server = http.server.ThreadingHTTPServer((sys.argv[1], 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("chain.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;
