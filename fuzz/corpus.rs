//! Writes what each fuzz target begins with into the folder that `cargo fuzz` takes it from, which is not checked in.

#[allow(dead_code, reason = "what is refused begins nothing")]
#[path = "../rexi-proto/tests/wire_golden/golden.rs"]
mod golden;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/hello.rs"]
mod hello;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/lane.rs"]
mod lane;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/payload.rs"]
mod payload;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/peer.rs"]
mod peer;
#[allow(dead_code, reason = "the checks are for the targets")]
#[path = "checks/texts.rs"]
mod texts;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    for (target, seeds) in [
        ("hello", hello::seeds()),
        ("lane", lane::seeds()),
        ("payload", payload::seeds()),
        ("texts", texts::seeds()),
        ("ledger", ledger::seeds()),
        ("peer", peer::seeds()),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
