//! What the gate remembers beside the journal: apps, grants and roots, and the [`Change`]s that alter them. Values
//! only; how they lie in the database is in `tables`. Each change is committed together with its record, and synced to
//! the disk before it is acknowledged.

use mexe_model::{AppId, GrantId, Instant, Permission, Reason, RootId, RunId, Trust, WallTime};

use crate::record::words;

/// An installed app.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApp {
    /// Its id.
    pub id: AppId,
    /// The name that the package gives itself.
    pub name: String,
    /// The package's version; empty when it names none.
    pub version: String,
    /// What the app is to the security table.
    pub domain: Trust,
    /// Lower-case hexadecimal SHA-256 of the package file.
    pub digest: String,
    /// Lower-case hexadecimal SHA-256 of the signer's SubjectPublicKeyInfo.
    pub signer_key: Option<String>,
    /// The root that vouches for it.
    pub root: Option<RootId>,
    /// The QoS profile that its signed manifest asks for.
    pub qos_profile: Option<String>,
    /// Whatever else was found out about it, as JSON.
    pub facts: serde_json::Value,
    /// Where the package lies, relative to the state directory.
    pub file: String,
    /// When it was installed.
    pub installed_at: WallTime,
    /// Whether it may run.
    pub state: AppState,
}

/// Whether an installed app may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppState {
    /// Its verdict holds.
    Active,
    /// Its verdict no longer holds, for this reason.
    Suspended(Reason),
}

/// One permission that the user gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGrant {
    /// Its id, from [`crate::Journal::next_grant_id`].
    pub id: GrantId,
    /// The app; it must be installed.
    pub app: AppId,
    /// The action's name.
    pub action: String,
    /// The target pattern as text; `None` is any global address.
    pub target: Option<String>,
    /// How long it holds.
    pub permission: Permission,
    /// When it was given.
    pub granted_at: WallTime,
    /// When it ends by the wall clock, if it was given for a time.
    pub expires_at: Option<WallTime>,
    /// The same moment on the device's own time line; it counts only within the boot that it names.
    pub deadline: Option<Deadline>,
    /// The runs that a session grant is bound to; empty while it waits for the app's next one.
    pub runs: Vec<RunId>,
}

/// A moment on the time line of one boot of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The kernel's boot id.
    pub boot: String,
    /// Nanoseconds since that boot.
    pub at: Instant,
}

words! {
    /// Whose root public key it is.
    RootKind {
        /// The administrator's (ARPK).
        Administrator = "administrator",
        /// The manufacturer's (MRPK).
        Manufacturer = "manufacturer",
        /// The operator's (ORPK).
        Operator = "operator",
        /// A third party's (TPRPK).
        ThirdParty = "third-party",
    }
}

words! {
    /// Whether a root may vouch.
    RootState {
        /// It may not; its apps are suspended.
        Disabled = "disabled",
        /// It may.
        Enabled = "enabled",
    }
}

/// What is remembered of one root public key. The same key may stand under several kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoot {
    /// The hash of its key.
    pub id: RootId,
    /// Whose it is.
    pub kind: RootKind,
    /// Whether it may vouch.
    pub state: RootState,
    /// Where it came from, as in `directory` or `usim`.
    pub source: String,
    /// Its subject, for people.
    pub subject: String,
    /// The certificate, DER, when it is kept here and not in a directory.
    pub certificate: Option<Vec<u8>>,
    /// When this was last changed.
    pub changed_at: WallTime,
}

/// A revocation list that was taken in while the gate ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredList {
    /// Lower-case hexadecimal SHA-256 of its bytes.
    pub id: String,
    /// The list, DER.
    pub der: Vec<u8>,
    /// When it was taken in.
    pub added_at: WallTime,
}

impl StoredList {
    /// What it is called in messages: there is no file that it could be named by.
    pub fn name(&self) -> String {
        format!("list {}", self.id.get(..16).unwrap_or(&self.id))
    }
}

/// An event schedule that the user signed off.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSchedule {
    /// Its name.
    pub name: String,
    /// The app that it is for; it must be installed.
    pub app: AppId,
    /// The schedule as it was signed off.
    pub text: String,
    /// The digest that the user agreed to.
    pub digest: String,
    /// The grants that it stands for, from [`crate::Journal::next_grant_id`]; they are not among [`Loaded::grants`].
    pub grants: Vec<GrantId>,
    /// When it was signed off.
    pub signed_off_at: WallTime,
    /// What was used of it, as JSON.
    pub usage: serde_json::Value,
}

/// One change of what lasts.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Binds session grants to a run that begins.
    BindGrants {
        /// The run.
        run: RunId,
        /// The grants; unknown ones are passed over.
        grants: Vec<GrantId>,
    },
    /// Adds a grant. Refused when its app is not installed or its id was used before.
    PutGrant(StoredGrant),
    /// Installs an app, or replaces what is known of it; its grants stay.
    PutApp(StoredApp),
    /// Adds a revocation list; nothing happens when it is there.
    PutList(StoredList),
    /// Remembers something of the trust store under a name, as JSON, in place of what stood there.
    PutTrust {
        /// The name.
        name: String,
        /// What is remembered; JSON null forgets it.
        value: serde_json::Value,
    },
    /// Adds a schedule. Refused when its app is not installed or its name is taken.
    PutSchedule(StoredSchedule),
    /// Adds a root, or replaces what is known of it.
    PutRoot(StoredRoot),
    /// Removes an app and all its grants.
    RemoveApp(AppId),
    /// Forgets a revocation list.
    RemoveList(String),
    /// Forgets a root.
    RemoveRoot(RootId, RootKind),
    /// Takes a schedule back; one that is gone already is passed over.
    RemoveSchedule(String),
    /// Takes grants back. Those that are gone already are passed over.
    RevokeGrants(Vec<GrantId>),
    /// Several changes, all or none.
    Several(Vec<Change>),
    /// Uses up a single-action grant. Refused when it is gone or was used before.
    SpendGrant(GrantId),
    /// Suspends an app or lets it run again. Refused when it is not installed.
    SetAppState(AppId, AppState),
    /// Remembers what was used of a schedule; one that is gone is passed over.
    UseSchedule {
        /// Its name.
        name: String,
        /// All that was used so far.
        usage: serde_json::Value,
    },
}

/// What was in the database when it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// Every installed app, by id.
    pub apps: Vec<StoredApp>,
    /// Every grant that was neither revoked nor spent, by id. Those with runs belong to runs that ended with the gate.
    pub grants: Vec<StoredGrant>,
    /// Every root that something is remembered of.
    pub roots: Vec<StoredRoot>,
    /// What is remembered of the trust store, by name.
    pub trust: Vec<(String, serde_json::Value)>,
    /// Every revocation list that was taken in.
    pub lists: Vec<StoredList>,
    /// Every schedule, by name.
    pub schedules: Vec<StoredSchedule>,
    /// The end of the hash chain.
    pub head: Head,
    /// Runs are numbered from here on; no earlier run has this number or a higher one.
    pub first_run_id: u64,
    /// Flows are numbered from here on; no earlier flow has this number or a higher one.
    pub first_flow_id: u64,
}

/// The end of the hash chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The last record's number; 0 when there is none.
    pub seq: u64,
    /// The last record's hash.
    pub hash: [u8; 32],
    /// When the last record happened; S17's floor of time.
    pub at: Option<WallTime>,
}
