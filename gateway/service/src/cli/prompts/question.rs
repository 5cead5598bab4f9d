//! One question as a person reads it in a terminal. What the app says itself stands in quotes and is called the app's.

use serde_json::Value;

use crate::cli::printable;

/// The question, several lines.
pub(super) fn shown(prompt: &Value) -> String {
    let text = |key: &str| {
        let value = prompt.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        value.map(|text| printable(text).to_string())
    };
    let yes = |key: &str| prompt.get(key).and_then(Value::as_bool).unwrap_or_default();
    let domain = text("domain").unwrap_or_default();
    let mut lines = vec![format!(
        "{}  {} wants {}{}",
        text("id").unwrap_or_default(),
        text("app").unwrap_or_default(),
        text("action").unwrap_or_default(),
        text("target").map(|target| format!(" to {target}")).unwrap_or_default(),
    )];
    lines.extend(text("covers").map(|covers| format!("  that is       {covers}")));
    lines.push(match text("signer") {
        Some(signer) => format!("  vouched for   {domain}, signed by {signer}"),
        None => "  vouched for   by nobody".to_owned(),
    });
    lines.extend(text("name").map(|name| format!("  calls itself  \"{name}\" (the app's words)")));
    lines.extend(text("stated_reason").map(|why| format!("  says why      \"{why}\" (the app's words)")));
    if let Some(other) = text("resembles") {
        lines.push(format!("  CAREFUL       its name looks like that of another app: {other}"));
    }
    if yes("legacy") {
        lines.push("  CAREFUL       it is signed with algorithms that are broken today".to_owned());
    }
    if yes("chargeable") {
        lines.push("  may cost      yes".to_owned());
    }
    let permissions = prompt.get("permissions").and_then(Value::as_array);
    let permissions: Vec<_> = permissions.into_iter().flatten().filter_map(Value::as_str).collect();
    lines.push(format!(
        "  offers        {} (first: {})",
        permissions.join(", "),
        text("default").unwrap_or_default()
    ));
    if text("state").as_deref() == Some("missed") {
        lines.push("  missed        an answer counts for the next time".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_apps_words_are_quoted_escaped_and_called_the_apps() {
        let shown = shown(&json!({
            "id": "prompt-1", "state": "open", "app": "weather", "name": "W\u{202e}x\u{1b}[2J",
            "action": "network.connect", "target": "example.org:443", "domain": "third-party", "signer": "CN=Signer",
            "stated_reason": "for\nyou", "chargeable": true, "permissions": ["single", "session"], "default": "session",
        }));
        assert_eq!(
            shown,
            "prompt-1  weather wants network.connect to example.org:443\n  vouched for   third-party, signed by CN=Signer\n  \
             calls itself  \"W\\u{202e}x\\u{1b}[2J\" (the app's words)\n  \
             says why      \"for\\nyou\" (the app's words)\n  may cost      yes\n  \
             offers        single, session (first: session)"
        );
    }
}
