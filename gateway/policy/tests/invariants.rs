//! What must hold of every table, whoever wrote it, asked of every action, column, permission, binding, restriction and
//! state that there is: nothing is sampled. The tables are the shipped one, the shipped one with an action for every rule,
//! use and group, and the widest that the loader takes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::sync::Arc;

use mexe_model::{
    ActionGroup, AppId, GrantId, Groups, Instant, Permission, Reason, RunId, SecurityDomain, Trust, WallTime,
};
use mexe_policy::table::{Provenance, Row, SHIPPED};
use mexe_policy::*;

const NOW: Instant = Instant::from_nanos(100);

/// All that is ever for the untrusted, and the most of it.
const UNTRUSTED: [(&str, Permission); 4] = [
    ("network.call", Permission::SingleAction),
    ("network.dtmf", Permission::SingleAction),
    ("user-interface.display", Permission::Blanket),
    ("user-interface.input", Permission::Blanket),
];

fn added() -> SecurityTable {
    let (table, rules) = (SecurityTable::shipped().unwrap(), Categorisation::shipped().unwrap());
    let section = |name: &str, chargeable: bool, more: &str| {
        format!("[[new-action]]\naction = \"{name}\"\ncovers = \"x\"\nchargeable = {chargeable}\n{more}\n")
    };
    let mut text = section("x.unknown", false, "");
    let uses: Vec<&str> = rules.uses().into_iter().collect();
    for (n, one) in uses.iter().enumerate() {
        for (m, other) in uses.iter().enumerate().skip(n) {
            let uses = format!("uses = [\"{one}\", \"{other}\"]");
            text += &section(&format!("x.u{n}-u{m}"), false, &uses);
            text += &section(&format!("x.u{n}-u{m}-chargeable"), true, &uses);
        }
    }
    for group in table.groups() {
        text += &section(&format!("{}.new", group.name), false, "");
        text += &section(&format!("{}.new-chargeable", group.name), true, "");
        // Only what no rule fits can be placed at will.
        text += &section(&format!("x.p{}", group.number), false, &format!("place = \"{}\"", group.name));
    }
    for (action, _) in UNTRUSTED {
        text += &section(&format!("{action}-too"), false, "");
    }
    table.with_actions(&text, &rules).unwrap()
}

/// Every cell as wide as loading allows.
fn widest() -> SecurityTable {
    let wide = |line: &str, action: &str| {
        let Some((column, _)) = line.split_once(" = {") else { return line.to_owned() };
        let most = match column {
            "untrusted" => UNTRUSTED.iter().find(|(name, _)| *name == action).map(|(_, most)| *most),
            "operator" | "third-party" if action.starts_with("core-software.") => None,
            _ => Some(Permission::Blanket),
        };
        let cell = most.map_or("no".to_owned(), |most| format!("{most}({most})"));
        format!("{column} = {{ permission = \"{cell}\", provenance = \"decision:1\" }}")
    };
    let mut action = String::new();
    let lines = SHIPPED.lines().map(|line| {
        if let Some(name) = line.strip_prefix("action = ") {
            action = name.trim_matches('"').to_owned();
        }
        wide(line, &action)
    });
    SecurityTable::from_toml(&lines.collect::<Vec<_>>().join("\n")).unwrap()
}

