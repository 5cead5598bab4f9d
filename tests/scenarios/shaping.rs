//! A bearer that is configured carries no more than it says, however many flows go over it; what is permitted more goes
//! first; and all of them can be cut while they wait.

use std::time::{Duration, Instant};

use rig::bulk::{Bulk, Pace, To, Way};
use rig::origin::Origin;
use rig::raw::Door;
use rig::verbs::done;
use rig::{Control, Rig, wait};
use serde_json::json;

const BEARER: &str =
    "\n[[bearer]]\nname = \"mobile\"\nkind = \"static\"\nuplink = \"4 Mbit/s\"\ndownlink = \"8 Mbit/s\"\n";

fn on_a_bearer() -> Rig {
    let mut rig = Rig::builder().variable("TZ", "UTC0").prepare();
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    std::fs::write(rig.config_file(), text + BEARER).unwrap();
    rig.start_again();
    rig
}

#[test]
fn flows_together_move_no_more_than_the_bearer_carries() {
    let (rig, origin) = (on_a_bearer(), Origin::start());
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let run = rig.run(&app);
    let began = Instant::now();
    let bodies: Vec<usize> = std::thread::scope(|scope| {
        // Forwarded, tunnelled, by SOCKS.
        let ways = [("--proxy", &run.http), ("--proxy", &run.http), ("--proxy", &run.socks)];
        let gets: Vec<_> = ways
            .into_iter()
            .enumerate()
            .map(|(at, (option, proxy))| {
                let url = origin.url("/big?bytes=500000");
                let tunnel = if at == 1 { vec!["--proxytunnel"] } else { Vec::new() };
                let rig = &rig;
                scope.spawn(move || {
                    let line = tunnel.into_iter().chain([option, proxy.as_str(), url.as_str()]);
                    rig.curl(line).body.len()
                })
            })
            .collect();
        gets.into_iter().map(|get| get.join().unwrap()).collect()
    });
    assert_eq!(bodies, [500_000; 3]);
    // 1.5 MB at 1 MB/s; a little may go ahead.
    assert!(began.elapsed() > Duration::from_millis(1300), "{:?}", began.elapsed());
    let rows = done(&rig, &["usage", "--by", "bearer"]);
    assert_eq!(rows["items"][0]["bearer"], json!("mobile"));
    assert!(rig.metric("mexegate_scheduler_wait_seconds_count{class=\"background\"}") > 0.0);
}

#[test]
fn a_flow_that_waits_for_its_share_is_cut_at_once() {
    let (rig, origin) = (on_a_bearer(), Origin::start());
    let app = rig.app("third-party");
    let grant = rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let mut control = Control::of(&rig);
    let (_, who) = control.run(&app);
    let flows: Vec<Bulk> = (0..4)
        .map(|_| Bulk::begin(rig.ports(), &who, Way::Tunnel(Door::Connect), To::Client, Pace::Slow))
        .collect();
    wait::until("all to move", || flows.iter().all(|flow| flow.arrived() > 0).then_some(()));
    let mut flows = flows.into_iter();
    let first = flows.next().unwrap();
    first.cut_by(|| done(&rig, &["revoke", &grant]));
    wait::until("the others' end", || {
        done(&rig, &["flows"])["items"].as_array().unwrap().is_empty().then_some(())
    });
    drop(flows);
    let url = origin.url("/hello");
    assert_eq!(
        rig.curl(["--proxy", &rig.run(&app).http, &url]).reason().as_deref(),
        Some("permission-missing")
    );
}
