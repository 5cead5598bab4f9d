//! A schedule as text: in the one spelling that is signed off, and in sentences for the person who signs.

use std::fmt::Write as _;
use std::num::NonZeroU64;

use mexe_model::{Action, WallTime};

use super::Schedule;
use crate::table::{SecurityTable, TargetKind};
use crate::window::{DAY, DayHours, Weekday};

/// The same hours on some days.
struct Days {
    days: Vec<Weekday>,
    from: u16,
    to: u16,
}

impl Schedule {
    /// The schedule in its one spelling; reads back as the same schedule.
    pub fn canonical(&self) -> String {
        let list = |items: &mut dyn Iterator<Item = String>| {
            items.map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![
            format!("name = \"{}\"", self.name),
            format!("app = \"{}\"", self.app),
            format!("actions = [{}]", list(&mut self.actions.iter().map(ToString::to_string))),
        ];
        if !self.targets.is_empty() {
            lines.push(format!("targets = [{}]", list(&mut self.targets.iter().map(ToString::to_string))));
        }
        if let Some(until) = self.window.until {
            lines.push(format!("until = \"{}\"", moment(until)));
        }
        for Days { days, from, to } in self.days() {
            let days = list(&mut days.iter().map(|day| day.as_str().to_owned()));
            lines.push(format!("\n[[hours]]\ndays = [{days}]"));
            lines.push(format!("from = \"{}\"\nto = \"{}\"", clock(from), clock(to)));
        }
        let limits = [
            ("bytes", self.budget.bytes),
            ("bytes-per-day", self.budget.bytes_per_day),
            ("events", self.budget.events),
            ("events-per-day", self.budget.events_per_day),
        ];
        if limits.iter().any(|(_, limit)| limit.is_some()) {
            lines.push("\n[budget]".to_owned());
        }
        for (key, limit) in limits {
            lines.extend(limit.map(|limit| format!("{key} = {limit}")));
        }
        lines.join("\n") + "\n"
    }

    /// What the app may do by it: a sentence for each action.
    pub fn sentences(&self, table: &SecurityTable) -> Vec<String> {
        let (when, limits) = (self.when(), self.limits());
        let sentence = |action: &Action| {
            let mut text = format!("{} may {}, {when}{limits}", self.app, self.deed(action, table));
            if let Some(until) = self.window.until {
                let _ = write!(text, ", until {}", moment(until));
            }
            text
        };
        self.actions.iter().map(sentence).collect()
    }

    fn deed(&self, action: &Action, table: &SecurityTable) -> String {
        let row = table.action(action.as_str()).and_then(|id| table.row(id));
        let kind = row.map_or(TargetKind::None, |row| row.target);
        let verb = match action.as_str() {
            "network.connect" => "connect to",
            "network.datagram" => "exchange datagrams with",
            "network.call" => "call",
            _ => {
                let covers = row.map_or("which the security table does not have", |row| &row.covers);
                return format!("perform {action} ({covers}){}", self.places(" with ", kind));
            }
        };
        format!("{verb}{}", self.places(" ", kind))
    }

    fn places(&self, before: &str, kind: TargetKind) -> String {
        let targets: Vec<String> = self.targets_for(kind).map(ToString::to_string).collect();
        match targets.split_last() {
            None => String::new(),
            Some((only, [])) => format!("{before}{only}"),
            Some((last, rest)) => format!("{before}{} and {last}", rest.join(", ")),
        }
    }

    fn when(&self) -> String {
        let part = |Days { days, from, to }: &Days| match (*from, *to) {
            (0, DAY) if days.len() == Weekday::ALL.len() => "at any time".to_owned(),
            (0, DAY) => format!("{} all day", day_names(days)),
            _ => format!("{} {}-{}", day_names(days), clock(*from), clock(*to)),
        };
        self.days().iter().map(part).collect::<Vec<_>>().join(" and ")
    }

    fn limits(&self) -> String {
        let size = |limit: Option<NonZeroU64>| limit.map(|bytes| size(bytes.get()));
        let count = |limit: Option<NonZeroU64>| match limit.map(NonZeroU64::get) {
            Some(1) => Some("once".to_owned()),
            limit => limit.map(|times| format!("{times} times")),
        };
        let limits = [
            (size(self.budget.bytes_per_day), " a day"),
            (count(self.budget.events_per_day), " a day"),
            (size(self.budget.bytes), " in all"),
            (count(self.budget.events), " in all"),
        ];
        limits.into_iter().filter_map(|(limit, each)| Some(format!(", up to {}{each}", limit?))).collect()
    }

    /// The hours, the days with the same ones together.
    fn days(&self) -> Vec<Days> {
        let mut all: Vec<Days> = Vec::new();
        for DayHours { day, from, to } in self.window.hours.by_day() {
            match all.iter_mut().find(|same| (same.from, same.to) == (from, to)) {
                Some(same) => same.days.push(day),
                None => all.push(Days { days: vec![day], from, to }),
            }
        }
        all.sort_by_key(|days| (days.days.first().copied(), days.from, days.to));
        all
    }
}

/// `Mon-Fri`, `Mon, Wed and Sun`, `every day`.
fn day_names(days: &[Weekday]) -> String {
    let name = |day: &Weekday| {
        let (first, rest) = day.as_str().split_at(1);
        first.to_ascii_uppercase() + rest
    };
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return String::new() };
    let in_a_row = usize::from(last.index().saturating_sub(first.index())) + 1 == days.len();
    match days {
        _ if days.len() == Weekday::ALL.len() => "every day".to_owned(),
        [_, _, _, ..] if in_a_row => format!("{}-{}", name(first), name(last)),
        [rest @ .., last] if !rest.is_empty() => {
            format!("{} and {}", rest.iter().map(name).collect::<Vec<_>>().join(", "), name(last))
        }
        _ => name(first),
    }
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// In the unit that leaves no fraction.
fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match units.into_iter().find(|(_, unit)| bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

fn moment(at: WallTime) -> String {
    at.to_string().replace(".000Z", "Z")
}
