//! The notification that apps hold connections, as long as one does (TS 23.057 5.4.2): which apps, and where to end them. It
//! names apps by their ids alone, which the gate gave them: no word of an app's own, no markup, no control character.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mexe_model::AppId;

use super::{Desktop, Manner, Notice, plain};
use crate::config::Notify;
use crate::gate::Gate;

/// Between two changes of what is shown: apps come and go, and nobody reads faster.
pub const BETWEEN: Duration = Duration::from_secs(3);
/// How often the open connections are looked at.
pub const LOOK: Duration = Duration::from_secs(1);
/// So many apps are named.
const NAMED: usize = 5;

/// What the desktop is to show while these apps hold connections; `console` is where they can be ended.
pub fn notice(apps: &BTreeSet<AppId>, console: Option<&str>) -> Option<Notice> {
    (!apps.is_empty()).then(|| Notice {
        about: apps.iter().map(AppId::as_str).collect::<Vec<_>>().join(" "),
        summary: match apps.len() {
            1 => "An app holds connections".to_owned(),
            count => format!("{count} apps hold connections"),
        },
        body: body(apps, console),
        icon: "network-transmit-receive",
        manner: Manner::Standing,
    })
}

fn body(apps: &BTreeSet<AppId>, console: Option<&str>) -> String {
    let mut named: Vec<String> = apps.iter().take(NAMED).map(ToString::to_string).collect();
    let rest = apps.len().saturating_sub(NAMED);
    if rest > 0 {
        named.push(format!("{rest} more"));
    }
    let console = console.map(|console| format!("on the console, http://{console}, or ")).unwrap_or_default();
    plain(&format!("{}. See and end them {console}with: mexegate flows", named.join(", ")))
}

/// Tells the desktop of the gate's own session which apps hold connections, as long as the gate runs.
pub async fn follow(gate: Arc<Gate>, address: String) {
    let console = gate.listening.console.map(|console| console.to_string());
    let desktop = Desktop::on(address, BETWEEN);
    loop {
        let apps = match gate.config().policy.connection_notify {
            Notify::Off => BTreeSet::new(),
            Notify::Auto => gate.flows.by_app().into_keys().collect(),
        };
        desktop.show(notice(&apps, console.as_deref()));
        tokio::select! {
            () = gate.stopped() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    desktop.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(ids: &[&str]) -> BTreeSet<AppId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    #[test]
    fn the_apps_are_named_up_to_a_number_and_nothing_is_markup() {
        assert!(notice(&apps(&[]), None).is_none());
        let one = notice(&apps(&["weather"]), Some("127.0.0.1:8057")).unwrap();
        assert_eq!(one.summary, "An app holds connections");
        assert_eq!(
            one.body,
            "weather. See and end them on the console, http://127.0.0.1:8057, or with: mexegate flows"
        );
        assert_eq!((one.manner, one.manner.expires()), (Manner::Standing, 0));
        let many = notice(&apps(&["a", "b", "c", "d", "e", "f", "g"]), None).unwrap();
        assert_eq!(many.summary, "7 apps hold connections");
        assert_eq!(many.body, "a, b, c, d, e, 2 more. See and end them with: mexegate flows");
        assert!(!body(&apps(&["a"]), Some("<b>&")).contains(['<', '>']));
        assert_ne!(notice(&apps(&["a"]), None).unwrap().about, notice(&apps(&["b"]), None).unwrap().about);
    }
}
