//! Changes of trust while the gate runs: roots added, switched and removed, the administrator, cards. Each
//! is decided against who is in charge, written down with its record, and settled at once: apps whose root no longer
//! vouches are suspended, their flows cut and their runs ended; apps whose root is back may run again. What narrows counts
//! before it is on disk, what widens after (S26).

use std::sync::Arc;

use mexe_certs::TimeFloor;
use mexe_certs::administrator::{Acceptance, Who};
use mexe_certs::ccm::{self, CcmLimits, Receiver};
use mexe_certs::root_store::{Provenance, Root, RootFault, RootKind, TrustStore};
use mexe_journal::{Change, Outcome, Record, RootState, StoredRoot};
use mexe_model::{Reason, RootId, SecurityDomain, WallTime};
use serde_json::{Value, json};

use super::{HANDED_OVER, InCharge, Sources, Standing, State, Trusted, stored_kind};
use crate::card::Seen;
use crate::gate::{Changing, Gate};
use crate::grants::unavailable;
use crate::refused::Refused;
use crate::{apps, clock};

/// Adds a third party root.
///
/// # Errors
/// [`Reason::RootReadOnly`] for the operator's and the manufacturer's, [`Reason::AdministratorRequired`] while somebody
/// else administers, [`Reason::RootUnusable`], [`Reason::RootInTwoDomains`], [`Reason::JournalUnavailable`].
pub async fn add(gate: &Arc<Gate>, kind: RootKind, name: &str, bytes: &[u8]) -> Result<Value, Refused> {
    match kind {
        RootKind::ThirdParty => {}
        RootKind::Administrator => {
            return Err(Refused::about(
                Reason::AdministratorRequired,
                "an administrator is set, not added: `mexegate administrator set FILE`",
            ));
        }
        RootKind::Operator | RootKind::Manufacturer => {
            let detail = format!("{} roots come with the device or its card", kind.as_str());
            return Err(Refused::about(Reason::RootReadOnly, detail));
        }
    }
    let changing = gate.change().await;
    let trusted = gate.trusted();
    if trusted.in_charge != InCharge::User {
        return Err(not_the_users());
    }
    put(gate, changing, &trusted, kind, name, bytes, "root.add").await
}

/// Makes the holder of this root the administrator of the third party domain.
///
/// # Errors
/// [`Reason::AdministratorRequired`] when somebody else than the user is it already; as [`add`].
pub async fn set_administrator(gate: &Arc<Gate>, name: &str, bytes: &[u8]) -> Result<Value, Refused> {
    let changing = gate.change().await;
    let trusted = gate.trusted();
    if trusted.in_charge != InCharge::User {
        let detail = "the administrator hands over by a message that its own key signs";
        return Err(Refused::about(Reason::AdministratorRequired, detail));
    }
    put(gate, changing, &trusted, RootKind::Administrator, name, bytes, "administrator.set").await
}

