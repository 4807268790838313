//! The command line: what to measure, how long, and where the table goes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::systems::System;
use crate::systems::rexi::Mode;
use crate::work::Work;

/// Measures rexi-server beside other RPC systems on this machine, over loopback.
#[derive(Debug, Parser)]
#[command(name = "peers", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays all cells, round by round, and writes the table. Ends with 1 if a cell failed.
    Run(Run),
    /// The server's process of a cell.
    #[command(hide = true)]
    Serve(Setup),
    /// The caller's process of a cell.
    #[command(hide = true)]
    Call(Setup),
}

/// A run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// Rounds; in each, every cell is played once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Seconds that a cell is measured, after a quarter of that to warm up.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// The work, as a list; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) work: Vec<Work>,
    /// The systems, as a list; all by default. Work that only rexi does is played if rexi is among them.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) systems: Vec<System>,
    /// The runtimes: one thread each, or two workers each, which is played for `inflight64` and `inflight1024` alone.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Runtime::Ct, Runtime::Mt])]
    pub(crate) runtime: Vec<Runtime>,
    /// Where the tables go, as markdown; to standard output by default.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Where the chart goes, as SVG.
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    /// Where every figure of every round goes, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// The runtime of both processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Runtime {
    /// Current-thread runtimes, the callers' processes pinned to one core, the servers' to another.
    Ct,
    /// Multi-thread runtimes of two workers, nothing pinned.
    Mt,
}

/// What a process of a cell is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Setup {
    #[arg(long, value_enum)]
    pub(crate) system: System,
    #[arg(long, value_enum)]
    pub(crate) runtime: Runtime,
    /// What rexi's nodes run; of no meaning to others.
    #[arg(long, value_enum, default_value_t = Mode::PerNode)]
    pub(crate) mode: Mode,
    /// The folder with the certificates.
    #[arg(long)]
    pub(crate) certificates: PathBuf,
    /// The file with the addresses of all members.
    #[arg(long)]
    pub(crate) members: PathBuf,
    /// The names that this process goes by: more than one for several of rexi's nodes.
    #[arg(long = "name", required = true)]
    pub(crate) names: Vec<String>,
    /// Whom it connects to.
    #[arg(long = "peer")]
    pub(crate) peers: Vec<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    if (0.05..=60.0).contains(&seconds) { Ok(seconds) } else { Err("0.05 to 60 seconds are allowed".to_owned()) }
}
