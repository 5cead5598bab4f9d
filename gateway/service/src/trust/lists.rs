//! Revocation lists that are taken in while the gate runs.

use std::sync::Arc;

use mexe_certs::root_store::TrustStore;
use mexe_journal::{Change, Record, StoredList};
use mexe_model::Reason;
use serde_json::{Value, json};

use super::change::take_up;
use super::{Sources, Trusted};
use crate::clock;
use crate::gate::Gate;
use crate::refused::Refused;

/// Takes in a revocation list: whatever it revokes is judged anew at once. Lists of the same issuers that were taken in
/// before and are older go.
///
/// # Errors
/// [`Reason::RequestMalformed`] with what keeps it from counting; [`Reason::JournalUnavailable`] when it could not be written
/// down, though it is in force until then.
pub async fn add(gate: &Arc<Gate>, bytes: &[u8]) -> Result<Vec<Value>, Refused> {
    let changing = gate.change().await;
    let at = clock::wall();
    let read = |name: &str, bytes: &[u8]| TrustStore::builder().add_list(name, bytes);
    let facts: Result<Vec<_>, _> = read("it", bytes).into_iter().collect();
    let facts = facts.map_err(|problem| Refused::about(Reason::RequestMalformed, problem.to_string()))?;
    let mut sources = Sources::clone(&gate.trusted().sources);
    let list =
        StoredList { id: mexe_certs::Fingerprint::of(bytes).to_string(), der: bytes.to_vec(), added_at: at };
    // Numbers without leading zeros: the longer one is the larger.
    let order = |number: &str| (number.len(), number.to_owned());
    let replaced = |old: &StoredList| {
        old.id != list.id
            && read("it", &old.der).into_iter().filter_map(Result::ok).all(|old| {
                facts.iter().any(|new| new.issuer == old.issuer && order(&new.number) > order(&old.number))
            })
    };
    let gone: Vec<String> =
        sources.lists.iter().filter(|old| replaced(old)).map(|old| old.id.clone()).collect();
    sources.lists.retain(|old| !gone.contains(&old.id) && old.id != list.id);
    sources.lists.push(list.clone());
    let shown = facts.iter().map(|list| {
        json!({
            "issuer": list.issuer,
            "number": list.number,
            "state": list.state_at(at).as_str(),
            "next_update": list.next_update.to_string(),
            "entries": list.entries,
        })
    });
    let shown: Vec<Value> = shown.collect();
    let mut changes = vec![Change::PutList(list)];
    changes.extend(gone.into_iter().map(Change::RemoveList));
    let record = Record { detail: Some(json!({ "lists": shown })), ..Record::change(at, "list.add") };
    let next = Trusted::of(sources, gate.certain_time());
    let taken_in = |list: &mexe_certs::ListFacts| next.store.lists().any(|known| known.sha256 == list.sha256);
    if !facts.iter().all(taken_in) {
        let detail = format!("there are {} lists already, and no more count", mexe_certs::LISTS_MAX);
        return Err(Refused::about(Reason::RequestMalformed, detail));
    }
    take_up(gate, changing, next, Some((Change::Several(changes), record))).await?;
    Ok(shown)
}
