//! A signed app reaches a server through each of the three ways, or is refused by name: without credentials, with wrong
//! ones, without a permission, and with each kind of permission until that ends.

use std::io::Read;
use std::time::{Duration, Instant};

use rig::exact::{self, Way, ask, credentials};
use rig::raw::Credentials;
use rig::{Origin, Reply, Rig, Run, cli::code, wait};
use serde_json::Value;

/// What curl needs for each way; the last is the origin's URL.
fn by_curl(rig: &Rig, way: Way, proxy: &str, url: &str) -> Reply {
    match way {
        Way::Connect => rig.curl(["--proxytunnel", "--proxy", proxy, url]),
        Way::Forward | Way::Socks => rig.curl(["--proxy", proxy, url]),
    }
}

fn proxy(run: &Run, way: Way) -> &str {
    if way == Way::Socks { &run.socks } else { &run.http }
}

#[track_caller]
fn page(reply: &Reply) {
    assert_eq!((reply.exit, reply.status, reply.text().as_str()), (0, 200, "hello\n"), "{}", reply.stderr);
}

/// curl's view of a refusal: exit code and status by the way, the reason where the protocol has a place for it.
#[track_caller]
fn refused(reply: &Reply, way: Way, status: u16, reason: &str) {
    match way {
        Way::Socks => assert_eq!(reply.exit, 97, "{}", reply.stderr),
        Way::Connect => {
            assert_eq!((reply.exit, reply.connect_status), (56, status), "{}", reply.stderr);
            let expected = format!("details=\"{reason}\"");
            let shown = reply.headers.get("proxy-status").cloned().unwrap_or_default();
            assert!(shown.starts_with("mexegate; error=") && shown.ends_with(&expected), "{shown}");
        }
        Way::Forward => {
            assert_eq!((reply.exit, reply.status), (0, status), "{}", reply.stderr);
            assert_eq!(reply.headers["content-type"], "application/problem+json");
            let body: Value = serde_json::from_slice(&reply.body).expect("a problem document");
            assert_eq!(body["reason"], reason);
            assert_eq!(body["status"], status);
        }
    }
}

#[track_caller]
fn journalled(rig: &Rig, way: Way, reason: &str) -> Value {
    let records = rig.journal(["--reason", reason, "--decision", "deny"]);
    let found = records.iter().find(|record| record["ingress"] == way.ingress());
    found.unwrap_or_else(|| panic!("no {reason} by {way:?} in {records:?}")).clone()
}

