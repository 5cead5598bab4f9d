//! When the journal cannot be written, nothing new opens, and the gate says so: a full disk, and a database that breaks
//! under a running gate. It comes back by itself when the disk does. In a mount namespace of its own: the state directory
//! is a small file system in memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rig::raw::{self, Credentials, Door, No};
use rig::{Control, Origin, Output, Reply, Rig, wait, world};
use serde_json::json;

/// A small file system mounted on a folder, for as long as this lives.
struct Small {
    folder: PathBuf,
}

impl Small {
    fn on(folder: &Path, size: &str) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"]).arg(folder);
        Output::of(&mut mount).ended(0);
        Self { folder: folder.to_owned() }
    }

    /// Takes every last byte.
    fn fill(&self) {
        let mut file = File::create(self.folder.join("filler")).unwrap();
        for block in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        Output::of(unmount.arg("--lazy").arg(&self.folder));
    }
}

/// A gate with one app that may connect to this machine, and a run of it.
struct Scene {
    control: Control,
    origin: Origin,
    app: String,
    who: Credentials,
    grant: String,
}

impl Scene {
    fn set(rig: &Rig) -> Self {
        let mut control = Control::of(rig);
        let app = rig.app("third-party");
        let grant = control.grant(&app, "127.0.0.1", "blanket");
        let (_, who) = control.run(&app);
        Self { control, origin: Origin::start(), app, who, grant }
    }

    /// A request through a tunnel.
    fn get(&self, rig: &Rig) -> Reply {
        let proxy = format!("http://{}:{}@{}", self.who.app, self.who.token, rig.ports().http);
        rig.curl(["--proxytunnel", "--proxy", &proxy, &self.origin.url("/hello")])
    }

    /// Connects until the journal is found unavailable: what the database has room for already it may still write.
    #[track_caller]
    fn is_refused(&self, rig: &Rig) {
        let target = self.origin.address();
        wait::until("new flows to be refused", || {
            match raw::open(rig.ports(), Door::Connect, &self.who, target) {
                Ok(_) => None,
                Err(No::Http(403, reason)) if reason == "journal-unavailable" => Some(()),
                Err(other) => panic!("refused otherwise: {other:?}"),
            }
        });
        let before = self.origin.connections();
        for _ in 0..20 {
            let no = raw::open(rig.ports(), Door::Socks, &self.who, target).unwrap_err();
            assert_eq!(no, No::Socks(2));
        }
        let plain = format!("http://{}:{}@{}", self.who.app, self.who.token, rig.ports().http);
        let forwarded = rig.curl(["--proxy", &plain, &self.origin.url("/hello")]);
        assert_eq!((forwarded.status, forwarded.reason().as_deref()), (403, Some("journal-unavailable")));
        assert!(forwarded.headers["proxy-status"].contains("details=\"journal-unavailable\""));
        assert_eq!(self.origin.connections(), before, "the origin was reached without a record");
        let ready = rig.health("readyz");
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("journal-unavailable"), "{}", ready.text());
        assert_eq!(rig.health("healthz").status, 200);
    }

    #[track_caller]
    fn works_again(&self, rig: &Rig) {
        wait::until("the gate to be ready again", || (rig.health("readyz").status == 200).then_some(()));
        let reply = self.get(rig);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"), "{}", reply.stderr);
    }
}

#[test]
fn on_a_full_disk_nothing_opens_until_there_is_space_again() {
    let Some(_world) = world::inside("on_a_full_disk_nothing_opens_until_there_is_space_again") else {
        return;
    };
    let mut rig = Rig::builder().prepare();
    let disk = Small::on(&rig.state_dir(), "6m");
    rig.start_again();
    let mut scene = Scene::set(&rig);
    assert_eq!(scene.get(&rig).status, 200);
    let (mut client, mut server) = open_flow(&rig, &scene.who);
    for round in 0..3 {
        disk.fill();
        scene.is_refused(&rig);
        // What was let in goes on.
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        // What widens is refused, and does not count.
        let wish = json!({ "app": scene.app, "action": "network.connect", "target": "10.0.0.1", "permission": "blanket" });
        let given = scene.control.ask("POST", "/v1/grants", Some(&wish)).unwrap();
        assert_eq!(given.json["reason"], "journal-unavailable", "{}", given.json);
        let run = scene.control.ask("POST", &format!("/v1/apps/{}/runs", scene.app), None).unwrap();
        assert_eq!(run.json["reason"], "journal-unavailable", "{}", run.json);
        let package = rig.package("operator");
        let installed = rig.cli(["--json", "app", "install", package.to_str().unwrap()]);
        assert_eq!(installed.json["reason"], "journal-unavailable", "{}", installed.stdout);
        disk.empty();
        scene.works_again(&rig);
        assert_eq!(scene.control.list("/v1/grants").len(), 1, "round {round}");
        assert_eq!(scene.control.list("/v1/apps").len(), 1);
    }
    drop((client, server));
    assert_eq!(rig.cli(["journal", "verify"]).code, 0);
    // What could not be written is counted all the same.
    let refused = rig.metric("mexegate_decisions_total{decision=\"deny\",reason=\"journal-unavailable\"}");
    assert!(refused >= 66.0, "{refused}");
    assert!(!rig.log().contains("panicked"), "{}", rig.log());
    assert!(rig.stop().success());
}

