//! `shadow`: tries a security table or a setting beside the live policy, without effect.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, output, small_file};
use crate::client::ApiPath;

/// Try a security table or a setting beside the live one, without effect
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Take every decision a second time under this candidate from now on, and count how it would differ
    #[command(arg_required_else_help = true)]
    Load {
        /// A security table
        #[arg(value_name = "FILE")]
        table: Option<PathBuf>,
        /// What runs by token may use: allow, session-only or refuse
        #[arg(long, value_name = "SETTING", value_parser = ["allow", "session-only", "refuse"])]
        token_runs: Option<String>,
    },
    /// Show what was found so far
    Show,
    /// Stop trying, and show what was found
    Drop,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/shadow");
    let answer = match &args.verb {
        Verb::Load { table, token_runs } => {
            let text = |file: &PathBuf| {
                let bytes = small_file::read(file, "a security table")?;
                let no_text = |e| Fault::new(format!("`{}` is not UTF-8", file.display())).because(e);
                String::from_utf8(bytes).map_err(no_text)
            };
            let table = table.as_ref().map(text).transpose()?;
            let body = json!({ "table": table, "token_runs": token_runs }).to_string().into_bytes();
            let kind = "application/json";
            global.with_gate(async |mut gate| Ok(gate.send(Method::PUT, &path, kind, body).await?))?
        }
        Verb::Show => global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?,
        Verb::Drop => global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?,
    };
    global.print(&answer, shown)
}

fn shown(answer: &Value) -> String {
    if answer.get("loaded") != Some(&json!(true)) {
        return "no candidate is loaded".to_owned();
    }
    let columns =
        [("domain", "DOMAIN"), ("group", "GROUP"), ("difference", "DIFFERENCE"), ("count", "DECISIONS")];
    output::list(answer, &columns, "nothing was decided since it was loaded")
}
