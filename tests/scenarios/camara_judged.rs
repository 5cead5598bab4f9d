//! What others wrote judges both ends of the operator's API by its specification: schemathesis our operator, prism our gate.
//! The tools and the specification (CAMARA QualityOnDemand r3.2, Apache-2.0) are kept outside the tree; `tests/run` says
//! where.

mod camara_scene;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camara_scene::*;
use mexegate::bearer::What;
use mexegate::config::{DeviceIdentity, SinkSettings};
use rig::ports::Ports;
use rig::tls::Certificate;
use rig::{Operator, OperatorHabits, wait};

/// A file of the specification.
fn specification(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MEXEGATE_CAMARA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/camara"), PathBuf::from);
    let file = folder.join("r3.2").join(name);
    let is_there = file.is_file();
    if !is_there {
        eprintln!("skipped: no specification at {}", file.display());
    }
    is_there.then_some(file)
}

fn tool(variable: &str) -> Option<PathBuf> {
    let tool = std::env::var_os(variable).map(PathBuf::from).filter(|tool| tool.is_file());
    if tool.is_none() {
        eprintln!("skipped: {variable} names no tool");
    }
    tool
}

#[test]
fn schemathesis_finds_nothing_that_our_operator_does_otherwise() {
    let Some(schemathesis) = tool("MEXEGATE_SCHEMATHESIS") else { return };
    for (name, base) in
        [("quality-on-demand.yaml", "/quality-on-demand/v1"), ("qos-profiles.yaml", "/qos-profiles/v1")]
    {
        let Some(file) = specification(name) else { return };
        let operator = Operator::start(OperatorHabits { takes_any: true, ..OperatorHabits::default() });
        let mut command = Command::new(&schemathesis);
        command.arg("run").arg(&file).args(["--url", &format!("{}{base}", operator.url())]);
        command.args([
            "-H",
            "Authorization: Bearer abc",
            "--max-examples",
            "12",
            "--seed",
            "1",
            "--no-shrink",
        ]);
        // That an address of a server is one, the specification says in words alone: what is refused there is no fault.
        command.args(["--exclude-checks", "positive_data_acceptance", "--warnings", "off", "--no-color"]);
        command.args(["--max-time", "12", "--continue-on-failure"]);
        let folder = tempfile::tempdir().unwrap();
        let output = command.current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        // It came past the door: what was asked for was done, and not only refused.
        let statuses = operator.statuses();
        let wanted: &[u16] =
            if base.starts_with("/quality") { &[200, 201, 204, 400, 404] } else { &[200, 400] };
        assert!(wanted.iter().all(|status| statuses.contains_key(status)), "{statuses:?}\n{said}");
        println!("{name}: {statuses:?}");
    }
}

struct Prism(Child);

impl Prism {
    fn start(prism: &PathBuf, specification: &PathBuf, address: SocketAddr) -> Self {
        let mut command = Command::new(prism);
        command.args(["mock", "--port", &address.port().to_string()]).arg(specification);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait::listening(address);
        Self(child)
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// One address for both: prism knows no base path. In answers, `voice` becomes `QOS_L`, as the specification's examples of
/// profiles have the one and those of sessions the other.
fn relay(sessions: SocketAddr, profiles: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            std::thread::spawn(move || pass(&near, sessions, profiles));
        }
    });
    address
}

fn pass(mut near: &TcpStream, sessions: SocketAddr, profiles: SocketAddr) {
    let mut reader = BufReader::new(near);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let target = if head.contains(" /qos-profiles/v1") { profiles } else { sessions };
    let head = head.replacen("/qos-profiles/v1", "", 1).replacen("/quality-on-demand/v1", "", 1);
    let mut far = TcpStream::connect(target).unwrap();
    far.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    far.write_all(&body).unwrap();
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap().replace("\"voice\"", "\"QOS_L\"");
    let _ = near.write_all(answer.as_bytes());
}

#[test]
fn prism_takes_every_question_that_the_gate_asks() {
    let Some(prism) = tool("MEXEGATE_PRISM") else { return };
    let (Some(sessions), Some(profiles)) =
        (specification("quality-on-demand.yaml"), specification("qos-profiles.yaml"))
    else {
        return;
    };
    let ports = Ports::take();
    let _sessions = Prism::start(&prism, &sessions, ports.socks);
    let _profiles = Prism::start(&prism, &profiles, ports.http);
    let address = relay(ports.socks, ports.http);
    for device in [
        DeviceIdentity::default(),
        DeviceIdentity {
            phone_number: Some("+4930123456".into()),
            ipv4: Some(("203.0.113.1".parse().unwrap(), Some("10.0.0.1".parse().unwrap()), Some(59_765))),
            ipv6: Some(Ipv6Addr::LOCALHOST),
        },
    ] {
        play(
            OperatorHabits::default(),
            |settings, folder| {
                let own = Certificate::make(folder, "sink", "IP:127.0.0.1");
                let (url, listen) = (format!("https://{}/events", ports.console), ports.console);
                settings.sink =
                    Some(SinkSettings { url, listen, certificate: own.certificate, key: own.key });
                settings.url = format!("http://{address}");
                settings.device = device;
                settings.pace.answer = Duration::from_secs(10);
                settings.pace.available = Duration::from_secs(10);
            },
            async |mut scene| {
                scene.found().await;
                // Prism answers 422, 400 or 401 where a question is not as specified, and gives the examples where it is.
                let granted =
                    scene.bearer().negotiate(&video("64 kbit/s", "64 kbit/s", "198.51.100.7")).await;
                let granted = granted.unwrap();
                assert_eq!(granted.attributes.guaranteed_down(), Some(rate("64 kbit/s")));
                tokio::time::sleep(Duration::from_millis(500)).await;
                assert_eq!(scene.bearers.list()[0]["sessions"].as_array().unwrap().len(), 1);
                scene.bearer().release(granted.session).await.unwrap();
                // Another server than that of the examples: its answer is a lie, and found out.
                let lie = scene.bearer().negotiate(&video("64 kbit/s", "64 kbit/s", "203.0.113.7")).await;
                assert_eq!(lie.unwrap_err().code(), "nonsense");
                let told = std::iter::from_fn(|| scene.events.try_recv().ok());
                assert!(
                    !told
                        .into_iter()
                        .any(|event| matches!(event.what, What::Lost(_) | What::SessionLost(..)))
                );
            },
        );
    }
}