#[test]
fn without_credentials_nothing_is_reached() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    for way in Way::ALL {
        let bare = match way {
            Way::Socks => format!("socks5h://{}", rig.ports().socks),
            _ => format!("http://{}", rig.ports().http),
        };
        let reply = by_curl(&rig, way, &bare, &origin.url("/hello"));
        refused(&reply, way, 407, "credentials-missing");
        if way == Way::Forward {
            assert!(reply.headers["proxy-authenticate"].starts_with("Basic realm="));
        }
        journalled(&rig, way, "credentials-missing");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn wrong_credentials_are_no_credentials() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let (app, other) = (rig.app("third-party"), rig.app("operator"));
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    rig.grant(&other, "network.connect=127.0.0.1", "blanket");
    let (run, foreign, ended) = (rig.run(&app), rig.run(&other), rig.run(&app));
    rig.json(["app", "stop", &ended.run]);
    let guessed = "0".repeat(64);
    let shorter = &run.token[..63];
    let longer = format!("{}0", run.token);
    for (user, token) in [
        (app.as_str(), guessed.as_str()),
        (&app, &foreign.token),
        (&other, &run.token),
        (&app, shorter),
        (&app, &longer),
        (&app, &ended.token),
        ("nobody", &run.token),
    ] {
        for way in Way::ALL {
            let address = if way == Way::Socks { rig.ports().socks } else { rig.ports().http };
            let scheme = if way == Way::Socks { "socks5h" } else { "http" };
            let reply =
                by_curl(&rig, way, &format!("{scheme}://{user}:{token}@{address}"), &origin.url("/hello"));
            refused(&reply, way, 407, "credentials-wrong");
        }
    }
    for way in Way::ALL {
        journalled(&rig, way, "credentials-wrong");
        page(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")));
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn without_a_permission_the_reason_stands_in_header_body_and_journal() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    for way in Way::ALL {
        let reply = by_curl(&rig, way, proxy(&run, way), &origin.url("/hello"));
        refused(&reply, way, 403, "permission-missing");
        if way == Way::Socks {
            assert!(reply.stderr.contains("(2)"), "the reply code: {}", reply.stderr);
        }
        // The same answer with its body, which curl does not show for CONNECT.
        let again = ask(&rig, way, &credentials(&app, &run), "127.0.0.1", origin.address().port());
        assert_eq!(again, "permission-missing");
        let record = journalled(&rig, way, "permission-missing");
        for (key, value) in [
            ("app", app.as_str()),
            ("run", &run.run),
            ("action", "network.connect"),
            ("target", &origin.address().to_string()),
            ("domain", "third-party"),
            ("binding", "token"),
        ] {
            assert_eq!(record[key], value, "{key} in {record}");
        }
    }
    assert_eq!(origin.connections(), 0);
    assert!(rig.metric("mexegate_decisions_total{reason=\"permission-missing\"}") >= 6.0);
}

#[test]
fn a_session_permission_works_and_ends_with_its_run() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("manufacturer");
    let run = rig.run(&app);
    let grant = rig.grant(&app, "network.connect=127.0.0.1", "session");
    for way in Way::ALL {
        page(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")));
    }
    let allowed = rig.journal(["--app", &app, "--decision", "allow"]);
    let connects: Vec<_> = allowed.iter().filter(|record| record["action"] == "network.connect").collect();
    assert_eq!(connects.len(), 3, "{allowed:?}");
    for record in connects {
        assert_eq!((&record["grant"], &record["run"]), (&grant.as_str().into(), &run.run.as_str().into()));
    }

    // A tunnel that is open when the run ends is cut.
    let mut tunnel =
        exact::socks(rig.ports().socks, &credentials(&app, &run), "127.0.0.1", origin.address().port())
            .unwrap();
    rig.json(["app", "stop", &run.run]);
    assert!(tunnel.read(&mut [0]).is_err(), "an ended run's tunnel is reset, not closed");
    let ended = wait::until("the record of the cut", || {
        rig.journal(["--run", &run.run, "--reason", "run-ended", "--kind", "flow-end"]).pop()
    });
    assert_eq!(ended["reason"], "run-ended");

    assert_eq!(rig.json(["grants", &app])["items"].as_array().unwrap().len(), 0);
    let next = rig.run(&app);
    for way in Way::ALL {
        let old = by_curl(&rig, way, proxy(&run, way), &origin.url("/hello"));
        refused(&old, way, 407, "credentials-wrong");
        let new = by_curl(&rig, way, proxy(&next, way), &origin.url("/hello"));
        refused(&new, way, 403, "permission-missing");
    }
    assert_eq!(origin.connections(), 4);
}

#[test]
fn a_session_permission_given_before_the_run_is_for_the_next_one_only() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("operator");
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    let (first, second) = (rig.run(&app), rig.run(&app));
    for way in Way::ALL {
        page(&by_curl(&rig, way, proxy(&first, way), &origin.url("/hello")));
        let other = by_curl(&rig, way, proxy(&second, way), &origin.url("/hello"));
        refused(&other, way, 403, "permission-missing");
    }
}

#[test]
fn a_blanket_permission_survives_a_restart_and_runs_do_not() {
    let (mut rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let grant = rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let session = rig.grant(&app, "network.connect=127.0.0.2", "session");
    let before = rig.run(&app);
    page(&by_curl(&rig, Way::Socks, &before.socks, &origin.url("/hello")));
    for kill in [false, true] {
        if kill {
            rig.kill();
        } else {
            assert!(rig.stop().success());
        }
        rig.start_again();
        let kept = rig.json(["grants"]);
        let ids: Vec<_> = kept["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(ids, [grant.as_str()], "{session} was bound to a run and went with it");
        for way in Way::ALL {
            let old = by_curl(&rig, way, proxy(&before, way), &origin.url("/hello"));
            refused(&old, way, 407, "credentials-wrong");
            page(&by_curl(&rig, way, proxy(&rig.run(&app), way), &origin.url("/hello")));
        }
    }
    rig.json(["revoke", &grant]);
    rig.kill();
    rig.start_again();
    let run = rig.run(&app);
    refused(
        &by_curl(&rig, Way::Connect, &run.http, &origin.url("/hello")),
        Way::Connect,
        403,
        "permission-missing",
    );
}

#[test]
fn a_token_run_never_uses_a_blanket_permission_unless_the_owner_allows_it() {
    let rig = Rig::builder().section("policy", "token_runs = \"session-only\"").start();
    let origin = Origin::start();
    let app = rig.app("third-party");
    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let run = rig.run(&app);
    for way in Way::ALL {
        refused(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")), way, 403, "permission-missing");
    }
    rig.grant(&app, "network.connect=127.0.0.1", "session");
    for way in Way::ALL {
        page(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")));
    }
}

#[test]
fn token_runs_can_be_switched_off() {
    let rig = Rig::builder().section("policy", "token_runs = \"refuse\"").start();
    let app = rig.app("third-party");
    for arguments in [&["app", "start", &app][..], &["app", "start", &app, "--", "true"]] {
        let refused = rig.cli(["--json"].iter().chain(arguments)).ended(code::REFUSED);
        assert_eq!(refused.text("reason"), "token-run-refused");
    }
    assert_eq!(rig.json(["runs"])["items"].as_array().unwrap().len(), 0);
}

#[test]
fn a_single_permission_opens_one_connection_and_no_other() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    for (n, way) in Way::ALL.into_iter().enumerate() {
        rig.grant(&app, "network.connect=127.0.0.1", "single");
        page(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")));
        for other in Way::ALL {
            refused(
                &by_curl(&rig, other, proxy(&run, other), &origin.url("/hello")),
                other,
                403,
                "permission-missing",
            );
        }
        assert_eq!(origin.connections(), n as u64 + 1);
    }
    assert_eq!(rig.json(["grants"])["items"].as_array().unwrap().len(), 0);
}

#[test]
fn many_who_want_the_same_single_permission_have_one_winner() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let who = credentials(&app, &run);
    for _ in 0..5 {
        rig.grant(&app, "network.connect=127.0.0.1", "single");
        let before = origin.connections();
        let won: usize = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..12)
                .map(|n| {
                    let (rig, who, port) = (&rig, &who, origin.address().port());
                    // HTTP only: SOCKS5 would have to look into the journal for its reason.
                    let way = [Way::Connect, Way::Forward][n % 2];
                    scope.spawn(move || ask(rig, way, who, "127.0.0.1", port))
                })
                .collect();
            let answers = askers.into_iter().map(|asker| asker.join().unwrap());
            answers
                .filter(|answer| {
                    if answer == "hello" {
                        true
                    } else {
                        assert_eq!(answer, "permission-missing");
                        false
                    }
                })
                .count()
        });
        assert_eq!((won, origin.connections() - before), (1, 1));
    }
}

#[test]
fn a_used_single_permission_stays_used_over_a_kill() {
    let (mut rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    for way in Way::ALL {
        rig.grant(&app, "network.connect=127.0.0.1", "single");
        let run = rig.run(&app);
        page(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")));
        rig.kill();
        rig.start_again();
        let run = rig.run(&app);
        refused(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")), way, 403, "permission-missing");
    }
    // One that was not used is still there.
    rig.grant(&app, "network.connect=127.0.0.1", "single");
    rig.kill();
    rig.start_again();
    page(&by_curl(&rig, Way::Socks, &rig.run(&app).socks, &origin.url("/hello")));
    rig.json(["journal", "verify"]);
}

#[test]
fn a_permission_covers_its_target_and_nothing_beside_it() {
    let (rig, origin, other) = (Rig::start(), Origin::start(), Origin::start());
    let app = rig.app("operator");
    let run = rig.run(&app);
    let (here, there) = (origin.address().port(), other.address().port());
    rig.grant(&app, &format!("network.connect=127.0.0.1:{here}"), "session");
    let who = credentials(&app, &run);
    for way in Way::ALL {
        assert_eq!(ask(&rig, way, &who, "127.0.0.1", here), "hello");
        assert_eq!(ask(&rig, way, &who, "127.0.0.1", there), "target-out-of-scope");
        assert_eq!(ask(&rig, way, &who, "127.0.0.2", here), "target-out-of-scope");
        // Asked for by name, a permission by address holds only if all addresses of the name fit; localhost has two.
        assert_eq!(ask(&rig, way, &who, "localhost", here), "target-out-of-scope");
        journalled(&rig, way, "target-out-of-scope");
    }
    assert_eq!((origin.connections(), other.connections()), (3, 0));
    // A later grant counts at once, an earlier refusal is not remembered.
    rig.grant(&app, "network.connect=127.0.0.0/8", "session");
    assert_eq!(ask(&rig, Way::Forward, &who, "127.0.0.1", there), "hello");
}

#[test]
fn a_permission_for_a_time_ends_by_itself_and_cuts_what_is_open() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let who = credentials(&app, &run);
    let began = Instant::now();
    let grant =
        rig.json(["grant", &app, "network.connect=127.0.0.1", "--permission", "blanket", "--for", "3s"]);
    let mut tunnel = exact::socks(rig.ports().socks, &who, "127.0.0.1", origin.address().port()).unwrap();
    assert_eq!(ask(&rig, Way::Forward, &who, "127.0.0.1", origin.address().port()), "hello");
    assert!(tunnel.read(&mut [0]).is_err(), "the open tunnel is reset");
    assert!(began.elapsed() >= Duration::from_secs(3), "it ended too early");
    for way in Way::ALL {
        refused(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")), way, 403, "permission-expired");
        journalled(&rig, way, "permission-expired");
    }
    let flows = wait::until("the record of the cut", || {
        let flows = rig.journal(["--kind", "flow-end", "--reason", "permission-expired"]);
        (!flows.is_empty()).then_some(flows)
    });
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty(), "{grant} is still listed");
}

#[test]
fn an_expired_permission_does_not_come_back_with_a_restart() {
    let (mut rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    rig.json(["grant", &app, "network.connect=127.0.0.1", "--permission", "blanket", "--for", "1h"]);
    let short =
        rig.json(["grant", &app, "network.connect=127.0.0.2", "--permission", "blanket", "--for", "300ms"]);
    rig.kill();
    rig.start_again();
    wait::until("the short one to be gone", || {
        let grants = rig.json(["grants"]);
        let grants = grants["items"].as_array().unwrap();
        (grants.len() == 1 && grants[0]["id"] != short["id"]).then_some(())
    });
    let run = rig.run(&app);
    page(&by_curl(&rig, Way::Socks, &run.socks, &origin.url("/hello")));
}

#[test]
fn an_untrusted_app_is_refused_whatever_is_granted() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("unsigned");
    for permission in ["single", "session", "blanket"] {
        for what in ["network.connect", "network.connect=127.0.0.1", "network.qos", "user-data.read"] {
            let grant =
                rig.cli(["--json", "grant", &app, what, "--permission", permission]).ended(code::REFUSED);
            assert_eq!(grant.text("reason"), "untrusted-app", "{what} {permission}");
        }
    }
    let run = rig.run(&app);
    for way in Way::ALL {
        refused(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")), way, 403, "untrusted-app");
        journalled(&rig, way, "untrusted-app");
    }
    assert_eq!(rig.json(["explain", &app, "network.connect=127.0.0.1"])["reason"], "untrusted-app");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn no_user_can_permit_what_the_table_forbids() {
    let rig = Rig::start();
    let (third, operator) = (rig.app("third-party"), rig.app("operator"));
    for (app, what, permission, exit, reason) in [
        (&third, "core-software.download", "single", code::REFUSED, "forbidden-to-domain"),
        (&operator, "core-software.download", "single", code::REFUSED, "forbidden-to-domain"),
        (&third, "network.qos", "blanket", code::REFUSED, "permission-above-maximum"),
        (&operator, "user-data.read", "blanket", code::REFUSED, "permission-above-maximum"),
        (&third, "network.teleport", "single", code::USAGE, "action-unknown"),
        (&third, "network.connect=*.co.uk", "session", code::USAGE, "request-malformed"),
        (&third, "network.connect=*", "session", code::USAGE, "request-malformed"),
        (&third, "network.connect=2130706433", "session", code::USAGE, "request-malformed"),
    ] {
        let refused = rig.cli(["--json", "grant", app, what, "--permission", permission]).ended(exit);
        assert_eq!(refused.text("reason"), reason, "{app} {what} {permission}");
    }
    let unknown = rig
        .cli(["--json", "grant", "nobody", "network.connect", "--permission", "single"])
        .ended(code::FAULT);
    assert_eq!(unknown.text("reason"), "app-unknown");
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty());
}

#[test]
fn a_revoked_permission_and_a_removed_app_take_their_flows_with_them() {
    let (rig, origin) = (Rig::start(), Origin::start());
    let app = rig.app("third-party");
    let run = rig.run(&app);
    let who: Credentials = credentials(&app, &run);
    let port = origin.address().port();
    let open = || exact::socks(rig.ports().socks, &who, "127.0.0.1", port).unwrap();
    let cut = |reason: &str| {
        wait::until(&format!("the record of a flow cut by {reason}"), || {
            rig.journal(["--kind", "flow-end", "--reason", reason]).pop()
        })
    };

    let grant = rig.grant(&app, "network.connect=127.0.0.1", "session");
    let mut tunnel = open();
    rig.json(["revoke", &grant]);
    assert!(tunnel.read(&mut [0]).is_err(), "a revoked tunnel is reset");
    assert_eq!(cut("permission-revoked")["app"], app.as_str());
    assert_eq!(ask(&rig, Way::Connect, &who, "127.0.0.1", port), "permission-missing");

    rig.grant(&app, "network.connect=127.0.0.1", "blanket");
    let mut tunnel = open();
    rig.json(["app", "remove", &app]);
    assert!(tunnel.read(&mut [0]).is_err(), "a removed app's tunnel is reset");
    assert_eq!(cut("app-removed")["app"], app.as_str());
    for way in Way::ALL {
        refused(&by_curl(&rig, way, proxy(&run, way), &origin.url("/hello")), way, 407, "credentials-wrong");
    }
    assert_eq!(rig.cli(["--json", "app", "show", &app]).ended(code::FAULT).text("reason"), "app-unknown");
    // Installed again, it starts with nothing.
    assert_eq!(rig.app("third-party"), app);
    assert!(rig.json(["grants"])["items"].as_array().unwrap().is_empty());
}
