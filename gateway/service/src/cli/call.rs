//! `call`, `calls`, `dtmf`, `hang-up`: voice calls of apps, over the modem that carries the bearer.

use mexe_model::{AppId, CallId};
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Call a number for an app that runs; the user is asked unless he has permitted it
#[derive(Debug, clap::Args)]
pub(super) struct Dial {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// The number, as in +491701234567
    #[arg(value_name = "NUMBER")]
    number: String,
}

/// Send tones into an open call
#[derive(Debug, clap::Args)]
pub(super) struct Dtmf {
    /// The call's id, as in call-2
    #[arg(value_name = "CALL")]
    call: CallId,
    /// The tones: 0-9, *, #, A-D
    #[arg(value_name = "TONES")]
    tones: String,
}

/// End a call
#[derive(Debug, clap::Args)]
pub(super) struct HangUp {
    /// The call's id, as in call-2
    #[arg(value_name = "CALL")]
    call: CallId,
}

pub(super) fn dial(args: &Dial, global: &Global) -> Result<Exit, Stop> {
    let body = json!({ "app": args.app, "number": args.number });
    let call = global
        .with_gate(async |mut gate| Ok(gate.post_patiently(&ApiPath::new("/v1/calls"), &body).await?))?;
    global.print(&call, output::facts)
}

pub(super) fn list(global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/calls")).await?))?;
    let columns = [
        ("id", "CALL"),
        ("app", "APP"),
        ("run", "RUN"),
        ("number", "NUMBER"),
        ("state", "STATE"),
        ("began_at", "BEGAN"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no calls are open"))
}

pub(super) fn dtmf(args: &Dtmf, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/calls").segment(&args.call.to_string()).segment("dtmf");
    let body = json!({ "tones": args.tones });
    let answer = global.with_gate(async |mut gate| Ok(gate.post_patiently(&path, &body).await?))?;
    let answer = if answer.is_null() { json!({ "sent": args.call }) } else { answer };
    global.print(&answer, |_| format!("sent into {}", args.call))
}

pub(super) fn hang_up(args: &HangUp, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/calls").segment(&args.call.to_string());
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({ "ended": args.call }) } else { answer };
    global.print(&answer, |_| format!("ended {}", args.call))
}
