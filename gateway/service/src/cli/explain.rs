//! `explain`: what would be decided and why. It explains a refusal as readily as a permission, so it ends with 0 for both.

use mexe_model::AppId;
use serde_json::{Value, json};

use super::fault::Stop;
use super::target::ActionTarget;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Show what would be decided, and why: table cell, grant, profile, class
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// What it would do, as in network.connect=example.org:443
    #[arg(value_name = "ACTION[=TARGET]")]
    what: ActionTarget,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let mut body = json!({"app": args.app, "action": args.what.action, "explain": true});
    if let (Some(object), Some(target)) = (body.as_object_mut(), &args.what.target) {
        object.insert("target".to_owned(), json!(target));
    }
    let answer =
        global.with_gate(async |mut gate| Ok(gate.post(&ApiPath::new("/v1/decisions"), &body).await?))?;
    global.print(&answer, |answer| output::facts(&once(answer)))
}

/// The answer with nothing said twice: what led to the decision repeats what was decided.
fn once(answer: &Value) -> Value {
    let mut shown = answer.clone();
    if let Some(explain) = shown.get_mut("explain").and_then(Value::as_object_mut) {
        explain.retain(|key, value| answer.get(key) != Some(value));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let answer = json!({
            "decision": "deny", "reason": "permission-missing", "rule": {"cell": "no"},
            "explain": {"decision": "deny", "reason": "other", "rule": {"cell": "no"}, "port": 80},
        });
        assert_eq!(
            output::facts(&once(&answer)),
            "decision  deny\nreason    permission-missing\nrule\n  cell  no\nexplain\n  reason  other\n  port    80"
        );
    }
}
