//! The front door: without arguments the studio opens, with arguments the command line answers.

use std::process::ExitCode;

fn main() -> ExitCode {
    calotype::cli::main()
}
