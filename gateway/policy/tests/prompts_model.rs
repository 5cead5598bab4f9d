//! The questions, against a model that keeps everything in lists and looks through all of it: random histories of asking,
//! leaving, answering and ending, never a difference.

#[path = "support/asking.rs"]
mod asking;

use std::time::Duration;

use asking::{DAY, asker, wish};
use mexe_model::{AppId, Permission, PromptId, Reason, RunId, WallTime};
use mexe_policy::prompts::{
    Asked, Bounds, Effect, Fate, Holds, Left, NotAsked, Prompts, Refusal, Scope, State, Wish,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Ask {
        app: u8,
        nth: u8,
        run: u8,
    },
    Leave {
        nth: u8,
        settled: bool,
    },
    /// Whoever waits may be off before the question is called answered.
    Allow {
        nth: u8,
        off_first: bool,
    },
    Deny {
        nth: u8,
        permission: Permission,
        scope: Scope,
    },
    RunEnded {
        run: u8,
    },
    /// So many hours, or seconds.
    Pass {
        hours: u8,
        secs: u8,
    },
    Dismiss {
        nth: u8,
    },
    Rearm {
        nth: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let permission = prop::sample::select(Permission::ALL.to_vec());
    let scope = prop::sample::select(vec![Scope::Target, Scope::Host, Scope::Any]);
    prop_oneof![
        9 => (0..3_u8, 0..10_u8, 0..4_u8).prop_map(|(app, nth, run)| Step::Ask { app, nth, run }),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(nth, settled)| Step::Leave { nth, settled }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(nth, off_first)| Step::Allow { nth, off_first }),
        3 => (any::<u8>(), permission, scope).prop_map(|(nth, permission, scope)| Step::Deny { nth, permission, scope }),
        1 => (0..4_u8).prop_map(|run| Step::RunEnded { run }),
        1 => (1..20_u8).prop_map(|hours| Step::Pass { hours, secs: 0 }),
        4 => (1..25_u8).prop_map(|secs| Step::Pass { hours: 0, secs }),
        1 => any::<u8>().prop_map(|nth| Step::Dismiss { nth }),
        1 => any::<u8>().prop_map(|nth| Step::Rearm { nth }),
    ]
}

/// One of ten wishes: two hosts, two actions.
fn nth_wish(app: u8, nth: u8) -> Wish {
    let host = if nth.is_multiple_of(2) { "x.example" } else { "y.example" };
    let wish = wish(&format!("app{app}"), host, 1 + u16::from(nth));
    if nth < 7 { wish } else { Wish { action: asking::datagram(), ..wish } }
}

const BOUNDS: Bounds =
    Bounds { open: 4, of_one_app: 2, at_once: 3, one_more_each: Duration::from_secs(EACH) };
const EACH: u64 = 10;

struct Question {
    id: PromptId,
    wish: Wish,
    /// Missed when none waits.
    held: u32,
    unasked: u64,
}

/// The model: every question and denial ever, in lists.
#[derive(Default)]
struct Model {
    questions: Vec<Question>,
    denials: Vec<(Wish, Scope, Option<Vec<RunId>>)>,
    nos: Vec<(Wish, u64)>,
    /// Until when nothing new is asked.
    silences: Vec<(Wish, u64)>,
    /// When each app was asked for, or what it was allowed: the bucket is filled anew from these each time.
    taken: Vec<(AppId, Turn)>,
    set_aside: Vec<(AppId, PromptId)>,
}

#[derive(Clone, Copy)]
enum Turn {
    Took { at: u64 },
    GotBack,
}

