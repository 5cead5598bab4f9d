//! Installed apps: what a package is called, where it lies, and whether its verdict still holds. A package is judged when
//! it is installed and again before every run (S12); installing is all or nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant as Stopwatch;

use mexe_certs::{PackageFacts, Runtime, Verification, version};
use mexe_journal::{AppState, Change, Outcome, Record, StoredApp};
use mexe_model::{AppId, Reason, RootId, Trust, WallTime};
use mexe_relay::Key;
use serde_json::{Value, json};

use crate::clock;
use crate::config::Expiry;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::judging;
use crate::launch::Sealed;
use crate::refused::Refused;
use crate::running;
use crate::verdict;

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
    /// The root that vouched.
    pub root: Option<RootId>,
    /// The traffic profile that its signed manifest asks for.
    pub qos_profile: Option<String>,
    /// How it is executed.
    pub runtime: Runtime,
    /// The package's file, relative to the state directory.
    pub file: String,
    /// When it was installed.
    pub installed_at: WallTime,
    /// Why it may not run, when it may not.
    pub suspended: Option<Reason>,
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
            "reason": self.suspended,
            "state": if self.suspended.is_some() { "suspended" } else { "active" },
            "digest": self.digest,
            "root": self.root,
            "qos_profile": self.qos_profile,
            "runtime": self.runtime.as_str(),
            "installed_at": self.installed_at.to_string(),
            "signers": self.signers,
        })
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
            facts: json!({ "signers": self.signers, "executable": self.runtime.executable() }),
            file: self.file.clone(),
            installed_at: self.installed_at,
            state: self.suspended.map_or(AppState::Active, AppState::Suspended),
        }
    }

    /// What the database remembers of an app.
    pub fn from_stored(stored: StoredApp) -> Self {
        let executable = stored.facts.get("executable").and_then(Value::as_str).map(str::to_owned);
        Self {
            id: stored.id,
            name: stored.name,
            version: stored.version,
            trust: stored.domain,
            digest: stored.digest,
            signer_key: stored.signer_key,
            root: stored.root,
            qos_profile: stored.qos_profile,
            runtime: executable.map_or(Runtime::Jar, |executable| Runtime::Native { executable }),
            file: stored.file,
            installed_at: stored.installed_at,
            suspended: match stored.state {
                AppState::Active => None,
                AppState::Suspended(reason) => Some(reason),
            },
            signers: stored.facts.get("signers").cloned().unwrap_or_else(|| json!([])),
        }
    }

    fn same_lineage(&self, trust: Trust, signer_key: Option<&str>) -> bool {
        self.trust == trust && self.signer_key.as_deref() == signer_key
    }
}

/// All installed apps.
#[derive(Debug, Default)]
pub struct Apps {
    installed: RwLock<BTreeMap<AppId, Arc<App>>>,
}

