//! Whether the verdict on an installed app still holds (S12): judged anew before every run, and when roots, cards, revocation
//! lists or the administrator's settings change. An app that is not vouched for any more is suspended at once, and comes
//! back when somebody vouches for it again.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant as Stopwatch;

use mexe_certs::{Moment, TrustVerdict, Verification, WholeDigest};
use mexe_journal::{AppState, Change, Record};
use mexe_model::{AppId, Reason, Trust};
use mexe_relay::Key;
use serde_json::json;

use super::evidence::StoredEvidence;
use super::{App, hex};
use crate::clock;
use crate::config::Expiry;
use crate::gate::{Changing, Gate};
use crate::grants::unavailable;
use crate::judging;
use crate::launch::Sealed;
use crate::refused::Refused;
use crate::running;
use crate::runs::Run;
use crate::trust::Trusted;
use crate::verdict;

/// Judges an installed app again, before a run or after a change of roots: same bytes, same domain, verdict still good.
///
/// # Errors
/// [`Reason::AppSuspended`] with the cause; the app is suspended until it is judged well again.
pub async fn judge_again(gate: &Arc<Gate>, app: &App) -> Result<Vouched, Refused> {
    for _ in 0..ATTEMPTS {
        if let Some(vouched) = judge_once(gate, app).await? {
            return Ok(vouched);
        }
    }
    Err(roots_change())
}

/// An app whose verdict holds.
pub struct Vouched {
    /// The very bytes that were judged, sealed.
    pub sealed: Sealed,
    /// What they were judged by. Whoever begins a run sees that it is still in force.
    pub by: Arc<Trusted>,
}

/// How often a package is judged anew because the roots changed meanwhile.
pub(super) const ATTEMPTS: usize = 4;

pub(super) fn roots_change() -> Refused {
    Refused::about(Reason::AppSuspended, "the roots change faster than a package can be judged; try again")
}

/// `None` when the roots changed meanwhile.
async fn judge_once(gate: &Arc<Gate>, app: &App) -> Result<Option<Vouched>, Refused> {
    gate.clock_holds()?;
    let path = gate.state_dir().join(&app.file);
    let (state_dir, format, evidence) = (gate.state_dir().to_owned(), app.format, app.evidence.clone());
    let trusted = gate.trusted();
    let judged_by = Arc::clone(&trusted);
    let (installed_at, strict) = (app.installed_at, gate.config().policy.expiry == Expiry::Strict);
    let at = clock::wall();
    let began = Stopwatch::now();
    let judged = tokio::task::spawn_blocking(move || -> io::Result<(Sealed, Verification)> {
        let mut sealed = Sealed::copy(File::open(&path)?)?;
        let evidence = StoredEvidence::read(format, &state_dir, evidence.as_deref())?;
        let evidence = evidence.as_evidence();
        // Sealed bytes are hashed while they are copied, and never change again.
        let (size, digest) = (sealed.size(), WholeDigest::Known(*sealed.digest()));
        let mut verification = judging::verify(sealed.reader()?, size, digest, evidence, &trusted, at);
        // An app that was installed while its certificates were valid stays, unless the owner wants it otherwise. What was
        // revoked since is revoked all the same.
        if !strict && verdict::is_refused_for(&verification, Reason::CertificateExpired) {
            let then = Moment { valid_at: installed_at, revoked_by: at };
            verification = judging::verify(sealed.reader()?, size, digest, evidence, &trusted, then);
        }
        Ok((sealed, verification))
    });
    let mut vouched = None;
    let (cause, sealed) = match judged.await {
        Ok(Ok((sealed, verification))) => {
            gate.metrics.verified(app.format, verdict::name(&verification.verdict), began.elapsed());
            let same_bytes = hex(sealed.digest()) == app.digest && *sealed.digest() == verification.digest;
            let cause = match verdict::trust(&verification) {
                _ if !same_bytes => Some(Refused::from(Reason::EntryChanged)),
                // The root that is off says more than that there is none.
                Ok(Trust::Untrusted) if roots_in_the_way(&judged_by, app).is_some() => {
                    roots_in_the_way(&judged_by, app).map(Refused::from)
                }
                Err(refused) => Some(refused),
                // An app once verified never runs as untrusted, nor in another domain.
                Ok(trust) if trust != app.trust => Some(verdict::lost_domain(&verification, app.trust)),
                Ok(_) => None,
            };
            vouched = Some(verification.verdict);
            (cause, Some(sealed))
        }
        Ok(Err(error)) => {
            (Some(Refused::about(Reason::EntryMissing, format!("the package cannot be read: {error}"))), None)
        }
        Err(error) => {
            (Some(Refused::about(Reason::EntryMissing, format!("judging broke off: {error}"))), None)
        }
    };
    let changing = gate.change().await;
    // Roots may have changed while the package was read: what was found counts for nothing then.
    if !Arc::ptr_eq(&judged_by, &gate.trusted()) {
        return Ok(None);
    }
    let verdict = vouched.filter(|_| cause.is_none());
    set_state(gate, &changing, app, verdict.as_ref(), cause.as_ref()).await?;
    drop(changing);
    match (cause, sealed) {
        (None, Some(sealed)) => Ok(Some(Vouched { sealed, by: judged_by })),
        (cause, _) => {
            let why = cause.map_or_else(String::new, |cause| cause.to_string());
            Err(Refused::about(Reason::AppSuspended, format!("`{}` may not run: {why}", app.id)))
        }
    }
}

