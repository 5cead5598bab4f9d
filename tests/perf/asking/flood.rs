//! An app that asks without end: so many connections a second, each to a target of its own. What that costs the gate,
//! beside an app that is refused as often, and how long the question of another app takes meanwhile until it stands where
//! the user looks. One gate; the kinds of flood take turns every second, so that whatever else the machine does touches
//! all of them.

use std::fmt::{self, Write as _};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rig::raw::{self, Credentials, Door};
use rig::{Control, Rig, proc};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rank::{cells, rank};

/// What asking may cost, as a multiple of what being refused costs.
const MOST_CPU: f64 = 1.05;
/// By how much another app's question may be late.
const MOST_DELAY: Duration = Duration::from_millis(100);
/// How often the other app asks.
const PACE: Duration = Duration::from_millis(500);
/// For how long each kind has its turn.
const TURN: Duration = Duration::from_secs(1);

/// What a hostile app does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The table has no for it.
    Refused,
    /// Each connection asks, and waits for the answer.
    Asks,
    /// Each connection asks and hangs up, so that there is always room for a new question.
    AsksAndLeaves,
}

const KINDS: [Kind; 3] = [Kind::Refused, Kind::Asks, Kind::AsksAndLeaves];

impl Kind {
    /// The domain of the app that does it.
    fn domain(self) -> &'static str {
        match self {
            Self::Refused => "unsigned",
            Self::Asks => "third-party",
            Self::AsksAndLeaves => "manufacturer",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "is refused",
            Self::Asks => "asks, waits",
            Self::AsksAndLeaves => "asks, hangs up",
        })
    }
}

/// The gate's CPU time in one round, and for how many connections.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu: Duration,
    made: u64,
}

impl Cost {
    fn each_us(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.made.max(1) as f64
    }
}

/// Appends the tables. True when the targets are met.
pub fn measure(text: &mut String, rounds: usize, rate: u32, quick: bool) -> bool {
    let turns = if quick { 1 } else { 20 };
    let mut scene = Scene::start(rate);
    let costs: Vec<[Cost; KINDS.len()]> = (0..rounds).map(|_| scene.costs(turns)).collect();
    let _ = write!(
        text,
        "A hostile app makes {rate} connections a second, each to a new target; {rounds} rounds of {turns} s for each kind, \
         in turns of {} s. Asking is to cost at most {MOST_CPU} times what being refused costs; the ratio is that of the same \
         round.\n\n| the app | connections | CPU us each: median, least, most | ratio: median, least, most |\n\
         | --- | ---: | ---: | ---: |\n",
        TURN.as_secs()
    );
    let mut met = true;
    for (at, kind) in KINDS.iter().enumerate() {
        let made: u64 = costs.iter().map(|round| round[at].made).sum();
        let each = spread(costs.iter().map(|round| round[at].each_us()));
        let ratio = spread(costs.iter().map(|round| round[at].each_us() / round[0].each_us()));
        let ([each, least, most], [middle, fewest, highest]) = (each, ratio);
        let _ = writeln!(
            text,
            "| {kind} | {made} | {each:.0}, {least:.0}, {most:.0} | {middle:.2}, {fewest:.2}, {highest:.2} |"
        );
        met &= middle <= MOST_CPU;
    }
    let _ = write!(
        text,
        "\nAnother app's question meanwhile, from its connection until it stands in /v1/prompts, milliseconds; the longest is \
         to be {} more than without a flood at most.\n\n| the hostile app | questions | median | p99 | longest |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        MOST_DELAY.as_millis()
    );
    let mut still = Duration::ZERO;
    for kind in [None].into_iter().chain(KINDS.map(Some)) {
        let delays = scene.delays(kind, TURN * turns);
        let what = kind.map_or("is still".to_owned(), |kind| kind.to_string());
        let _ = writeln!(text, "| {what} | {} | {} |", delays.len(), cells(&delays));
        if kind.is_none() {
            still = rank(&delays, 0.5);
        }
        met &= rank(&delays, 1.0) <= still + MOST_DELAY;
    }
    let _ = writeln!(text);
    met
}

struct Scene {
    rig: Rig,
    control: Control,
    other: Credentials,
    flood: Arc<Flood>,
}

impl Scene {
    fn start(rate: u32) -> Self {
        // Longer than a round, so that those who wait are waiting until its end.
        let rig = Rig::builder().section("policy", "prompt_wait = \"2m\"").start();
        let mut control = Control::of(&rig);
        let mut run = |domain| control.run(&rig.app(domain)).1;
        let flood = Flood {
            proxy: rig.ports().socks,
            who: KINDS.map(|kind| run(kind.domain())),
            kind: AtomicUsize::new(0),
            rate,
            targets: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            made: Default::default(),
        };
        let other = run("operator");
        Self { rig, control, other, flood: Arc::new(flood) }
    }

