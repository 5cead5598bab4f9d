//! Writing records and reading them back: numbers, filters, JSON, refusals counted together, many callers at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{World, allowed, app, at, refused, wait};
use mexe_journal::{Erasure, Filter, Kind, Outcome, Record, query};
use mexe_model::{FlowId, Reason, RunId};
use serde_json::json;

#[test]
fn records_are_numbered_from_one_and_read_back_in_order() {
    let world = World::new();
    let (journal, loaded) = world.open();
    assert_eq!((loaded.head.seq, loaded.head.at), (0, None));
    wait(async {
        for n in 1..=5 {
            assert_eq!(journal.record(allowed(n)).await, Ok(n));
        }
    });
    // While the gate runs.
    let rows = query(world.path(), &Filter::default()).unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(rows[4].target.as_deref(), Some("host-5.example.org:443"));
    assert_eq!(journal.health().records_total, 5);
    assert!(journal.health().available);
    drop(journal);
    // And when none does.
    assert_eq!(query(&world.database(), &Filter::default()).unwrap(), rows);
    let (_, loaded) = world.open();
    assert_eq!((loaded.head.seq, loaded.head.at), (5, Some(at(5))));
}

#[test]
fn each_filter_narrows_and_pages_go_on_where_the_last_ended() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for n in 0..10 {
            journal.record(Record { flow: Some(FlowId(n)), ..allowed(n) }).await.unwrap();
        }
        journal.record(refused("game", "a:1", Reason::PermissionMissing)).await.unwrap();
        journal
            .record(Record { run: Some(RunId(7)), ..refused("game", "b:1", Reason::UntrustedApp) })
            .await
            .unwrap();
        journal
            .record(Record { app: Some(app("game")), ..Record::change(at(20), "run.start") })
            .await
            .unwrap();
        journal.record(Record { flow: Some(FlowId(3)), ..Record::flow_end(at(30)) }).await.unwrap();
    });
    let seqs =
        |filter: Filter| -> Vec<u64> { journal.query(&filter).unwrap().iter().map(|row| row.seq).collect() };
    let all = Filter::default();
    assert_eq!(seqs(Filter { app: Some(app("game")), ..all.clone() }), [11, 12, 13]);
    assert_eq!(seqs(Filter { reason: Some(Reason::UntrustedApp), ..all.clone() }), [12]);
    assert_eq!(seqs(Filter { kind: Some(Kind::Change), ..all.clone() }), [13]);
    assert_eq!(seqs(Filter { kind: Some(Kind::FlowEnd), ..all.clone() }), [14]);
    assert_eq!(seqs(Filter { decision: Some(Outcome::Deny), ..all.clone() }), [11, 12]);
    assert_eq!(seqs(Filter { action: Some("run.start".to_owned()), ..all.clone() }), [13]);
    assert_eq!(seqs(Filter { run: Some(RunId(7)), ..all.clone() }), [12]);
    assert_eq!(seqs(Filter { flow: Some(FlowId(3)), ..all.clone() }), [4, 14]);
    assert_eq!(seqs(Filter { since: Some(at(20)), ..all.clone() }), [13, 14]);
    assert_eq!(seqs(Filter { until: Some(at(1)), ..all.clone() }), [1, 11, 12]);
    assert_eq!(seqs(Filter { app: Some(app("game")), kind: Some(Kind::Decision), ..all.clone() }), [11, 12]);
    // Without a place to go on from, the newest; with one, the next.
    assert_eq!(seqs(Filter { limit: Some(3), ..all.clone() }), [12, 13, 14]);
    assert_eq!(seqs(Filter { limit: Some(3), after: Some(0), ..all.clone() }), [1, 2, 3]);
    assert_eq!(seqs(Filter { limit: Some(3), after: Some(12), ..all.clone() }), [13, 14]);
    assert_eq!(seqs(Filter { after: Some(14), ..all }), [] as [u64; 0]);
}

