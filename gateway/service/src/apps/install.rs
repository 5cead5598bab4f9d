//! Installing a package: judged, named, placed beside or in place of what is there, kept, written down; all or nothing.
//! Which app a package is, and what it may replace, is decided by crate mexe-certs; called by the API.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use mexe_certs::lineage::{Installed, Keeps, Lineage, Update, decide_update};
use mexe_certs::rotation::{Claim, judge_rotation, read_statements};
use mexe_certs::{Fingerprint, Limits, PackageFacts, Refusal, Runtime, Verification, lineage};
use mexe_journal::{Change, Outcome, Record};
use mexe_model::{AppId, Groups, Reason, SecurityDomain, Trust};
use mexe_policy::Standing;
use serde_json::json;
use tempfile::NamedTempFile;

use super::evidence::StoredEvidence;
use super::judging::{self, judge_again, judge_file};
use super::{App, FOLDER, hex};
use crate::clock;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::refused::Refused;
use crate::running;
use crate::trust::{InCharge, Trusted};
use crate::verdict;

/// A package that somebody wants to install, with what came along.
#[derive(Debug)]
pub struct Offered {
    /// The package's bytes.
    pub package: NamedTempFile,
    /// The signature that is not in the package.
    pub evidence: StoredEvidence,
    /// Its file's name; names a package that does not name itself.
    pub file_name: Option<String>,
    /// What the user calls it, where the package cannot say.
    pub name: Option<String>,
    /// Its version, likewise.
    pub version: Option<String>,
    /// The app that it must be an update of.
    pub update: Option<AppId>,
    /// Whether an older version may replace a newer one; grants are dropped then.
    pub downgrade: bool,
    /// The domain that the user agreed to, where they were asked; any, where not.
    pub agreed: Option<Option<SecurityDomain>>,
    /// SHA-256 of the package that the user was shown, lower-case hexadecimal, likewise.
    pub seen: Option<String>,
}

impl Offered {
    /// A package and nothing else.
    pub fn package(package: NamedTempFile) -> Self {
        Self {
            package,
            evidence: StoredEvidence::default(),
            file_name: None,
            name: None,
            version: None,
            update: None,
            downgrade: false,
            agreed: None,
            seen: None,
        }
    }
}

