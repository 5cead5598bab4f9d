//! Every action of the shipped table, every column, every permission, every state of the run: the answer is the one that
//! the rules give, and the grant can be made only within the cell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use mexe_model::{ActionGroup, AppId, GrantId, Groups, Instant, Permission, Reason, RunId, Trust, WallTime};
use mexe_policy::*;

const NOW: Instant = Instant::from_nanos(100);

fn spec(action: ActionId, permission: Option<Permission>, expires: Option<Instant>) -> GrantSpec {
    let app = "app".parse().unwrap();
    GrantSpec {
        id: GrantId(1),
        app,
        action,
        target: None,
        permission,
        granted_at: WallTime::from_secs(0),
        expires,
    }
}

fn no(trust: Trust) -> Reason {
    if trust == Trust::Untrusted { Reason::UntrustedApp } else { Reason::ForbiddenToDomain }
}

#[test]
fn grants_are_made_only_within_their_cell() {
    let table = SecurityTable::shipped().unwrap();
    for row in table.rows() {
        for trust in Trust::ALL {
            let cell = row.cell(trust);
            for permission in Permission::ALL {
                let made = Grant::new(spec(row.id, Some(permission), None), trust, &table);
                let expected = match cell.maximum {
                    None => Err(no(trust)),
                    Some(maximum) if permission > maximum => Err(Reason::PermissionAboveMaximum),
                    Some(_) => Ok(permission),
                };
                assert_eq!(made.map(|g| g.permission()), expected, "{} {trust} {permission}", row.action);
            }
            let by_default = Grant::new(spec(row.id, None, None), trust, &table).map(|g| g.permission());
            assert_eq!(by_default, cell.default.ok_or(no(trust)), "{} {trust}", row.action);
        }
    }
}

#[test]
fn a_grant_is_limited_to_a_target_only_where_the_action_has_one() {
    let table = SecurityTable::shipped().unwrap();
    for (action, taken) in
        [("network.connect", true), ("network.listen", true), ("network.qos", false), ("network.call", false)]
    {
        let mut spec = spec(table.action(action).unwrap(), None, None);
        spec.target = Some("example.org".parse().unwrap());
        let made = Grant::new(spec, Trust::ALL[0], &table).map(|_| ());
        assert_eq!(made, if taken { Ok(()) } else { Err(Reason::RequestMalformed) }, "{action}");
    }
}

/// The states of a run, and what is to be refused whatever is granted.
#[derive(Clone, Copy, Debug)]
struct State {
    run: Option<RunFacts>,
    suspended: bool,
    tokens: TokenRuns,
    left: Left,
    legacy: bool,
}

/// What the certificates leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    All,
    TheOthers,
    OnlyThis,
    Nothing,
}

impl Left {
    fn groups(self, asked: ActionGroup) -> Groups {
        match self {
            Self::All => Groups::ALL,
            Self::TheOthers => ActionGroup::ALL.iter().copied().filter(|group| *group != asked).collect(),
            Self::OnlyThis => Groups::NONE.with(asked),
            Self::Nothing => Groups::NONE,
        }
    }
}

fn states() -> Vec<State> {
    let mut states = Vec::new();
    let lefts = [Left::All, Left::TheOthers, Left::OnlyThis, Left::Nothing];
    let standings = lefts.into_iter().flat_map(|left| [(left, false), (left, true)]);
    let tokens = [TokenRuns::Allow, TokenRuns::Refuse, TokenRuns::SessionOnly];
    for (tokens, (left, legacy)) in
        tokens.into_iter().flat_map(|tokens| standings.clone().map(move |standing| (tokens, standing)))
    {
        for suspended in [false, true] {
            states.push(State { run: None, suspended, tokens, left, legacy });
            for binding in [RunBinding::Measured, RunBinding::Token] {
                for ended in [false, true] {
                    states.push(State {
                        run: Some(RunFacts { id: RunId(7), binding, ended }),
                        suspended,
                        tokens,
                        left,
                        legacy,
                    });
                }
            }
        }
    }
    states
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// A grant, alive or expired, and whether a session one belongs to this run.
    Grant(Permission, bool, bool),
}

