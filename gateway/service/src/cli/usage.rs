//! `usage`: what apps moved, by day, app, class and bearer, and how much they may move without asking.

use jiff::civil::Date;
use mexe_model::AppId;
use serde_json::json;

use super::fault::Stop;
use super::{Exit, Global, output};
use crate::accounting;
use crate::client::ApiPath;

/// Show what apps moved, or set how much they may move without asking
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Only this app's
    #[arg(value_name = "APP")]
    app: Option<AppId>,
    /// From this day on, as in 2026-11-26; today when left out
    #[arg(long, value_name = "DATE")]
    since: Option<Date>,
    /// Up to this day; today when left out
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
    /// What stays apart: day, app, class, bearer, roaming
    #[arg(long, value_name = "PART", value_delimiter = ',', default_value = "day,app,class,bearer")]
    by: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the thresholds, and how far each is reached
    Thresholds,
    /// Ask before an app moves more than so many bytes in a day or a month
    Threshold {
        /// Both ways together, as in 50MB or 1GiB
        #[arg(value_name = "BYTES", value_parser = accounting::amount)]
        bytes: u64,
        /// In which time
        #[arg(long, value_parser = ["day", "month"], default_value = "day")]
        per: String,
        /// Of this app; without it, of all apps together
        #[arg(long, value_name = "APP")]
        app: Option<AppId>,
        /// Over this bearer; without it, over all
        #[arg(long, value_name = "BEARER")]
        bearer: Option<String>,
        /// Only what is moved while the device is on another operator's network
        #[arg(long)]
        roaming: bool,
    },
    /// Take a threshold away
    Remove {
        /// Its number
        #[arg(value_name = "ID")]
        id: u64,
    },
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/thresholds");
    match &args.verb {
        None => shown(args, global),
        Some(Verb::Thresholds) => {
            let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
            let columns = [
                ("id", "ID"),
                ("bytes", "BYTES"),
                ("per", "PER"),
                ("app", "APP"),
                ("bearer", "BEARER"),
                ("when", "WHEN"),
                ("moved", "MOVED"),
                ("reached", "REACHED"),
            ];
            global.print(&answer, |answer| output::list(answer, &columns, "no thresholds are set"))
        }
        Some(Verb::Threshold { bytes, per, app, bearer, roaming }) => {
            let mut body = json!({ "bytes": bytes, "per": per });
            if let Some(body) = body.as_object_mut() {
                body.extend(app.iter().map(|app| ("app".to_owned(), json!(app))));
                body.extend(bearer.iter().map(|bearer| ("bearer".to_owned(), json!(bearer))));
                if *roaming {
                    body.insert("when".to_owned(), json!("roaming"));
                }
            }
            let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
            global.print(&answer, |answer| format!("threshold {} is set", output::cell(answer.get("id"))))
        }
        Some(Verb::Remove { id }) => {
            let path = path.segment(&id.to_string());
            global.with_gate(async |mut gate| Ok(gate.delete(&path).await?))?;
            global.print(&json!({ "removed": id }), |_| format!("removed threshold {id}"))
        }
    }
}

fn shown(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let mut path = ApiPath::new("/v1/usage").query("by", &args.by.join(","));
    if let Some(app) = &args.app {
        path = path.query("app", app.as_str());
    }
    for (name, date) in [("since", args.since), ("until", args.until)] {
        if let Some(date) = date {
            path = path.query(name, &date.to_string());
        }
    }
    let answer = global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?;
    let parts =
        [("day", "DAY"), ("app", "APP"), ("class", "CLASS"), ("bearer", "BEARER"), ("roaming", "ROAMING")];
    let sums = [
        ("bytes_up", "UP"),
        ("bytes_down", "DOWN"),
        ("dropped_up", "DROPPED UP"),
        ("dropped_down", "DROPPED DOWN"),
        ("flows", "FLOWS"),
        ("flow_ms", "OPEN MS"),
    ];
    let asked = parts.into_iter().filter(|(part, _)| args.by.iter().any(|by| by == part));
    let columns: Vec<_> = asked.chain(sums).collect();
    global.print(&answer, |answer| output::list(answer, &columns, "nothing was moved"))
}
