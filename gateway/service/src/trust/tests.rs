//! Roots directories on disk, good and bad.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use mexe_forge::pki::{Authority, Shape};

use crate::config::Mode;
use std::path::Path;

use super::*;

fn load(dir: Option<&Path>, guard: &Guard, at: WallTime) -> Result<Trusted, ConfigError> {
    Trusted::load(dir, None, Rules::default(), guard, at)
}

const AT: WallTime = WallTime::from_secs(1_795_489_491);

fn guard() -> Guard {
    Guard::new(Mode::Serve, rustix::process::geteuid().as_raw())
}

/// A roots directory with these files.
fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    dir
}

#[test]
fn an_empty_directory_and_no_directory_are_no_roots() {
    let dir = directory(&[]);
    for dir in [Some(dir.path()), None] {
        let trusted = load(dir, &guard(), AT).unwrap();
        assert!(trusted.store.roots().is_empty() && trusted.problems.is_empty());
        assert!(trusted.counted().is_empty() && trusted.shown().is_empty());
    }
}

#[test]
fn a_bad_file_is_named_and_other_files_are_ignored() {
    let dir = directory(&[
        ("operator/a.pem", b"garbage"),
        ("operator/README", b"garbage"),
        ("operator/b.txt", b"garbage"),
        ("third-party/c.der", b""),
        ("somewhere/d.pem", b"garbage"),
        ("e.pem", b"garbage"),
    ]);
    fs::create_dir(dir.path().join("manufacturer")).unwrap();
    fs::create_dir(dir.path().join("manufacturer/f.crt")).unwrap();
    let trusted = load(Some(dir.path()), &guard(), AT).unwrap();
    let mut files: Vec<_> = trusted.problems.iter().map(|problem| problem.file.as_str()).collect();
    files.sort_unstable();
    assert_eq!(files, ["manufacturer/f.crt", "operator/a.pem", "third-party/c.der"]);
    for problem in &trusted.problems {
        let line = problem.to_string();
        assert!(line.contains(&problem.file) && line.lines().count() == 1, "{line}");
    }
    let shown = trusted.shown();
    assert!(shown.iter().all(|root| root["state"] == "unusable"), "{shown:?}");
}

#[test]
fn a_directory_that_is_not_there_is_a_fault_that_names_it() {
    let dir = directory(&[]);
    let error = load(Some(&dir.path().join("none")), &guard(), AT).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("/none`"), "{error}");
}

#[test]
fn what_others_could_have_written_stops_everything() {
    for unguarded in ["operator/a.pem", "operator", ""] {
        let dir = directory(&[("operator/a.pem", b"garbage")]);
        let path = dir.path().join(unguarded);
        let mode = if path.is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = load(Some(dir.path()), &guard(), AT).unwrap_err();
        assert!(matches!(error, ConfigError::Unguarded { .. }), "{unguarded}: {error}");
        // The demo makes its own roots, and the command line names its directory itself.
        assert!(load(Some(dir.path()), &Guard::new(Mode::Demo, 0), AT).is_ok(), "{unguarded}");
    }
}

#[test]
fn a_link_to_a_device_is_a_bad_file_not_a_hang() {
    let dir = directory(&[("operator/a.pem", b"garbage")]);
    symlink("/dev/zero", dir.path().join("operator/z.pem")).unwrap();
    let trusted = load(Some(dir.path()), &Guard::new(Mode::Demo, 0), AT).unwrap();
    assert_eq!(trusted.problems.len(), 2);
}

#[test]
fn roots_stand_for_the_domain_of_their_folder() {
    let pem = |name| Authority::root(name, &Shape::at(AT)).unwrap().pem();
    let (operator, manufacturer, other, administrator) = (pem("o"), pem("m"), pem("t"), pem("a"));
    let dir = directory(&[
        ("administrator/a.pem", administrator.as_bytes()),
        ("manufacturer/m.crt", manufacturer.as_bytes()),
        ("operator/o.pem", operator.as_bytes()),
        ("third-party/t.pem", other.as_bytes()),
    ]);
    let trusted = load(Some(dir.path()), &guard(), AT).unwrap();
    assert!(trusted.problems.is_empty(), "{:?}", trusted.problems);
    let third = SecurityDomain::ThirdParty;
    // Whoever holds the administrator's root enables third party roots by messages, and none was sent yet.
    let expected = [
        (SecurityDomain::Operator, State::Enabled),
        (SecurityDomain::Manufacturer, State::Enabled),
        (third, State::NotEnabled),
        (third, State::Enabled),
    ];
    assert_eq!(trusted.counted(), expected);
    let shown = trusted.shown();
    assert_eq!((&shown[3]["kind"], &shown[3]["domain"]), (&json!("administrator"), &json!("third-party")));
    assert_eq!((&shown[1]["state"], &shown[1]["source"]), (&json!("enabled"), &json!("manufacturer/m.crt")));
}

