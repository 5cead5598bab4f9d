//! One gate under test: its temporary folder, configuration, sample packages and process. Started as a user would
//! start it, looked at from outside, killed when the rig is dropped.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Output, code};
use crate::curl::Reply;
use crate::packages::{self, Packages};
use crate::ports::Ports;
use crate::{binary, metrics, proc, wait};

/// Where Debian puts it, on each kind of machine.
const FAKETIME: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// A gate and its folder. Dropping it kills the gate (SIGKILL) and removes the folder.
pub struct Rig {
    folder: TempDir,
    ports: Ports,
    packages: Packages,
    variables: Vec<(String, String)>,
    child: Option<Child>,
    /// What sets the gate's clock, and by how much.
    clock: Option<(&'static str, String)>,
}

/// How a rig differs from the usual one.
#[derive(Default)]
pub struct Builder {
    sections: Vec<(String, String)>,
    variables: Vec<(String, String)>,
}

/// One run that a program holds by its token.
#[derive(Clone, Debug)]
pub struct Run {
    /// `run-17`.
    pub run: String,
    /// The secret.
    pub token: String,
    /// `socks5h://app:token@address`, for curl's `--proxy`.
    pub socks: String,
    /// `http://app:token@address`.
    pub http: String,
}

impl Builder {
    /// Adds lines to a section of the configuration, as in `section("limits", "idle = \"1s\"")`. They come after the
    /// rig's own; the same key twice is the test's mistake and refused by the gate.
    #[must_use]
    pub fn section(mut self, section: &str, lines: &str) -> Self {
        self.sections.push((section.to_owned(), lines.to_owned()));
        self
    }

    /// Sets a variable in the gate's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the folder, the packages and the configuration, but does not start the gate.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn prepare(self) -> Rig {
        let folder = tempfile::Builder::new().prefix("mexegate-rig-").tempdir().expect("a temporary folder");
        let ports = Ports::take();
        let packages = Packages::make(folder.path());
        let own = [
            ("listen", format!("socks = \"{}\"\nhttp = \"{}\"", ports.socks, ports.http)),
            ("listen", format!("console = \"{}\"\nmetrics = \"{}\"", ports.console, ports.metrics)),
            ("listen", "masque = \"off\"".to_owned()),
            ("trust", format!("roots = \"{}\"", packages.roots().display())),
        ];
        let mut sections: Vec<(String, String)> = Vec::new();
        for (section, lines) in own.into_iter().map(|(s, l)| (s.to_owned(), l)).chain(self.sections) {
            match sections.iter_mut().find(|(known, _)| *known == section) {
                Some((_, text)) => write!(text, "\n{lines}").expect("text grows"),
                None => sections.push((section, lines)),
            }
        }
        // A test that says nothing about token runs wants them to work like any other.
        match sections.iter_mut().find(|(section, _)| section == "policy") {
            Some((_, text)) if text.contains("token_runs") => {}
            Some((_, text)) => text.push_str("\ntoken_runs = \"allow\""),
            None => sections.push(("policy".to_owned(), "token_runs = \"allow\"".to_owned())),
        }
        // And one that says nothing about questions asks nobody.
        match sections.iter_mut().find(|(section, _)| section == "policy") {
            Some((_, text)) if !text.contains("prompt_wait") => text.push_str("\nprompt_wait = \"off\""),
            _ => {}
        }
        let text: String =
            sections.iter().map(|(section, lines)| format!("[{section}]\n{lines}\n\n")).collect();
        let rig = Rig { folder, ports, packages, variables: self.variables, child: None, clock: None };
        packages::write(&rig.config_file(), text.as_bytes());
        fs::create_dir(rig.state_dir()).expect("the folder can be written");
        rig
    }

    /// Makes everything, starts the gate and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready; the message holds its log.
    pub fn start(self) -> Rig {
        let mut rig = self.prepare();
        rig.start_again();
        rig
    }
}

