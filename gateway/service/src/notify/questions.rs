//! The notification that questions wait: how many, and where to answer. It comes with the first and goes with the last.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::{Desktop, Manner, Notice, plain};
use crate::clock;
use crate::config::Notify;
use crate::events::Event;
use crate::gate::Gate;

/// Between two changes of what is shown.
pub const BETWEEN: Duration = Duration::from_millis(250);

/// What waits for the user.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// The ids of the questions.
    pub ids: BTreeSet<String>,
    /// For how long the last of them does.
    pub left: Duration,
}

impl Waiting {
    /// As the desktop is to show it; `console` is where the questions can be answered.
    pub fn notice(&self, console: Option<&str>) -> Option<Notice> {
        (!self.ids.is_empty()).then(|| Notice {
            about: self.ids.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
            summary: summary(self.ids.len()),
            body: body(console),
            icon: "dialog-question",
            manner: Manner::Passing(self.left),
        })
    }
}

/// Where to answer. Nothing in it is an app's.
fn body(console: Option<&str>) -> String {
    let console = console.map(|console| format!("on the console, http://{console}, or ")).unwrap_or_default();
    plain(&format!("Answer {console}with: mexegate prompts --watch"))
}

fn summary(count: usize) -> String {
    if count == 1 { "A question waits".to_owned() } else { format!("{count} questions wait") }
}

/// Tells the desktop of the gate's own session what waits, as long as the gate runs.
pub async fn follow(gate: Arc<Gate>, address: String) {
    let console = gate.listening.console.map(|console| console.to_string());
    let desktop = Desktop::on(address, BETWEEN);
    let mut events = gate.events.watch();
    loop {
        desktop.show(waiting(&gate).notice(console.as_deref()));
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
    if gate.config().policy.prompt_notify == Notify::Off {
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
    fn what_is_shown_has_no_markup() {
        assert_eq!(
            body(Some("127.0.0.1:8057")),
            "Answer on the console, http://127.0.0.1:8057, or with: mexegate prompts --watch"
        );
        assert_eq!(body(None), "Answer with: mexegate prompts --watch");
        assert!(!body(Some("<b>&")).contains(['<', '>']));
        assert_eq!((summary(1), summary(3)), ("A question waits".to_owned(), "3 questions wait".to_owned()));
        assert!(Waiting::default().notice(None).is_none());
    }
}
