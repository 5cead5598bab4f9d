//! A gate's days: it drains when asked to stop, cuts what does not end in time, takes up a new configuration while it
//! runs, and keeps the limits on idle connections and on new ones.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rig::raw::{self, Credentials, Door, No};
use rig::{Control, Origin, Rig, wait};
use rustix::process::{Pid, Signal, kill_process};

/// A gate, and a run that may connect to this machine.
fn scene(limits: &str) -> (Rig, Control, Credentials) {
    let rig = Rig::builder().section("limits", limits).start();
    let mut control = Control::of(&rig);
    let app = rig.app("third-party");
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    (rig, control, who)
}

/// An open flow with both of its ends.
fn flow(rig: &Rig, door: Door, who: &Credentials) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = raw::open(rig.ports(), door, who, listener.local_addr().unwrap()).unwrap();
    let server = listener.accept().unwrap().0;
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (client, server)
}

fn talk(client: &mut TcpStream, server: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    server.write_all(b"pong").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
}

/// The only end of a flow in the journal, with no gate running.
fn flow_ends(rig: &Rig) -> Vec<serde_json::Value> {
    rig.journal(["--kind", "flow-end"])
}

#[test]
fn a_stop_lets_open_flows_finish_and_nobody_else_in() {
    let (mut rig, _, who) = scene("drain = \"10s\"");
    let origin = Origin::start();
    let (mut client, mut server) = flow(&rig, Door::Socks, &who);
    // Two who are in the middle of their request when the stop comes, and a connection that is kept alive.
    let bytes = raw::socks_request(&who, origin.address());
    let mut late_socks = TcpStream::connect(rig.ports().socks).unwrap();
    late_socks.write_all(&bytes[..bytes.len() - 1]).unwrap();
    late_socks.read_exact(&mut [0; 4]).unwrap();
    let mut kept = TcpStream::connect(rig.ports().http).unwrap();
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nProxy-Authorization: {}\r\n\r\n",
        origin.url("/hello"),
        origin.address(),
        raw::basic(&who)
    );
    kept.write_all(get.as_bytes()).unwrap();
    let mut answer = vec![0; 1024];
    let n = kept.read(&mut answer).unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200"));

    let began = Instant::now();
    rig.signal(Signal::TERM);
    wait::until("no one else to be let in", || TcpStream::connect(rig.ports().socks).is_err().then_some(()));
    assert!(TcpStream::connect(rig.ports().http).is_err());
    let ready = rig.health("readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("gate-stopping"), "{}", ready.text());
    kept.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).expect("the idle connection is closed at once");
    late_socks.write_all(&bytes[bytes.len() - 1..]).unwrap();
    let mut reply = Vec::new();
    late_socks.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    late_socks.read_to_end(&mut reply).unwrap();
    assert_eq!(reply[1], 2, "refused: {reply:?}");
    // The open flow goes on, and ends the stop with its own end.
    for _ in 0..5 {
        talk(&mut client, &mut server);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(rig.fds() > 0, "the gate waits for the flow");
    drop((client, server));
    let status = rig.ended();
    println!("stopped {:.2?} after the signal", began.elapsed());
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5), "nothing else to wait for");
    assert_eq!(rig.journal(["--reason", "gate-stopping", "--kind", "decision"]).len(), 1);
    let ends = flow_ends(&rig);
    let long = ends.iter().find(|end| end["bytes_up"] == 20).expect("the flow's end is in the journal");
    assert_eq!((&long["bytes_down"], &long["reason"]), (&20.into(), &serde_json::Value::Null), "{long}");
    assert_eq!(rig.cli(["journal", "verify"]).code, 0);
    assert!(!rig.state_dir().join("control.sock").exists());
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

#[test]
fn what_does_not_end_by_the_deadline_is_cut() {
    let (mut rig, _, who) = scene("drain = \"1s\"");
    let flows = [flow(&rig, Door::Socks, &who), flow(&rig, Door::Connect, &who)];
    let began = Instant::now();
    rig.signal(Signal::TERM);
    for (client, server) in &flows {
        for end in [client, server] {
            let at = raw::hung_up(end, Duration::from_secs(5)).expect("the flow is cut");
            let after = at.saturating_duration_since(began).as_secs_f64();
            assert!((0.95..1.5).contains(&after), "cut after {after:.2} s");
            let (_, reset) = raw::read_out(end);
            assert!(reset);
        }
    }
    assert!(rig.ended().success());
    println!("stopped {:.2?} after the signal", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(4));
    let ends = flow_ends(&rig);
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end["reason"] == "gate-stopping"), "{ends:?}");
    assert_eq!(rig.cli(["journal", "verify"]).code, 0);
    rig.start_again();
    let no = raw::open(rig.ports(), Door::Socks, &who, ([127, 0, 0, 1], 9).into()).unwrap_err();
    assert_eq!(no, No::Socks(0xff), "the run is over");
}

