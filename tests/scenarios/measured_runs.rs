//! Runs of verified packages (security rule S1): the gate executes what it judged, hands it the proxies and nothing else,
//! and the run ends with the program. And runs that a command of the user's holds.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rig::cli::code;
use rig::program::{self, install, native, with_input};
use rig::{Origin, Output, Rig, wait};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Prints its arguments, its input and its proxies, and ends with 7.
const TELL: &str =
    "echo \"args: $*\"; echo \"input: $(cat)\"; env | grep -i _proxy= | sort; echo oops >&2; exit 7";

fn live_runs(rig: &Rig) -> usize {
    rig.json(["runs"])["items"].as_array().expect("a list").len()
}

/// The token in `ALL_PROXY=socks5h://app:token@...` and the like.
fn token(url: &str) -> &str {
    url.rsplit('@').nth(1).and_then(|user| user.rsplit(':').next()).expect("a URL with credentials")
}

#[test]
fn a_native_package_runs_with_its_arguments_input_and_exit_code() {
    let rig = Rig::start();
    let app = install(&rig, &native("teller", TELL));
    let told = with_input(&rig, ["app", "run", &app, "a b", "--flag", "c"], "line one\nline two");
    assert_eq!((told.code, told.stderr.as_str()), (7, "oops\n"));
    let lines: Vec<_> = told.stdout.lines().collect();
    assert_eq!(&lines[..3], ["args: a b --flag c", "input: line one", "line two"]);
    let proxies: Vec<_> = lines[3..].iter().filter_map(|line| line.split_once('=')).collect();
    let mut names: Vec<_> = proxies.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let expected = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy", "https_proxy"];
    assert_eq!(names, expected, "{lines:?}");
    for (name, url) in &proxies {
        let (scheme, address) = match name.to_ascii_lowercase().as_str() {
            "all_proxy" => ("socks5h", rig.ports().socks),
            _ => ("http", rig.ports().http),
        };
        assert!(
            url.starts_with(&format!("{scheme}://{app}:")) && url.ends_with(&format!("@{address}")),
            "{url}"
        );
        assert_eq!(token(url).len(), 64);
    }
    // The run is over, and so is its token.
    assert_eq!(live_runs(&rig), 0);
    let late = rig.curl(["--proxy", proxies[1].1, "http://127.0.0.1:9/"]);
    assert!(late.status == 407 || late.exit == 97, "{late:?}");
}

#[test]
fn a_measured_run_reaches_the_network_as_its_app() {
    // Measured runs use blanket permissions even where token runs are refused.
    let rig = Rig::builder().section("policy", "token_runs = \"refuse\"").start();
    let origin = Origin::start();
    let app = install(&rig, &native("fetcher", "exec curl --silent --show-error --fail-with-body \"$1\""));
    let fetch = || rig.cli(["app", "run", &app, &origin.url("/hello")]);
    let refused = fetch().ended(22);
    assert!(refused.stdout.contains("\"reason\":\"permission-missing\""), "{}", refused.stdout);
    let grant = rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    assert_eq!(fetch().ended(0).stdout, "hello\n");
    let record =
        rig.journal(["--app", &app, "--decision", "allow", "--action", "network.connect"]).pop().unwrap();
    assert_eq!((&record["binding"], &record["grant"]), (&"measured".into(), &grant.as_str().into()));
    let begun = rig.journal(["--app", &app, "--action", "run.begin"]);
    let ended = rig.journal(["--app", &app, "--action", "run.end"]);
    assert_eq!((begun.len(), ended.len()), (2, 2));

    // A session permission waits for the next run and ends with it.
    rig.json(["revoke", &grant]);
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    assert_eq!(fetch().ended(0).stdout, "hello\n");
    assert!(fetch().ended(22).stdout.contains("permission-missing"));
}

