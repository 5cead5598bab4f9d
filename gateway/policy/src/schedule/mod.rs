//! Event schedules: what a user agreed to once, in a clearly listed form, and is not asked for again. A schedule names an
//! app, actions, targets, hours of the week and a budget; signed off by its digest, it is the user's implicit permission
//! (TS 22.057). It gives no more than the security table: only what the user could permit by a blanket grant.
//!
//! The engine sees the grants that [`Schedule::grants`] makes, each with its [`Window`]; the budget is kept by the
//! service, which counts what is used and asks [`Schedule::decide`]. Called by the service when schedules are read,
//! signed off, listed and used.

mod load;
mod text;
mod usage;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use mexe_model::{Action, AppId, GrantId, Permission, Reason, WallTime};

use crate::grant::{Grant, GrantSpec, Standing};
use crate::table::{SecurityTable, TargetKind};
use crate::target::TargetPattern;
use crate::window::Window;

pub use load::{ScheduleError, ScheduleProblem};
pub use usage::{Left, Shut, Usage};

/// One schedule. Made from text only, so that what is signed off is what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    name: Arc<str>,
    app: AppId,
    actions: BTreeSet<Action>,
    targets: Vec<TargetPattern>,
    window: Window,
    budget: Budget,
}

/// How much of it may be used; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes in all, both directions.
    pub bytes: Option<NonZeroU64>,
    /// Bytes on one local day.
    pub bytes_per_day: Option<NonZeroU64>,
    /// Performances of its actions in all.
    pub events: Option<NonZeroU64>,
    /// Performances on one local day.
    pub events_per_day: Option<NonZeroU64>,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// One mistake, with its line and column: text that is not TOML or not a schedule, names, targets or times that are
    /// none, no action, no hours, too much of anything.
    pub fn from_toml(text: &str) -> Result<Self, ScheduleError> {
        load::load(text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The app that it is for.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// What the app may do by it, in alphabetical order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter()
    }

    /// Where to.
    pub fn targets(&self) -> &[TargetPattern] {
        &self.targets
    }

    /// When.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// How much.
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// What the user signs off: it differs whenever the schedule means something else, and not for another way of
    /// writing the same.
    pub fn digest(&self) -> ScheduleDigest {
        let signed = format!("mexegate schedule 1\n{}", self.canonical());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, signed.as_bytes()).as_ref());
        ScheduleDigest(bytes)
    }

    /// The grants that it stands for, to an app of that standing: one for each action and target, all within its window.
    ///
    /// # Errors
    /// [`Reason::ActionUnknown`]; what [`Grant::new`] says of a blanket grant, above all
    /// [`Reason::PermissionAboveMaximum`] where the user is to be asked for each run or each action;
    /// [`Reason::RequestMalformed`] when an action that has targets is listed without one, or there is a target that no
    /// listed action takes.
    pub fn grants(
        &self,
        mut next_id: impl FnMut() -> GrantId,
        signed_off_at: WallTime,
        standing: impl Into<Standing>,
        table: &SecurityTable,
    ) -> Result<Vec<Grant>, Reason> {
        let standing = standing.into();
        let (mut grants, mut taken) = (Vec::new(), BTreeSet::new());
        for name in &self.actions {
            let action = table.action(name.as_str()).ok_or(Reason::ActionUnknown)?;
            let kind = table.row(action).map_or(TargetKind::None, |row| row.target);
            let targets: Vec<Option<&TargetPattern>> = match kind {
                TargetKind::None => vec![None],
                kind => self.targets_for(kind).map(Some).collect(),
            };
            if targets.is_empty() {
                return Err(Reason::RequestMalformed);
            }
            taken.extend(targets.iter().flatten().map(|target| target.is_number()));
            for target in targets {
                let spec = GrantSpec {
                    id: next_id(),
                    app: self.app.clone(),
                    action,
                    target: target.cloned(),
                    permission: Some(Permission::Blanket),
                    granted_at: signed_off_at,
                    expires: None,
                };
                grants.push(Grant::new(spec, standing, table)?.within(self.window.clone())?);
            }
        }
        // What would permit nothing was not meant so.
        if self.targets.iter().any(|target| !taken.contains(&target.is_number())) {
            return Err(Reason::RequestMalformed);
        }
        Ok(grants)
    }

    /// Those of its targets that an action of that kind takes.
    fn targets_for(&self, kind: TargetKind) -> impl Iterator<Item = &TargetPattern> {
        let takes = move |target: &&TargetPattern| match kind {
            TargetKind::Endpoint => !target.is_number(),
            TargetKind::Number => target.is_number(),
            TargetKind::None => false,
        };
        self.targets.iter().filter(takes)
    }
}

/// The SHA-256 of what a schedule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScheduleDigest([u8; 32]);

impl fmt::Display for ScheduleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ScheduleDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 64 || !text.bytes().all(is_hex) {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).ok_or(NotADigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotADigest)?;
        }
        Ok(Self(bytes))
    }
}

/// The text is no digest of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: write its 64 hexadecimal digits in lower case")]
pub struct NotADigest;
