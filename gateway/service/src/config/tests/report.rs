//! What `check-config` shows.

use super::*;

fn place() -> Place {
    let place = Place::new(
        "# Ours\n[listen]\nmasque = \"off\"\nsocks = \"off\"\n\n[[bearer]]\nname = \"a\"\nkind = \"static\"\n",
    );
    let mut place = place.with(&[("MEXEGATE__LIMITS__CONNECTIONS", "77")]);
    place.options.flags = Overrides::state_dir(Some("/var/lib/gate".into())).set("listen.http", "off");
    place
}

#[test]
fn the_table_shows_where_each_value_comes_from() {
    let place = place();
    let shown = place.load().unwrap().report.to_string();
    let file = place.path("mexegate.toml").display().to_string();
    let words = |start: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no {start} in\n{shown}"));
        line.split("  ")
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .map(|w| w.replace(&file, "FILE"))
            .collect::<Vec<_>>()
    };
    assert_eq!(words("key"), ["key", "value", "from", "note"]);
    assert_eq!(words("state-dir"), ["state-dir", "/var/lib/gate", "flag"]);
    assert_eq!(words("listen.socks"), ["listen.socks", "off", "FILE:4"]);
    assert_eq!(words("listen.masque"), ["listen.masque", "off", "FILE:3", "not effective yet"]);
    assert_eq!(words("listen.http"), ["listen.http", "off", "flag"]);
    assert_eq!(words("listen.console"), ["listen.console", "127.0.0.1:8057", "default"]);
    assert_eq!(words("limits.connections "), ["limits.connections", "77", "$MEXEGATE__LIMITS__CONNECTIONS"]);
    assert_eq!(words("limits.idle"), ["limits.idle", "1h", "default"]);
    assert_eq!(words("policy.security_table"), ["policy.security_table", "shipped", "default"]);
    assert_eq!(words("bearer"), ["bearer", "[{\"kind\":\"static\",\"name\":\"a\"}]", "FILE:6"]);
}

#[test]
fn the_json_has_the_same_rows() {
    let loaded = place().load().unwrap();
    let json = serde_json::to_value(&loaded.report).unwrap();
    let items = json["items"].as_array().unwrap();
    assert_eq!(items.len(), loaded.report.rows.len());
    let item = |key: &str| items.iter().find(|item| item["key"] == key).unwrap();
    assert_eq!(item("state-dir")["from"], "flag");
    let socks = item("listen.socks");
    assert_eq!((&socks["value"], &socks["from"], &socks["line"]), (&"off".into(), &"file".into(), &4.into()));
    let connections = item("limits.connections");
    assert_eq!((&connections["value"], &connections["from"]), (&77.into(), &"environment".into()));
    assert_eq!(connections["variable"], "MEXEGATE__LIMITS__CONNECTIONS");
    assert_eq!(
        (&item("listen.masque")["effective"], &item("trust.roots")["value"]),
        (&false.into(), &().into())
    );
}

#[test]
fn keys_that_are_set_without_effect_are_noted() {
    let place = place();
    let file = place.path("mexegate.toml");
    assert_eq!(
        place.load().unwrap().notes,
        [format!("`listen.masque` is set ({}:3) and has no effect yet", file.display())]
    );
    assert_eq!(Place::new("").load().unwrap().notes, Vec::<String>::new());
}