async fn put(
    gate: &Arc<Gate>,
    changing: Changing<'_>,
    trusted: &Trusted,
    kind: RootKind,
    name: &str,
    bytes: &[u8],
    action: &'static str,
) -> Result<Value, Refused> {
    let at = clock::wall();
    let mut builder = TrustStore::builder();
    let answers = builder.add(kind, name, bytes, at);
    let [answer] = answers.as_slice() else {
        let detail = format!("there are {} certificates in it; add them one by one", answers.len());
        return Err(Refused::about(Reason::RootUnusable, detail));
    };
    if let Err(problem) = answer
        && !matches!(problem.fault(), RootFault::NotYetValid { .. } | RootFault::Expired { .. })
    {
        return Err(Refused::about(Reason::RootUnusable, problem.to_string()));
    }
    let alone = builder.build();
    let [root] = alone.roots() else { return Err(Reason::RootUnusable.into()) };
    let same_key = |standing: &&Standing| standing.id == *root.id() && standing.kind == kind;
    let known = |standing: &&Standing| same_key(standing) && standing.fingerprint == root.fingerprint();
    if let Some(known) = trusted.roots.iter().find(known) {
        return Ok(known.shown());
    }
    let stored = StoredRoot {
        id: root.id().clone(),
        kind: stored_kind(kind),
        state: RootState::Enabled,
        // No file of the owner's is taken for what came by a message.
        source: if name == HANDED_OVER { "file".to_owned() } else { name.to_owned() },
        subject: root.subject().to_owned(),
        certificate: Some(root.der().to_vec()),
        changed_at: at,
    };
    let mut sources = Sources::clone(&trusted.sources);
    // One certificate of each key is kept: the newer one takes the place of the older.
    sources.added.retain(|old| (&old.id, old.kind) != (&stored.id, stored.kind));
    sources.added.push(stored.clone());
    sources.off.remove(&(root.id().clone(), kind.as_str()));
    let next = Trusted::of(sources, gate.certain_time());
    let Some(standing) = next.roots.iter().find(known) else {
        let detail = format!("{}: the key is a root of another domain", printable_id(root.id()));
        return Err(Refused::about(Reason::RootInTwoDomains, detail));
    };
    let shown = standing.shown();
    let record =
        Record { detail: Some(about(root.id(), kind, root.subject())), ..Record::change(at, action) };
    gate.journal.change(Change::PutRoot(stored), record).await.map_err(unavailable)?;
    take_up(gate, changing, next, None).await?;
    Ok(shown)
}

/// Lets a root vouch again that the user switched off, or accepts a key of the card in the device.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::RootReadOnly`], [`Reason::AdministratorRequired`] when that is not the user's to do,
/// [`Reason::JournalUnavailable`].
pub async fn enable(gate: &Arc<Gate>, id: &RootId) -> Result<Value, Refused> {
    let changing = gate.change().await;
    let trusted = gate.trusted();
    let mut sources = Sources::clone(&trusted.sources);
    let (mut changes, mut did) = (Vec::new(), false);
    for root in of_id(&trusted, id)? {
        match root.state {
            State::Disabled if sources.off.remove(&(id.clone(), root.kind.as_str())) => {
                changes.push(switched(&sources, root, RootState::Enabled));
                did = true;
            }
            State::Unaccepted => {
                let iccid = sources.card.as_ref().map(|card| card.iccid.clone()).unwrap_or_default();
                let question = trusted.administrator.question.as_ref();
                let acceptance =
                    Acceptance { by: Who::Owner, in_place_of: question.and_then(|q| q.in_place_of) };
                let value = serde_json::to_value(acceptance).unwrap_or_default();
                changes.push(Change::PutTrust { name: accepted_name(&iccid, id), value });
                sources.accepted.insert((iccid, id.clone()), acceptance);
                did = true;
            }
            _ => {}
        }
    }
    let found = of_id(&trusted, id)?;
    if !did {
        return match found.first().map(|root| root.state) {
            Some(State::NotEnabled | State::Disabled | State::NotInCharge) => Err(not_the_users()),
            Some(State::Invalid) => Err(Refused::about(Reason::RootInvalid, State::Invalid.says())),
            _ => Ok(found.first().map_or(Value::Null, |root| root.shown())),
        };
    }
    let record = record_of(&found, "root.enable");
    gate.journal.change(Change::Several(changes), record).await.map_err(unavailable)?;
    let next = Trusted::of(sources, gate.certain_time());
    let shown = of_id(&next, id)?.first().map_or(Value::Null, |root| root.shown());
    take_up(gate, changing, next, None).await?;
    Ok(shown)
}

/// Switches a root off: its apps are suspended at once.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::RootReadOnly`] for the manufacturer's, [`Reason::AdministratorRequired`] for the
/// administrator's own, [`Reason::JournalUnavailable`] when it could not be written down, though it is off until then.
pub async fn disable(gate: &Arc<Gate>, id: &RootId) -> Result<Value, Refused> {
    let changing = gate.change().await;
    let trusted = gate.trusted();
    let mut sources = Sources::clone(&trusted.sources);
    let found = the_users(of_id(&trusted, id)?);
    let mut changes = Vec::new();
    for root in &found {
        match root.kind {
            RootKind::Manufacturer => return Err(read_only(root)),
            RootKind::Administrator => return Err(not_the_users()),
            RootKind::Operator | RootKind::ThirdParty => {}
        }
        sources.off.insert((id.clone(), root.kind.as_str()));
        changes.push(switched(&sources, root, RootState::Disabled));
    }
    let record = record_of(&found, "root.disable");
    let next = Trusted::of(sources, gate.certain_time());
    let shown = the_users(of_id(&next, id)?).first().map_or(Value::Null, |root| root.shown());
    take_up(gate, changing, next, Some((Change::Several(changes), record))).await?;
    Ok(shown)
}

