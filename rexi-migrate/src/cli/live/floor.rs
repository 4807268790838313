//! What a node keeps on this machine: shown, and repaired by what another member has.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use miette::miette;
use rexi_proto::NodeName;
use rexi_proto::record::{Kept, KeptError};
use rexi_server::rollout::StateDir;
use serde_json::json;

use super::reach::{Reach, Stop};
use super::said::{Format, NO, Said, UNTOLD};
use crate::cli::shared::USAGE;
use crate::live::Standstill;

#[derive(Debug, Subcommand)]
pub(super) enum FloorCommand {
    /// Shows what is in a node's directory of state.
    Show(ShowArgs),
    /// Puts the record of the others in the place of a file that cannot be read. The node must not run.
    Repair(RepairArgs),
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The directory: the node's `rollout.state`.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// How to say what came of it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    /// The directory: the node's `rollout.state`.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The node that it is of.
    #[arg(long, value_name = "NODE")]
    node: NodeName,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(command: FloorCommand) -> Result<Said, Stop> {
    match command {
        FloorCommand::Show(args) => show(&args),
        FloorCommand::Repair(args) => repair(args).await,
    }
}

/// What the file of a directory says; `None` where there is none.
fn kept(state: &std::path::Path) -> Result<Option<Result<Kept, KeptError>>, Stop> {
    let file = state.join("record");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some(Kept::from_text(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && state.is_dir() => Ok(None),
        // It is not what a node has written, whatever it is.
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Ok(Some(Kept::from_text(""))),
        Err(error) => Err(Stop::Usage(USAGE, miette!("{} cannot be read: {error}", file.display()))),
    }
}

fn show(args: &ShowArgs) -> Result<Said, Stop> {
    let said = Said::new(args.format, "floor show");
    match kept(&args.state)? {
        None => Ok(said
            .line("there is no record here: the node waits for one, or was never started")
            .with("kept", json!(null))),
        Some(Err(error)) => {
            let why =
                format!("it cannot be read: {error}. The node does not start; repair it with `live floor repair`");
            Ok(said.code(NO).line(&why).with("problem", json!(why)))
        }
        Some(Ok(kept)) => {
            let text = kept.to_text();
            let parts = json!({
                "node": kept.node.to_string(),
                "epoch": kept.epoch(),
                "floor": kept.record.as_ref().map(|record| record.floor.to_string()),
                "top": kept.record.as_ref().map(|record| record.top.to_string()),
                "said_yes_to": kept.vote.as_ref().map(|vote| vote.told()),
                "anew": kept.anew,
                "text": text,
            });
            Ok(said.text(&text).with("kept", parts))
        }
    }
}

async fn repair(args: RepairArgs) -> Result<Said, Stop> {
    let said = Said::new(args.reach.format, "floor repair");
    match kept(&args.state)? {
        Some(Err(KeptError::Format { first })) if first.starts_with("rexi-rollout ") => {
            let why = format!("it is of another format ({first:?}): start the release that wrote it");
            return Ok(said.code(NO).line(&why).with("problem", json!(why)));
        }
        Some(Ok(kept)) if kept.node != args.node => {
            let why = format!("it is of {}, and not of {}: give the node its own directory", kept.node, args.node);
            return Ok(said.code(NO).line(&why).with("problem", json!(why)));
        }
        Some(Err(_)) => {}
        Some(Ok(_)) => return Ok(said.line("there is nothing to repair: the file can be read")),
        None => {
            let why = "there is no file, which is not a damaged one: start the node, and the others give it the record";
            return Ok(said.code(NO).line(why).with("problem", json!(why)));
        }
    }
    let cluster = args.reach.look_but("floor repair", Some(&args.node)).await?;
    if cluster.standstill() == Some(Standstill::Fork) {
        let why = "two members have different records: nothing can be taken from either";
        return Ok(said.code(UNTOLD).line(why).with("problem", json!(why)));
    }
    let newest = cluster.kept().filter_map(|(_, kept)| kept.record.clone()).max_by_key(|record| record.epoch);
    let Some(record) = newest else {
        let why = "no member has a record";
        return Ok(said.code(UNTOLD).line(why).with("problem", json!(why)));
    };
    let epoch = record.epoch;
    let dir = StateDir::open(&args.state).map_err(|error| Stop::Usage(USAGE, miette!("{error}")))?;
    let written = dir.write(&Kept::repaired(args.node.clone(), Arc::clone(&record)));
    written.map_err(|error| Stop::Usage(UNTOLD, miette!("{error}")))?;
    let node = &args.node;
    let line = format!(
        "{node} has the record of epoch {epoch} now, and may start. What it had said before is lost, so it says \
         neither yes nor closes anything until it was forgotten: `live forget {node} --wiped`"
    );
    Ok(said.line(&line).with("epoch", json!(epoch)))
}
