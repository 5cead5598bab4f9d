//! The verbs about apps: which there are. Each has its own file.

use super::fault::Stop;
use super::{
    Exit, Global, app_fetch, app_install, app_limit, app_list, app_remove, app_run, app_show, app_start,
    app_stop, app_verify,
};

/// Verify, install, run and remove apps
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Fetch(app_fetch::Args),
    Install(app_install::Args),
    Limit(app_limit::Args),
    /// List the most that apps may move a second
    Limits,
    List(app_list::Args),
    Remove(app_remove::Args),
    Run(app_run::Args),
    Show(app_show::Args),
    Start(app_start::Args),
    Stop(app_stop::Args),
    Verify(app_verify::Args),
}

impl Verb {
    pub(super) fn run(self, global: &Global) -> Result<Exit, Stop> {
        match self {
            Self::Fetch(args) => app_fetch::run(&args, global),
            Self::Install(args) => app_install::run(&args, global),
            Self::Limit(args) => app_limit::run(&args, global),
            Self::Limits => app_limit::list(global),
            Self::List(args) => app_list::run(&args, global),
            Self::Remove(args) => app_remove::run(&args, global),
            Self::Run(args) => app_run::run(&args, global),
            Self::Show(args) => app_show::run(&args, global),
            Self::Start(args) => app_start::run(&args, global),
            Self::Stop(args) => app_stop::run(&args, global),
            Self::Verify(args) => app_verify::run(&args, global),
        }
    }
}
