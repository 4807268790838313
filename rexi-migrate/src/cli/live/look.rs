//! Commands that change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use miette::{IntoDiagnostic, WrapErr, miette};
use rexi_proto::operate::{OperatorAsk, OperatorReply};
use rexi_proto::record::Digest;
use rexi_proto::{NodeName, Release};
use serde_json::{Value, json};

use super::flags::CheckFlags;
use super::reach::{Reach, Stop, now};
use super::said::{DONE, NO, Said, UNDER_WAY, UNTOLD, WOULD_CHANGE, code_of};
use crate::cli::shared::{USAGE, write_json};
use crate::clock::utc;
use crate::columns::hanging;
use crate::live::{Aim, Cluster, Standstill, check_text, joined, may_be_ignored, read, status_text};
use crate::path::UpgradePath;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    reach: Reach,
    /// Asks each member of --via for itself, and not the first for all.
    #[arg(long)]
    direct: bool,
    /// Looks again until the cluster is so, or --wait-seconds have passed.
    #[arg(long, value_enum)]
    wait: Option<Wanted>,
    /// How long to wait, 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait_seconds: u64,
}

/// What a cluster is waited to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// All answer, all have the same record, and nothing is under way.
    Settled,
    /// The same, and the way back is closed.
    Final,
}

impl Wanted {
    fn is(self, cluster: &Cluster) -> bool {
        let is_final = || cluster.record().is_some_and(|record| record.floor == record.top);
        cluster.record().is_some() && cluster.standstill().is_none() && (self == Self::Settled || is_final())
    }
}