/// Forgets a root that was added while the gate ran.
///
/// # Errors
/// As [`disable`]; [`Reason::RootReadOnly`] for roots that lie in the roots directory or on the card.
pub async fn remove(gate: &Arc<Gate>, id: &RootId) -> Result<(), Refused> {
    let changing = gate.change().await;
    let trusted = gate.trusted();
    let found = the_users(of_id(&trusted, id)?);
    let mut changes = Vec::new();
    for root in &found {
        match (root.kind, root.provenance) {
            (RootKind::Administrator, _) => return Err(not_the_users()),
            (RootKind::ThirdParty, Provenance::User) => {
                changes.push(Change::RemoveRoot(id.clone(), stored_kind(root.kind)));
            }
            _ => return Err(read_only(root)),
        }
    }
    if trusted.in_charge != InCharge::User {
        return Err(not_the_users());
    }
    let mut sources = Sources::clone(&trusted.sources);
    sources.added.retain(|root| root.id != *id);
    sources.off.retain(|(off, _)| off != id);
    let record = record_of(&found, "root.remove");
    let next = Trusted::of(sources, gate.certain_time());
    take_up(gate, changing, next, Some((Change::Several(changes), record))).await
}

/// The card that is in the device now; nothing happens when it is as before. Who administers is decided anew, the card's
/// roots come and go, and their apps with them.
pub async fn card(gate: &Arc<Gate>, seen: Option<Seen>) {
    let changing = gate.change().await;
    let trusted = gate.trusted();
    let before = &trusted.sources;
    let (facts, roots) = match &seen {
        Some(seen) => (Some(seen.facts.clone()), seen.roots.clone()),
        None => (None, Vec::new()),
    };
    if before.card == facts && before.card_roots == roots {
        return;
    }
    let what = match (&before.card, &facts) {
        (_, None) => "card.remove",
        (None, Some(_)) => "card.insert",
        (Some(old), Some(new)) if old.iccid != new.iccid => "card.swap",
        (Some(_), Some(_)) => "card.change",
    };
    for problem in seen.iter().flat_map(|seen| &seen.problems) {
        tracing::warn!("{problem}");
    }
    let sources = Sources { card: facts, card_roots: roots, ..Sources::clone(before) };
    let next = Trusted::of(sources, gate.certain_time());
    let detail = json!({
        "iccid": next.sources.card.as_ref().map(|card| &card.iccid),
        "roots": next.roots.iter().filter(|root| root.provenance == Provenance::Usim).count(),
        "administrator": next.administrator.administrator.as_str(),
        "why": next.administrator.why.as_str(),
    });
    let record = Record { detail: Some(detail), ..Record::change(clock::wall(), what) };
    if let Err(error) = take_up(gate, changing, next, Some((Change::Several(Vec::new()), record))).await {
        tracing::warn!(%error, "a card's coming or going could not be written down yet");
    }
}

/// Applies a certificate configuration message: what it says is in force when it is on the disk, all of it or nothing.
///
/// # Errors
/// [`Reason::CcmWrongSigner`] when there is no remote administrator, [`Reason::ClockSuspect`], everything that
/// [`ccm::apply`] refuses, [`Reason::JournalUnavailable`]; nothing is changed then.
pub async fn apply_message(gate: &Arc<Gate>, message: &[u8]) -> Result<Value, Refused> {
    let applied = try_message(gate, message).await;
    if let Err(refused) = &applied {
        let record = Record {
            decision: Some(Outcome::Deny),
            reason: Some(refused.reason),
            detail: Some(json!({ "why": refused.detail })),
            ..Record::change(clock::wall(), "ccm.apply")
        };
        if let Err(error) = gate.journal.record(record).await {
            tracing::warn!(%error, "a refused message could not be written down");
        }
    }
    applied
}