#[test]
fn a_jar_runs_by_the_java_of_the_device() {
    let rig = Rig::start();
    let source = r#"
        public class Main {
            public static void main(String[] args) throws Exception {
                var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
                System.out.println(String.join(" ", args) + " | " + in.readLine() + " | " + System.getenv("HTTP_PROXY"));
                var url = java.net.URI.create(System.getenv("HTTP_PROXY"));
                var proxy = new java.net.Proxy(java.net.Proxy.Type.HTTP,
                    new java.net.InetSocketAddress(url.getHost(), url.getPort()));
                var connection = (java.net.HttpURLConnection) java.net.URI.create(args[0]).toURL().openConnection(proxy);
                var basic = java.util.Base64.getEncoder().encodeToString(url.getUserInfo().getBytes());
                connection.setRequestProperty("Proxy-Authorization", "Basic " + basic);
                System.out.println(connection.getResponseCode() + " " + connection.getHeaderField("Proxy-Status"));
                System.exit(5);
            }
        }"#;
    let origin = Origin::start();
    let app = install(&rig, &program::jar(&rig, "moka", source));
    let url = origin.url("/hello");
    let first = with_input(&rig, ["app", "run", &app, &url], "good morning\n").ended(5);
    assert!(first.stdout.starts_with(&format!("{url} | good morning | http://{app}:")), "{}", first.stdout);
    assert!(
        first.stdout.contains("403 mexegate;") && first.stdout.contains("permission-missing"),
        "{}",
        first.stdout
    );
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let second = with_input(&rig, ["app", "run", &app, &url], "again\n").ended(5);
    assert!(second.stdout.ends_with("\n200 null\n"), "{}", second.stdout);
    assert_eq!((origin.connections(), live_runs(&rig)), (1, 0));
}

/// A program that says `started` and its process id and stays; with what it is held by.
fn start_sleeper(rig: &Rig, app: &str) -> (Child, Pid) {
    let mut child =
        rig.command().args(["app", "run", app]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().strip_prefix("started ").and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    (child, pid.unwrap_or_else(|| panic!("the program said `{line}`")))
}

fn gone(pid: Pid) -> Option<()> {
    test_kill_process(pid).is_err().then_some(())
}

#[test]
fn a_run_ends_with_whoever_started_it() {
    let mut rig = Rig::builder().section("limits", "drain = \"300ms\"").start();
    let app = install(&rig, &native("sleeper", "echo started $$; exec sleep 300"));
    let (mut child, pid) = start_sleeper(&rig, &app);
    assert_eq!(live_runs(&rig), 1);
    child.kill().and_then(|()| child.wait()).unwrap();
    wait::until("the program to be killed", || gone(pid));
    wait::until("the run to end", || (live_runs(&rig) == 0).then_some(()));

    // Or by the user's word, which kills the program.
    let (mut child, pid) = start_sleeper(&rig, &app);
    let run = rig.json(["runs"])["items"][0]["id"].as_str().unwrap().to_owned();
    rig.json(["app", "stop", &run]);
    wait::until("the program to be killed", || gone(pid));
    assert!(!child.wait().unwrap().success());
    assert_eq!(live_runs(&rig), 0);

    // Or with the gate, which leaves no program behind that nobody watches.
    let (mut child, pid) = start_sleeper(&rig, &app);
    assert!(rig.stop().success());
    wait::until("the program to be killed", || gone(pid));
    assert!(!child.wait().unwrap().success());
}

/// Gone, or only waiting for whoever inherited it to hear of it.
fn dead(pid: Pid) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X'])).then_some(())
}

#[test]
fn a_program_does_not_survive_a_gate_that_is_killed() {
    let mut rig = Rig::start();
    let app = install(&rig, &native("sleeper", "echo started $$; exec sleep 300"));
    let (mut child, pid) = start_sleeper(&rig, &app);
    let (mut second, other) = start_sleeper(&rig, &app);
    assert!(dead(pid).is_none() && dead(other).is_none());
    rig.kill();
    let killed = Instant::now();
    wait::until("the programs to be killed", || dead(pid).and(dead(other)));
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    // Whoever waited for them is told that they did not end by themselves.
    for child in [&mut child, &mut second] {
        assert!(!child.wait().unwrap().success());
    }
}

#[test]
fn signals_reach_the_program_and_its_death_is_told() {
    let rig = Rig::start();
    let polite =
        install(&rig, &native("polite", "trap 'exit 9' TERM; echo started $$; while :; do sleep 0.05; done"));
    let (mut child, _) = start_sleeper(&rig, &polite);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let suicidal = install(&rig, &native("suicidal", "kill -KILL $$"));
    rig.cli(["app", "run", &suicidal]).ended(128 + 9);
}

