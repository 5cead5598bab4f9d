//! Very many connections: 9,000 at once leave nothing behind, one more than the limit is refused by its reason, one app
//! does not take the places of another, and a gate without a free file descriptor waits instead of breaking.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::raw::{self, Credentials, Door, No};
use rig::{Control, Rig, proc, wait, world};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// A server that accepts, holds, and echoes only when the test does.
struct Holder {
    address: SocketAddr,
    held: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
}

impl Holder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        let (held, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (holding, stopping) = (held.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                holding.lock().unwrap().push(stream.unwrap());
            }
        });
        Self { address, held, stop }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

#[test]
fn nine_thousand_connections_leave_nothing_behind() {
    // They want a range of ports of their own.
    let Some(_world) = world::inside("nine_thousand_connections_leave_nothing_behind") else { return };
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) }).unwrap();
    // The gate and this test hold two descriptors for each.
    let many = 9000.min((hard as usize - 1000) / 2);
    assert!(many == 9000 || hard < 20_000, "room for {many} only");
    let rig = Rig::builder().section("limits", &format!("connections_per_run = {many}")).start();
    let mut control = Control::of(&rig);
    let app = rig.app("third-party");
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    let holder = Holder::start();
    // What the first connections allocate once and for all is not the crowd's.
    drop(crowd(&rig, &who, &holder, 50));
    settled(&rig, &mut control, &holder);
    let (fds, memory) = (rig.fds(), rig.rss());
    let mut kept = Vec::new();
    for round in ["first", "second", "third"] {
        let began = Instant::now();
        let mut clients = crowd(&rig, &who, &holder, many);
        let opened = began.elapsed();
        assert_eq!(control.list("/v1/flows").len(), many);
        assert_eq!(rig.metric("mexegate_flows_open"), many as f64);
        let each = (rig.rss() - memory) as f64 / many as f64;
        println!("{round}: {many} opened in {opened:.1?}, {} descriptors, {each:.1} KiB each", rig.fds());
        // One more is refused by its reason, and the gate lives.
        assert_eq!(
            raw::open(rig.ports(), Door::Connect, &who, holder.address).unwrap_err(),
            No::Http(403, "limit-connections".into())
        );
        assert_eq!(raw::open(rig.ports(), Door::Socks, &who, holder.address).unwrap_err(), No::Socks(2));
        // They are alive: both ends of some say so.
        wait::until("the last connection to be accepted", || {
            (holder.held.lock().unwrap().len() == many).then_some(())
        });
        for at in (0..many).step_by(many / 100) {
            talk(&mut clients, &holder, at);
        }
        drop(clients);
        settled(&rig, &mut control, &holder);
        let after = (rig.fds(), rig.rss());
        println!("after: {} descriptors of {fds}, {} KiB of {memory}", after.0, after.1);
        assert!(after.0 <= fds, "{} descriptors, {fds} before", after.0);
        kept.push(after.1);
    }
    println!("kept: {kept:?} KiB");
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

/// Opens so many connections to the holder.
fn crowd(rig: &Rig, who: &Credentials, holder: &Holder, many: usize) -> Vec<TcpStream> {
    const HANDS: usize = 6;
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|hand| {
                scope.spawn(move || {
                    let open = |_| raw::open(rig.ports(), Door::Socks, who, holder.address).unwrap();
                    (hand..many).step_by(HANDS).map(open).collect::<Vec<_>>()
                })
            })
            .collect();
        hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
    })
}

/// A byte to the server and back; the server's end is found by what arrives.
fn talk(clients: &mut [TcpStream], holder: &Holder, at: usize) {
    let client = &mut clients[at];
    client.write_all(b"?").unwrap();
    let mut held = holder.held.lock().unwrap();
    let server = wait::until("the byte at one of the servers", || {
        held.iter().position(|stream| raw::unread(stream) == 1)
    });
    let server = &mut held[server];
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

fn settled(rig: &Rig, control: &mut Control, holder: &Holder) {
    wait::until("every flow to end", || {
        // Each time: the holder may still be taking up what was opened last.
        holder.held.lock().unwrap().clear();
        control.list("/v1/flows").is_empty().then_some(())
    });
    wait::until("no connection to be counted", || {
        (control.done("GET", "/v1/status", None).json["connections"]["open"] == 0).then_some(())
    });
    assert_eq!(rig.metric("mexegate_flows_open"), 0.0);
    // The page that was just read has a descriptor for a moment.
    let first = rig.fds();
    wait::within(Duration::from_secs(2), || (rig.fds() < first).then_some(()));
}

#[test]
fn one_app_does_not_take_the_places_of_another() {
    let rig = Rig::builder().section("limits", "connections = 60").start();
    let mut control = Control::of(&rig);
    let (greedy, modest) = (rig.app("third-party"), rig.app("operator"));
    let holder = Holder::start();
    let mut runs = Vec::new();
    for app in [&greedy, &greedy, &modest] {
        control.grant(app, "127.0.0.1", "blanket");
        runs.push(control.run(app).1);
    }
    let mut held = Vec::new();
    let no = loop {
        // Two runs do not help.
        match raw::open(rig.ports(), Door::Connect, &runs[held.len() % 2], holder.address) {
            Ok(stream) => held.push(stream),
            Err(no) => break no,
        }
        assert!(held.len() <= 60);
    };
    assert_eq!((held.len(), no), (57, No::Http(403, "limit-connections".into())));
    for _ in 0..3 {
        held.push(
            raw::open(rig.ports(), Door::Connect, &runs[2], holder.address).expect("a place was kept free"),
        );
    }
    let no = raw::open(rig.ports(), Door::Connect, &runs[2], holder.address).unwrap_err();
    assert_eq!(no, No::Http(403, "limit-connections".into()), "60 are all there are");
    held.clear();
    settled(&rig, &mut control, &holder);
    raw::open(rig.ports(), Door::Socks, &runs[0], holder.address).expect("there is room again");
}

#[test]
fn silent_strangers_do_not_keep_an_app_out() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let app = rig.app("third-party");
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    let holder = Holder::start();
    let fds = rig.fds();
    // More than the pool of those who have not said who they are.
    let silent: Vec<_> =
        (0..400).map(|n| TcpStream::connect([rig.ports().socks, rig.ports().http][n % 2]).unwrap()).collect();
    let began = Instant::now();
    for door in [Door::Socks, Door::Connect] {
        raw::open(rig.ports(), door, &who, holder.address).unwrap();
    }
    println!("served in {:.0?} behind 400 silent connections", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2), "{:.1?}", began.elapsed());
    assert!(rig.fds() < fds + 200, "strangers are bounded: {} descriptors, {fds} before", rig.fds());
    drop(silent);
    settled(&rig, &mut control, &holder);
}

