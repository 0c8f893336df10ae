//! The command `wilco`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wilco_server::cli::main()
}
