//! The eight standard process metrics, read from /proc at each scrape.

use prometheus::{Counter, Gauge, Opts, Registry};
use rustix::process::{Resource, getrlimit};

/// `process_*`, without our prefix, as every Prometheus client names them.
pub(super) struct ProcessMetrics {
    cpu: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_memory: Gauge,
    virtual_memory_max: Gauge,
    resident: Gauge,
    start: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::with_opts(Opts::new(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu = Counter::with_opts(Opts::new(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds",
        ))?;
        registry.register(Box::new(cpu.clone()))?;
        let metrics = Self {
            cpu,
            open_fds: gauge("process_open_fds", "Number of open file descriptors")?,
            max_fds: gauge("process_max_fds", "Maximum number of open file descriptors")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory size in bytes")?,
            virtual_memory_max: gauge(
                "process_virtual_memory_max_bytes",
                "Maximum amount of virtual memory available in bytes",
            )?,
            resident: gauge("process_resident_memory_bytes", "Resident memory size in bytes")?,
            start: gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds",
            )?,
            threads: gauge("process_threads", "Number of OS threads in the process")?,
        };
        metrics.refresh();
        Ok(metrics)
    }

    /// Reads the figures anew. What /proc does not tell stays as it was.
    pub(super) fn refresh(&self) {
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself holds one.
            self.open_fds.set(count(entries.count().saturating_sub(1)));
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            self.max_fds.set(float(limit));
        }
        // Without a limit the Prometheus clients report the largest value.
        self.virtual_memory_max.set(float(getrlimit(Resource::As).current.unwrap_or(u64::MAX)));
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else { return };
        // Field numbers of proc(5), counted from 3 for what follows the name.
        let fields: Vec<u64> = rest.split_ascii_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
        let ticks = float(rustix::param::clock_ticks_per_second());
        let cpu = float(field(14) + field(15)) / ticks;
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.threads.set(float(field(20)));
        self.virtual_memory.set(float(field(23)));
        self.resident.set(float(field(24).saturating_mul(rustix::param::page_size() as u64)));
        let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        if let Some(boot) = boot {
            self.start.set(float(boot) + float(field(22)) / ticks);
        }
    }
}

fn count(number: usize) -> f64 {
    float(number as u64)
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float; 2^53 is enough for any of these")]
fn float(number: u64) -> f64 {
    number as f64
}