#[test]
fn a_row_is_one_json_object_without_empty_fields() {
    let world = World::new();
    let (journal, _) = world.open();
    let full = Record {
        flow: Some(FlowId(9)),
        reason: Some(Reason::PermissionMissing),
        rule: Some("network.connect blanket(session)".into()),
        binding: Some("token".into()),
        ingress: Some("socks".into()),
        class: Some("background".into()),
        bytes_up: Some(10),
        bytes_down: Some(u64::MAX),
        duration_ms: Some(12),
        count: 3,
        addresses: vec!["203.0.113.7:443".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap()],
        detail: Some(json!({ "qos": "qos-not-permitted" })),
        ..allowed(120)
    };
    wait(async {
        journal.record(full).await.unwrap();
        journal.record(Record::flow_end(at(0))).await.unwrap();
    });
    let rows = journal.query(&Filter::default()).unwrap();
    let mut shown = serde_json::to_value(&rows[0]).unwrap();
    let hash = shown.as_object_mut().unwrap().remove("hash").unwrap();
    assert_eq!(hash.as_str().unwrap().len(), 64);
    let said = shown.as_object_mut().unwrap().remove("says").unwrap();
    assert_eq!(
        said,
        "weather (third-party, run-1, token) asked for network.connect to host-120.example.org:443 over socks: allowed \
         by grant-1, rule network.connect blanket(session), class background, opens flow-9 to 203.0.113.7:443 or \
         [2001:db8::1]:443, 3 times"
    );
    let expected = json!({
        "seq": 1, "at": "2026-11-24T03:04:51.120Z", "kind": "decision", "app": "weather", "run": "run-1",
        "flow": "flow-9", "domain": "third-party", "action": "network.connect", "target": "host-120.example.org:443",
        "decision": "allow", "reason": "permission-missing", "grant": "grant-1",
        "rule": "network.connect blanket(session)", "binding": "token", "ingress": "socks", "class": "background",
        "bytes_up": 10, "bytes_down": i64::MAX, "duration_ms": 12, "count": 3,
        "addresses": ["203.0.113.7:443", "[2001:db8::1]:443"], "detail": { "qos": "qos-not-permitted" },
    });
    assert_eq!(shown, expected);
    let keys: Vec<String> =
        serde_json::to_value(&rows[1]).unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["seq", "at", "kind", "hash", "says"])
    );
}

#[test]
fn text_from_apps_is_data_and_nothing_else() {
    let world = World::new();
    let (journal, _) = world.open();
    let target = "'; DROP TABLE records; --\n\u{202e}\0é";
    wait(async {
        journal.record(Record { target: Some(target.to_owned()), ..allowed(1) }).await.unwrap();
    });
    assert_eq!(journal.query(&Filter::default()).unwrap()[0].target.as_deref(), Some(target));
    journal.close();
    assert_eq!(world.verify().unwrap().records, 1);
}

#[test]
fn equal_refusals_within_a_second_become_one_record_and_a_count() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        let first = journal.record(refused("game", "a:1", Reason::PermissionMissing)).await.unwrap();
        for _ in 0..50 {
            assert_eq!(journal.record(refused("game", "a:1", Reason::PermissionMissing)).await, Ok(first));
        }
        let other = journal.record(refused("game", "b:1", Reason::PermissionMissing)).await.unwrap();
        assert_ne!(first, other);
        // What is allowed is never counted together.
        assert_ne!(journal.record(allowed(1)).await, journal.record(allowed(1)).await);
    });
    journal.close();
    let filter = Filter { decision: Some(Outcome::Deny), ..Filter::default() };
    let rows = query(world.path(), &filter).unwrap();
    let counts: Vec<_> = rows.iter().map(|row| (row.target.as_deref().unwrap(), row.count)).collect();
    assert_eq!(counts, [("a:1", 1), ("b:1", 1), ("a:1", 50)]);
    assert_eq!(rows[2].reason.as_deref(), Some("permission-missing"));
    assert_eq!(world.verify().unwrap().records, 5);
}

