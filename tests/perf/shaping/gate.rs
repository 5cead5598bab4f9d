//! The way through the gate: SOCKS5, a bearer of that rate, and streams for what goes first.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rig::raw::{self, Credentials, Door};
use rig::{Association, Control, Rig, packages, proc};
use serde_json::{Value, json};

use crate::road::{Datagrams, Kind, Road};
use crate::sink::Sink;

/// A gate of its own.
pub struct Gate {
    /// The gate.
    pub rig: Rig,
    /// Its API.
    pub control: RefCell<Control>,
    /// The app that puts load on it.
    pub app: String,
    /// Its run.
    pub run: String,
    /// What it calls itself.
    pub who: Credentials,
    sink: Sink,
}

impl Gate {
    /// One whose bearer carries so many bits a second up and down; without a bearer when there is no rate.
    pub fn start(rate: Option<u64>) -> Self {
        let mut rig = Rig::builder().prepare();
        if let Some(rate) = rate {
            let text = std::fs::read_to_string(rig.config_file()).expect("the rig's own file");
            let bearer = format!(
                "[[bearer]]\nname = \"mobile\"\nkind = \"static\"\nuplink = \"{rate} bit/s\"\ndownlink = \"{rate} bit/s\"\n"
            );
            packages::write(&rig.config_file(), format!("{text}{bearer}").as_bytes());
        }
        rig.start_again();
        let app = rig.app("operator");
        for action in ["network.connect=127.0.0.1", "network.datagram=127.0.0.1"] {
            rig.grant(&app, action, "blanket");
        }
        let mut control = Control::of(&rig);
        let (run, who) = control.run(&app);
        let gate = Self { rig, control: control.into(), app, run, who, sink: Sink::here() };
        gate.permit_streams();
        gate
    }

    /// Another run of the app, that may ask for streams.
    pub fn another_run(&self) -> (String, Credentials) {
        let begun = self.control.borrow_mut().run(&self.app);
        self.permit_streams();
        begun
    }

    /// More than best effort is permitted for a session at most: to the runs that there are.
    fn permit_streams(&self) {
        self.rig.grant(&self.app, "network.qos", "session");
    }

    /// Asks for a stream of the run and tells its id.
    pub fn stream(&self, run: &str, name: &str, mut asked: Value) -> String {
        asked["run"] = json!(run);
        asked["name"] = json!(name);
        let answer = self.control.borrow_mut().done("POST", "/v1/streams", Some(&asked)).json;
        answer["id"].as_str().expect("a stream has an id").to_owned()
    }

    /// What flows of a stream call themselves.
    pub fn of_stream(who: &Credentials, name: &str) -> Credentials {
        Credentials { app: format!("{}+{name}", who.app), token: who.token.clone() }
    }

    /// A connection to the sink with these credentials.
    pub fn open_as(&self, who: &Credentials) -> TcpStream {
        raw::open(self.rig.ports(), Door::Socks, who, self.sink.address).expect("the gate permits it")
    }

    /// CPU time of the gate so far.
    pub fn cpu(&self) -> Duration {
        proc::cpu(self.rig.pid())
    }

    /// Where it takes SOCKS5.
    pub fn socks(&self) -> SocketAddr {
        self.rig.ports().socks
    }
}

impl Road for Gate {
    fn name(&self) -> String {
        "mexegate".to_owned()
    }

    fn sink(&self) -> &Sink {
        &self.sink
    }

    fn open(&self, kind: Kind) -> TcpStream {
        match kind {
            Kind::Bulk => self.open_as(&self.who),
            Kind::Voice => self.open_as(&Self::of_stream(&self.who, "voice")),
        }
    }
    fn datagrams(&self) -> Option<Datagrams> {
        let who = Self::of_stream(&self.who, "voice");
        let association = Association::open(self.socks(), &who).expect("the gate permits it");
        let Association { control, relay, socket } = association;
        socket.connect(relay).ok()?;
        let SocketAddr::V4(to) = self.sink.address else { return None };
        let header = [&[0, 0, 0, 1][..], &to.ip().octets(), &to.port().to_be_bytes()].concat();
        Some(Datagrams { socket, header, control: Some(control) })
    }
}
