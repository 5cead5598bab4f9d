//! Installed apps: what a package is called, where it lies, and whether its verdict still holds. A package is judged when
//! it is installed and again before every run (S12); installing is all or nothing.

mod alike;
mod evidence;
mod install;
mod judging;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use mexe_certs::{Format, Runtime};
use mexe_journal::{AppState, Change, Record, StoredApp};
use mexe_model::{ActionGroup, AppId, GrantId, Groups, Reason, RootId, Trust, WallTime};
use mexe_policy::Standing;
use mexe_relay::Key;
use serde_json::{Value, json};

use crate::clock;
use crate::gate::Gate;
use crate::grants;
use crate::prompts;
use crate::refused::Refused;
use crate::running;
use crate::trust::Chain;

use self::alike::Looks;

pub use evidence::StoredEvidence;
pub use install::look_at;
pub use install::{Offered, install};
pub use judging::{Vouched, end_runs, judge_again, judge_concerned, program_of, settle_roots};

/// The folder of the state directory that packages lie in. No app may write there.
pub const FOLDER: &str = "packages";

/// One installed app.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id: the user name on the proxies.
    pub id: AppId,
    /// What it calls itself.
    pub name: String,
    /// Its version; empty when it names none.
    pub version: String,
    /// Its column of the security table.
    pub trust: Trust,
    /// SHA-256 of the package, lower-case hexadecimal.
    pub digest: String,
    /// SHA-256 of the signer's key, lower-case hexadecimal.
    pub signer_key: Option<String>,
    /// The root that vouched for the first signer.
    pub root: Option<RootId>,
    /// The roots of all signers.
    pub roots: Vec<RootId>,
    /// What its package was judged by.
    pub format: Format,
    /// The action groups that its certificates leave to it.
    pub groups: Groups,
    /// Whether it is vouched for only because the owner lets old algorithms count.
    pub legacy: bool,
    /// The traffic profile that its signed manifest asks for.
    pub qos_profile: Option<String>,
    /// Why it asks for what it asks for, as its signed manifest says.
    pub stated_reason: Option<String>,
    /// The actions that its signed manifest asks for.
    pub requested: Vec<String>,
    /// How it is executed.
    pub runtime: Runtime,
    /// The package's file, relative to the state directory.
    pub file: String,
    /// The file of its descriptor or detached signature, likewise.
    pub evidence: Option<String>,
    /// When it was installed.
    pub installed_at: WallTime,
    /// Why it may not run, when it may not.
    pub suspended: Option<Reason>,
    /// Why nobody vouches for it, when nobody does.
    pub unvouched: Option<Reason>,
    /// Signers and chains as JSON, for people and the API.
    pub signers: Value,
}

impl App {
    /// As the API shows it.
    pub fn shown(&self) -> Value {
        let verdict = if self.trust == Trust::Untrusted { "untrusted" } else { "verified" };
        json!({
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "domain": self.trust.domain(),
            "verdict": verdict,
            "reason": self.suspended.or(self.unvouched),
            "state": if self.suspended.is_some() { "suspended" } else { "active" },
            "digest": self.digest,
            "root": self.root,
            "format": self.format.as_str(),
            "restricted_to": restricted(self.groups),
            "legacy": self.legacy,
            "qos_profile": self.qos_profile,
            "stated_reason": self.stated_reason,
            "requested": self.requested,
            "runtime": self.runtime.as_str(),
            "installed_at": self.installed_at.to_string(),
            "signers": self.signers,
        })
    }

    /// The chain of every signer, as the last judgement found it.
    fn chains(&self) -> Vec<Chain> {
        let listed = self.signers.as_array().map(Vec::as_slice).unwrap_or_default();
        let hashes = |signer: &Value, name: &str| {
            let chain = signer.get("chain").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let hash = |certificate: &Value| certificate.get(name)?.as_str()?.parse().ok();
            chain.iter().filter_map(hash).collect()
        };
        let chain = |(number, root): (usize, &RootId)| {
            let (certificates, keys) = listed
                .get(number)
                .map(|signer| (hashes(signer, "sha256"), hashes(signer, "key")))
                .unwrap_or_default();
            Chain { root: root.clone(), certificates, keys }
        };
        self.roots.iter().enumerate().map(chain).collect()
    }

