//! One record as a sentence for a person: who asked for what, how it was decided and by which rule, what was opened, what
//! was moved, and why it ended. Pure. The text is as the app gave it: whoever shows it escapes it for where it is shown.

use std::fmt::Write;

use mexe_model::Reason;

use crate::query::Row;

/// The sentence.
pub fn says(row: &Row) -> String {
    let mut said = match row.kind.as_str() {
        "decision" => decision(row),
        "flow-end" => flow_end(row),
        _ => change(row),
    };
    if row.erased {
        said.push_str(" (personal fields erased)");
    }
    said
}

fn decision(row: &Row) -> String {
    let mut said = match &row.action {
        Some(action) => format!("{} asked for {action}", who(row)),
        None => format!("{} made a request", who(row)),
    };
    add(&mut said, " to ", row.target.as_deref());
    add(&mut said, " over ", row.ingress.as_deref());
    match row.decision.as_deref() {
        Some("allow") => {
            said.push_str(": allowed");
            add(&mut said, " by ", row.grant.map(|grant| grant.to_string()).as_deref());
            add(&mut said, ", rule ", row.rule.as_deref());
            add(&mut said, ", class ", row.class.as_deref());
            add(&mut said, ", opens ", row.flow.map(|flow| flow.to_string()).as_deref());
            if !row.addresses.is_empty() {
                add(&mut said, " to ", Some(&row.addresses.join(" or ")));
            }
        }
        Some("ask") => {
            said.push_str(": the user is asked");
            add(&mut said, ", rule ", row.rule.as_deref());
        }
        _ => {
            said.push_str(": refused");
            add(&mut said, ", ", why(row).as_deref());
            add(&mut said, ", rule ", row.rule.as_deref());
        }
    }
    match row.count {
        1 => {}
        count => add(&mut said, ", ", Some(&format!("{count} times"))),
    }
    said
}

fn flow_end(row: &Row) -> String {
    let mut said = row.flow.map_or_else(|| "a flow".to_owned(), |flow| flow.to_string());
    add(&mut said, " of ", Some(&who(row)));
    add(&mut said, " to ", row.target.as_deref());
    add(&mut said, " over ", row.ingress.as_deref());
    add(&mut said, ", class ", row.class.as_deref());
    said.push_str(", ended");
    add(&mut said, " after ", row.duration_ms.map(|millis| format!("{millis} ms")).as_deref());
    add(&mut said, ": ", row.bytes_up.map(|bytes| format!("{bytes} bytes up")).as_deref());
    add(&mut said, ", ", row.bytes_down.map(|bytes| format!("{bytes} bytes down")).as_deref());
    add(&mut said, ", because ", why(row).as_deref());
    said
}

fn change(row: &Row) -> String {
    let action = row.action.as_deref().unwrap_or("change");
    let mut said = match CHANGES.binary_search_by_key(&action, |(action, _)| action) {
        // With the name, since that is what one filters by.
        Ok(found) => CHANGES.get(found).map_or(action.to_owned(), |(_, said)| format!("{said} ({action})")),
        Err(_) => action.to_owned(),
    };
    if matches!(action, "journal.clear" | "journal.erase") {
        add(&mut said, ", ", Some(&format!("{} records", row.count)));
    }
    if row.app.is_some() {
        add(&mut said, ": ", Some(&who(row)));
    }
    add(&mut said, ", to ", row.target.as_deref());
    add(&mut said, ", ", row.grant.map(|grant| grant.to_string()).as_deref());
    add(&mut said, ", because ", why(row).as_deref());
    add(&mut said, " ", row.detail.as_ref().map(ToString::to_string).as_deref());
    said
}

/// What was done, for a person; others are shown by their name. In alphabetical order.
const CHANGES: &[(&str, &str)] = &[
    ("administrator.set", "an administrator was set"),
    ("app.fetch", "a package was fetched"),
    ("app.install", "an app was installed"),
    ("app.remove", "an app was removed"),
    ("app.resume", "an app was let run again"),
    ("app.suspend", "an app was suspended"),
    ("bearer.found", "a bearer can be used"),
    ("bearer.lost", "a bearer can be used no longer"),
    ("bearer.renegotiate", "the network changed what a bearer gives"),
    ("bearer.roaming", "a bearer went to another operator's network, or came back"),
    ("bearer.session-lost", "the network ended a session of a bearer"),
    ("call.end", "a call ended"),
    ("card.change", "the card's contents changed"),
    ("card.insert", "a card was inserted"),
    ("card.remove", "the card was removed"),
    ("card.swap", "the card was exchanged"),
    ("ccm.apply", "a certificate configuration message was applied"),
    ("clock.floor", "the earliest time that it can be moved on"),
    ("device.name", "the device got its name"),
    ("grant.expire", "a permission ran out"),
    ("grant.give", "a permission was given"),
    ("grant.lapse", "permissions for a time lapsed"),
    ("grant.revoke", "a permission was taken back"),
    ("journal.clear", "the user cleared the journal"),
    ("journal.erase", "personal fields were erased"),
    ("journal.prune", "old records were taken out"),
    ("limit.remove", "the limit of an app was taken away"),
    ("limit.set", "an app was limited"),
    ("list.add", "a revocation list was added"),
    ("prompt.deny", "the user said no"),
    ("prompt.forget", "what was denied to a removed app was forgotten"),
    ("prompt.rearm", "the user wants to be asked again"),
    ("root.add", "a root was added"),
    ("root.disable", "a root was switched off"),
    ("root.enable", "a root was switched on"),
    ("root.remove", "a root was removed"),
    ("run.begin", "a run began"),
    ("run.end", "a run ended"),
    ("schedule.lapse", "a schedule permits no longer what it did"),
    ("schedule.revoke", "a schedule was taken back"),
    ("schedule.sign", "the user signed off a schedule"),
    ("schedule.use", "a part of a schedule's budget was set aside or given back"),
    ("shadow.drop", "a candidate policy was dropped"),
    ("shadow.load", "a candidate policy was loaded, without effect"),
    ("stream.degrade", "a stream goes on as best effort"),
    ("stream.modify", "a stream was changed"),
    ("stream.release", "a stream was released"),
    ("stream.request", "a stream was asked for and admitted"),
    ("stream.restore", "a stream has again what it had lost"),
    ("threshold.remove", "a usage threshold was taken away"),
    ("threshold.set", "the user set a usage threshold"),
];

