//! What the file may say, and where each mistake in it is found.

use super::super::keys::KEYS;
use super::super::raw::Raw;
use super::*;

#[test]
fn every_mistake_is_told_with_line_and_column() {
    for (text, expected) in [
        ("[listen]\nsoks = \"off\"", "2:1: unknown key `soks`, expected one of `socks`"),
        ("[nope]", "1:2: unknown key `nope`, expected one of `bearer`"),
        ("[runtime.wasm]\ncommand = []", "1:10: unknown key `wasm`, expected `jar` or `native`"),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"static\"\nmtu = 5",
            "4:1: unknown key `mtu`, expected one of `name`",
        ),
        ("listen = 5", "1:10: invalid type: integer `5`, expected a table"),
        (
            "[listen]\nsocks = 5",
            "2:9: invalid type: integer `5`, expected an address and port in quotes, or \"off\"",
        ),
        (
            "[listen]\nsocks = \"localhost:1080\"",
            "2:9: `localhost:1080` is not a listener: write ADDRESS:PORT",
        ),
        ("[listen]\ninsecure = \"yes\"", "2:12: invalid type: string \"yes\", expected a boolean"),
        ("[listen]\nsocks = off", "2:9: string values must be quoted"),
        ("[listen\nsocks = 5", "1:8: unclosed table, expected `]`"),
        ("x", "1:2: key with no value, expected `=`"),
        ("[listen]\nsocks = \"off\"\nsocks = \"off\"", "3:1: duplicate key"),
        ("[listen]\n[trust]\n[listen]", "3:2: duplicate key"),
        ("[limits]\nconnections = 0", "2:15: invalid value: integer `0`, expected a whole number from 1 to"),
        (
            "[limits]\nconnections = -1",
            "2:15: invalid value: integer `-1`, expected a whole number from 1 to",
        ),
        ("[limits]\nconnections = 4294967296", "2:15: invalid value: integer `4294967296`, expected a whole"),
        (
            "[limits]\nconnections = \"5\"",
            "2:15: invalid type: string \"5\", expected a whole number from 1 to",
        ),
        ("[limits]\nconnections = 1.5", "2:15: invalid type: floating point `1.5`, expected a whole number"),
        ("[limits]\nidle = \"30\"", "2:8: `30` is not a duration: write a whole number and ms, s, m, h or d"),
        (
            "[limits]\nidle = 30",
            "2:8: invalid type: integer `30`, expected a duration in quotes, as in \"30s\"",
        ),
        (
            "[limits]\nbody = \"64 kB\"",
            "2:8: `64 kB` is not a size: write a whole number and B, KiB, MiB or GiB",
        ),
        ("[limits]\nbody = \"1 B\"", "2:8: the size is too small to work with: write 1 KiB or more"),
        (
            "[journal]\r\nmax_size = \"1 KiB\"\r\n",
            "2:12: the size is too small to work with: write 1 MiB or more",
        ),
        (
            "[policy]\ntoken_runs = \"ja\"",
            "2:14: unknown value `ja`, expected one of `allow`, `session-only`, `refuse`",
        ),
        ("[policy]\ntoken_runs = 5", "2:14: expected a string"),
        ("[policy]\nexpiry = \"late\"", "2:10: unknown value `late`, expected `lenient` or `strict`"),
        ("[[bearer]]\nname = \"a\"", "1:1: missing key `kind`"),
        ("[bearer]\nname = \"a\"", "1:1: invalid type: table, expected a list"),
        ("[[bearer]]\nname = \"a\"\nkind = \"x\"", "3:8: unknown value `x`, expected one of `camara`"),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"static\"\nuplink = \"5\"",
            "4:10: `5` is not a bit rate: write a number",
        ),
        ("[[bearer]]\nname = \"A\"\nkind = \"static\"", "2:8: a bearer's name is 1 to 32 lower-case letters"),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"static\"\n[[bearer]]\nname = \"a\"\nkind = \"static\"",
            "5:8: there are two bearers `a`: give each its own name",
        ),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"static\"\napn = \"internet\"",
            "4:7: a bearer of kind static has no `apn`: leave it out",
        ),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"modem\"\napn = \"x\\\";+CFUN=0\"",
            "4:7: the name of an access point is made of letters",
        ),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"modem\"\nroaming = true",
            "4:11: a bearer of kind modem has no `roaming`: leave it out",
        ),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"modem\"\ncontext = 0",
            "4:11: a modem counts its contexts from 1, and has at most 11",
        ),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"modem\"\npackets = \"ipx\"",
            "4:11: unknown value `ipx`, expected one of `ipv4`, `ipv6`, `ipv4v6`",
        ),
        ("[[bearer]]\nname = \"a\"\nkind = \"linux\"", "2:8: a bearer of kind linux needs `device`"),
        (
            "[[bearer]]\nname = \"a\"\nkind = \"linux\"\ndevice = \"../x\"",
            "4:10: this is no name of a network device",
        ),
        ("[runtime.jar]", "1:1: missing key `command`"),
        ("[runtime.jar]\ncommand = \"java\"", "2:11: invalid type: string \"java\", expected a list"),
        ("[runtime.jar]\ncommand = [1]", "2:12: invalid type: integer `1`, expected a string"),
        ("[runtime.jar]\ncommand = []", "2:11: the command names no program: write [\"PROGRAM\""),
        ("[runtime.jar]\ncommand = [\"java\"]", "2:11: no word of the command is `{package}`"),
        (
            "[runtime.jar]\ncommand = [\"{package}\\u0000\"]",
            "2:11: a word of the command holds a NUL character",
        ),
        ("[listen]\nsocks = \"0.0.0.0:1080\"", "2:9: `0.0.0.0:1080` is not a loopback address"),
        ("[listen]\nmetrics = \"192.0.2.1:9057\"", "2:11: `192.0.2.1:9057` is not a loopback address"),
        ("[listen]\nhttp = \"127.0.0.1:1080\"", "2:8: `127.0.0.1:1080` is taken by listen.socks"),
        ("[trust]\nroots = 5", "2:9: invalid type: integer `5`, expected a string"),
        ("[trust]\nroots = \"\"", "2:9: the path is empty: name a file or folder"),
        ("[trust]\nroots = \"nowhere\"", "2:9: `nowhere` cannot be read: No such file"),
        ("[trust]\nroots = \"mexegate.toml\"", "2:9: `mexegate.toml` cannot be read: not a folder"),
        ("[policy]\nsecurity_table = \"/dev/null\"", "2:18: `/dev/null` cannot be read: not a regular file"),
        ("[policy]\nactions = \"nowhere.toml\"", "2:11: `nowhere.toml` cannot be read: No such file"),
        ("[policy]\nexclusions = \"midi\"", "2:14: `midi` cannot be read: No such file"),
        ("[qos]\nprofiles = \"nowhere\"", "2:12: `nowhere` cannot be read: No such file"),
        ("[qos]\ndefault_profile = \"\"", "2:19: the name is empty: write a profile's name"),
    ] {
        let mistake = Place::new(text).mistake();
        assert!(mistake.starts_with(&format!("mexegate.toml:{expected}")), "{text:?} gave {mistake}");
        assert!(!mistake.contains('\n'), "{text:?} gave several lines");
    }
}

