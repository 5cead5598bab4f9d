//! The series of bearers: whether each can be used, what it carries, what flows moved over it, and what it was asked for.

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::metrics::register;
use crate::bearer::{Status, bytes_per_second};

/// The series of all bearers.
#[derive(Clone, Debug)]
pub struct BearerSeries {
    up: IntGaugeVec,
    roaming: IntGaugeVec,
    capacity: IntGaugeVec,
    /// What flows moved, by bearer and direction.
    pub bytes: IntCounterVec,
    /// Sessions that were asked for, by bearer and result.
    pub negotiations: IntCounterVec,
}

impl BearerSeries {
    /// All of them, at zero.
    ///
    /// # Errors
    /// The registry's own: a name given twice.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("mexegate");
        let gauges =
            |name, help, labels: &[&str]| register(registry, IntGaugeVec::new(opts(name, help), labels)?);
        let counters =
            |name, help, labels: &[&str]| register(registry, IntCounterVec::new(opts(name, help), labels)?);
        Ok(Self {
            up: gauges("bearer_up", "Whether the bearer can be used", &["bearer"])?,
            roaming: gauges(
                "bearer_roaming",
                "Whether the bearer is on another operator's network; missing where nobody can tell",
                &["bearer"],
            )?,
            capacity: gauges(
                "bearer_capacity_bytes_per_second",
                "What the bearer carries; missing where no limit is known",
                &["bearer", "direction"],
            )?,
            bytes: counters(
                "bearer_bytes_total",
                "Payload that flows moved over each bearer",
                &["bearer", "direction"],
            )?,
            negotiations: counters(
                "qos_negotiations_total",
                "Sessions that bearers were asked for, by what became of it",
                &["bearer", "result"],
            )?,
        })
    }

    /// How each bearer is at a scrape, by its name.
    pub(super) fn set(&self, bearers: &[(Arc<str>, Status)]) {
        for (bearer, status) in bearers {
            let (name, capacity) = ([bearer.as_ref()], status.capacity);
            self.up.with_label_values(&name).set(i64::from(status.is_up()));
            match status.roaming {
                Some(roaming) => self.roaming.with_label_values(&name).set(i64::from(roaming)),
                None => drop(self.roaming.remove_label_values(&name)),
            }
            for (direction, rate) in [("up", capacity.up), ("down", capacity.down)] {
                let labels = [bearer.as_ref(), direction];
                match rate {
                    Some(rate) => self.capacity.with_label_values(&labels).set(bytes_per_second(rate)),
                    // There is none to remove as long as no limit was known.
                    None => drop(self.capacity.remove_label_values(&labels)),
                }
            }
        }
    }
}
