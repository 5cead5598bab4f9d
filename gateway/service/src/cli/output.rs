//! What verbs print: JSON lines, short tables, and facts one below the other. Decides the looks only; the values come from
//! the gate as JSON and are escaped here for the terminal. Called from the verbs.

use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::fault::{Fault, Stop};
use super::printable::{json_line, printable};

/// A column of a table: the key of the JSON object and the heading.
pub(super) type Column = (&'static str, &'static str);

/// Prints one JSON value on a line.
pub(super) fn json(value: &impl Serialize) -> Result<(), Stop> {
    let line = json_line(value).map_err(|e| Fault::new("cannot write the answer as JSON").because(e))?;
    text(&line)
}

/// Prints text that is already safe for a terminal, and a line end.
pub(super) fn text(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The table of a list `{"items":[..]}`; `nothing` is said when it is empty.
pub(super) fn list(answer: &Value, columns: &[Column], nothing: &str) -> String {
    match answer.get("items").and_then(Value::as_array) {
        Some(items) if !items.is_empty() => {
            let rows = items.iter().map(|item| columns.iter().map(|(key, _)| cell(item.get(*key))).collect());
            rows_under(columns.iter().map(|(_, heading)| *heading), rows)
        }
        _ => nothing.to_owned(),
    }
}

/// A table of cells that are already safe for a terminal.
pub(super) fn rows_under<'a>(
    headings: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings.collect::<Vec<_>>());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// One value in one cell: text bare, nothing as a dash, lists joined, the rest as JSON.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => printable(text).to_string(),
        Some(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let cells: Vec<_> = items.iter().map(|item| cell(Some(item))).collect();
            if cells.is_empty() { "-".to_owned() } else { cells.join(", ") }
        }
        Some(other) => json_line(other).unwrap_or_default(),
    }
}

/// Whether there is nothing to show a person: JSON keeps such a field, facts leave it out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What a reader looks for first; the rest follows by the alphabet.
const FIRST: &[&str] = &[
    "decision",
    "verdict",
    "id",
    "run",
    "token",
    "socks",
    "http",
    "name",
    "version",
    "app",
    "domain",
    "action",
    "target",
    "permission",
    "reason",
    "detail",
    "rule",
    "subject",
];

/// The facts of an object, one a line, objects inside it indented below their name.
pub(super) fn facts(object: &Value) -> String {
    let mut lines = Vec::new();
    add_facts(object, 0, &mut lines);
    lines.join("\n")
}

fn add_facts(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let Value::Object(object) = value else {
        lines.push(format!("{:indent$}{}", "", cell(Some(value)), indent = depth * 2));
        return;
    };
    let mut fields: Vec<_> = object.iter().filter(|(_, value)| !is_nothing(value)).collect();
    let width = fields.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
    fields.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    for (key, value) in fields {
        let name = printable(key).to_string();
        match value {
            Value::Object(_) => {
                lines.push(format!("{:indent$}{name}", "", indent = depth * 2));
                add_facts(value, depth + 1, lines);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                lines.push(format!("{:indent$}{name}", "", indent = depth * 2));
                for item in items {
                    let mut inner = Vec::new();
                    add_facts(item, 0, &mut inner);
                    for (n, line) in inner.iter().enumerate() {
                        let mark = if n == 0 { "- " } else { "  " };
                        lines.push(format!("{:indent$}{mark}{line}", "", indent = (depth + 1) * 2));
                    }
                }
            }
            _ => {
                lines.push(format!("{:indent$}{name:width$}  {}", "", cell(Some(value)), indent = depth * 2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_with_dashes_for_what_is_absent() {
        let answer = json!({"items": [
            {"id": "weather", "domain": "third-party", "live": true},
            {"id": "clock\u{1b}[2J", "domain": null},
        ]});
        let table = list(&answer, &[("id", "APP"), ("domain", "DOMAIN"), ("live", "LIVE")], "no apps");
        let lines: Vec<_> = table.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "APP             DOMAIN       LIVE",
                "weather         third-party  yes",
                "clock\\u{1b}[2J  -            -"
            ]
        );
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(
            list(&json!({"items": []}), &[("id", "APP")], "no apps are installed"),
            "no apps are installed"
        );
    }

    #[test]
    fn the_fact_that_matters_comes_first() {
        let shown =
            facts(&json!({"binding": "token", "http": "h", "run": "run-1", "socks": "s", "token": "t"}));
        assert_eq!(shown, "run      run-1\ntoken    t\nsocks    s\nhttp     h\nbinding  token");
    }

    #[test]
    fn facts_stand_one_below_the_other() {
        let shown = facts(&json!({
            "decision": "deny", "rule": {"cell": "no", "grant": null}, "signers": [{"subject": "CN=a"}, {"subject": "b"}],
        }));
        assert_eq!(shown, "decision  deny\nrule\n  cell  no\nsigners\n  - subject  CN=a\n  - subject  b");
    }
}
