//! `rexi-migrate live`: what an operator asks of a cluster that runs, through any of its members.
//!
//! Exit codes: 0 done, or nothing to do; 1 no: a check failed or a member refused, and nothing changed; 2 wrong usage,
//! nothing was sent; 3 could not tell; 4 under way: recorded, and not everywhere yet; 5 somebody else's;
//! 6 there are steps to take, where `plan` is to say so.

mod change;
mod flags;
mod floor;
mod look;
mod reach;
mod said;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use miette::{Report, miette};
use tokio::runtime::Builder;

use self::reach::Stop;
use super::shared::USAGE;
use crate::service::Service;

/// Asks a cluster that runs what it is, and changes what is settled for it.
///
/// Exit codes: 0 done, or nothing to do; 1 no, and nothing changed; 2 wrong
/// usage, nothing was sent; 3 could not tell; 4 under way, `live resume` goes
/// on; 5 somebody else's change came first.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    #[command(subcommand)]
    command: LiveCommand,
}

#[derive(Debug, Subcommand)]
enum LiveCommand {
    /// The record, what is under way, a row for each member, and who holds it.
    Status(look::StatusArgs),
    /// The checks by name, for what is to be done next. Changes nothing.
    Preflight(look::PreflightArgs),
    /// The steps from here to a release: what each needs, and its way back.
    Plan(look::PlanArgs),
    /// Whether a node may stop now, or is back as it should be.
    Gate(look::GateArgs),
    /// What operators have asked, of all members, by time.
    History(look::HistoryArgs),
    /// Begins the record with the releases that run.
    Init(change::InitArgs),
    /// Lets the next release in, or lets migrations go as far as a phase.
    Advance(change::AdvanceArgs),
    /// Brakes: no migration goes further than the lowest member is now.
    Hold(change::HoldArgs),
    /// Brings migrations down to a phase.
    Lower(change::LowerArgs),
    /// Takes all ceilings and brakes off.
    Lift(change::PlainArgs),
    /// Closes the way back: the highest release becomes the lowest.
    Finalize(change::FinalizeArgs),
    /// Ends what is under way, forwards.
    Resume(change::PlainArgs),
    /// Gives up what is under way, where not all have said yes.
    Abort(change::PlainArgs),
    /// Takes out members that never return with what is on their disks.
    Forget(change::ForgetArgs),
    /// What a node keeps of the record on this machine, and its repair.
    #[command(subcommand)]
    Floor(floor::FloorCommand),
}

/// Asks, and gives the exit code of what came of it; an error comes with the exit code that it means.
pub(crate) fn run(args: LiveArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| (USAGE, miette!("cannot start: {error}")))?;
    let train = &service.train;
    let answered = runtime.block_on(async {
        match args.command {
            LiveCommand::Status(args) => look::status(args).await,
            LiveCommand::Preflight(args) => look::preflight(args, train).await,
            LiveCommand::Plan(args) => look::plan(args, train).await,
            LiveCommand::Gate(args) => look::gate(args).await,
            LiveCommand::History(args) => look::history(args).await,
            LiveCommand::Init(args) => change::init(args, train).await,
            LiveCommand::Advance(args) => change::advance(args, train).await,
            LiveCommand::Hold(args) => change::hold(args).await,
            LiveCommand::Lower(args) => change::lower(args).await,
            LiveCommand::Lift(args) => change::lift(args).await,
            LiveCommand::Finalize(args) => change::finalize(args, train).await,
            LiveCommand::Resume(args) => change::resume(args).await,
            LiveCommand::Abort(args) => change::abort(args).await,
            LiveCommand::Forget(args) => change::forget(args).await,
            LiveCommand::Floor(command) => floor::run(command).await,
        }
    });
    match answered {
        Ok(said) => Ok(said.tell()),
        Err(Stop::Said(said)) => Ok(said.tell()),
        Err(Stop::Usage(code, report)) => Err((code, report)),
    }
}