/// Takes up what a judgement found: whether the app may run, and what a good verdict leaves to it.
async fn set_state(
    gate: &Arc<Gate>,
    _changing: &Changing<'_>,
    app: &App,
    verdict: Option<&TrustVerdict>,
    cause: Option<&Refused>,
) -> Result<(), Refused> {
    let state = cause.map(|refused| refused.reason);
    let Some(current) = gate.apps.get(&app.id).filter(|current| current.digest == app.digest) else {
        return Err(Reason::AppRemoved.into());
    };
    let mut next = App { suspended: state, ..App::clone(&current) };
    if let Some(verdict) = verdict {
        next = App {
            root: verdict::root(verdict),
            roots: verdict::roots(verdict),
            groups: verdict::groups(verdict),
            legacy: verdict::is_legacy(verdict),
            unvouched: verdict::unvouched(verdict),
            signers: verdict::signers(verdict),
            ..next
        };
    }
    let vouched_otherwise = (&next.roots, next.groups, next.legacy, next.unvouched, &next.signers)
        != (&current.roots, current.groups, current.legacy, current.unvouched, &current.signers);
    if state == current.suspended && !vouched_otherwise {
        return Ok(());
    }
    let (mut change, record) = state_change(&app.id, app.trust, state, cause);
    if vouched_otherwise {
        change = Change::PutApp(next.stored());
    }
    gate.apps.put(next);
    if state.is_some() {
        gate.cut(&Key::App(app.id.clone()), Reason::AppSuspended);
    }
    gate.journal.change(change, record).await.map_err(unavailable)?;
    Ok(())
}

/// Why none of an app's signers is vouched for by what is in force now, as far as the roots alone tell.
fn roots_in_the_way(trusted: &Trusted, app: &App) -> Option<Reason> {
    let domain = app.trust.domain()?;
    app.chains().iter().find_map(|chain| trusted.in_the_way(chain, domain))
}

/// After a change of roots: apps whose root is off are suspended and their flows cut, at once and without looking at any
/// package; apps that were suspended for that alone may run again (and are judged whole before they do).
pub async fn settle_roots(gate: &Arc<Gate>, _changing: &Changing<'_>) -> Settled {
    let trusted = gate.trusted();
    let (mut ended, mut changed, mut resumed) = (Vec::new(), Vec::new(), Vec::new());
    for app in gate.apps.list() {
        let cause = roots_in_the_way(&trusted, &app);
        let by_roots = app.suspended.is_some_and(is_of_roots);
        if cause == app.suspended || (cause.is_none() && !by_roots) {
            continue;
        }
        gate.apps.put(App { suspended: cause, ..App::clone(&app) });
        if cause.is_some() {
            // Ended first, so that nothing new is decided for them; then cut, what is still connecting as well.
            ended.extend(gate.runs.of(&app.id).iter().filter_map(|run| gate.runs.end(run.id)));
            gate.cut(&Key::App(app.id.clone()), Reason::AppSuspended);
        }
        if cause.is_none() {
            resumed.push(app.id.clone());
        }
        changed.push((app, cause));
    }
    gate.grants_changed.notify_waiters();
    for (app, cause) in changed {
        let (change, record) = state_change(&app.id, app.trust, cause, None);
        if let Err(error) = gate.journal.change(change, record).await {
            tracing::warn!(%error, app = %app.id, "an app's new state could not be written down; it is in force all the same");
        }
    }
    Settled { ended, resumed }
}

