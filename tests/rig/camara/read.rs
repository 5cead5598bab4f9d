//! What questions have to look like: the schemas of the r3.2 specification, written out. Each tells whether a value is one.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

type Check = fn(&Value) -> bool;

/// An object whose known keys are right, with those that it has to have; others are let be.
fn object(value: &Value, required: &[&str], known: &[(&str, Check)]) -> bool {
    let Some(object) = value.as_object() else { return false };
    required.iter().all(|key| object.contains_key(*key))
        && known.iter().all(|(key, check)| object.get(*key).is_none_or(check))
}

fn text(value: &Value) -> bool {
    value.is_string()
}

fn matches(value: &Value, check: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(check)
}

pub(super) fn name(value: &Value) -> bool {
    matches(value, is_name)
}

pub(super) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (3..=256).contains(&text.len()) && text.bytes().all(plain)
}

pub(super) fn seconds(value: &Value) -> bool {
    value.as_i64().is_some_and(|seconds| (1..=i64::from(i32::MAX)).contains(&seconds))
}

fn port(value: &Value) -> bool {
    value.as_i64().is_some_and(|port| (0..=65_535).contains(&port))
}

fn phone(value: &Value) -> bool {
    matches(value, |text| {
        let digits = text.strip_prefix('+').unwrap_or_default();
        (5..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn ipv4(value: &Value) -> bool {
    matches(value, |text| text.parse::<Ipv4Addr>().is_ok())
}

fn ipv6(value: &Value) -> bool {
    matches(value, |text| text.parse::<Ipv6Addr>().is_ok())
}

fn seen(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[("publicAddress", ipv4), ("privateAddress", ipv4), ("publicPort", port)];
    object(value, &["publicAddress"], known)
        && (value.get("privateAddress").is_some() || value.get("publicPort").is_some())
}

pub(super) fn device(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[
        ("phoneNumber", phone),
        ("networkAccessIdentifier", text),
        ("ipv4Address", seen),
        ("ipv6Address", ipv6),
    ];
    object(value, &[], known) && value.as_object().is_some_and(|device| !device.is_empty())
}

/// An address, or one with a mask.
fn network<A: std::str::FromStr>(text: &str, width: u8) -> bool {
    match text.split_once('/') {
        None => text.parse::<A>().is_ok(),
        Some((address, bits)) => {
            address.parse::<A>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= width)
        }
    }
}

fn server(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[("ipv4Address", text), ("ipv6Address", text)];
    object(value, &[], known) && value.as_object().is_some_and(|server| !server.is_empty())
}

/// Whether the addresses of a server are some: the schema takes any text, and only its words say what has to be in it.
pub(super) fn addresses(server: &Value) -> bool {
    let known: &[(&str, Check)] = &[
        ("ipv4Address", |value| matches(value, |text| network::<Ipv4Addr>(text, 32))),
        ("ipv6Address", |value| matches(value, |text| network::<Ipv6Addr>(text, 128))),
    ];
    object(server, &[], known)
}

fn list(value: &Value, check: Check) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(check))
}

fn ports(value: &Value) -> bool {
    fn range(value: &Value) -> bool {
        object(value, &["from", "to"], &[("from", port), ("to", port)])
    }
    let known: &[(&str, Check)] =
        &[("ranges", |value| list(value, range)), ("ports", |value| list(value, port))];
    object(value, &[], known) && value.as_object().is_some_and(|ports| !ports.is_empty())
}

fn moment(value: &Value) -> bool {
    // RFC 3339, with a zone.
    matches(value, |text| {
        let digits = |range: std::ops::Range<usize>| {
            text.get(range).is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
        };
        text.is_ascii()
            && digits(0..4)
            && digits(5..7)
            && digits(8..10)
            && text.get(10..11).is_some_and(|t| t.eq_ignore_ascii_case("t"))
            && (text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-'])))
    })
}

fn one_of(value: &Value, words: &[&str]) -> bool {
    matches(value, |text| words.contains(&text))
}

fn credential(value: &Value) -> bool {
    object(
        value,
        &["credentialType"],
        &[("credentialType", |value| one_of(value, &["PLAIN", "ACCESSTOKEN", "REFRESHTOKEN"]))],
    )
}

/// A credential of the one kind that is taken.
pub(super) fn access_token(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[
        ("credentialType", |value| one_of(value, &["ACCESSTOKEN"])),
        ("accessToken", text),
        ("accessTokenExpiresUtc", moment),
        ("accessTokenType", |value| one_of(value, &["bearer"])),
    ];
    object(value, &["credentialType", "accessToken", "accessTokenExpiresUtc", "accessTokenType"], known)
}

fn sink(value: &Value) -> bool {
    matches(value, |text| {
        text.len() > 8 && text.starts_with("https://") && text.bytes().all(|b| b.is_ascii_graphic())
    })
}

pub(super) fn create(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[
        ("device", device),
        ("applicationServer", server),
        ("devicePorts", ports),
        ("applicationServerPorts", ports),
        ("qosProfile", name),
        ("sink", sink),
        ("sinkCredential", credential),
        ("duration", seconds),
    ];
    object(value, &["applicationServer", "qosProfile", "duration"], known)
}

pub(super) fn extend(value: &Value) -> bool {
    object(value, &["requestedAdditionalDuration"], &[("requestedAdditionalDuration", seconds)])
}

pub(super) fn about_device(value: &Value) -> bool {
    object(value, &[], &[("device", device)])
}

pub(super) fn about_profiles(value: &Value) -> bool {
    let known: &[(&str, Check)] = &[
        ("device", device),
        ("name", name),
        ("status", |value| one_of(value, &["ACTIVE", "INACTIVE", "DEPRECATED"])),
    ];
    object(value, &[], known)
}
