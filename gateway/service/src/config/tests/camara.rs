//! `[bearer.camara]`: what is taken, which mistakes are named where they stand, and that secrets are for their owner alone.

use std::time::Duration;

use mexe_qos::TrafficClass;

use super::*;

const BEARER: &str = "[[bearer]]\nname = \"a\"\nkind = \"camara\"\n[bearer.camara]\n";

/// A configuration with a token, authorities and a client's secret beside it.
fn place(lines: &str) -> Place {
    let place = Place::new(&format!("{BEARER}{lines}"));
    for (file, mode) in [("token", 0o600), ("secret", 0o400), ("key.pem", 0o600), ("roots.pem", 0o644)] {
        write(&place.path(file), "content\n");
        chmod(&place.path(file), mode);
    }
    place
}

const LEAST: &str = "url = \"https://api.example/base/\"\ntoken_file = \"token\"\nroots = \"roots.pem\"\n";

#[test]
fn the_least_that_has_to_be_said_is_enough() {
    let place = place(LEAST);
    let settings = place.config().bearers[0].camara.clone().unwrap();
    assert_eq!(settings.url, "https://api.example/base");
    assert_eq!(settings.credential, Credential::Token(place.path("token")));
    assert_eq!((settings.device, settings.sink), (DeviceIdentity::default(), None));
    assert_eq!((settings.duration, settings.poll), (Duration::from_secs(3600), Duration::from_secs(10)));
    assert_eq!((settings.roots, settings.pace), (place.path("roots.pem"), Pace::default()));
}

#[test]
fn everything_can_be_said() {
    let place = place(
        "url = \"http://127.0.0.1:8080\"\ntoken_url = \"https://login.example/token\"\nclient_id = \"gate\"\n\
         client_secret_file = \"secret\"\nscope = \"qos-profiles:read x\"\nphone_number = \"+4930123456\"\n\
         ipv4 = { public = \"203.0.113.1\", port = 5000 }\nipv6 = \"2001:db8::1\"\nduration = \"2h\"\npoll = \"5s\"\n\
         roots = \"roots.pem\"\nprofiles = { conversational = \"QOS_E\" }\n\
         [bearer.camara.sink]\nurl = \"https://me.example/events\"\nlisten = \"0.0.0.0:8443\"\n\
         certificate = \"roots.pem\"\nkey = \"key.pem\"\n",
    );
    let settings = place.config().bearers[0].camara.clone().unwrap();
    let Credential::Client { url, id, secret, scope } = settings.credential else { panic!("a client") };
    assert_eq!((url.as_str(), id.as_str()), ("https://login.example/token", "gate"));
    assert_eq!((secret, scope.as_deref()), (place.path("secret"), Some("qos-profiles:read x")));
    assert_eq!(settings.profiles[&TrafficClass::Conversational], "QOS_E");
    assert_eq!(settings.device.ipv4, Some(("203.0.113.1".parse().unwrap(), None, Some(5000))));
    assert_eq!(settings.sink.unwrap().key, place.path("key.pem"));
    // check-config shows the names of the files, not what is in them.
    let shown = place.load().unwrap().report.to_string();
    assert!(shown.contains("client_secret_file") && !shown.contains("content"), "{shown}");
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let cases = [
        ("", "4:1: missing key `url`"),
        ("url = \"https://a\"\n", "5:7: write either `token_file`, or `token_url`, `client_id`"),
        (
            "url = \"https://a\"\ntoken_file = \"token\"\nclient_id = \"x\"\n",
            "5:7: write either `token_file`",
        ),
        ("url = \"http://api.example\"\ntoken_file = \"token\"\n", "5:7: tokens would travel in clear"),
        ("url = \"https://me:secret@a/\"\ntoken_file = \"token\"\n", "5:7: what proves who the gate is"),
        ("url = \"https://a/?x=1\"\ntoken_file = \"token\"\n", "5:7: the address ends with its path"),
        ("url = \"/a\"\ntoken_file = \"token\"\n", "5:7: the address names no host"),
        ("url = \"https://a\"\ntoken_file = \"\"\n", "6:14: the path is empty"),
        (
            "url = \"https://a\"\ntoken_file = \"none\"\nroots = \"roots.pem\"\n",
            "6:14: `none` cannot be read",
        ),
        ("url = \"https://a\"\ntoken_file = \"token\"\nroots = \"none\"\n", "7:9: `none` cannot be read"),
        ("phone_number = \"030123456\"\n", "8:16: write it with plus and country code"),
        ("ipv4 = { public = \"203.0.113.1\" }\n", "8:8: a public address alone tells no device"),
        ("ipv6 = \"x\"\n", "8:8: invalid IPv6 address"),
        ("poll = \"500ms\"\n", "8:8: write 1s to 5m"),
        ("duration = \"15s\"\n", "8:12: write twice `poll`"),
        ("profiles = { streaming = \"a b\" }\n", "8:12: `a b` is no name of a profile"),
        ("profiles = { video = \"QOS_L\" }\n", "8:14: unknown value `video`"),
        ("token = \"secret\"\n", "8:1: unknown key `token`"),
        (
            "sink = { url = \"http://127.0.0.1/\", listen = \"127.0.0.1:1\", certificate = \"roots.pem\", key = \"key.pem\" }\n",
            "8:8: tokens would travel in clear",
        ),
    ];
    for (lines, expected) in cases {
        let whole = if lines.is_empty() || lines.starts_with("url") {
            lines.to_owned()
        } else {
            format!("{LEAST}{lines}")
        };
        let mistake = place(&whole).mistake();
        assert!(mistake.starts_with(&format!("mexegate.toml:{expected}")), "{mistake}\nfor\n{whole}");
    }
    let none = Place::new("[[bearer]]\nname = \"a\"\nkind = \"camara\"\n").mistake();
    assert!(none.contains("2:8: a bearer of kind camara needs a table `[bearer.camara]`"), "{none}");
    let other = BEARER.replace("\"camara\"", "\"static\"");
    let other = Place::new(&format!("{other}{LEAST}")).mistake();
    assert!(other.contains("a bearer of kind static has no `camara`: leave it out"), "{other}");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o644, 0o610] {
        let place = place(LEAST);
        chmod(&place.path("token"), mode);
        let expected = format!("`token` is open to group or others (mode {mode:04o})");
        assert!(place.mistake().starts_with(&expected), "{}", place.mistake());
    }
    for (file, mode) in [("token", 0o620), ("roots.pem", 0o666)] {
        let place = place(LEAST);
        chmod(&place.path(file), mode);
        assert!(place.mistake().starts_with(&format!("`{file}` is writable by group or others")));
    }
}
