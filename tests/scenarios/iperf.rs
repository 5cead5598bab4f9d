//! A call beside downloads and uploads, by clients and servers that are not ours: iperf3 sends the datagrams and counts what
//! became of them, curl loads the bearer. A call loses nothing; what is nobody's stream loses what is above its share, at
//! the same time; and what iperf3 counted is what the gate counted.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rig::ports::Ports;
use rig::raw::Credentials;
use rig::streams::App;
use rig::{Origin, Output, Relay, Rig, curl, wait};
use serde_json::{Value, json};

/// What the bearer carries, each way, bits per second.
const BEARER: u64 = 10_000_000;
/// What may go ahead of that: the bearer's burst is the half of it.
const BURST: u64 = 64 * 1024;
/// What iperf3 says to begin with, and is answered: bytes of a datagram each way.
const HELLO: u64 = 4;
/// Downloads, and as many uploads.
const TRANSFERS: usize = 4;
/// How long iperf3 sends each way.
const SECONDS: &str = "5";

/// Which way the datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A child that ends with its value.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(silent.spawn().expect("tests/run installs it"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A gate with one bearer.
fn on_a_bearer() -> Rig {
    let mut rig = Rig::builder().variable("TZ", "UTC0").prepare();
    let text = std::fs::read_to_string(rig.config_file()).unwrap();
    let bearer = format!(
        "\n[[bearer]]\nname = \"mobile\"\nkind = \"static\"\nuplink = \"{0} Mbit/s\"\ndownlink = \"{0} Mbit/s\"\n",
        BEARER / 1_000_000
    );
    std::fs::write(rig.config_file(), text + &bearer).unwrap();
    rig.start_again();
    rig
}

/// iperf3 at both ends of the gate, under way.
struct Iperf {
    relay: Relay,
    _server: Running,
    _ports: Ports,
    client: JoinHandle<Output>,
    way: Way,
    length: u64,
}

/// What iperf3 says of the datagrams, and of the bytes in them.
#[derive(Debug)]
struct Report {
    sent: u64,
    received: u64,
    lost_percent: f64,
    jitter_ms: f64,
    /// Of the sender's bytes, those for which the system had no room before the gate.
    overflown: u64,
}

impl Iperf {
    /// Begins to send so many bits per second in datagrams of so many bytes for so many seconds. Waits for the first answer.
    fn begin(app: &App<'_>, ports: &Ports, stream: Option<&str>, rate: &str, length: u64, way: Way) -> Self {
        let own = Ports::take();
        let target = own.socks;
        let _server = Running::start(Command::new("iperf3").args([
            "--server",
            "--one-off",
            "--bind",
            "127.0.0.1",
            "--port",
            &target.port().to_string(),
        ]));
        wait::until("iperf3 to listen", || {
            let line = ["--tcp", "--listening", "--numeric", "--no-header"];
            let sockets = Output::of(Command::new("ss").args(line)).stdout;
            sockets.contains(&format!("127.0.0.1:{} ", target.port())).then_some(())
        });
        let named = stream.map_or_else(|| app.id.clone(), |stream| format!("{}+{stream}", app.id));
        let datagrams = Credentials { app: named, token: app.who.token.clone() };
        let relay = Relay::start(ports, &app.who, &datagrams, target);
        let mut command = Command::new("iperf3");
        command.args(["--client", "127.0.0.1", "--port", &relay.address().port().to_string(), "--udp"]);
        command.args(["--bitrate", rate, "--length", &length.to_string(), "--time", SECONDS, "--json"]);
        if way == Way::Down {
            command.arg("--reverse");
        }
        let client = std::thread::spawn(move || Output::of(&mut command));
        wait::until("iperf3 to be answered", || {
            assert!(!client.is_finished(), "iperf3 has ended");
            (relay.answers() > 0).then_some(())
        });
        Self { relay, _server, _ports: own, client, way, length }
    }

    /// Waits for its end.
    #[track_caller]
    fn end(self) -> Report {
        let output = self.client.join().unwrap().ended(0);
        let (up, down) = self.relay.overflown();
        let overflown = if self.way == Way::Up { up } else { down };
        let end = &output.json["end"];
        let bytes = |what: &str| end[what]["bytes"].as_u64().unwrap();
        let number = |what: &str| end["sum"][what].as_f64().unwrap();
        Report {
            sent: bytes("sum_sent"),
            received: bytes("sum_received"),
            lost_percent: number("lost_percent"),
            jitter_ms: number("jitter_ms"),
            overflown: overflown * self.length,
        }
    }
}

/// curl with all that it can move, both ways.
struct Load<'a> {
    origin: &'a Origin,
    bodies: Vec<PathBuf>,
    began: Instant,
    _running: Vec<Running>,
}

