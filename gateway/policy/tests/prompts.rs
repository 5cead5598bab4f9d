//! The questions, against a model that keeps everything in lists and looks through all of it: random histories of asking,
//! leaving, answering and ending, never a difference. And the rules one by one.

#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::sync::LazyLock;
use std::time::Duration;

use mexe_model::{AppId, DomainName, Endpoint, Host, Instant, Permission, PromptId, Reason, RunId, WallTime};
use mexe_policy::prompts::{
    Asked, Asker, Bounds, Fate, Holds, Left, Prompts, Refusal, Scope, State, Subject, Wish,
};
use mexe_policy::{ActionId, SecurityTable};
use proptest::prelude::*;

const DAY: u64 = 86_400;

static ACTION: LazyLock<ActionId> = LazyLock::new(|| {
    let table = SecurityTable::shipped().expect("the shipped table loads");
    table.action("network.connect").expect("it has the row")
});

fn wish(app: &str, host: &str, port: u16) -> Wish {
    let host = Host::Name(DomainName::from_ascii(host).expect("a name"));
    Wish {
        app: app.parse().expect("an app id"),
        action: *ACTION,
        subject: Subject::Endpoint(Endpoint { host, port }),
    }
}

fn asker(run: u64, secs: u64) -> Asker {
    let now = Instant::from_nanos(secs * 1_000_000_000);
    Asker { run: RunId(run), now, at: WallTime::from_secs(secs), until: now.after(Duration::from_secs(30)) }
}

fn no(permission: Permission) -> Refusal {
    Refusal { permission, until: None, scope: Scope::Target }
}

fn prompts() -> Prompts {
    Prompts::new(Bounds { open: 8, of_one_app: 2 })
}

#[test]
fn the_same_wish_is_one_question_until_it_is_answered() {
    let mut prompts = prompts();
    let wish = wish("a", "x.example", 443);
    let Asked::Anew(id) = prompts.ask(&wish, asker(1, 0)).unwrap() else { panic!("it is new") };
    assert_eq!(prompts.ask(&wish, asker(2, 1)), Ok(Asked::Joined(id)));
    let listed = prompts.list();
    assert_eq!((listed.len(), listed[0].held, listed[0].state), (1, 2, State::Open));
    assert_eq!(prompts.leave(id, Left::Unanswered), Fate::StaysOpen);
    assert_eq!(prompts.answering(id).unwrap().wish, wish);
    assert_eq!(prompts.answering(id).unwrap_err(), Reason::NotFound, "one answer at a time");
    prompts.not_answered(id);
    prompts.answering(id).unwrap();
    prompts.answered(id);
    assert_eq!(prompts.answering(id).unwrap_err(), Reason::NotFound);
    // Whoever waited leaves a question that is gone.
    assert_eq!(prompts.leave(id, Left::Settled), Fate::Closed);
    let again = prompts.ask(&wish, asker(1, 2)).unwrap();
    assert!(matches!(again, Asked::Anew(new) if new > id), "ids are not used again");
}

#[test]
fn a_missed_question_stays_and_opens_again_under_its_id() {
    let mut prompts = prompts();
    let wish = wish("a", "x.example", 443);
    let id = prompts.ask(&wish, asker(1, 0)).unwrap().id();
    assert_eq!(prompts.leave(id, Left::Unanswered), Fate::Missed);
    assert!(!prompts.is_open(id) && prompts.open() == 0);
    assert_eq!(prompts.dismiss(PromptId(99)), Err(Reason::NotFound));
    assert_eq!(prompts.ask(&wish, asker(1, 40)), Ok(Asked::Anew(id)));
    assert_eq!(prompts.dismiss(id), Err(Reason::NotFound), "somebody waits");
    prompts.leave(id, Left::Unanswered);
    prompts.dismiss(id).unwrap();
    assert!(prompts.list().is_empty());
}

#[test]
fn tones_are_not_asked_for_the_next_time() {
    let mut prompts = prompts();
    let wish = Wish { subject: Subject::Tones("4711#".into()), ..wish("a", "x.example", 1) };
    let id = prompts.ask(&wish, asker(1, 0)).unwrap().id();
    assert_eq!(prompts.leave(id, Left::Unanswered), Fate::Closed);
    assert!(prompts.list().is_empty());
}

