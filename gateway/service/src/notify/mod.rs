//! Tells the user's desktop something (org.freedesktop.Notifications on his session bus): that [`questions`] wait for him, and
//! which apps hold [`connections`]. One notification for each, replaced when there is other news and taken away with the last.
//! They have the gate's own words and nothing to press: whoever would act opens the console (S22). A bus that hangs, refuses
//! or is gone keeps nobody waiting.

pub mod connections;
pub mod questions;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zbus::Variant;

use crate::config::Notify;

/// For everything that one change needs of the bus.
const LIMIT: Duration = Duration::from_secs(2);
/// For taking the notification away in the end.
const LAST_LIMIT: Duration = Duration::from_millis(500);
/// Before a bus that failed is tried again: twice as long each time, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const SERVER: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";

/// The address of the session bus, if there is one. Only sockets: no address makes the gate start a program.
pub fn session_bus() -> Option<String> {
    if let Some(given) = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").filter(|given| !given.is_empty()) {
        return first_socket(given.to_str()?);
    }
    let bus = Path::new(&std::env::var_os("XDG_RUNTIME_DIR")?).join("bus");
    let is_socket = std::fs::metadata(&bus).is_ok_and(|found| found.file_type().is_socket());
    is_socket.then(|| format!("unix:path={}", escaped(bus.as_os_str())))
}

/// Who tells the user's desktop: `gate`, whose session has a bus; `watcher`, whoever watches the questions in one; `off`.
pub fn notifier(wanted: Notify) -> &'static str {
    match (wanted, session_bus()) {
        (Notify::Off, _) => "off",
        (Notify::Auto, Some(_)) => "gate",
        (Notify::Auto, None) => "watcher",
    }
}

fn first_socket(addresses: &str) -> Option<String> {
    addresses.split(';').find(|address| address.starts_with("unix:")).map(str::to_owned)
}

/// As values in an address are written (D-Bus specification, server addresses).
fn escaped(value: &OsStr) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte);
    let one = |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") };
    value.as_bytes().iter().map(one).collect()
}

/// What a notification says.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What it is about: the same again is not said again.
    pub about: String,
    /// Its headline.
    pub summary: String,
    /// The rest, in which nothing is markup.
    pub body: String,
    /// The name of its picture.
    pub icon: &'static str,
    /// How it is to be shown.
    pub manner: Manner,
}

/// How a notification is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// For so long at most, and then nowhere: what it tells of is over.
    Passing(Duration),
    /// Quietly, until it is taken away.
    Standing,
}

impl Manner {
    fn hints(self) -> HashMap<&'static str, Variant<'static>> {
        match self {
            Self::Passing(_) => {
                HashMap::from([("urgency", Variant::U8(1)), ("transient", Variant::Bool(true))])
            }
            Self::Standing => HashMap::from([("urgency", Variant::U8(0)), ("resident", Variant::Bool(true))]),
        }
    }

    /// Milliseconds; zero is for ever.
    fn expires(self) -> i32 {
        match self {
            Self::Passing(left) => i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1000),
            Self::Standing => 0,
        }
    }
}

/// One notification on the user's desktop; what it shows goes with it.
#[derive(Debug)]
pub struct Desktop {
    notice: watch::Sender<Option<Notice>>,
    stop: CancellationToken,
    telling: JoinHandle<()>,
}

impl Desktop {
    /// On that bus, with so much time between two changes of what is shown.
    pub fn on(address: String, between: Duration) -> Self {
        let (notice, changes) = watch::channel(None);
        let stop = CancellationToken::new();
        let telling = Telling { address, between, shown: None };
        let telling = tokio::spawn(telling.run(changes, stop.clone()));
        Self { notice, stop, telling }
    }

    /// That is to be shown now. Waits for nothing itself.
    pub fn show(&self, notice: Option<Notice>) {
        let about = |notice: &Option<Notice>| notice.as_ref().map(|notice| notice.about.clone());
        self.notice.send_if_modified(|known| {
            let other = about(known) != about(&notice);
            if other {
                *known = notice;
            }
            other
        });
    }

