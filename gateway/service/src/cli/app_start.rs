//! `app start`: begins a run for a program that is not started from the package, and prints the way in; with a command,
//! becomes that command with the proxies in its environment. The gate ties the run to this process, so that it ends with
//! the command.

use std::os::unix::process::CommandExt;
use std::process::Command;

use mexe_model::AppId;
use serde_json::{Value, json};

use super::fault::{Fault, Stop};
use super::{Exit, Global, output};
use crate::client::ApiPath;

/// Begin a run for a program not started from the package; with CMD, run it with the proxies set
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The app's id
    #[arg(value_name = "APP")]
    app: AppId,
    /// The program to run, after `--`
    #[arg(value_name = "CMD", last = true)]
    command: Vec<std::ffi::OsString>,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let path = ApiPath::new("/v1/apps").segment(args.app.as_str()).segment("runs");
    let mut body = json!({"execute": false});
    let program = args.command.split_first();
    if let (Some(_), Some(body)) = (program, body.as_object_mut()) {
        body.insert("hold".to_owned(), Value::Bool(true));
    }
    let answer = global.with_gate(async |mut gate| Ok(gate.post(&path, &body).await?))?;
    let Some((program, arguments)) = program else { return global.print(&answer, output::facts) };
    let proxies = proxies(&answer);
    if proxies.is_empty() {
        return Err(Fault::new("the gate has no proxy that the program could use")
            .help("turn listen.socks or listen.http on")
            .into());
    }
    // What outlives its parent below this process stays below it, and so is told from the user's own programs at the
    // control socket for as long as the run lives. It holds over exec; a failure leaves those alone that do outlive.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut command = Command::new(program);
    command.args(arguments).envs(proxies).env_remove("NO_PROXY").env_remove("no_proxy");
    // Comes back only when it failed; the run then ends with this process.
    let error = command.exec();
    Err(Fault::new(format!("cannot run `{}`", program.display()))
        .because(error)
        .help("check the program's name")
        .into())
}

/// The variables that point a program to the proxies, in both spellings that programs look for.
fn proxies(answer: &Value) -> Vec<(&'static str, String)> {
    let url = |key: &str| answer.get(key).and_then(Value::as_str).filter(|url| !url.is_empty());
    let mut variables = Vec::new();
    if let Some(socks) = url("socks") {
        // The `h` leaves the name to the gate: a name that was resolved here would already have left the device.
        let socks = socks.replacen("socks5://", "socks5h://", 1);
        variables.extend(["ALL_PROXY", "all_proxy"].map(|name| (name, socks.clone())));
    }
    if let Some(http) = url("http") {
        let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];
        variables.extend(names.map(|name| (name, http.to_owned())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_every_variable_are_set_and_names_stay_unresolved() {
        let set = proxies(&json!({
            "run": "run-1", "token": "t", "socks": "socks5://a:t@127.0.0.1:1080", "http": "http://a:t@127.0.0.1:3128",
        }));
        let value = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        for name in ["ALL_PROXY", "all_proxy"] {
            assert_eq!(value(name), Some("socks5h://a:t@127.0.0.1:1080"));
        }
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
            assert_eq!(value(name), Some("http://a:t@127.0.0.1:3128"));
        }
        assert_eq!(set.len(), 6);
    }

    #[test]
    fn a_listener_that_is_off_sets_nothing() {
        assert!(proxies(&json!({"run": "run-1", "token": "t", "socks": null})).is_empty());
    }
}
