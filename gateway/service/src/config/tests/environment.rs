//! What the environment may set, and what it may not (S4).

use super::super::keys::KEYS;
use super::*;

#[test]
fn the_later_layer_wins() {
    let text = "[listen]\nsocks = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\nconsole = \"127.0.0.1:3\"\n";
    let mut place = Place::new(text)
        .with(&[("MEXEGATE__LISTEN__HTTP", "127.0.0.1:4"), ("MEXEGATE__LISTEN__CONSOLE", "127.0.0.1:5")]);
    place.options.flags = Overrides::default().set("listen.console", "127.0.0.1:6");
    let listen = place.config().listen;
    let ports = [listen.socks, listen.http, listen.console, listen.metrics].map(|l| l.unwrap().port());
    assert_eq!(ports, [1, 4, 6, 9057]);
}

#[test]
fn numbers_and_sizes_come_from_the_environment_too() {
    let place = Place::new("").with(&[
        ("MEXEGATE__LIMITS__CONNECTIONS", "77"),
        ("MEXEGATE__LIMITS__BODY", "2 KiB"),
        ("MEXEGATE__QOS__DEFAULT_PROFILE", "007"),
        ("MEXEGATE_LIMITS_BODY", "not ours"),
    ]);
    let config = place.config();
    assert_eq!((config.limits.connections.unwrap().get(), config.limits.body), (77, 2048));
    assert_eq!(config.qos.default_profile, "007");
}

#[test]
fn a_hostile_variable_cannot_widen_trust() {
    for (variable, value) in [
        ("MEXEGATE__TRUST__ROOTS", "/tmp/mine"),
        ("MEXEGATE__TRUST__LEGACY", "true"),
        ("MEXEGATE__TRUST__CRLS", "/tmp/none"),
        ("MEXEGATE__TRUST__USIM", "/tmp/card"),
        ("MEXEGATE__TRUST__WHATEVER", "1"),
        ("MEXEGATE__POLICY__SECURITY_TABLE", "/tmp/table.toml"),
        ("MEXEGATE__POLICY__TOKEN_RUNS", "allow"),
        ("MEXEGATE__POLICY__EXPIRY", "lenient"),
        ("MEXEGATE__POLICY", "x"),
        ("MEXEGATE__RUNTIME__JAR__COMMAND", "/tmp/java"),
        ("MEXEGATE__BEARER", "x"),
        ("MEXEGATE__LISTEN__INSECURE", "true"),
    ] {
        let mistake = Place::new("").with(&[(variable, value)]).mistake();
        let expected = format!("`{variable}` may not come from the environment: set `");
        assert!(mistake.starts_with(&expected), "{mistake}");
    }
    for key in KEYS.iter().filter(|key| key.widens()) {
        let place = Place::new("").with(&[(&key.variable(), "x")]);
        assert!(matches!(place.load(), Err(ConfigError::EnvironmentForbidden { .. })), "{}", key.name);
    }
}

#[test]
fn the_control_socket_cannot_be_moved_by_our_own_variables() {
    for variable in ["MEXEGATE__STATE_DIR", "MEXEGATE__CONTROL__SOCKET", "MEXEGATE__CONTROL_SOCKET"] {
        let mistake = Place::new("").with(&[(variable, "/tmp/mine")]).mistake();
        let expected = format!(
            "`{variable}` names no key of the configuration: the state directory with the control socket is set by --state-dir"
        );
        assert_eq!(mistake, expected);
    }
}

#[test]
fn the_demo_may_set_what_a_service_may_not() {
    let mut place = Place::new("").with(&[("MEXEGATE__POLICY__TOKEN_RUNS", "allow")]);
    place.options.mode = Mode::Demo;
    assert_eq!(place.config().policy.token_runs, mexe_policy::TokenRuns::Allow);
}

#[test]
fn a_misspelt_variable_is_told_what_was_meant() {
    for (variable, expected) in [
        ("MEXEGATE__LISTEN__SOKS", "is `MEXEGATE__LISTEN__SOCKS` meant?"),
        ("MEXEGATE__LIMIT__IDLE", "is `MEXEGATE__LIMITS__IDLE` meant?"),
        ("MEXEGATE__listen__socks", "is `MEXEGATE__LISTEN__SOCKS` meant?"),
        ("MEXEGATE__SOMETHING__QUITE__ELSE", "unset it; `mexegate check-config` lists the keys"),
        ("MEXEGATE__", "unset it; `mexegate check-config` lists the keys"),
    ] {
        let mistake = Place::new("").with(&[(variable, "off")]).mistake();
        assert_eq!(mistake, format!("`{variable}` names no key of the configuration: {expected}"));
    }
}

#[test]
fn a_wrong_value_names_its_variable() {
    for (variable, value, expected) in [
        ("MEXEGATE__LISTEN__SOCKS", "1080", "`1080` is not a listener: write ADDRESS:PORT"),
        ("MEXEGATE__LISTEN__SOCKS", "", "`` is not a listener: write ADDRESS:PORT"),
        ("MEXEGATE__LISTEN__SOCKS", "0.0.0.0:1080", "`0.0.0.0:1080` is not a loopback address"),
        ("MEXEGATE__LIMITS__CONNECTIONS", "many", "`many` is not a whole number"),
        (
            "MEXEGATE__LIMITS__CONNECTIONS",
            "0",
            "invalid value: integer `0`, expected a whole number from 1 to",
        ),
        ("MEXEGATE__LIMITS__IDLE", "1\u{1b}[2J", "`1 [2J` is not a duration: write"),
        ("MEXEGATE__LIMITS__BODY", "1 B", "the size is too small to work with"),
        ("MEXEGATE__QOS__PROFILES", "/nowhere", "`/nowhere` cannot be read: No such file"),
    ] {
        let mistake = Place::new("").with(&[(variable, value)]).mistake();
        assert!(mistake.starts_with(&format!("`{variable}`: {expected}")), "{mistake}");
    }
}

#[test]
fn a_wrong_override_names_its_key() {
    for (key, value, expected) in [
        ("listen.soks", "off", "`listen.soks`: there is no such key"),
        ("listen.socks", "x", "`listen.socks`: `x` is not a listener"),
        ("listen.insecure", "yes", "`listen.insecure`: `yes` is neither true nor false"),
        ("runtime.jar.command", "java", "`runtime.jar.command`: a list is set in the configuration file"),
    ] {
        let mut place = Place::new("");
        place.options.flags = Overrides::default().set(key, value);
        assert!(place.mistake().starts_with(expected), "{}", place.mistake());
    }
}

#[test]
fn without_any_place_for_state_loading_says_what_to_do() {
    let mut place = Place::new("");
    place.options.environment = Environment::default();
    assert!(matches!(place.load(), Err(ConfigError::StateDirUnknown)));
    assert!(place.mistake().contains("give --state-dir"));
    place.options.flags = Overrides::state_dir(Some("/var/lib/gate".into()));
    assert_eq!(place.config().state_dir, Path::new("/var/lib/gate"));
}
