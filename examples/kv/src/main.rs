//! The command line of the key-value store: one node, or three of them on this machine.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rexi_kv::cluster::{self, ClusterArgs};
use rexi_kv::node::{self, NodeArgs};
use tracing_subscriber::EnvFilter;

/// A replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "rexi-kv", version)]
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
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ended: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Node(args) => node::run(&args).await.map_err(Into::into),
        Command::Cluster(args) => cluster::run(&args).await.map_err(Into::into),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rexi-kv: {error}");
            ExitCode::FAILURE
        }
    }
}
