//! The binary `mexegate`: reads the command line and calls the verb. How it ended is the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mexegate::cli::main(std::env::args_os()).into()
}
