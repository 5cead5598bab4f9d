//! From the answer to the open connection: connections are held on a question, the user says yes through the API, and the
//! time runs from the sending of his answer to the success in the app's hands.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rig::raw::{self, Credentials, Door};
use rig::{Control, Rig, wait};
use serde_json::{Value, json};

use crate::rank::{cells, rank};

const TARGET: Duration = Duration::from_millis(20);

/// Appends the table. True when the target is met.
pub fn measure(text: &mut String, quick: bool) -> bool {
    let (times, together) = if quick { (10, 2) } else { (200, 100) };
    let mut scene = Scene::start();
    let cases = [
        ("alone, session", scene.repeat(times, 1, "session")),
        ("alone, single", scene.repeat(times, 1, "single")),
        ("30 on one question, session", scene.repeat(together, 30, "session")),
    ];
    let _ = write!(
        text,
        "From the answer to the open connection, milliseconds; the 99th percentile is to be {} at most.\n\n",
        TARGET.as_millis()
    );
    let _ = writeln!(
        text,
        "| held | connections | median | p99 | longest |\n| --- | ---: | ---: | ---: | ---: |"
    );
    for (what, figures) in &cases {
        let _ = writeln!(text, "| {what} | {} | {} |", figures.len(), cells(figures));
    }
    let _ = writeln!(text);
    cases.iter().all(|(_, figures)| rank(figures, 0.99) <= TARGET)
}

struct Scene {
    rig: Rig,
    control: Control,
    who: Credentials,
    port: u16,
    /// So many targets were asked for.
    asked: u32,
}

impl Scene {
    fn start() -> Self {
        let rig = Rig::builder().section("policy", "prompt_wait = \"30s\"").start();
        let mut control = Control::of(&rig);
        let (_, who) = control.run(&rig.app("third-party"));
        let origin = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let port = origin.local_addr().expect("a listener has an address").port();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in origin.incoming().flatten() {
                open.push(stream);
                // The newest stay open: how a flow ends is not what is measured.
                open.drain(..open.len().saturating_sub(100));
            }
        });
        Self { rig, control, who, port, asked: 0 }
    }

    /// So many questions one after the other, each with so many connections, each for another target.
    fn repeat(&mut self, questions: usize, connections: usize, permission: &str) -> Vec<Duration> {
        (0..questions).flat_map(|_| self.once(connections, permission)).collect()
    }

    fn once(&mut self, connections: usize, permission: &str) -> Vec<Duration> {
        self.asked += 1;
        let [_, _, high, low] = self.asked.to_be_bytes();
        let target = SocketAddr::from(([127, 1, high, low], self.port));
        let ask = |_| raw::ask(self.rig.ports(), Door::Socks, &self.who, target).expect("the gate listens");
        let held: Vec<_> = (0..connections).map(ask).collect();
        let question = wait::until("the question", || {
            let all = |question: &Value| question["held"].as_u64() == u64::try_from(connections).ok();
            self.control.list("/v1/prompts").into_iter().find(all)
        });
        let path = format!("/v1/prompts/{}/answer", question["id"].as_str().expect("a question has an id"));
        let yes = json!({ "answer": "allow", "permission": permission });
        thread::scope(|scope| {
            let opened = |stream: TcpStream| {
                raw::answer(Door::Socks, &stream).expect("the user said yes");
                Instant::now()
            };
            let waiting: Vec<_> =
                held.into_iter().map(|stream| scope.spawn(move || opened(stream))).collect();
            // All of them read by now.
            thread::sleep(Duration::from_millis(20));
            let sent = self.control.done("POST", &path, Some(&yes)).sent;
            let since = |opened: Instant| opened.saturating_duration_since(sent);
            waiting.into_iter().map(|one| since(one.join().expect("a success"))).collect()
        })
    }
}
