//! A network of our own around a gate: public addresses, a resolver that sees every question, no real network in reach.
//! A test steps into fresh network and mount namespaces (as itself, run once more under `unshare`); a veth pair leads
//! from there, the device, to a second network namespace, the outside, where servers run on threads.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::LinkNameSpaceType;

use crate::cli::Output;
use crate::{Origin, Resolver, wait};

/// Set in the second run of the test, the one inside.
const INSIDE: &str = "MEXEGATE_RIG_INSIDE";

/// The device's own address, public in form.
pub const DEVICE: &str = "198.18.0.2";
/// Addresses that exist outside: the router and resolver, a public one of either family, a private one, and the one of
/// cloud metadata.
pub const OUTSIDE: &[&str] = &["198.18.0.1/24", "93.184.215.14/32", "10.11.12.13/32", "169.254.169.254/32"];
/// The public IPv6 address outside.
pub const OUTSIDE_V6: &str = "2a00:1450:4001:81b::200e";

/// The inside view of the network. Everything ends with the process of the test.
pub struct World {
    outside: File,
}

/// Runs the rest of the test inside a world of its own: `None` in the outer process, after the inner one has passed.
///
/// ```no_run
/// fn no_name_is_resolved_before_permission() {
///     let Some(world) = rig::world::inside("no_name_is_resolved_before_permission") else { return };
///     let resolver = world.resolver();
///     // ...
/// }
/// ```
///
/// # Panics
/// When the namespaces cannot be made, or the test failed inside.
#[track_caller]
pub fn inside(test: &str) -> Option<World> {
    if std::env::var_os(INSIDE).is_some() {
        return Some(World::new());
    }
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--"]).arg(std::env::current_exe().expect("a test knows its own path"));
    command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = Output::of(&mut command);
    let passed = output.code == 0 && output.stdout.contains("1 passed");
    assert!(passed, "inside its own network `{test}` failed:\n{}\n{}", output.stdout, output.stderr);
    print!("{}", output.stdout);
    None
}

impl World {
    fn new() -> Self {
        // A process that only holds the second namespace until a file of ours does.
        let mut holder =
            Command::new("unshare").args(["--net", "sleep", "60"]).spawn().expect("unshare is installed");
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = namespace("self");
        let pid = holder.id().to_string();
        wait::until("a second network namespace", || {
            namespace(&pid).filter(|other| Some(other) != own.as_ref())
        });
        let outside = File::open(format!("/proc/{pid}/ns/net")).expect("the namespace was made");
        let world = Self { outside };
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", "device0", "type", "veth", "peer", "name", "outside0"]);
        ip(&["link", "set", "outside0", "netns", &pid]);
        holder.kill().and_then(|()| holder.wait()).expect("the holder is ours");
        ip(&["address", "add", &format!("{DEVICE}/24"), "dev", "device0"]);
        ip(&["-6", "address", "add", "2001:2::2/64", "dev", "device0", "nodad"]);
        ip(&["link", "set", "device0", "up"]);
        world.outside(|| {
            ip(&["link", "set", "lo", "up"]);
            ip(&["link", "set", "outside0", "up"]);
            for address in OUTSIDE {
                ip(&["address", "add", address, "dev", "outside0"]);
            }
            for address in ["2001:2::1/64", &format!("{OUTSIDE_V6}/128")] {
                ip(&["-6", "address", "add", address, "dev", "outside0", "nodad"]);
            }
        });
        ip(&["route", "add", "default", "via", "198.18.0.1"]);
        ip(&["-6", "route", "add", "default", "via", "2001:2::1"]);
        world
    }

    /// Runs a closure on a thread that is outside; servers that it starts stay there.
    ///
    /// # Panics
    /// When the closure does.
    pub fn outside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    self.outside.as_fd(),
                    Some(LinkNameSpaceType::Network),
                )
                .expect("the outside can be entered");
                act()
            });
            thread.join().expect("what runs outside does not panic")
        })
    }

    /// An HTTP server on one of the outside's addresses.
    pub fn origin(&self, address: &str) -> Origin {
        let address = address.parse().expect("an address with a port");
        self.outside(|| Origin::at(address))
    }

    /// A resolver outside, and the device's resolv.conf pointing to it.
    ///
    /// # Panics
    /// When resolv.conf cannot be replaced in this mount namespace.
    pub fn resolver(&self) -> Resolver {
        // The mounts keep the files when the folder goes.
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [
            ("resolv.conf", "nameserver 198.18.0.1\noptions timeout:1 attempts:1\n"),
            ("nsswitch.conf", "hosts: files dns\n"),
            ("hosts", "127.0.0.1 localhost\n"),
        ] {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("a temporary file");
            let mut mount = Command::new("mount");
            Output::of(mount.arg("--bind").arg(&file).arg(format!("/etc/{name}"))).ended(0);
        }
        self.outside(|| Resolver::at(([198, 18, 0, 1], 53).into()))
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    Output::of(Command::new("ip").args(arguments)).ended(0);
}