#[test]
fn without_a_free_descriptor_the_gate_waits_and_goes_on() {
    let rig = Rig::start();
    let mut control = Control::of(&rig);
    let app = rig.app("third-party");
    control.grant(&app, "127.0.0.1", "blanket");
    let (_, who) = control.run(&app);
    let holder = Holder::start();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        clients.push(raw::open(rig.ports(), Door::Socks, &who, holder.address).unwrap());
        servers.push(wait::until("the server's end", || holder.held.lock().unwrap().pop()));
    }
    let pid = Pid::from_raw(rig.pid() as i32);
    let old = prlimit(pid, Resource::Nofile, limit(rig.fds() as u64 + 3)).unwrap();
    let cpu = proc::cpu(rig.pid());
    let waiting: Vec<_> =
        (0..20).map(|_| raw::ask(rig.ports(), Door::Connect, &who, holder.address).unwrap()).collect();
    wait::until("the gate to be out of descriptors", || {
        rig.log().contains("no further connection").then_some(())
    });
    std::thread::sleep(Duration::from_millis(1000));
    let used = proc::cpu(rig.pid()) - cpu;
    println!("CPU while out of descriptors for a second: {used:?}");
    assert!(used < Duration::from_millis(500), "the gate spins: {used:?}");
    // What is open goes on.
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        client.write_all(b"?").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    prlimit(pid, Resource::Nofile, old).unwrap();
    let mut answers = std::collections::BTreeMap::new();
    for stream in &waiting {
        *answers.entry(format!("{:?}", raw::answer(Door::Connect, stream))).or_insert(0) += 1;
    }
    println!("those who waited: {answers:?}");
    assert!(
        answers.keys().all(|answer| answer == "Ok(())" || answer.contains("limit-connections")),
        "{answers:?}"
    );
    assert!(answers.contains_key("Ok(())"), "{answers:?}");
    drop((waiting, clients, servers));
    settled(&rig, &mut control, &holder);
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
}

#[test]
fn a_low_limit_on_descriptors_lowers_the_number_of_flows() {
    struct Gate(Child);
    impl Drop for Gate {
        fn drop(&mut self) {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }
    let rig = Rig::builder().prepare();
    let mut gate = Command::new("prlimit");
    gate.arg("--nofile=128:128").arg("--").arg(rig::binary::mexegate());
    gate.arg("--state-dir").arg(rig.state_dir()).arg("serve").arg("--config").arg(rig.config_file());
    let log = std::fs::File::create(rig.folder().join("gate.log")).unwrap();
    let gate = Gate(gate.stdin(Stdio::null()).stderr(log).spawn().expect("prlimit is installed"));
    wait::until("the gate to be ready", || (rig.health("readyz").status == 200).then_some(()));
    let mut control = Control::of(&rig);
    let apps = [rig.app("third-party"), rig.app("operator")];
    let holder = Holder::start();
    let runs = apps.each_ref().map(|app| {
        control.grant(app, "127.0.0.1", "blanket");
        control.run(app).1
    });
    let mut held = Vec::new();
    let mut refused = Vec::new();
    for n in 0..100 {
        match raw::open(rig.ports(), Door::Connect, &runs[n % 2], holder.address) {
            Ok(stream) => held.push(stream),
            Err(no) => refused.push(no),
        }
    }
    println!("{} flows with 128 descriptors, {} in use", held.len(), proc::fds(gate.0.id()));
    assert!(held.len() >= 30, "{} flows", held.len());
    assert!(refused.iter().all(|no| *no == No::Http(403, "limit-connections".into())), "{refused:?}");
    assert_eq!(rig.health("readyz").status, 200, "there is a descriptor left for those who look");
    drop(held);
    settled_without_fds(&mut control, &holder);
    raw::open(rig.ports(), Door::Socks, &runs[0], holder.address).expect("there is room again");
}

fn settled_without_fds(control: &mut Control, holder: &Holder) {
    wait::until("every flow to end", || {
        // Each time: the holder may still be taking up what was opened last.
        holder.held.lock().unwrap().clear();
        control.list("/v1/flows").is_empty().then_some(())
    });
}

fn limit(files: u64) -> Rlimit {
    // The hard limit stays, so that the old one can be put back.
    Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum }
}
