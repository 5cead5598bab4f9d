//! An app that wants to be its own user (security rule S2): over the control socket from wherever a run can put a
//! process, over the console's port with the one token that it has, and as another local user. Whatever it tries, it
//! gives itself nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rig::cli::code;
use rig::program::{install, native};
use rig::{Origin, Output, Reply, Rig, binary, wait};
use serde_json::Value;

/// What the user alone may do, as arguments of the command line; `APP` is the app itself.
const USERS: &[&[&str]] = &[
    &["grant", "APP", "network.connect", "--permission", "blanket"],
    &["grants"],
    &["revoke", "--app", "APP"],
    &["app", "list"],
    &["app", "show", "APP"],
    &["app", "start", "APP"],
    &["app", "run", "APP", "true"],
    &["app", "remove", "APP"],
    &["runs"],
    &["flows"],
    &["roots", "list"],
    &["explain", "APP", "network.connect"],
];

/// The command line of a verb, as a program inside a run would call it.
fn call(rig: &Rig, app: &str, verb: &[&str]) -> Vec<String> {
    let fixed = [binary::mexegate().display().to_string(), "--json".into(), "--state-dir".into()];
    let verb = verb.iter().map(|word| if *word == "APP" { app.to_owned() } else { (*word).to_owned() });
    fixed.into_iter().chain([rig.state_dir().display().to_string()]).chain(verb).collect()
}

/// A rig with an app that does whatever its arguments say.
fn start() -> (Rig, String) {
    let rig = Rig::start();
    let app = install(&rig, &native("puppet", "exec \"$@\""));
    (rig, app)
}

#[track_caller]
fn nothing_was_given(rig: &Rig, app: &str) {
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty());
    assert!(rig.journal(["--action", "grant.give"]).is_empty());
    assert_eq!(rig.json(["app", "show", app])["id"], app, "it is still there");
}

#[track_caller]
fn is_refused(output: &Output) {
    assert_eq!(output.code, code::REFUSED, "{}\n{}", output.stdout, output.stderr);
    let problem: Value = serde_json::from_str(output.stdout.lines().next().unwrap_or_default()).unwrap();
    assert_eq!(problem["reason"], "peer-is-a-run", "{}", output.stdout);
}

#[test]
fn a_program_of_a_measured_run_may_nothing_at_the_control_socket() {
    let (rig, app) = start();
    for verb in USERS {
        let call = call(&rig, &app, verb);
        let child = ["app", "run", &app].map(str::to_owned).into_iter().chain(call.iter().cloned());
        is_refused(&rig.cli(child));
    }
    // A grandchild, two shells below.
    let nested = ["app", "run", &app, "sh", "-c", "sh -c '\"$@\"; exit $?' inner \"$@\"; exit $?", "outer"];
    let nested = nested.map(str::to_owned).into_iter().chain(call(&rig, &app, USERS[0]));
    is_refused(&rig.cli(nested));
    // Without the command line, byte for byte.
    let socket = rig.state_dir().join("control.sock").display().to_string();
    let body = format!("{{\"app\":\"{app}\",\"action\":\"network.connect\",\"permission\":\"blanket\"}}");
    let curl = ["curl", "--silent", "--unix-socket", &socket, "--data", &body, "http://localhost/v1/grants"];
    let answer = rig.cli(["app", "run", &app].iter().chain(&curl)).ended(0);
    assert_eq!(answer.json["reason"], "peer-is-a-run", "{}", answer.stdout);
    nothing_was_given(&rig, &app);
}

