//! Commands that change what is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use miette::{Report, miette};
use rexi_proto::operate::{OperatorAsk, OperatorReply};
use rexi_proto::record::{ClusterChange, Loss, OperatorCommand};
use rexi_proto::{MigrationKey, NodeName, Phase, Release};

use super::flags::CheckFlags;
use super::look::is_fresh;
use super::reach::{Reach, Stop};
use super::said::{DONE, Said, THEIRS, code_of};
use crate::cli::shared::USAGE;
use crate::live::{Aim, Cluster, check_text};
use crate::path::UpgradePath;

/// A command without flags of its own.
#[derive(Debug, Args)]
pub(super) struct PlainArgs {
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    flags: CheckFlags,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["to", "phase"]))]
pub(super) struct AdvanceArgs {
    #[command(flatten)]
    reach: Reach,
    /// The release to let in: the one after the floor.
    #[arg(long, value_name = "RELEASE")]
    to: Option<Release>,
    /// The phase that migrations may go to.
    #[arg(long, value_name = "PHASE")]
    phase: Option<Phase>,
    /// Of this migration alone. [default: the only one]
    #[arg(long, value_name = "KEY", requires = "phase")]
    migration: Option<String>,
    /// Refuses where the record has moved since this plan was made.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    flags: CheckFlags,
}

#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    #[command(flatten)]
    reach: Reach,
    /// This migration alone. [default: all]
    #[arg(long, value_name = "KEY")]
    migration: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LowerArgs {
    #[command(flatten)]
    reach: Reach,
    /// The phase.
    #[arg(long, value_name = "PHASE")]
    to: Phase,
    /// This migration alone. [default: the only one]
    #[arg(long, value_name = "KEY")]
    migration: Option<String>,
    /// Puts a brake on at every member that is reached, where some are not.
    #[arg(long)]
    reachable: bool,
}