#[test]
fn a_no_for_runs_that_are_over_holds_for_nobody_and_counts() {
    let mut prompts = prompts();
    for secs in 0..3 {
        let id = prompts.ask(&wish("a", "x.example", 443), asker(9, secs)).unwrap().id();
        let noted = prompts.denied(id, no(Permission::Session), &[], WallTime::from_secs(secs)).unwrap();
        assert_eq!(noted.by_patience, secs == 2);
        assert_eq!(prompts.denials(asker(9, secs).now).len(), usize::from(secs == 2));
    }
}

#[test]
fn missed_questions_of_one_app_are_bounded_and_the_oldest_goes() {
    let mut prompts = prompts();
    for port in 1..=5 {
        let id = prompts.ask(&wish("a", "x.example", port), asker(1, 0)).unwrap().id();
        prompts.leave(id, Left::Unanswered);
    }
    let kept: Vec<_> = prompts.list().iter().map(|prompt| prompt.wish.subject.to_string()).collect();
    assert_eq!(kept, ["x.example:4", "x.example:5"]);
}

#[test]
fn a_denial_reaches_as_far_and_holds_as_long_as_the_user_said() {
    for (scope, covered) in
        [(Scope::Target, [true, false, false]), (Scope::Host, [true, true, false]), (Scope::Any, [true; 3])]
    {
        let mut prompts = prompts();
        let id = prompts.ask(&wish("a", "x.example", 443), asker(1, 0)).unwrap().id();
        let until = Some(asker(1, 100).now);
        prompts
            .denied(
                id,
                Refusal { permission: Permission::Blanket, until, scope },
                &[],
                WallTime::from_secs(0),
            )
            .unwrap();
        for (other, covered) in
            [("x.example", 443), ("x.example", 80), ("y.example", 443)].into_iter().zip(covered)
        {
            let asked =
                |prompts: &mut Prompts, secs| prompts.ask(&wish("a", other.0, other.1), asker(7, secs));
            assert_eq!(asked(&mut prompts, 99) == Err(Reason::PromptDenied), covered, "{scope:?} {other:?}");
            asked(&mut prompts, 100).expect("its time is over");
            prompts.app_removed(&"b".parse().unwrap());
            let id = prompts.list().iter().find(|p| p.wish == wish("a", other.0, other.1)).unwrap().id;
            prompts.leave(id, Left::Settled);
            prompts.leave(id, Left::Settled);
        }
        // Never another app's.
        prompts.ask(&wish("b", "x.example", 443), asker(9, 1)).unwrap();
    }
}

#[test]
fn the_third_no_within_a_day_is_for_every_run_and_not_one_later() {
    let deny = |prompts: &mut Prompts, run: u64, secs: u64| {
        let id = prompts.ask(&wish("a", "x.example", 443), asker(run, secs)).unwrap().id();
        prompts.denied(id, no(Permission::Session), &[], WallTime::from_secs(secs)).unwrap()
    };
    let mut patient = prompts();
    deny(&mut patient, 1, 0);
    deny(&mut patient, 2, 10);
    assert!(!deny(&mut patient, 3, DAY).by_patience, "the first is a day old");
    let fourth = deny(&mut patient, 4, DAY + 5);
    assert!(fourth.by_patience && fourth.denial.holds == Holds::Always);
    assert_eq!(patient.ask(&wish("a", "x.example", 443), asker(5, 9 * DAY)), Err(Reason::PromptDenied));
    patient.rearm(fourth.denial.id).unwrap();
    assert!(!deny(&mut patient, 6, DAY + 6).by_patience, "he is asked as if he had never said no");
}