#[test]
fn the_caret_stands_under_the_mistake() {
    let place = Place::new("# Ports\n[listen]\n\tsocks = \"Zürich\" # 1080\n");
    let error = place.load().unwrap_err();
    assert_eq!(
        error.excerpt().unwrap().to_string(),
        " 3 |  socks = \"Zürich\" # 1080\n   |          ^^^^^^^^",
    );
    assert!(error.with_excerpt().starts_with(&error.to_string()));
    assert!(error.to_string().contains("mexegate.toml:3:10: `Zürich` is not a listener"), "{error}");
}

#[test]
fn values_are_read_as_written() {
    let config = Place::new(
        "[listen]\nsocks = \"off\"\nhttp = \"0.0.0.0:3128\"\nconsole = \"[::1]:0\"\nmetrics = \"[::1]:0\"\ninsecure = true\n\
         [policy]\ntoken_runs = \"refuse\"\nexpiry = \"strict\"\n\
         [runtime.jar]\ncommand = [\"/usr/bin/java\", \"-cp\", \"x:{package}\"]\n\
         [limits]\nconnections = 100\nidle = \"5m\"\npackage = \"1 GiB\"\nnew_connections_per_second_per_run = 7\n\
         [[bearer]]\nname = \"lte-1\"\nkind = \"modem\"\nuplink = \"1.5 Mbit/s\"\napn = \"internet\"\n",
    )
    .config();
    assert_eq!(config.listen.socks, None);
    assert_eq!(config.listen.http, Some("0.0.0.0:3128".parse().unwrap()));
    assert_eq!(config.listen.console, config.listen.metrics);
    assert_eq!(config.policy.token_runs, mexe_policy::TokenRuns::Refuse);
    assert_eq!((config.policy.expiry, config.policy.expiry_is_strict()), (Expiry::Strict, true));
    assert_eq!(config.runtime.command("jar"), ["/usr/bin/java", "-cp", "x:{package}"]);
    assert_eq!(config.runtime.command("native"), ["{package}"]);
    assert_eq!(config.runtime.command("wasm"), [""; 0]);
    assert_eq!(config.limits.connections.unwrap().get(), 100);
    assert_eq!(config.limits.new_connections_per_second_per_run.unwrap().get(), 7);
    assert_eq!(config.limits.idle.as_secs(), 300);
    assert_eq!(config.limits.package, 1 << 30);
    let bearer = &config.bearers[0];
    assert_eq!((bearer.name.as_str(), bearer.kind, bearer.downlink), ("lte-1", BearerKind::Modem, None));
    assert_eq!(bearer.uplink.unwrap().get(), 1_500_000);
    let expected = ModemSettings { apn: Some("internet".into()), ..ModemSettings::default() };
    assert_eq!((&bearer.modem, expected.context), (&expected, 1));
}

