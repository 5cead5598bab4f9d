//! `mexegate demo`: the gate with everything embedded. Makes a PKI and sample apps in its folder, starts the gate and an
//! origin server, and prints what to try; with `--check` it plays the scenes itself.

mod browser;
mod call;
mod origin;
mod scenes;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use mexe_model::{AppId, Permission};

use crate::apps::{self, Offered};
use crate::config::{self, ConfigError, Mode, Overrides};
use crate::gate::Gate;
use crate::grants::{self, NewGrant};
use crate::refused::Refused;
use crate::running::{self, Started};
use crate::serve::{self, ServeError, Serving};
use world::World;

/// What the command line says.
#[derive(Debug)]
pub struct Options {
    /// Play the scenes and stop.
    pub check: bool,
    /// The demo's folder.
    pub dir: PathBuf,
    /// Listen on N+0 (SOCKS5), N+1 (HTTP), N+3 (console), N+4 (metrics) and N+5 (origin) instead of the usual ports.
    pub port_base: Option<u16>,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The gate.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The PKI and the sample apps.
    #[error("the demo's world cannot be made: {0}")]
    World(#[from] world::WorldError),
    /// The origin's port.
    #[error("cannot listen on {address} for the origin: {source}; use --port-base N")]
    Origin {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// The gate refused what the demo needs.
    #[error("the gate refused what the demo needs: {0}")]
    Refused(#[from] Refused),
    /// No runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// The demo's ports.
#[derive(Clone, Copy, Debug)]
struct Ports {
    socks: u16,
    http: u16,
    console: u16,
    metrics: u16,
    origin: u16,
}

impl Ports {
    fn new(base: Option<u16>) -> Self {
        match base {
            None => Self { socks: 1080, http: 3128, console: 8057, metrics: 9057, origin: 8058 },
            Some(base) => {
                let at = |offset| base.saturating_add(offset);
                Self { socks: at(0), http: at(1), console: at(3), metrics: at(4), origin: at(5) }
            }
        }
    }
}

/// Shows the demo. `true`: it ran until it was stopped, or every scene held.
///
/// # Errors
/// What keeps the demo from starting.
pub fn run(options: &Options) -> Result<bool, DemoError> {
    serve::log_to_stderr_from(if options.check { "error" } else { "warn" });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(DemoError::Runtime)?;
    runtime.block_on(async {
        let ports = Ports::new(options.port_base);
        let world = World::at(&options.dir)?;
        let serving = start(&world, ports).await?;
        let result = show(options, &serving, &world, ports).await;
        serving.stop().await;
        result
    })
}

async fn start(world: &World, ports: Ports) -> Result<Serving, DemoError> {
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let flags = Overrides::state_dir(Some(world.state_dir()))
        .set("listen.socks", listen(ports.socks))
        .set("listen.http", listen(ports.http))
        .set("listen.console", listen(ports.console))
        .set("listen.metrics", listen(ports.metrics))
        .set("trust.roots", world.roots().display().to_string());
    let loaded = config::load(config::Options::of_process(Some(world.config()), flags, Mode::Demo))?;
    // The gate first: when another demo holds the folder, it says who.
    let serving = serve::start(loaded).await?;
    let origin_address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.origin));
    let listener = tokio::net::TcpListener::bind(origin_address)
        .await
        .map_err(|source| DemoError::Origin { address: origin_address, source })?;
    tokio::spawn(origin::serve(listener));
    Ok(serving)
}

async fn show(options: &Options, serving: &Serving, world: &World, ports: Ports) -> Result<bool, DemoError> {
    let apps = install_all(&serving.gate, world).await?;
    if options.check {
        return Ok(scenes::play(serving, world, &apps, ports.origin).await);
    }
    let stage = Stage::set(&serving.gate, &apps, ports).await?;
    println!("{}", stage.programme(serving, world));
    serve::until_stopped().await?;
    Ok(true)
}

/// The sample apps, one per domain and one unsigned.
struct SampleApps {
    operator: AppId,
    manufacturer: AppId,
    third_party: AppId,
    unsigned: AppId,
}

async fn install_all(gate: &Arc<Gate>, world: &World) -> Result<SampleApps, DemoError> {
    let install = async |name: &str| -> Result<AppId, DemoError> {
        let mut incoming = apps::incoming_file(gate).map_err(world::WorldError::from)?;
        std::io::copy(&mut world.package(name)?, &mut incoming).map_err(world::WorldError::from)?;
        Ok(apps::install(gate, Offered { file_name: Some(name.to_owned()), ..Offered::package(incoming) })
            .await?
            .id
            .clone())
    };
    Ok(SampleApps {
        operator: install("operator-app").await?,
        manufacturer: install("manufacturer-app").await?,
        third_party: install("third-party-app").await?,
        unsigned: install("unsigned-app").await?,
    })
}

async fn permit(
    gate: &Arc<Gate>,
    app: &AppId,
    target: &str,
    permission: Permission,
) -> Result<mexe_model::GrantId, Refused> {
    permit_action(gate, app, "network.connect", Some(target), permission).await
}

async fn permit_action(
    gate: &Arc<Gate>,
    app: &AppId,
    action: &str,
    target: Option<&str>,
    permission: Permission,
) -> Result<mexe_model::GrantId, Refused> {
    let new = NewGrant {
        app: app.clone(),
        action: action.to_owned(),
        target: target.map(str::to_owned),
        permission,
        duration: None,
    };
    let given = grants::give(gate, new).await?;
    let id = given.get("id").and_then(|id| id.as_str()).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Refused::from(mexe_model::Reason::NotFound))
}

/// One run of each app, and what each may do.
struct Stage {
    operator: Started,
    manufacturer: Started,
    third_party: Started,
    unsigned: Started,
    origin: String,
}

impl Stage {
    async fn set(gate: &Arc<Gate>, apps: &SampleApps, ports: Ports) -> Result<Self, DemoError> {
        let begin = async |app: &AppId| running::begin_by_token(gate, app, None).await;
        let stage = Self {
            operator: begin(&apps.operator).await?,
            manufacturer: begin(&apps.manufacturer).await?,
            third_party: begin(&apps.third_party).await?,
            unsigned: begin(&apps.unsigned).await?,
            origin: format!("127.0.0.1:{}", ports.origin),
        };
        permit(gate, &apps.third_party, &stage.origin, Permission::Session).await?;
        permit(gate, &apps.manufacturer, "127.0.0.1:9", Permission::Session).await?;
        call::begin(gate, &apps.third_party, stage.third_party.run).await?;
        Ok(stage)
    }

