//! Tells the user's desktop that questions wait for him (org.freedesktop.Notifications on his session bus). One notification,
//! however many wait: it is replaced when another comes and taken away with the last. It has the gate's own words alone and
//! nothing to press: whoever would answer opens the console (S22). A bus that hangs, refuses or is gone keeps nobody waiting.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zbus::Variant;

use crate::clock;
use crate::config::PromptNotify;
use crate::events::Event;
use crate::gate::Gate;

/// For everything that one change needs of the bus.
const LIMIT: Duration = Duration::from_secs(2);
/// For taking the notification away in the end.
const LAST_LIMIT: Duration = Duration::from_millis(500);
/// Between two changes of what is shown.
const BETWEEN: Duration = Duration::from_millis(250);
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
pub fn notifier(wanted: PromptNotify) -> &'static str {
    match (wanted, session_bus()) {
        (PromptNotify::Off, _) => "off",
        (PromptNotify::Auto, Some(_)) => "gate",
        (PromptNotify::Auto, None) => "watcher",
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

/// What waits for the user.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// The ids of the questions.
    pub ids: BTreeSet<String>,
    /// For how long the last of them does.
    pub left: Duration,
}

/// The user's desktop; what it shows goes with it.
#[derive(Debug)]
pub struct Desktop {
    waiting: watch::Sender<Waiting>,
    stop: CancellationToken,
    telling: JoinHandle<()>,
}

impl Desktop {
    /// On that bus; `console` is where the questions can be answered.
    pub fn on(address: String, console: Option<&str>) -> Self {
        let (waiting, changes) = watch::channel(Waiting::default());
        let stop = CancellationToken::new();
        let telling = Telling { address, body: body(console), shown: None };
        let telling = tokio::spawn(telling.run(changes, stop.clone()));
        Self { waiting, stop, telling }
    }

    /// That is what waits now. Waits for nothing itself.
    pub fn show(&self, waiting: Waiting) {
        self.waiting.send_if_modified(|known| {
            let other = known.ids != waiting.ids;
            if other {
                *known = waiting;
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

/// Where to answer. Nothing in it is an app's.
fn body(console: Option<&str>) -> String {
    let console = console.map(|console| format!("on the console, http://{console}, or ")).unwrap_or_default();
    let text = format!("Answer {console}with: mexegate prompts --watch");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn summary(count: usize) -> String {
    if count == 1 { "A question waits".to_owned() } else { format!("{count} questions wait") }
}

struct Telling {
    address: String,
    body: String,
    shown: Option<Shown>,
}

/// A connection to the bus, and what stands on the desktop.
struct Shown {
    bus: zbus::Connection,
    /// Which server, and its number for it.
    notification: Option<(String, u32)>,
}

impl Telling {
    async fn run(mut self, mut changes: watch::Receiver<Waiting>, stop: CancellationToken) {
        let mut next_pause = PAUSE;
        while !stop.is_cancelled() {
            let waiting = changes.borrow_and_update().clone();
            let said = {
                let mut saying = pin!(timeout(LIMIT, self.say(&waiting)));
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
                None => BETWEEN,
                Some(why) => {
                    tracing::debug!(why, "the desktop cannot be told of questions");
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
            if why.is_none() || waiting.ids.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    changed = changes.changed() => if changed.is_err() { break },
                }
            }
        }
        let _ = timeout(LAST_LIMIT, self.take_away()).await;
    }

    async fn say(&mut self, waiting: &Waiting) -> zbus::Result<()> {
        if waiting.ids.is_empty() {
            return self.take_away().await;
        }
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
        let milliseconds = i32::try_from(waiting.left.as_millis()).unwrap_or(i32::MAX).max(1000);
        let hints = HashMap::from([("urgency", Variant::U8(1)), ("transient", Variant::Bool(true))]);
        let actions: [&str; 0] = [];
        let title = summary(waiting.ids.len());
        let what = (
            "mexegate",
            replaces,
            "dialog-question",
            &*title,
            &*self.body,
            &actions[..],
            hints,
            milliseconds,
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

/// Tells the desktop of the gate's own session what waits, as long as the gate runs.
pub async fn follow(gate: Arc<Gate>, address: String) {
    let console = gate.listening.console.map(|console| console.to_string());
    let desktop = Desktop::on(address, console.as_deref());
    let mut events = gate.events.watch();
    loop {
        desktop.show(waiting(&gate));
        tokio::select! {
            () = gate.stopped() => break,
            told = next_prompt(&mut events) => if !told { break },
        }
    }
    desktop.close().await;
}

/// Waits until questions may have changed; false when there will be none any more.
async fn next_prompt(events: &mut broadcast::Receiver<Event>) -> bool {
    loop {
        match events.recv().await {
            Ok(Event::Prompt(..)) | Err(broadcast::error::RecvError::Lagged(_)) => return true,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => return false,
        }
    }
}

fn waiting(gate: &Gate) -> Waiting {
    if gate.config().policy.prompt_notify == PromptNotify::Off {
        return Waiting::default();
    }
    let now = clock::now();
    let listed = gate.prompts.lock().list();
    let open = listed.iter().filter(|prompt| prompt.state == mexe_policy::prompts::State::Open);
    let left = open.clone().map(|prompt| prompt.until.since(now)).max().unwrap_or_default();
    Waiting { ids: open.map(|prompt| prompt.id.to_string()).collect(), left }
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

    #[test]
    fn what_is_shown_has_no_markup() {
        assert_eq!(
            body(Some("127.0.0.1:8057")),
            "Answer on the console, http://127.0.0.1:8057, or with: mexegate prompts --watch"
        );
        assert_eq!(body(None), "Answer with: mexegate prompts --watch");
        assert!(!body(Some("<b>&")).contains(['<', '>']));
        assert_eq!((summary(1), summary(3)), ("A question waits".to_owned(), "3 questions wait".to_owned()));
    }
}
