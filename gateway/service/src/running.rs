//! Runs begin and end here: the app is judged anew, the policy binds its waiting grants, and when the run ends its
//! session grants go and its flows are cut.

use std::io::Cursor;
use std::sync::Arc;

use mexe_certs::Runtime;
use mexe_journal::{Change, Record};
use mexe_model::{AppId, Reason, RunId, SecurityDomain, Trust};
use mexe_policy::{Binding, RunBinding, TokenRuns};
use mexe_relay::Key;
use serde_json::{Value, json};
use tokio::process::Child;

use crate::apps::{self, App, Vouched};
use crate::clock;
use crate::gate::Gate;
use crate::grants::unavailable;
use crate::launch::{self, Program, Sealed};
use crate::prompts;
use crate::refused::Refused;
use crate::runs::{NewRun, Run, Token};
use crate::trust::Trusted;

/// A run that has just begun: what its program needs to know.
pub struct Started {
    /// The run.
    pub run: RunId,
    token: Token,
    socks: Option<String>,
    http: Option<String>,
}

impl Started {
    /// The password on the proxies.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The SOCKS5 proxy's URL with the run's credentials; empty when that listener is off.
    pub fn socks(&self) -> &str {
        self.socks.as_deref().unwrap_or_default()
    }

    /// The HTTP proxy's URL with the run's credentials; empty when that listener is off.
    pub fn http(&self) -> &str {
        self.http.as_deref().unwrap_or_default()
    }

    /// As the API answers it. This is the only time that the token is shown.
    pub fn shown(&self) -> Value {
        json!({ "run": self.run, "token": &**self.token, "socks": self.socks, "http": self.http })
    }
}

/// Begins a run for a program that the gate does not start itself (binding `token`). With a `holder`, the run ends with
/// that process.
///
/// # Errors
/// [`Reason::TokenRunRefused`], [`Reason::AppSuspended`], [`Reason::JournalUnavailable`].
pub async fn begin_by_token(gate: &Arc<Gate>, app: &AppId, holder: Option<u32>) -> Result<Started, Refused> {
    if gate.config().policy.token_runs == TokenRuns::Refuse {
        return Err(Reason::TokenRunRefused.into());
    }
    let app = gate.apps.get(app).ok_or(Reason::AppUnknown)?;
    // Opened before anything else, so that it names the process that asked, not a later one of the same number.
    let watch = match holder {
        Some(pid) => Some(ProcessWatch::open(pid)?),
        None => None,
    };
    let judged_by = apps::judge_again(gate, &app).await?.by;
    let started = begin(gate, &app, &judged_by, RunBinding::Token, holder).await?;
    if let Some(watch) = watch {
        let (gate, run) = (Arc::clone(gate), started.run);
        tokio::spawn(async move {
            tokio::select! {
                () = watch.exited() => { end(&gate, run, Reason::RunEnded).await; }
                () = gate.run_ended(run) => {}
            }
        });
    }
    Ok(started)
}

/// Begins a run by executing the verified package (binding `measured`): what was judged is what runs.
///
/// # Errors
/// [`Reason::AppSuspended`], [`Reason::JournalUnavailable`], or the runtime cannot be started.
pub async fn execute(gate: &Arc<Gate>, app: &AppId, args: Vec<String>) -> Result<(Started, Child), Refused> {
    let app = gate.apps.get(app).ok_or(Reason::AppUnknown)?;
    let Vouched { mut sealed, by } = apps::judge_again(gate, &app).await?;
    let broken = |what: &str, error: std::io::Error| {
        Refused::about(Reason::AppSuspended, format!("`{}` cannot be started: {what}: {error}", app.id))
    };
    if let Some(program) = apps::program_of(&mut sealed, &app).map_err(|e| broken("its program", e))? {
        sealed = Sealed::copy(Cursor::new(program)).map_err(|e| broken("its program", e))?;
    }
    let command = match &app.runtime {
        Runtime::Jar => gate.config().runtime.jar.command.clone(),
        Runtime::Native { .. } | Runtime::Program => gate.config().runtime.native.command.clone(),
    };
    let started = begin(gate, &app, &by, RunBinding::Measured, None).await?;
    let program = Program {
        command,
        args,
        sealed,
        environment: launch::proxy_environment(started.socks.as_deref(), started.http.as_deref()),
        directory: std::env::var_os("HOME").map_or_else(|| "/".into(), Into::into),
    };
    match launch::start(program).await {
        Ok(child) => {
            if let Some(pid) = child.id() {
                gate.runs.hold(started.run, pid);
            }
            Ok((started, child))
        }
        Err(error) => {
            end(gate, started.run, Reason::RunEnded).await;
            Err(broken("its runtime", error))
        }
    }
}