#[test]
fn the_gates_environment_is_not_the_programs() {
    let rig = Rig::builder().variable("CLOUD_SECRET", "hunter2").variable("NO_PROXY", "*").start();
    let app = install(&rig, &native("looker", "env"));
    let mut command = rig.command();
    let seen = Output::of(command.env("OTHER_SECRET", "hunter3").args(["app", "run", &app])).ended(0).stdout;
    assert!(seen.contains("HTTP_PROXY="), "{seen}");
    for hidden in ["hunter2", "hunter3", "NO_PROXY", "no_proxy", "MEXEGATE", "CARGO"] {
        assert!(!seen.contains(hidden), "{hidden} is in {seen}");
    }
}

#[test]
fn a_package_that_changed_in_the_store_does_not_run() {
    let rig = Rig::start();
    let app = install(&rig, &native("victim", "echo ran"));
    rig.cli(["app", "run", &app]).ended(0);
    let digest = rig.json(["app", "show", &app])["digest"].as_str().unwrap().to_owned();
    let file = rig.state_dir().join("packages").join(digest);
    let good = fs::read(&file).unwrap();
    // Another signed package in its place, a changed byte, nothing at all: none is what was judged.
    let other = rig.packages().sign("other", &native("victim", "echo evil"), Some(program::DOMAIN));
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    for bytes in [fs::read(other).unwrap(), changed, Vec::new()] {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, bytes).unwrap();
        for arguments in [["app", "run", &app], ["app", "start", &app]] {
            let refused = rig.cli(["--json"].iter().chain(&arguments)).ended(code::REFUSED);
            assert_eq!(refused.text("reason"), "app-suspended", "{}", refused.stderr);
            assert!(!refused.stdout.contains("ran") && !refused.stdout.contains("evil"));
        }
        assert_eq!(rig.json(["app", "show", &app])["state"], "suspended");
    }
    fs::write(&file, &good).unwrap();
    assert_eq!(rig.cli(["app", "run", &app]).ended(0).stdout, "ran\n");
    assert_eq!(rig.json(["app", "show", &app])["state"], "active");
    assert_eq!(live_runs(&rig), 0);
}

#[test]
fn a_runtime_that_is_not_there_leaves_no_run() {
    let rig = Rig::builder()
        .section("runtime.native", "command = [\"/nonexistent/runtime\", \"{package}\"]")
        .start();
    let app = install(&rig, &native("orphan", "echo ran"));
    let failed = rig.cli(["app", "run", &app]);
    assert_ne!(failed.code, code::DONE);
    assert!(failed.stderr.contains("cannot be started"), "{}", failed.stderr);
    assert_eq!((failed.stderr.lines().count(), live_runs(&rig)), (1, 0));
}

#[test]
fn a_command_of_the_users_holds_a_run_for_as_long_as_it_lives() {
    let rig = Rig::start();
    let origin = Origin::start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let script = "env | grep -i proxy= | sort; curl --silent --show-error \"$0\"; exit 4";
    let mut command = rig.command();
    command.env("NO_PROXY", "*").env("no_proxy", "127.0.0.1").env("KEPT", "proxy=kept");
    let ran =
        Output::of(command.args(["app", "start", &app, "--", "sh", "-c", script, &origin.url("/hello")]))
            .ended(4);
    assert!(ran.stdout.ends_with("\nhello\n"), "{}\n{}", ran.stdout, ran.stderr);
    let names: Vec<_> = ran.stdout.lines().filter_map(|line| Some(line.split_once("=")?.0)).collect();
    for name in ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "KEPT"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"NO_PROXY") && !names.contains(&"no_proxy"), "{names:?}");
    wait::until("the run to end with its command", || (live_runs(&rig) == 0).then_some(()));
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty(), "its session permission is gone");

    // Killed, it ends the run too, and what the run had open.
    let port = origin.address().port();
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let mut child = rig
        .command()
        .args(["app", "start", &app, "--", "sh", "-c", "echo $HTTP_PROXY; exec sleep 300"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
    let who = rig::raw::Credentials { app: app.clone(), token: token(url.trim()).to_owned() };
    let mut tunnel = rig::exact::socks(rig.ports().socks, &who, "127.0.0.1", port).unwrap();
    child.kill().and_then(|()| child.wait()).unwrap();
    assert!(tunnel.read(&mut [0]).is_err(), "the tunnel is reset");
    assert_eq!(live_runs(&rig), 0);
    assert_eq!(rig.cli(["app", "start", &app, "--", "/nonexistent/program"]).code, code::FAULT);
    wait::until("no run to be left", || (live_runs(&rig) == 0).then_some(()));
}
