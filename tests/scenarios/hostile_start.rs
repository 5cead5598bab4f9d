//! What the gate refuses to start with (security rule S4, and bad input): an environment that would widen trust, files
//! that others could have written, a configuration, table, profile or database that is not one. One line says what and
//! where, the exit code is a fault's, and nothing has changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rig::cli::code;
use rig::{Output, Rig};

/// Starts the gate, which has to end by itself at once: its last words, in one line.
#[track_caller]
fn refused_start(rig: &mut Rig) -> String {
    let before = rig.log().len();
    rig.spawn();
    let status = rig.ended();
    let log = rig.log().split_off(before);
    assert_eq!(status.code(), Some(code::FAULT), "{log}");
    let said: Vec<_> = log.lines().filter(|line| line.starts_with("mexegate:")).collect();
    assert_eq!(said.len(), 1, "one line says it:\n{log}");
    said[0].to_owned()
}

/// The verbs that read the configuration without serving say the same.
#[track_caller]
fn refused_check(rig: &Rig) -> String {
    let config = rig.config_file();
    let output = rig.cli(["check-config", "--config", config.to_str().unwrap()]).ended(code::FAULT);
    assert!(output.stderr.starts_with("mexegate: "), "{}", output.stderr);
    output.stderr.lines().next().unwrap_or_default().to_owned()
}

