//! Whoever hangs up in the middle leaves nothing half done: a change of the user's is carried to its end, an app's flow
//! has its end in the journal, and a measured run ends with its caller, whatever its program does meanwhile.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use rig::exact::{Http, credentials};
use rig::program::{install, native};
use rig::raw::basic;
use rig::{Rig, wait};
use rustix::net::{AddressFamily, SocketType};

/// Sends a request to the control socket and hangs up that long after.
fn ask_and_hang_up(rig: &Rig, head: &str, body: &str, after: Duration) {
    let mut control = UnixStream::connect(rig.state_dir().join("control.sock")).unwrap();
    let length = body.len();
    write!(control, "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    std::thread::sleep(after);
}

#[test]
fn a_change_whose_caller_hangs_up_is_done_whole() {
    const TIMES: usize = 40;
    let rig = Rig::start();
    let app = rig.app("third-party");
    let written = |action: &str| rig.journal(["--action", action]).len();
    let given = || rig.json(["grants"])["items"].as_array().unwrap().clone();
    for n in 0..TIMES {
        let body = format!(
            "{{\"app\":\"{app}\",\"action\":\"network.connect\",\"target\":\"192.0.2.{n}\",\"permission\":\"blanket\"}}"
        );
        ask_and_hang_up(&rig, "POST /v1/grants", &body, Duration::from_micros(n as u64 * 40));
    }
    // Whose body had not arrived yet was nothing. Changes wait in line, so when this one is answered the others are done.
    rig.grant(&app, "network.connect=192.0.2.200", "blanket");
    let ids: Vec<String> = given().iter().map(|grant| grant["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(written("grant.give"), ids.len(), "what is written down counts, and nothing else");
    assert!(ids.len() > 5, "{ids:?}");
    for (n, id) in ids.iter().enumerate() {
        let after = Duration::from_micros(n as u64 * 40);
        ask_and_hang_up(&rig, &format!("DELETE /v1/grants/{id}"), "", after);
    }
    rig.grant(&app, "network.connect=192.0.2.201", "blanket");
    let gone = ids.len() + 1 - given().len();
    assert_eq!(written("grant.revoke"), gone, "what counts no more is written down");
    assert!(gone > 5, "{gone}");
}

#[test]
fn a_flow_whose_app_leaves_while_it_connects_has_its_end_in_the_journal() {
    let rig = Rig::start();
    let app = rig.app("third-party");
    let run = rig.run(&app);
    // A listener that lets nobody in: whoever connects hangs.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let full = TcpListener::from(socket);
    let target = full.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&target, Duration::from_millis(150)) {
        fill.push(stream);
    }
    rig.grant(&app, &format!("network.connect={target}"), "session");
    let authorization = basic(&credentials(&app, &run));
    let requests = [format!("CONNECT {target}"), format!("GET http://{target}/")];
    for (left, request) in requests.iter().enumerate() {
        let mut http = Http::to(rig.ports().http);
        http.send(format!(
            "{request} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: {authorization}\r\n\r\n"
        ));
        wait::until("the decision", || {
            (rig.journal(["--decision", "allow", "--action", "network.connect"]).len() == left + 1)
                .then_some(())
        });
        drop(http);
        wait::until("the end of the flow", || {
            (rig.journal(["--kind", "flow-end"]).len() == left + 1).then_some(())
        });
    }
    assert!(rig.json(["flows"])["items"].as_array().unwrap().is_empty());
}

#[test]
fn a_run_ends_with_its_caller_although_its_program_reads_no_input() {
    let rig = Rig::start();
    let app = install(&rig, &native("deaf", "echo started; exec sleep 300"));
    let mut child = rig
        .command()
        .args(["app", "run", &app])
        .stdin(File::open("/dev/zero").unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    // Until everything between the two is full.
    std::thread::sleep(Duration::from_millis(500));
    child.kill().and_then(|()| child.wait()).unwrap();
    let runs = || rig.json(["runs"])["items"].as_array().unwrap().len();
    wait::until("the run to end", || (runs() == 0).then_some(()));
}
