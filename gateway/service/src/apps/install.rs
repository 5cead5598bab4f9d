//! Installing a package: judged, named, placed beside or in place of what is there, kept, written down; all or nothing.
//! Which app a package is, and what it may replace, is decided by crate mexe-certs; called by the API.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use mexe_certs::{Format, PackageFacts, Runtime, version};
use mexe_journal::{Change, Outcome, Record};
use mexe_model::{AppId, Reason, Trust};
use serde_json::json;

use super::judging::judge_file;
use super::{App, FOLDER, hex};
use crate::clock;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::refused::Refused;
use crate::running;
use crate::verdict;

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
        roots: verdict::roots(&verification.verdict),
        format: Format::Jar,
        groups: verdict::groups(&verification.verdict),
        legacy: verdict::is_legacy(&verification.verdict),
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