fn alike(one: &Wish, other: &Wish) -> bool {
    (&one.app, one.action) == (&other.app, other.action)
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
            alike(denied, wish) && reaches && runs.as_ref().is_none_or(|runs| runs.contains(&run))
        })
    }

    fn known(&mut self, wish: &Wish) -> Option<&mut Question> {
        self.questions.iter_mut().find(|question| question.wish == *wish)
    }

    /// Whether the app has a question free: seconds run into its bucket, and each question takes [`EACH`] of them.
    fn takes(&mut self, app: &AppId, now: u64) -> bool {
        let full = u64::from(BOUNDS.at_once) * EACH;
        let (mut level, mut last) = (full, 0);
        for (_, turn) in self.taken.iter().filter(|(of, _)| of == app) {
            match turn {
                Turn::Took { at } => {
                    level = (level + (at - last)).min(full) - EACH;
                    last = *at;
                }
                Turn::GotBack => level += EACH,
            }
        }
        let has = (level + (now - last)).min(full) >= EACH;
        if has {
            self.taken.push((app.clone(), Turn::Took { at: now }));
        }
        has
    }

    /// A wish of which nobody is asked; tells whether the queue kept as missed what it should have.
    fn not_asked(&mut self, wish: &Wish, reason: Reason, now: u64, missed: Option<PromptId>) -> bool {
        if self.known(wish).is_some() {
            return missed.is_none();
        }
        let by_itself = reason == Reason::PromptDenied && self.takes(&wish.app, now);
        let aside = self.set_aside.iter().find(|(of, _)| *of == wish.app).map(|(_, id)| *id);
        let beside = self.questions.iter_mut().find(|question| Some(question.id) == aside);
        if let Some(beside) = beside.filter(|_| !by_itself) {
            beside.unasked += 1;
            return missed.is_none();
        }
        let Some(id) = missed else { return false };
        if !by_itself {
            self.set_aside.retain(|(of, _)| *of != wish.app);
            self.set_aside.push((wish.app.clone(), id));
        }
        self.questions.push(Question { id, wish: wish.clone(), held: 0, unasked: 0 });
        self.forget_oldest_missed(&wish.app);
        true
    }

    fn forget_oldest_missed(&mut self, app: &AppId) {
        let missed = |question: &Question| question.held == 0 && question.wish.app == *app;
        if self.questions.iter().filter(|question| missed(question)).count() > BOUNDS.of_one_app {
            let oldest = self.questions.iter().filter(|question| missed(question)).map(|q| q.id).min();
            self.questions.retain(|question| Some(question.id) != oldest);
        }
    }
}

