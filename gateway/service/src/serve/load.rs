//! What the service reads when it starts, and again when it reloads: table, profiles, roots, and the grants that
//! survived the last stop.

use std::path::Path;
use std::sync::Arc;

use mexe_certs::Rules;
use mexe_journal::{Change, Journal, Options, Record, StoredGrant};
use mexe_model::{Action, GrantId};
use mexe_policy::{
    Categorisation, Exclusions, Grant, GrantSpec, Policy, SecurityTable, Settings, TableError,
};
use mexe_qos::ProfileSet;
use serde_json::json;

use super::ServeError;
use crate::accounting::thresholds::Thresholds;
use crate::accounting::{self, Accounts};
use crate::apps::{self, Apps};
use crate::card;
use crate::clock;
use crate::config::{self, CardSource, Config, ConfigError, Guard, Loaded};
use crate::floor::{self, Floor};
use crate::gate::{Gate, OwnActions};
use crate::grants;
use crate::trust::{Files, Sources, Trusted, change};

/// A security table is never larger, bytes.
const LARGEST_TABLE: u64 = 1 << 20;

pub(super) fn security_table(config: &Config, guard: &Guard) -> Result<SecurityTable, ServeError> {
    let shipped = |error| ServeError::process("read the shipped table", error);
    let table = match &config.policy.security_table {
        None => SecurityTable::shipped().map_err(shipped)?,
        Some(path) => table_file(path, guard, SecurityTable::from_toml)?,
    };
    let Some(path) = &config.policy.actions else { return Ok(table) };
    let rules = Categorisation::shipped().map_err(shipped)?;
    table_file(path, guard, |text| table.with_actions(text, &rules))
}

/// Which blanket permissions one app does not hold together.
pub(super) fn exclusions(config: &Config, guard: &Guard) -> Result<Exclusions, ServeError> {
    match &config.policy.exclusions {
        config::Exclusions::Off => Ok(Exclusions::default()),
        config::Exclusions::Midp => {
            Exclusions::midp().map_err(|error| ServeError::process("read the shipped exclusions", error))
        }
        config::Exclusions::File(path) => table_file(path, guard, Exclusions::from_toml),
    }
}

/// Whether table, added actions, exclusions and profiles can be read, and what is to be doubted about the profiles; for
/// `check-config`.
///
/// # Errors
/// What is wrong, with its place.
pub fn check_tables(loaded: &Loaded) -> Result<Vec<String>, ServeError> {
    security_table(&loaded.config, &loaded.guard)?;
    exclusions(&loaded.config, &loaded.guard)?;
    profiles(&loaded.config).map(|profiles| profiles.doubts().collect())
}

fn table_file<T>(
    path: &Path,
    guard: &Guard,
    read: impl FnOnce(&str) -> Result<T, TableError>,
) -> Result<T, ServeError> {
    let wrong = |what: String| ServeError::File { path: path.to_owned(), what };
    let bytes = guard.read(path, LARGEST_TABLE)?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    read(&text).map_err(|error| wrong(error.to_string()))
}

/// What lies on disk for the trust store.
pub(super) fn trust_files(config: &Config, guard: &Guard) -> Result<Arc<Files>, ConfigError> {
    Files::read(config.trust.roots.as_deref(), config.trust.crls.as_deref(), guard).map(Arc::new)
}

fn rules(config: &Config) -> Rules {
    Rules { legacy: config.trust.legacy, staleness: config.trust.revocation }
}

