//! `revoke`: takes one permission back, or all of an app. Flows that live by it are cut before the gate answers.

use mexe_model::{AppId, GrantId};
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global};
use crate::client::ApiPath;

/// Take a permission back, or all of an app
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Args {
    /// The grant's id, as in grant-17
    #[arg(value_name = "GRANT")]
    grant: Option<GrantId>,
    /// All permissions of this app
    #[arg(long, value_name = "APP")]
    app: Option<AppId>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/grants");
    let (path, what) = match (&args.grant, &args.app) {
        (Some(grant), _) => (path.segment(&grant.to_string()), grant.to_string()),
        (None, Some(app)) => (path.query("app", app.as_str()), format!("all permissions of {app}")),
        (None, None) => {
            return Err(super::Fault::usage("nothing to revoke").help("name a grant or --app APP").into());
        }
    };
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({"revoked": args.grant, "app": args.app}) } else { answer };
    global.print(&answer, |answer| match answer.get("items").and_then(|items| items.as_array()) {
        Some(items) if items.is_empty() => "there was nothing to revoke".to_owned(),
        _ => format!("revoked {what}"),
    })
}
