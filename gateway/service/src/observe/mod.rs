//! What operators see of the gate: Prometheus metrics and the health pages. Nothing here decides; the rooms that act call
//! in, and a scrape reads.

mod bearers;
pub mod metrics;
pub mod pages;
pub mod process;
pub mod stock;

pub use bearers::BearerSeries;
pub use metrics::Metrics;
pub use stock::Stock;
