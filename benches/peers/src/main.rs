//! Measures rexi-server beside other RPC systems: the same work, two processes on loopback, one run.
//!
//! `run` starts this executable again as `serve` and `call` for each cell, a system at some work, and asks both for
//! what it took them. Systems take turns within each round, so that a machine whose speed changes does so for all of
//! them. In the order of the modules: what is asked for, who plays it, what is played, what comes out.

mod cli;
mod failure;
mod measure;
mod systems;
mod work;
mod order;
mod child;
mod cluster;
mod cell;
mod round;
mod report;
mod chart;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    // Before anything asks for one: some of the systems take the process's default.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ended = match Cli::parse().command {
        Command::Run(run) => round::run(&run),
        Command::Serve(setup) => child::serve(setup),
        Command::Call(setup) => child::call(setup),
    };
    ended.unwrap_or_else(|failure| {
        eprintln!("peers: {failure:?}");
        ExitCode::FAILURE
    })
}