async fn try_message(gate: &Arc<Gate>, message: &[u8]) -> Result<Value, Refused> {
    gate.clock_holds()?;
    let changing = gate.change().await;
    let trusted = gate.trusted();
    let InCharge::Holder { key, .. } = &trusted.in_charge else {
        let detail = "the user administers this device, so nobody's messages count";
        return Err(Refused::about(Reason::CcmWrongSigner, detail));
    };
    let known = |root: &&Root| root.kind() == RootKind::Administrator && root.key() == *key;
    let root = trusted.store.roots().iter().find(known).ok_or(Reason::CcmWrongSigner)?;
    let at = clock::wall();
    let card = trusted.sources.card.as_ref();
    let receiver =
        Receiver { device: &gate.device, home_network: card.and_then(|card| card.network.as_deref()) };
    let applied = ccm::apply(message, &trusted.sources.messages, root, receiver, at, &CcmLimits::default())
        .map_err(|refusal| Refused::about(refusal.reason, refusal.detail))?;
    let mut sources = Sources::clone(&trusted.sources);
    let value = serde_json::to_value(&applied.state)
        .map_err(|error| Refused::about(Reason::JournalUnavailable, error.to_string()))?;
    let mut changes = vec![Change::PutTrust { name: MESSAGES.to_owned(), value }];
    if let Some(der) = &applied.ccm.successor {
        let stored = successor(der, at)?;
        let elsewhere =
            |root: &&Standing| root.id == stored.id && root.kind.domain() != SecurityDomain::ThirdParty;
        if let Some(root) = trusted.roots.iter().find(elsewhere) {
            let detail = format!("the key that takes over is a root of the {} domain", root.kind.domain());
            return Err(Refused::about(Reason::CcmMalformed, detail));
        }
        changes.push(Change::PutRoot(stored.clone()));
        sources.added.push(stored);
    }
    let floor = TimeFloor { ccm: applied.ccm.not_before, ..TimeFloor::default() };
    if gate.floor.raise(&floor) {
        changes.push(crate::floor::remember(&gate.floor.get()).0);
    }
    let said = json!({
        "administrator": key,
        "sequence": applied.ccm.sequence,
        "mode": applied.ccm.mode.as_str(),
        "entries": applied.ccm.entries,
        "next_update": applied.ccm.next_update.to_string(),
        "successor": applied.ccm.successor.is_some(),
    });
    let record = Record { detail: Some(said.clone()), ..Record::change(at, "ccm.apply") };
    gate.journal.change(Change::Several(changes), record).await.map_err(unavailable)?;
    sources.messages = applied.state;
    let next = Trusted::of(sources, gate.certain_time());
    take_up(gate, changing, next, None).await?;
    Ok(said)
}

/// The certificate of a key that takes over, as it is kept.
fn successor(der: &[u8], at: WallTime) -> Result<StoredRoot, Refused> {
    let mut builder = TrustStore::builder();
    builder.add(RootKind::Administrator, "ccm", der, at);
    let store = builder.build();
    let [root] = store.roots() else { return Err(Reason::CcmMalformed.into()) };
    Ok(StoredRoot {
        id: root.id().clone(),
        kind: stored_kind(RootKind::Administrator),
        state: RootState::Enabled,
        source: HANDED_OVER.to_owned(),
        subject: root.subject().to_owned(),
        certificate: Some(der.to_vec()),
        changed_at: at,
    })
}

/// Takes up what the directories hold now, at a reload. What was changed while the gate ran stays.
pub fn reloaded(gate: &Gate, files: Arc<super::Files>, rules: mexe_certs::Rules) -> Trusted {
    let before = gate.trusted();
    Trusted::of(Sources { files, rules, ..Sources::clone(&before.sources) }, gate.certain_time())
}

/// Decides everything anew from what is known already: the time is certain again.
pub async fn again(gate: &Arc<Gate>) {
    let changing = gate.change().await;
    let next = Trusted::of(Sources::clone(&gate.trusted().sources), gate.certain_time());
    // Nothing is written down, so nothing can fail.
    let _ = take_up(gate, changing, next, None).await;
}