/// What a change of roots did to the apps.
#[derive(Default)]
pub struct Settled {
    /// Runs that are over, for [`end_runs`].
    pub ended: Vec<Arc<Run>>,
    /// Apps whose root is back: something else may be in their way.
    pub resumed: Vec<AppId>,
}

/// Ends for good the runs that [`settle_roots`] handed out.
pub async fn end_runs(gate: &Arc<Gate>, ended: Vec<Arc<Run>>) {
    for run in ended {
        running::finish(gate, run, Reason::AppSuspended).await;
    }
}

fn state_change(
    id: &AppId,
    trust: Trust,
    state: Option<Reason>,
    cause: Option<&Refused>,
) -> (Change, Record) {
    let stored = state.map_or(AppState::Active, AppState::Suspended);
    let record = Record {
        app: Some(id.clone()),
        domain: Some(trust),
        reason: state,
        detail: cause.map(|refused| json!({ "why": refused.detail })),
        ..Record::change(clock::wall(), if state.is_some() { "app.suspend" } else { "app.resume" })
    };
    (Change::SetAppState(id.clone(), stored), record)
}

/// Judges every app that has a live run, and ends the runs of those whose verdict no longer holds; then those that are
/// suspended for another cause than their roots, which may be gone, and those whose root came back.
pub async fn judge_concerned(gate: &Arc<Gate>, resumed: &[AppId]) {
    for app in gate.apps.list() {
        if gate.runs.of(&app.id).is_empty() {
            continue;
        }
        if let Err(refused) = judge_again(gate, &app).await {
            tracing::warn!(app = %app.id, %refused, "an app's verdict no longer holds; its runs end");
            for run in gate.runs.of(&app.id) {
                running::end(gate, run.id, Reason::AppSuspended).await;
            }
        }
    }
    for app in gate.apps.list() {
        if app.suspended.is_some_and(|why| !is_of_roots(why)) || resumed.contains(&app.id) {
            // A verdict that does not hold is written down as the app's state.
            let _ = judge_again(gate, &app).await;
        }
    }
}

/// Whether roots alone are in the way: [`settle_roots`] sees when they are not any more.
const fn is_of_roots(why: Reason) -> bool {
    matches!(why, Reason::RootDisabled | Reason::RootInvalid | Reason::NoRoot)
}

/// Judges a package file that is not installed. The outer error is the machine's, the inner one the package's.
pub(super) async fn judge_file(
    gate: &Arc<Gate>,
    path: &Path,
    evidence: &StoredEvidence,
    trusted: &Arc<Trusted>,
) -> Result<(Result<Trust, Refused>, Verification), Refused> {
    let (path, trusted, evidence) = (path.to_owned(), Arc::clone(trusted), evidence.clone());
    let at = clock::wall();
    let format = evidence.as_evidence().format();
    let began = Stopwatch::now();
    let judging = tokio::task::spawn_blocking(move || -> io::Result<Verification> {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        Ok(judging::verify(&file, size, WholeDigest::Wanted, evidence.as_evidence(), &trusted, at))
    });
    let broken = |error: String| {
        Refused::about(Reason::JournalUnavailable, format!("the package cannot be read back: {error}"))
    };
    let verification = match judging.await {
        Ok(Ok(verification)) => verification,
        Ok(Err(error)) => return Err(broken(error.to_string())),
        Err(error) => return Err(broken(error.to_string())),
    };
    gate.metrics.verified(format, verdict::name(&verification.verdict), began.elapsed());
    Ok((verdict::trust(&verification), verification))
}

/// The bytes of the program inside a native package; the package was judged as these very bytes.
///
/// # Errors
/// The entry is not there or cannot be unpacked within the limits.
pub fn program_of(sealed: &mut Sealed, app: &App) -> io::Result<Option<Vec<u8>>> {
    let Some(executable) = app.runtime.executable() else { return Ok(None) };
    let size = sealed.size();
    let bytes = mexe_certs::read_entry(sealed.reader()?, size, executable, &mexe_certs::Limits::default());
    bytes.map(Some).map_err(|error| io::Error::other(error.to_string()))
}
