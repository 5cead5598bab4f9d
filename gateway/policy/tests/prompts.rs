//! The questions, rule by rule. Random histories are in `prompts_model.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/asking.rs"]
mod asking;

use std::time::Duration;

use asking::{DAY, asker, no, wish};
use mexe_model::{Instant, Permission, PromptId, Reason, RunId, WallTime};
use mexe_policy::prompts::{
    Asked, Bounds, Effect, Fate, Holds, Left, NotAsked, Noted, Prompts, Refusal, Scope, State, Subject, Wish,
};

/// The user does not want to be asked, and the question is not kept.
const NEVER: Result<Asked, NotAsked> = Err(NotAsked { reason: Reason::PromptDenied, missed: None });

fn at(secs: u64) -> Instant {
    asker(0, secs).now
}

fn prompts() -> Prompts {
    Prompts::new(Bounds { open: 8, of_one_app: 2, at_once: 1000, one_more_each: Duration::from_secs(10) })
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
        let noted =
            prompts.denied(id, no(Permission::Session), &[], at(secs), WallTime::from_secs(secs)).unwrap();
        assert_eq!(noted.by_patience, secs == 2);
        // This target for every run, and silence about others.
        assert_eq!(prompts.denials(at(secs)).len(), if secs == 2 { 2 } else { 0 });
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
                at(0),
                WallTime::from_secs(0),
            )
            .unwrap();
        for (other, covered) in
            [("x.example", 443), ("x.example", 80), ("y.example", 443)].into_iter().zip(covered)
        {
            let asked =
                |prompts: &mut Prompts, secs| prompts.ask(&wish("a", other.0, other.1), asker(7, secs));
            assert_eq!(asked(&mut prompts, 99) == NEVER, covered, "{scope:?} {other:?}");
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
        prompts.denied(id, no(Permission::Session), &[], at(secs), WallTime::from_secs(secs)).unwrap()
    };
    let mut patient = prompts();
    deny(&mut patient, 1, 0);
    deny(&mut patient, 2, 10);
    assert!(!deny(&mut patient, 3, DAY).by_patience, "the first is a day old");
    let fourth = deny(&mut patient, 4, DAY + 5);
    assert!(fourth.by_patience && fourth.denial.holds == Holds::Always);
    assert_eq!(patient.ask(&wish("a", "x.example", 443), asker(5, 9 * DAY)), NEVER);
    patient.rearm(fourth.denial.id).unwrap();
    assert!(patient.denials(at(DAY + 5)).is_empty(), "what he took back silences nothing");
    assert!(!deny(&mut patient, 6, DAY + 6).by_patience, "he is asked as if he had never said no");
}

#[test]
fn an_ended_run_takes_its_denials_along_and_a_removed_app_everything() {
    let mut prompts = prompts();
    let wish = wish("a", "x.example", 443);
    let id = prompts.ask(&wish, asker(1, 0)).unwrap().id();
    prompts
        .denied(id, no(Permission::SingleAction), &[RunId(1), RunId(2)], at(0), WallTime::from_secs(0))
        .unwrap();
    assert_eq!(prompts.ask(&wish, asker(2, 1)), NEVER, "a live run of the app");
    prompts.run_ended(RunId(1));
    prompts.run_ended(RunId(2));
    assert!(prompts.denials(asker(1, 1).now).is_empty());
    prompts.ask(&wish, asker(3, 2)).unwrap();
    assert!(!prompts.app_removed(&wish.app), "none of it was to be kept");
    assert!(prompts.list().is_empty());
}

/// Asks for that port, and says no.
fn deny(prompts: &mut Prompts, port: u16, secs: u64) -> Noted {
    let id = prompts.ask(&wish("a", "x.example", port), asker(1, secs)).unwrap().id();
    prompts.denied(id, no(Permission::Session), &[RunId(1)], at(secs), WallTime::from_secs(secs)).unwrap()
}

#[test]
fn the_third_no_to_an_app_and_action_silences_them_for_a_day_and_takes_nothing_away() {
    let mut prompts = prompts();
    let waits = prompts.ask(&wish("a", "x.example", 9), asker(1, 0)).unwrap().id();
    assert!(deny(&mut prompts, 1, 0).silence.is_none() && deny(&mut prompts, 2, 1).silence.is_none());
    let third = deny(&mut prompts, 3, 2);
    let silence = third.silence.expect("three targets, three times no");
    assert!(!third.by_patience, "none of the three was denied three times");
    assert_eq!((silence.effect, silence.holds), (Effect::NotAsked, Holds::Until(at(2 + DAY))));
    // What waits already waits on, for whoever comes to it; what is new is refused in every run and can be answered later.
    assert_eq!(prompts.ask(&wish("a", "x.example", 9), asker(2, 3)), Ok(Asked::Joined(waits)));
    let refused = prompts.ask(&wish("a", "y.example", 4), asker(7, 3)).unwrap_err();
    let missed = refused.missed.expect("it is kept");
    assert_eq!((refused.reason, prompts.is_open(missed)), (Reason::PromptDenied, false));
    assert_eq!(prompts.ask(&wish("a", "y.example", 4), asker(7, 4)), NEVER, "it is kept once");
    assert_eq!(prompts.answering(missed).unwrap().wish, wish("a", "y.example", 4));
    prompts.answered(missed);
    // Another action, and another app, are asked as ever.
    let other = Wish { action: asking::datagram(), ..wish("a", "y.example", 4) };
    prompts.ask(&other, asker(7, 5)).unwrap();
    prompts.ask(&wish("b", "y.example", 4), asker(8, 5)).unwrap();
    prompts.leave(waits, Left::Settled);
    prompts.leave(waits, Left::Settled);
    assert!(prompts.ask(&wish("a", "z.example", 5), asker(7, 1 + DAY)).is_err());
    prompts.ask(&wish("a", "z.example", 5), asker(7, 2 + DAY)).expect("a day is over");
}