#[test]
fn an_ended_run_takes_its_denials_along_and_a_removed_app_everything() {
    let mut prompts = prompts();
    let wish = wish("a", "x.example", 443);
    let id = prompts.ask(&wish, asker(1, 0)).unwrap().id();
    prompts.denied(id, no(Permission::SingleAction), &[RunId(1), RunId(2)], WallTime::from_secs(0)).unwrap();
    assert_eq!(prompts.ask(&wish, asker(2, 1)), Err(Reason::PromptDenied), "a live run of the app");
    prompts.run_ended(RunId(1));
    prompts.run_ended(RunId(2));
    assert!(prompts.denials(asker(1, 1).now).is_empty());
    prompts.ask(&wish, asker(3, 2)).unwrap();
    assert!(!prompts.app_removed(&wish.app), "none of it was to be kept");
    assert!(prompts.list().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Ask { app: u8, port: u8, run: u8 },
    Leave { nth: u8, settled: bool },
    Allow { nth: u8 },
    Deny { nth: u8, permission: Permission, scope: Scope },
    RunEnded { run: u8 },
    Pass { hours: u8 },
    Rearm { nth: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let permission = prop::sample::select(Permission::ALL.to_vec());
    let scope = prop::sample::select(vec![Scope::Target, Scope::Host, Scope::Any]);
    prop_oneof![
        6 => (0..3_u8, 0..4_u8, 0..4_u8).prop_map(|(app, port, run)| Step::Ask { app, port, run }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(nth, settled)| Step::Leave { nth, settled }),
        1 => any::<u8>().prop_map(|nth| Step::Allow { nth }),
        3 => (any::<u8>(), permission, scope).prop_map(|(nth, permission, scope)| Step::Deny { nth, permission, scope }),
        1 => (0..4_u8).prop_map(|run| Step::RunEnded { run }),
        2 => (1..20_u8).prop_map(|hours| Step::Pass { hours }),
        1 => any::<u8>().prop_map(|nth| Step::Rearm { nth }),
    ]
}

/// The model: every question and denial ever, in lists.
#[derive(Default)]
struct Model {
    /// Id, wish, how many wait; missed when none does.
    questions: Vec<(PromptId, Wish, u32, Vec<RunId>)>,
    denials: Vec<(Wish, Scope, Option<Vec<RunId>>)>,
    nos: Vec<(Wish, u64)>,
}

impl Model {
    fn is_denied(&self, wish: &Wish, run: RunId) -> bool {
        let host = |wish: &Wish| wish.subject.to_string().split(':').next().unwrap_or_default().to_owned();
        self.denials.iter().any(|(denied, scope, runs)| {
            let reaches = match scope {
                Scope::Target => denied == wish,
                Scope::Host => host(denied) == host(wish),
                Scope::Any => true,
            };
            denied.app == wish.app && reaches && runs.as_ref().is_none_or(|runs| runs.contains(&run))
        })
    }
}

proptest! {
    #[test]
    fn no_history_tells_the_queue_from_the_model(steps in prop::collection::vec(step(), 1..120)) {
        let bounds = Bounds { open: 4, of_one_app: 2 };
        let mut prompts = Prompts::new(bounds);
        let mut model = Model::default();
        let mut hours = 0_u64;
        for step in steps {
            let secs = hours * 3600;
            match step {
                Step::Ask { app, port, run } => {
                    let wish = wish(&format!("app{app}"), if port % 2 == 0 { "x.example" } else { "y.example" }, 1 + u16::from(port));
                    let asked = prompts.ask(&wish, asker(run.into(), secs));
                    let run = RunId(run.into());
                    let open = |of: &dyn Fn(&AppId) -> bool| {
                        model.questions.iter().filter(|(_, w, held, _)| *held > 0 && of(&w.app)).count()
                    };
                    let (all, own) = (open(&|_| true), open(&|app| *app == wish.app));
                    let known = model.questions.iter().position(|(_, w, ..)| *w == wish);
                    if model.is_denied(&wish, run) {
                        prop_assert_eq!(asked, Err(Reason::PromptDenied));
                    } else if let Some(at) = known.filter(|at| model.questions[*at].2 > 0) {
                        prop_assert_eq!(asked, Ok(Asked::Joined(model.questions[at].0)));
                        model.questions[at].2 += 1;
                        model.questions[at].3.push(run);
                    } else if all >= bounds.open || own >= bounds.of_one_app {
                        prop_assert_eq!(asked, Err(Reason::PromptQueueFull));
                    } else if let Some(at) = known {
                        prop_assert_eq!(asked, Ok(Asked::Anew(model.questions[at].0)));
                        model.questions[at].2 = 1;
                        model.questions[at].3.push(run);
                    } else {
                        let id = asked.unwrap().id();
                        model.questions.push((id, wish, 1, vec![run]));
                    }
                }
                Step::Leave { nth, settled } => {
                    let waiting: Vec<usize> =
                        (0..model.questions.len()).filter(|at| model.questions[*at].2 > 0).collect();
                    let Some(at) = waiting.get(usize::from(nth) % waiting.len().max(1)).copied() else { continue };
                    let how = if settled { Left::Settled } else { Left::Unanswered };
                    let fate = prompts.leave(model.questions[at].0, how);
                    model.questions[at].2 -= 1;
                    if model.questions[at].2 > 0 {
                        prop_assert_eq!(fate, Fate::StaysOpen);
                    } else if settled {
                        prop_assert_eq!(fate, Fate::Closed);
                        model.questions.remove(at);
                    } else {
                        prop_assert_eq!(fate, Fate::Missed);
                        let app = model.questions[at].1.app.clone();
                        let missed: Vec<usize> = (0..model.questions.len())
                            .filter(|at| model.questions[*at].2 == 0 && model.questions[*at].1.app == app)
                            .collect();
                        if missed.len() > bounds.of_one_app {
                            let oldest = missed.into_iter().min_by_key(|at| model.questions[*at].0).unwrap();
                            model.questions.remove(oldest);
                        }
                    }
                }
                Step::Allow { nth } => {
                    if model.questions.is_empty() { continue }
                    let (id, ..) = model.questions.remove(usize::from(nth) % model.questions.len());
                    prompts.answering(id).unwrap();
                    prompts.answered(id);
                }
                Step::Deny { nth, permission, scope } => {
                    if model.questions.is_empty() { continue }
                    let (id, wish, ..) = model.questions.remove(usize::from(nth) % model.questions.len());
                    prompts.answering(id).unwrap();
                    let refusal = Refusal { permission, until: None, scope };
                    let noted = prompts.denied(id, refusal, &[RunId(3)], WallTime::from_secs(secs)).unwrap();
                    let runs = vec![RunId(3)];
                    model.nos.retain(|(_, at)| secs - at < DAY);
                    model.nos.push((wish.clone(), secs));
                    let third = model.nos.iter().filter(|(no, _)| *no == wish).count() >= 3;
                    let for_ever = permission == Permission::Blanket || third;
                    prop_assert_eq!(noted.denial.holds == Holds::Always, for_ever);
                    model.denials.push((wish, scope, (!for_ever).then_some(runs)));
                }
                Step::RunEnded { run } => {
                    prompts.run_ended(RunId(run.into()));
                    for (.., runs) in &mut model.denials {
                        if let Some(runs) = runs {
                            runs.retain(|one| *one != RunId(run.into()));
                        }
                    }
                    model.denials.retain(|(.., runs)| runs.as_ref().is_none_or(|runs| !runs.is_empty()));
                }
                Step::Pass { hours: passed } => hours += u64::from(passed),
                Step::Rearm { nth } => {
                    let listed = prompts.denials(asker(0, secs).now);
                    if listed.is_empty() { continue }
                    let one = &listed[usize::from(nth) % listed.len()];
                    prompts.rearm(one.id).unwrap();
                    model.nos.retain(|(no, _)| *no != one.wish);
                    // The model keeps what a later denial made redundant: of the same wish and reach, what it covers goes.
                    let within = |runs: &Option<Vec<RunId>>| match (&one.holds, runs) {
                        (Holds::Always, _) => true,
                        (Holds::Runs(outer), Some(inner)) => inner.iter().all(|run| outer.contains(run)),
                        _ => false,
                    };
                    model.denials.retain(|(wish, scope, runs)| !(*wish == one.wish && *scope == one.scope && within(runs)));
                }
            }
            let mut listed: Vec<_> = prompts.list().into_iter().map(|p| (p.id, p.wish, p.held)).collect();
            listed.sort_by_key(|(id, ..)| *id);
            let mut expected: Vec<_> =
                model.questions.iter().map(|(id, wish, held, _)| (*id, wish.clone(), *held)).collect();
            expected.sort_by_key(|(id, ..)| *id);
            prop_assert_eq!(listed, expected);
            prop_assert!(prompts.open() <= bounds.open);
        }
    }
}
