//! `bearers`: the ways onto the network, what each carries, and what they keep for streams.

use serde_json::Value;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the bearers: whether each is up, what it carries, and its sessions
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/bearers")).await?))?;
    global.print(&answer, |answer| output::list(&with_words(answer), &COLUMNS, "there are no bearers"))
}

const COLUMNS: [(&str, &str); 7] = [
    ("name", "BEARER"),
    ("kind", "KIND"),
    ("state", "STATE"),
    ("uplink", "UP"),
    ("downlink", "DOWN"),
    ("held", "SESSIONS"),
    ("detail", "WHY"),
];

/// What a person reads where the answer has nothing or a list.
fn with_words(answer: &Value) -> Value {
    let mut answer = answer.clone();
    let bearers = answer.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
    for bearer in bearers.filter_map(Value::as_object_mut) {
        for direction in ["uplink", "downlink"] {
            if bearer.get(direction).is_none_or(Value::is_null) {
                bearer.insert(direction.to_owned(), "unlimited".into());
            }
        }
        let held = bearer.get("sessions").and_then(Value::as_array).map_or(0, Vec::len);
        bearer.insert("held".to_owned(), held.into());
    }
    answer
}
