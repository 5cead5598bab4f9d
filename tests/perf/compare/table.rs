//! The table of a comparison: medians over the rounds, then each SOCKS and CONNECT row as a ratio to the two peers that
//! the project measures itself against. A cell without a figure is a dash.

use std::fmt::Write as _;

use crate::Results;
use crate::contestant::Kind;

/// Heading, measure, key, digits after the point.
const COLUMNS: &[(&str, &str, &str, usize)] = &[
    ("connections/s", "connect", "per_second", 0),
    ("setup p50 ms", "connect", "p50_ms", 2),
    ("setup p99 ms", "connect", "p99_ms", 1),
    ("CPU us/connection", "connect", "cpu_us", 0),
    ("RTT p50 us", "echo", "p50_us", 0),
    ("CPU us/round trip", "echo", "cpu_us", 1),
    ("CPU us/round trip, 16 at once", "echoes", "cpu_us", 1),
    ("down Gbit/s", "download", "gbit_per_second", 1),
    ("down CPU s/GiB", "download", "cpu_s_per_gib", 2),
    ("up Gbit/s", "upload", "gbit_per_second", 1),
    ("up CPU s/GiB", "upload", "cpu_s_per_gib", 2),
    ("KiB/idle connection", "idle", "kib_each", 1),
];

/// The columns that cost the device something: these are compared.
const COSTS: &[&str] = &[
    "CPU us/connection",
    "CPU us/round trip",
    "CPU us/round trip, 16 at once",
    "down CPU s/GiB",
    "up CPU s/GiB",
    "KiB/idle connection",
];

/// Both tables as markdown.
pub fn render(kinds: &[Kind], results: &Results, rounds: usize) -> String {
    let mut text =
        format!("Medians of {rounds} interleaved rounds, all processes on one machine, loopback.\n\n");
    let heading: Vec<&str> = COLUMNS.iter().map(|column| column.0).collect();
    row(&mut text, "", heading.iter().map(|h| (*h).to_owned()));
    row(&mut text, "---", COLUMNS.iter().map(|_| "---:".to_owned()));
    for kind in kinds {
        let cells = COLUMNS.iter().map(|(_, measure, key, digits)| {
            // Without a proxy there is no proxy's cost.
            let cost = key.starts_with("cpu") || key.starts_with("kib");
            let figure = figure(results, *kind, measure, key).filter(|_| *kind != Kind::Direct || !cost);
            figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"))
        });
        row(&mut text, &kind.to_string(), cells);
    }
    for peer in [Kind::Haproxy, Kind::Microsocks].into_iter().filter(|peer| kinds.contains(peer)) {
        let _ = write!(text, "\nCost as a multiple of {peer}; below 1 is cheaper.\n\n");
        row(&mut text, "", COSTS.iter().map(|cost| (*cost).to_owned()));
        row(&mut text, "---", COSTS.iter().map(|_| "---:".to_owned()));
        for kind in kinds.iter().filter(|kind| **kind != Kind::Direct && **kind != peer) {
            let columns = COLUMNS.iter().filter(|column| COSTS.contains(&column.0));
            let cells = columns.map(|(_, measure, key, _)| {
                let own = figure(results, *kind, measure, key);
                let other = figure(results, peer, measure, key).filter(|other| *other > 0.0);
                own.zip(other).map_or("-".to_owned(), |(own, other)| format!("{:.2}", own / other))
            });
            row(&mut text, &kind.to_string(), cells);
        }
    }
    let lost: u64 = results.values().flatten().filter_map(|round| round["failed"].as_u64()).sum();
    let _ = writeln!(text, "\nConnections that failed, over everything: {lost}.");
    text
}

fn figure(results: &Results, kind: Kind, measure: &str, key: &str) -> Option<f64> {
    let rounds = results.get(&(kind, measure.to_owned()))?;
    median(rounds.iter().filter_map(|round| round[key].as_f64()).collect())
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = figures.get(middle)?;
    if figures.len() % 2 == 1 {
        Some(*upper)
    } else {
        Some((figures.get(middle.checked_sub(1)?)? + upper) / 2.0)
    }
}

fn row(text: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(vec![9.0, 1.0]), Some(5.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_row_shows_medians_and_its_ratio_to_the_peer_and_a_dash_for_what_is_missing() {
        let mut results = Results::new();
        let rounds = |figures: [f64; 3]| figures.iter().map(|f| json!({"cpu_us": f, "failed": 1})).collect();
        results.insert((Kind::Haproxy, "connect".to_owned()), rounds([90.0, 100.0, 500.0]));
        results.insert((Kind::GateSocks, "connect".to_owned()), rounds([150.0, 160.0, 140.0]));
        let text = render(&[Kind::Haproxy, Kind::GateSocks], &results, 3);
        assert!(text.contains("| mexegate SOCKS5 | - | - | - | 150 | - | - |"), "{text}");
        assert!(text.contains("| mexegate SOCKS5 | 1.50 | - | - | - | - | - |"), "{text}");
        assert!(text.ends_with("over everything: 6.\n"), "{text}");
    }
}