    fn stored(&self) -> StoredApp {
        StoredApp {
            id: self.id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            domain: self.trust,
            digest: self.digest.clone(),
            signer_key: self.signer_key.clone(),
            root: self.root.clone(),
            qos_profile: self.qos_profile.clone(),
            facts: json!({
                "signers": self.signers,
                "executable": self.runtime.executable(),
                "roots": self.roots,
                "format": self.format.as_str(),
                "groups": self.groups.iter().map(ActionGroup::number).collect::<Vec<_>>(),
                "legacy": self.legacy,
                "evidence": self.evidence,
                "stated_reason": self.stated_reason,
                "requested": self.requested,
                "runtime": self.runtime.as_str(),
                "unvouched": self.unvouched,
            }),
            file: self.file.clone(),
            installed_at: self.installed_at,
            state: self.suspended.map_or(AppState::Active, AppState::Suspended),
        }
    }

    /// What the database remembers of an app.
    pub fn from_stored(stored: StoredApp) -> Self {
        let text = |name: &str| stored.facts.get(name).and_then(Value::as_str).map(str::to_owned);
        let executable = text("executable");
        let requested = stored.facts.get("requested").and_then(Value::as_array);
        let requested =
            requested.map(|listed| listed.iter().filter_map(|one| Some(one.as_str()?.to_owned())));
        Self {
            id: stored.id,
            name: stored.name,
            version: stored.version,
            trust: stored.domain,
            digest: stored.digest,
            signer_key: stored.signer_key,
            roots: roots(&stored.facts, stored.root.as_ref()),
            root: stored.root,
            format: format(&stored.facts),
            groups: groups(&stored.facts),
            evidence: text("evidence"),
            stated_reason: text("stated_reason"),
            requested: requested.map(Iterator::collect).unwrap_or_default(),
            legacy: stored.facts.get("legacy").and_then(Value::as_bool).unwrap_or_default(),
            qos_profile: stored.qos_profile,
            runtime: match (stored.facts.get("runtime").and_then(Value::as_str), executable) {
                (_, Some(executable)) => Runtime::Native { executable },
                (Some("native"), None) => Runtime::Program,
                _ => Runtime::Jar,
            },
            file: stored.file,
            installed_at: stored.installed_at,
            suspended: match stored.state {
                AppState::Active => None,
                AppState::Suspended(reason) => Some(reason),
            },
            unvouched: text("unvouched").and_then(|code| code.parse().ok()),
            signers: stored.facts.get("signers").cloned().unwrap_or_else(|| json!([])),
        }
    }

    /// What it is to the security table.
    pub fn standing(&self) -> Standing {
        Standing { trust: self.trust, groups: self.groups, legacy: self.legacy }
    }

    /// Its files, relative to the state directory.
    fn files(&self) -> impl Iterator<Item = &str> {
        [Some(self.file.as_str()), self.evidence.as_deref()].into_iter().flatten()
    }
}

/// The groups that an app is restricted to; null when it is not.
pub fn restricted(groups: Groups) -> Value {
    match groups {
        Groups::ALL => Value::Null,
        some => some.iter().map(ActionGroup::as_str).collect::<Vec<_>>().into(),
    }
}

fn roots(facts: &Value, first: Option<&RootId>) -> Vec<RootId> {
    let listed = facts.get("roots").and_then(Value::as_array);
    let read = |listed: &Vec<Value>| listed.iter().filter_map(|id| id.as_str()?.parse().ok()).collect();
    listed.map(read).unwrap_or_else(|| first.into_iter().cloned().collect())
}

fn format(facts: &Value) -> Format {
    let name = facts.get("format").and_then(Value::as_str);
    Format::ALL.iter().copied().find(|format| Some(format.as_str()) == name).unwrap_or_default()
}

/// An app that was installed before certificates could restrict anything is judged anew before it runs.
fn groups(facts: &Value) -> Groups {
    let number = |value: &Value| ActionGroup::numbered(u8::try_from(value.as_u64()?).ok()?);
    match facts.get("groups").and_then(Value::as_array) {
        Some(listed) => listed.iter().filter_map(number).collect(),
        None => Groups::ALL,
    }
}

/// All installed apps.
#[derive(Debug, Default)]
pub struct Apps {
    /// With what their names look like: made once, because every question that is shown compares all of them.
    installed: RwLock<BTreeMap<AppId, (Arc<App>, Looks)>>,
}