fn tables() -> [(&'static str, Arc<SecurityTable>); 4] {
    let rules = Categorisation::shipped().unwrap();
    let text = "[[new-action]]\naction = \"x.hologram\"\ncovers = \"x\"\nchargeable = false\nuses = [\"display\"]\n\
        [[new-action]]\naction = \"x.mend\"\ncovers = \"x\"\nchargeable = false\nplace = \"core-software\"\n";
    let wider = widest().with_actions(text, &rules).unwrap();
    [
        ("shipped", SecurityTable::shipped().unwrap()),
        ("shipped with additions", added()),
        ("widest", widest()),
        ("widest with additions", wider),
    ]
    .map(|(what, table)| (what, Arc::new(table)))
}

fn group_of(row: &Row) -> &str {
    row.placing.as_deref().map_or(row.action.group(), |placing| placing.group.as_deref().unwrap_or(""))
}

#[test]
fn every_cell_keeps_the_invariants() {
    for (what, table) in tables() {
        for row in table.rows() {
            let action = row.action.as_str();
            for trust in Trust::ALL {
                let at = format!("{what}: {action} {trust}");
                let cell = row.cell(trust);
                assert_eq!(cell.maximum.is_some(), cell.default.is_some(), "{at}");
                assert!(cell.default <= cell.maximum, "{at}");
                assert!(!action.contains('*') && !cell.to_string().contains('*'), "{at}");
                if trust == Trust::Untrusted {
                    let most = UNTRUSTED.iter().find(|(name, _)| *name == action).map(|(_, most)| *most);
                    assert!(cell.maximum <= most, "{at}: {cell}");
                }
                let manufacturer = Trust::Domain(SecurityDomain::Manufacturer);
                let is_core = [group_of(row), row.action.group()].contains(&"core-software");
                assert!(!is_core || trust == manufacturer || cell.maximum.is_none(), "{at}: {cell}");
                let known = match &cell.provenance {
                    Provenance::Decision(number) => (1..=18).contains(number),
                    Provenance::Read(clause) | Provenance::Seed(clause) => !clause.is_empty(),
                    Provenance::Recalled => true,
                    Provenance::Rule(_) | Provenance::Administrator(_) => row.placing.is_some(),
                };
                assert!(known, "{at}: {}", cell.provenance);
            }
        }
    }
}

#[test]
fn every_group_of_the_standard_has_rows_in_every_table() {
    for (what, table) in tables() {
        for group in ActionGroup::ALL {
            assert!(
                table.groups().any(|g| *g.name == *group.as_str() && g.number == group.number()),
                "{what}"
            );
            assert!(table.rows().any(|row| row.group == Some(*group)), "{what}: {group}");
        }
    }
}

#[test]
fn what_was_added_is_no_wider_than_any_row_of_its_group_and_closed_where_it_must_be() {
    for (what, table) in tables() {
        for row in table.rows().filter(|row| row.placing.is_some()) {
            let group = group_of(row);
            let peers = table.rows().filter(|peer| peer.placing.is_none() && peer.action.group() == group);
            for peer in peers {
                for trust in Trust::ALL {
                    let (own, other) = (row.cell(trust), peer.cell(trust));
                    assert!(own.maximum <= other.maximum, "{what}: {} beside {}", row.action, peer.action);
                    assert!(own.default <= other.default, "{what}: {} beside {}", row.action, peer.action);
                }
            }
            if matches!(group, "" | "security" | "smart-card") {
                assert!(Trust::ALL.iter().all(|t| row.cell(*t).maximum.is_none()), "{what}: {}", row.action);
            }
            assert_eq!(row.cell(Trust::Untrusted).maximum, None, "{what}: {}", row.action);
        }
    }
}

/// What the certificates leave.
fn restrictions(row: &Row) -> Vec<Groups> {
    let mut all = vec![Groups::ALL, Groups::NONE];
    if let Some(own) = row.group {
        all.push(Groups::NONE.with(own));
        all.push(ActionGroup::ALL.iter().copied().filter(|group| *group != own).collect());
    }
    all
}

struct Walk<'a> {
    table: &'a Arc<SecurityTable>,
    row: &'a Row,
    trust: Trust,
    /// Who the grant was given to: the domain's own standing, or one that got more.
    permission: Option<Permission>,
    tokens: TokenRuns,
}

/// Every state of run and app, with one grant of that permission or none.
fn walk(walk: &Walk<'_>, mut found: impl FnMut(&Facts<'_>, Decision)) {
    let Walk { table, row, trust, permission, tokens } = *walk;
    let app: AppId = "app".parse().unwrap();
    let settings = Settings { token_runs: tokens };
    let mut policy = Policy::new(Arc::clone(table), settings, Surroundings::default());
    policy = policy.run_started(&app, RunId(7));
    if let Some(permission) = permission {
        // Given under a table that allows it, so that this one meets grants that are too wide for it.
        let giving = giving_table(row);
        let spec = GrantSpec {
            id: GrantId(1),
            app: app.clone(),
            action: giving.action(row.action.as_str()).unwrap(),
            target: None,
            permission: Some(permission),
            granted_at: WallTime::from_secs(0),
            expires: None,
        };
        let grant = Grant::new(spec, Trust::Domain(SecurityDomain::Manufacturer), &giving).unwrap();
        let given = Policy::new(Arc::new(giving), settings, Surroundings::default());
        let given = given.run_started(&app, RunId(7)).with_grant(grant);
        policy = given.with_table(Arc::clone(table)).0;
    }
    let mut runs = vec![None];
    for binding in [RunBinding::Measured, RunBinding::Token] {
        for ended in [false, true] {
            for id in [RunId(7), RunId(8)] {
                runs.push(Some(RunFacts { id, binding, ended }));
            }
        }
    }
    for run in runs {
        for groups in restrictions(row) {
            for (legacy, suspended) in [(false, false), (false, true), (true, false), (true, true)] {
                let (action, target) = (row.id, Target::None);
                let facts = Facts { app: &app, trust, groups, legacy, suspended, run, action, target };
                found(&facts, policy.decide(NOW, &facts));
            }
        }
    }
}

