//! docs/reasons.md is made from the list in `reason.rs`; here it is kept true. `UPDATE_DOCS=1 cargo test -p mexe-model`
//! writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that reads a file of the repository"
)]

use mexe_model::Reason;

#[test]
fn the_document_lists_every_reason_as_the_code_says_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reasons.md");
    let mut text = String::from(
        "# Reason codes\n\n\
         One flat list. The same code stands in the journal, in the metrics, in the API's `reason`, on the command line,\n\
         and in what the proxies answer (`Proxy-Status: mexegate; ...; details=\"CODE\"` and the body's `reason`).\n\
         This page is made from `gateway/model/src/reason.rs`.\n\n\
         | code | what happened | what to do |\n| --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        text += &format!("| `{reason}` | {} | {} |\n", reason.says(), reason.help());
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "run it with UPDATE_DOCS=1");
}
