//! A real Prometheus scrapes the gate, by the job of `dashboards/prometheus.yml`: every series is as a small scenario
//! says, `promtool` finds nothing wrong, and labels come from closed sets only.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mexe_model::Reason;
use rig::raw::{self, Credentials, Door, No};
use rig::{Control, Origin, Output, Reply, Rig, wait};

/// A Prometheus of our own, ended with this value.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Scrapes the gate of a rig every second.
    fn start(rig: &Rig) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/prometheus.yml");
        Output::of(Command::new("promtool").args(["check", "config"]).arg(&shipped)).ended(0);
        let text = fs::read_to_string(shipped).unwrap();
        let adapted = text
            .replace("127.0.0.1:9057", &rig.ports().metrics.to_string())
            .replace("scrape_interval: 5s", "scrape_interval: 1s");
        assert_ne!(adapted, text, "the shipped job names the gate's usual port");
        let config = rig.folder().join("prometheus.yml");
        fs::write(&config, adapted).unwrap();
        Output::of(Command::new("promtool").args(["check", "config"]).arg(&config)).ended(0);
        // The next port of the rig's own block.
        let mut address = rig.ports().metrics;
        address.set_port(address.port() + 1);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", rig.folder().join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        let prometheus = Self { child, address: address.to_string() };
        let ready = || Reply::of([format!("http://{address}/-/ready")]).status == 200;
        wait::until("prometheus to be ready", || ready().then_some(()));
        prometheus
    }

    /// The value of an instant query; `None` without a result.
    fn query(&self, query: &str) -> Option<f64> {
        let url = format!("http://{}/api/v1/query", self.address);
        let reply = Reply::of(["--get", "--data-urlencode", &format!("query={query}"), &url]);
        let json: serde_json::Value =
            serde_json::from_slice(&reply.body).expect("prometheus answers in JSON");
        assert_eq!(json["status"], "success", "{query}: {json}");
        json["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    #[track_caller]
    fn becomes(&self, query: &str, value: f64) {
        let mut last = None;
        let same = wait::within(Duration::from_secs(5), || {
            last = self.query(query);
            (last == Some(value)).then_some(())
        });
        assert!(same.is_some(), "{query} is {last:?}, not {value}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[test]
fn a_real_prometheus_sees_every_series_as_the_scenario_says() {
    let rig = Rig::start();
    let prometheus = Prometheus::start(&rig);
    // It looks for targets only every five seconds.
    wait::until("the first scrape", || prometheus.query(r#"up{job="mexegate"} == 1"#));
    play(&rig);
    let said = [
        // Four packages installed, a broken one refused, three runs begun: each judges its package again.
        (r#"mexegate_verifications_total{format="jar",result="verified"}"#, 5.0),
        (r#"mexegate_verifications_total{format="jar",result="untrusted"}"#, 2.0),
        (r#"mexegate_verifications_total{format="jar",result="refused"}"#, 1.0),
        ("mexegate_verification_seconds_count", 8.0),
        (r#"mexegate_apps{domain="operator"}"#, 1.0),
        (r#"mexegate_apps{domain="manufacturer"}"#, 1.0),
        (r#"mexegate_apps{domain="third-party"}"#, 1.0),
        (r#"mexegate_apps{domain="untrusted"}"#, 1.0),
        (r#"sum(mexegate_roots{state="enabled"})"#, 3.0),
        (r#"sum(mexegate_roots{state="invalid"})"#, 0.0),
        (r#"mexegate_runs_open{domain="third-party"}"#, 1.0),
        (r#"mexegate_runs_open{domain="operator"}"#, 1.0),
        (r#"mexegate_runs_open{domain="untrusted"}"#, 1.0),
        (r#"mexegate_grants{permission="single"}"#, 1.0),
        (r#"mexegate_grants{permission="session"}"#, 1.0),
        (r#"mexegate_grants{permission="blanket"}"#, 0.0),
        // Third party: three flows that ended, one that was cut, one refused after the revoke. Operator: one destination
        // that refused, one flow still open. Untrusted: refused.
        (
            r#"mexegate_decisions_total{domain="third-party",action_group="network",decision="allow",reason="none"}"#,
            4.0,
        ),
        (
            r#"mexegate_decisions_total{domain="third-party",action_group="network",decision="deny",reason="permission-missing"}"#,
            1.0,
        ),
        (
            r#"mexegate_decisions_total{domain="operator",action_group="network",decision="allow",reason="none"}"#,
            2.0,
        ),
        (
            r#"mexegate_decisions_total{domain="untrusted",action_group="network",decision="deny",reason="untrusted-app"}"#,
            1.0,
        ),
        ("sum(mexegate_decisions_total)", 8.0),
        (
            r#"mexegate_flows_total{domain="third-party",class="background",ingress="socks5",result="closed"}"#,
            1.0,
        ),
        (
            r#"mexegate_flows_total{domain="third-party",class="background",ingress="http-connect",result="closed"}"#,
            1.0,
        ),
        (
            r#"mexegate_flows_total{domain="third-party",class="background",ingress="http-forward",result="closed"}"#,
            1.0,
        ),
        (
            r#"mexegate_flows_total{domain="third-party",class="background",ingress="socks5",result="cut"}"#,
            1.0,
        ),
        (
            r#"mexegate_flows_total{domain="operator",class="background",ingress="http-connect",result="failed"}"#,
            1.0,
        ),
        ("sum(mexegate_flows_total)", 5.0),
        (r#"mexegate_flows_open{domain="operator",class="background",ingress="socks5"}"#, 1.0),
        ("sum(mexegate_flows_open)", 1.0),
        (r#"mexegate_bearer_up{bearer="default"}"#, 1.0),
        (r#"sum(mexegate_qos_negotiations_total{bearer="default"})"#, 0.0),
        (r#"mexegate_flow_setup_seconds_count{ingress="socks5"}"#, 3.0),
        (r#"mexegate_flow_setup_seconds_count{ingress="http-connect"}"#, 1.0),
        (r#"mexegate_flow_setup_seconds_count{ingress="http-forward"}"#, 1.0),
        (r#"mexegate_flow_cut_total{reason="permission-revoked"}"#, 1.0),
        ("sum(mexegate_flow_cut_total)", 1.0),
        ("mexegate_flow_cut_seconds_count", 1.0),
        // The open flow's bytes count while it is open.
        (r#"mexegate_flow_bytes_total{domain="operator",class="background",direction="up"}"#, 300.0),
        (r#"mexegate_flow_bytes_total{domain="operator",class="background",direction="down"}"#, 700.0),
        // Without a configuration all of it goes over one bearer.
        ("sum(mexegate_bearer_bytes_total) - sum(mexegate_flow_bytes_total)", 0.0),
        (r#"count(mexegate_bearer_bytes_total{bearer="default"})"#, 2.0),
        (r#"mexegate_connections_refused_total{ingress="socks5",reason="credentials-wrong"}"#, 1.0),
        (r#"mexegate_connections_refused_total{ingress="socks5",reason="request-malformed"}"#, 1.0),
        (r#"mexegate_connections_refused_total{ingress="http-forward",reason="credentials-missing"}"#, 1.0),
        ("sum(mexegate_connections_refused_total)", 3.0),
        // Scenario `streams` looks at these when somebody asks for one.
        ("count(mexegate_streams_open)", 4.0),
        ("sum(mexegate_streams_open)", 0.0),
        // Nobody is asked here; scenario `prompts` looks at these when somebody is.
        ("mexegate_prompts_open", 0.0),
        ("count(mexegate_prompts_total)", 4.0),
        ("sum(mexegate_prompts_total)", 0.0),
        ("mexegate_prompt_seconds_count", 0.0),
        ("mexegate_journal_backlog", 0.0),
        (r#"count(mexegate_build_info{version!="",commit!=""})"#, 1.0),
        (r#"up{job="mexegate"}"#, 1.0),
    ];
    for (query, value) in said {
        prometheus.becomes(query, value);
    }
    // Two tunnels, exactly; the forward request adds its heads.
    for (direction, tunnels) in [("up", 1010.0), ("down", 5020.0)] {
        let all = format!(
            r#"mexegate_flow_bytes_total{{domain="third-party",class="background",direction="{direction}"}}"#
        );
        let bytes = prometheus.query(&all).unwrap();
        assert!((tunnels + 20.0..tunnels + 400.0).contains(&bytes), "{direction}: {bytes}");
        let flows =
            format!(r#"sum(mexegate_flow_bytes_total{{class="background",direction="{direction}"}})"#);
        let policed = format!(
            r#"mexegate_policed_bytes_total{{class="background",direction="{direction}",verdict="conforming"}}"#
        );
        assert_eq!(prometheus.query(&flows), prometheus.query(&policed));
    }
    // As many decisions were timed as were taken, or more: a name is decided on twice.
    assert!(prometheus.query("mexegate_decision_seconds_count").unwrap() >= 8.0);
    let written = rig.journal::<&str>([]).last().unwrap()["seq"].as_f64().unwrap();
    prometheus.becomes("mexegate_journal_records_total", written);
    let fds = prometheus.query("process_open_fds").unwrap();
    assert!((fds - rig.fds() as f64).abs() <= 8.0, "{fds} of {}", rig.fds());
    assert!(prometheus.query("process_resident_memory_bytes").unwrap() > 1e6);
    assert!(prometheus.query("process_cpu_seconds_total").unwrap() > 0.0);
    assert!(prometheus.query("time() - process_start_time_seconds").unwrap() < 120.0);

    let page = rig.health("metrics").text();
    let families: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|family| family.starts_with("mexegate_"))
        .collect();
    // Nothing is there that this scenario does not look at.
    let untold: Vec<_> = families
        .iter()
        .filter(|family| !said.iter().any(|(query, _)| query.contains(**family)))
        .filter(|family| {
            ![
                "mexegate_policed_bytes_total",
                "mexegate_scheduler_wait_seconds",
                "mexegate_decision_seconds",
                "mexegate_journal_records_total",
            ]
            .contains(family)
        })
        .collect();
    assert!(untold.is_empty(), "{untold:?}");
    only_closed_sets(&page);
    passes_promtool(&rig, &page);
}

/// The scenario that the table tells of. It leaves one flow of the operator's app open, for ever.
fn play(rig: &Rig) {
    let mut control = Control::of(rig);
    let [app, operator, unsigned, _] =
        ["third-party", "operator", "unsigned", "manufacturer"].map(|domain| rig.app(domain));
    let broken = rig.folder().join("broken.jar");
    fs::write(&broken, "not an archive").unwrap();
    assert_eq!(rig.cli(["app", "install", broken.to_str().unwrap()]).code, 3);
    let (_, who) = control.run(&app);
    let (_, with_session) = control.run(&operator);
    let (_, untrusted) = control.run(&unsigned);
    let grant = control.grant(&app, "127.0.0.1", "blanket");
    control.grant(&operator, "127.0.0.1", "session");
    control.grant(&operator, "10.0.0.1", "single");

    exchange(rig, Door::Socks, &who, 1000, 5000);
    exchange(rig, Door::Connect, &who, 10, 20);
    let origin = Origin::start();
    let proxy = format!("http://{}:{}@{}", who.app, who.token, rig.ports().http);
    assert_eq!(rig.curl(["--proxy", &proxy, &origin.url("/hello")]).status, 200);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let cut = raw::open(rig.ports(), Door::Socks, &who, target).unwrap();
    control.done("DELETE", &format!("/v1/grants/{grant}"), None);
    assert!(raw::hung_up(&cut, Duration::from_secs(5)).is_some());
    assert_eq!(raw::open(rig.ports(), Door::Socks, &who, target).unwrap_err(), No::Socks(2));
    assert_eq!(raw::open(rig.ports(), Door::Socks, &untrusted, target).unwrap_err(), No::Socks(2));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let no = raw::open(rig.ports(), Door::Connect, &with_session, closed).unwrap_err();
    assert_eq!(no, No::Http(502, "upstream-refused".into()));
    let wrong = Credentials { token: "wrong".into(), ..who };
    assert_eq!(raw::open(rig.ports(), Door::Socks, &wrong, target).unwrap_err(), No::Socks(0xff));
    assert_eq!(
        rig.curl(["--proxy", &format!("http://{}", rig.ports().http), &origin.url("/hello")]).status,
        407
    );
    std::net::TcpStream::connect(rig.ports().socks).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    std::mem::forget(exchange_and_keep(rig, Door::Socks, &with_session, 300, 700));
    wait::until("the flows to end", || (control.list("/v1/flows").len() == 1).then_some(()));
}

/// So many bytes up and down through a tunnel, which then ends in good order.
fn exchange(rig: &Rig, door: Door, who: &Credentials, up: usize, down: usize) {
    let (mut client, mut server) = exchange_and_keep(rig, door, who, up, down);
    for one in [&client, &server] {
        one.shutdown(Shutdown::Write).unwrap();
    }
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
}

fn exchange_and_keep(
    rig: &Rig,
    door: Door,
    who: &Credentials,
    up: usize,
    down: usize,
) -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = raw::open(rig.ports(), door, who, listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    client.write_all(&vec![b'u'; up]).unwrap();
    server.read_exact(&mut vec![0; up]).unwrap();
    server.write_all(&vec![b'd'; down]).unwrap();
    client.read_exact(&mut vec![0; down]).unwrap();
    (client, server)
}

/// Every label and every value of one is of a set that no app, host or user can enlarge.
fn only_closed_sets(page: &str) {
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).chain(["none"]).collect();
    let mut results = vec!["closed", "cut", "failed", "idle", "reset", "verified", "untrusted", "refused"];
    results.extend(["granted", "granted-otherwise"]);
    results.extend(mexegate::bearer::NegotiationFault::CODES);
    let sets: [(&str, &[&str]); 15] = [
        ("action_group", &["network"]),
        ("answer", &["allow", "deny", "missed", "queue-full"]),
        ("class", &["conversational", "streaming", "interactive", "background"]),
        ("commit", &[]),
        ("decision", &["allow", "ask", "deny"]),
        ("direction", &["up", "down"]),
        ("domain", &["operator", "manufacturer", "third-party", "untrusted"]),
        ("format", &["detached", "jar", "midlet"]),
        ("ingress", &["socks5", "socks5-udp", "http-connect", "http-forward"]),
        ("permission", &["single", "session", "blanket"]),
        ("reason", &reasons),
        ("bearer", &["default"]),
        ("result", &results),
        (
            "state",
            &[
                "disabled",
                "enabled",
                "expired",
                "invalid",
                "not-enabled",
                "not-in-charge",
                "not-yet-valid",
                "unaccepted",
            ],
        ),
        ("verdict", &["conforming", "delayed", "dropped"]),
    ];
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labels)) = line.split_once('{') else { continue };
        for label in labels.rsplit_once('}').unwrap().0.split(',') {
            let (name, value) = label.split_once('=').unwrap();
            let value = value.trim_matches('"');
            let known = match name {
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                // One value a build.
                "version" | "commit" => true,
                _ => sets.iter().any(|(set, values)| *set == name && values.contains(&value)),
            };
            assert!(known, "`{name}=\"{value}\"` is of no closed set: {line}");
        }
    }
    for secret in ["third-party-app", "127.0.0.1", "127_0_0_1"] {
        assert!(!page.contains(secret), "{secret} is in the metrics");
    }
}

fn passes_promtool(rig: &Rig, page: &str) {
    let file = rig.folder().join("metrics.txt");
    fs::write(&file, page).unwrap();
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).unwrap())
        .output()
        .expect("promtool is installed");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    println!("promtool check metrics: clean, {} lines", page.lines().count());
}
