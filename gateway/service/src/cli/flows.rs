//! `flows`: the open connections, and how to end one.

use mexe_model::FlowId;
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// List the open flows, or end one
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Cut one flow
    End {
        /// The flow's id, as in flow-17
        #[arg(value_name = "FLOW")]
        flow: FlowId,
    },
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    match &args.verb {
        None => list(global),
        Some(Verb::End { flow }) => end(*flow, global),
    }
}

fn list(global: &Global) -> Result<Exit, Stop> {
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/flows")).await?))?;
    let columns = [
        ("id", "FLOW"),
        ("app", "APP"),
        ("run", "RUN"),
        ("target", "TARGET"),
        ("ingress", "INGRESS"),
        ("class", "CLASS"),
        ("grant", "GRANT"),
        ("bytes_up", "UP"),
        ("bytes_down", "DOWN"),
        ("opened_at", "OPENED"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no flows are open"))
}

fn end(flow: FlowId, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/flows").segment(&flow.to_string());
    let answer = global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
    let answer = if answer.is_null() { json!({"ended": flow}) } else { answer };
    global.print(&answer, |_| format!("ended {flow}"))
}
