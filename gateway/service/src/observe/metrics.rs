//! Every metric of the gate, in one list (names: design contract, prefix `mexegate_`). Labels come from closed sets only:
//! app ids, hosts and users never become labels.

use std::time::Duration;

use mexe_certs::Format;
use mexe_model::{Permission, Reason, SecurityDomain, Trust};
use mexe_qos::TrafficClass;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::Stock;
use super::bearers::BearerSeries;
use super::process::ProcessMetrics;
use crate::trust::State;

/// The door a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ingress {
    /// HTTP CONNECT.
    HttpConnect,
    /// An absolute-form forward request.
    HttpForward,
    /// SOCKS5 CONNECT.
    Socks5,
    /// SOCKS5 UDP ASSOCIATE.
    Socks5Udp,
}

impl Ingress {
    /// All doors.
    pub const ALL: [Self; 4] = [Self::HttpConnect, Self::HttpForward, Self::Socks5, Self::Socks5Udp];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HttpConnect => "http-connect",
            Self::HttpForward => "http-forward",
            Self::Socks5 => "socks5",
            Self::Socks5Udp => "socks5-udp",
        }
    }
}

/// How a flow ended, for the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowResult {
    /// Both sides finished.
    Closed,
    /// The gate cut it.
    Cut,
    /// It was allowed, but no connection came about.
    Failed,
    /// Quiet for too long.
    Idle,
    /// One side reset it.
    Reset,
}

impl FlowResult {
    /// All results.
    pub const ALL: [Self; 5] = [Self::Closed, Self::Cut, Self::Failed, Self::Idle, Self::Reset];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Cut => "cut",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::Reset => "reset",
        }
    }
}

/// What became of a question, for the label `answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PromptResult {
    /// The user said yes.
    Allow,
    /// The user said no.
    Deny,
    /// Nobody answered in time.
    Missed,
    /// There was no room for it.
    QueueFull,
}

impl PromptResult {
    /// All results.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Deny, Self::Missed, Self::QueueFull];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Missed => "missed",
            Self::QueueFull => "queue-full",
        }
    }
}

/// The registry and every series in it.
pub struct Metrics {
    registry: Registry,
    process: ProcessMetrics,
    decisions: IntCounterVec,
    /// Time of one decision by the policy, seconds.
    pub decision_seconds: Histogram,
    scheduler_wait_seconds: HistogramVec,
    flows_open: IntGaugeVec,
    flows: IntCounterVec,
    flow_setup_seconds: HistogramVec,
    flow_bytes: IntCounterVec,
    flow_cut: IntCounterVec,
    /// Time from a revoke (or other end of a right) to the last byte, seconds.
    pub flow_cut_seconds: Histogram,
    policed_bytes: IntCounterVec,
    datagrams_dropped: IntCounterVec,
    verifications: IntCounterVec,
    verification_seconds: HistogramVec,
    roots: IntGaugeVec,
    apps: IntGaugeVec,
    runs_open: IntGaugeVec,
    streams_open: IntGaugeVec,
    grants: IntGaugeVec,
    /// Records in the journal's chain that this process wrote.
    pub journal_records: IntCounter,
    /// Records that wait for the journal's writer.
    pub journal_backlog: IntGauge,
    connections_refused: IntCounterVec,
    bearers: BearerSeries,
    prompts_open: IntGauge,
    prompts: IntCounterVec,
    prompt_seconds: Histogram,
}

/// The series of one flow, looked up once when it opens.
#[derive(Clone)]
pub struct FlowSeries {
    open: IntGauge,
    up: IntCounter,
    down: IntCounter,
    policed_up: IntCounter,
    policed_down: IntCounter,
}

impl FlowSeries {
    /// Counts bytes that moved, by direction.
    pub fn moved(&self, up: u64, down: u64) {
        self.up.inc_by(up);
        self.down.inc_by(down);
        self.policed_up.inc_by(up);
        self.policed_down.inc_by(down);
    }

