//! Records as CSV (RFC 4180) for spreadsheets: a heading, then one line a record, every field of it in a fixed order. A
//! text that a spreadsheet would take for a formula gets an apostrophe in front; whoever needs the text as it is takes
//! the JSON lines. Pure.

use crate::query::Row;

/// The heading, with its line end.
pub const CSV_HEADING: &str = "seq,at,kind,says,app,run,flow,domain,action,target,decision,reason,grant,rule,binding,\
                               ingress,class,bytes_up,bytes_down,duration_ms,addresses,count,detail,erased,hash\r\n";

/// One record's line, with its line end.
pub fn csv_line(row: &Row) -> String {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let cells = [
        Some(row.seq.to_string()),
        Some(row.at.to_string()),
        Some(row.kind.clone()),
        Some(row.says.clone()),
        row.app.clone(),
        row.run.map(|run| run.to_string()),
        row.flow.map(|flow| flow.to_string()),
        row.domain.clone(),
        row.action.clone(),
        row.target.clone(),
        row.decision.clone(),
        row.reason.clone(),
        row.grant.map(|grant| grant.to_string()),
        row.rule.clone(),
        row.binding.clone(),
        row.ingress.clone(),
        row.class.clone(),
        number(row.bytes_up),
        number(row.bytes_down),
        number(row.duration_ms),
        Some(row.addresses.join(" ")),
        Some(row.count.to_string()),
        row.detail.as_ref().map(ToString::to_string),
        Some(row.erased.to_string()),
        Some(row.hash.clone()),
    ];
    let mut line = String::new();
    for (number, text) in cells.into_iter().enumerate() {
        if number > 0 {
            line.push(',');
        }
        cell(&mut line, &text.unwrap_or_default());
    }
    line.push_str("\r\n");
    line
}

fn cell(line: &mut String, text: &str) {
    let guarded = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let quoted = text.contains(['"', ',', '\r', '\n']);
    if quoted {
        line.push('"');
    }
    if guarded {
        line.push('\'');
    }
    for c in text.chars() {
        if c == '"' {
            line.push('"');
        }
        line.push(c);
    }
    if quoted {
        line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut line = String::new();
        cell(&mut line, text);
        line
    }

    #[test]
    fn a_cell_is_quoted_only_where_it_must_be_and_never_a_formula() {
        for (text, expected) in [
            ("", ""),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }

    /// Reads one cell as RFC 4180 says; `None` when it does not end where the text does.
    fn read(text: &str) -> Option<String> {
        let Some(quoted) = text.strip_prefix('"') else {
            return (!text.contains(['"', ',', '\r', '\n'])).then(|| text.to_owned());
        };
        let inner = quoted.strip_suffix('"')?;
        let bare = inner.replace("\"\"", "");
        (!bare.contains('"')).then(|| inner.replace("\"\"", "\""))
    }

    proptest! {
        #[test]
        fn every_text_is_read_back_but_for_the_apostrophe(text in "[=+@'\",\t\r\n a-c-]{0,12}") {
            let back = read(&written(&text)).expect("one well-formed cell");
            let bare = match back.strip_prefix('\'') {
                Some(rest) if rest.starts_with(['=', '+', '-', '@', '\t', '\r']) && back != text => rest,
                _ => &back,
            };
            prop_assert_eq!(bare, text.as_str());
            prop_assert!(!back.starts_with(['=', '+', '-', '@', '\t', '\r']));
        }
    }
}