pub(super) async fn status(args: StatusArgs) -> Result<Said, Stop> {
    let until = tokio::time::Instant::now() + Duration::from_secs(args.wait_seconds);
    let cluster = loop {
        let is_over = args.wait.is_none() || tokio::time::Instant::now() + LOOK_INTERVAL > until;
        let looked = match args.direct {
            true => args.reach.look_directly("status").await,
            false => args.reach.look("status").await,
        };
        match looked {
            Ok(cluster) if is_over || args.wait.is_some_and(|wanted| wanted.is(&cluster)) => break cluster,
            // Nobody answers at this moment.
            Err(Stop::Said(_)) if !is_over => {}
            Ok(_) => {}
            Err(stop) => return Err(stop),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    let code = match cluster.standstill() {
        Some(Standstill::UnderWay) => UNDER_WAY,
        Some(Standstill::Unreached | Standstill::Fork) => UNTOLD,
        None if args.wait.is_some_and(|wanted| !wanted.is(&cluster)) => UNTOLD,
        None => DONE,
    };
    let said = Said::new(args.reach.format, "status").code(code);
    Ok(said.text(&status_text(&cluster, now())).with_cluster(&cluster))
}

#[derive(Debug, Args)]
pub(super) struct PreflightArgs {
    #[command(flatten)]
    reach: Reach,
    /// Before `advance --to` this release.
    #[arg(long, value_name = "RELEASE", conflicts_with = "finalize")]
    to: Option<Release>,
    /// Before `finalize`.
    #[arg(long)]
    finalize: bool,
    /// Only these checks.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    #[command(flatten)]
    flags: CheckFlags,
}

pub(super) async fn preflight(args: PreflightArgs, train: &UpgradePath) -> Result<Said, Stop> {
    if let Some(unknown) = args.only.iter().find(|name| may_be_ignored(name).is_none()) {
        return Err(Stop::Usage(USAGE, miette!("--only {unknown:?}: there is no such check")));
    }
    let cluster = args.reach.look("preflight").await?;
    let aim = match (args.to, args.finalize, cluster.record()) {
        (Some(to), ..) => Aim::Advance(to),
        (None, true, Some(record)) => Aim::Finalize(record.top),
        // Whichever it is: a check says that there is no record.
        (None, true, None) => Aim::Finalize(train.release(train.last())),
        (None, false, None) => Aim::Begin,
        (None, false, Some(_)) => Aim::Raise(BTreeMap::new()),
    };
    let mut checks = args.flags.make(&cluster, &aim, train)?;
    checks.retain(|check| args.only.is_empty() || args.only.iter().any(|name| name == check.name));
    let code = code_of(&checks);
    let verdict = match code {
        DONE => "nothing stands in the way",
        NO => "NO: a check fails",
        _ => "COULD NOT TELL: a check has no answer",
    };
    let said = Said::new(args.reach.format, "preflight").code(code).text(&check_text(&checks));
    Ok(said.line(verdict).with_checks(&checks).with_cluster(&cluster))
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    reach: Reach,
    /// The release to come to. [default: the newest that this tool knows]
    #[arg(long, value_name = "RELEASE")]
    to: Option<Release>,
    /// Writes the plan to a file: `advance --plan` and `finalize --plan` refuse once the record has moved.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exits with 6 where there are steps to take, and with 0 where there are none.
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(super) async fn plan(args: PlanArgs, train: &UpgradePath) -> Result<Said, Stop> {
    let cluster = args.reach.look("plan").await?;
    let said = Said::new(args.reach.format, "plan");
    let Some(record) = cluster.record() else {
        return Ok(said.code(NO).line("there is no record yet: begin one with `live init`").with_cluster(&cluster));
    };
    let to = args.to.unwrap_or_else(|| train.release(train.last()));
    let Some(last) = train.place(to) else {
        return Err(Stop::Usage(USAGE, miette!("--to {to}: this tool's train does not have it: {train}")));
    };
    let floor = record.floor;
    let ahead = train.places().filter(|&place| train.release(place) > floor && place.index() <= last.index());
    let mut steps = Vec::new();
    for place in ahead {
        let stop = train.release(place);
        let mut step = |what: &str, command: String, needs: &str, way_back: &str| {
            steps.push(json!({ "what": what, "command": command, "needs": needs, "way_back": way_back }));
        };
        if record.top < stop {
            let needs = "every check of `live preflight --to` passes";
            let back = "none of it runs yet: nothing has changed but what may run";
            step("let the release in", format!("live advance --to {stop}"), needs, back);
        }
        let needs = "for each node: `live gate before NODE` passes, restart it, `live gate after NODE` passes";
        step(
            "restart the nodes one by one",
            format!("live gate after NODE --release {stop}"),
            needs,
            "restart it at the release before",
        );
        let needs = "all run it and are settled: `live preflight --finalize` passes";
        let back = "NONE: the release before it does not start any more";
        step("close the way back", format!("live finalize --to {stop}"), needs, back);
    }
    let plan = json!({
        "format_version": 1,
        "cluster": &*record.cluster,
        "epoch": record.epoch,
        "digest": record.digest().to_string(),
        "to": to.to_string(),
        "steps": steps,
    });
    let mut text = format!("from {floor} to {to}, at epoch {}\n", record.epoch);
    if steps.is_empty() {
        text += "there is nothing to do\n";
    }
    for (number, step) in (1..).zip(&steps) {
        let part = |key: &str| step[key].as_str().unwrap_or_default();
        text += &format!("\nstep {number}: {}\n  {}\n", part("what"), part("command"));
        text += &format!("{}\n{}\n", hanging("  needs     ", part("needs")), hanging("  way back  ", part("way_back")));
    }
    let code = if args.detailed_exitcode && !steps.is_empty() { WOULD_CHANGE } else { DONE };
    if let Some(file) = &args.out {
        write_json(file, &plan).map_err(|(code, report)| Stop::Usage(code, report))?;
    }
    Ok(said.code(code).text(&text).with("plan", plan))
}

/// Whether a plan was made on the record that there is.
pub(super) fn is_fresh(file: &Path, cluster: &Cluster) -> miette::Result<bool> {
    let name = || format!("--plan {}", file.display());
    let text = std::fs::read_to_string(file).into_diagnostic().wrap_err_with(name)?;
    let plan: Value = serde_json::from_str(&text).into_diagnostic().wrap_err_with(name)?;
    let Some(digest) = plan["digest"].as_str() else { return Err(miette!("{}: it is no plan", name())) };
    Ok(cluster.record().is_some_and(|record| record.digest().to_string() == digest))
}

#[derive(Debug, Args)]
pub(super) struct GateArgs {
    /// Before the node is stopped, or after it was started.
    #[arg(value_enum)]
    when: When,
    /// The node.
    node: NodeName,
    /// The release that it is to run.
    #[arg(long, value_name = "RELEASE")]
    release: Release,
    #[command(flatten)]
    reach: Reach,
    /// Looks again for so long until it passes, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    wait_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// May it stop now?
    Before,
    /// Is it back as it should be?
    After,
}

pub(super) async fn gate(args: GateArgs) -> Result<Said, Stop> {
    let until = tokio::time::Instant::now() + Duration::from_secs(args.wait_seconds);
    loop {
        let is_over = tokio::time::Instant::now() + LOOK_INTERVAL > until;
        let cluster = match args.reach.look("gate").await {
            Ok(cluster) => cluster,
            // Nobody answers at this moment: it may be the one that was stopped.
            Err(Stop::Said(_)) if !is_over => {
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            }
            Err(stop) => return Err(stop),
        };
        let faults = match args.when {
            When::Before => before(&cluster, &args.node, args.release),
            When::After => after(&cluster, &args.node, args.release),
        };
        if faults.is_empty() || is_over {
            let is_silent = cluster.silent().next().is_some();
            let code = if faults.is_empty() {
                DONE
            } else if is_silent {
                UNTOLD
            } else {
                NO
            };
            let said = Said::new(args.reach.format, "gate").code(code).with("faults", json!(faults));
            let said = match (faults.is_empty(), args.when) {
                (true, When::Before) => said.line(&format!("{} may stop", args.node)),
                (true, When::After) => said.line(&format!("{} is back at {}", args.node, args.release)),
                (false, _) => faults.iter().fold(said, |said, fault| said.line(&format!("NO: {fault}"))),
            };
            return Ok(said.with_cluster(&cluster));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Why a node should not be stopped now, to start at a release.
fn before(cluster: &Cluster, node: &NodeName, release: Release) -> Vec<String> {
    let mut faults = common(cluster, node);
    match cluster.record() {
        Some(record) if !record.admits(release) => {
            faults.push(format!("{release} may not run: the record lets {} to {} run", record.floor, record.top));
        }
        _ => {}
    }
    for (other, look) in cluster.answered() {
        let away = look.peers.iter().filter(|(peer, seen)| !seen.is_connected && *peer != node && other != node);
        faults.extend(away.map(|(peer, _)| format!("{other} is not connected to {peer}: one node at a time")));
        if other == node {
            faults.extend(look.holds.iter().map(|(check, why)| format!("{check}: {why}")));
        } else if look.draining {
            faults.push(format!("{other} is leaving: one node at a time"));
        } else {
            faults.extend(look.unready.iter().map(|(check, why)| format!("{other} is not ready: {check}: {why}")));
        }
    }
    faults
}

/// Why a node is not back as it should be.
fn after(cluster: &Cluster, node: &NodeName, release: Release) -> Vec<String> {
    let mut faults = common(cluster, node);
    let Some((_, look)) = cluster.answered().find(|(of, _)| *of == node) else { return faults };
    if look.draining {
        faults.push(format!("{node} is leaving"));
    }
    if !release.is_patched_by(look.life.release) {
        faults.push(format!("{node} runs {}", look.version));
    }
    for (other, seen) in cluster.answered() {
        let down = |from: &NodeName, to: &NodeName| format!("{from} is not connected to {to}");
        if other != node && seen.peers.get(node).is_none_or(|peer| !peer.is_connected) {
            faults.push(down(other, node));
        }
    }
    let away = look.peers.iter().filter(|(_, peer)| !peer.is_connected);
    faults.extend(away.map(|(peer, _)| format!("{node} is not connected to {peer}")));
    faults.extend(look.unready.iter().map(|(check, why)| format!("{node} is not ready: {check}: {why}")));
    faults
}

fn common(cluster: &Cluster, node: &NodeName) -> Vec<String> {
    let mut faults: Vec<String> =
        cluster.silent().map(|(node, why)| format!("{node} does not answer: {why}")).collect();
    if let Some(open) = cluster.transition() {
        faults.push(format!("{} asked to {}, which is under way", open.by, open.what));
    }
    if !cluster.asked().any(|asked| asked == node) {
        faults.push(format!("nobody knows {node}"));
    }
    faults
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    reach: Reach,
    /// Whether each member's lines hang together.
    #[arg(long)]
    verify: bool,
    /// Only what was asked since then, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    since: Option<u64>,
}

pub(super) async fn history(args: HistoryArgs) -> Result<Said, Stop> {
    let since = args.since.unwrap_or(0);
    let reply = args.reach.ask("history", &OperatorAsk::Trail { all: true, since }).await?;
    let OperatorReply::Trails(trails) = reply else { return Err(args.reach.strange("history", &reply)) };
    let (mut lines, mut broken, mut silent, mut cut) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for (node, trail) in trails {
        match trail.as_deref().map(read) {
            Ok(Ok(read)) => {
                let goes_on = read.first().is_some_and(|line| line.previous != Digest::default().to_string());
                if since == 0 && goes_on {
                    cut.insert(node.to_string());
                }
                lines.push((node, read));
            }
            Ok(Err(error)) => drop(broken.insert(node.to_string(), error.to_string())),
            Err(why) => drop(silent.insert(node.to_string(), why.clone())),
        }
    }
    let all = joined(lines);
    let shown = || all.iter().filter(|(_, line)| line.at >= since);
    let mut said = Said::new(args.reach.format, "history");
    for (node, line) in shown() {
        let at = utc(UNIX_EPOCH + Duration::from_secs(line.at));
        let ignored = line.ignored.iter().map(|(name, why)| format!("; passed over {name}: {why}")).collect::<String>();
        let outcome = line.outcome.as_ref().map(|outcome| format!(": {outcome}")).unwrap_or_default();
        said = said.line(&format!("{at} {node} {} ({}): {}{ignored}{outcome}", line.by, line.verb, line.told));
    }
    for node in &cut {
        said = said.line(&format!("{node} has earlier lines: in the files `trail-N` of its directory of state"));
    }
    for (node, why) in &silent {
        said = said.line(&format!("{node} gave no trail: {why}"));
    }
    for (node, why) in &broken {
        said = said.line(&format!("BROKEN: the trail of {node}: {why}"));
    }
    if args.verify && broken.is_empty() {
        said = said.line(&format!("every line of {} trails follows the one before it", all_nodes(&all)));
    }
    let code = if !broken.is_empty() {
        NO
    } else if silent.is_empty() {
        DONE
    } else {
        UNTOLD
    };
    let line = |(node, line): &(NodeName, _)| json!({ "node": node.to_string(), "line": line });
    let lines: Vec<Value> = shown().map(line).collect();
    let said = said.with("cut", json!(cut));
    Ok(said.code(code).with("lines", json!(lines)).with("silent", json!(silent)).with("broken", json!(broken)))
}

fn all_nodes<T>(lines: &[(NodeName, T)]) -> usize {
    lines.iter().map(|(node, _)| node).collect::<BTreeSet<_>>().len()
}

/// How often a cluster that is waited for is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
