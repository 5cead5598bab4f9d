//! The question and its answer. A request by name is asked twice: as [`Target::Name`] before anything is resolved, and as
//! [`Target::Resolved`] with every candidate address before anything is connected to; a request by address is asked once.
//! Pure and without allocation, so that the same question to the same policy has one answer. Called by the service's
//! flow for every connection, and by [`mod@crate::explain`].

use std::net::IpAddr;

use mexe_model::{AppId, DomainName, GrantId, Groups, Instant, Permission, Reason, RunId, Trust};

use crate::grant::table_says_no;
use crate::index::{ActionIndex, Asker, Choice, Pick};
use crate::policy::{Policy, TokenRuns};
use crate::surroundings::bit;
use crate::table::ActionId;

/// One question: may this app do this, there, now?
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub app: &'a AppId,
    /// Its security domain, or untrusted.
    pub trust: Trust,
    /// The action groups that its certificates leave to it; [`Groups::ALL`] when they restrict nothing, and for the
    /// untrusted.
    pub groups: Groups,
    /// Whether its verdict rests on algorithms that only the legacy rules accept: no permission of it outlives a run.
    pub legacy: bool,
    /// Whether its verdict no longer holds.
    pub suspended: bool,
    /// The run it asks in. `None` asks what its next run would be answered, as `mexegate explain` does; nothing may be
    /// opened on that.
    pub run: Option<RunFacts>,
    /// What it wants to do.
    pub action: ActionId,
    /// Where to.
    pub target: Target<'a>,
}

impl Facts<'_> {
    /// Whether the run that asks is bound to its package by its token only.
    pub(crate) fn is_by_token(&self) -> bool {
        self.run.is_some_and(|run| run.binding == RunBinding::Token)
    }
}

/// The run that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// Its id.
    pub id: RunId,
    /// How it is bound to its package.
    pub binding: RunBinding,
    /// Whether it has ended.
    pub ended: bool,
}

/// How a run is bound to the package that it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunBinding {
    /// The gate itself executes the verified package.
    Measured,
    /// Whoever holds the run's token.
    Token,
}

impl RunBinding {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Token => "token",
        }
    }
}

/// Where a request wants to go.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// To an address that the app itself named.
    Address {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// To a name, not resolved yet: may it be resolved?
    Name {
        /// The name.
        name: &'a DomainName,
        /// The port.
        port: u16,
    },
    /// Nowhere: the action has no target.
    None,
    /// To a telephone number, canonical.
    Number(&'a str),
    /// To a name that has these addresses: which of them may be connected to?
    Resolved {
        /// The name.
        name: &'a DomainName,
        /// The port.
        port: u16,
        /// All its addresses. Those after the 64th are never connected to.
        addresses: &'a [IpAddr],
    },
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The user permitted it.
    Allow(Ticket),
    /// The user may permit it: ask, or refuse with [`Rule::reason_unanswered`].
    Ask(Rule),
    /// No.
    Refuse(Reason, Rule),
}

/// What an allowed request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The grant that covers it: when the grant goes, the flow goes.
    pub grant: GrantId,
    /// The grant's permission.
    pub permission: Permission,
    /// Whether [`Policy::spend`] must say true before anything is opened. Not for [`Target::Name`]: resolving spends
    /// nothing.
    pub single: bool,
    /// The epoch of the policy that decided. When the current policy has another one, decide again.
    pub epoch: u64,
    /// Which candidate addresses may be connected to; none for [`Target::Name`] and [`Target::None`].
    pub addresses: AddressMask,
}

/// A choice among the first 64 candidate addresses of a question; bit n stands for the n-th. The one address of
/// [`Target::Address`] is the 0th.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressMask(pub u64);

impl AddressMask {
    /// Whether the n-th address is chosen.
    pub fn contains(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }

    /// The chosen ones among these addresses, in their order.
    pub fn choose(self, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
        addresses
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.contains(*index))
            .map(|(_, address)| *address)
    }

    /// Whether none is chosen.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The row of the security table.
    pub action: ActionId,
    /// Its column.
    pub trust: Trust,
    /// The grant that covers the request.
    pub grant: Option<GrantId>,
    /// A grant that nearly does, and what it lacks.
    pub near_miss: Option<(GrantId, Reason)>,
}

impl Rule {
    /// Why the request is refused when the user is not asked: what the nearest grant lacks, else
    /// [`Reason::PermissionMissing`].
    pub fn reason_unanswered(&self) -> Reason {
        self.near_miss.map_or(Reason::PermissionMissing, |(_, reason)| reason)
    }
}

/// What the grants of an app say to a target.
#[derive(Debug, Default)]
struct Findings {
    /// Covered for names, wildcards or "any".
    named: Pick,
    /// Covered by address.
    addressed: Pick,
    /// Would be covered by `named` if the address were public.
    inward: Option<Choice>,
    /// The addresses that `named` covers.
    public: u64,
    /// The addresses that `addressed` covers.
    every: u64,
}

