//! `app fetch`: lets the gate fetch and judge a package, shows what it is, and installs it if the user says so.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::ask::agreed;
use super::fault::{Fault, Stop};
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Fetch a package over HTTPS, verify it, ask, and install it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it is: https://HOST/PATH
    #[arg(value_name = "URL")]
    url: String,
    /// Install it without asking
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    if !args.yes && !std::io::stdin().is_terminal() {
        let why = Fault::new("nobody can be asked").help("say --yes to install it without asking");
        return Err(why.into());
    }
    let fetched = global.with_gate(async |mut gate| {
        Ok(gate.post_patiently(&ApiPath::new("/v1/fetches"), &json!({ "url": args.url })).await?)
    })?;
    let id = fetched.get("id").map(Value::to_string).unwrap_or_default();
    let path = ApiPath::new("/v1/fetches").segment(&id);
    if !args.yes {
        output::text(&output::facts(&fetched))?;
        if !agreed("Install it?") {
            global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
            return global.print(&json!({ "installed": false }), |_| "not installed".to_owned());
        }
    }
    let path = path.segment("install");
    let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &json!({})).await?))?;
    global.print(&answer, output::facts)
}