impl Rig {
    /// A gate with nothing unusual, ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// For an unusual one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the gate in the same folder again, after [`stop`](Self::stop) or [`kill`](Self::kill).
    ///
    /// # Panics
    /// When it runs already, or does not become ready.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the gate runs already");
        self.spawn();
        let ready = wait::within(std::time::Duration::from_secs(20), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() {
                return Some(false);
            }
            (self.health("readyz").status == 200).then_some(true)
        });
        assert_eq!(ready, Some(true), "the gate did not become ready:\n{}", self.log());
    }

    /// Sets the clock that the gate will see from its next start on back or forth, as in `-30d`; `None` sets it right. The
    /// library of faketime does it, so that the gate's process stays its own.
    ///
    /// # Panics
    /// When it is not installed.
    pub fn set_clock(&mut self, offset: Option<&str>) {
        let library = FAKETIME.iter().find(|path| Path::new(path).is_file());
        let library = library.expect("tests/run installs faketime");
        self.clock = offset.map(|offset| (*library, offset.to_owned()));
    }

    /// Starts the process and does not wait, for starts that are to fail.
    ///
    /// # Panics
    /// When the binary cannot be started.
    pub fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the folder can be written");
        let mut command = self.command();
        if let Some((library, offset)) = &self.clock {
            command.env("LD_PRELOAD", library).env("FAKETIME", offset);
            // Time goes on as ever, it only has another name.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.arg("serve").arg("--config").arg(self.config_file());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        self.child = Some(command.spawn().expect("the gate can be started"));
    }

    /// Waits for a gate that was [spawned](Self::spawn) to end by itself.
    ///
    /// # Panics
    /// When it does not within 20 seconds.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the gate was started");
        let status = wait::until("the end of the gate", || child.try_wait().expect("the gate is our child"));
        self.child = None;
        status
    }

    /// Asks the gate to drain and end (SIGTERM), and waits for it.
    ///
    /// # Panics
    /// When it does not end within 20 seconds.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Panics
    /// When the gate does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the gate runs");
        child.kill().and_then(|()| child.wait()).expect("the gate is our child");
    }

    /// Sends a signal, SIGHUP to reload for example.
    ///
    /// # Panics
    /// When the gate does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the gate runs");
    }

    /// The gate's process id.
    ///
    /// # Panics
    /// When the gate does not run.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the gate runs").id()
    }

    /// Open file descriptors of the gate.
    pub fn fds(&self) -> usize {
        proc::fds(self.pid())
    }

    /// Resident memory of the gate, KiB.
    pub fn rss(&self) -> u64 {
        proc::memory_kib(self.pid())
    }

    /// Runs a verb, as in `rig.cli(["grants", "--json"])`; `--state-dir` is added.
    pub fn cli<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        Output::of(self.command().args(arguments))
    }

    /// Runs a verb with `--json` that has to succeed, and gives its JSON.
    ///
    /// # Panics
    /// When it does not end with 0.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        Output::of(self.command().arg("--json").args(arguments)).ended(code::DONE).json
    }

    /// Installs the sample package of a domain (`operator`, `manufacturer`, `third-party`, `unsigned`) and gives the
    /// app's id.
    ///
    /// # Panics
    /// When the gate refuses it.
    #[track_caller]
    pub fn app(&self, domain: &str) -> String {
        let package = self.package(domain);
        let installed = self.json([OsStr::new("app"), OsStr::new("install"), package.as_os_str()]);
        installed["id"].as_str().expect("an installed app has an id").to_owned()
    }

    /// The file of a domain's sample package.
    pub fn package(&self, domain: &str) -> PathBuf {
        self.packages.file(domain)
    }

    /// The authorities and packages of this rig, to make others from.
    pub fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Begins a token run of an app.
    ///
    /// # Panics
    /// When the gate refuses it.
    #[track_caller]
    pub fn run(&self, app: &str) -> Run {
        let run = self.json(["app", "start", app]);
        let text = |key: &str| run[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {run}")).to_owned();
        let socks = text("socks").replacen("socks5://", "socks5h://", 1);
        Run { run: text("run"), token: text("token"), socks, http: text("http") }
    }

    /// Grants an action (`network.connect=127.0.0.1`) and gives the grant's id.
    ///
    /// # Panics
    /// When the gate refuses it.
    #[track_caller]
    pub fn grant(&self, app: &str, action: &str, permission: &str) -> String {
        let grant = self.json(["grant", app, action, "--permission", permission]);
        grant["id"].as_str().expect("a grant has an id").to_owned()
    }

    /// The journal's records, oldest first, with these filters.
    ///
    /// # Panics
    /// When the journal cannot be read.
    #[track_caller]
    pub fn journal<A: AsRef<OsStr>>(&self, filters: impl IntoIterator<Item = A>) -> Vec<Value> {
        Output::of(self.command().args(["--json", "journal"]).args(filters)).ended(code::DONE).lines()
    }

    /// A request by curl; say `--proxy` yourself.
    pub fn curl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Reply {
        Reply::of(arguments)
    }

    /// A request to the API over loopback with the console's token, as in `rig.api(["-X", "DELETE"], "/v1/apps/x")`.
    pub fn api<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, path: &str) -> Reply {
        let header = format!("Authorization: Bearer {}", self.console_token());
        let url = format!("http://{}{path}", self.ports.console);
        let own = ["--header", &header, &url].map(|argument| OsStr::new(argument).to_owned());
        Reply::of(own.into_iter().chain(arguments.into_iter().map(|argument| argument.as_ref().to_owned())))
    }

    /// The page of the metrics listener: `metrics`, `healthz` or `readyz`.
    pub fn health(&self, page: &str) -> Reply {
        Reply::of([format!("http://{}/{page}", self.ports.metrics)])
    }

    /// The value of one series, as in `mexegate_flows_open{class="background"}`: the sum of those that have all the
    /// labels named, and 0 when none has.
    pub fn metric(&self, series: &str) -> f64 {
        metrics::sum_of(&self.health("metrics").text(), series)
    }

    /// The token of the console, as the gate wrote it.
    ///
    /// # Panics
    /// When the file is not there.
    pub fn console_token(&self) -> String {
        let file = self.state_dir().join("console.token");
        fs::read_to_string(file).expect("the gate has written console.token").trim().to_owned()
    }

    /// Where the gate listens.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Everything that the gate has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file, to be changed before a reload or a new start.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("mexegate.toml")
    }

    /// The gate's state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The roots directory that the gate loads.
    pub fn roots(&self) -> &Path {
        self.packages.roots()
    }

    /// `mexegate --state-dir D`, with the environment of the rig.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary::mexegate());
        command.arg("--state-dir").arg(self.state_dir());
        // Nobody's desktop hears of a test.
        command.env_remove("DBUS_SESSION_BUS_ADDRESS").env_remove("XDG_RUNTIME_DIR");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("gate.log")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill().and_then(|()| child.wait());
        }
        if std::thread::panicking() {
            eprintln!("the gate's log:\n{}", self.log());
        }
    }
}
