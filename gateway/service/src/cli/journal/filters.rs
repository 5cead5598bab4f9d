//! Which records a verb is about: the filters that showing and exporting share, and going through the records in pages.

use std::path::Path;
use std::time::Duration;

use mexe_journal::{Filter, Kind, Outcome, Row};
use mexe_model::{Action, AppId, FlowId, Reason, RunId, Trust, WallTime};

use crate::cli::fault::{Fault, Stop};
use crate::cli::when;
use crate::clock;

#[derive(Debug, clap::Args)]
pub(super) struct Filters {
    /// Only records of this app
    #[arg(long, value_name = "A")]
    app: Option<AppId>,
    /// Only records since then: a time, a date, or how long ago, as in 10m
    #[arg(long, value_name = "T", value_parser = past)]
    since: Option<WallTime>,
    /// Only records before then: a time, a date, or how long ago
    #[arg(long, value_name = "T", value_parser = past)]
    until: Option<WallTime>,
    /// Only records with this reason
    #[arg(long, value_name = "R")]
    reason: Option<Reason>,
    /// Only records of this kind: decision, flow-end or change
    #[arg(long, value_name = "K")]
    kind: Option<Kind>,
    /// Only requests decided so: allow, ask or deny
    #[arg(long, value_name = "D")]
    decision: Option<Outcome>,
    /// Only records of apps of this domain: operator, manufacturer, third-party or untrusted
    #[arg(long, value_name = "D", value_parser = domain)]
    domain: Option<Trust>,
    /// Only records of this action
    #[arg(long)]
    action: Option<Action>,
    /// Only records of this run
    #[arg(long)]
    run: Option<RunId>,
    /// Only records of this flow
    #[arg(long)]
    flow: Option<FlowId>,
    /// Only records after the one of this number
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// Only the last so many; with --after the first so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// A point in the past, by the clock of now.
pub(super) fn past(text: &str) -> Result<WallTime, String> {
    when::since(text, clock::wall())
}

fn domain(text: &str) -> Result<Trust, String> {
    let known = Trust::ALL.into_iter().find(|domain| domain.as_str() == text);
    known.ok_or_else(|| "write operator, manufacturer, third-party or untrusted".to_owned())
}

impl Filters {
    /// The filter.
    ///
    /// # Errors
    /// A usage fault when no record could ever fit.
    pub(super) fn filter(&self) -> Result<Filter, Fault> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return Err(Fault::usage("--until is not later than --since").help("swap them"));
        }
        Ok(Filter {
            app: self.app.clone(),
            since: self.since,
            until: self.until,
            reason: self.reason,
            kind: self.kind,
            decision: self.decision,
            domain: self.domain,
            action: self.action.as_ref().map(ToString::to_string),
            run: self.run,
            flow: self.flow,
            after: self.after,
            limit: self.limit,
        })
    }
}

/// How often the journal is looked at for what is added.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// So many records are read at a time.
const PAGE: u32 = 1000;

/// Hands over all records that fit, by number, and with `follow` those that are added, too, until `take` fails.
///
/// # Errors
/// The journal's, and those of `take`.
pub(super) fn each_page(
    state_dir: &Path,
    mut filter: Filter,
    follow: bool,
    mut take: impl FnMut(&[Row]) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut left = filter.limit;
    if filter.after.is_none() && left.is_some() {
        // Without `after` the newest come.
        let page = mexe_journal::page(state_dir, &filter)?;
        take(&page.rows)?;
        filter.after = Some(page.next);
        left = if follow { None } else { Some(0) };
    }
    let mut after = filter.after.unwrap_or(0);
    while left != Some(0) {
        filter.after = Some(after);
        filter.limit = Some(left.unwrap_or(PAGE).min(PAGE));
        let page = mexe_journal::page(state_dir, &filter)?;
        take(&page.rows)?;
        let taken = u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
        left = left.map(|left| left.saturating_sub(taken));
        let is_last = Some(taken) < filter.limit;
        after = page.next;
        if is_last && !follow {
            return Ok(());
        }
        if is_last {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}
