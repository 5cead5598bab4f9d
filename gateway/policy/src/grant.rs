//! One permission that the user gave: to one app, for one action, perhaps for one target. Whether the security table
//! lets it be given at all is decided here, once, at creation; what it covers is decided in [`crate::decision`]. Made by
//! the service for `mexegate grant`, for answers to prompts, and again from the journal at start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mexe_model::{AppId, GrantId, Groups, Instant, Permission, Reason, RunId, Trust, WallTime};

use crate::table::{ActionId, SecurityTable, TargetKind};
use crate::target::TargetPattern;
use crate::window::Window;

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct GrantSpec {
    /// Its id, never used before.
    pub id: GrantId,
    /// Who is permitted.
    pub app: AppId,
    /// What is permitted.
    pub action: ActionId,
    /// To where; `None` for any global address.
    pub target: Option<TargetPattern>,
    /// How long; `None` for the table's default.
    pub permission: Option<Permission>,
    /// When the user gave it, for the record.
    pub granted_at: WallTime,
    /// The first instant at which it no longer holds.
    pub expires: Option<Instant>,
}

/// What an app is to the security table. Made of a [`Trust`] alone, it is that of an app without restriction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its security domain, or untrusted.
    pub trust: Trust,
    /// The action groups that its certificates leave to it.
    pub groups: Groups,
    /// Whether its verdict rests on algorithms that only the legacy rules accept.
    pub legacy: bool,
}

impl Standing {
    /// The widest permission for the action that the user may give to such an app, and the one that is offered first.
    ///
    /// # Errors
    /// [`Reason::UntrustedApp`] or [`Reason::ForbiddenToDomain`] when the table says no,
    /// [`Reason::RestrictedByCertificate`] when the app's certificates do.
    pub fn offer(self, action: ActionId, table: &SecurityTable) -> Result<(Permission, Permission), Reason> {
        let cell = table.cell(action, self.trust);
        let Some((maximum, default)) = cell.maximum.zip(cell.default) else {
            return Err(table_says_no(self.trust));
        };
        if !table.is_left(action, self.groups) {
            return Err(Reason::RestrictedByCertificate);
        }
        // Old algorithms: at most for a run, and by itself only for one action.
        Ok(match self.legacy {
            true => (maximum.min(Permission::Session), Permission::SingleAction),
            false => (maximum, default),
        })
    }
}

impl From<Trust> for Standing {
    fn from(trust: Trust) -> Self {
        Self { trust, groups: Groups::ALL, legacy: false }
    }
}

/// Which runs a session grant belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The app's next run: none was live when it was given.
    Pending,
    /// These runs.
    Runs(Vec<RunId>),
}

/// A permission that the security table allows. Clones share the note that a single permission is spent.
#[derive(Clone, Debug)]
pub struct Grant {
    id: GrantId,
    app: AppId,
    action: ActionId,
    target: Option<TargetPattern>,
    permission: Permission,
    granted_at: WallTime,
    expires: Option<Instant>,
    window: Option<Window>,
    used_up: bool,
    binding: Binding,
    spent: Arc<AtomicBool>,
}

impl Grant {
    /// Checks the user's wish against the table, for an app of that standing.
    ///
    /// # Errors
    /// Those of [`Standing::offer`]; [`Reason::PermissionAboveMaximum`] when it may have less,
    /// [`Reason::RequestMalformed`] when the action takes no such target.
    pub fn new(
        spec: GrantSpec,
        standing: impl Into<Standing>,
        table: &SecurityTable,
    ) -> Result<Self, Reason> {
        let (maximum, default) = standing.into().offer(spec.action, table)?;
        let permission = spec.permission.unwrap_or(default);
        if permission > maximum {
            return Err(Reason::PermissionAboveMaximum);
        }
        let kind = table.row(spec.action).map_or(TargetKind::None, |row| row.target);
        let fits = spec.target.as_ref().is_none_or(|target| match kind {
            TargetKind::Endpoint => !target.is_number(),
            TargetKind::Number => target.is_number(),
            TargetKind::None => false,
        });
        if !fits {
            return Err(Reason::RequestMalformed);
        }
        Ok(Self {
            id: spec.id,
            app: spec.app,
            action: spec.action,
            target: spec.target,
            permission,
            granted_at: spec.granted_at,
            expires: spec.expires,
            window: None,
            used_up: false,
            binding: Binding::Pending,
            spent: Arc::new(AtomicBool::new(false)),
        })
    }

    /// The same grant, but only within a window: an implicit permission, as an event schedule gives.
    ///
    /// # Errors
    /// [`Reason::PermissionAboveMaximum`] when it is no blanket grant: what the user is to be asked for each run or each
    /// action is never implicit.
    pub fn within(self, window: Window) -> Result<Self, Reason> {
        match self.permission {
            Permission::Blanket => Ok(Self { window: Some(window), ..self }),
            Permission::SingleAction | Permission::Session => Err(Reason::PermissionAboveMaximum),
        }
    }

    /// The same grant while the budget of its schedule is used up: it covers nothing.
    pub fn used_up(&self) -> Self {
        Self { used_up: true, ..self.clone() }
    }

    /// The same grant with something left of its schedule's budget.
    pub fn replenished(&self) -> Self {
        Self { used_up: false, ..self.clone() }
    }

    /// Its id.
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// Who is permitted.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// What is permitted.
    pub fn action(&self) -> ActionId {
        self.action
    }

    /// To where; `None` for any global address.
    pub fn target(&self) -> Option<&TargetPattern> {
        self.target.as_ref()
    }

    /// How long.
    pub fn permission(&self) -> Permission {
        self.permission
    }

    /// When the user gave it.
    pub fn granted_at(&self) -> WallTime {
        self.granted_at
    }

    /// The first instant at which it no longer holds.
    pub fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// When it holds; `None` for at any time.
    pub fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// Whether the budget of its schedule is used up.
    pub fn is_used_up(&self) -> bool {
        self.used_up
    }

    /// The runs it belongs to; `None` unless it is a session grant.
    pub fn binding(&self) -> Option<&Binding> {
        (self.permission == Permission::Session).then_some(&self.binding)
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }

    /// Whether it was a single permission and has been used.
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }

    /// Uses a single permission: true for exactly one caller, ever. Others need no spending: true whenever asked.
    pub(crate) fn spend(&self) -> bool {
        self.permission != Permission::SingleAction
            || self.spent.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn bound_to(&self, binding: Binding) -> Self {
        Self { binding, ..self.clone() }
    }

    pub(crate) fn for_action(&self, action: ActionId) -> Self {
        Self { action, ..self.clone() }
    }

    pub(crate) fn spent_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.spent)
    }
}

/// The reason for an empty cell of the table.
pub(crate) fn table_says_no(trust: Trust) -> Reason {
    match trust {
        Trust::Domain(_) => Reason::ForbiddenToDomain,
        Trust::Untrusted => Reason::UntrustedApp,
    }
}