/// The app, with what it was and its run.
fn who(row: &Row) -> String {
    let run = row.run.map(|run| run.to_string());
    let about: Vec<&str> =
        row.domain.as_deref().into_iter().chain(run.as_deref()).chain(row.binding.as_deref()).collect();
    let name = match &row.app {
        Some(app) => app.as_str(),
        None if row.erased => "an app",
        None => "somebody unknown",
    };
    if about.is_empty() { name.to_owned() } else { format!("{name} ({})", about.join(", ")) }
}

/// The reason's code and what it means.
fn why(row: &Row) -> Option<String> {
    let code = row.reason.as_deref()?;
    Some(match code.parse::<Reason>() {
        Ok(reason) => format!("{code} ({})", reason.says()),
        Err(_) => code.to_owned(),
    })
}

fn add(said: &mut String, before: &str, what: Option<&str>) {
    if let Some(what) = what {
        // INVARIANT: writing to a String does not fail.
        let _ = write!(said, "{before}{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str) -> Row {
        Row {
            seq: 1,
            at: mexe_model::WallTime::from_secs(1),
            kind: kind.to_owned(),
            app: Some("weather".to_owned()),
            run: Some(mexe_model::RunId(3)),
            flow: None,
            domain: Some("third-party".to_owned()),
            action: None,
            target: Some("a.example:443".to_owned()),
            decision: None,
            reason: None,
            grant: None,
            rule: None,
            binding: None,
            ingress: None,
            class: None,
            bytes_up: None,
            bytes_down: None,
            duration_ms: None,
            addresses: Vec::new(),
            count: 1,
            detail: None,
            erased: false,
            hash: String::new(),
            says: String::new(),
        }
    }

    #[test]
    fn a_refusal_says_what_was_asked_and_by_which_rule_it_was_refused() {
        let refused = Row {
            action: Some("network.connect".to_owned()),
            decision: Some("deny".to_owned()),
            reason: Some("permission-missing".to_owned()),
            rule: Some("network.connect session (standard)".to_owned()),
            count: 4,
            ..row("decision")
        };
        let means = Reason::PermissionMissing.says();
        assert_eq!(
            says(&refused),
            format!(
                "weather (third-party, run-3) asked for network.connect to a.example:443: refused, permission-missing \
                 ({means}), rule network.connect session (standard), 4 times"
            )
        );
        let nobody = Row { app: None, run: None, domain: None, action: None, target: None, ..refused };
        assert!(says(&nobody).starts_with("somebody unknown made a request: refused"), "{}", says(&nobody));
    }

    #[test]
    fn an_end_says_what_was_moved_and_why_it_ended_and_what_was_erased_stays_unsaid() {
        let end = Row {
            flow: Some(mexe_model::FlowId(9)),
            class: Some("background".to_owned()),
            bytes_up: Some(10),
            bytes_down: Some(2000),
            duration_ms: Some(35),
            reason: Some("run-ended".to_owned()),
            ..row("flow-end")
        };
        let means = Reason::RunEnded.says();
        assert_eq!(
            says(&end),
            format!(
                "flow-9 of weather (third-party, run-3) to a.example:443, class background, ended after 35 ms: 10 bytes \
                 up, 2000 bytes down, because run-ended ({means})"
            )
        );
        let erased = Row { app: None, run: None, target: None, reason: None, erased: true, ..end };
        assert_eq!(
            says(&erased),
            "flow-9 of an app (third-party), class background, ended after 35 ms: 10 bytes up, 2000 bytes down (personal \
             fields erased)"
        );
    }

    #[test]
    fn a_change_says_what_was_done_and_by_which_name_to_look_for_it() {
        let given = Row {
            action: Some("grant.give".to_owned()),
            grant: Some(mexe_model::GrantId(7)),
            run: None,
            ..row("change")
        };
        assert_eq!(
            says(&given),
            "a permission was given (grant.give): weather (third-party), to a.example:443, grant-7"
        );
        let other = Row { action: Some("moon.rise".to_owned()), target: None, grant: None, ..given };
        assert_eq!(says(&other), "moon.rise: weather (third-party)");
    }

    #[test]
    fn the_changes_that_have_words_are_in_order() {
        assert!(CHANGES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