async fn begin(
    gate: &Arc<Gate>,
    app: &App,
    judged_by: &Arc<Trusted>,
    binding: RunBinding,
    process: Option<u32>,
) -> Result<Started, Refused> {
    if gate.is_stopping() {
        return Err(Reason::GateStopping.into());
    }
    let changing = gate.change().await;
    let current = gate.apps.get(&app.id).filter(|now| now.digest == app.digest && now.suspended.is_none());
    let Some(app) = current.filter(|_| Arc::ptr_eq(judged_by, &gate.trusted())) else {
        return Err(Refused::about(
            Reason::AppSuspended,
            format!("`{}`, or whom the device trusts, changed meanwhile; try again", app.id),
        ));
    };
    let new = NewRun {
        app: app.id.clone(),
        trust: app.trust,
        qos_profile: app.qos_profile.clone(),
        root: app.root.clone(),
        groups: app.groups,
        legacy: app.legacy,
        binding,
        process,
        rate: gate.config().limits.new_connections_per_second_per_run,
    };
    if app.trust == Trust::Domain(SecurityDomain::ThirdParty) && gate.trusted().is_overdue(clock::wall()) {
        let detail = format!("`{}` may not start before the administrator's next message", app.id);
        return Err(Refused::about(Reason::CcmStale, detail));
    }
    let begun = gate.runs.begin(new, clock::now(), clock::wall());
    let (run, token) = begun.map_err(|error| Refused::about(Reason::AppSuspended, error.to_string()))?;
    let waiting: Vec<_> = gate
        .policy()
        .grants()
        .filter(|grant| *grant.app() == app.id && grant.binding() == Some(&Binding::Pending))
        .map(|grant| grant.id())
        .collect();
    let record = Record {
        app: Some(app.id.clone()),
        run: Some(run.id),
        domain: Some(app.trust),
        binding: Some(binding.as_str().into()),
        ..Record::change(clock::wall(), "run.begin")
    };
    let bind = Change::BindGrants { run: run.id, grants: waiting };
    if let Err(error) = gate.journal.change(bind, record).await {
        gate.runs.end(run.id);
        return Err(unavailable(error));
    }
    changing.policy(|policy| policy.run_started(&app.id, run.id));
    let url = |scheme: &str, address: Option<std::net::SocketAddr>| {
        address.map(|address| format!("{scheme}://{}:{}@{}", app.id, *token, reachable(address)))
    };
    Ok(Started {
        run: run.id,
        socks: url("socks5h", gate.listening.socks),
        http: url("http", gate.listening.http),
        token,
    })
}

/// An address that a program on this device can connect to: loopback for a listener on every address.
fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

/// Ends a run: nobody authenticates as it any more, its session grants go, its flows are cut. `false` when it was over.
pub async fn end(gate: &Arc<Gate>, id: RunId, reason: Reason) -> bool {
    let Some(run) = gate.runs.end(id) else { return false };
    finish(gate, run, reason).await;
    true
}

/// The rest of [`end`], for a run that nobody authenticates as any more.
pub async fn finish(gate: &Arc<Gate>, run: Arc<Run>, reason: Reason) {
    let id = run.id;
    // Cut before anything that can wait: the right is gone now.
    gate.cut(&Key::Run(id), reason);
    prompts::run_ended(gate, id);
    let changing = gate.change().await;
    let mut ended = Vec::new();
    changing.policy(|policy| {
        let (policy, dropped) = policy.run_ended(id);
        ended = dropped;
        policy
    });
    gate.cut(&Key::Run(id), reason);
    let record = Record {
        app: Some(run.app.clone()),
        run: Some(id),
        domain: Some(run.trust),
        reason: Some(reason),
        binding: Some(run.binding.as_str().into()),
        detail: (!ended.is_empty()).then(|| json!({ "grants": ended })),
        ..Record::change(clock::wall(), "run.end")
    };
    if let Err(error) = gate.journal.change(Change::RevokeGrants(ended), record).await {
        tracing::warn!(%error, run = %id, "the end of a run could not be written down; it has ended all the same");
    }
}

/// Ends runs that no program holds and nobody uses, as long as the gate runs; and forgets packages that were fetched and
/// that nobody decided on.
pub async fn end_overdue(gate: Arc<Gate>) {
    loop {
        tokio::select! {
            () = gate.stopped() => return,
            () = tokio::time::sleep(std::time::Duration::from_secs(15)) => {}
        }
        gate.fetched.sweep(clock::now());
        for run in gate.runs.overdue(clock::now()) {
            end(&gate, run, Reason::IdleTimeout).await;
        }
    }
}

/// A run as the API shows it.
pub fn shown(run: &Run) -> Value {
    json!({
        "id": run.id,
        "app": run.app,
        "domain": run.trust.domain(),
        "binding": run.binding.as_str(),
        "started_at": run.started.to_string(),
        "process": run.process(),
        "connections": run.open.load(std::sync::atomic::Ordering::Relaxed),
    })
}

/// A process, held by a file descriptor: its number cannot be another's.
pub struct ProcessWatch(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>);

impl ProcessWatch {
    /// Watches the process of that number from now on.
    ///
    /// # Errors
    /// [`Reason::RunEnded`] when there is none.
    pub fn open(pid: u32) -> Result<Self, Refused> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let gone =
            |why: String| Refused::about(Reason::RunEnded, format!("process {pid} cannot be watched: {why}"));
        let pid =
            i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| gone("no such number".into()))?;
        let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(|error| gone(error.to_string()))?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; an OwnedFd keeps the promise that it asks for"
        )]
        let watched = tokio::io::unix::AsyncFd::new(fd);
        watched.map(Self).map_err(|error| gone(error.to_string()))
    }

    /// Completes when the process has exited.
    pub async fn exited(&self) {
        // A pidfd becomes readable when the process exits; an error is taken for the same: fail closed.
        let _ = self.0.readable().await;
    }
}