proptest! {
    #[test]
    fn no_history_tells_the_queue_from_the_model(steps in prop::collection::vec(step(), 1..160)) {
        let mut prompts = Prompts::new(BOUNDS);
        let mut model = Model::default();
        let mut secs = 0_u64;
        for step in steps {
            let count = model.questions.len();
            match step {
                Step::Ask { app, nth, run } => {
                    let wish = nth_wish(app, nth);
                    let asked = prompts.ask(&wish, asker(run.into(), secs));
                    let run = RunId(run.into());
                    let open = |of: &dyn Fn(&AppId) -> bool| {
                        model.questions.iter().filter(|q| q.held > 0 && of(&q.wish.app)).count()
                    };
                    let full = open(&|_| true) >= BOUNDS.open || open(&|app| *app == wish.app) >= BOUNDS.of_one_app;
                    let is_silent = model.silences.iter().any(|(of, end)| alike(of, &wish) && secs < *end);
                    let no = asked.err();
                    if model.is_denied(&wish, run) {
                        prop_assert_eq!(asked, Err(NotAsked { reason: Reason::PromptDenied, missed: None }));
                    } else if let Some(question) = model.known(&wish).filter(|question| question.held > 0) {
                        prop_assert_eq!(asked, Ok(Asked::Joined(question.id)));
                        question.held += 1;
                    } else if is_silent {
                        let no = no.filter(|no| no.reason == Reason::PromptDenied);
                        let as_it_should = |no: NotAsked| model.not_asked(&wish, no.reason, secs, no.missed);
                        prop_assert!(no.is_some_and(as_it_should), "{asked:?}");
                    } else if full || !model.takes(&wish.app, secs) {
                        let no = no.filter(|no| no.reason == Reason::PromptQueueFull);
                        let as_it_should = |no: NotAsked| model.not_asked(&wish, no.reason, secs, no.missed);
                        prop_assert!(no.is_some_and(as_it_should), "{asked:?}");
                    } else if let Some(question) = model.known(&wish) {
                        prop_assert_eq!(asked, Ok(Asked::Anew(question.id)));
                        question.held = 1;
                    } else {
                        prop_assert!(asked.is_ok(), "{asked:?}");
                        let id = asked.unwrap().id();
                        model.questions.push(Question { id, wish, held: 1, unasked: 0 });
                    }
                }
                Step::Leave { nth, settled } => {
                    let waiting: Vec<usize> = (0..count).filter(|at| model.questions[*at].held > 0).collect();
                    let Some(at) = waiting.get(usize::from(nth) % waiting.len().max(1)).copied() else { continue };
                    let how = if settled { Left::Settled } else { Left::Unanswered };
                    let fate = prompts.leave(model.questions[at].id, how);
                    model.questions[at].held -= 1;
                    if model.questions[at].held > 0 {
                        prop_assert_eq!(fate, Fate::StaysOpen);
                    } else if settled {
                        prop_assert_eq!(fate, Fate::Closed);
                        model.questions.remove(at);
                    } else {
                        prop_assert_eq!(fate, Fate::Missed);
                        let app = model.questions[at].wish.app.clone();
                        model.forget_oldest_missed(&app);
                    }
                }
                Step::Allow { nth, off_first } => {
                    if count == 0 { continue }
                    let question = model.questions.remove(usize::from(nth) % count);
                    prompts.answering(question.id).unwrap();
                    for _ in 0..if off_first { question.held } else { 0 } {
                        prompts.leave(question.id, Left::Settled);
                    }
                    prompts.answered(question.id);
                    model.taken.push((question.wish.app, Turn::GotBack));
                }
                Step::Deny { nth, permission, scope } => {
                    if count == 0 { continue }
                    let Question { id, wish, .. } = model.questions.remove(usize::from(nth) % count);
                    prompts.answering(id).unwrap();
                    let refusal = Refusal { permission, until: None, scope };
                    let runs = vec![RunId(3)];
                    let noted = prompts.denied(id, refusal, &runs, asker(0, secs).now, WallTime::from_secs(secs)).unwrap();
                    prompts.answered(id);
                    model.nos.retain(|(_, at)| secs - at < DAY);
                    model.nos.push((wish.clone(), secs));
                    let third = model.nos.iter().filter(|(no, _)| *no == wish).count() >= 3;
                    let for_ever = permission == Permission::Blanket || third;
                    prop_assert_eq!(noted.denial.holds == Holds::Always, for_ever);
                    let too_many = model.nos.iter().filter(|(no, _)| alike(no, &wish)).count() >= 3;
                    let silent = model.silences.iter().any(|(of, end)| alike(of, &wish) && secs < *end);
                    prop_assert_eq!(noted.silence.is_some(), too_many && !silent);
                    if too_many && !silent {
                        model.silences.push((wish.clone(), secs + DAY));
                    }
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
                Step::Pass { hours, secs: passed } => secs += u64::from(hours) * 3600 + u64::from(passed),
                Step::Dismiss { nth } => {
                    if count == 0 { continue }
                    let at = usize::from(nth) % count;
                    let missed = model.questions[at].held == 0;
                    prop_assert_eq!(prompts.dismiss(model.questions[at].id).is_ok(), missed);
                    if missed {
                        model.questions.remove(at);
                    }
                }
                Step::Rearm { nth } => {
                    let listed = prompts.denials(asker(0, secs).now);
                    if listed.is_empty() { continue }
                    let one = &listed[usize::from(nth) % listed.len()];
                    prompts.rearm(one.id).unwrap();
                    let whole = one.effect == Effect::NotAsked;
                    model.nos.retain(|(no, _)| if whole { !alike(no, &one.wish) } else { *no != one.wish });
                    if model.nos.iter().filter(|(no, _)| alike(no, &one.wish)).count() < 3 {
                        model.silences.retain(|(of, _)| !alike(of, &one.wish));
                    }
                    if whole { continue }
                    // The model keeps what a later denial made redundant: of the same wish and reach, what it covers goes.
                    let within = |runs: &Option<Vec<RunId>>| match (&one.holds, runs) {
                        (Holds::Always, _) => true,
                        (Holds::Runs(outer), Some(inner)) => inner.iter().all(|run| outer.contains(run)),
                        _ => false,
                    };
                    model.denials.retain(|(wish, scope, runs)| !(*wish == one.wish && *scope == one.scope && within(runs)));
                }
            }
            let mut listed: Vec<_> =
                prompts.list().into_iter().map(|p| (p.id, p.wish, p.held, p.state == State::Open, p.unasked)).collect();
            listed.sort_by_key(|(id, ..)| *id);
            let mut expected: Vec<_> = model
                .questions
                .iter()
                .map(|q| (q.id, q.wish.clone(), q.held, q.held > 0, q.unasked))
                .collect();
            expected.sort_by_key(|(id, ..)| *id);
            prop_assert_eq!(listed, expected);
            prop_assert!(prompts.open() <= BOUNDS.open);
        }
    }
}