/// Judges a package and installs it.
///
/// # Errors
/// What is wrong with the package, an id that another signer's app has, an older version, or
/// [`Reason::JournalUnavailable`]; nothing is changed then.
pub async fn install(gate: &Arc<Gate>, offered: Offered) -> Result<Arc<App>, Refused> {
    gate.clock_holds()?;
    let mut attempts = judging::ATTEMPTS;
    let (judged, changing) = loop {
        let trusted = gate.trusted();
        let judged = match judge(gate, &offered, &trusted).await {
            Ok(judged) => judged,
            Err(refused) => {
                write_refused_install(gate, offered.file_name.as_deref(), &refused).await;
                return Err(refused);
            }
        };
        let changing = gate.change().await;
        // Roots may have changed while the package was read: what was found counts for nothing then.
        if Arc::ptr_eq(&trusted, &gate.trusted()) {
            break (judged, changing);
        }
        attempts -= 1;
        if attempts == 0 {
            return Err(judging::roots_change());
        }
    };
    let Judged { trust, name, version, verification, statements } = judged;
    let verdict = &verification.verdict;
    let facts = verification.package.as_ref();
    let package = Package {
        lineage: lineage_of(trust, verdict::signer_key(verdict).as_deref(), &name),
        version: &version,
        digest: Fingerprint(verification.digest),
        statements: &statements,
    };
    let Place { id, replaced, keeps } = match place(gate, &offered, &package) {
        Ok(place) => place,
        Err(refused) => {
            drop(changing);
            write_refused_install(gate, offered.file_name.as_deref(), &refused).await;
            return Err(refused);
        }
    };
    let digest = hex(&verification.digest);
    // What nobody vouches for asks for nothing.
    let signed = facts.filter(|_| trust != Trust::Untrusted);
    let app = App {
        id,
        name,
        version,
        trust,
        file: format!("{FOLDER}/{digest}"),
        evidence: offered.evidence.file(FOLDER, &digest),
        digest,
        signer_key: verdict::signer_key(verdict),
        root: verdict::root(verdict),
        roots: verdict::roots(verdict),
        format: offered.evidence.as_evidence().format(),
        groups: verdict::groups(verdict),
        legacy: verdict::is_legacy(verdict),
        qos_profile: signed.and_then(|f| f.qos_profile.clone()),
        stated_reason: signed.and_then(|f| f.stated_reason.clone()),
        requested: signed.map(requested).unwrap_or_default(),
        runtime: facts.map_or(Runtime::Jar, |f| f.runtime.clone()),
        installed_at: clock::wall(),
        suspended: None,
        unvouched: verdict::unvouched(verdict),
        signers: verdict::signers(verdict),
    };
    let kept = keep(gate, &offered.evidence, app.evidence.as_deref())
        .and_then(|()| keep_file(gate, offered.package, &app.file));
    kept.map_err(|error| {
        Refused::about(
            Reason::JournalUnavailable,
            format!("the package cannot be kept: {error}; free some space"),
        )
    })?;
    let record = Record {
        app: Some(app.id.clone()),
        domain: Some(app.trust),
        decision: Some(Outcome::Allow),
        detail: Some(json!({
            "name": app.name,
            "version": app.version,
            "digest": app.digest,
            "signer": app.signer_key,
            "replaces": replaced.as_ref().map(|old| &old.digest),
        })),
        ..Record::change(clock::wall(), "app.install")
    };
    let mut changes = vec![Change::PutApp(app.stored())];
    let lost: Vec<_> = match keeps {
        Keeps::Grants => Vec::new(),
        Keeps::Nothing => gate.policy().grants().filter(|g| *g.app() == app.id).map(|g| g.id()).collect(),
    };
    if !lost.is_empty() {
        changes.push(Change::RevokeGrants(lost.clone()));
        changes.extend(gate.schedules.struck(&app.id));
    }
    gate.journal.change(Change::Several(changes), record).await.map_err(unavailable)?;
    changing.policy(|policy| policy.without_grants(&lost));
    if !lost.is_empty() {
        gate.schedules.forget(&app.id);
    }
    let app = gate.apps.put(app);
    drop(changing);
    gate.seen_time(verdict::stamped_at(&verification.verdict)).await;
    if let Some(old) = replaced {
        // Runs of the replaced package are not runs of this one.
        for run in gate.runs.of(&app.id) {
            running::end(gate, run.id, Reason::AppRemoved).await;
        }
        gate.apps.clear_away(gate.state_dir(), &old);
    }
    Ok(app)
}

/// What a package is and where it would go, for a user who has not decided on it yet. Nothing is changed.
///
/// # Errors
/// As [`install`].
pub async fn look_at(
    gate: &Arc<Gate>,
    offered: &Offered,
) -> Result<(Option<SecurityDomain>, serde_json::Value), Refused> {
    gate.clock_holds()?;
    let Judged { trust, name, version, verification, statements } =
        judge(gate, offered, &gate.trusted()).await?;
    let key = verdict::signer_key(&verification.verdict);
    let package = Package {
        lineage: lineage_of(trust, key.as_deref(), &name),
        version: &version,
        digest: Fingerprint(verification.digest),
        statements: &statements,
    };
    let Place { id, replaced, keeps } = place(gate, offered, &package)?;
    let facts = verification.package.as_ref();
    // What nobody vouches for asks for nothing.
    let signed = facts.filter(|_| trust != Trust::Untrusted);
    let shown = json!({
        "verdict": verdict::name(&verification.verdict),
        "domain": trust.domain(),
        "reason": verdict::reason(&verification.verdict),
        "name": name,
        "version": version,
        "installs_as": id,
        "replaces": replaced.as_ref().map(|old| &old.version),
        "keeps_grants": replaced.as_ref().map(|_| matches!(keeps, Keeps::Grants)),
        "restricted_to": super::restricted(verdict::groups(&verification.verdict)),
        "legacy": verdict::is_legacy(&verification.verdict),
        "qos_profile": signed.and_then(|facts| facts.qos_profile.as_ref()),
        "stated_reason": signed.and_then(|facts| facts.stated_reason.as_ref()),
        "requested": signed.map(requested).unwrap_or_default(),
        "signers": verdict::signers(&verification.verdict),
        "digest": hex(&verification.digest),
    });
    Ok((trust.domain(), shown))
}

/// A package whose verdict and name are known.
struct Judged {
    trust: Trust,
    name: String,
    version: String,
    verification: Verification,
    /// By which its signer's key took over from older ones.
    statements: Result<Vec<Vec<u8>>, Refusal>,
}

