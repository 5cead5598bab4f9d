//! The rig itself is right: its servers answer and count, its world is closed, what it reads from /proc is true.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use rig::{Origin, Output, Reply, proc, wait, world};

#[test]
fn the_origin_answers_curl_and_counts_what_arrives() {
    let origin = Origin::start();
    let hello = Reply::of([origin.url("/hello")]);
    assert_eq!((hello.exit, hello.status, hello.text().as_str()), (0, 200, "hello\n"));
    let big = Reply::of([origin.url("/big?bytes=3000000")]);
    assert_eq!((big.status, big.body.len()), (200, 3_000_000));
    for chunked in ["Transfer-Encoding: chunked", "X-Chunked: no"] {
        let before = origin.received();
        let body = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(body.path(), vec![b'y'; 1_500_000]).unwrap();
        let data = format!("@{}", body.path().display());
        let upload = Reply::of(["--data-binary", &data, "--header", chunked, &origin.url("/upload")]);
        assert_eq!((upload.status, upload.text().as_str()), (200, "1500000\n"), "{}", upload.stderr);
        assert_eq!(origin.received() - before, 1_500_000);
    }
    assert_eq!(Reply::of([origin.url("/other")]).status, 404);
    assert_eq!(origin.connections(), 5);
    assert!(origin.heads()[0].starts_with("GET /hello HTTP/1.1\r\n"), "{:?}", origin.heads());
    wait::until("the origin's connections to end", || (origin.open() == 0).then_some(()));
}

#[test]
fn a_reason_is_read_from_the_body_and_from_proxy_status() {
    let with = |body: &str, header: Option<&str>| Reply {
        exit: 0,
        status: 403,
        connect_status: 0,
        body: body.into(),
        headers: header.map(|value| ("proxy-status".to_owned(), value.to_owned())).into_iter().collect(),
        stderr: String::new(),
    };
    assert_eq!(with(r#"{"reason":"permission-missing"}"#, None).reason().unwrap(), "permission-missing");
    let status = r#"mexegate; error=http_request_denied; details="own-address""#;
    assert_eq!(with("", Some(status)).reason().unwrap(), "own-address");
    assert_eq!(with("plain", None).reason(), None);
}

#[test]
fn series_are_summed_over_the_labels_that_were_not_named() {
    let text = "# HELP a b\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\na_total{x=\"2\",y=\"2\"} 8\nb 1.5\n";
    for (series, sum) in [("a_total", 15.0), ("a_total{x=\"1\"}", 7.0), ("b", 1.5), ("a", 0.0)] {
        assert_eq!(rig::metrics::sum_of(text, series), sum, "{series}");
    }
}

#[test]
fn cpu_time_counts_threads_and_children_that_are_gone() {
    let busy = || {
        let end = Instant::now() + Duration::from_millis(120);
        while Instant::now() < end {}
    };
    let own = std::process::id();
    let before = proc::cpu(own);
    std::thread::spawn(busy).join().unwrap();
    let thread = proc::cpu(own) - before;
    let before = proc::cpu(own);
    let script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    Output::of(Command::new("sh").args(["-c", script])).ended(0);
    let child = proc::cpu(own) - before;
    assert!(thread >= Duration::from_millis(20), "{thread:?} for a thread that spun for 120 ms");
    assert!(child >= Duration::from_millis(10), "{child:?} for a child that counted to 60,000");
}

#[test]
fn memory_and_descriptors_of_a_child_are_seen() {
    let mut child = Command::new("sleep").arg("30").spawn().unwrap();
    let pid = child.id();
    assert!(proc::tree(std::process::id()).contains(&pid));
    wait::until("the child's memory", || (proc::memory_kib(pid) > 50).then_some(()));
    assert!(proc::fds(pid) >= 3);
    assert_eq!(proc::threads(pid), 1);
    child.kill().and_then(|()| child.wait()).unwrap();
}

#[test]
fn the_resolver_answers_from_its_table_and_remembers_the_questions() {
    let resolver = rig::Resolver::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    resolver.set("app.example", &["192.0.2.7"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ask = |name: &str| {
        let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.extend([0, 0, 1, 0, 1]);
        socket.send_to(&query, resolver.address()).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    let known = ask("App.example");
    assert_eq!((known[3] & 15, &known[known.len() - 4..]), (0, &[192, 0, 2, 7][..]));
    assert_eq!(ask("other.example")[3] & 15, 3, "a name that was never set does not exist");
    assert_eq!(resolver.questions(), ["app.example", "other.example"]);
}

#[test]
fn a_world_has_public_addresses_and_names_and_no_way_out() {
    let Some(world) = world::inside("a_world_has_public_addresses_and_names_and_no_way_out") else { return };
    let resolver = world.resolver();
    resolver.set("shop.example", &["93.184.215.14"]);
    resolver.set("six.example", &[world::OUTSIDE_V6]);
    let origin = world.origin("93.184.215.14:80");
    let six = world.origin(&format!("[{}]:80", world::OUTSIDE_V6));
    for (name, origin) in [("shop.example", &origin), ("six.example", &six)] {
        let reply = Reply::of([format!("http://{name}/hello")]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"), "{}", reply.stderr);
        assert_eq!(origin.connections(), 1);
    }
    assert!(resolver.questions().contains(&"shop.example".to_owned()));
    let elsewhere = TcpStream::connect_timeout(&"192.0.2.1:80".parse().unwrap(), Duration::from_secs(2));
    assert!(elsewhere.is_err(), "an address that is not in the world answers");
}

#[test]
fn ports_are_held_by_one_rig_at_a_time() {
    let (one, other) = (rig::ports::Ports::take(), rig::ports::Ports::take());
    assert_ne!(one.socks, other.socks);
    assert!([one.socks, one.http, one.console, one.metrics].iter().all(|address| address.port() < 32_768));
}

#[test]
fn a_rig_has_a_gate_that_installs_grants_carries_and_starts_again() {
    let mut rig = rig::Rig::start();
    let origin = Origin::start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    for proxy in [rig.run(&app).socks, rig.run(&app).http] {
        let reply = rig.curl(["--proxytunnel", "--proxy", &proxy, &origin.url("/hello")]);
        assert_eq!((reply.exit, reply.text().as_str()), (0, "hello\n"), "{}", reply.stderr);
    }
    assert_eq!(origin.connections(), 2);
    assert!(rig.fds() > 5 && rig.rss() > 1_000, "{} descriptors, {} KiB", rig.fds(), rig.rss());
    assert!(!rig.journal(["--app", &app]).is_empty());
    assert!(rig.metric("mexegate_decisions_total") >= 2.0);
    assert_eq!(rig.api(["--request", "GET"], "/v1/apps").status, 200);
    assert!(rig.stop().success(), "{}", rig.log());
    rig.start_again();
    assert_eq!(rig.json(["grants"])["items"].as_array().map(Vec::len), Some(1));
    rig.kill();
    rig.start_again();
}
