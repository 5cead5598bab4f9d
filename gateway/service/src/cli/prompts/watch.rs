//! `prompts --watch`: shows each question as it comes and takes the answers from the keyboard, a line each. A yes that was
//! typed before anybody can have read the question does not count.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::question;
use crate::cli::fault::Stop;
use crate::cli::{Exit, Global, output, printable, when};
use crate::client::{ApiPath, Client};
use crate::notify::questions::{self, Waiting};
use crate::notify::{self, Desktop, connections};

/// How often the gate is asked.
const LOOK: Duration = Duration::from_millis(250);
/// Nobody reads a question faster than this.
const ARMED_AFTER: Duration = Duration::from_millis(700);

const HELP: &str = "answer: a (allow) or d (deny), then if wanted single | session | blanket, a time as in 10m, and \
                    host | any for how far it reaches; s skips the question, q ends";

pub(super) fn run(global: &Global) -> Result<Exit, Stop> {
    let (typed, mut lines) = mpsc::channel(16);
    let reader = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(reader);
    let (mut questions, mut connections) = (false, false);
    let mut console = None;
    if !global.json {
        let status = global.with_gate(async |mut gate| Ok(gate.get(&ApiPath::new("/v1/status")).await?))?;
        match status.get("phrase").and_then(Value::as_str) {
            Some(phrase) => output::text(&format!("your phrase: {}", printable(phrase)))?,
            None => output::text("you have chosen no phrase (policy.prompt_phrase)")?,
        }
        output::text(HELP)?;
        let is_ours = |name: &str| status.get(name).and_then(Value::as_str) == Some("watcher");
        (questions, connections) = (is_ours("notifier"), is_ours("connection_notifier"));
        let shown = status.pointer("/listen/console").and_then(Value::as_str);
        console = shown.filter(|console| *console != "off").map(str::to_owned);
    }
    let json = global.json;
    global.with_gate(async move |gate| {
        let bus = notify::session_bus();
        let on = |wanted: bool, between| Some(Desktop::on(bus.clone().filter(|_| wanted)?, between));
        let desktop = on(questions, questions::BETWEEN);
        let holding = on(connections, connections::BETWEEN);
        let mut desk = Desk {
            gate,
            json,
            seen: BTreeSet::new(),
            asked: None,
            console,
            desktop,
            holding: holding.map(|desktop| (desktop, None)),
        };
        let end = desk.run(&mut lines).await;
        let desktops = [desk.desktop.take(), desk.holding.take().map(|(desktop, _)| desktop)];
        for desktop in desktops.into_iter().flatten() {
            desktop.close().await;
        }
        end
    })
}

struct Desk {
    gate: Client,
    json: bool,
    /// The questions that were shown.
    seen: BTreeSet<String>,
    /// The question that the next line answers, and since when it stands there.
    asked: Option<(String, Instant)>,
    /// Where questions can be answered, and connections ended.
    console: Option<String>,
    /// Where the user is told of questions while he looks elsewhere.
    desktop: Option<Desktop>,
    /// Where he is told which apps hold connections, and when that was looked at last.
    holding: Option<(Desktop, Option<Instant>)>,
}

