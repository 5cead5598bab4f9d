//! A question to the person at the terminal. Whoever calls has made sure that there is one.

use std::io::{BufRead, Write};

/// Only a plain yes is one.
pub(super) fn agreed(question: &str) -> bool {
    let mut err = std::io::stderr().lock();
    // Without a terminal that can be written to, nobody read the question.
    if write!(err, "{question} [y/N] ").and_then(|()| err.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
}
