//! `doctor`: what this device can enforce and what is missing, in one table. Looks around (configuration, roots, a running
//! gate, the process's limits) and changes nothing; what it means is judged in [`table`].

mod table;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mexe_policy::policy::TokenRuns;
use rustix::process::{Resource, getrlimit, getuid};
use serde_json::{Value, json};

use self::table::{Config, Found, Gate, Roots, State};
use super::fault::{Fault, Stop};
use super::{Exit, Global, check_config, on_a_runtime, output, printable};
use crate::card;
use crate::client::{ApiPath, Client};
use crate::clock;
use crate::config;
use crate::trust;

/// Show what this device can enforce, and what is missing
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let loaded = check_config::load(args.config.clone(), global);
    let asked = ask_gate(&global.state_dir()?);
    let roots = match (&asked, &loaded) {
        (Ok((_, roots)), _) => Ok(roots.clone()),
        (Err(_), Ok(loaded)) => configured_roots(loaded),
        (Err(_), Err(_)) => Err("not known while the configuration is wrong".to_owned()),
    };
    let file = args.config.as_ref().map(|file| file.display().to_string());
    let found = Found {
        gate: asked.map(|(gate, _)| gate),
        own_uid: getuid().as_raw(),
        config: loaded.map(|loaded| of_config(&loaded.config, file)).map_err(|e| e.to_string()),
        roots,
        // No limit at all is as good as the largest.
        files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    };
    let rows = table::rows(&found);
    if global.json {
        output::json(&json!({"items": rows}))?;
        return Ok(Exit::Done);
    }
    let cells = rows.iter().map(|row| {
        let state = match row.state {
            State::Ok => "ok",
            State::Missing => "missing",
            State::Red => "RED",
        };
        vec![row.check.to_owned(), state.to_owned(), printable(&row.says).to_string()]
    });
    output::text(&output::rows_under(["CHECK", "STATE", "WHAT"].into_iter(), cells))?;
    Ok(Exit::Done)
}

/// Asks a running gate about itself and its roots.
fn ask_gate(state_dir: &Path) -> Result<(Gate, Roots), String> {
    let asked: Result<_, Stop> = on_a_runtime(async {
        let mut gate = Client::connect(state_dir).await?;
        let peer = gate.peer().ok_or_else(|| Fault::new("the kernel does not say who answers"))?;
        let status = gate.get(&ApiPath::new("/v1/status")).await?;
        let roots = gate.get(&ApiPath::new("/v1/roots")).await?;
        Ok((of_status(&status, peer.uid), of_roots(&roots)))
    });
    asked.map_err(|stop| stop.to_string())
}

fn of_roots(answer: &Value) -> Roots {
    let mut roots = Roots::default();
    for item in answer.get("items").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        match (text("state"), text("domain").and_then(|domain| domain.parse().ok())) {
            (Some("enabled"), Some(domain)) => roots.usable.push(domain),
            (state, _) => {
                let what = text("problem").map(str::to_owned);
                let state =
                    || format!("`{}` is {}", text("source").unwrap_or("?"), state.unwrap_or("unusable"));
                roots.problems.push(what.unwrap_or_else(state));
            }
        }
    }
    roots
}

fn of_status(status: &Value, uid: u32) -> Gate {
    let text = |key: &str| status.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |group: &str, key: &str| status.get(group)?.get(key)?.as_u64();
    let words =
        [("version", text("version")), ("since", text("started_at")), ("state in", text("state_dir"))];
    let about: Vec<_> =
        words.into_iter().filter_map(|(word, value)| Some(format!("{word} {}", value?))).collect();
    let listen = status.get("listen").and_then(Value::as_object).into_iter().flatten();
    Gate {
        uid,
        about: format!("answers: {}", about.join(", ")),
        why_not_ready: text("why_not_ready"),
        token_runs: text("token_runs").unwrap_or_default(),
        listen: listen.filter_map(|(name, at)| Some((name.clone(), at.as_str()?.to_owned()))).collect(),
        most_connections: number("connections", "most"),
        journal_backlog: number("journal", "backlog"),
        clock: text("clock").unwrap_or_default(),
    }
}

