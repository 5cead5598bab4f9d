//! `journal export`: every field of every record that fits, with a sentence for a person, as CSV or as JSON lines. Reads
//! only. To a terminal even CSV is escaped; a file or a pipe gets it as it is.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use mexe_journal::{CSV_HEADING, Row, csv_line};

use super::filters::{Filters, each_page};
use crate::cli::fault::{Fault, Stop};
use crate::cli::{Exit, Global, json_line, printable};

/// Write records out for other programs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// json: one object a line; csv: RFC 4180, what a spreadsheet would take for a formula with an apostrophe in front
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The file to write; without it the standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    #[default]
    Json,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Exit, Stop> {
    let (state_dir, filter) = (global.state_dir()?, args.filters.filter()?);
    let Some(path) = &args.out else {
        let stdout = std::io::stdout();
        let escape = stdout.is_terminal();
        let mut out = BufWriter::new(stdout.lock());
        each_page(&state_dir, filter.clone(), false, with_heading(args.format, &mut out, escape)?)?;
        out.flush()?;
        return Ok(Exit::Done);
    };
    // The journal is read once before the file is made: a mistake must not cost an older export.
    mexe_journal::query(&state_dir, &mexe_journal::Filter { limit: Some(1), ..filter.clone() })?;
    let in_file = |why: std::io::Error| Fault::new(format!("cannot write `{}`", path.display())).because(why);
    let mut out = BufWriter::new(File::create(path).map_err(in_file)?);
    let written = with_heading(args.format, &mut out, false)
        .map_err(Stop::from)
        .and_then(|take| each_page(&state_dir, filter, false, take));
    match written {
        Ok(()) => out.flush().map_err(in_file)?,
        Err(stop) => return Err(stop),
    }
    Ok(Exit::Done)
}

/// Writes the heading, and gives what writes records.
fn with_heading(
    format: Format,
    out: &mut impl Write,
    escape: bool,
) -> std::io::Result<impl FnMut(&[Row]) -> Result<(), Stop>> {
    if format == Format::Csv {
        out.write_all(CSV_HEADING.as_bytes())?;
    }
    Ok(move |rows: &[Row]| {
        for row in rows {
            match format {
                Format::Csv if escape => {
                    writeln!(out, "{}", printable(csv_line(row).trim_end_matches("\r\n")))?;
                }
                Format::Csv => out.write_all(csv_line(row).as_bytes())?,
                Format::Json => {
                    let line =
                        json_line(row).map_err(|e| Fault::new("cannot write a record as JSON").because(e))?;
                    writeln!(out, "{line}")?;
                }
            }
        }
        Ok(())
    })
}