impl<'a> Load<'a> {
    fn begin(rig: &Rig, app: &App<'_>, origin: &'a Origin) -> Self {
        let large = rig.folder().join("large");
        File::create(&large).unwrap().set_len(1 << 30).unwrap();
        let began = Instant::now();
        let bodies: Vec<_> = (0..TRANSFERS).map(|n| rig.folder().join(format!("body-{n}"))).collect();
        let proxies = [("socks5h", rig.ports().socks), ("http", rig.ports().http)];
        let start = |n: usize, what: &dyn Fn(&mut Command)| {
            let (scheme, door) = proxies[n % 2];
            let mut command = curl::command();
            command.arg("--proxy").arg(format!("{scheme}://{}:{}@{door}", app.id, app.who.token));
            what(&mut command);
            Running::start(&mut command)
        };
        let downloads = bodies.iter().enumerate().map(|(n, body)| {
            start(n, &|curl| {
                curl.arg("--output").arg(body).arg(origin.url("/big?bytes=1000000000"));
            })
        });
        let uploads = (0..TRANSFERS).map(|n| {
            start(n, &|curl| {
                curl.arg("--upload-file").arg(&large).arg(origin.url("/upload"));
            })
        });
        let _running = downloads.chain(uploads).collect();
        Self { origin, bodies, began, _running }
    }

    /// Bytes that arrived since, up and down, and how long that took at least.
    fn end(self) -> ([u64; 2], Duration) {
        let down = self.bodies.iter().filter_map(|body| body.metadata().ok()).map(|file| file.len()).sum();
        ([self.origin.received(), down], self.began.elapsed())
    }
}

/// What the gate says of an app's datagrams, in bytes: passed, and dropped.
fn counted(rig: &Rig, app: &App<'_>, class: &str, way: Way) -> [u64; 2] {
    wait::until("the flows' end", || {
        let flows = rig.json(["flows"]);
        flows["items"].as_array().unwrap().iter().all(|flow| flow["app"] != app.id).then_some(())
    });
    let of = |record: &Value, field: &str| record[format!("{field}_{}", way.word())].as_u64().unwrap_or(0);
    let is_end = |record: &&Value| record["kind"] == "flow-end" && record["ingress"] == "socks5-udp";
    let passed = rig.journal(["--app", &app.id]).iter().filter(is_end).map(|end| of(end, "bytes")).sum();
    let usage = rig.json(["usage", &app.id, "--by", "class"]);
    let rows = usage["items"].as_array().unwrap();
    let dropped = rows.iter().filter(|row| row["class"] == class).map(|row| of(row, "dropped")).sum();
    [passed, dropped]
}

/// Whatever iperf3 has sent, the gate has passed or dropped; and what it passed is what iperf3 received.
#[track_caller]
fn agree(report: &Report, before: [u64; 2], after: [u64; 2]) {
    let [passed, dropped] = [after[0] - before[0], after[1] - before[1]];
    let all = format!("{report:?}, passed {passed}, dropped {dropped}");
    assert_eq!(report.sent + HELLO, passed + dropped + report.overflown, "{all}");
    assert!(report.received + HELLO <= passed, "{all}");
    // Who receives stops when its time is over, and who sends when it has heard of that.
    assert!(passed - report.received < passed / 5, "{all}");
}

#[test]
fn a_call_loses_nothing_beside_downloads_and_uploads_and_best_effort_does_by_iperf3s_own_count() {
    if Command::new("iperf3").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("a call beside downloads not judged: no iperf3 (tests/run installs it)");
        return;
    }
    let (rig, origin) = (on_a_bearer(), Origin::start());
    let [phone, other, load] = ["operator", "manufacturer", "third-party"].map(|domain| {
        let app = App::begin(&rig, domain);
        for action in ["network.connect=127.0.0.1", "network.datagram=127.0.0.1"] {
            rig.grant(&app.id, action, "session");
        }
        app
    });
    rig.grant(&phone.id, "network.qos", "session");
    phone.ask(json!({
        "name": "call",
        "profile": "voice",
        "guaranteed_bitrate_up": "80 kbit/s",
        "guaranteed_bitrate_down": "80 kbit/s",
    }));
    let transfers = Load::begin(&rig, &load, &origin);
    // What both directions carried besides.
    let mut datagrams = [0, 0];
    for way in [Way::Up, Way::Down] {
        let counts =
            || [counted(&rig, &phone, "conversational", way), counted(&rig, &other, "background", way)];
        let before = counts();
        let call = Iperf::begin(&phone, rig.ports(), Some("call"), "64k", 160, way);
        let flood = Iperf::begin(&other, rig.ports(), None, "6M", 1_200, way);
        let (call, flood) = (call.end(), flood.end());
        let after = counts();
        // Of 250 datagrams.
        assert!(call.lost_percent <= 1.0, "{way:?} {call:?}");
        assert!(call.jitter_ms < 20.0, "{way:?} {call:?}");
        // It is one of five that share the bearer, and would like to have three times as much.
        assert!(flood.lost_percent > 25.0, "{way:?} {flood:?}");
        agree(&call, before[0], after[0]);
        agree(&flood, before[1], after[1]);
        datagrams[way as usize] += after[0][0] - before[0][0] + after[1][0] - before[1][0];
    }
    let (moved, took) = transfers.end();
    let carried = u64::try_from(u128::from(BEARER) * took.as_millis() / 8_000).unwrap();
    for (moved, datagrams) in moved.into_iter().zip(datagrams) {
        let all = moved + datagrams;
        assert!(all <= carried + BURST, "{all} of {carried}");
        assert!(all > carried / 2, "{all} of {carried}: it was no load");
    }
}