#[test]
fn the_silence_ends_when_the_user_wants_to_be_asked_again() {
    for of_the_silence in [true, false] {
        let mut prompts = prompts();
        let first = deny(&mut prompts, 1, 0);
        deny(&mut prompts, 2, 0);
        let silence = deny(&mut prompts, 3, 0).silence.unwrap();
        prompts.ask(&wish("a", "x.example", 4), asker(1, 1)).unwrap_err();
        prompts.rearm(if of_the_silence { silence.id } else { first.denial.id }).unwrap();
        // One of three noes taken back is no third no; the others hold as they did.
        assert_eq!(prompts.ask(&wish("a", "x.example", 2), asker(1, 2)), NEVER);
        prompts.ask(&wish("a", "x.example", 4), asker(1, 2)).unwrap();
        let again = deny(&mut prompts, 5, 3);
        assert_eq!(again.silence.is_none(), of_the_silence, "two are left, or none");
    }
}

#[test]
fn an_app_brings_so_many_questions_at_once_and_the_rest_is_a_number() {
    let bounds = Bounds { open: 64, of_one_app: 16, at_once: 3, one_more_each: Duration::from_secs(10) };
    let mut prompts = Prompts::new(bounds);
    let ask = |prompts: &mut Prompts, app: &str, port: u16, secs: u64| {
        prompts.ask(&wish(app, "x.example", port), asker(1, secs))
    };
    let drop_all = |prompts: &mut Prompts| {
        for prompt in prompts.list() {
            prompts.leave(prompt.id, Left::Unanswered);
        }
    };
    for port in 1..=3 {
        let id = ask(&mut prompts, "a", port, 0).unwrap().id();
        prompts.leave(id, Left::Unanswered);
    }
    let first = ask(&mut prompts, "a", 4, 0).unwrap_err();
    let kept = first.missed.expect("the first that is too many is kept");
    assert_eq!(first.reason, Reason::PromptQueueFull);
    for port in 5..1000 {
        let refused = ask(&mut prompts, "a", port, 9).unwrap_err();
        assert_eq!(refused, NotAsked { reason: Reason::PromptQueueFull, missed: None });
    }
    // Also one that was missed before counts when it is opened again.
    assert!(ask(&mut prompts, "a", 1, 9).is_err());
    let listed = prompts.list();
    assert_eq!(listed.len(), 4);
    let kept = listed.iter().find(|prompt| prompt.id == kept).unwrap();
    assert_eq!((kept.state, kept.unasked, kept.held), (State::Missed, 995, 0));
    ask(&mut prompts, "b", 1, 9).expect("another app is asked");
    // Ten seconds, one question; an hour, three.
    ask(&mut prompts, "a", 1, 10).unwrap();
    assert!(ask(&mut prompts, "a", 2, 19).is_err());
    drop_all(&mut prompts);
    for port in 1..=3 {
        ask(&mut prompts, "a", port, 3600).unwrap();
    }
    assert!(ask(&mut prompts, "a", 4, 3600).is_err());
    // One that the user said yes to was none too many.
    let id = prompts.list()[0].id;
    prompts.answering(id).unwrap();
    prompts.answered(id);
    ask(&mut prompts, "a", 5000, 3600).unwrap();
    assert!(ask(&mut prompts, "a", 5001, 3600).is_err());
}

#[test]
fn what_a_full_queue_turns_away_is_kept_once_and_tones_never() {
    let mut prompts = prompts();
    for port in 1..=2 {
        prompts.ask(&wish("a", "x.example", port), asker(1, 0)).unwrap();
    }
    let tones = Wish { subject: Subject::Tones("4711#".into()), ..wish("a", "x.example", 1) };
    assert_eq!(prompts.ask(&tones, asker(1, 0)).unwrap_err().missed, None);
    assert!(prompts.ask(&wish("a", "x.example", 3), asker(1, 0)).unwrap_err().missed.is_some());
    assert_eq!(prompts.ask(&wish("a", "x.example", 4), asker(1, 0)).unwrap_err().missed, None);
    assert_eq!(prompts.list().len(), 3);
}
