//! Wishes and those who have them, for the tests of the questions.

#![allow(dead_code, unreachable_pub, clippy::expect_used, reason = "each test binary uses a part")]

use std::sync::LazyLock;
use std::time::Duration;

use mexe_model::{DomainName, Endpoint, Host, Instant, Permission, RunId, WallTime};
use mexe_policy::prompts::{Asker, Refusal, Scope, Subject, Wish};
use mexe_policy::{ActionId, SecurityTable};

pub const DAY: u64 = 86_400;

static ACTIONS: LazyLock<(ActionId, ActionId)> = LazyLock::new(|| {
    let table = SecurityTable::shipped().expect("the shipped table loads");
    let action = |name| table.action(name).expect("it has the row");
    (action("network.connect"), action("network.datagram"))
});

/// Another action than that of [`wish`].
pub fn datagram() -> ActionId {
    ACTIONS.1
}

pub fn wish(app: &str, host: &str, port: u16) -> Wish {
    let host = Host::Name(DomainName::from_ascii(host).expect("a name"));
    Wish {
        app: app.parse().expect("an app id"),
        action: ACTIONS.0,
        subject: Subject::Endpoint(Endpoint { host, port }),
    }
}

pub fn asker(run: u64, secs: u64) -> Asker {
    let now = Instant::from_nanos(secs * 1_000_000_000);
    Asker { run: RunId(run), now, at: WallTime::from_secs(secs), until: now.after(Duration::from_secs(30)) }
}

pub fn no(permission: Permission) -> Refusal {
    Refusal { permission, until: None, scope: Scope::Target }
}