impl Apps {
    /// These apps.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let installed = apps.into_iter().map(|app| {
            let looks = Looks::of(&app);
            (app.id.clone(), (Arc::new(app), looks))
        });
        let installed = installed.collect();
        Self { installed: RwLock::new(installed) }
    }

    /// The app of that id.
    pub fn get(&self, id: &AppId) -> Option<Arc<App>> {
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        installed.get(id).map(|(app, _)| Arc::clone(app))
    }

    /// All of them, by id.
    pub fn list(&self) -> Vec<Arc<App>> {
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        installed.values().map(|(app, _)| Arc::clone(app)).collect()
    }

    /// The first other app by id whose name or id that app's can be taken for.
    pub fn resembled(&self, id: &AppId) -> Option<AppId> {
        let installed = self.installed.read().unwrap_or_else(PoisonError::into_inner);
        let (_, own) = installed.get(id)?;
        let mut others = installed.iter().filter(|(other, _)| *other != id);
        others.find(|(_, (_, looks))| looks.resemble(own)).map(|(other, _)| other.clone())
    }

    fn put(&self, app: App) -> Arc<App> {
        let (looks, app) = (Looks::of(&app), Arc::new(app));
        let mut installed = self.installed.write().unwrap_or_else(PoisonError::into_inner);
        installed.insert(app.id.clone(), (Arc::clone(&app), looks));
        app
    }

    /// Removes what an app that is not installed any more left in the packages' folder.
    fn clear_away(&self, state_dir: &Path, gone: &App) {
        for file in gone.files() {
            if !self.list().iter().any(|other| other.files().any(|kept| kept == file)) {
                let _ = fs::remove_file(state_dir.join(file));
            }
        }
    }

    fn remove(&self, id: &AppId) {
        self.installed.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Makes the packages' folder, and clears away what an interrupted install left: files that belong to no app.
///
/// # Errors
/// The folder cannot be made or read.
pub fn tidy_folder(state_dir: &Path, apps: &Apps) -> io::Result<()> {
    let folder = state_dir.join(FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let apps = apps.list();
    let kept: Vec<PathBuf> =
        apps.iter().flat_map(|app| app.files()).map(|file| state_dir.join(file)).collect();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if !kept.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A file to receive a package in; gone when dropped, unless it is installed.
///
/// # Errors
/// The state directory's.
pub fn incoming_file(gate: &Gate) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix("incoming-").tempfile_in(gate.state_dir().join(FOLDER))
}

/// Removes an app: its runs end, its flows are cut, its grants and its package go.
///
/// # Errors
/// [`Reason::AppUnknown`]; [`Reason::JournalUnavailable`] when it could not be written down: then the app stays, and only
/// what was taken from it is gone.
pub async fn remove(gate: &Arc<Gate>, id: &AppId) -> Result<(), Refused> {
    let app = gate.apps.get(id).ok_or(Reason::AppUnknown)?;
    // Of every run, before the first one's end waits for the disk.
    gate.cut(&Key::App(id.clone()), Reason::AppRemoved);
    for run in gate.runs.of(id) {
        running::end(gate, run.id, Reason::AppRemoved).await;
    }
    let changing = gate.change().await;
    let grants = gate.policy().grants().filter(|grant| grant.app() == id).map(|grant| grant.id()).collect();
    changing.policy(|policy| policy.app_removed(id).0);
    let schedules = gate.schedules.struck(id);
    gate.schedules.forget(id);
    gate.cut(&Key::App(id.clone()), Reason::AppRemoved);
    let record = Record {
        app: Some(id.clone()),
        domain: Some(app.trust),
        ..Record::change(clock::wall(), "app.remove")
    };
    if let Err(error) = gate.journal.change(Change::RemoveApp(id.clone()), record).await {
        write_taken_back(gate, id, grants, schedules);
        let detail = format!("{error}; the app stays, without its permissions: remove it again");
        return Err(Refused::about(Reason::JournalUnavailable, detail));
    }
    gate.apps.remove(id);
    drop(changing);
    gate.apps.clear_away(gate.state_dir(), &app);
    prompts::app_removed(gate, id).await;
    Ok(())
}

/// The permissions of an app that could not be removed are gone, and must not be there again after a restart.
fn write_taken_back(gate: &Arc<Gate>, id: &AppId, grants: Vec<GrantId>, mut schedules: Vec<Change>) {
    if grants.is_empty() {
        return;
    }
    let record = Record {
        app: Some(id.clone()),
        grant: grants.first().copied(),
        reason: Some(Reason::PermissionRevoked),
        detail: Some(json!({ "grants": grants })),
        ..Record::change(clock::wall(), "grant.revoke")
    };
    schedules.push(Change::RevokeGrants(grants));
    tokio::spawn(grants::write_at_last(Arc::clone(gate), Change::Several(schedules), record));
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
