//! Tests of counting refusals together.

use mexe_model::Trust;
use proptest::prelude::*;

use super::*;
use crate::record::Outcome;

fn refusal(app: &str, target: &str, reason: Reason) -> Record {
    Record {
        domain: Some(Trust::Untrusted),
        action: Some("network.connect".into()),
        decision: Some(Outcome::Deny),
        reason: Some(reason),
        app: app.parse().ok(),
        target: Some(target.to_owned()),
        ..Record::decision(WallTime::from_secs(1))
    }
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// Plays the writer: what is written, in order.
struct Writer {
    coalescer: Coalescer,
    written: Vec<Record>,
}

impl Writer {
    fn new(limits: Limits) -> Self {
        Self { coalescer: Coalescer::new(limits), written: Vec::new() }
    }

    fn offer(&mut self, now: Instant, record: Record) -> Offer {
        self.tick(now);
        let offer = self.coalescer.offer(now, &record);
        if offer == Offer::Write {
            let seq = self.written.len() as u64 + 1;
            self.coalescer.written(now, &record, seq);
            self.written.push(record);
        }
        offer
    }

    fn tick(&mut self, now: Instant) {
        self.written.extend(self.coalescer.due(now));
    }
}

#[test]
fn what_came_in_by_another_door_is_another_refusal() {
    let mut writer = Writer::new(Limits::default());
    let by = |door: &'static str| Record {
        ingress: Some(door.into()),
        ..refusal("game", "a:1", Reason::PermissionMissing)
    };
    assert_eq!(writer.offer(at(0), by("socks5")), Offer::Write);
    assert_eq!(writer.offer(at(1), by("http-connect")), Offer::Write);
    assert_eq!(writer.offer(at(2), by("socks5")), Offer::Folded(1));
    assert_eq!(writer.offer(at(3), by("http-connect")), Offer::Folded(2));
}

#[test]
fn the_first_is_written_and_the_same_again_is_counted_until_the_window_closes() {
    let mut writer = Writer::new(Limits::default());
    let record = || refusal("game", "a:1", Reason::PermissionMissing);
    assert_eq!(writer.offer(at(0), record()), Offer::Write);
    assert_eq!(writer.offer(at(1), record()), Offer::Folded(1));
    assert_eq!(writer.offer(at(999), record()), Offer::Folded(1));
    assert_eq!(writer.coalescer.next_due(), Some(at(1000)));
    writer.tick(at(1000));
    assert_eq!(writer.written.len(), 2);
    assert_eq!((writer.written[1].count, writer.written[1].target.as_deref()), (2, Some("a:1")));
    assert_eq!(writer.offer(at(1000), record()), Offer::Write);
}

#[test]
fn a_refusal_that_stays_alone_leaves_no_count() {
    let mut writer = Writer::new(Limits::default());
    writer.offer(at(0), refusal("game", "a:1", Reason::PermissionMissing));
    writer.tick(at(100_000));
    assert_eq!(writer.written.len(), 1);
    assert_eq!(writer.coalescer.next_due(), None);
}

#[test]
fn refusals_that_differ_in_anything_shown_are_written_each() {
    let mut writer = Writer::new(Limits::default());
    let base = refusal("game", "a:1", Reason::PermissionMissing);
    let others = [
        base.clone(),
        refusal("other", "a:1", Reason::PermissionMissing),
        refusal("game", "b:1", Reason::PermissionMissing),
        refusal("game", "a:1", Reason::UntrustedApp),
        Record { action: Some("network.call".into()), ..base.clone() },
        Record { target: None, ..base.clone() },
        Record { app: None, ..base },
    ];
    for record in others {
        assert_eq!(writer.offer(at(0), record), Offer::Write);
    }
}

#[test]
fn what_is_allowed_or_ends_or_changes_is_never_counted_together() {
    let mut writer = Writer::new(Limits { quota: 1, ..Limits::default() });
    let base = refusal("game", "a:1", Reason::PermissionMissing);
    for record in [
        Record { decision: Some(Outcome::Allow), ..base.clone() },
        Record { kind: crate::Kind::FlowEnd, ..base.clone() },
        Record { kind: crate::Kind::Change, ..base },
    ] {
        for _ in 0..3 {
            assert_eq!(writer.offer(at(0), record.clone()), Offer::Write);
        }
    }
    assert_eq!(writer.written.len(), 9);
}