    fn programme(&self, serving: &Serving, world: &World) -> String {
        let listening = serving.gate.listening.clone();
        let shown = |address: Option<SocketAddr>| address.map_or_else(String::new, |a| a.to_string());
        let origin = format!("http://{}/", self.origin);
        let state = world.state_dir().display().to_string();
        let scene =
            |what: &str, command: String, answer: &str| format!("  {what}\n    {command}\n    -> {answer}\n");
        let mut text = format!(
            "mexegate demo: everything runs on this machine until you press Ctrl-C\n\n\
             SOCKS5    {}\nHTTP      {}\nconsole   http://{}/#token={}\nmetrics   http://{}/metrics\n\
             origin    {origin}\nstate     {state}\npackages  {}\n\nTry, in another terminal:\n\n",
            shown(listening.socks),
            shown(listening.http),
            shown(listening.console),
            **serving.console_token,
            shown(listening.metrics),
            world.packages().display(),
        );
        text += &scene(
            "nobody: a connection has to name a run",
            format!("curl -x http://{} {origin}", shown(listening.http)),
            "407, credentials-missing",
        );
        text += &scene(
            "the third party app: signed, and you gave it this target for its session",
            format!("curl -x {} {origin}", self.third_party.socks()),
            "hello from the origin",
        );
        let call = call::on_the_stream(self.third_party.socks());
        text += &scene(
            "the same app calls while it downloads, on a bearer of 10 Mbit/s; the console's Flows draw both",
            format!(
                "curl -so /dev/null -x {} {origin}bytes/50000000 & \\\n    \
                 while sleep 0.2; do curl -so /dev/null -w '%{{time_total}} s\\n' -x {call} {origin}; done",
                self.third_party.socks()
            ),
            "a millisecond or two each: its stream `call` goes first",
        );
        text += &scene(
            "the operator's app: signed, but nobody gave it a permission",
            format!("curl -x {} {origin}", self.operator.http()),
            "it waits: answer on the console's page, or in another terminal, within 30 s:",
        );
        let binary =
            std::env::current_exe().map_or_else(|_| "mexegate".into(), |path| path.display().to_string());
        text += &format!("    {binary} --state-dir {state} prompts --watch\n");
        text += &scene(
            "the manufacturer's app: its permission is for another target",
            format!("curl -x {} {origin}", self.manufacturer.http()),
            "it waits as well; without an answer: 403, prompt-timeout",
        );
        text += &scene(
            "the unsigned app: untrusted, whatever you grant",
            format!("curl -x {} {origin}", self.unsigned.http()),
            "403, untrusted-app",
        );
        text += &scene(
            "what was decided, and whether anybody touched it since",
            format!("{binary} --state-dir {state} journal; {binary} --state-dir {state} journal verify"),
            "one line each; the chain holds",
        );
        text
    }
}