    /// Takes away what is shown.
    pub async fn close(mut self) {
        self.stop.cancel();
        let _ = (&mut self.telling).await;
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// As text in which nothing is markup.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

struct Telling {
    address: String,
    between: Duration,
    shown: Option<Shown>,
}

/// A connection to the bus, and what stands on the desktop.
struct Shown {
    bus: zbus::Connection,
    /// Which server, and its number for it.
    notification: Option<(String, u32)>,
}

impl Telling {
    async fn run(mut self, mut changes: watch::Receiver<Option<Notice>>, stop: CancellationToken) {
        let mut next_pause = PAUSE;
        while !stop.is_cancelled() {
            let notice = changes.borrow_and_update().clone();
            let said = {
                let mut saying = pin!(timeout(LIMIT, self.say(notice.as_ref())));
                tokio::select! {
                    biased;
                    said = saying.as_mut() => said,
                    // What is being said has a number soon, and without it cannot be taken away.
                    () = stop.cancelled() => timeout(LAST_LIMIT, saying).await.and_then(|said| said),
                }
            };
            let why = match said {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("it does not answer in time".to_owned()),
            };
            let rest = match &why {
                None => self.between,
                Some(why) => {
                    tracing::debug!(why, "the desktop cannot be told");
                    self.shown = None;
                    let pause = next_pause;
                    next_pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    pause
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(rest) => {}
            }
            if why.is_none() {
                next_pause = PAUSE;
            }
            // What could not be told is told again, as it is by then.
            if why.is_none() || notice.is_none() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    changed = changes.changed() => if changed.is_err() { break },
                }
            }
        }
        let _ = timeout(LAST_LIMIT, self.take_away()).await;
    }

    async fn say(&mut self, notice: Option<&Notice>) -> zbus::Result<()> {
        let Some(notice) = notice else { return self.take_away().await };
        let shown = match &mut self.shown {
            Some(shown) => shown,
            none => {
                let bus = zbus::connection::Builder::address(&*self.address).build().await?;
                none.insert(Shown { bus, notification: None })
            }
        };
        // A server that was started anew counts anew: another program's notification may have our number.
        let owner = shown.owner().await;
        let known = shown.notification.as_ref().filter(|(server, _)| owner.as_ref() == Some(server));
        let replaces = known.map_or(0, |(_, id)| *id);
        let actions: [&str; 0] = [];
        let what = (
            "mexegate",
            replaces,
            notice.icon,
            &*notice.summary,
            &*notice.body,
            &actions[..],
            notice.manner.hints(),
            notice.manner.expires(),
        );
        let reply = shown.bus.call_method(Some(SERVER), PATH, Some(SERVER), "Notify", &what).await?;
        let id: u32 = reply.body().deserialize()?;
        let server = reply.header().sender().map(ToString::to_string);
        shown.notification = server.map(|server| (server, id));
        Ok(())
    }

    async fn take_away(&mut self) -> zbus::Result<()> {
        let Some(shown) = &mut self.shown else { return Ok(()) };
        let Some((server, id)) = shown.notification.take() else { return Ok(()) };
        // To that very server, or to none.
        match shown.bus.call_method(Some(&*server), PATH, Some(SERVER), "CloseNotification", &id).await {
            // It is gone already.
            Ok(_) | Err(zbus::Error::MethodError(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Shown {
    /// Who shows notifications; none when nobody does yet.
    async fn owner(&self) -> Option<String> {
        let bus = "org.freedesktop.DBus";
        let asked =
            self.bus.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetNameOwner", &SERVER);
        asked.await.ok()?.body().deserialize().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_none() {
        assert_eq!(
            first_socket("unix:path=/run/user/1/bus,guid=00").as_deref(),
            Some("unix:path=/run/user/1/bus,guid=00")
        );
        assert_eq!(first_socket("unixexec:path=/bin/sh;unix:abstract=x").as_deref(), Some("unix:abstract=x"));
        for other in
            ["autolaunch:", "unixexec:path=/bin/sh", "tcp:host=evil.example,port=1", "launchd:env=X", ""]
        {
            assert_eq!(first_socket(other), None, "{other}");
        }
        assert_eq!(escaped(OsStr::new("/run/a b;,=%/bus")), "/run/a%20b%3b%2c%3d%25/bus");
    }
}
