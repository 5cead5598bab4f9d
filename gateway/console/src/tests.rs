//! No page shows what somebody else wrote in a way that means something: each field of each view in turn holds markup,
//! characters that turn the reading direction or are not seen, and a text without end.

use askama::Template;
use mexe_model::WallTime;
use serde_json::{Value, json};

use crate::*;

/// Markup, an attribute's end, a script's address, a direction override, a zero-width space, controls, a backslash.
const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=x>&amp;javascript:\u{202e}gpj\u{200b}\u{1b}[2J\0\n\\{{7*7}}";

/// What would have to be in a page for the text to have come through.
const LEAKS: [&str; 9] = [
    "<script>alert",
    "<img src=x",
    "\"'>",
    "\u{202e}",
    "\u{200b}",
    "\u{1b}",
    "\0",
    "49}",
    "x onerror=x>&amp;java",
];

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

fn read_all<T: serde::de::DeserializeOwned>(value: &Value) -> Option<Vec<T>> {
    read(&json!([value]))
}

/// Every string in the value, one after the other, replaced by `text`.
fn each_replaced(value: &Value, text: &str) -> Vec<Value> {
    match value {
        Value::String(_) => vec![json!(text)],
        Value::Array(items) => {
            let with = |at: usize, new| {
                let mut items = items.clone();
                items[at] = new;
                Value::Array(items)
            };
            let each = items.iter().enumerate();
            each.flat_map(|(at, item)| each_replaced(item, text).into_iter().map(move |new| (at, new)))
                .map(|(at, new)| with(at, new))
                .collect()
        }
        Value::Object(fields) => {
            let each = fields.iter();
            each.flat_map(|(key, item)| each_replaced(item, text).into_iter().map(move |new| (key, new)))
                .map(|(key, new)| {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), new);
                    Value::Object(fields)
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn question() -> Value {
    json!({
        "id": "prompt-7", "state": "open", "app": "weather", "name": "Weather", "run": "run-3",
        "action": "network.connect", "covers": "opening a stream connection to a host and port",
        "target": "example.org:443", "domain": "third-party", "signer": "CN=Weather Works", "binding": "measured",
        "legacy": false, "chargeable": true, "stated_reason": "to show the forecast", "resembles": "weathor", "held": 3, "unasked": 2,
        "asked_at": "2026-11-26T03:00:00.000Z", "expires_in_seconds": 27,
        "permissions": ["single", "session", "blanket"], "default": "session", "scopes": ["target", "host", "any"],
    })
}

fn denial() -> Value {
    json!({"id": "denial-2", "app": "weather", "action": "network.connect", "target": "example.org:443",
        "scope": "host", "effect": "refused", "holds": "until", "expires_in_seconds": 9, "runs": ["run-3"],
        "denied_at": "2026-11-26T03:00:00.000Z"})
}

fn app() -> Value {
    let certificate = json!({"subject": "CN=Weather Works", "serial": "01", "not_after": "2030-01-01T00:00:00Z",
        "sha256": "ab"});
    json!({
        "id": "weather", "name": "Weather", "version": "1.0", "domain": "third-party", "state": "suspended", "reason": "root-disabled",
        "digest": "cd", "format": "jar", "legacy": false, "restricted_to": ["network"], "qos_profile": "web",
        "installed_at": "2026-11-26T03:00:00.000Z",
        "signers": [{"subject": "CN=Weather Works", "digest": "SHA-256", "signature": "RSA", "chain": [certificate]}],
        "requested": ["network.connect"], "stated_reason": "to show the forecast",
    })
}

/// As it stands before it is installed.
fn fetched() -> Value {
    let mut package = app();
    package["id"] = json!(3);
    package["url"] = json!("https://example.org/weather.jar");
    package["file"] = json!("weather.jar");
    package
}

fn list() -> Value {
    json!({"issuer": "CN=Root", "number": "7", "state": "stale", "this_update": "2026-11-26T03:00:00.000Z",
        "next_update": "2026-11-27T03:00:00.000Z", "entries": 2, "source": "root.crl"})
}

fn candidate() -> Value {
    json!({"loaded": true, "since": "2026-11-26T03:00:00.000Z", "table": "candidate", "token_runs": "refuse",
        "items": [{"domain": "operator", "group": "network", "difference": "would-ask", "count": 4},
            {"domain": "operator", "group": null, "difference": "would-refuse", "count": 2}]})
}

const LARGEST: Largest = Largest { certificate: 1, list: 2, message: 3 };

fn grant() -> Value {
    json!({"id": "grant-1", "app": "weather", "action": "network.connect", "target": "example.org",
        "permission": "session", "granted_at": "2026-11-26T03:00:00.000Z", "runs": ["run-3"]})
}

fn run() -> Value {
    json!({"id": "run-3", "app": "weather", "binding": "token", "started_at": "2026-11-26T03:00:00.000Z",
        "process": 4, "connections": 2})
}

fn schedule() -> Value {
    json!({
        "name": "nightly", "app": "weather", "digest": "00", "sentences": ["weather may connect to example.org, at any time"],
        "signed_off": true, "signed_off_at": "2026-07-01T10:00:00.000Z", "state": "open", "until": null,
        "used": { "bytes": 1 }, "left": { "bytes": 5, "events": 3, "seconds": 77 }, "grants": ["grant-1"], "text": "x",
    })
}

fn sum() -> Value {
    json!({"day": "2026-11-26", "app": "weather", "class": "background", "bytes_up": 1, "bytes_down": 2,
        "dropped_up": 3, "dropped_down": 4, "flows": 5, "flow_ms": 6})
}

fn threshold() -> Value {
    json!({"id": 1, "app": "weather", "bearer": "wwan0", "when": "roaming", "per": "day", "bytes": 10, "moved": 20, "reached": true})
}

fn limit() -> Value {
    json!({"app": "weather", "max_bitrate_up": "1 Mbit/s", "max_bitrate_down": "2 Mbit/s"})
}

fn flow() -> Value {
    json!({"id": "flow-9", "run": "run-3", "app": "weather", "domain": "operator", "target": "example.org:443",
        "address": "192.0.2.1:443", "class": "background", "ingress": "socks5",
        "opened_at": "2026-11-26T03:00:00.000Z", "bytes_up": 10, "bytes_down": 20})
}

fn record() -> Value {
    json!({"seq": 4, "at": "2026-11-26T03:00:00.000Z", "kind": "decision", "app": "weather", "run": "run-3",
        "flow": "flow-9", "domain": "third-party", "action": "network.connect", "target": "example.org:443",
        "decision": "deny", "reason": "permission-missing", "grant": "grant-1", "rule": "cell", "count": 2})
}

fn root() -> Value {
    json!({"id": "ab12", "kind": "third-party", "domain": "third-party", "state": "enabled", "provenance": "device",
        "subject": "CN=Root", "not_after": "2030-01-01T00:00:00Z", "source": "root.pem", "problem": "none"})
}

fn administrator() -> Value {
    json!({"administrator": "card", "why": "accepted-on-card", "device": "ab", "key": "cd",
        "offered": {"iccid": "8949", "key": "ef"},
        "configuration": {"sequence": 7, "next-update": 1_800_000_000_000_u64, "enabled": ["ab"], "disabled": []}})
}

fn stream() -> Value {
    json!({"id": "stream-1", "name": "call", "app": "weather", "run": "run-1", "profile": "voice",
        "class": "background", "state": "degraded", "reason": "qos-displaced", "flows": 2,
        "attributes": {"max_bitrate_up": "64 kbit/s", "guaranteed_bitrate_up": "31 kbit/s"}})
}

fn rendered(page: impl Template) -> String {
    page.render().unwrap()
}

/// Every page that can be made with `text` in one of its fields. A field that only takes names of the gate's refuses it.
fn pages_with(text: &str) -> Vec<String> {
    let mut pages = Vec::new();
    for value in each_replaced(&question(), text) {
        let mut missed = value.clone();
        missed["state"] = json!("missed");
        for value in [value, missed] {
            pages.extend(read_all(&value).map(|all| rendered(Questions::of(all, Vec::new(), None))));
        }
    }
    for value in each_replaced(&denial(), text) {
        pages.extend(read_all(&value).map(|all| rendered(Questions::of(Vec::new(), all, None))));
    }
    let phrase = Some(Foreign::new(text));
    pages.push(rendered(Questions::of(read_all(&question()).unwrap(), Vec::new(), phrase)));
    let (runs, grants) = (read_all::<Run>(&run()).unwrap(), read_all::<Grant>(&grant()).unwrap());
    for value in each_replaced(&app(), text) {
        pages.extend(read_all(&value).map(|all| rendered(Apps::of(all, &runs, &grants, 9))));
    }
    for value in each_replaced(&run(), text) {
        let apps = read_all(&app()).unwrap();
        pages.extend(read_all(&value).map(|all: Vec<Run>| rendered(Apps::of(apps, &all, &[], 9))));
    }
    for value in each_replaced(&grant(), text) {
        let apps = || read_all::<App>(&app()).unwrap();
        pages.extend(read_all(&value).map(|all: Vec<Grant>| rendered(Apps::of(apps(), &[], &all, 9))));
        pages.extend(read_all(&value).map(|all| rendered(Grants::of(all, Vec::new(), apps()))));
    }
    for value in each_replaced(&schedule(), text) {
        let apps = read_all::<App>(&app()).unwrap();
        pages.extend(read_all(&value).map(|all| rendered(Grants::of(Vec::new(), all, apps))));
    }
    for value in each_replaced(&sum(), text) {
        pages.extend(read_all(&value).map(|all: Vec<Sum>| {
            let set = Settable { bearers: vec![Foreign::new(text)], ..Settable::default() };
            rendered(Usage::of(all.clone(), all, set))
        }));
    }
    for value in each_replaced(&threshold(), text) {
        let installed = read_all::<App>(&app()).unwrap();
        let page = |thresholds| {
            let set = Settable { thresholds, installed, ..Settable::default() };
            rendered(Usage::of(Vec::new(), Vec::new(), set))
        };
        pages.extend(read_all(&value).map(page));
    }
    for value in each_replaced(&limit(), text) {
        let page =
            |limits| rendered(Usage::of(Vec::new(), Vec::new(), Settable { limits, ..Settable::default() }));
        pages.extend(read_all(&value).map(page));
    }
    for value in each_replaced(&flow(), text) {
        pages.extend(read_all(&value).map(|all| rendered(Flows::of(all))));
    }
    for value in each_replaced(&record(), text) {
        pages.extend(
            read_all(&value).map(|all| rendered(Journal::of(all, WallTime::from_secs(1_800_000_000)))),
        );
    }
    for value in each_replaced(&root(), text) {
        let administrator = read(&administrator()).unwrap();
        pages
            .extend(read_all(&value).map(|all| rendered(Roots::of(all, Vec::new(), administrator, LARGEST))));
    }
    for value in each_replaced(&administrator(), text) {
        pages.extend(read(&value).map(|who| rendered(Roots::of(Vec::new(), Vec::new(), who, LARGEST))));
    }
    for value in each_replaced(&list(), text) {
        let administrator = read(&administrator()).unwrap();
        pages
            .extend(read_all(&value).map(|all| rendered(Roots::of(Vec::new(), all, administrator, LARGEST))));
    }
    for value in each_replaced(&candidate(), text) {
        pages.extend(read(&value).map(|candidate| rendered(Shadow::of(candidate, 9))));
    }
    for value in each_replaced(&app(), text).into_iter().chain(each_replaced(&fetched(), text)) {
        pages.extend(read(&value).map(|package| rendered(Judged::of(package))));
    }
    let profile = |text: &str| Profile {
        name: Foreign::new(text),
        description: Foreign::new(text),
        class: "background",
        up: None,
        down: None,
        burst: 1,
        rules: vec![Foreign::new(text)],
    };
    let bearer = json!({
        "name": text, "kind": "modem", "state": "down", "detail": text, "uplink": "1 Mbit/s", "downlink": null,
        "sessions": [{ "id": "session-1", "given": { "class": "streaming", "guaranteed_bitrate_up": text } }],
    });
    let bearer = serde_json::from_value(bearer).unwrap();
    pages.push(rendered(Quality::of(vec![bearer], vec![profile(text)], Vec::new(), &[])));
    for value in each_replaced(&stream(), text) {
        pages.extend(read_all(&value).map(|all| rendered(Quality::of(Vec::new(), Vec::new(), all, &[]))));
    }
    let fault = Foreign::new(text);
    pages.push(rendered(Verified { holds: false, records: 1, unsealed_tail: 0, fault }));
    pages
}

#[test]
fn hostile_text_means_nothing_on_any_page() {
    let pages = pages_with(HOSTILE);
    assert!(pages.len() > 60, "only {} pages took the text", pages.len());
    let shown = pages.iter().filter(|page| page.contains("&#60;script&#62;alert(1)")).count();
    assert!(shown > 45, "only {shown} pages show it");
    for page in pages {
        for leak in LEAKS {
            assert!(!page.contains(leak), "{leak:?} came through:\n{page}");
        }
        assert!(page.chars().all(|c| c == '\n' || !mexe_model::printable::misleads(c)), "{page}");
    }
}

#[test]
fn a_text_without_end_does_not_fill_a_page() {
    for page in pages_with(&"x".repeat(100_000)) {
        assert!(page.len() < 20_000, "{} bytes", page.len());
    }
}

#[test]
fn an_app_says_why_it_is_suspended_or_why_nobody_vouches_for_it() {
    let mut app = app();
    let page = rendered(Apps::of(read_all(&app).unwrap(), &[], &[], 9));
    assert!(page.contains("Suspended.") && page.contains("<code>root-disabled</code>"), "{page}");
    (app["domain"], app["state"], app["reason"]) = (json!(null), json!("active"), json!("no-root"));
    let page = rendered(Apps::of(read_all(&app).unwrap(), &[], &[], 9));
    assert!(!page.contains("Suspended."), "{page}");
    let says = mexe_model::Reason::NoRoot.says();
    assert!(page.contains(&format!("nobody that this device knows: {says} <code>no-root</code>")), "{page}");
}

#[test]
fn an_unverified_signer_is_never_named() {
    let (mut question, mut app) = (question(), app());
    for domain in [json!("untrusted"), json!(null), json!("nonsense")] {
        question["domain"] = domain.clone();
        let page = rendered(Questions::of(read_all(&question).unwrap(), Vec::new(), None));
        assert!(!page.contains("CN=Weather Works") && page.contains("Nobody vouches for this app"));
        app["domain"] = domain;
        let page = rendered(Apps::of(read_all(&app).unwrap(), &[], &[], 9));
        assert!(!page.contains("CN=Weather Works") && page.contains("nobody that this device knows"));
    }
}

#[test]
fn a_fetched_package_says_what_it_is_before_it_is_installed() {
    let mut package = fetched();
    let page = rendered(Judged::of(read(&package).unwrap()));
    for said in [
        "Third party",
        "CN=Weather Works",
        "<code>network.connect</code>",
        "“to show the forecast”",
        "root-disabled",
        "https://example.org/weather.jar",
        "hx-post=\"/v1/fetches/3/install\"",
        "hx-delete=\"/v1/fetches/3\"",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    package["domain"] = json!(null);
    let page = rendered(Judged::of(read(&package).unwrap()));
    assert!(!page.contains("CN=Weather Works") && page.contains("nobody that this device knows"));
    let page = rendered(Judged::of(read(&app()).unwrap()));
    assert!(page.contains("was installed") && !page.contains("/v1/fetches"));
}

#[test]
fn an_outdated_list_says_so() {
    for (state, says) in [
        ("current", None),
        ("stale", Some("should have sent a newer one")),
        ("future", Some("from the future")),
    ] {
        let mut list = list();
        list["state"] = json!(state);
        let administrator = read(&administrator()).unwrap();
        let page = rendered(Roots::of(Vec::new(), read_all(&list).unwrap(), administrator, LARGEST));
        assert!(page.contains(&format!("<span class=\"state {state}\">{state}</span>")));
        assert_eq!(page.contains("should have sent") || page.contains("from the future"), says.is_some());
        assert!(says.is_none_or(|says| page.contains(says)), "{state}");
    }
}

#[test]
fn what_differs_comes_first_and_is_summed() {
    let page = rendered(Shadow::of(read(&candidate()).unwrap(), 9));
    let (refused, asked) = (page.rfind("Would have refused"), page.rfind("Would have asked"));
    assert!(refused < asked, "{page}");
    assert!(page.contains("<strong>2</strong> <span>Would have refused"));
    let none = rendered(Shadow::of(read(&json!({"loaded": false})).unwrap(), 9));
    assert!(none.contains("No candidate is loaded"));
}

#[test]
fn a_question_of_an_app_that_is_gone_is_still_shown() {
    let mut question = question();
    for field in
        ["name", "action", "covers", "run", "signer", "binding", "stated_reason", "resembles", "default"]
    {
        question[field] = json!(null);
    }
    let page = rendered(Questions::of(read_all(&question).unwrap(), Vec::new(), None));
    assert!(page.contains("id=\"prompt-7\"") && page.contains("<bdi>weather</bdi>"));
}

#[test]
fn the_apps_words_are_quoted_and_called_its_own() {
    let page = rendered(Questions::of(read_all(&question()).unwrap(), Vec::new(), None));
    assert!(page.contains("own words, not checked") && page.contains("“to show the forecast”"));
}

#[test]
fn every_question_has_the_users_phrase_and_allow_asleep() {
    let questions: Vec<Question> = ["prompt-1", "prompt-2"]
        .map(|id| {
            let mut question = question();
            question["id"] = json!(id);
            read(&question).unwrap()
        })
        .into();
    let page = rendered(Questions::of(questions, Vec::new(), Some(Foreign::new("blue heron"))));
    assert_eq!(page.matches("<bdi>blue heron</bdi>").count(), 2);
    assert_eq!(page.matches("data-answer=\"allow\" aria-keyshortcuts=\"a\" disabled>").count(), 2);
    assert!(!page.contains("autofocus"));
    assert_eq!(page.matches("value=\"session\" checked").count(), 2);
    assert_eq!(page.matches("value=\"target\" checked").count(), 2);
}

#[test]
fn a_missed_question_says_what_an_open_one_does() {
    let mut question = question();
    question["legacy"] = json!(true);
    question["binding"] = json!("token");
    for state in ["open", "missed"] {
        question["state"] = json!(state);
        let phrase = Some(Foreign::new("blue heron"));
        let page = rendered(Questions::of(read_all(&question).unwrap(), Vec::new(), phrase));
        for said in
            ["<bdi>blue heron</bdi>", "can cost money", "<bdi>weathor</bdi>", "Old signature", "Not measured"]
        {
            assert!(page.contains(said), "{state}: {said}");
        }
    }
}

#[test]
fn no_page_has_script_or_style_in_it() {
    let mut pages = pages_with("plain");
    pages.push(shell().unwrap());
    for page in pages {
        for inline in ["<script>", " style=", "<style", " onclick", " onload", "javascript:", "hx-on", "js:"]
        {
            assert!(!page.contains(inline), "{inline} in\n{page}");
        }
    }
}