#[test]
fn a_count_is_written_when_its_second_is_over_and_not_only_at_the_end() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for _ in 0..3 {
            journal.record(refused("game", "a:1", Reason::PermissionMissing)).await.unwrap();
        }
        let began = std::time::Instant::now();
        while journal.health().records_total < 2 {
            assert!(began.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let rows = journal.query(&Filter::default()).unwrap();
    assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_app_that_is_refused_too_often_gets_counted_and_others_do_not() {
    let mut world = World::new();
    world.options.refusals.quota = 10;
    let (journal, _) = world.open();
    wait(async {
        for n in 0..100 {
            journal.record(refused("game", &format!("host-{n}:1"), Reason::PermissionMissing)).await.unwrap();
        }
        journal.record(refused("other", "host:1", Reason::PermissionMissing)).await.unwrap();
    });
    journal.close();
    let rows = query(world.path(), &Filter { app: Some(app("game")), ..Filter::default() }).unwrap();
    assert_eq!(rows.len(), 11);
    assert_eq!((rows[10].count, rows[10].target.as_deref()), (90, None));
    assert_eq!(rows[10].detail.as_ref().unwrap()["counted"], "quota");
    assert_eq!(
        query(world.path(), &Filter { app: Some(app("other")), ..Filter::default() }).unwrap().len(),
        1
    );
}

#[test]
fn many_callers_at_once_each_get_their_own_number_and_the_chain_holds() {
    let world = World::new();
    let (journal, _) = world.open();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let numbers = runtime.block_on(async {
        let mut tasks = Vec::new();
        for caller in 0..64 {
            let journal = journal.clone();
            tasks.push(tokio::spawn(async move {
                let mut numbers = Vec::new();
                for n in 0..50 {
                    numbers.push(journal.record(allowed(caller * 50 + n)).await.unwrap());
                    journal.note(Record::flow_end(at(n)));
                }
                assert!(numbers.is_sorted());
                numbers
            }));
        }
        let mut numbers = Vec::new();
        for task in tasks {
            numbers.extend(task.await.unwrap());
        }
        numbers
    });
    journal.close();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 3200);
    let report = world.verify().unwrap();
    assert_eq!((report.records, report.unsealed_tail), (6400, 0));
}

#[test]
fn a_caller_that_goes_away_does_not_hold_the_others_up() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for n in 0..100 {
            let gone = tokio::time::timeout(Duration::ZERO, journal.record(allowed(n)));
            let _ = gone.await;
        }
        journal.record(allowed(100)).await.unwrap();
    });
    journal.close();
    assert!(world.verify().unwrap().records >= 1);
}

#[test]
fn after_closing_records_are_refused_and_what_was_queued_is_there() {
    let world = World::new();
    let (journal, _) = world.open();
    for n in 0..100 {
        journal.note(Record::flow_end(at(n)));
    }
    journal.close();
    let late = wait(journal.record(allowed(1)));
    assert_eq!(late.unwrap_err().to_string(), "the journal is unavailable: it was closed");
    assert!(!journal.health().available);
    let report = world.verify().unwrap();
    assert_eq!((report.records, report.unsealed_tail), (100, 0));
}

#[test]
fn runs_and_flows_never_get_a_number_twice() {
    let world = World::new();
    let (journal, first) = world.open();
    assert_eq!((first.first_run_id, first.first_flow_id), (1, 1));
    drop(journal);
    let (journal, second) = world.open();
    assert!(second.first_run_id > 1 && second.first_flow_id > 1);
    // More flows than are reserved at once, most of them refusals that are only counted.
    let far = second.first_flow_id + 3_000_000;
    wait(async {
        journal.record(refused("game", "a:1", Reason::PermissionMissing)).await.unwrap();
        let last = Record { flow: Some(FlowId(far)), ..refused("game", "a:1", Reason::PermissionMissing) };
        journal.record(last).await.unwrap();
        let last = Record { run: Some(RunId(5000)), ..allowed(1) };
        journal.record(last).await.unwrap();
    });
    drop(journal);
    let (_, third) = world.open();
    assert!(third.first_flow_id > far && third.first_run_id > 5000, "{third:?}");
}

#[test]
fn erased_records_lose_their_personal_fields_and_the_chain_still_verifies() {
    let world = World::new();
    let (journal, _) = world.open();
    wait(async {
        for n in 0..10 {
            journal.record(Record { detail: Some(json!("secret")), ..allowed(n) }).await.unwrap();
        }
        journal.record(refused("game", "a:1", Reason::PermissionMissing)).await.unwrap();
        let record = Record::change(at(50), "journal.erase");
        assert_eq!(journal.erase(Erasure::App(app("weather")), record.clone()).await, Ok(10));
        assert_eq!(journal.erase(Erasure::App(app("weather")), record.clone()).await, Ok(0));
        journal.record(allowed(11)).await.unwrap();
    });
    // Not in any page of the files either, the write-ahead log included, while the gate goes on.
    for file in ["mexegate.db", "mexegate.db-wal"] {
        let bytes = std::fs::read(world.path().join(file)).unwrap();
        assert!(!bytes.windows(6).any(|six| six == b"secret"), "{file}");
    }
    journal.close();
    let report = world.verify().unwrap();
    // The second one found nothing, and so is not written down.
    assert_eq!((report.records, report.erased), (13, 10));
    let rows = query(world.path(), &Filter::default()).unwrap();
    assert!(
        rows[..10]
            .iter()
            .all(|row| row.erased && row.app.is_none() && row.target.is_none() && row.detail.is_none())
    );
    assert_eq!(rows[0].action.as_deref(), Some("network.connect"));
    assert_eq!((rows[11].action.as_deref(), rows[11].count), (Some("journal.erase"), 10));
    assert!(!rows[12].erased && rows[12].app.is_some());
}
