//! The command line of the key-value store: one node, or three of them on this machine.

use std::error::Error;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rexi_kv::cluster::{self, ClusterArgs};
use rexi_kv::node::{self, NodeArgs, NodeError};
use rexi_kv::planted::Planted;
use rexi_kv::rehearsal::Rehearsed;
use rexi_kv::{replica, simulation, train};
use rexi_migrate::Tool;
use rexi_migrate::cli::ToolArgs;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

/// A replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "rexi-kv", version, max_term_width = 80)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one node.
    Node(NodeArgs),
    /// Runs three nodes on this machine, with certificates for development, until Ctrl-C.
    Cluster(ClusterArgs),
    /// Shows whether the store may change its protocol while it runs.
    Rollout {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        args: ToolArgs,
    },
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// Lets the store forget what it says it keeps, to show that a rehearsal notices.
    #[arg(long, hide = true)]
    forgets: bool,
    /// Adds functions that come or go so, to show what each level says to that.
    #[arg(long, hide = true)]
    plant: Option<Planted>,
}

impl StoreArgs {
    /// The tools for the store's train.
    fn tool(&self) -> Tool {
        let planted = self.plant.and_then(|plant| plant.to_possible_value());
        let planted = planted.iter().flat_map(|plant| ["--plant", plant.get_name()]);
        let under = ["rollout"].into_iter().chain(self.forgets.then_some("--forgets")).chain(planted);
        rexi_migrate::tool(&train())
            .functions(|lock| {
                replica::lock(match self.plant {
                    Some(plant) => plant.lock(lock)?,
                    None => lock,
                })
            })
            .lock_file("examples/kv/wire.lock.json")
            .simulation(simulation::simulation(), simulation::ACTIONS)
            .workload(Rehearsed { forgets: self.forgets })
            .under(under)
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Node(args) => serve(async move { node::run(&args).await.map_err(Into::into) }),
        Command::Cluster(args) => serve(async move { cluster::run(&args).await.map_err(Into::into) }),
        Command::Rollout { store, args } => store.tool().run(args),
    }
}

fn serve(command: impl Future<Output = Result<(), Box<dyn Error>>>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ended = Runtime::new().map_err(Into::into).and_then(|runtime| {
        let ended = runtime.block_on(command);
        // A thread may still wait for the disk. The process does not: what a crash leaves behind can be opened.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rexi-kv: {error}");
            error.downcast_ref::<NodeError>().map_or(1, NodeError::exit_code).into()
        }
    }
}