/// The trust store: what lies on disk, and what was changed while earlier gates ran.
pub(super) fn trusted(
    config: &Config,
    files: Arc<Files>,
    guard: &Guard,
    stored: &mexe_journal::Loaded,
    floor: &Floor,
) -> Trusted {
    let rules = rules(config);
    // A modem or a card reader is asked when everything else is up; its card counts from then on.
    let source = config.trust.usim.as_ref().filter(|_| card::modem(config).is_none());
    let seen = match source {
        Some(CardSource::Directory(dir)) => card::in_directory(dir, guard),
        Some(CardSource::Reader(_)) | None => None,
    };
    for problem in seen.iter().flat_map(|seen| &seen.problems) {
        tracing::warn!("{problem}");
    }
    let (facts, card_roots) = seen.map_or((None, Vec::new()), |seen| (Some(seen.facts), seen.roots));
    let sources = Sources { files, rules, card: facts, card_roots, ..Sources::remembered(stored) };
    Trusted::of(sources, clock::wall().max(floor.get().latest().0))
}

/// What this device is called in messages of the administrator: chosen at random at the first start, kept for ever.
pub(super) async fn device(journal: &Journal, stored: &mexe_journal::Loaded) -> Result<String, ServeError> {
    const NAME: &str = "device";
    let known = stored.trust.iter().find(|(name, _)| name == NAME).and_then(|(_, value)| value.as_str());
    if let Some(known) = known {
        return Ok(known.to_owned());
    }
    let mut number = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut number)
        .map_err(|_| ServeError::process("name this device", "no random bytes"))?;
    let device = apps::hex(&number);
    let change = Change::PutTrust { name: NAME.to_owned(), value: json!(device) };
    let record =
        Record { detail: Some(json!({ "device": device })), ..Record::change(clock::wall(), "device.name") };
    if let Err(error) = journal.change(change, record).await {
        tracing::warn!(%error, "this device's name could not be written down; the next start chooses another");
    }
    Ok(device)
}

/// What was moved this month, and the thresholds. Sums that cannot be read count as nothing, so that the gate starts.
pub(super) fn accounts(journal: &Journal, stored: &mexe_journal::Loaded) -> Accounts {
    let earlier = journal.usage(accounting::first_of_month(), i64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "what apps moved this month cannot be read: thresholds count from now on");
        Vec::new()
    });
    Accounts::new(earlier, Thresholds::stored(stored))
}

/// The earliest time that it can be now, as far as earlier gates saw it.
pub(super) fn floor(stored: &mexe_journal::Loaded) -> Floor {
    let remembered = stored.trust.iter().find(|(name, _)| name == floor::REMEMBERED);
    let remembered = remembered.and_then(|(_, value)| serde_json::from_value(value.clone()).ok());
    Floor::new(remembered, stored.head.at)
}

pub(super) fn own_actions(table: &SecurityTable) -> Result<OwnActions, ServeError> {
    let find = |name: &'static str| {
        let missing = || ServeError::process("use the security table", format!("it has no row `{name}`"));
        table.action(name).ok_or_else(missing)
    };
    Ok(OwnActions {
        connect: find(Action::NETWORK_CONNECT)?,
        datagram: find(Action::NETWORK_DATAGRAM)?,
        qos: find(Action::NETWORK_QOS)?,
        usage: find(Action::NETWORK_USAGE)?,
    })
}

