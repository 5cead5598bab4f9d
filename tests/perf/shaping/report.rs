//! The tables, and whether what is wanted was met.

use std::fmt::{Display, Write as _};

/// What has been found so far.
#[derive(Default)]
pub struct Report {
    text: String,
    missed: Vec<String>,
}

impl Report {
    /// Begins a table.
    pub fn table(&mut self, title: &str, columns: &[&str]) {
        let line = "---|".repeat(columns.len());
        let _ = writeln!(self.text, "\n{title}\n\n| {} |\n|{line}", columns.join(" | "));
        eprintln!("{title}");
    }

    /// A line of it.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.to_string()).collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
        eprintln!("  {}", cells.join("  "));
    }

    /// Whether a target was met; the word for the table.
    pub fn judge(&mut self, what: &str, is_met: bool) -> &'static str {
        if !is_met {
            self.missed.push(what.to_owned());
        }
        if is_met { "met" } else { "MISSED" }
    }

    /// Whether all were.
    pub fn is_met(&self) -> bool {
        self.missed.is_empty()
    }

    /// All of it.
    pub fn text(&self) -> String {
        let verdict = match self.missed.as_slice() {
            [] => "Every target was met.".to_owned(),
            missed => format!("Missed: {}.", missed.join("; ")),
        };
        format!("{}\n{verdict}\n", self.text)
    }
}
