//! A bearer that is configured carries no more than it says, however many flows go over it; what is permitted more goes
//! first; and all of them can be cut while they wait.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rig::bulk::{Bulk, Pace, To, Way};
use rig::origin::Origin;
use rig::raw::{self, Credentials, Door};
use rig::streams::App;
use rig::verbs::done;
use rig::{Control, Rig, proc, wait};
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

/// How long three flows of a stream, one by each door, take for 1.2 MB, and the same without the stream.
fn of_a_stream(rig: &Rig) -> [Duration; 2] {
    let origin = Origin::start();
    let app = App::begin(rig, "third-party");
    rig.grant(&app.id, "network.qos", "session");
    rig.grant(&app.id, "network.connect=127.0.0.1", "session");
    app.ask(json!({ "name": "film", "class": "streaming", "max_bitrate_down": "3 Mbit/s",
                    "guaranteed_bitrate_down": "1 Mbit/s", "max_bitrate_up": "1 Mbit/s" }));
    let (socks, http) = (rig.ports().socks, rig.ports().http);
    let url = origin.url("/big?bytes=400000");
    let token = &app.who.token;
    let take = |stream: &str| {
        let [plus, header] = match stream {
            "" => [String::new(), String::new()],
            stream => [format!("+{stream}"), format!("MExE-Stream: {stream}")],
        };
        let by_socks = vec!["--proxy".to_owned(), format!("socks5h://{}{plus}:{token}@{socks}", app.id)];
        let by_http = |option: &str| {
            let proxy = format!("http://{}:{token}@{http}", app.id);
            let named = [option.to_owned(), header.clone()].into_iter().filter(|_| !header.is_empty());
            named.chain(["--proxy".to_owned(), proxy]).collect::<Vec<_>>()
        };
        let tunnel = [vec!["--proxytunnel".to_owned()], by_http("--proxy-header")].concat();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for line in [by_socks, tunnel, by_http("--header")] {
                let line = line.into_iter().chain([url.clone()]);
                scope.spawn(move || {
                    let reply = rig.curl(line);
                    assert_eq!((reply.status, reply.body.len()), (200, 400_000));
                });
            }
        });
        began.elapsed()
    };
    [take("film"), take("")]
}

#[test]
fn the_flows_of_a_stream_keep_to_its_rates_together_on_a_bearer_and_without_one() {
    // 1.2 MB at 375,000 bytes a second; a tenth of a second of it may go ahead.
    let least = Duration::from_millis(3_000);
    let [stream, alone] = of_a_stream(&on_a_bearer());
    assert!(stream > least, "{stream:?}");
    assert!(alone < stream, "{alone:?} without the stream, {stream:?} with it");
    let [stream, alone] = of_a_stream(&Rig::start());
    assert!(stream > least, "{stream:?}");
    assert!(alone < stream, "{alone:?} without the stream, {stream:?} with it");
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

/// What an app uploads in pieces of 16 KiB, and how long a megabyte of it takes at 4 Mbit/s: two seconds.
#[test]
fn what_an_app_sends_in_pieces_that_do_not_fit_a_short_queue_is_not_held_up() {
    let rig = on_a_bearer();
    let (client, _, accepted) = uploading(&rig);
    goes_on(rig, client, accepted);
}

/// The same without a bearer, where sockets are not made for short queues, by a stream of that rate.
#[test]
fn what_a_stream_sends_without_a_bearer_is_not_held_up() {
    let rig = Rig::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = listener.local_addr().unwrap();
    let accepted = std::thread::spawn(move || listener.accept().unwrap().0);
    let client = {
        let app = App::begin(&rig, "third-party");
        rig.grant(&app.id, "network.qos", "session");
        rig.grant(&app.id, "network.connect=127.0.0.1", "session");
        app.ask(json!({ "name": "film", "class": "streaming", "max_bitrate_up": "4 Mbit/s" }));
        let named = Credentials { app: format!("{}+film", app.id), token: app.who.token.clone() };
        raw::open(rig.ports(), Door::Socks, &named, sink).unwrap()
    };
    goes_on(rig, client, accepted);
}

#[track_caller]
fn goes_on(rig: Rig, mut client: TcpStream, accepted: JoinHandle<TcpStream>) {
    let reading = std::thread::spawn(move || {
        let mut server = accepted.join().unwrap();
        let began = Instant::now();
        server.read_exact(&mut vec![0; 1_000_000]).unwrap();
        began.elapsed()
    });
    let writing = std::thread::spawn(move || while client.write_all(&[7; 16_384]).is_ok() {});
    let took = reading.join().unwrap();
    // A sender that waits 200 ms for each queue that is half full needs seven.
    assert!((1..5).contains(&took.as_secs()), "{took:?}");
    drop(rig);
    writing.join().unwrap();
}

/// Socket buffers are queues too: at low rates they hold seconds, unless they are kept short.
#[test]
fn trap_14_little_stands_in_the_kernel_in_front_of_a_slow_bearer() {
    let rig = on_a_bearer();
    let (mut client, sink, accepted) = uploading(&rig);
    let own = client.local_addr().unwrap().port();
    let reading = std::thread::spawn(move || {
        let mut server = accepted.join().unwrap();
        let mut total = 0;
        while let Ok(length @ 1..) = server.read(&mut [0; 65_536]) {
            total += length;
        }
        total
    });
    let writing = std::thread::spawn(move || while client.write_all(&[7; 65_536]).is_ok() {});
    let mut standing: Vec<u64> = (0..100)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            proc::standing(own, sink.port())
        })
        .collect();
    standing.sort_unstable();
    drop(rig);
    writing.join().unwrap();
    let total = reading.join().unwrap();
    // The kernel's own choice would be megabytes, which are many seconds at 500 kB a second.
    assert!(standing[99] > 0 && standing[90] < 128 * 1024, "{standing:?}");
    assert!(total > 500_000, "{total}");
}

/// An upload that has begun: the app's end, where it leads, and who accepts it there.
fn uploading(rig: &Rig) -> (TcpStream, SocketAddr, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = listener.local_addr().unwrap();
    let accepted = std::thread::spawn(move || listener.accept().unwrap().0);
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let (_, who) = Control::of(rig).run(&app);
    (raw::open(rig.ports(), Door::Socks, &who, sink).unwrap(), sink, accepted)
}