pub(super) fn profiles(config: &Config) -> Result<ProfileSet, ServeError> {
    let Some(folder) = &config.qos.profiles else { return Ok(ProfileSet::shipped()) };
    let unreadable = |source: std::io::Error| ServeError::State { path: folder.clone(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ServeError::State { path: path.clone(), source })?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    let profiles = ProfileSet::from_files(files)
        .map_err(|error| ServeError::File { path: folder.clone(), what: error.to_string() })?;
    for doubt in profiles.doubts() {
        tracing::warn!("{doubt}");
    }
    Ok(profiles)
}

pub(super) fn journal_options(config: &Config) -> Options {
    Options { retention: config.journal.retention, max_size: config.journal.max_size, ..Options::default() }
}

/// Takes up the grants that still count: not those bound to runs, which ended with the last gate, nor those whose time is
/// over, nor those that today's table forbids.
pub(super) async fn grants(
    policy: Policy,
    stored: Vec<StoredGrant>,
    apps: &Apps,
    journal: &Journal,
) -> Policy {
    let mut kept = Vec::new();
    let mut gone: Vec<GrantId> = Vec::new();
    for grant in stored {
        let id = grant.id;
        match taken_up(&policy, grant, apps) {
            Some(grant) => kept.push(grant),
            None => gone.push(id),
        }
    }
    if !gone.is_empty() {
        let record = Record {
            detail: Some(json!({ "grants": gone })),
            ..Record::change(clock::wall(), "grant.lapse")
        };
        if let Err(error) = journal.change(Change::RevokeGrants(gone), record).await {
            tracing::warn!(%error, "grants that lapsed could not be struck from the database; they do not count");
        }
    }
    policy.with_grants(kept)
}

fn taken_up(policy: &Policy, stored: StoredGrant, apps: &Apps) -> Option<Grant> {
    if !stored.runs.is_empty() {
        return None;
    }
    let now = clock::now();
    let expires = match (&stored.deadline, stored.expires_at) {
        (Some(deadline), _) if deadline.boot == clock::boot_id() => Some(deadline.at),
        // Another boot: what the wall clock says is left.
        (_, Some(at)) => {
            let left = at.as_millis().checked_sub(clock::wall().as_millis())?;
            Some(now.after(std::time::Duration::from_millis(left)))
        }
        (_, None) => None,
    };
    if expires.is_some_and(|at| at <= now) {
        return None;
    }
    let app = apps.get(&stored.app)?;
    let spec = GrantSpec {
        id: stored.id,
        app: stored.app,
        action: policy.table().action(&stored.action)?,
        target: match stored.target {
            Some(text) => Some(grants::target(&stored.action, &text, policy.table()).ok()?),
            None => None,
        },
        permission: Some(stored.permission),
        granted_at: stored.granted_at,
        expires,
    };
    Grant::new(spec, app.standing(), policy.table()).ok()
}

/// Takes up a new configuration while serving. Listeners, journal, state directory and security table stay as they are
/// until a restart; what is judged by roots is judged again.
pub(super) async fn reload(gate: &Arc<Gate>, loaded: Loaded) {
    let (config, guard) = (loaded.config, loaded.guard);
    let files = match trust_files(&config, &guard) {
        Ok(files) => files,
        Err(error) => {
            return tracing::error!(%error, "the roots are not taken up; the old configuration stays");
        }
    };
    let profiles = match profiles(&config) {
        Ok(profiles) => profiles,
        Err(error) => {
            return tracing::error!(%error, "the profiles are not taken up; the old configuration stays");
        }
    };
    let exclusions = match exclusions(&config, &guard) {
        Ok(exclusions) => exclusions,
        Err(error) => {
            return tracing::error!(%error, "the exclusions are not taken up; the old configuration stays");
        }
    };
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    {
        let old = gate.config();
        for (what, changed) in [
            ("listen", config.listen != old.listen),
            ("journal", config.journal != old.journal),
            ("policy.security_table", config.policy.security_table != old.policy.security_table),
            ("policy.actions", config.policy.actions != old.policy.actions),
        ] {
            if changed {
                tracing::warn!("a change of {what} takes effect at the next start");
            }
        }
    }
    if gate.bearers.reload(&config.bearers) {
        tracing::warn!("a change of bearers, but for their rates, takes effect at the next start");
    }
    let settings = Settings { token_runs: config.policy.token_runs };
    let changing = gate.change().await;
    let rules = rules(&config);
    changing.reload(config, profiles);
    changing.policy(|policy| policy.with_settings(settings).with_exclusions(exclusions));
    let next = change::reloaded(gate, files, rules);
    for problem in &next.problems {
        tracing::warn!("{problem}");
    }
    // Nothing is written down, so nothing can fail.
    let _ = change::take_up(gate, changing, next, None).await;
    tracing::info!("reloaded");
}