#[test]
fn a_revoke_on_a_full_disk_cuts_at_once_and_is_never_forgotten() {
    let Some(_world) = world::inside("a_revoke_on_a_full_disk_cuts_at_once_and_is_never_forgotten") else {
        return;
    };
    let mut rig = Rig::builder().prepare();
    let disk = Small::on(&rig.state_dir(), "6m");
    rig.start_again();
    let mut scene = Scene::set(&rig);
    let (client, _server) = open_flow(&rig, &scene.who);
    disk.fill();
    scene.is_refused(&rig);
    let path = format!("/v1/grants/{}", scene.grant);
    let answer = scene.control.ask("DELETE", &path, None).unwrap();
    assert_eq!(answer.json["reason"], "journal-unavailable", "it is not acknowledged: {}", answer.json);
    let at = raw::hung_up(&client, Duration::from_secs(5)).expect("the flow is cut all the same");
    assert!(at.saturating_duration_since(answer.sent) < Duration::from_millis(50));
    assert!(scene.control.list("/v1/grants").is_empty(), "it is gone from now on");
    disk.empty();
    wait::until("the gate to be ready again", || (rig.health("readyz").status == 200).then_some(()));
    wait::until("the revoke in the journal", || {
        let records = scene.control.journal_after(0);
        records
            .into_iter()
            .find(|record| record["action"] == "grant.revoke" && record["grant"] == scene.grant)
    });
    rig.kill();
    rig.start_again();
    let grants = Control::of(&rig).list("/v1/grants");
    assert!(grants.is_empty(), "the permission is back after a restart: {grants:?}");
}

#[test]
fn an_app_that_cannot_be_removed_on_a_full_disk_stays_without_its_permissions() {
    const NAME: &str = "an_app_that_cannot_be_removed_on_a_full_disk_stays_without_its_permissions";
    let Some(_world) = world::inside(NAME) else { return };
    let mut rig = Rig::builder().prepare();
    let disk = Small::on(&rig.state_dir(), "6m");
    rig.start_again();
    let mut scene = Scene::set(&rig);
    let (client, _server) = open_flow(&rig, &scene.who);
    disk.fill();
    scene.is_refused(&rig);
    let path = format!("/v1/apps/{}", scene.who.app);
    let answer = scene.control.ask("DELETE", &path, None).unwrap();
    assert_eq!(answer.json["reason"], "journal-unavailable", "{}", answer.json);
    raw::hung_up(&client, Duration::from_secs(5)).expect("its flow is cut all the same");
    assert!(scene.control.list("/v1/grants").is_empty(), "nothing is permitted from now on");
    disk.empty();
    wait::until("the gate to be ready again", || (rig.health("readyz").status == 200).then_some(()));
    wait::until("the permissions' end in the journal", || {
        let records = scene.control.journal_after(0);
        records.into_iter().find(|record| record["action"] == "grant.revoke")
    });
    rig.kill();
    rig.start_again();
    let mut control = Control::of(&rig);
    assert!(control.list("/v1/grants").is_empty(), "they are back after a restart");
    let left = control.list("/v1/apps");
    assert!(left.iter().any(|app| app["id"] == scene.who.app.as_str()), "{left:?}");
    control.done("DELETE", &path, None);
}

#[test]
fn a_gate_does_not_start_on_a_full_disk_and_says_why() {
    let Some(_world) = world::inside("a_gate_does_not_start_on_a_full_disk_and_says_why") else { return };
    let mut rig = Rig::builder().prepare();
    let disk = Small::on(&rig.state_dir(), "6m");
    disk.fill();
    rig.spawn();
    let status = rig.ended();
    assert_eq!(status.code(), Some(1), "{}", rig.log());
    let errors: Vec<_> =
        rig.log().lines().filter(|line| line.contains("mexegate.db")).map(str::to_owned).collect();
    assert_eq!(errors.len(), 1, "one line that names the file: {}", rig.log());
    disk.empty();
    rig.start_again();
}

#[test]
fn a_database_that_breaks_under_a_running_gate_closes_it() {
    let scribble = |rig: &Rig| {
        for name in ["mexegate.db", "mexegate.db-wal", "mexegate.db-shm"] {
            let path = rig.state_dir().join(name);
            let length = fs::metadata(&path).unwrap().len();
            let file = File::options().write(true).open(&path).unwrap();
            file.write_all_at(&vec![0xa5; length as usize], 0).unwrap();
        }
    };
    let unlink = |rig: &Rig| {
        for name in ["mexegate.db", "mexegate.db-wal", "mexegate.db-shm"] {
            fs::remove_file(rig.state_dir().join(name)).unwrap();
        }
    };
    type Break = fn(&Rig);
    for (what, act) in [("overwritten", scribble as Break), ("removed", unlink as Break)] {
        let rig = Rig::start();
        let mut scene = Scene::set(&rig);
        assert_eq!(scene.get(&rig).status, 200, "{what}");
        act(&rig);
        println!("the database is {what}");
        scene.is_refused(&rig);
        let given = scene.control.ask(
            "POST",
            "/v1/grants",
            Some(&json!({
            "app": scene.app, "action": "network.connect", "target": "10.0.0.1", "permission": "blanket" })),
        );
        assert_eq!(given.unwrap().json["reason"], "journal-unavailable", "{what}");
        assert_ne!(rig.cli(["journal", "verify"]).code, 0, "{what}");
        assert!(!rig.log().contains("panicked"), "{}", rig.log());
    }
}

/// A flow that is open, with both of its ends.
fn open_flow(rig: &Rig, who: &Credentials) -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = raw::open(rig.ports(), Door::Socks, who, listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}