/// Puts the new store in place, settles what it means for the installed apps, and then writes down what is not yet, before
/// any other change can be.
///
/// # Errors
/// [`Reason::JournalUnavailable`] when it could not be written down, though it is in force.
pub async fn take_up(
    gate: &Arc<Gate>,
    changing: Changing<'_>,
    next: Trusted,
    unwritten: Option<(Change, Record)>,
) -> Result<(), Refused> {
    changing.trust(next);
    let settled = apps::settle_roots(gate, &changing).await;
    let written = match unwritten {
        Some((change, record)) => narrowed(gate, change, record).await,
        None => Ok(()),
    };
    drop(changing);
    apps::end_runs(gate, settled.ended).await;
    apps::judge_concerned(gate, &settled.resumed).await;
    written
}

/// What narrows is in force; now it is written down, however long that takes.
async fn narrowed(gate: &Arc<Gate>, change: Change, record: Record) -> Result<(), Refused> {
    match gate.journal.change(change.clone(), record.clone()).await {
        Ok(_) => Ok(()),
        Err(error) => {
            tokio::spawn(crate::grants::write_at_last(Arc::clone(gate), change, record));
            let detail =
                format!("{error}; it is in force all the same, and that is written down when it can be");
            Err(Refused::about(Reason::JournalUnavailable, detail))
        }
    }
}

/// The name under which the trust store remembers what the administrators' messages said.
pub const MESSAGES: &str = "ccm";

/// The name under which the trust store remembers that a card's key was accepted.
pub fn accepted_name(iccid: &str, id: &RootId) -> String {
    format!("accepted:{iccid}:{id}")
}

/// What is remembered of a root that was switched. One that was added keeps its certificate.
fn switched(sources: &Sources, root: &Standing, state: RootState) -> Change {
    let kind = stored_kind(root.kind);
    let added = sources.added.iter().find(|added| added.id == root.id && added.kind == kind);
    Change::PutRoot(StoredRoot {
        id: root.id.clone(),
        kind,
        state,
        source: root.source.clone(),
        subject: root.subject.clone(),
        certificate: added.and_then(|added| added.certificate.clone()),
        changed_at: clock::wall(),
    })
}

fn of_id<'a>(trusted: &'a Trusted, id: &RootId) -> Result<Vec<&'a Standing>, Refused> {
    let found: Vec<_> = trusted.roots.iter().filter(|root| root.id == *id).collect();
    match found.is_empty() {
        true => Err(Refused::about(Reason::NotFound, format!("there is no root `{id}`"))),
        false => Ok(found),
    }
}

/// Without the claims of a card on keys that are more than an administrator's: whoever puts a card in takes nothing out
/// of the user's hands.
fn the_users(mut found: Vec<&Standing>) -> Vec<&Standing> {
    let of_card =
        |root: &&Standing| root.kind == RootKind::Administrator && root.provenance == Provenance::Usim;
    if found.iter().any(|root| !of_card(root)) {
        found.retain(|root| !of_card(root));
    }
    found
}

fn record_of(found: &[&Standing], action: &'static str) -> Record {
    let detail = found.first().map(|root| about(&root.id, root.kind, &root.subject));
    Record { detail, ..Record::change(clock::wall(), action) }
}

fn about(id: &RootId, kind: RootKind, subject: &str) -> Value {
    json!({ "root": id, "kind": kind.as_str(), "subject": subject })
}

fn not_the_users() -> Refused {
    Refused::about(Reason::AdministratorRequired, "the third party domain is administered by somebody else")
}

fn read_only(root: &Standing) -> Refused {
    let detail = match root.kind {
        RootKind::Manufacturer => "the manufacturer's roots are fixed while the gate runs".to_owned(),
        _ => {
            format!("it comes from `{}`, and is removed there; `roots disable` switches it off", root.source)
        }
    };
    Refused::about(Reason::RootReadOnly, detail)
}

fn printable_id(id: &RootId) -> String {
    id.as_str().chars().take(16).collect()
}