#[test]
fn a_root_outside_its_validity_is_listed_once_and_does_not_count() {
    let root = Authority::root("o", &Shape::at(AT)).unwrap().pem();
    let dir = directory(&[("operator/o.pem", root.as_bytes())]);
    for (at, state) in
        [(WallTime::from_secs(AT.as_secs() * 2), "expired"), (WallTime::from_secs(1), "not-yet-valid")]
    {
        let trusted = load(Some(dir.path()), &guard(), at).unwrap();
        let domain = SecurityDomain::Operator;
        assert_eq!(
            trusted.counted().iter().map(|(d, s)| (*d, s.as_str())).collect::<Vec<_>>(),
            [(domain, state)]
        );
        assert_eq!((trusted.problems.len(), trusted.problems[0].kept), (1, true));
        let shown = trusted.shown();
        assert_eq!((shown.len(), &shown[0]["state"]), (1, &json!(state)));
    }
}

#[test]
fn a_key_in_two_domains_is_off_in_both() {
    let root = Authority::root("o", &Shape::at(AT)).unwrap().pem();
    let dir = directory(&[("operator/o.pem", root.as_bytes()), ("third-party/o.pem", root.as_bytes())]);
    let trusted = load(Some(dir.path()), &guard(), AT).unwrap();
    assert!(trusted.store.roots().is_empty());
    let line = trusted.problems[0].to_string();
    assert!(line.contains("operator/o.pem") && line.contains("third-party/o.pem"), "{line}");
}

fn stored(authority: &Authority, kind: RootKind, source: &str) -> StoredRoot {
    let mut builder = TrustStore::builder();
    builder.add(kind, source, authority.certificate(), AT);
    StoredRoot {
        id: builder.build().roots()[0].id().clone(),
        kind: stored_kind(kind),
        state: mexe_journal::RootState::Enabled,
        source: source.to_owned(),
        subject: String::new(),
        certificate: Some(authority.certificate().to_vec()),
        changed_at: AT,
    }
}

fn administrator_of(added: Vec<StoredRoot>, messages: CcmState) -> Option<Fingerprint> {
    let trusted = Trusted::of(Sources { added, messages, ..Sources::default() }, AT);
    trusted.administrator.administrator.key()
}

#[test]
fn a_key_that_came_by_a_message_stands_for_the_one_that_it_took_over_from() {
    let [old, new] = ["old", "new"].map(|name| Authority::root(name, &Shape::at(AT)).unwrap());
    let (first, second) = (
        stored(&old, RootKind::Administrator, "arpk.pem"),
        stored(&new, RootKind::Administrator, HANDED_OVER),
    );
    let key = |root: &StoredRoot| root.id.as_str().parse::<Fingerprint>().unwrap();
    // As the state of an applied message says it.
    let handed_over: CcmState = serde_json::from_value(json!({ key(&first).to_string(): {
        "sequence": 1, "digest": null, "next-update": null, "enabled": [], "disabled": [],
        "successor": key(&second).to_string(),
    }}))
    .unwrap();
    for added in [vec![first.clone(), second.clone()], vec![second.clone(), first.clone()]] {
        assert_eq!(administrator_of(added.clone(), handed_over.clone()), Some(key(&second)));
        assert_eq!(administrator_of(added, CcmState::default()), Some(key(&first)));
    }
    assert_eq!(administrator_of(vec![first.clone()], handed_over.clone()), Some(key(&first)));
    assert_eq!(administrator_of(vec![second], handed_over), None, "nobody chose it");
}

#[test]
fn an_expired_administrator_does_not_hide_the_next() {
    let past = WallTime::from_secs(1_000_000_000);
    let old = stored(&Authority::root("old", &Shape::at(past)).unwrap(), RootKind::Administrator, "a.pem");
    let now = stored(&Authority::root("now", &Shape::at(AT)).unwrap(), RootKind::Administrator, "b.pem");
    let key = now.id.as_str().parse::<Fingerprint>().unwrap();
    assert_eq!(administrator_of(vec![old.clone()], CcmState::default()), None);
    assert_eq!(administrator_of(vec![old, now], CcmState::default()), Some(key));
}

#[test]
fn the_administrators_lists_hold_for_the_chain_of_an_installed_app() {
    let [arpk, acme] = ["arpk", "acme"].map(|name| Authority::root(name, &Shape::at(AT)).unwrap());
    let (arpk, acme) =
        (stored(&arpk, RootKind::Administrator, "arpk.pem"), stored(&acme, RootKind::ThirdParty, "acme.pem"));
    let (certificate, key) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    let chain = Chain { root: acme.id.clone(), certificates: vec![certificate], keys: vec![key] };
    let in_the_way = |enabled: &[Fingerprint], disabled: &[Fingerprint]| {
        let messages: CcmState = serde_json::from_value(json!({ arpk.id.as_str(): {
            "sequence": 1, "digest": null, "next-update": null, "enabled": enabled, "disabled": disabled,
            "successor": null,
        }}))
        .unwrap();
        let added = vec![arpk.clone(), acme.clone()];
        let trusted = Trusted::of(Sources { added, messages, ..Sources::default() }, AT);
        trusted.in_the_way(&chain, SecurityDomain::ThirdParty)
    };
    assert_eq!(in_the_way(&[], &[]), Some(Reason::RootDisabled));
    assert_eq!(in_the_way(&[certificate], &[]), None);
    assert_eq!(in_the_way(&[certificate], &[key]), Some(Reason::RootDisabled));
}
