//! 200 times `kill -9` under load: every grant and revoke that was acknowledged, every use of a single permission and
//! every decision whose proxy said yes is there after the next start, and the chain verifies each time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rig::random::Random;
use rig::raw::{self, Credentials, Door, No};
use rig::times::Times;
use rig::{Control, Rig, world};
use serde_json::json;

/// Gates under test at the same time.
const GATES: usize = 2;
/// Fresh state directories of each: a longer journal only takes longer to verify.
const LIVES: usize = 4;
/// Kills of each life.
const KILLS: usize = 25;

/// What the gate has acknowledged, as its clients know it.
#[derive(Default)]
struct Known {
    /// Grants that were answered with an id.
    given: BTreeSet<String>,
    /// Grants that a revoke was sent for.
    going: BTreeSet<String>,
    /// Those that it was acknowledged for.
    gone: BTreeSet<String>,
    /// Single permissions whose use was begun, and those that led to a connection.
    using: BTreeSet<String>,
    used: BTreeSet<String>,
    /// Targets that the proxy said yes to, by their only flow.
    opened: BTreeSet<String>,
    /// The journal as read so far: its last number, and what it tells.
    head: u64,
    allowed: BTreeSet<String>,
    changes: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn whatever_was_acknowledged_survives_200_kills_under_load() {
    // Tens of thousands of connections want a range of ports of their own.
    let Some(_world) = world::inside("whatever_was_acknowledged_survives_200_kills_under_load") else {
        return;
    };
    let mut random = Random::new();
    let began = Instant::now();
    let sums: Vec<_> = std::thread::scope(|scope| {
        let gates: Vec<_> = (0..GATES).map(|_| random.split()).collect();
        let gates: Vec<_> = gates.into_iter().map(|random| scope.spawn(|| one_gate(random))).collect();
        gates
            .into_iter()
            .map(|gate| gate.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut restarts = Times::default();
    let [mut given, mut gone, mut used, mut opened] = [0; 4];
    for (known, times) in &sums {
        restarts.extend(times);
        given += known.iter().map(|known| known.given.len()).sum::<usize>();
        gone += known.iter().map(|known| known.gone.len()).sum::<usize>();
        used += known.iter().map(|known| known.used.len()).sum::<usize>();
        opened += known.iter().map(|known| known.opened.len()).sum::<usize>();
    }
    let kills = GATES * LIVES * KILLS;
    println!(
        "{kills} kills in {:.0?}: {given} grants, {gone} revokes, {used} singles used, {opened} decisions acknowledged and kept",
        began.elapsed()
    );
    println!("restart to ready: {restarts}");
    // Each kill met a gate at work.
    assert!(given > kills && gone > kills / 4 && used > kills / 4 && opened > kills * 5);
}

fn one_gate(mut random: Random) -> (Vec<Known>, Times) {
    let (mut lives, mut restarts) = (Vec::new(), Times::default());
    for _ in 0..LIVES {
        let mut rig = Rig::start();
        let apps = [rig.app("third-party"), rig.app("operator")];
        Control::of(&rig).grant(&apps[0], "127.0.0.0/8", "blanket");
        let known = Mutex::new(Known::default());
        for _ in 0..KILLS {
            let old = load_and_kill(&mut rig, &apps, &known, &mut random);
            let verified = rig.cli(["--json", "journal", "verify"]);
            assert_eq!(verified.code, 0, "{}\n{}", verified.stdout, verified.stderr);
            let began = Instant::now();
            rig.start_again();
            restarts.add(began.elapsed());
            check(&rig, &mut known.lock().unwrap());
            let ended = raw::open(rig.ports(), Door::Socks, &old, ([127, 0, 0, 1], 9).into());
            assert_eq!(ended.unwrap_err(), No::Socks(0xff), "a run outlived its gate");
        }
        assert!(!rig.log().contains("panicked"), "{}", rig.log());
        lives.push(known.into_inner().unwrap());
    }
    (lives, restarts)
}

/// Many short connections, and grants that come and go, until the gate is killed in the midst of them.
fn load_and_kill(
    rig: &mut Rig,
    apps: &[String; 2],
    known: &Mutex<Known>,
    random: &mut Random,
) -> Credentials {
    let origin = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = origin.local_addr().unwrap().port();
    origin.set_nonblocking(true).unwrap();
    let stop = AtomicBool::new(false);
    let mut control = Control::of(rig);
    let (_, who) = control.run(&apps[0]);
    let (_, other) = control.run(&apps[1]);
    std::thread::scope(|scope| {
        let (ports, stop) = (rig.ports(), &stop);
        scope.spawn(|| {
            let mut held = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match origin.accept() {
                    Ok((stream, _)) => held.push(stream),
                    Err(_) => std::thread::sleep(Duration::from_micros(300)),
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let target = fresh_target(port);
                    match raw::open(ports, Door::Socks, &who, target) {
                        Ok(stream) => {
                            known.lock().unwrap().opened.insert(target.to_string());
                            reset_on_close(&stream);
                        }
                        Err(No::Broken(_)) => return,
                        Err(other) => panic!("{target} was refused: {other:?}"),
                    }
                }
            });
        }
        let mut choice = random.split();
        let (app, single) = (&apps[0], &apps[1]);
        scope.spawn(move || {
            // Ends when the gate is gone.
            while change(&mut control, known, app, &mut choice).is_ok() {}
        });
        scope.spawn(|| while use_single(rig, known, single, &other, port).is_ok() {});
        std::thread::sleep(Duration::from_millis(40 + random.below(100) as u64));
        let pid = rustix::process::Pid::from_raw(rig.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    rig.kill();
    who
}

/// A grant, or the revoke of one.
fn change(
    control: &mut Control,
    known: &Mutex<Known>,
    app: &str,
    random: &mut Random,
) -> std::io::Result<()> {
    if random.below(3) > 0 {
        let number = random.next().to_be_bytes();
        let target = format!("10.{}.{}.{}", number[0], number[1], number[2]);
        let wish =
            json!({ "app": app, "action": "network.connect", "target": target, "permission": "blanket" });
        let given = control.ask("POST", "/v1/grants", Some(&wish))?;
        assert_eq!(given.status, 201, "{}", given.json);
        known.lock().unwrap().given.insert(given.json["id"].as_str().unwrap().to_owned());
        return Ok(());
    }
    let id = {
        let mut known = known.lock().unwrap();
        let live: Vec<_> = known.given.difference(&known.going).cloned().collect();
        if live.is_empty() {
            return Ok(());
        }
        let id = live[random.below(live.len())].clone();
        known.going.insert(id.clone());
        id
    };
    let gone = control.ask("DELETE", &format!("/v1/grants/{id}"), None)?;
    assert_eq!(gone.status, 204, "{}", gone.json);
    known.lock().unwrap().gone.insert(id);
    Ok(())
}

/// A single permission, given and used up at once.
fn use_single(
    rig: &Rig,
    known: &Mutex<Known>,
    app: &str,
    who: &Credentials,
    port: u16,
) -> std::io::Result<()> {
    let mut control = Control::at(&rig.state_dir().join("control.sock"))?;
    let target = fresh_target(port);
    let wish =
        json!({ "app": app, "action": "network.connect", "target": target.ip(), "permission": "single" });
    let given = control.ask("POST", "/v1/grants", Some(&wish))?;
    assert_eq!(given.status, 201, "{}", given.json);
    let id = given.json["id"].as_str().unwrap().to_owned();
    {
        let mut known = known.lock().unwrap();
        known.given.insert(id.clone());
        known.going.insert(id.clone());
        known.using.insert(id.clone());
    }
    match raw::open(rig.ports(), Door::Socks, who, target) {
        Ok(stream) => {
            let mut known = known.lock().unwrap();
            known.used.insert(id);
            known.opened.insert(target.to_string());
            reset_on_close(&stream);
            Ok(())
        }
        Err(No::Broken(kind)) => Err(kind.into()),
        Err(other) => panic!("{target} was refused: {other:?}"),
    }
}

/// After a start: everything acknowledged is there, in force and in the journal.
#[track_caller]
fn check(rig: &Rig, known: &mut Known) {
    let mut control = Control::of(rig);
    let live: BTreeSet<String> =
        control.list("/v1/grants").iter().map(|grant| grant["id"].as_str().unwrap().to_owned()).collect();
    for id in &known.given {
        if known.gone.contains(id) || known.used.contains(id) {
            assert!(!live.contains(id), "{id} was taken back or used up, and is there again");
        } else if !known.going.contains(id) {
            assert!(live.contains(id), "{id} was given and is lost");
        }
    }
    loop {
        let records = control.journal_after(known.head);
        let Some(last) = records.last() else { break };
        known.head = last["seq"].as_u64().unwrap();
        for record in records {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            if record["decision"] == "allow" {
                known.allowed.insert(text("target"));
            } else if record["kind"] == "change" && record["grant"].is_string() {
                known.changes.entry(text("grant")).or_default().insert(text("action"));
            }
        }
    }
    let lost: Vec<_> = known.opened.difference(&known.allowed).collect();
    assert!(lost.is_empty(), "decisions that were acknowledged are not in the journal: {lost:?}");
    let told = |id: &String, action| known.changes.get(id).is_some_and(|changes| changes.contains(action));
    assert!(known.given.iter().all(|id| told(id, "grant.give")), "a grant is not in the journal");
    assert!(known.gone.iter().all(|id| told(id, "grant.revoke")), "a revoke is not in the journal");
}

/// An address of this machine that no other flow has: its record in the journal is its own.
fn fresh_target(port: u16) -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(1 << 16);
    (Ipv4Addr::from((127 << 24) + NEXT.fetch_add(1, Ordering::Relaxed)), port).into()
}

/// Leaves no port in TIME-WAIT: there are tens of thousands of these.
fn reset_on_close(stream: &std::net::TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}
