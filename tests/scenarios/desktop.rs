//! The user's desktop is told that questions wait, and which apps hold connections: by a real session bus (dbus-daemon) to a
//! server of notifications that another implementation serves (rig/notifications.py). One notification of each at most,
//! with no word of an app's in it; and a bus that hangs or dies keeps nobody waiting.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mexe_forge::jar::JarBuilder;
use mexe_model::SecurityDomain;
use rig::raw::{self, Credentials, Door};
use rig::{Builder, Control, Rig, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A process that goes with its test.
struct Gone(Child);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A session bus of its own; nothing is started by it.
struct Bus {
    folder: TempDir,
    daemon: Gone,
}

impl Bus {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let daemon = Self::daemon(folder.path());
        Self { folder, daemon }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn daemon(folder: &Path) -> Gone {
        let config = folder.join("bus.conf");
        let listen = folder.join("bus");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"false\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            listen.display()
        );
        std::fs::write(&config, text).unwrap();
        let daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--config-file"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is installed");
        let daemon = Gone(daemon);
        wait::until("the bus", || std::os::unix::net::UnixStream::connect(&listen).ok());
        daemon
    }

    /// The bus goes and another comes at the same place.
    fn start_again(&mut self) {
        let _ = self.daemon.0.kill().and_then(|()| self.daemon.0.wait());
        let _ = std::fs::remove_file(self.socket());
        self.daemon = Self::daemon(self.folder.path());
    }

    fn server(&self, words: &[&str]) -> Server {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rig/notifications.py");
        let mut process = Command::new("/usr/bin/python3")
            .arg(script)
            .args(words)
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (tell, told) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(serde_json::from_str::<Value>(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let server = Server { told, _process: Gone(process) };
        assert_eq!(server.next()["ready"], true);
        server
    }
}

/// A server of notifications, and what it was told.
struct Server {
    told: Receiver<Value>,
    _process: Gone,
}

impl Server {
    #[track_caller]
    fn next(&self) -> Value {
        self.told.recv_timeout(PATIENCE).expect("the desktop is told")
    }

    /// What it is told until that is said.
    #[track_caller]
    fn until(&self, key: &str, value: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = self.next();
            assert!(told["visible"].as_u64().unwrap_or(0) <= 1, "more than one is visible: {told}");
            if told[key] == value {
                return told;
            }
            assert!(Instant::now() < end, "never {value}, but {told}");
        }
    }

    fn is_told_nothing(&self) {
        let told = self.told.recv_timeout(Duration::from_millis(1200));
        assert!(told.is_err(), "{told:?}");
    }
}

struct Scene {
    rig: Arc<Rig>,
    control: Control,
    run: String,
    who: Credentials,
}

