//! The command `wilco`.

use std::process::ExitCode;

/// Requests are allocated on one thread and freed on another, which the system's allocator pays for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wilco_server::cli::main()
}
