//! The program `rexi-migrate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rexi_migrate::cli::main()
}
