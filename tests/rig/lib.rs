//! The rig: a whole gate in a temporary folder, and the world around it, for tests that look from outside. A scenario
//! builds its world in three lines and reads what a user, an app, a server or Prometheus would see:
//!
//! ```no_run
//! let rig = rig::Rig::start();
//! let origin = rig::Origin::start();
//! let app = rig.app("third-party");
//! rig.grant(&app, "network.connect=127.0.0.1", "session");
//! let reply = rig.curl(["--proxy", &rig.run(&app).socks, &origin.url("/hello")]);
//! assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
//! ```
//!
//! Everything is a process or a thread that ends with its value. Nothing here knows the inside of the gate: it is
//! started as `mexegate serve` and spoken to through its command line, proxies, API and `/proc`.

pub mod administrator;
pub mod binary;
pub mod bulk;
pub mod camara;
pub mod card;
pub mod cli;
pub mod contexts;
pub mod control;
pub mod curl;
pub mod datagrams;
pub mod exact;
pub mod full;
pub mod gate;
pub mod line;
pub mod metrics;
pub mod modem;
pub mod origin;
pub mod packages;
pub mod ports;
pub mod proc;
pub mod program;
pub mod random;
pub mod raw;
pub mod relay;
pub mod resolver;
pub mod streams;
pub mod times;
pub mod tls;
pub mod verbs;
pub mod vpicc;
pub mod wait;
pub mod world;

pub use administrator::Administrator;
pub use camara::{Operator, OperatorHabits, Trick};
pub use cli::Output;
pub use contexts::{ContextHabits, Wrong};
pub use control::Control;
pub use curl::Reply;
pub use datagrams::{Association, Peer};
pub use gate::{Builder, Rig, Run};
pub use line::{Obedience, Progress, VoiceHabits};
pub use modem::{FakeModem, Habits};
pub use origin::Origin;
pub use relay::Relay;
pub use resolver::Resolver;
pub use vpicc::VirtualReader;
pub use world::World;