/// Names, sizes and times of everything in a folder, and the bytes of small files.
fn picture(folder: &Path) -> Vec<(PathBuf, u64, i64, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| {
            let about = entry.metadata().expect("an entry");
            let bytes = if about.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            (entry.path(), about.len(), about.mtime(), bytes)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn the_environment_cannot_widen_trust() {
    for (variable, value, key) in [
        ("MEXEGATE__TRUST__ROOTS", "/tmp", "trust.roots"),
        ("MEXEGATE__TRUST__LEGACY", "true", "trust.legacy"),
        ("MEXEGATE__TRUST__CRLS", "/tmp", "trust.crls"),
        ("MEXEGATE__TRUST__USIM", "/tmp", "trust.usim"),
        ("MEXEGATE__POLICY__TOKEN_RUNS", "allow", "policy.token_runs"),
        ("MEXEGATE__POLICY__SECURITY_TABLE", "/tmp/table.toml", "policy.security_table"),
        ("MEXEGATE__POLICY__EXPIRY", "lenient", "policy.expiry"),
        ("MEXEGATE__POLICY__PROMPT_WAIT", "1s", "policy.prompt_wait"),
        ("MEXEGATE__RUNTIME__NATIVE__COMMAND", "[\"/tmp/x\",\"{package}\"]", "runtime.native.command"),
        ("MEXEGATE__RUNTIME__JAR__COMMAND", "[\"/tmp/x\",\"{package}\"]", "runtime.jar.command"),
        ("MEXEGATE__LISTEN__INSECURE", "true", "listen.insecure"),
    ] {
        let mut rig = Rig::builder().variable(variable, value).prepare();
        for said in [refused_start(&mut rig), refused_check(&rig)] {
            assert!(said.contains(variable) && said.contains(key), "{said}");
            assert!(said.contains("may not come from the environment"), "{said}");
        }
        assert!(picture(&rig.state_dir()).is_empty(), "nothing was begun");
    }
    // What names no key, or no value of it, is not passed over either.
    for (variable, value) in [
        ("MEXEGATE__TRUST__ROOT", "/tmp"),
        ("MEXEGATE__", "x"),
        ("MEXEGATE__LISTEN__SOCKS", "everywhere"),
        ("MEXEGATE__LIMITS__CONNECTIONS", "-1"),
        ("MEXEGATE__listen__insecure", "true"),
    ] {
        let mut rig = Rig::builder().variable(variable, value).prepare();
        let said = refused_start(&mut rig);
        assert!(said.contains(variable), "{said}");
    }
}

#[test]
fn the_environment_may_set_what_widens_nothing() {
    let rig = Rig::builder().variable("MEXEGATE__LIMITS__CONNECTIONS_PER_RUN", "77").start();
    let config = rig.config_file();
    let shown = rig.json(["check-config", "--config", config.to_str().unwrap()]);
    let items = shown["items"].as_array().or_else(|| shown.as_array()).unwrap_or_else(|| panic!("{shown}"));
    let item =
        items.iter().find(|item| item["key"] == "limits.connections_per_run").expect("the key is listed");
    assert_eq!((&item["value"], &item["from"]), (&77.into(), &"environment".into()), "{item}");
}

/// Makes a file or folder one that others could have written, and says how the gate calls it.
type Spoil = fn(&Path) -> &'static str;

const SPOILS: &[Spoil] = &[
    |path| mode(path, 0o020, "is writable by group or others"),
    |path| mode(path, 0o002, "is writable by group or others"),
    |path| {
        std::os::unix::fs::chown(path, Some(65534), None).expect("only root gets here");
        "is owned by user id 65534"
    },
];

fn mode(path: &Path, bits: u32, says: &'static str) -> &'static str {
    let old = fs::metadata(path).expect("there").permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(old | bits)).expect("ours");
    says
}

#[test]
fn files_that_widen_trust_are_taken_from_root_and_the_gate_only() {
    let spoils = if rustix::process::geteuid().is_root() { SPOILS } else { &SPOILS[..2] };
    for spoil in spoils {
        let mut rig = Rig::builder().prepare();
        let table = rig.folder().join("table.toml");
        rig::packages::write(&table, include_bytes!("../../gateway/policy/security-table.toml"));
        let text = fs::read_to_string(rig.config_file()).unwrap();
        let text = text.replace("[policy]", &format!("[policy]\nsecurity_table = \"{}\"", table.display()));
        rig::packages::write(&rig.config_file(), text.as_bytes());
        let roots = rig.roots().to_owned();
        for path in [
            rig.config_file(),
            table,
            roots.clone(),
            roots.join("operator"),
            roots.join("third-party"),
            roots.join("manufacturer/root.pem"),
        ] {
            let about = fs::metadata(&path).unwrap();
            let says = spoil(&path);
            for said in [refused_start(&mut rig), refused_check(&rig)] {
                assert!(
                    said.contains(&path.display().to_string()) && said.contains(says),
                    "{}: {said}",
                    path.display()
                );
            }
            assert!(picture(&rig.state_dir()).is_empty(), "nothing was begun");
            fs::set_permissions(&path, about.permissions()).unwrap();
            std::os::unix::fs::chown(&path, Some(about.uid()), Some(about.gid())).unwrap();
        }
        // With all of them as they should be it starts.
        rig.start_again();
    }
}

#[test]
fn a_link_or_a_pipe_in_place_of_a_file_is_judged_by_what_it_leads_to() {
    let mut rig = Rig::builder().prepare();
    let root = rig.roots().join("operator/extra.pem");
    let elsewhere = rig.folder().join("elsewhere.pem");
    fs::copy(rig.roots().join("operator/root.pem"), &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o666)).unwrap();
    symlink(&elsewhere, &root).unwrap();
    let said = refused_start(&mut rig);
    assert!(said.contains("is writable by group or others"), "{said}");
    fs::remove_file(&root).unwrap();
    // A pipe would hold the start for ever; it is no configuration.
    let config = fs::read(rig.config_file()).unwrap();
    fs::remove_file(rig.config_file()).unwrap();
    Output::of(Command::new("mkfifo").args(["-m", "600"]).arg(rig.config_file())).ended(0);
    let said = refused_start(&mut rig);
    assert!(said.contains("not a regular file"), "{said}");
    fs::remove_file(rig.config_file()).unwrap();
    let said = refused_start(&mut rig);
    assert!(said.contains("cannot be read"), "{said}");
    rig::packages::write(&rig.config_file(), &config);
    rig.start_again();
}

#[test]
fn a_wrong_configuration_is_told_with_its_place() {
    for (section, lines, place, what) in [
        ("listen", "sock = \"off\"", true, "sock"),
        ("limits", "idle = 30", true, "a duration in quotes"),
        ("limits", "idle = \"soon\"", true, "`soon` is not a duration"),
        ("limits", "connections = 0", true, "1 to 4294967295"),
        ("limits", "idle = \"1s\"\nidle = \"2s\"", true, "duplicate key"),
        ("policy", "token_runs = \"yes\"", true, "one of `allow`, `session-only`, `refuse`"),
        ("qos", "default_profile = \"\"", true, "the name is empty"),
        ("runtime.native", "command = [\"/bin/true\"]", true, "{package}"),
        ("trust", "legacy = \"no\"", true, "invalid type"),
        ("nonsense", "a = 1", true, "nonsense"),
        ("journal", "max_size = \"1 KiB\"", true, "1 MiB"),
        ("qos", "profiles = \"/nonexistent/profiles\"", true, "/nonexistent/profiles"),
        (
            "policy",
            "security_table = \"/nonexistent/table.toml\"\ntoken_runs = \"allow\"",
            true,
            "/nonexistent/table.toml",
        ),
    ] {
        let mut rig = Rig::builder().section(section, lines).prepare();
        for said in [refused_start(&mut rig), refused_check(&rig)] {
            assert!(said.contains(what), "{section} {lines}: {said}");
            let file = format!("{}:", rig.config_file().display());
            let numbers = said.split(&file).nth(1).unwrap_or_default();
            let numbers: Vec<_> = numbers.splitn(3, ':').take(2).map(|n| n.parse::<u32>().is_ok()).collect();
            assert_eq!(numbers == [true, true], place, "line and column: {said}");
        }
        assert!(picture(&rig.state_dir()).is_empty(), "nothing was begun");
    }
    let mut rig = Rig::builder().prepare();
    for (bytes, what) in
        [(&b"[listen\n"[..], ":1:"), (b"\xff\xfe[\0l\0", "UTF-8"), (&vec![b'#'; 3 << 20], "larger than")]
    {
        rig::packages::write(&rig.config_file(), bytes);
        for said in [refused_start(&mut rig), refused_check(&rig)] {
            assert!(said.contains(what), "{said}");
        }
    }
}

#[test]
fn a_wrong_table_or_profile_is_told_with_its_place() {
    let shipped = include_str!("../../gateway/policy/security-table.toml");
    let generous = shipped
        .replace("untrusted = { permission = \"no\"", "untrusted = { permission = \"blanket(blanket)\"");
    for (text, what) in [
        (generous.as_str(), "an untrusted app never gets this"),
        ("", "the table has no action"),
        ("[[action]]\naction = 1", "line 2"),
        ("[[action]]\naction = \"network.connect\"", "line 1"),
        (&format!("{shipped}\n[[action]]\naction = \"network.*\""), "line"),
        ("not toml", "line 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("table.toml");
        rig::packages::write(&table, text.as_bytes());
        let lines = format!("security_table = \"{}\"\ntoken_runs = \"allow\"", table.display());
        let mut rig = Rig::builder().section("policy", &lines).prepare();
        let said = refused_start(&mut rig);
        assert!(said.contains("table.toml") && said.contains(what), "{said}");
        assert!(picture(&rig.state_dir()).is_empty(), "nothing was begun");
    }
    for (text, what) in [
        ("name = \"fast\"\ndescription = \"x\"\nclass = \"warp\"", ":3:"),
        (
            "name = \"fast\"\ndescription = \"x\"\nclass = \"background\"\nmax_bitrate_up = \"1 Mbit/s\"",
            "burst",
        ),
        ("name = \"background\"\ndescription = \"x\"\nclass = \"conversational\"", "background"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        rig::packages::write(&folder.path().join("fast.toml"), text.as_bytes());
        let lines = format!("profiles = \"{}\"", folder.path().display());
        let mut rig = Rig::builder().section("qos", &lines).prepare();
        let said = refused_start(&mut rig);
        assert!(said.contains("fast.toml") && said.contains(what), "{said}");
    }
}

#[test]
fn a_database_that_is_none_is_left_alone() {
    let mut rig = Rig::start();
    rig.app("operator");
    rig.stop();
    let database = rig.state_dir().join("mexegate.db");
    let good = fs::read(&database).unwrap();
    let mut flipped = good.clone();
    // The first page, behind the header: the schema.
    for byte in &mut flipped[100..2000] {
        *byte ^= 0x55;
    }
    for (what, bytes) in [
        ("text", b"this is no database\n".repeat(300)),
        ("half of it", good[..good.len() / 2 - 100].to_vec()),
        ("a broken schema", flipped),
    ] {
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(rig.state_dir().join(format!("mexegate.db{ending}")));
        }
        fs::write(&database, &bytes).unwrap();
        let said = refused_start(&mut rig);
        assert!(
            said.contains("mexegate.db") || said.contains("journal") || said.contains("database"),
            "{what}: {said}"
        );
        assert_eq!(fs::read(&database).unwrap(), bytes, "{what}: the file is as it was");
        let listed = rig.cli(["journal"]);
        assert_eq!(
            (listed.code, listed.stderr.lines().count()),
            (code::FAULT, 1),
            "{what}: {}",
            listed.stderr
        );
    }
    // A database of a later version is for a later gate.
    fs::write(&database, &good).unwrap();
    Output::of(Command::new("sqlite3").arg(&database).arg("PRAGMA user_version = 9999")).ended(0);
    let said = refused_start(&mut rig);
    assert!(said.contains("version") || said.contains("newer"), "{said}");
    fs::write(&database, &good).unwrap();
    rig.start_again();
    assert_eq!(rig.json(["app", "list"])["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_second_gate_on_the_same_folder_says_who_has_it() {
    let rig = Rig::start();
    let config = rig.config_file();
    let second = rig.cli(["serve", "--config", config.to_str().unwrap()]).ended(code::FAULT);
    let said = second.stderr.lines().find(|line| line.starts_with("mexegate:")).unwrap_or_default();
    assert!(said.contains(&rig.pid().to_string()) || said.contains("another"), "{}", second.stderr);
    assert_eq!(rig.health("readyz").status, 200, "the first goes on");
    // A port that somebody else has is named.
    let mut other = Rig::builder().prepare();
    let taken = fs::read_to_string(other.config_file()).unwrap();
    let taken = taken.replace(&other.ports().socks.to_string(), &rig.ports().socks.to_string());
    rig::packages::write(&other.config_file(), taken.as_bytes());
    let said = refused_start(&mut other);
    assert!(said.contains(&rig.ports().socks.to_string()) && said.contains("SOCKS5"), "{said}");
}