#[test]
fn the_whole_lattice_of_table_permission_and_run_state() {
    let table = Arc::new(SecurityTable::shipped().unwrap());
    let app: AppId = "app".parse().unwrap();
    let mut held = vec![Held::Nothing];
    for permission in Permission::ALL {
        for alive in [true, false] {
            for mine in [true, false] {
                held.push(Held::Grant(permission, alive, mine));
            }
        }
    }
    let mut asked = 0;
    for row in table.rows() {
        for trust in Trust::ALL {
            for state in states() {
                for held in &held {
                    let settings = Settings { token_runs: state.tokens };
                    let mut policy = Policy::new(Arc::clone(&table), settings, Surroundings::default());
                    let maximum = row.cell(trust).maximum;
                    if let Held::Grant(permission, alive, mine) = *held {
                        let expires = if alive { None } else { Some(NOW) };
                        let made = Grant::new(spec(row.id, Some(permission), expires), trust, &table);
                        // A session grant of ours belongs to the run that asks, or waits where no run asks.
                        let binds = match (mine, state.run) {
                            (true, None) => None,
                            (true, Some(run)) => Some(run.id),
                            (false, _) => Some(RunId(8)),
                        };
                        if let Some(run) = binds {
                            policy = policy.run_started(&app, run);
                        }
                        let Ok(grant) = made else { continue };
                        policy = policy.with_grant(grant);
                    }
                    let facts = Facts {
                        app: &app,
                        trust,
                        groups: state.left.groups(row.group.unwrap()),
                        legacy: state.legacy,
                        suspended: state.suspended,
                        run: state.run,
                        action: row.id,
                        target: Target::None,
                    };
                    let decision = policy.decide(NOW, &facts);
                    let expected = expected(maximum, trust, &state, *held);
                    let found = match decision {
                        Decision::Allow(ticket) => Ok(ticket.permission),
                        Decision::Ask(rule) => Err((true, rule.reason_unanswered())),
                        Decision::Refuse(reason, _) => Err((false, reason)),
                    };
                    assert_eq!(found, expected, "{} {trust} {state:?} {held:?}", row.action);
                    if let Decision::Allow(ticket) = decision {
                        assert_eq!(ticket.single, ticket.permission == Permission::SingleAction);
                        assert!(ticket.addresses.is_empty() && ticket.grant == GrantId(1));
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 160_000, "{asked}");
}

/// Ok, or whether it is a question and the reason.
fn expected(
    maximum: Option<Permission>,
    trust: Trust,
    state: &State,
    held: Held,
) -> Result<Permission, (bool, Reason)> {
    let by_token = state.run.is_some_and(|run| run.binding == RunBinding::Token);
    if state.run.is_some_and(|run| run.ended) {
        return Err((false, Reason::RunEnded));
    }
    if state.suspended {
        return Err((false, Reason::AppSuspended));
    }
    if by_token && state.tokens == TokenRuns::Refuse {
        return Err((false, Reason::TokenRunRefused));
    }
    if maximum.is_none() {
        return Err((false, no(trust)));
    }
    if matches!(state.left, Left::TheOthers | Left::Nothing) {
        return Err((false, Reason::RestrictedByCertificate));
    }
    match held {
        Held::Nothing => Err((true, Reason::PermissionMissing)),
        Held::Grant(Permission::Blanket, _, _) if state.legacy => Err((true, Reason::PermissionMissing)),
        Held::Grant(Permission::Blanket, _, _) if by_token && state.tokens == TokenRuns::SessionOnly => {
            Err((true, Reason::PermissionMissing))
        }
        Held::Grant(Permission::Session, _, false) => Err((true, Reason::PermissionMissing)),
        Held::Grant(_, false, _) => Err((true, Reason::PermissionExpired)),
        Held::Grant(permission, true, _) => Ok(permission),
    }
}

#[test]
fn the_groups_of_the_shipped_table_are_those_that_certificates_can_name() {
    let table = SecurityTable::shipped().unwrap();
    let of_table: Vec<_> = table.groups().map(|group| (group.number, group.name.to_string())).collect();
    let of_model: Vec<_> =
        ActionGroup::ALL.iter().map(|group| (group.number(), group.as_str().to_owned())).collect();
    assert_eq!(of_table, of_model);
    for row in table.rows() {
        assert_eq!(row.group.map(ActionGroup::as_str), Some(row.action.group()), "{}", row.action);
    }
}

#[test]
fn a_group_that_no_certificate_can_name_is_closed_to_restricted_apps() {
    let table = "[[group]]\nname = \"extra\"\nnumber = 14\ntitle = \"Extra\"\n\
        [[action]]\naction = \"extra.one\"\ncovers = \"x\"\ntarget = \"none\"\nchargeable = false\n\
        operator = { permission = \"session(single)\", provenance = \"decision:1\" }\n\
        manufacturer = { permission = \"no\", provenance = \"decision:1\" }\n\
        third-party = { permission = \"no\", provenance = \"decision:1\" }\n\
        untrusted = { permission = \"no\", provenance = \"decision:1\" }\n";
    let table = SecurityTable::from_toml(table).unwrap();
    let action = table.action("extra.one").unwrap();
    let trust = Trust::ALL[0];
    let offered = |groups| Standing { trust, groups, legacy: false }.offer(action, &table);
    assert_eq!(offered(Groups::ALL), Ok((Permission::Session, Permission::SingleAction)));
    let all_but_one = ActionGroup::ALL.iter().copied().skip(1).collect();
    assert_eq!(offered(all_but_one), Err(Reason::RestrictedByCertificate));
}

#[test]
fn grants_are_no_wider_than_certificates_and_legacy_algorithms_leave() {
    let table = SecurityTable::shipped().unwrap();
    for row in table.rows() {
        let this = row.group.unwrap();
        for trust in Trust::ALL {
            for left in [Left::All, Left::TheOthers, Left::OnlyThis, Left::Nothing] {
                for legacy in [false, true] {
                    let standing = Standing { trust, groups: left.groups(this), legacy };
                    let offered = standing.offer(row.id, &table);
                    let expected = match row.cell(trust).maximum.zip(row.cell(trust).default) {
                        None => Err(no(trust)),
                        Some(_) if matches!(left, Left::TheOthers | Left::Nothing) => {
                            Err(Reason::RestrictedByCertificate)
                        }
                        Some((Permission::SingleAction, _)) if legacy => {
                            Ok((Permission::SingleAction, Permission::SingleAction))
                        }
                        Some(_) if legacy => Ok((Permission::Session, Permission::SingleAction)),
                        Some(cell) => Ok(cell),
                    };
                    assert_eq!(offered, expected, "{} {standing:?}", row.action);
                    let blanket = Grant::new(spec(row.id, Some(Permission::Blanket), None), standing, &table);
                    let wide = expected.and_then(|(maximum, _)| match maximum {
                        Permission::Blanket => Ok(Permission::Blanket),
                        _ => Err(Reason::PermissionAboveMaximum),
                    });
                    assert_eq!(blanket.map(|grant| grant.permission()), wide, "{} {standing:?}", row.action);
                }
            }
        }
    }
}