impl Desk {
    async fn run(&mut self, lines: &mut mpsc::Receiver<String>) -> Result<Exit, Stop> {
        let mut typing = true;
        loop {
            self.look().await?;
            self.look_at_connections().await?;
            tokio::select! {
                line = lines.recv(), if typing => match line {
                    // Nobody can type any more: go on showing.
                    None => typing = false,
                    Some(line) if line.trim() == "q" => return Ok(Exit::Done),
                    Some(line) => self.typed(line.trim()).await?,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Shows what is new and, when the question that stands there is gone, the next one.
    async fn look(&mut self) -> Result<(), Stop> {
        let answer = self.gate.get(&ApiPath::new("/v1/prompts")).await?;
        let listed = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let open: Vec<(String, &Value)> = listed
            .iter()
            .filter(|prompt| prompt.get("state").and_then(Value::as_str) == Some("open"))
            .filter_map(|prompt| Some((prompt.get("id")?.as_str()?.to_owned(), prompt)))
            .collect();
        if let Some(desktop) = &self.desktop {
            let left =
                |(_, prompt): &(String, &Value)| prompt.get("expires_in_seconds").and_then(Value::as_u64);
            let left = Duration::from_secs(open.iter().filter_map(left).max().unwrap_or_default());
            let waiting = Waiting { ids: open.iter().map(|(id, _)| id.clone()).collect(), left };
            desktop.show(waiting.notice(self.console.as_deref()));
        }
        self.seen.retain(|id| open.iter().any(|(open, _)| open == id));
        if self.json {
            for (id, prompt) in &open {
                if self.seen.insert(id.clone()) {
                    output::json(prompt)?;
                }
            }
        }
        if let Some((id, _)) = &self.asked
            && !open.iter().any(|(open, _)| open == id)
        {
            if !self.json {
                output::text(&format!("{id} is settled"))?;
            }
            self.asked = None;
        }
        if self.asked.is_none() {
            let next = open.iter().find(|(id, _)| self.json || !self.seen.contains(id));
            if let Some((id, prompt)) = next {
                if !self.json {
                    output::text(&question::shown(prompt))?;
                }
                self.seen.insert(id.clone());
                self.asked = Some((id.clone(), Instant::now()));
            }
        }
        Ok(())
    }

    async fn look_at_connections(&mut self) -> Result<(), Stop> {
        let Some((desktop, looked)) = &mut self.holding else { return Ok(()) };
        if looked.is_some_and(|looked| looked.elapsed() < connections::LOOK) {
            return Ok(());
        }
        let status = self.gate.get(&ApiPath::new("/v1/status")).await?;
        *looked = Some(Instant::now());
        let holding = status.get("holding").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let apps = holding.iter().filter_map(|one| one.get("app")?.as_str()?.parse().ok()).collect();
        desktop.show(connections::notice(&apps, self.console.as_deref()));
        Ok(())
    }

    async fn typed(&mut self, line: &str) -> Result<(), Stop> {
        let Some((id, since)) = self.asked.clone() else { return Ok(()) };
        if line.is_empty() {
            return Ok(());
        }
        if line == "s" {
            self.asked = None;
            return Ok(());
        }
        let body = match read(line) {
            Ok(body) => body,
            Err(why) => return output::text(&format!("{why}; {HELP}")),
        };
        if body.get("answer") == Some(&json!("allow")) && since.elapsed() < ARMED_AFTER {
            return output::text("too fast to have been read: look again, and answer then");
        }
        let path = ApiPath::new("/v1/prompts").segment(&id).segment("answer");
        match self.gate.post(&path, &body).await {
            Ok(answer) if self.json => output::json(&answer)?,
            Ok(_) => output::text(&format!("{id}: {line}"))?,
            Err(crate::client::ClientError::Refused(refused)) => {
                output::text(&format!("refused: {refused}"))?
            }
            Err(error) => return Err(error.into()),
        }
        self.asked = None;
        Ok(())
    }
}

/// What a line says, as the API takes it.
fn read(line: &str) -> Result<Value, String> {
    let mut words = line.split_whitespace();
    let answer = match words.next() {
        Some("a" | "allow") => "allow",
        Some("d" | "deny") => "deny",
        _ => return Err(format!("`{}` is no answer", line.escape_debug())),
    };
    let mut body = json!({ "answer": answer });
    for word in words {
        let (key, value) = match word {
            "single" | "session" | "blanket" => ("permission", word),
            "target" | "host" | "any" => ("scope", word),
            time if when::duration(time).is_ok() => ("for", time),
            other => return Err(format!("`{}` is not understood", other.escape_debug())),
        };
        if let Some(fields) = body.as_object_mut()
            && fields.insert(key.to_owned(), json!(value)).is_some()
        {
            return Err(format!("`{value}` says something twice"));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_answer_with_what_was_said_and_nothing_else() {
        assert_eq!(read("a").unwrap(), json!({"answer": "allow"}));
        let full = json!({"answer": "allow", "permission": "session", "for": "10m", "scope": "host"});
        assert_eq!(read("allow host session 10m").unwrap(), full);
        assert_eq!(
            read("d any blanket").unwrap(),
            json!({"answer": "deny", "scope": "any", "permission": "blanket"})
        );
        for wrong in ["y", "a always", "a session blanket", "a 10", "", "a 0s"] {
            read(wrong).unwrap_err();
        }
    }
}