/// A table in which the manufacturer may have that action for ever.
fn giving_table(row: &Row) -> SecurityTable {
    let cell = |permission: &str| format!("{{ permission = \"{permission}\", provenance = \"decision:1\" }}");
    let (no, wide) = (cell("no"), cell("blanket(single)"));
    SecurityTable::from_toml(&format!(
        "[[group]]\nname = \"{}\"\nnumber = 1\ntitle = \"x\"\n[[action]]\naction = \"{}\"\ncovers = \"x\"\n\
        target = \"none\"\nchargeable = false\noperator = {no}\nmanufacturer = {wide}\nthird-party = {no}\n\
        untrusted = {no}\n",
        row.action.group(),
        row.action,
    ))
    .unwrap()
}

#[test]
fn no_answer_anywhere_gives_more_than_table_grant_and_state_leave() {
    let (mut asked, mut allowed) = (0_u32, 0_u32);
    for (what, table) in tables() {
        for row in table.rows() {
            for trust in Trust::ALL {
                for tokens in [TokenRuns::Allow, TokenRuns::Refuse, TokenRuns::SessionOnly] {
                    for permission in [None].into_iter().chain(Permission::ALL.map(Some)) {
                        let step = Walk { table: &table, row, trust, permission, tokens };
                        walk(&step, |facts, decision| {
                            asked += 1;
                            allowed += u32::from(matches!(decision, Decision::Allow(_)));
                            check(what, &step, facts, decision);
                        });
                    }
                }
            }
        }
    }
    assert!(asked > 1_000_000 && allowed > 10_000, "{asked} {allowed}");
}

fn check(what: &str, step: &Walk<'_>, facts: &Facts<'_>, decision: Decision) {
    let Walk { row, trust, permission, tokens, .. } = *step;
    let maximum = row.cell(trust).maximum;
    let say =
        || format!("{what}: {} {trust} {permission:?} {tokens:?} {facts:?} gives {decision:?}", row.action);
    let no = if trust == Trust::Untrusted { Reason::UntrustedApp } else { Reason::ForbiddenToDomain };
    let by_token = facts.run.is_some_and(|run| run.binding == RunBinding::Token);
    let ended = facts.run.is_some_and(|run| run.ended);
    match decision {
        Decision::Allow(ticket) => {
            // Only by the one live grant that there is, as wide as it is.
            assert_eq!((ticket.grant, Some(ticket.permission)), (GrantId(1), permission), "{}", say());
            assert!(Some(ticket.permission) <= maximum, "{}", say());
            assert!(!ended && !facts.suspended && row.is_left_by(facts.groups), "{}", say());
            assert!(!facts.legacy || ticket.permission <= Permission::Session, "{}", say());
            let most = match tokens {
                TokenRuns::Allow => Permission::Blanket,
                TokenRuns::Refuse => Permission::SingleAction,
                TokenRuns::SessionOnly => Permission::Session,
            };
            assert!(!by_token || (tokens != TokenRuns::Refuse && ticket.permission <= most), "{}", say());
            assert_eq!(ticket.single, ticket.permission == Permission::SingleAction, "{}", say());
            if trust == Trust::Untrusted {
                let most = UNTRUSTED.iter().find(|(name, _)| *name == row.action.as_str());
                assert!(most.is_some_and(|(_, most)| ticket.permission <= *most), "{}", say());
            }
            if ticket.permission == Permission::Session {
                assert_eq!(facts.run.map(|run| run.id), Some(RunId(7)), "{}", say());
            }
        }
        Decision::Ask(_) => {
            // The user is asked only for what he may give.
            assert!(maximum.is_some() && row.is_left_by(facts.groups), "{}", say());
            assert!(!ended && !facts.suspended, "{}", say());
            assert!(!by_token || tokens != TokenRuns::Refuse, "{}", say());
        }
        Decision::Refuse(reason, _) => {
            let expected = if ended {
                Reason::RunEnded
            } else if facts.suspended {
                Reason::AppSuspended
            } else if by_token && tokens == TokenRuns::Refuse {
                Reason::TokenRunRefused
            } else if maximum.is_none() {
                no
            } else {
                Reason::RestrictedByCertificate
            };
            assert_eq!(reason, expected, "{}", say());
        }
    }
}