/// Waits until its parent is gone, then calls the verb and leaves code and answer in a file.
const ORPHAN: &str = r#"
    file=$1; shift
    parent() { read -r line < "/proc/$$/stat"; set -- ${line##*) }; echo "$2"; }
    first=$(parent)
    : > "$file.waiting"
    while [ "$(parent)" = "$first" ]; do sleep 0.02; done
    "$@" > "$file.out" 2> "$file.err"
    echo $? > "$file.code"
    mv "$file.code" "$file"
"#;

fn orphan_said(file: &std::path::Path) -> Output {
    let code = wait::until("the orphan's answer", || fs::read_to_string(file).ok());
    let read = |ending: &str| fs::read_to_string(file.with_extension(ending)).unwrap_or_default();
    let stdout = read("out");
    Output {
        code: code.trim().parse().expect("an exit code"),
        json: serde_json::from_str(&stdout).unwrap_or_default(),
        stdout,
        stderr: read("err"),
    }
}

#[test]
fn an_orphan_of_a_measured_run_is_still_of_the_run() {
    let (rig, app) = start();
    // The run goes on after the middle of the family has died, or is over with it.
    for (name, last) in [("living", "sleep 3"), ("over", ":")] {
        let file = rig.folder().join(name);
        let path = file.display().to_string();
        // In a session and a process group of its own, its parent gone: a daemon.
        let daemon = format!(
            "sh -c 'setsid sh -c \"$0\" orphan \"$@\" & while [ ! -e \"$1.waiting\" ]; do sleep 0.02; done' '{}' \"$@\"; {last}",
            ORPHAN.replace('\'', "'\\''")
        );
        let arguments = ["app", "run", &app, "sh", "-c", &daemon, "family", &path].map(str::to_owned);
        rig.cli(arguments.into_iter().chain(call(&rig, &app, USERS[0]))).ended(0);
        is_refused(&orphan_said(&file));
    }
    nothing_was_given(&rig, &app);
}

#[test]
fn a_command_that_holds_a_run_may_nothing_either() {
    let (rig, app) = start();
    let start = ["app", "start", &app, "--"].map(str::to_owned);
    for verb in USERS {
        is_refused(&rig.cli(start.iter().cloned().chain(call(&rig, &app, verb))));
    }
    let nested = ["sh", "-c", "sh -c '\"$@\"; exit $?' inner \"$@\"; exit $?", "outer"].map(str::to_owned);
    is_refused(&rig.cli(start.iter().cloned().chain(nested).chain(call(&rig, &app, USERS[0]))));
    // An orphan, as long as the command lives.
    let file = rig.folder().join("held");
    let path = file.display().to_string();
    let daemon = format!(
        "sh -c 'setsid sh -c \"$0\" orphan \"$@\" & while [ ! -e \"$1.waiting\" ]; do sleep 0.02; done' '{}' \"$@\"; \
         while [ ! -e \"$1\" ]; do sleep 0.02; done",
        ORPHAN.replace('\'', "'\\''")
    );
    let family = ["sh", "-c", &daemon, "family", &path].map(str::to_owned);
    rig.cli(start.iter().cloned().chain(family).chain(call(&rig, &app, USERS[0]))).ended(0);
    is_refused(&orphan_said(&file));
    nothing_was_given(&rig, &app);
}

/// One request to the API by curl, with that header.
fn request(rig: &Rig, method: &str, path: &str, header: &str, body: &str) -> Reply {
    let url = format!("http://{}{path}", rig.ports().console);
    rig.curl(["--request", method, "--header", header, "--data", body, &url])
}

#[test]
fn over_http_each_role_gets_its_own_routes_and_no_other() {
    let (rig, app) = start();
    let run = rig.run(&app);
    let document = rig.api([] as [&str; 0], "/v1/openapi.json");
    let document: Value = serde_json::from_slice(&document.body).expect("the API's document");
    let basic = rig::raw::basic(&rig::exact::credentials(&app, &run));
    let bearer = format!("Authorization: Bearer {}", run.token);
    let basic = format!("Authorization: {basic}");
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in
            operations.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
        {
            routes += 1;
            let path = path.replace("{id}", &app);
            let roles: Vec<_> =
                operation["x-roles"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let method = method.to_uppercase();
            for header in
                ["X-None: 1", "Authorization: Bearer 0", "Authorization: Basic YTpi", "Authorization: x"]
            {
                let reply = request(&rig, &method, &path, header, "");
                let reason = reply.reason().unwrap_or_default();
                assert_eq!(reply.status, 401, "{method} {path} {header}");
                assert!(reason.starts_with("credentials-"), "{method} {path} {header}: {reason}");
            }
            for header in [&bearer, &basic] {
                let reply = request(&rig, &method, &path, header, "{}");
                if roles.contains(&"app") {
                    // Let in; what it asks for is not there or not well said. A stream of which nothing is said is one.
                    assert!(
                        matches!(reply.status, 200 | 201 | 400 | 404),
                        "{method} {path}: {}",
                        reply.text()
                    );
                } else {
                    assert_eq!(
                        (reply.status, reply.reason().as_deref()),
                        (403, Some("role-missing")),
                        "{method} {path}"
                    );
                }
            }
        }
    }
    assert!(routes >= 18, "{routes}");
    for path in
        ["/v1/grants/../grants", "/v1//grants", "/V1/GRANTS", "/v1/grants/", "/v1/grants?x=/v1/decisions"]
    {
        let url = format!("http://{}{path}", rig.ports().console);
        let reply =
            rig.curl(["--path-as-is", "--request", "POST", "--header", &bearer, "--data", "{}", &url]);
        assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("role-missing")), "{path}");
    }
    nothing_was_given(&rig, &app);
    assert_eq!(rig.json(["runs"])["items"].as_array().unwrap().len(), 1);
}