#[test]
fn questions_are_counted_like_refusals_and_never_with_them() {
    let mut writer = Writer::new(Limits { quota: 2, ..Limits::default() });
    let ask =
        Record { decision: Some(Outcome::Ask), reason: None, ..refusal("game", "a:1", Reason::PromptDenied) };
    let deny = Record { decision: Some(Outcome::Deny), ..ask.clone() };
    assert_eq!(writer.offer(at(0), ask.clone()), Offer::Write);
    assert_eq!(writer.offer(at(1), ask.clone()), Offer::Folded(1));
    assert_eq!(writer.offer(at(2), deny.clone()), Offer::Write);
    // Past the quota: other targets do not help, and each kind has a count of its own.
    for target in ["a:2", "a:3"] {
        for record in [&ask, &deny] {
            let record = Record { target: Some(target.to_owned()), ..record.clone() };
            assert_eq!(writer.offer(at(3), record), Offer::Folded(2));
        }
    }
    writer.tick(at(60_001));
    let counts: Vec<_> = writer.written.iter().map(|record| (record.decision, record.count)).collect();
    let (ask, deny) = (Some(Outcome::Ask), Some(Outcome::Deny));
    assert_eq!(counts, [(ask, 1), (deny, 1), (ask, 1), (ask, 2), (deny, 2)]);
}

#[test]
fn past_its_quota_an_app_is_counted_by_reason_until_the_minute_is_over() {
    let mut writer = Writer::new(Limits { quota: 2, ..Limits::default() });
    for n in 0..10 {
        let reason = if n % 2 == 0 { Reason::PermissionMissing } else { Reason::UntrustedApp };
        writer.offer(at(n), refusal("game", &format!("{n}:1"), reason));
    }
    assert_eq!(writer.written.len(), 2);
    assert_eq!(writer.offer(at(11), refusal("other", "x:1", Reason::PermissionMissing)), Offer::Write);
    writer.tick(at(59_999));
    assert_eq!(writer.written.len(), 3);
    writer.tick(at(60_000));
    let counts: Vec<_> =
        writer.written[3..].iter().map(|r| (r.reason, r.count, r.target.is_none())).collect();
    assert_eq!(counts, [(Some(Reason::PermissionMissing), 4, true), (Some(Reason::UntrustedApp), 4, true)]);
    assert_eq!(writer.offer(at(60_001), refusal("game", "y:1", Reason::PermissionMissing)), Offer::Write);
}

#[test]
fn a_refusal_whose_transaction_failed_is_written_when_it_comes_again() {
    let mut writer = Writer::new(Limits::default());
    let record = || refusal("game", "a:1", Reason::PermissionMissing);
    assert_eq!(writer.offer(at(0), record()), Offer::Write);
    writer.coalescer.undo_after(0);
    writer.written.clear();
    assert_eq!(writer.offer(at(1), record()), Offer::Write);
    assert_eq!(writer.offer(at(2), record()), Offer::Folded(1));
    writer.tick(at(1000));
    assert_eq!(writer.written.len(), 1, "the undone window's time is not the new one's");
    writer.tick(at(1001));
    assert_eq!(writer.written.len(), 2);
}

proptest! {
    /// Whatever comes when, every refusal is in exactly one record or count, and no app writes more than its share.
    #[test]
    fn no_refusal_is_lost_or_counted_twice(
        events in proptest::collection::vec((0_u64..400, 0_u8..3, 0_u8..6, any::<bool>()), 1..300),
        quota in 1_u32..20,
    ) {
        let mut writer = Writer::new(Limits { quota, ..Limits::default() });
        let mut now = 0;
        let mut offered = std::collections::HashMap::<_, u32>::new();
        for (step, app, target, untrusted) in &events {
            now += step;
            let reason = if *untrusted { Reason::UntrustedApp } else { Reason::PermissionMissing };
            let record = refusal(&format!("app{app}"), &format!("{target}:1"), reason);
            *offered.entry((record.app.clone(), record.reason)).or_default() += 1;
            writer.offer(at(now), record);
        }
        let drained = writer.coalescer.drain();
        writer.written.extend(drained);
        prop_assert_eq!(writer.coalescer.next_due(), None);
        let mut written = std::collections::HashMap::<_, u32>::new();
        for record in &writer.written {
            *written.entry((record.app.clone(), record.reason)).or_default() += record.count;
        }
        prop_assert_eq!(written, offered);
        let minutes = u32::try_from(now / 60_000 + 1).unwrap();
        for app in 0..3 {
            let app = format!("app{app}").parse().ok();
            let firsts = writer.written.iter().filter(|r| r.app == app && r.detail.is_none()).count();
            prop_assert!(firsts <= (quota * minutes) as usize);
        }
    }
}
