//! One node of the rehearsed cluster: the child process that embeds the server, makes the load and writes the ledger.
//!
//! A seam for now: takes the arguments that the rehearsal gives, and says that it cannot serve.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::control::{Event, encode};
use crate::train::Release;

/// What a node process is started with.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct NodeArgs {
    /// Its name.
    #[arg(long)]
    pub name: String,
    /// The release it runs.
    #[arg(long)]
    pub release: Release,
    /// Where it listens.
    #[arg(long)]
    pub listen: SocketAddr,
    /// The other members, as `n2=127.0.0.1:4242`, joined by commas.
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Where the identities lie.
    #[arg(long)]
    pub dir: PathBuf,
    /// Casts a second that this node makes.
    #[arg(long)]
    pub rate: u32,
    /// Seed of the load of this process.
    #[arg(long)]
    pub seed: u64,
    /// The ledger to write.
    #[arg(long)]
    pub ledger: PathBuf,
    /// The ways in which it breaks the protocol on purpose, joined by commas.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAMES")]
    pub mutant: Option<String>,
}

/// Runs a node until it is drained or its standard input ends.
#[expect(clippy::needless_pass_by_value, reason = "the real node keeps its arguments")]
pub fn run(args: NodeArgs) -> ExitCode {
    let error = format!("{} cannot serve: this build has no node", args.name);
    print!("{}", encode(&Event::Failed { error }));
    ExitCode::FAILURE
}