    /// One round: that many turns of each kind.
    fn costs(&self, turns: u32) -> [Cost; KINDS.len()] {
        let mut costs = [Cost::default(); KINDS.len()];
        self.flooded(|| {
            // The first of them fill what there is to fill.
            for at in 0..KINDS.len() {
                self.flood.kind.store(at, Ordering::Relaxed);
                thread::sleep(TURN);
            }
            for _ in 0..turns {
                for (at, cost) in costs.iter_mut().enumerate() {
                    let made = || self.flood.made[at].load(Ordering::Relaxed);
                    self.flood.kind.store(at, Ordering::Relaxed);
                    let (before, cpu) = (made(), proc::cpu(self.rig.pid()));
                    thread::sleep(TURN);
                    cost.cpu += proc::cpu(self.rig.pid()).saturating_sub(cpu);
                    cost.made += made() - before;
                }
            }
        });
        let each = costs.map(|cost| format!("{:.1}", cost.each_us()));
        eprintln!("CPU us for each connection: {}", each.join(", "));
        costs
    }

    /// How long another app's questions take.
    fn delays(&mut self, kind: Option<Kind>, time: Duration) -> Vec<Duration> {
        let Some(at) = kind.and_then(|kind| KINDS.iter().position(|known| *known == kind)) else {
            return questions(&self.rig, &mut self.control, &self.other, &self.flood.targets, time);
        };
        self.flood.kind.store(at, Ordering::Relaxed);
        let mut control = Control::of(&self.rig);
        let mut delays = Vec::new();
        self.flooded(|| {
            thread::sleep(TURN);
            delays = questions(&self.rig, &mut control, &self.other, &self.flood.targets, time);
        });
        delays
    }

    fn flooded(&self, work: impl FnOnce()) {
        thread::scope(|scope| {
            self.flood.stop.store(false, Ordering::Relaxed);
            let flood = Arc::clone(&self.flood);
            let running = scope.spawn(move || flood.run());
            work();
            self.flood.stop.store(true, Ordering::Relaxed);
            running.join().expect("a flood does not panic");
        });
    }
}

/// How long each takes from its connection until it stands among the questions.
fn questions(
    rig: &Rig,
    control: &mut Control,
    who: &Credentials,
    targets: &AtomicU64,
    time: Duration,
) -> Vec<Duration> {
    let begin = Instant::now();
    let mut delays = Vec::new();
    while begin.elapsed() < time {
        let target = target(targets.fetch_add(1, Ordering::Relaxed));
        let asked = Instant::now();
        let stream = raw::ask(rig.ports(), Door::Socks, who, target.into()).expect("the gate listens");
        let target = target.to_string();
        let seen = rig::wait::within(Duration::from_secs(20), || {
            let listed = control.list("/v1/prompts");
            let question = listed.into_iter().find(|question| question["target"] == target.as_str())?;
            Some((Instant::now(), question))
        });
        // One that never came is as late as can be.
        delays.push(seen.as_ref().map_or(Duration::from_secs(20), |(seen, _)| seen.duration_since(asked)));
        if let Some((_, question)) = seen {
            // Without a yes now and then an app soon asks nothing new.
            let path =
                format!("/v1/prompts/{}/answer", question["id"].as_str().expect("a question has an id"));
            control.done("POST", &path, Some(&json!({ "answer": "allow", "permission": "single" })));
        }
        drop(stream);
        thread::sleep(PACE.saturating_sub(asked.elapsed()));
    }
    delays
}

/// The n-th target, in the network that is set aside for measuring (RFC 2544).
fn target(n: u64) -> SocketAddrV4 {
    let [.., high, middle, low] = n.to_be_bytes();
    SocketAddrV4::new([198, 18 + (high & 1), middle, low].into(), 443)
}

struct Flood {
    proxy: SocketAddr,
    /// By kind, as what follows.
    who: [Credentials; KINDS.len()],
    /// Whose turn it is.
    kind: AtomicUsize,
    rate: u32,
    /// Targets so far, so that each is new.
    targets: AtomicU64,
    stop: AtomicBool,
    made: [AtomicU64; KINDS.len()],
}

impl Flood {
    /// Makes connections at the rate until it is told to stop; those that wait then are dropped.
    fn run(self: Arc<Self>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (begin, mut made) = (Instant::now(), 0_u64);
            while !self.stop.load(Ordering::Relaxed) {
                let due = (begin.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
                // What a busy machine has missed is not made up for all at once.
                for _ in made..due.min(made + 50) {
                    let own = Arc::clone(&self);
                    tokio::spawn(async move { own.connection().await.ok() });
                }
                made = due.max(made);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    async fn connection(&self) -> std::io::Result<()> {
        let at = self.kind.load(Ordering::Relaxed);
        let target = target(self.targets.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&raw::socks_request(&self.who[at], target.into())).await?;
        self.made[at].fetch_add(1, Ordering::Relaxed);
        if KINDS[at] == Kind::AsksAndLeaves {
            // The credentials are accepted: the question is next.
            stream.read_exact(&mut [0; 4]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Ok(());
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let is_no = answer.starts_with(&[5, 2, 1, 0, 5]) && answer.get(5).is_some_and(|code| *code != 0);
        assert!(is_no, "credentials are accepted and the reply is a no: {answer:?}");
        Ok(())
    }
}

/// The median, the least and the most.
fn spread(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
    [at(figures.len() / 2), at(0), at(figures.len().saturating_sub(1))]
}
