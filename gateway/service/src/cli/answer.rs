//! `answer`: the user's answer to one question.

use mexe_model::{Permission, PromptId};
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global, output, when};
use crate::client::ApiPath;

/// Answer a question
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The question's id, as in prompt-7
    #[arg(value_name = "PROMPT")]
    prompt: PromptId,
    /// Whether it may be done
    #[arg(value_name = "ANSWER")]
    answer: Word,
    /// How long it holds: single, session or blanket; without it, what the security table offers first
    #[arg(long, value_name = "PERMISSION")]
    permission: Option<Permission>,
    /// Ends by itself after this time, as in 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = when::spelt_duration)]
    lasts: Option<String>,
    /// How far it reaches: this target, the same host at any port, or any target
    #[arg(long, value_name = "SCOPE", default_value = "target")]
    scope: Scope,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Word {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Scope {
    Target,
    Host,
    Any,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let answer = match args.answer {
        Word::Allow => "allow",
        Word::Deny => "deny",
    };
    let scope = match args.scope {
        Scope::Target => "target",
        Scope::Host => "host",
        Scope::Any => "any",
    };
    let mut body = json!({ "answer": answer, "scope": scope });
    if let Some(object) = body.as_object_mut() {
        let optional = [
            ("permission", args.permission.map(|permission| json!(permission))),
            ("for", args.lasts.as_ref().map(|lasts| json!(lasts))),
        ];
        object.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    let path = ApiPath::new("/v1/prompts").segment(&args.prompt.to_string()).segment("answer");
    let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
    global.print(&answer, output::facts)
}