    /// The flow is over.
    pub fn closed(&self) {
        self.open.dec();
    }
}

impl Metrics {
    /// All series, at zero. Fails only if two had the same name.
    ///
    /// # Errors
    /// The registry's own: a name given twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help).namespace("mexegate"), labels)?)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help).namespace("mexegate"), labels)?)
        };
        let times = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).namespace("mexegate").buckets(buckets.to_vec());
            register(&registry, HistogramVec::new(opts, labels)?)
        };
        let time = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).namespace("mexegate").buckets(buckets.to_vec());
            register(&registry, Histogram::with_opts(opts)?)
        };
        let build = gauges("build_info", "Version of the running gate, always 1", &["version", "commit"])?;
        let commit = option_env!("MEXEGATE_COMMIT").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), commit]).set(1);
        let metrics = Self {
            decisions: counters(
                "decisions_total",
                "Decisions taken",
                &["domain", "action_group", "decision", "reason"],
            )?,
            decision_seconds: time("decision_seconds", "Time of one decision by the policy", &MICROS)?,
            scheduler_wait_seconds: times("scheduler_wait_seconds", WAITS, &MILLIS, &["class"])?,
            flows_open: gauges("flows_open", "Flows open now", &["domain", "class", "ingress"])?,
            flows: counters("flows_total", "Flows ended", &["domain", "class", "ingress", "result"])?,
            flow_setup_seconds: times(
                "flow_setup_seconds",
                "Time from a complete request to a connected flow",
                &MILLIS,
                &["ingress"],
            )?,
            flow_bytes: counters("flow_bytes_total", "Bytes moved", &["domain", "class", "direction"])?,
            flow_cut: counters("flow_cut_total", "Flows cut by the gate", &["reason"])?,
            flow_cut_seconds: time(
                "flow_cut_seconds",
                "Time from the end of a right to the end of its flow",
                &MILLIS,
            )?,
            policed_bytes: counters(
                "policed_bytes_total",
                "Bytes that met the meter of their class",
                &["class", "direction", "verdict"],
            )?,
            datagrams_dropped: counters(
                "datagrams_dropped_total",
                "Datagrams that went no further",
                &["reason"],
            )?,
            verifications: counters("verifications_total", "Packages judged", &["format", "result"])?,
            verification_seconds: times(
                "verification_seconds",
                "Time to judge one package",
                &SECONDS,
                &["format"],
            )?,
            roots: gauges("roots", "Root public keys", &["domain", "state"])?,
            apps: gauges("apps", "Installed apps", &["domain"])?,
            runs_open: gauges("runs_open", "Runs open now", &["domain"])?,
            streams_open: gauges(
                "streams_open",
                "Streams that apps asked for, by what they have",
                &["class"],
            )?,
            grants: gauges("grants", "Permissions that the user has given", &["permission"])?,
            journal_records: register(
                &registry,
                IntCounter::with_opts(
                    Opts::new("journal_records_total", "Records written to the journal")
                        .namespace("mexegate"),
                )?,
            )?,
            journal_backlog: register(
                &registry,
                IntGauge::with_opts(
                    Opts::new("journal_backlog", "Records that wait for the journal's writer")
                        .namespace("mexegate"),
                )?,
            )?,
            connections_refused: counters(
                "connections_refused_total",
                "Connections refused before any decision on a target",
                &["ingress", "reason"],
            )?,
            bearers: BearerSeries::new(&registry)?,
            prompts_open: register(
                &registry,
                IntGauge::with_opts(
                    Opts::new("prompts_open", "Questions that wait for the user").namespace("mexegate"),
                )?,
            )?,
            prompts: counters("prompts_total", "Questions to the user, by what became of them", &["answer"])?,
            prompt_seconds: time("prompt_seconds", "Time from a question to its answer", &PATIENCE)?,
            process: ProcessMetrics::new(&registry)?,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// A series that nobody has touched yet would be missing rather than zero, and a rate over it wrong.
    fn start_at_zero(&self) {
        for trust in Trust::ALL {
            self.apps.with_label_values(&[trust.as_str()]).set(0);
            self.runs_open.with_label_values(&[trust.as_str()]).set(0);
            self.decisions.with_label_values(&[trust.as_str(), "network", "allow", "none"]);
            for class in TrafficClass::ALL {
                for direction in ["up", "down"] {
                    self.flow_bytes.with_label_values(&[trust.as_str(), class.as_str(), direction]);
                    for verdict in ["conforming", "dropped"] {
                        self.policed_bytes.with_label_values(&[class.as_str(), direction, verdict]);
                    }
                }
                for ingress in Ingress::ALL {
                    let labels = [trust.as_str(), class.as_str(), ingress.as_str()];
                    self.flows_open.with_label_values(&labels).set(0);
                    for result in FlowResult::ALL {
                        let labels = [trust.as_str(), class.as_str(), ingress.as_str(), result.as_str()];
                        self.flows.with_label_values(&labels);
                    }
                }
            }
        }
        for class in TrafficClass::ALL {
            self.streams_open.with_label_values(&[class.as_str()]).set(0);
        }
        for permission in Permission::ALL {
            self.grants.with_label_values(&[permission.as_str()]).set(0);
        }
        for domain in SecurityDomain::ALL {
            for state in State::ALL {
                self.roots.with_label_values(&[domain.as_str(), state.as_str()]).set(0);
            }
        }
        for format in Format::ALL {
            for result in ["verified", "untrusted", "refused"] {
                self.verifications.with_label_values(&[format.as_str(), result]);
            }
        }
        for result in PromptResult::ALL {
            self.prompts.with_label_values(&[result.as_str()]);
        }
        for ingress in Ingress::ALL {
            self.flow_setup_seconds.with_label_values(&[ingress.as_str()]);
        }
    }

    /// The series of bearers.
    pub const fn bearers(&self) -> &BearerSeries {
        &self.bearers
    }

    /// Counts one decision.
    pub fn decided(&self, trust: Trust, group: &str, allowed: bool, reason: Option<Reason>) {
        let decision = if allowed { "allow" } else { "deny" };
        let reason = reason.map_or("none", Reason::code);
        self.decisions.with_label_values(&[trust.as_str(), group, decision, reason]).inc();
    }

    /// Counts a connection that was turned away before it named a target it may ask for.
    pub fn refused(&self, ingress: Ingress, reason: Reason) {
        self.connections_refused.with_label_values(&[ingress.as_str(), reason.code()]).inc();
    }

    /// The series of datagrams that are dropped for this reason.
    pub fn datagrams_dropped(&self, reason: Reason) -> IntCounter {
        self.datagrams_dropped.with_label_values(&[reason.code()])
    }

    /// The series of bytes that a class's meter does not let through in this direction.
    pub fn policed(&self, class: TrafficClass, direction: &str) -> IntCounter {
        self.policed_bytes.with_label_values(&[class.as_str(), direction, "dropped"])
    }

    /// The series of how long flows of that class wait for their share of the bearer.
    pub fn scheduler_wait(&self, class: TrafficClass) -> Histogram {
        self.scheduler_wait_seconds.with_label_values(&[class.as_str()])
    }

    /// Counts a question that is answered, after so long, or not answered.
    pub fn prompt_ended(&self, result: PromptResult, after: Option<Duration>) {
        self.prompts.with_label_values(&[result.as_str()]).inc();
        if let Some(after) = after {
            self.prompt_seconds.observe(after.as_secs_f64());
        }
    }

    /// The series of a flow that opens now; counts it as open.
    pub fn flow_opened(
        &self,
        trust: Trust,
        class: TrafficClass,
        ingress: Ingress,
        setup: Duration,
    ) -> FlowSeries {
        self.flow_setup_seconds.with_label_values(&[ingress.as_str()]).observe(setup.as_secs_f64());
        self.flow_of_class(trust, class, ingress)
    }

    /// The series of an open flow that has this class from now on; counts it as open.
    pub fn flow_of_class(&self, trust: Trust, class: TrafficClass, ingress: Ingress) -> FlowSeries {
        let (trust, class, ingress) = (trust.as_str(), class.as_str(), ingress.as_str());
        let open = self.flows_open.with_label_values(&[trust, class, ingress]);
        open.inc();
        FlowSeries {
            open,
            up: self.flow_bytes.with_label_values(&[trust, class, "up"]),
            down: self.flow_bytes.with_label_values(&[trust, class, "down"]),
            policed_up: self.policed_bytes.with_label_values(&[class, "up", "conforming"]),
            policed_down: self.policed_bytes.with_label_values(&[class, "down", "conforming"]),
        }
    }

    /// Counts the end of a flow.
    pub fn flow_ended(&self, trust: Trust, class: TrafficClass, ingress: Ingress, result: FlowResult) {
        let labels = [trust.as_str(), class.as_str(), ingress.as_str(), result.as_str()];
        self.flows.with_label_values(&labels).inc();
    }

    /// Counts a flow that the gate cut.
    pub fn flow_was_cut(&self, reason: Reason) {
        self.flow_cut.with_label_values(&[reason.code()]).inc();
    }

    /// Counts one judged package.
    pub fn verified(&self, format: Format, result: &str, took: Duration) {
        let format = format.as_str();
        self.verifications.with_label_values(&[format, result]).inc();
        self.verification_seconds.with_label_values(&[format]).observe(took.as_secs_f64());
    }

    /// Sets the gauges that are counted anew at each scrape.
    pub fn set_stock(&self, stock: &Stock) {
        for trust in Trust::ALL {
            let count = |all: &[Trust]| as_gauge(all.iter().filter(|t| **t == trust).count());
            self.apps.with_label_values(&[trust.as_str()]).set(count(&stock.apps));
            self.runs_open.with_label_values(&[trust.as_str()]).set(count(&stock.runs));
        }
        for class in TrafficClass::ALL {
            let count = stock.streams.iter().filter(|c| **c == class).count();
            self.streams_open.with_label_values(&[class.as_str()]).set(as_gauge(count));
        }
        for permission in Permission::ALL {
            let count = stock.grants.iter().filter(|p| **p == permission).count();
            self.grants.with_label_values(&[permission.as_str()]).set(as_gauge(count));
        }
        for domain in SecurityDomain::ALL {
            for state in State::ALL {
                let count = stock.roots.iter().filter(|r| **r == (domain, state)).count();
                self.roots.with_label_values(&[domain.as_str(), state.as_str()]).set(as_gauge(count));
            }
        }
        self.bearers.set(&stock.bearers);
        self.prompts_open.set(as_gauge(stock.prompts_open));
        self.journal_backlog.set(as_gauge(stock.journal_backlog));
        let written = stock.journal_records.saturating_sub(self.journal_records.get());
        self.journal_records.inc_by(written);
    }

    /// What each class has moved since the gate started, up and down, bytes; as of the last time it was settled.
    pub fn moved_by_class(&self) -> [(TrafficClass, u64, u64); 4] {
        TrafficClass::ALL.map(|class| {
            let moved = |direction: &str| {
                let of = |trust: Trust| {
                    self.flow_bytes.with_label_values(&[trust.as_str(), class.as_str(), direction]).get()
                };
                Trust::ALL.into_iter().map(of).sum()
            };
            (class, moved("up"), moved("down"))
        })
    }

    /// The text exposition of everything.
    ///
    /// # Errors
    /// The encoder's own; never for these series.
    pub fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.process.refresh();
        let mut text = Vec::with_capacity(32 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

const WAITS: &str = "How long flows waited for a share of the bearer";
const MICROS: [f64; 9] = [2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 1e-4, 1e-3, 1e-2];
const MILLIS: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.25, 1.0, 10.0];
const PATIENCE: [f64; 8] = [0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0];
const SECONDS: [f64; 9] = [1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 30.0];

pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
