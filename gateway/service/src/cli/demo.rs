//! `demo`: the gate with everything embedded, for a first look. What it shows is decided in `crate::demo`.

use std::path::PathBuf;

use super::fault::{Fault, Stop};
use super::{Exit, Global};
use crate::demo::{self, DemoError};

/// Show the gate with everything embedded: a PKI, sample apps, an origin server
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Play the scenes, print one line each, and end with 0 only if all held
    #[arg(long)]
    check: bool,
    /// The demo's folder
    #[arg(long, value_name = "DIR", default_value = ".mexegate-demo")]
    dir: PathBuf,
    /// Listen on N (SOCKS5), N+1 (HTTP), N+3 (console), N+4 (metrics) and N+5 (origin) instead of the usual ports
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=LAST_BASE))]
    port_base: Option<u16>,
}

/// The origin listens on the base and 5.
const LAST_BASE: i64 = 65_530;

pub(super) fn run(args: Args, global: &Global) -> Result<Exit, Stop> {
    if global.state_dir.is_some() {
        return Err(Fault::usage("the demo keeps its state in its own folder")
            .help("name that with --dir")
            .into());
    }
    let held = demo::run(&demo::Options { check: args.check, dir: args.dir, port_base: args.port_base });
    Ok(if held.map_err(Fault::from)? { Exit::Done } else { Exit::Fault })
}

impl From<DemoError> for Fault {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Config(error) => error.into(),
            DemoError::Serve(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}
