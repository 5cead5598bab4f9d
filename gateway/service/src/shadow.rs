//! A candidate table or setting beside the live policy: every decision is taken a second time under it, without effect,
//! and counted by how it would differ. An operator sees what a change does before it is made.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mexe_journal::Record;
use mexe_model::{Instant, Reason, WallTime};
use mexe_policy::policy::TokenRuns;
use mexe_policy::shadow::{Candidate, Shadow};
use mexe_policy::{Decision, Facts, Policy, SecurityTable, Settings};
use serde_json::{Value, json};

use crate::clock;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::refused::Refused;

/// The candidate, if one is loaded.
#[derive(Debug, Default)]
pub struct Beside {
    loaded: ArcSwapOption<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    shadow: Shadow,
    since: WallTime,
    token_runs: Option<TokenRuns>,
    has_table: bool,
}

impl Beside {
    /// Takes the same decision under the candidate, and counts how it differs.
    pub fn observe(&self, now: Instant, facts: &Facts<'_>, live: &Decision) {
        if let Some(loaded) = &*self.loaded.load() {
            loaded.shadow.observe(now, facts, live);
        }
    }

    /// The live policy is another.
    pub fn follow(&self, live: &Policy) {
        if let Some(loaded) = self.loaded.load_full() {
            let shadow = loaded.shadow.follow(live);
            let Loaded { since, token_runs, has_table, .. } = *loaded;
            self.loaded.store(Some(Arc::new(Loaded { shadow, since, token_runs, has_table })));
        }
    }

    /// What is loaded and what it found, as the API shows it.
    pub fn shown(&self) -> Value {
        let Some(loaded) = self.loaded.load_full() else { return json!({ "loaded": false }) };
        json!({
            "loaded": true,
            "since": loaded.since.to_string(),
            "table": if loaded.has_table { "candidate" } else { "live" },
            "token_runs": loaded.token_runs,
            "items": loaded.shadow.counts().found(),
        })
    }
}

/// Loads a candidate in place of what was there; counting begins anew.
///
/// # Errors
/// [`Reason::RequestMalformed`]: it is no table that could be loaded, or nothing at all. [`Reason::JournalUnavailable`].
pub async fn load(
    gate: &Arc<Gate>,
    table: Option<&str>,
    token_runs: Option<TokenRuns>,
) -> Result<Value, Refused> {
    if table.is_none() && token_runs.is_none() {
        return Err(Refused::about(Reason::RequestMalformed, "name a table or a setting to try"));
    }
    let read = |text: &str| {
        SecurityTable::from_toml(text)
            .map(Arc::new)
            .map_err(|error| Refused::about(Reason::RequestMalformed, error.to_string()))
    };
    let table = table.map(read).transpose()?;
    let since = clock::wall();
    let changing = gate.change().await;
    let record = Record {
        detail: Some(json!({ "table": table.is_some(), "token_runs": token_runs })),
        ..Record::change(since, "shadow.load")
    };
    gate.journal.record(record).await.map_err(unavailable)?;
    let has_table = table.is_some();
    let settings = token_runs.map(|token_runs| Settings { token_runs });
    let shadow = Shadow::new(Candidate { table, settings }, &gate.policy());
    gate.beside.loaded.store(Some(Arc::new(Loaded { shadow, since, token_runs, has_table })));
    drop(changing);
    Ok(gate.beside.shown())
}

/// Drops the candidate, and tells what it found.
///
/// # Errors
/// [`Reason::NotFound`]: none is loaded.
pub async fn drop_candidate(gate: &Arc<Gate>) -> Result<Value, Refused> {
    let found = gate.beside.shown();
    let changing = gate.change().await;
    if gate.beside.loaded.swap(None).is_none() {
        return Err(Refused::about(Reason::NotFound, "no candidate is loaded"));
    }
    drop(changing);
    let record = Record { detail: Some(found.clone()), ..Record::change(clock::wall(), "shadow.drop") };
    if let Err(error) = gate.journal.record(record).await {
        tracing::warn!(%error, "that a candidate was dropped could not be written down");
    }
    Ok(found)
}
