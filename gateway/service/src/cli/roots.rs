//! `roots`: the root public keys that the gate trusts, and those that it does not and why; adding, switching and removing
//! them. Who may do what is the gate's to decide.

use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use super::fault::Stop;
use super::small_file;
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// The root public keys of the gate
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Trust a third party root: one certificate, PEM or DER
    Add {
        /// The certificate
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose root it is
        #[arg(long, value_name = "KIND", default_value = "third-party",
              value_parser = ["operator", "manufacturer", "third-party", "administrator"])]
        kind: String,
    },
    /// Revocation lists of those who issue certificates
    #[command(subcommand)]
    Crl(Lists),
    /// Switch a root off: its apps are suspended at once
    Disable {
        /// The root's id, or the beginning of it
        #[arg(value_name = "ROOT")]
        root: String,
    },
    /// Let a root vouch again, or accept a key of the card in the device
    Enable {
        /// The root's id, or the beginning of it
        #[arg(value_name = "ROOT")]
        root: String,
    },
    /// List them, with what keeps any of them off
    List,
    /// Forget a root that was added
    Remove {
        /// The root's id, or the beginning of it
        #[arg(value_name = "ROOT")]
        root: String,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Lists {
    /// Take in a revocation list, PEM or DER
    Add {
        /// The list
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// List them, and whether each is current
    List,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let of = |root: &str| ApiPath::new("/v1/roots").segment(root);
    let switch = |root: &str, state: &str| {
        let body = json!({ "state": state }).to_string().into_bytes();
        global.with_gate(async |mut gate| {
            Ok(gate.send(Method::PATCH, &of(root), "application/json", body).await?)
        })
    };
    let answer = match &args.verb {
        Verb::Crl(verb) => return lists(verb, global),
        Verb::List => return list(global),
        Verb::Add { file, kind } => {
            let bytes = small_file::read(file, "a certificate file")?;
            let path = ApiPath::new("/v1/roots").query("kind", kind).query("file", &small_file::name(file));
            let kind = "application/pkix-cert";
            global.with_gate(async |mut gate| Ok(gate.send(Method::POST, &path, kind, bytes).await?))?
        }
        Verb::Disable { root } => switch(root, "disabled")?,
        Verb::Enable { root } => switch(root, "enabled")?,
        Verb::Remove { root } => {
            global.with_gate(async |mut gate| Ok(gate.delete(&of(root)).await?))?;
            return global.print(&json!({ "removed": root }), |_| format!("removed {root}"));
        }
    };
    global.print(&answer, output::facts)
}

fn lists(verb: &Lists, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/lists");
    let answer: Value = match verb {
        Lists::List => global.with_gate(async |mut gate| Ok(gate.get(&path).await?))?,
        Lists::Add { file } => {
            let bytes = small_file::read(file, "a revocation list")?;
            let kind = "application/pkix-crl";
            global.with_gate(async |mut gate| Ok(gate.send(Method::POST, &path, kind, bytes).await?))?
        }
    };
    let columns = [
        ("issuer", "ISSUER"),
        ("number", "NUMBER"),
        ("state", "STATE"),
        ("next_update", "NEXT UPDATE"),
        ("entries", "ENTRIES"),
        ("source", "SOURCE"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "there are no revocation lists"))
}

fn list(global: &Global) -> Result<Exit, Stop> {
    let answer: Value =
        global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/roots")).await?))?;
    let columns = [
        ("id", "ID"),
        ("kind", "KIND"),
        ("domain", "DOMAIN"),
        ("state", "STATE"),
        ("provenance", "FROM"),
        ("subject", "SUBJECT"),
        ("not_after", "VALID UNTIL"),
        ("source", "SOURCE"),
        ("problem", "PROBLEM"),
    ];
    global.print(&answer, |answer| output::list(answer, &columns, "no roots are configured"))
}