impl Scene {
    /// With an app that calls itself something that no desktop should show.
    fn start(builder: Builder) -> Self {
        let rig = builder.start();
        let package = JarBuilder::new()
            .attribute("MExE-Name", "Evil <b>&\u{202e}app</b>")
            .attribute("MExE-Version", "1.0")
            .attribute("MExE-Reason", "press <a href=\"http://evil.example\">Allow</a>")
            .entry("a.txt", "a");
        let file = rig.packages().sign("evil", &package, Some(SecurityDomain::ThirdParty));
        let app = rig.json(["app", "install", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned();
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        Self { rig: Arc::new(rig), control, run, who }
    }

    fn asks(&self, host: &str) -> JoinHandle<Value> {
        let (rig, target) = (Arc::clone(&self.rig), format!("{host}:53"));
        let body = json!({ "run": self.run, "action": "network.datagram", "target": target, "ask": true });
        thread::spawn(move || Control::of(&rig).ask("POST", "/v1/decisions", Some(&body)).unwrap().json)
    }

    fn answer(&mut self, host: &str, answer: &str) {
        let target = format!("{host}:53");
        let question = wait::until("the question", || {
            let open = |prompt: &Value| prompt["state"] == "open" && prompt["target"] == target;
            self.control.list("/v1/prompts").into_iter().find(open)
        });
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().unwrap());
        self.control.done("POST", &path, Some(&json!({ "answer": answer })));
    }

    /// A connection that an app holds, with both of its ends.
    fn holds(&mut self, who: &Credentials) -> (TcpStream, TcpStream) {
        self.control.grant(&who.app, "127.0.0.1", "session");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = raw::open(self.rig.ports(), Door::Socks, who, to).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn holders(&self) -> String {
        format!(
            ". See and end them on the console, http://{}, or with: mexegate flows",
            self.rig.ports().console
        )
    }

    /// `prompts --watch` in a session with that bus.
    fn watch(&self, address: &str) -> Gone {
        let mut watch = self.rig.command();
        watch.args(["prompts", "--watch"]).env("DBUS_SESSION_BUS_ADDRESS", address);
        Gone(watch.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

fn usual() -> Builder {
    Rig::builder().section("policy", "prompt_wait = \"20s\"")
}

fn quit(mut watch: Gone) -> Duration {
    let began = Instant::now();
    writeln!(watch.0.stdin.as_mut().unwrap(), "q").unwrap();
    assert!(watch.0.wait().unwrap().success());
    began.elapsed()
}

#[test]
fn whoever_watches_sees_one_notification_with_the_gates_words_alone() {
    let bus = Bus::start();
    let server = bus.server(&["first=7"]);
    let mut scene = Scene::start(usual());
    let watch = scene.watch(&bus.address());
    let first = scene.asks("a.example");
    let told = server.next();
    assert_eq!((&told["id"], &told["replaces"], &told["app"]), (&json!(7), &json!(0), &json!("mexegate")));
    let body = format!(
        "Answer on the console, http://{}, or with: mexegate prompts --watch",
        scene.rig.ports().console
    );
    assert_eq!((&told["summary"], &told["body"]), (&json!("A question waits"), &json!(body)));
    assert_eq!(told["actions"], json!([]), "nothing to press, and no answer by a slip");
    assert_eq!(told["hints"], json!({ "urgency": ["Byte", 1], "transient": ["Boolean", 1] }));
    assert!(told["expires"].as_u64().is_some_and(|left| (1000..=20_000).contains(&left)), "{told}");
    // One more replaces it, fewer as well, and none takes it away.
    let second = scene.asks("b.example");
    let told = server.next();
    assert_eq!((&told["replaces"], &told["summary"]), (&json!(7), &json!("2 questions wait")), "{told}");
    scene.answer("a.example", "allow");
    assert_eq!(server.next()["summary"], "A question waits");
    scene.answer("b.example", "deny");
    let told = server.next();
    assert_eq!((&told["call"], &told["id"], &told["known"]), (&json!("close"), &json!(7), &json!(true)));
    assert_eq!(first.join().unwrap()["decision"], "allow");
    assert_eq!(second.join().unwrap()["decision"], "deny");

    // A flood is a number. And what is shown goes with whoever showed it.
    let flood: Vec<_> = (0..7).map(|n| scene.asks(&format!("h{n}.example"))).collect();
    server.until("summary", "7 questions wait");
    quit(watch);
    server.until("call", "close");
    scene.control.done("DELETE", &format!("/v1/runs/{}", scene.run), None);
    for one in flood {
        one.join().unwrap();
    }
    server.is_told_nothing();
}

#[test]
fn a_gate_in_a_session_tells_the_desktop_itself_and_nobody_tells_it_twice() {
    let bus = Bus::start();
    let server = bus.server(&[]);
    let mut scene = Scene::start(usual().variable("DBUS_SESSION_BUS_ADDRESS", &bus.address()));
    assert_eq!(scene.control.done("GET", "/v1/status", None).json["notifier"], "gate");
    let watch = scene.watch(&bus.address());
    let asked = scene.asks("a.example");
    assert_eq!(server.next()["summary"], "A question waits");
    server.is_told_nothing();
    scene.answer("a.example", "deny");
    assert_eq!(server.next()["call"], "close");
    asked.join().unwrap();
    // A server that was started anew may have given our number to another.
    let asked = scene.asks("b.example");
    assert_eq!(server.next()["id"], 2);
    drop(server);
    let server = bus.server(&[]);
    let other = scene.asks("c.example");
    let told = server.next();
    assert_eq!((&told["replaces"], &told["summary"]), (&json!(0), &json!("2 questions wait")));
    quit(watch);
    // A gate that stops leaves nothing behind.
    scene.rig.signal(rustix::process::Signal::TERM);
    assert_eq!(server.until("call", "close")["known"], true);
    let _ = (asked.join(), other.join());
}

#[test]
fn as_long_as_an_app_holds_a_connection_the_desktop_says_which() {
    let bus = Bus::start();
    let server = bus.server(&["first=7"]);
    let mut scene = Scene::start(usual().variable("DBUS_SESSION_BUS_ADDRESS", &bus.address()));
    let watch = scene.watch(&bus.address());
    let rest = scene.holders();
    let evil = scene.who.clone();
    let first = scene.holds(&evil);
    let told = server.next();
    assert_eq!((&told["id"], &told["replaces"], &told["app"]), (&json!(7), &json!(0), &json!("mexegate")));
    assert_eq!(
        (&told["summary"], &told["body"]),
        (&json!("An app holds connections"), &json!(format!("{}{rest}", evil.app)))
    );
    assert!(evil.app.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{}", evil.app);
    assert_eq!(told["actions"], json!([]));
    assert_eq!(
        told["hints"],
        json!({ "urgency": ["Byte", 0], "resident": ["Boolean", 1] }),
        "quiet, and it stays"
    );
    assert_eq!(told["expires"], 0);
    assert_eq!(
        scene.control.done("GET", "/v1/status", None).json["holding"],
        json!([{ "app": evil.app, "flows": 1 }])
    );
    // One more connection of it is no news; whoever comes and goes quickly is told of at most every three seconds.
    let second = scene.holds(&evil);
    let began = Instant::now();
    let app = scene.rig.app("operator");
    let (_, other) = scene.control.run(&app);
    let mut kept = scene.holds(&other);
    let told = server.next();
    let both = [&*evil.app, &*app].iter().min().unwrap().to_string()
        + ", "
        + [&*evil.app, &*app].iter().max().unwrap();
    assert_eq!(
        (&told["replaces"], &told["summary"]),
        (&json!(7), &json!("2 apps hold connections")),
        "{told}"
    );
    assert_eq!(told["body"], format!("{both}{rest}"));
    for _ in 0..20 {
        drop(kept);
        thread::sleep(Duration::from_millis(150));
        kept = scene.holds(&other);
    }
    let said = server.told.try_iter().count();
    assert!(said <= 2, "told {said} times within 3 seconds");
    drop((first, second));
    server.until("body", &format!("{app}{rest}"));
    // Nobody tells it twice: `prompts --watch` sees that the gate does it.
    quit(watch);
    drop(kept);
    let told = server.until("call", "close");
    assert_eq!((&told["id"], &told["known"]), (&json!(7), &json!(true)));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    server.is_told_nothing();
}

#[test]
fn whoever_watches_is_told_of_connections_where_the_gate_has_no_session() {
    let bus = Bus::start();
    let server = bus.server(&[]);
    let mut scene = Scene::start(usual());
    assert_eq!(scene.control.done("GET", "/v1/status", None).json["connection_notifier"], "watcher");
    let watch = scene.watch(&bus.address());
    let who = scene.who.clone();
    let held = scene.holds(&who);
    let told = server.next();
    assert_eq!(
        (&told["summary"], &told["body"]),
        (&json!("An app holds connections"), &json!(format!("{}{}", who.app, scene.holders())))
    );
    // Beside it, a question has its own; and both go with whoever showed them.
    let asked = scene.asks("a.example");
    let question = server.next();
    assert_eq!((&question["summary"], &question["visible"]), (&json!("A question waits"), &json!(2)));
    quit(watch);
    let closed = [server.next(), server.next()].map(|told| (told["call"].clone(), told["id"].clone()));
    for told in [told, question] {
        assert!(closed.contains(&(json!("close"), told["id"].clone())), "{closed:?}");
    }
    scene.answer("a.example", "deny");
    asked.join().unwrap();
    drop(held);
}

#[test]
fn off_is_off() {
    let bus = Bus::start();
    let server = bus.server(&[]);
    let off = Rig::builder()
        .section("policy", "prompt_wait = \"20s\"\nprompt_notify = \"off\"\nconnection_notify = \"off\"");
    let mut scene = Scene::start(off.variable("DBUS_SESSION_BUS_ADDRESS", &bus.address()));
    let watch = scene.watch(&bus.address());
    let asked = scene.asks("a.example");
    let who = scene.who.clone();
    let held = scene.holds(&who);
    server.is_told_nothing();
    scene.answer("a.example", "deny");
    asked.join().unwrap();
    quit(watch);
    drop(held);
}

#[test]
fn a_bus_that_dies_is_found_again() {
    let mut bus = Bus::start();
    let server = bus.server(&[]);
    let mut scene = Scene::start(usual().variable("DBUS_SESSION_BUS_ADDRESS", &bus.address()));
    let asked = scene.asks("a.example");
    assert_eq!(server.next()["summary"], "A question waits");
    drop(server);
    bus.start_again();
    scene.answer("a.example", "deny");
    asked.join().unwrap();
    let server = bus.server(&[]);
    let asked = scene.asks("b.example");
    assert_eq!(server.until("summary", "A question waits")["replaces"], 0);
    scene.answer("b.example", "deny");
    asked.join().unwrap();
    server.until("call", "close");
}

#[test]
fn a_bus_or_a_server_that_hangs_keeps_nobody_waiting() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bus");
    // Whoever comes in waits for ever.
    let deaf = UnixListener::bind(&path).unwrap();
    let bus = Bus::start();
    let server = bus.server(&["hang"]);
    for address in
        [format!("unix:path={}", path.display()), bus.address(), "unix:path=/nowhere/bus".to_owned()]
    {
        let mut scene = Scene::start(usual().variable("DBUS_SESSION_BUS_ADDRESS", &address));
        for host in ["a.example", "b.example", "c.example"] {
            let began = Instant::now();
            let asked = scene.asks(host);
            scene.answer(host, "allow");
            assert_eq!(asked.join().unwrap()["decision"], "allow", "{address}");
            assert!(began.elapsed() < Duration::from_secs(2), "{address}: {:?}", began.elapsed());
        }
        let asked = scene.asks("d.example");
        let rig = &mut scene.rig;
        wait::until("the question", || (Control::of(rig).list("/v1/prompts").len() == 1).then_some(()));
        rig.signal(rustix::process::Signal::TERM);
        let began = Instant::now();
        let _ = asked.join();
        wait::until("the gate to end", || Arc::get_mut(rig).map(|rig| rig.ended()));
        assert!(began.elapsed() < Duration::from_secs(10), "{address}: {:?}", began.elapsed());

        // And who watches in such a session leaves when he wants.
        let mut scene = Scene::start(usual());
        let mut watch = scene.watch(&address);
        let mut shown = BufReader::new(watch.0.stdout.take().unwrap()).lines();
        let asked = scene.asks("a.example");
        assert!(shown.by_ref().map_while(Result::ok).any(|line| line.contains("a.example:53")), "{address}");
        scene.answer("a.example", "deny");
        asked.join().unwrap();
        assert!(quit(watch) < Duration::from_secs(2), "{address}");
    }
    drop((server, deaf));
}