async fn judge(gate: &Arc<Gate>, offered: &Offered, trusted: &Arc<Trusted>) -> Result<Judged, Refused> {
    let (judged, verification) = judge_file(gate, offered.package.path(), &offered.evidence, trusted).await?;
    let trust = judged?;
    if offered.agreed.is_some_and(|agreed| agreed != trust.domain()) {
        let detail =
            format!("it is in the domain `{trust}` now, which is not what was agreed to; judge it again");
        return Err(Refused::about(Reason::NotFound, detail));
    }
    if offered.seen.as_ref().is_some_and(|seen| *seen != hex(&verification.digest)) {
        let detail = "it is not the package that was agreed to; judge it again";
        return Err(Refused::about(Reason::NotFound, detail));
    }
    if let Some(facts) = verification.package.as_ref() {
        can_be_asked_for(gate, facts, verdict::groups(&verification.verdict), trust)?;
    }
    let (name, version) = named(verification.package.as_ref(), offered);
    let statements = match (trust, &offered.evidence) {
        (Trust::Domain(_), StoredEvidence::Inside) => statements(offered.package.path()).await?,
        _ => Ok(Vec::new()),
    };
    if statements.as_ref().is_ok_and(|statements| !statements.is_empty()) {
        // Whether the old key may still hand over depends on what is known of it now.
        let slug = offered.update.clone().or_else(|| AppId::slug(&name));
        if let Some(installed) = slug.and_then(|slug| gate.apps.get(&slug)) {
            let _ = Box::pin(judge_again(gate, &installed)).await;
        }
    }
    Ok(Judged { trust, name, version, verification, statements })
}

/// What an app cannot do without must be open to its domain (MIDP 2.0: a critical permission outside the domain).
fn can_be_asked_for(gate: &Gate, facts: &PackageFacts, groups: Groups, trust: Trust) -> Result<(), Refused> {
    let policy = gate.policy();
    let standing = Standing { trust, groups, legacy: false };
    for wanted in facts.requested.iter().filter(|wanted| !wanted.optional && trust != Trust::Untrusted) {
        let name = wanted.action.as_str();
        let offer = policy.table().action(name).map(|action| standing.offer(action, policy.table()));
        if !matches!(offer, Some(Ok(_))) {
            let detail = format!("it needs `{name}`, which is not open to {trust} apps here");
            return Err(Refused::about(Reason::PermissionUnknown, detail));
        }
    }
    Ok(())
}

async fn statements(path: &Path) -> Result<Result<Vec<Vec<u8>>, Refusal>, Refused> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || -> io::Result<_> {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        Ok(read_statements(io::BufReader::new(file), size, &Limits::default()))
    });
    let broken = |error: String| {
        Refused::about(Reason::JournalUnavailable, format!("the package cannot be read back: {error}"))
    };
    read.await.map_err(|error| broken(error.to_string()))?.map_err(|error| broken(error.to_string()))
}

fn named(facts: Option<&PackageFacts>, offered: &Offered) -> (String, String) {
    let stem = offered.file_name.as_deref().and_then(|name| Path::new(name).file_stem()?.to_str());
    let said = facts.and_then(|f| f.name.as_deref()).or(offered.name.as_deref());
    let version = facts.and_then(|f| f.version.clone()).or_else(|| offered.version.clone());
    (said.or(stem).unwrap_or("app").to_owned(), version.unwrap_or_default())
}

fn lineage_of(trust: Trust, key: Option<&str>, name: &str) -> Lineage {
    let key = key.and_then(|key| key.parse().ok());
    Lineage { domain: trust.domain(), key, name: name.to_owned() }
}

struct Package<'a> {
    lineage: Lineage,
    version: &'a str,
    digest: Fingerprint,
    statements: &'a Result<Vec<Vec<u8>>, Refusal>,
}

/// Where a package goes.
struct Place {
    id: AppId,
    replaced: Option<Arc<App>>,
    keeps: Keeps,
}