impl Apps {
    /// These apps.
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        let installed = apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))).collect();
        Self { installed: RwLock::new(installed) }
    }

    /// The app of that id.
    pub fn get(&self, id: &AppId) -> Option<Arc<App>> {
        self.installed.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All of them, by id.
    pub fn list(&self) -> Vec<Arc<App>> {
        self.installed.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn put(&self, app: App) -> Arc<App> {
        let app = Arc::new(app);
        let mut installed = self.installed.write().unwrap_or_else(PoisonError::into_inner);
        installed.insert(app.id.clone(), Arc::clone(&app));
        app
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
    let kept: Vec<PathBuf> = apps.list().iter().map(|app| state_dir.join(&app.file)).collect();
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

/// Judges a package and installs it. `file_name` names a package that does not name itself.
///
/// # Errors
/// What is wrong with the package, an id that another signer's app has, an older version, or
/// [`Reason::JournalUnavailable`]; nothing is changed then.
pub async fn install(
    gate: &Arc<Gate>,
    package: tempfile::NamedTempFile,
    file_name: Option<&str>,
) -> Result<Arc<App>, Refused> {
    let (judged, verification) = judge_file(gate, package.path(), clock::wall()).await?;
    let facts = verification.package.as_ref();
    let result = match judged {
        Err(refused) => Err(refused),
        Ok(trust) => named(facts, file_name).map(|(id, name, version)| (trust, id, name, version)),
    };
    let (trust, slug, name, version) = match result {
        Ok(named) => named,
        Err(refused) => {
            write_refused_install(gate, file_name, &refused).await;
            return Err(refused);
        }
    };
    let changing = gate.change().await;
    let signer_key = verdict::signer_key(&verification.verdict);
    let digest = hex(&verification.digest);
    let (id, replaced) = place(gate, slug, trust, signer_key.as_deref(), &digest, &version)?;
    let app = App {
        id,
        name,
        version,
        trust,
        file: format!("{FOLDER}/{digest}"),
        digest,
        signer_key,
        root: verdict::root(&verification.verdict),
        qos_profile: facts.filter(|_| trust != Trust::Untrusted).and_then(|f| f.qos_profile.clone()),
        runtime: facts.map_or(Runtime::Jar, |f| f.runtime.clone()),
        installed_at: clock::wall(),
        suspended: None,
        signers: verdict::signers(&verification.verdict),
    };
    keep_file(gate, package, &app.file).map_err(|error| {
        Refused::about(
            Reason::JournalUnavailable,
            format!("the package cannot be kept: {error}; free some space"),
        )
    })?;
    let record = Record {
        app: Some(app.id.clone()),
        domain: Some(app.trust),
        decision: Some(Outcome::Allow),
        detail: Some(json!({ "name": app.name, "version": app.version, "digest": app.digest })),
        ..Record::change(clock::wall(), "app.install")
    };
    let mut changes = vec![Change::PutApp(app.stored())];
    // Nobody vouches that two unsigned packages are the same app, so what was granted to one is not the other's.
    let inherits = trust != Trust::Untrusted;
    let lost: Vec<_> = match inherits {
        true => Vec::new(),
        false => gate.policy().grants().filter(|g| *g.app() == app.id).map(|g| g.id()).collect(),
    };
    if !lost.is_empty() {
        changes.push(Change::RevokeGrants(lost.clone()));
    }
    gate.journal.change(Change::Several(changes), record).await.map_err(unavailable)?;
    changing.policy(|policy| policy.without_grants(&lost));
    let app = gate.apps.put(app);
    drop(changing);
    if let Some(old) = replaced {
        // Runs of the replaced package are not runs of this one.
        for run in gate.runs.of(&app.id) {
            running::end(gate, run.id, Reason::AppRemoved).await;
        }
        if old.file != app.file && !gate.apps.list().iter().any(|other| other.file == old.file) {
            let _ = fs::remove_file(gate.state_dir().join(&old.file));
        }
    }
    Ok(app)
}

fn named(facts: Option<&PackageFacts>, file_name: Option<&str>) -> Result<(AppId, String, String), Refused> {
    let stem = file_name.and_then(|name| Path::new(name).file_stem()?.to_str());
    let name = facts.and_then(|f| f.name.as_deref()).or(stem).unwrap_or("app").to_owned();
    let version = facts.and_then(|f| f.version.clone()).unwrap_or_default();
    match AppId::slug(&name) {
        Some(id) => Ok((id, name, version)),
        None => {
            let detail = format!("no app id can be made of the name `{}`", name.escape_debug());
            Err(Refused::about(Reason::ManifestMalformed, detail))
        }
    }
}

/// The id that this package goes by, and the app that it replaces, if any.
fn place(
    gate: &Gate,
    slug: AppId,
    trust: Trust,
    signer_key: Option<&str>,
    digest: &str,
    version: &str,
) -> Result<(AppId, Option<Arc<App>>), Refused> {
    let mut id = slug;
    if let Some(other) = gate.apps.get(&id)
        && !other.same_lineage(trust, signer_key)
    {
        // Another signer's app has the plain name: this one carries its signer's mark.
        let mark: String = signer_key.unwrap_or(digest).chars().take(8).collect();
        let stem: String = id.as_str().chars().take(AppId::MAX - 9).collect();
        id = format!("{stem}-{mark}").parse().map_err(|_| Reason::IdTaken)?;
    }
    let Some(installed) = gate.apps.get(&id) else { return Ok((id, None)) };
    if !installed.same_lineage(trust, signer_key) {
        return Err(Refused::about(
            Reason::IdTaken,
            format!("the id `{id}` belongs to another signer's app"),
        ));
    }
    if version::compare(version, &installed.version) == Some(std::cmp::Ordering::Less) {
        let detail = format!("version {} of `{id}` is installed, this is {version}", installed.version);
        return Err(Refused::about(Reason::OlderVersion, detail));
    }
    Ok((id, Some(installed)))
}

fn keep_file(gate: &Gate, package: tempfile::NamedTempFile, file: &str) -> io::Result<()> {
    package.as_file().set_permissions(fs::Permissions::from_mode(0o400))?;
    package.as_file().sync_all()?;
    package.persist(gate.state_dir().join(file)).map_err(|error| error.error)?;
    File::open(gate.state_dir().join(FOLDER))?.sync_all()
}

async fn write_refused_install(gate: &Gate, file_name: Option<&str>, refused: &Refused) {
    let record = Record {
        decision: Some(Outcome::Deny),
        reason: Some(refused.reason),
        detail: Some(json!({ "file": file_name, "why": refused.detail })),
        ..Record::change(clock::wall(), "app.install")
    };
    if let Err(error) = gate.journal.record(record).await {
        tracing::warn!(%error, "a refused install could not be written down");
    }
}

/// Removes an app: its runs end, its flows are cut, its grants and its package go.
///
/// # Errors
/// [`Reason::AppUnknown`], [`Reason::JournalUnavailable`].
pub async fn remove(gate: &Arc<Gate>, id: &AppId) -> Result<(), Refused> {
    let app = gate.apps.get(id).ok_or(Reason::AppUnknown)?;
    // Of every run, before the first one's end waits for the disk.
    gate.cut(&Key::App(id.clone()), Reason::AppRemoved);
    for run in gate.runs.of(id) {
        running::end(gate, run.id, Reason::AppRemoved).await;
    }
    let changing = gate.change().await;
    changing.policy(|policy| policy.app_removed(id).0);
    gate.cut(&Key::App(id.clone()), Reason::AppRemoved);
    let record = Record {
        app: Some(id.clone()),
        domain: Some(app.trust),
        ..Record::change(clock::wall(), "app.remove")
    };
    gate.journal.change(Change::RemoveApp(id.clone()), record).await.map_err(unavailable)?;
    gate.apps.remove(id);
    drop(changing);
    if !gate.apps.list().iter().any(|other| other.file == app.file) {
        let _ = fs::remove_file(gate.state_dir().join(&app.file));
    }
    Ok(())
}

/// Judges an installed app again, before a run or after a change of roots: same bytes, same domain, verdict still good.
/// What is returned is the very bytes that were judged, sealed.
///
/// # Errors
/// [`Reason::AppSuspended`] with the cause; the app is suspended until it is judged well again.
pub async fn judge_again(gate: &Arc<Gate>, app: &App) -> Result<Sealed, Refused> {
    let path = gate.state_dir().join(&app.file);
    let trusted = gate.trusted();
    let (installed_at, strict) = (app.installed_at, gate.config().policy.expiry == Expiry::Strict);
    let at = clock::wall();
    let began = Stopwatch::now();
    let judged = tokio::task::spawn_blocking(move || -> io::Result<(Sealed, Verification)> {
        let mut sealed = Sealed::copy(File::open(&path)?)?;
        // Sealed bytes are hashed while they are copied, and never change again.
        let (size, digest) = (sealed.size(), Some(*sealed.digest()));
        let mut verification = judging::verify(sealed.reader()?, size, digest, &trusted, at);
        // An app that was installed while its certificates were valid stays, unless the owner wants it otherwise.
        if !strict && verdict::is_refused_for(&verification, Reason::CertificateExpired) {
            verification = judging::verify(sealed.reader()?, size, digest, &trusted, installed_at);
        }
        Ok((sealed, verification))
    });
    let (cause, sealed) = match judged.await {
        Ok(Ok((sealed, verification))) => {
            gate.metrics.verified(verdict::name(&verification.verdict), began.elapsed());
            let same_bytes = hex(sealed.digest()) == app.digest && *sealed.digest() == verification.digest;
            let cause = match verdict::trust(&verification) {
                _ if !same_bytes => Some(Refused::from(Reason::EntryChanged)),
                Err(refused) => Some(refused),
                // An app once verified never runs as untrusted, nor in another domain.
                Ok(trust) if trust != app.trust => Some(verdict::lost_domain(&verification, app.trust)),
                Ok(_) => None,
            };
            (cause, Some(sealed))
        }
        Ok(Err(error)) => {
            (Some(Refused::about(Reason::EntryMissing, format!("the package cannot be read: {error}"))), None)
        }
        Err(error) => {
            (Some(Refused::about(Reason::EntryMissing, format!("judging broke off: {error}"))), None)
        }
    };
    set_state(gate, app, cause.as_ref()).await?;
    match (cause, sealed) {
        (None, Some(sealed)) => Ok(sealed),
        (cause, _) => {
            let why = cause.map_or_else(String::new, |cause| cause.to_string());
            Err(Refused::about(Reason::AppSuspended, format!("`{}` may not run: {why}", app.id)))
        }
    }
}

async fn set_state(gate: &Arc<Gate>, app: &App, cause: Option<&Refused>) -> Result<(), Refused> {
    let state = cause.map(|refused| refused.reason);
    if state == app.suspended {
        return Ok(());
    }
    let changing = gate.change().await;
    let Some(current) = gate.apps.get(&app.id).filter(|current| current.digest == app.digest) else {
        return Err(Reason::AppRemoved.into());
    };
    gate.apps.put(App { suspended: state, ..App::clone(&current) });
    if state.is_some() {
        gate.cut(&Key::App(app.id.clone()), Reason::AppSuspended);
    }
    let stored = state.map_or(AppState::Active, AppState::Suspended);
    let record = Record {
        app: Some(app.id.clone()),
        domain: Some(app.trust),
        reason: state,
        detail: cause.map(|refused| json!({ "why": refused.detail })),
        ..Record::change(clock::wall(), if state.is_some() { "app.suspend" } else { "app.resume" })
    };
    gate.journal.change(Change::SetAppState(app.id.clone(), stored), record).await.map_err(unavailable)?;
    drop(changing);
    Ok(())
}

/// Judges every app that has a live run, and ends the runs of those whose verdict no longer holds.
pub async fn judge_running(gate: &Arc<Gate>) {
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
}

/// Judges a package file that is not installed. The outer error is the machine's, the inner one the package's.
async fn judge_file(
    gate: &Arc<Gate>,
    path: &Path,
    at: WallTime,
) -> Result<(Result<Trust, Refused>, Verification), Refused> {
    let (path, trusted) = (path.to_owned(), gate.trusted());
    let began = Stopwatch::now();
    let judging = tokio::task::spawn_blocking(move || -> io::Result<Verification> {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        Ok(judging::verify(&file, size, None, &trusted, at))
    });
    let broken = |error: String| {
        Refused::about(Reason::JournalUnavailable, format!("the package cannot be read back: {error}"))
    };
    let verification = match judging.await {
        Ok(Ok(verification)) => verification,
        Ok(Err(error)) => return Err(broken(error.to_string())),
        Err(error) => return Err(broken(error.to_string())),
    };
    gate.metrics.verified(verdict::name(&verification.verdict), began.elapsed());
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

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