#[test]
fn loopback_is_known_in_all_its_forms() {
    for address in ["127.8.9.1:1080", "[::1]:1080", "[::ffff:127.0.0.1]:1080"] {
        let text = format!("[listen]\nsocks = \"{address}\"");
        assert_eq!(Place::new(&text).config().listen.socks.unwrap().to_string(), address);
    }
    for address in ["[::]:1080", "[::ffff:192.0.2.1]:1080", "10.0.0.1:1080"] {
        let mistake = Place::new(&format!("[listen]\nsocks = \"{address}\"")).mistake();
        assert!(mistake.contains("is not a loopback address"), "{mistake}");
    }
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let place = Place::new("[trust]\nroots = \"roots\"\n[policy]\nsecurity_table = \"./table.toml\"\n");
    std::fs::create_dir(place.path("roots")).unwrap();
    chmod(&place.path("roots"), 0o755);
    write(&place.path("table.toml"), "");
    let config = place.config();
    assert_eq!(config.trust.roots.unwrap(), place.path("roots"));
    assert_eq!(config.policy.security_table.unwrap(), place.path("table.toml"));
}

#[test]
fn a_file_that_is_no_configuration_is_refused_by_name() {
    let mut place = Place::new("");
    let file = place.path("mexegate.toml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(place.mistake(), "`mexegate.toml` is not UTF-8: write TOML");
    std::fs::write(&file, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(
        place.mistake().starts_with("`mexegate.toml` is larger than 1048576 bytes"),
        "{}",
        place.mistake()
    );
    place.options.file = Some("/dev/zero".into());
    assert_eq!(place.mistake(), "`/dev/zero` cannot be read: not a regular file");
    place.options.file = Some(place.path("none.toml"));
    assert!(place.mistake().starts_with("`none.toml` cannot be read: No such file"), "{}", place.mistake());
    let fifo = place.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    place.options.file = Some(fifo);
    assert_eq!(place.mistake(), "`fifo` cannot be read: not a regular file");
}

/// The sample with its keys uncommented, and its paths below `folder`.
fn sample(folder: &Path) -> String {
    let lines: Vec<&str> = SAMPLE.lines().map(|line| commented_key(line).unwrap_or(line)).collect();
    (lines.join("\n") + "\n").replace("/etc/mexegate", &folder.display().to_string())
}

fn commented_key(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

const SAMPLE: &str = include_str!("../../../../../docs/mexegate.toml");

fn sample_place() -> Place {
    let place = Place::new("");
    for folder in ["roots", "crls", "usim", "profiles"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        chmod(&place.path(folder), 0o755);
    }
    write(&place.path("security-table.toml"), "");
    write(&place.path("actions.toml"), "");
    place
}

#[test]
fn the_sample_holds_and_changes_nothing_as_it_is() {
    assert_eq!(Place::new(SAMPLE).config(), Place::new("").config());
}

#[test]
fn the_sample_has_every_key_with_its_default() {
    let place = sample_place();
    write(&place.path("mexegate.toml"), &sample(place.folder.path()));
    let set = place.load().unwrap_or_else(|error| panic!("{}", error.with_excerpt())).report;
    let default = Place::new("").load().unwrap().report;
    for (set, default) in set.rows.iter().zip(&default.rows).skip(1) {
        assert!(
            matches!(set.source, Source::File { line, .. } if line > 0),
            "{} is not in the sample",
            set.key
        );
        let has_default = !default.value.is_null() && default.value != serde_json::json!([]);
        if has_default {
            assert_eq!(set.value, default.value, "{}", set.key);
        }
    }
}

#[test]
fn the_list_of_keys_is_the_list_of_fields() {
    let values = serde_json::to_value(Raw::default()).unwrap();
    let mut fields = Vec::new();
    for (section, value) in values.as_object().unwrap() {
        match value.as_object() {
            None => fields.push(section.clone()),
            Some(keys) if section == "runtime" => {
                fields.extend(keys.keys().map(|k| format!("runtime.{k}.command")))
            }
            Some(keys) => fields.extend(keys.keys().map(|key| format!("{section}.{key}"))),
        }
    }
    let mut listed: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    listed.sort();
    fields.sort();
    assert_eq!(listed, fields);
}

#[test]
fn a_file_cut_off_anywhere_loads_or_is_refused_in_place() {
    let place = sample_place();
    let whole: String =
        sample(place.folder.path()).lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    let (mut good, mut bad) = (0, 0);
    for (end, _) in whole.char_indices() {
        let (cut, _) = whole.split_at(end);
        write(&place.path("mexegate.toml"), cut);
        match place.load() {
            Ok(_) => good += 1,
            Err(error) => {
                let excerpt = error.excerpt().unwrap_or_else(|| panic!("no place: {error}"));
                assert!(excerpt.line <= cut.lines().count().max(1), "{error}");
                bad += 1;
            }
        }
    }
    assert!(good > 30 && bad > 300, "{good} good, {bad} bad");
}
