//! One record of the journal as one line for a person. Works on the record's JSON, so that what is shown is what `--json`
//! prints; fields that are empty leave no gap.

use serde_json::Value;

use crate::cli::printable;

/// The line of one record.
pub(super) fn line(record: &Value) -> String {
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(|text| printable(text).to_string());
    let number = |key: &str| record.get(key).and_then(Value::as_u64);
    let mut words = vec![
        text("at").unwrap_or_default(),
        format!("{:>6}", number("seq").unwrap_or_default()),
        format!("{:<8}", text("kind").unwrap_or_default()),
    ];
    words.extend(text("decision").map(|decision| format!("{decision:<5}")));
    words.extend(["app", "run", "flow"].into_iter().filter_map(text));
    words.extend(match (text("action"), text("target")) {
        (Some(action), Some(target)) => Some(format!("{action}={target}")),
        (action, target) => action.or(target),
    });
    words.extend(["reason", "grant", "class"].into_iter().filter_map(text));
    words.extend(number("bytes_up").map(|bytes| format!("{bytes} up")));
    words.extend(number("bytes_down").map(|bytes| format!("{bytes} down")));
    words.extend(number("duration_ms").map(|millis| format!("in {millis} ms")));
    words.extend(number("count").filter(|count| *count > 1).map(|count| format!("{count} times")));
    if record.get("erased").and_then(Value::as_bool) == Some(true) {
        words.push("(personal fields erased)".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_a_flow_and_a_change_each_read_as_one_line() {
        let decision = json!({
            "seq": 17, "at": "2026-11-24T03:04:51.120Z", "kind": "decision", "decision": "deny", "app": "weather",
            "run": "run-3", "action": "network.connect", "target": "a\u{1b}[2J.example:443",
            "reason": "permission-missing", "count": 4,
        });
        assert_eq!(
            line(&decision),
            "2026-11-24T03:04:51.120Z     17 decision deny  weather run-3 \
             network.connect=a\\u{1b}[2J.example:443 permission-missing 4 times"
        );
        let flow = json!({
            "seq": 18, "at": "2026-11-24T03:04:52.000Z", "kind": "flow-end", "app": "weather", "flow": "flow-9",
            "class": "background", "bytes_up": 10, "bytes_down": 2000, "duration_ms": 35, "count": 1,
        });
        assert_eq!(
            line(&flow),
            "2026-11-24T03:04:52.000Z     18 flow-end weather flow-9 background 10 up 2000 down in 35 ms"
        );
        let change =
            json!({"seq": 19, "at": "2026-11-24T03:04:53.000Z", "kind": "change", "action": "grant.give"});
        assert_eq!(line(&change), "2026-11-24T03:04:53.000Z     19 change   grant.give");
    }
}