#[test]
fn a_reload_takes_up_what_is_new_and_keeps_the_old_when_it_is_wrong() {
    let (rig, mut control, who) = scene("idle = \"1h\"");
    let config = fs::read_to_string(rig.config_file()).unwrap();
    let with = |text: &str| {
        fs::write(rig.config_file(), config.replace("idle = \"1h\"", text)).unwrap();
        rig.signal(Signal::HUP);
    };
    let (mut client, mut server) = flow(&rig, Door::Socks, &who);
    with("idle = \"1h\"\nconnections_per_run = 2");
    wait::until("the reload", || rig.log().contains("reloaded").then_some(()));
    let second = flow(&rig, Door::Connect, &who);
    let no = raw::open(rig.ports(), Door::Connect, &who, ([127, 0, 0, 1], 9).into()).unwrap_err();
    assert_eq!(no, No::Http(403, "limit-connections".into()));
    with("idle = \"1h\"\nno_such_key = 2");
    wait::until("the reload to be refused", || rig.log().contains("the old one stays").then_some(()));
    assert!(rig.log().contains("no_such_key"), "the log names the mistake: {}", rig.log());
    drop(second);
    wait::until("the second flow to end", || (control.list("/v1/flows").len() == 1).then_some(()));
    drop(flow(&rig, Door::Connect, &who));
    // Neither cut what was open.
    talk(&mut client, &mut server);
    with("idle = \"1h\"\nconnections_per_run = 100");
    wait::until("the second reload", || (rig.log().matches("reloaded").count() == 2).then_some(()));
    let many: Vec<_> = (0..10).map(|_| flow(&rig, Door::Socks, &who)).collect();
    drop(many);
    // The run and its grants are what they were.
    assert_eq!(control.list("/v1/runs").len(), 1);
    assert_eq!(control.list("/v1/grants").len(), 1);
}

#[test]
fn an_idle_flow_ends_and_a_busy_one_does_not() {
    let (rig, mut control, who) = scene("idle = \"1s\"");
    let (idle_client, idle_server) = flow(&rig, Door::Socks, &who);
    let (mut client, mut server) = flow(&rig, Door::Connect, &who);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        talk(&mut client, &mut server);
        std::thread::sleep(Duration::from_millis(250));
    }
    for end in [&idle_client, &idle_server] {
        assert!(raw::hung_up(end, Duration::ZERO).is_some(), "the idle flow is still open");
    }
    let ends = wait::until("the end in the journal", || {
        let records = control.journal_after(0);
        let ends: Vec<_> = records.into_iter().filter(|record| record["kind"] == "flow-end").collect();
        (!ends.is_empty()).then_some(ends)
    });
    assert_eq!((ends.len(), &ends[0]["reason"]), (1, &"idle-timeout".into()), "{ends:?}");
    let lived = ends[0]["duration_ms"].as_u64().unwrap();
    assert!((950..1600).contains(&lived), "{lived} ms");
    assert_eq!(rig.metric("mexegate_flows_total{result=\"idle\"}"), 1.0);
    talk(&mut client, &mut server);
}

#[test]
fn an_idle_forward_request_ends_too() {
    let (rig, mut control, who) = scene("idle = \"1s\"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let proxy = format!("http://{}:{}@{}", who.app, who.token, rig.ports().http);
    let began = Instant::now();
    let reply = std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept().unwrap().0);
        let reply = rig.curl(["--proxy", &proxy, &format!("http://{target}/")]);
        drop(server.join().unwrap());
        reply
    });
    println!("curl: exit {}, status {}, after {:.2?}", reply.exit, reply.status, began.elapsed());
    assert!(reply.status == 504 && began.elapsed() < Duration::from_secs(4));
    wait::until("the end in the journal", || {
        let ended =
            |record: &serde_json::Value| record["kind"] == "flow-end" && record["reason"] == "idle-timeout";
        control.journal_after(0).iter().any(ended).then_some(())
    });
}

#[test]
fn a_run_opens_no_more_connections_a_second_than_it_may() {
    let (rig, mut control, who) = scene("new_connections_per_second_per_run = 5");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = holder.local_addr().unwrap();
    let began = Instant::now();
    let (mut opened, mut refused) = (0, 0);
    while began.elapsed() < Duration::from_secs(2) {
        match raw::open(rig.ports(), [Door::Socks, Door::Connect][(opened + refused) % 2], &who, target) {
            Ok(_) => opened += 1,
            Err(No::Socks(2)) => refused += 1,
            Err(No::Http(403, reason)) if reason == "limit-rate" => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("5 a second: {opened} opened and {refused} refused in 2 seconds");
    // A burst of five, and five a second.
    assert!((10..=17).contains(&opened), "{opened}");
    assert!(refused > 10, "{refused}");
    // Another run of the same app has its own.
    let (_, other) = control.run(&who.app);
    raw::open(rig.ports(), Door::Socks, &other, target).unwrap();
    assert!(!rig.journal(["--reason", "limit-rate"]).is_empty());
}

#[test]
fn on_a_terminal_a_gate_starts_and_logs_like_anywhere_else() {
    let rig = Rig::builder().prepare();
    let gate = rig::binary::mexegate().display().to_string();
    let (state, config) = (rig.state_dir().display().to_string(), rig.config_file().display().to_string());
    let line = format!("'{gate}' --state-dir '{state}' serve --config '{config}'");
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = wait::within(Duration::from_secs(20), || {
        let over = terminal.try_wait().unwrap().is_some();
        (over || rig.health("readyz").status == 200).then_some(!over)
    });
    if ready == Some(true) {
        let status: serde_json::Value = serde_json::from_slice(&rig.api([""; 0], "/v1/status").body).unwrap();
        let pid = status["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().unwrap()));
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
    }
    let shown = terminal.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert_eq!(ready, Some(true), "{shown}");
    assert!(shown.contains("serving") && !shown.contains("ansi") && !shown.contains('\u{1b}'), "{shown}");
}