/// The id that this package goes by, and the app that it replaces, if any.
fn place(gate: &Gate, offered: &Offered, package: &Package<'_>) -> Result<Place, Refused> {
    let name = &package.lineage.name;
    let slug = match &offered.update {
        Some(app) => app.clone(),
        None => AppId::slug(name).ok_or_else(|| {
            let detail = format!("no app id can be made of the name `{}`", name.escape_debug());
            Refused::about(Reason::ManifestMalformed, detail)
        })?,
    };
    let Some(installed) = gate.apps.get(&slug) else {
        return Ok(Place { id: slug, replaced: None, keeps: Keeps::Grants });
    };
    let refused = |refusal: Refusal| Refused::about(refusal.reason, refusal.detail);
    // Nobody vouches that two unsigned packages of one name are the same app, nor that they are not: the newer takes the
    // place, and nothing that was granted to the older.
    let nobodys = |trust: Trust, key: bool| trust == Trust::Untrusted && !key;
    if nobodys(installed.trust, installed.signer_key.is_some())
        && package.lineage.domain.is_none()
        && package.lineage.key.is_none()
        && offered.update.is_none()
    {
        let same = installed.digest == package.digest.to_string();
        let keeps = if same { Keeps::Grants } else { Keeps::Nothing };
        return Ok(Place { id: slug, replaced: Some(installed), keeps });
    }
    let suffix = match decide(gate, &installed, offered, package) {
        Update::Same(keeps) | Update::Rotated(keeps) => {
            return Ok(Place { id: slug, replaced: Some(installed), keeps });
        }
        Update::Refused(refusal) => return Err(refused(refusal)),
        Update::NewApp { suffix } => suffix,
    };
    // Another signer's app has the plain name: this one carries its signer's mark.
    let stem: String = slug.as_str().chars().take(AppId::MAX - 1 - suffix.len()).collect();
    let id: AppId = format!("{stem}-{suffix}").parse().map_err(|_| Reason::IdTaken)?;
    let Some(installed) = gate.apps.get(&id) else {
        return Ok(Place { id, replaced: None, keeps: Keeps::Grants });
    };
    match decide(gate, &installed, offered, package).at_its_own_id() {
        Update::Same(keeps) | Update::Rotated(keeps) => Ok(Place { id, replaced: Some(installed), keeps }),
        Update::Refused(refusal) => Err(refused(refusal)),
        Update::NewApp { .. } => Err(Reason::IdTaken.into()),
    }
}

fn decide(gate: &Gate, app: &App, offered: &Offered, package: &Package<'_>) -> Update {
    let own = lineage_of(app.trust, app.signer_key.as_deref(), &app.name);
    let rotation = match (package.statements, own.key, package.lineage.key, package.lineage.domain) {
        (Err(refusal), ..) => Some(Err(refusal.clone())),
        (Ok(statements), Some(old_key), Some(new_key), Some(domain))
            if !statements.is_empty() && old_key != new_key =>
        {
            // A signer that was revoked, or shut out, hands nothing over.
            let shut_out = app.suspended.is_some_and(|why| {
                matches!(why, Reason::CertificateRevoked | Reason::RevocationStale | Reason::RootDisabled)
            });
            let old = (old_key, shut_out);
            Some(rotated(gate, statements, old, new_key, domain, &package.lineage.name))
        }
        _ => None,
    };
    let digest = app.digest.parse().unwrap_or(Fingerprint([0; 32]));
    decide_update(
        &Installed { lineage: &own, version: &app.version, package: digest },
        &lineage::Offered {
            lineage: &package.lineage,
            version: package.version,
            package: package.digest,
            rotation,
            named: offered.update.is_some(),
            forced: offered.downgrade,
        },
    )
}

fn rotated(
    gate: &Gate,
    statements: &[Vec<u8>],
    (old_key, shut_out): (Fingerprint, bool),
    new_key: Fingerprint,
    domain: SecurityDomain,
    name: &str,
) -> Result<(), Refusal> {
    let trusted = gate.trusted();
    let barred = |key: &Fingerprint| {
        let by_administrator = match &trusted.in_charge {
            InCharge::Holder { configured, .. } => configured.disabled.contains(key),
            InCharge::User => false,
        };
        by_administrator || (shut_out && *key == old_key)
    };
    let claim = Claim { old_key, new_key, domain, name, at: clock::wall(), barred: &barred };
    judge_rotation(statements, &claim)
}

fn requested(facts: &PackageFacts) -> Vec<String> {
    facts.requested.iter().map(|requested| requested.action.to_string()).collect()
}

fn keep(gate: &Gate, evidence: &StoredEvidence, file: Option<&str>) -> io::Result<()> {
    use std::io::Write as _;
    let (Some(bytes), Some(file)) = (evidence.bytes(), file) else { return Ok(()) };
    let mut incoming =
        tempfile::Builder::new().prefix("incoming-").tempfile_in(gate.state_dir().join(FOLDER))?;
    incoming.write_all(bytes)?;
    keep_file(gate, incoming, file)
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
