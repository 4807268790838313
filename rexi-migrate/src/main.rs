//! The program `rexi-migrate`: the tools for the demo's train.

use std::process::ExitCode;

fn main() -> ExitCode {
    rexi_migrate::tool(&rexi_migrate::demo::train()).lock_file("rexi-migrate/wire.lock.json").main()
}
