//! The command line of rexi-migrate.

fn main() {}