#[test]
fn an_app_asks_for_decisions_about_itself_only() {
    let (rig, app) = start();
    let other = rig.app("operator");
    let (run, foreign) = (rig.run(&app), rig.run(&other));
    rig.grant(&other, "network.connect=127.0.0.1", "session");
    let bearer = format!("Authorization: Bearer {}", run.token);
    let ask = |body: String| request(&rig, "POST", "/v1/decisions", &bearer, &body);
    let question = |key: &str, id: &str| {
        format!("{{\"{key}\":\"{id}\",\"action\":\"network.connect\",\"target\":\"127.0.0.1:80\"}}")
    };
    let own = ask(question("run", &run.run));
    let own: Value = serde_json::from_slice(&own.body).expect("a decision");
    assert_eq!((&own["decision"], &own["reason"]), (&"ask".into(), &"permission-missing".into()), "{own}");
    for (key, id) in [("run", foreign.run.as_str()), ("app", &other)] {
        let reply = ask(question(key, id));
        assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("role-missing")), "{key} {id}");
    }
    // Which runs and apps there are is not told either: what is not its own is refused in the same way.
    assert_eq!(ask(question("app", "no-such-app")).reason().as_deref(), Some("role-missing"));
    rig.json(["app", "stop", &run.run]);
    assert_eq!(ask(question("run", &run.run)).status, 401, "an ended run is nobody");
}

#[test]
fn a_page_of_another_site_does_not_reach_the_console() {
    let rig = Rig::start();
    let token = format!("Authorization: Bearer {}", rig.console_token());
    let url = format!("http://{}/v1/grants", rig.ports().console);
    for header in
        ["Host: evil.example", "Host: localhost.evil.example", "Origin: http://evil.example", "Origin: null"]
    {
        let reply = rig.curl(["--header", &token, "--header", header, &url]);
        assert_eq!(reply.status, 421, "{header}");
        assert!(!reply.text().contains("items"));
    }
    assert_eq!(rig.curl(["--header", &token, &url]).status, 200);
}

#[test]
fn another_local_user_is_nobody() {
    let (rig, app) = start();
    if !rustix::process::geteuid().is_root() {
        println!("only root can call as another user");
        return;
    }
    let as_nobody = |verb: &[&str]| {
        let call = call(&rig, &app, verb);
        Output::of(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .args(call),
        )
    };
    let open =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for verb in USERS {
        let output = as_nobody(verb).ended(code::FAULT);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    // Folders that others may enter change nothing; nor does a socket that others may open, where the kernel tells who
    // calls.
    open(rig.folder(), 0o755);
    open(&rig.state_dir(), 0o755);
    let socket = rig.state_dir().join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let output = as_nobody(USERS[0]).ended(code::FAULT);
    assert!(output.stderr.contains("may not open"), "{}", output.stderr);
    open(&socket, 0o666);
    let output = as_nobody(USERS[0]).ended(code::REFUSED);
    assert_eq!(output.text("reason"), "credentials-missing");
    for secret in ["console.token", "mexegate.db", "journal.key"] {
        let mode = fs::metadata(rig.state_dir().join(secret)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{secret}");
    }
    nothing_was_given(&rig, &app);
}

#[test]
fn a_run_cannot_reach_the_console_through_the_gate() {
    let (rig, app) = start();
    let origin = Origin::start();
    let run = rig.run(&app);
    rig.grant(&app, "network.connect=127.0.0.0/8", "session");
    let token = format!("Authorization: Bearer {}", rig.console_token());
    let url = format!("http://{}/v1/grants", rig.ports().console);
    let reply = rig.curl(["--proxy", &run.http, "--header", &token, &url]);
    assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("own-address")));
    assert_eq!(rig.curl(["--proxy", &run.http, &origin.url("/hello")]).status, 200);
}