impl Policy {
    /// Decides. The first that holds: the run has ended, the app is suspended, runs by token are refused, the table says
    /// no, the app's certificates leave it other groups only, only the gate's own listeners are meant; then the grants.
    pub fn decide(&self, now: Instant, facts: &Facts<'_>) -> Decision {
        let rule = Rule { action: facts.action, trust: facts.trust, grant: None, near_miss: None };
        if let Some(reason) = self.forbidden(facts) {
            return Decision::Refuse(reason, rule);
        }
        let cell = self.table().cell(facts.action, facts.trust);
        let Some(maximum) = cell.maximum else {
            return Decision::Refuse(table_says_no(facts.trust), rule);
        };
        let by_token = facts.is_by_token();
        let ceiling = self.ceiling(maximum, by_token, facts.legacy);
        let local = self.clock().map(|clock| clock.read(now).into());
        let asker = Asker { now, run: facts.run.map(|run| run.id), ceiling, local };
        let Some(index) = self.index(facts.app).and_then(|app| app.action(facts.action)) else {
            return Decision::Ask(rule);
        };
        let found = self.findings(index, &facts.target, &asker);
        let best = found.named.join(found.addressed);
        if let Some(choice) = best.live {
            // Ids are unique: the grant is one of the named ones, or one of those by address.
            let by_name = found.named.live == Some(choice);
            let addresses = AddressMask(if by_name { found.public } else { found.every });
            let single =
                choice.permission == Permission::SingleAction && !matches!(facts.target, Target::Name { .. });
            let (grant, permission, epoch) = (choice.id, choice.permission, self.epoch());
            return Decision::Allow(Ticket { grant, permission, single, epoch, addresses });
        }
        let near = |choice: Choice, reason| Rule { near_miss: Some((choice.id, reason)), ..rule };
        if let Some(choice) = found.inward {
            return Decision::Refuse(Reason::AddressNotPublic, near(choice, Reason::AddressNotPublic));
        }
        if let Some(choice) = best.expired {
            return Decision::Ask(near(choice, Reason::PermissionExpired));
        }
        if let Some((choice, reason)) = best.shut {
            return Decision::Ask(near(choice, reason));
        }
        Decision::Ask(
            index.whatever(&asker).live.map_or(rule, |choice| near(choice, Reason::TargetOutOfScope)),
        )
    }

    /// Why no grant whatever would help.
    pub(crate) fn forbidden(&self, facts: &Facts<'_>) -> Option<Reason> {
        if facts.run.is_some_and(|run| run.ended) {
            return Some(Reason::RunEnded);
        }
        if facts.suspended {
            return Some(Reason::AppSuspended);
        }
        if facts.is_by_token() && self.settings().token_runs == TokenRuns::Refuse {
            return Some(Reason::TokenRunRefused);
        }
        if self.table().cell(facts.action, facts.trust).maximum.is_none() {
            return Some(table_says_no(facts.trust));
        }
        // After the table's own no, so that a restriction is never the reason for what the domain lacks anyway.
        if !self.table().is_left(facts.action, facts.groups) {
            return Some(Reason::RestrictedByCertificate);
        }
        self.unreachable(&facts.target)
    }

    /// Why no grant whatever could open a way there.
    fn unreachable(&self, target: &Target<'_>) -> Option<Reason> {
        match target {
            Target::Address { address, port } => {
                self.surroundings().is_listener(*address, *port).then_some(Reason::OwnAddress)
            }
            Target::Resolved { addresses: [], .. } => Some(Reason::NameUnresolvable),
            Target::Resolved { addresses, port, .. } => {
                self.surroundings().candidates(addresses, *port).only_own.then_some(Reason::OwnAddress)
            }
            Target::Name { .. } | Target::None | Target::Number(_) => None,
        }
    }

    fn findings(&self, index: &ActionIndex, target: &Target<'_>, asker: &Asker) -> Findings {
        match *target {
            Target::None => Findings { named: index.untargeted(asker), ..Findings::default() },
            Target::Number(number) => {
                Findings { named: index.for_number(number, asker), ..Findings::default() }
            }
            Target::Name { name, port } => Findings {
                named: index.for_name(name, port, asker),
                addressed: index.for_some_address(port, asker),
                ..Findings::default()
            },
            Target::Address { address, port } => {
                let public = u64::from(self.surroundings().is_public(address));
                let addressed = index.for_addresses(&[address], port, asker);
                Findings::by_class(index.untargeted(asker), public, addressed, 1)
            }
            Target::Resolved { name, port, addresses } => {
                let seen = self.surroundings().candidates(addresses, port);
                // A grant by address covers all or nothing, and the gate's own listeners are never covered.
                let addressed =
                    if seen.own { Pick::default() } else { index.for_addresses(addresses, port, asker) };
                Findings::by_class(index.for_name(name, port, asker), seen.public, addressed, seen.every)
            }
        }
    }
}

impl Findings {
    /// Names, wildcards and "any" cover public addresses only.
    fn by_class(named: Pick, public: u64, addressed: Pick, every: u64) -> Self {
        if public == 0 {
            Self { named: Pick::default(), addressed, inward: named.live, public, every }
        } else {
            Self { named, addressed, inward: None, public, every }
        }
    }
}
