//! Datagrams with clients and servers that are not ours: PySocks asks dnsmasq for a name and Vovida's STUN server for its
//! own address, through the gate.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use rig::ports::Ports;
use rig::{Output, Rig, wait};

/// Sends one request from a socket of PySocks and shows the answer, in hexadecimal, and where it came from.
const PYTHON: &str = r#"
import socket, sys, urllib.parse
import socks

proxy = urllib.parse.urlsplit(sys.argv[1])
host, port, request = sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4])
with socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.set_proxy(socks.SOCKS5, proxy.hostname, proxy.port, True, proxy.username, proxy.password)
    sock.settimeout(3)
    for attempt in range(10):
        sock.sendto(request, (host, port))
        try:
            answer, sender = sock.recvfrom(2048)
        except socket.timeout:
            continue
        print(sender[0], sender[1], answer.hex())
        sys.exit(0)
sys.exit("no answer")
"#;

/// The one that has Debian's PySocks.
const PYTHON_OF_DEBIAN: &str = "/usr/bin/python3";

/// A server that ends with its value.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server is installed"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn ask(socks: &str, port: u16, request: &[u8]) -> Output {
    let hex: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
    Output::of(Command::new(PYTHON_OF_DEBIAN).args([
        "-c",
        PYTHON,
        socks,
        "127.0.0.1",
        &port.to_string(),
        &hex,
    ]))
}

/// The answer, which came from that port as far as the client can tell.
#[track_caller]
fn answer(output: Output, port: u16) -> Vec<u8> {
    let line = output.ended(0).stdout;
    let mut words = line.split_whitespace();
    assert_eq!((words.next(), words.next()), (Some("127.0.0.1"), Some(port.to_string().as_str())), "{line}");
    let hex = words.next().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_name_is_asked_for_through_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    // Kept by a lock: a port that was only free a moment ago can be a connection's by now.
    let ports = Ports::take();
    let port = ports.socks.port();
    let log = folder.path().join("queries");
    let _dnsmasq = Server::start(
        Command::new("dnsmasq")
            .args(["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--bind-interfaces"])
            .args(["--listen-address=127.0.0.1", "--address=/weather.example/192.0.2.55", "--log-queries"])
            .arg(format!("--port={port}"))
            .arg(format!("--log-facility={}", log.display())),
    );
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    query.write_all(b"\x07weather\x07example\x00\x00\x01\x00\x01").unwrap();
    let rig = Rig::start();
    let app = rig.app("third-party");
    let run = rig.run(&app);
    wait::until("dnsmasq to listen", || {
        let sockets =
            Output::of(Command::new("ss").args(["--udp", "--listening", "--numeric", "--no-header"]));
        sockets.stdout.contains(&format!("127.0.0.1:{port} ")).then_some(())
    });
    let refused = Output::of(Command::new("timeout").args([
        "2",
        PYTHON_OF_DEBIAN,
        "-c",
        PYTHON,
        &run.socks,
        "127.0.0.1",
        &port.to_string(),
        "00",
    ]));
    assert_eq!(refused.code, 124, "it waits for an answer in vain: {}", refused.stderr);
    assert!(
        !std::fs::read_to_string(&log).unwrap_or_default().contains("query"),
        "nothing arrives unpermitted"
    );
    rig.grant(&app, &format!("network.datagram=127.0.0.1:{port}"), "session");
    let answer = answer(ask(&run.socks, port, &query), port);
    assert_eq!(answer[..2], query[..2], "the answer to this question");
    assert!(answer.ends_with(&[192, 0, 2, 55]), "{answer:02x?}");
    assert!(std::fs::read_to_string(&log).unwrap().contains("query[A] weather.example"));
    let allowed = rig.journal(["--app", &app, "--decision", "allow", "--action", "network.datagram"]);
    assert_eq!(allowed[0]["target"], format!("127.0.0.1:{port}"));
}

#[test]
fn a_client_learns_its_outer_address_through_the_gate() {
    let ports = Ports::take();
    let (port, other) = (ports.socks.port(), ports.http.port());
    let _stun = Server::start(Command::new("/usr/sbin/stund").args([
        "-h",
        "127.0.0.1",
        "-a",
        "127.0.0.2",
        "-p",
        &port.to_string(),
        "-o",
        &other.to_string(),
    ]));
    let rig = Rig::start();
    let app = rig.app("third-party");
    let run = rig.run(&app);
    rig.grant(&app, &format!("network.datagram=127.0.0.1:{port}"), "session");
    // A binding request (RFC 3489) without attributes.
    let request = [&[0, 1, 0, 0][..], &[0x2a; 16]].concat();
    let answer = answer(ask(&run.socks, port, &request), port);
    assert_eq!((&answer[..2], &answer[4..20]), (&[1, 1][..], &[0x2a; 16][..]), "a binding response, to us");
    // MAPPED-ADDRESS: type 1, eight bytes, IPv4, the port and the address that the server saw.
    let at = 20;
    assert_eq!(
        (&answer[at..at + 6], &answer[at + 8..at + 12]),
        (&[0, 1, 0, 8, 0, 1][..], &[127, 0, 0, 1][..])
    );
    let seen = u16::from_be_bytes([answer[at + 6], answer[at + 7]]);
    assert!(seen != 0 && seen != port);
    assert_eq!(
        rig.journal(["--app", &app, "--decision", "allow", "--action", "network.datagram"]).len(),
        1,
        "one flow"
    );
}