#[derive(Debug, Args)]
pub(super) struct FinalizeArgs {
    #[command(flatten)]
    reach: Reach,
    /// The release that becomes the lowest. [default: the highest that may run]
    #[arg(long, value_name = "RELEASE")]
    to: Option<Release>,
    /// That it is meant: the cluster's name and the release. Asked for on a terminal.
    #[arg(long, value_name = "CLUSTER:RELEASE")]
    confirm: Option<String>,
    /// Refuses where the record has moved since this plan was made.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    flags: CheckFlags,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("loss").required(true).args(["destroyed", "wiped"]))]
pub(super) struct ForgetArgs {
    /// The members.
    #[arg(required = true)]
    nodes: Vec<NodeName>,
    /// Their machines are no more.
    #[arg(long)]
    destroyed: bool,
    /// Their disks are empty.
    #[arg(long)]
    wiped: bool,
    /// That it is meant: the cluster's name and the first member. Asked for on a terminal.
    #[arg(long, value_name = "CLUSTER:NODE")]
    confirm: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn init(args: InitArgs, train: &UpgradePath) -> Result<Said, Stop> {
    let cluster = args.reach.look("init").await?;
    let stops = cluster.stops();
    let (Some(&floor), Some(&top)) = (stops.first(), stops.last()) else {
        return Ok(Said::new(args.reach.format, "init").code(super::said::UNTOLD).line("nobody answered"));
    };
    let change = ClusterChange::Begin { floor, top };
    checked("init", &args.reach, &args.flags, &cluster, &Aim::Begin, train, change).await
}

pub(super) async fn advance(args: AdvanceArgs, train: &UpgradePath) -> Result<Said, Stop> {
    let cluster = args.reach.look("advance").await?;
    planned("advance", &args.reach, args.plan.as_ref(), &cluster)?;
    let (aim, change) = match (args.to, args.phase) {
        (Some(to), _) => (Aim::Advance(to), ClusterChange::Open { top: to }),
        (None, Some(phase)) => {
            let key = migration(&cluster, args.migration.as_deref()).map_err(usage)?;
            let mut ceilings = cluster.record().map(|record| record.ceilings.clone()).unwrap_or_default();
            let highest = cluster.phases().get(&key).map(|(_, highest)| *highest);
            // As far as any release goes: that is no ceiling.
            let aim = Aim::Raise(BTreeMap::from([(key.clone(), phase)]));
            match highest.is_some_and(|highest| phase >= highest) {
                true => drop(ceilings.remove(&key)),
                false => drop(ceilings.insert(key, phase)),
            }
            (aim, ClusterChange::Cap(ceilings))
        }
        (None, None) => return Err(usage(miette!("give --to or --phase"))),
    };
    checked("advance", &args.reach, &args.flags, &cluster, &aim, train, change).await
}

pub(super) async fn hold(args: HoldArgs) -> Result<Said, Stop> {
    let cluster = args.reach.look("hold").await?;
    let only = args.migration.as_deref().map(|key| migration(&cluster, Some(key))).transpose().map_err(usage)?;
    let lowest = cluster.phases().into_iter().map(|(key, (lowest, _))| (key, lowest));
    let ceilings = lowest.filter(|(key, _)| only.as_ref().is_none_or(|only| only == key)).collect();
    brake("hold", &args.reach, ceilings).await
}

pub(super) async fn lower(args: LowerArgs) -> Result<Said, Stop> {
    let cluster = args.reach.look("lower").await?;
    let key = migration(&cluster, args.migration.as_deref()).map_err(usage)?;
    if args.reachable {
        return brake("lower", &args.reach, [(key, args.to)].into()).await;
    }
    let mut ceilings = cluster.record().map(|record| record.ceilings.clone()).unwrap_or_default();
    ceilings.insert(key.clone(), args.to);
    let change = OperatorCommand::Make(ClusterChange::Cap(ceilings));
    let said = carry_on("lower", &args.reach, change, BTreeMap::new(), &cluster).await?;
    let after = args.reach.look("lower").await?;
    let is_above = |phase: &&rexi_proto::operate::PhaseLook| phase.migration == key && phase.phase > args.to;
    let above = after.answered().filter(|(_, look)| look.phases.iter().any(|phase| is_above(&phase)));
    let above: Vec<&str> = above.map(|(node, _)| node.as_str()).collect();
    match above.is_empty() || said.is_under_way() {
        true => Ok(said),
        false => {
            let why = format!("{} cannot go so low: a member has removed what it would say", above.join(" "));
            Ok(said.code(super::said::NO).line(&why).with("problem", why.into()))
        }
    }
}

pub(super) async fn lift(args: PlainArgs) -> Result<Said, Stop> {
    let cluster = args.reach.look("lift").await?;
    let last = cluster.brakes().into_iter().map(|(node, brake)| (node, brake.number)).collect();
    let change = OperatorCommand::Make(ClusterChange::Lift(last));
    carry("lift", &args.reach, change).await
}

pub(super) async fn finalize(args: FinalizeArgs, train: &UpgradePath) -> Result<Said, Stop> {
    let cluster = args.reach.look("finalize").await?;
    planned("finalize", &args.reach, args.plan.as_ref(), &cluster)?;
    let Some(record) = cluster.record() else {
        let said = Said::new(args.reach.format, "finalize").code(super::said::NO);
        return Ok(said.line("there is no record yet: begin one with `live init`"));
    };
    let to = args.to.unwrap_or(record.top);
    let meant = format!("{}:{to}", record.cluster);
    let warning =
        format!("no release below {to} will start again in cluster {}, and there is no way back", record.cluster);
    if record.floor != to {
        confirmed(args.confirm.as_deref(), &meant, &warning).map_err(usage)?;
    }
    let change = ClusterChange::Finalize { floor: to };
    checked("finalize", &args.reach, &args.flags, &cluster, &Aim::Finalize(to), train, change).await
}

pub(super) async fn resume(args: PlainArgs) -> Result<Said, Stop> {
    carry("resume", &args.reach, OperatorCommand::Resume).await
}

pub(super) async fn abort(args: PlainArgs) -> Result<Said, Stop> {
    carry("abort", &args.reach, OperatorCommand::Abort).await
}

pub(super) async fn forget(args: ForgetArgs) -> Result<Said, Stop> {
    let cluster = args.reach.look("forget").await?;
    let nodes: BTreeSet<NodeName> = args.nodes.iter().cloned().collect();
    let loss = if args.destroyed { Loss::Destroyed } else { Loss::Wiped };
    let name = cluster.name().unwrap_or_default();
    let shown = nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
    let warning = format!("what {shown} has on its disk is void from then on: it comes back with an empty one alone");
    let meant = format!("{name}:{}", args.nodes[0]);
    confirmed(args.confirm.as_deref(), &meant, &warning).map_err(usage)?;
    let command = OperatorCommand::Make(ClusterChange::Forget { nodes, loss });
    carry("forget", &args.reach, command).await
}

/// Makes the checks, and the change where they let it. What is made already is not checked again.
async fn checked(
    command: &str,
    reach: &Reach,
    flags: &CheckFlags,
    cluster: &Cluster,
    aim: &Aim,
    train: &UpgradePath,
    change: ClusterChange,
) -> Result<Said, Stop> {
    let ignored = flags.ignored().map_err(usage)?;
    if !change.is_made(cluster.record()) {
        let checks = flags.make(cluster, aim, train)?;
        let code = code_of(&checks);
        if code != DONE {
            let said = Said::new(reach.format, command).code(code).text(&check_text(&checks));
            let said = said.line("nothing was changed: see the checks above");
            return Ok(said.with_checks(&checks).with_cluster(cluster));
        }
    }
    carry_on(command, reach, OperatorCommand::Make(change), ignored, cluster).await
}

/// Has a member carry a command, unless the record has moved since it was looked at.
async fn carry_on(
    name: &str,
    reach: &Reach,
    command: OperatorCommand,
    ignored: BTreeMap<String, String>,
    cluster: &Cluster,
) -> Result<Said, Stop> {
    let looked_at = cluster.record().map(|record| record.digest());
    ask_for(name, reach, OperatorAsk::Command { command, looked_at, ignored }).await
}

/// Puts a brake on wherever it can be.
async fn brake(name: &str, reach: &Reach, ceilings: BTreeMap<MigrationKey, Phase>) -> Result<Said, Stop> {
    let said = carry(name, reach, OperatorCommand::Brake(ceilings)).await?;
    let later = "a member that was not reached hears of it once it is connected again: no `live resume` is needed";
    Ok(if said.is_under_way() { said.line(later) } else { said })
}

/// Has a member carry a command.
async fn carry(name: &str, reach: &Reach, command: OperatorCommand) -> Result<Said, Stop> {
    ask_for(name, reach, OperatorAsk::Command { command, looked_at: None, ignored: BTreeMap::new() }).await
}

async fn ask_for(name: &str, reach: &Reach, ask: OperatorAsk) -> Result<Said, Stop> {
    let said = Said::new(reach.format, name).with("asked", ask.told().into());
    match reach.ask(name, &ask).await? {
        OperatorReply::Outcome(outcome) => Ok(said.with_outcome(&outcome)),
        other => Err(reach.strange(name, &other)),
    }
}

/// A plan that was made on another record is somebody else's by now.
fn planned(command: &str, reach: &Reach, plan: Option<&PathBuf>, cluster: &Cluster) -> Result<(), Stop> {
    let Some(file) = plan else { return Ok(()) };
    if is_fresh(file, cluster).map_err(usage)? {
        return Ok(());
    }
    let why = "the record has moved since the plan was made: make another with `live plan`";
    Err(Stop::Said(Box::new(Said::new(reach.format, command).code(THEIRS).line(why).with("problem", why.into()))))
}

/// The migration that is meant.
fn migration(cluster: &Cluster, key: Option<&str>) -> miette::Result<MigrationKey> {
    let phases = cluster.phases();
    let known = || phases.keys().map(MigrationKey::to_string).collect::<Vec<_>>().join(", ");
    match key {
        Some(key) => {
            let found = phases.keys().find(|known| known.as_str() == key).cloned();
            found.ok_or_else(|| miette!("--migration {key:?}: there is none of that name among {}", known()))
        }
        None if phases.len() == 1 => Ok(phases.into_keys().next().expect("there is one")),
        None => Err(miette!("say which --migration: {}", known())),
    }
}

/// Whether it is meant: said by the flag, or on a terminal.
fn confirmed(given: Option<&str>, meant: &str, warning: &str) -> miette::Result<()> {
    let said = match given {
        Some(said) => said.to_owned(),
        None if std::io::stdin().is_terminal() => {
            eprint!("{warning}.\nIf that is meant, type {meant}: ");
            let _ = std::io::stderr().flush();
            let mut line = String::new();
            let _ = std::io::stdin().read_line(&mut line);
            line.trim().to_owned()
        }
        None => return Err(miette!("{warning}. If that is meant, say --confirm {meant}")),
    };
    if said == meant { Ok(()) } else { Err(miette!("{said:?} is not {meant}: nothing was sent")) }
}

fn usage(report: Report) -> Stop {
    Stop::Usage(USAGE, report)
}