fn of_config(config: &config::Config, file: Option<String>) -> Config {
    let listen = &config.listen;
    let doors = [
        ("socks", listen.socks),
        ("http", listen.http),
        ("console", listen.console),
        ("metrics", listen.metrics),
    ];
    let shown = |address: Option<std::net::SocketAddr>| address.map_or("off".to_owned(), |a| a.to_string());
    let runtime = |kind, command: &[String]| {
        let program = command.first().cloned().unwrap_or_default();
        let there = is_there(&program);
        (kind, program, there)
    };
    Config {
        file,
        token_runs: match config.policy.token_runs {
            TokenRuns::Allow => "allow",
            TokenRuns::Refuse => "refuse",
            TokenRuns::SessionOnly => "session-only",
        }
        .to_owned(),
        listen: doors.into_iter().map(|(name, address)| (name.to_owned(), shown(address))).collect(),
        insecure: listen.insecure,
        connections: config.limits.connections.map(|n| u64::from(n.get())),
        runtimes: vec![
            runtime("runtime.jar", config.runtime.command("jar")),
            runtime("runtime.native", config.runtime.command("native")),
        ],
        bearers: config.bearers.len(),
        prompt_wait: config.policy.prompt_wait.as_secs(),
        lists: config.trust.crls.is_some(),
        card: card_source(config),
    }
}

/// Where the card's roots come from, and whether that is for labs only.
fn card_source(config: &config::Config) -> Option<(String, bool)> {
    if let Some((_, device)) = card::modem(config) {
        return Some((format!("the modem {device}"), false));
    }
    config.trust.usim.as_ref().map(|source| match source {
        config::CardSource::Directory(dir) => (format!("the folder {}", dir.display()), true),
        config::CardSource::Reader(_) => ("a card reader".to_owned(), true),
    })
}

/// Whether a runtime's program can be executed. The package itself always can.
fn is_there(program: &str) -> bool {
    let executable =
        |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains("{package}") {
        return true;
    }
    if program.contains('/') {
        return executable(Path::new(program));
    }
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| executable(&dir.join(program))))
}

fn configured_roots(loaded: &config::Loaded) -> Result<Roots, String> {
    let Some(dir) = &loaded.config.trust.roots else { return Ok(Roots::default()) };
    let at = clock::wall();
    let trust = &loaded.config.trust;
    let rules = mexe_certs::Rules { legacy: trust.legacy, staleness: trust.revocation };
    let trusted = trust::Trusted::load(Some(dir), trust.crls.as_deref(), rules, &loaded.guard, at)
        .map_err(|e| e.to_string())?;
    let enabled = |(domain, state): (_, trust::State)| (state == trust::State::Enabled).then_some(domain);
    let usable = trusted.counted().into_iter().filter_map(enabled);
    Ok(Roots {
        usable: usable.collect(),
        problems: trusted.problems.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_gate_is_read_as_far_as_it_goes() {
        let gate = of_status(
            &json!({
                "version": "0.1.0", "listen": {"socks": "127.0.0.1:1080", "http": "off"}, "token_runs": "allow",
                "connections": {"open": 1, "most": 300}, "journal": {"backlog": 2}, "why_not_ready": null,
            }),
            7,
        );
        assert_eq!((gate.uid, gate.most_connections, gate.journal_backlog), (7, Some(300), Some(2)));
        assert_eq!((gate.about.as_str(), gate.token_runs.as_str()), ("answers: version 0.1.0", "allow"));
        assert_eq!(gate.listen, [("http".into(), "off".into()), ("socks".into(), "127.0.0.1:1080".into())]);
        assert_eq!(gate.why_not_ready, None);
        assert_eq!(of_status(&Value::Null, 0).token_runs, "");
    }

    #[test]
    fn roots_that_do_not_count_are_named() {
        let roots = of_roots(&json!({"items": [
            {"domain": "operator", "state": "enabled"},
            {"domain": "third-party", "state": "expired", "source": "third-party/a.pem"},
            {"id": null, "state": "unusable", "problem": "`operator/b.pem`: no certificate"},
        ]}));
        assert_eq!(roots.usable, [mexe_model::SecurityDomain::Operator]);
        assert_eq!(roots.problems, ["`third-party/a.pem` is expired", "`operator/b.pem`: no certificate"]);
    }

    #[test]
    fn programs_are_looked_for_as_the_gate_would() {
        assert!(is_there("sh") && is_there("/bin/sh") && is_there("{package}"));
        assert!(!is_there("no-such-program-here") && !is_there("/etc/passwd") && !is_there(""));
    }
}
