//! `journal verify`: checks every record's hash and every seal. What a chain must hold is decided in crate mexe-journal.

use mexe_journal::VerifyError;
use serde_json::{Value, json};

use crate::cli::fault::{Fault, Stop};
use crate::cli::{Exit, Global, output};

pub(super) fn run(global: &Global) -> Result<Exit, Stop> {
    match mexe_journal::verify(&global.state_dir()?) {
        Ok(report) => {
            let mut shown = json!(report);
            if let Value::Object(shown) = &mut shown {
                shown.insert("verified".to_owned(), Value::Bool(true));
            }
            global.print(&shown, |shown| format!("the chain holds\n{}", output::facts(shown)))
        }
        Err(VerifyError::Unreadable(error)) => Err(error.into()),
        Err(VerifyError::Broken(broken)) => {
            if global.json {
                output::json(&json!({"verified": false, "seq": broken.seq, "what": broken.what}))?;
            }
            Err(Fault::new(broken.to_string())
                .help("keep the file as evidence and start a new state directory")
                .into())
        }
    }
}
