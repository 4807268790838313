//! The command line of rexi-migrate: flags in, a run of the library, its report and exit code out.
//!
//! Exit codes of `rehearse`: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.

mod cli;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cli::{COULD_NOT_TELL, USAGE};
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use rexi_migrate::judge::judge;
use rexi_migrate::node::{self, NodeArgs};
use rexi_migrate::progress::Progress;
use rexi_migrate::rehearse::{
    NODES_MAX, NODES_MIN, Options, RATE_DEFAULT, RATE_MAX, RehearsalError, Workload, rehearse,
};
use rexi_migrate::report::Conclusion;
use rexi_migrate::train::{DEFAULT, Release, Train};
use tempfile::TempDir;

/// Shows whether a cluster may change its protocol while it runs.
#[derive(Debug, Parser)]
#[command(name = "rexi-migrate", version)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Upgrades a real cluster of processes on this machine under load, and says whether anything was lost.
    ///
    /// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
    Rehearse(RehearseArgs),
    Plan(cli::plan::PlanArgs),
    Wire(cli::wire::WireArgs),
    Check(cli::check::CheckArgs),
    Simulate(cli::simulate::SimulateArgs),
    Verify(cli::verify::VerifyArgs),
    #[cfg(feature = "mutants")]
    Mutants(cli::mutants::MutantsArgs),
    #[cfg(feature = "mutants")]
    History(cli::mutants::HistoryArgs),
    /// One node of a rehearsal. Started by `rehearse`, and spoken to over its standard input and output.
    #[command(hide = true)]
    Node(NodeArgs),
}

#[derive(Debug, Args)]
struct RehearseArgs {
    /// How many nodes, 2 to 32.
    #[arg(long, default_value_t = 5, value_parser = parse_nodes)]
    nodes: usize,
    /// Casts a second, of all nodes together, 1 to 200000; a machine that does not reach them proves nothing. [default:
    /// as many as the machine gives, up to 6000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: Option<u32>,
    /// Seed of the order of the nodes, the kills and the load. [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// The releases to go through.
    #[arg(long, default_value = DEFAULT)]
    train: Train,
    /// Share of the restarts that are a kill -9 and not a drain, 0 to 1.
    #[arg(long, default_value_t = 0.4, value_parser = parse_share)]
    kill_share: f64,
    /// What the cluster does while it is upgraded.
    #[arg(long, value_enum, default_value_t)]
    workload: Workload,
    /// How long the load runs on after each step, in milliseconds, up to 600000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=600_000))]
    dwell_ms: u64,
    /// Another executable for a release's nodes, such as 1.1=PATH. May be given for each release.
    #[arg(long = "release", value_name = "RELEASE=PATH", value_parser = parse_program)]
    releases: Vec<(Release, PathBuf)>,
    /// Writes the report to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps logs and ledgers in this new or empty directory. [default: a temporary one, kept after a failure]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Shows no progress, the report alone.
    #[arg(long)]
    quiet: bool,
    /// Breaks the protocol of every node on purpose, to show that this is noticed: names joined by commas.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAMES", value_parser = parse_mutants)]
    mutant: Option<String>,
    /// Lets the key-value store forget what it says it keeps, to show that this is noticed.
    #[cfg(feature = "mutants")]
    #[arg(long, requires = "workload")]
    kv_forgets: bool,
}

fn parse_nodes(text: &str) -> Result<usize, String> {
    let nodes = text.parse().ok().filter(|nodes| (NODES_MIN..=NODES_MAX).contains(nodes));
    nodes.ok_or_else(|| format!("use a number of nodes from {NODES_MIN} to {NODES_MAX}"))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "use a share from 0 to 1, such as 0.4".to_owned())
}

fn parse_program(text: &str) -> Result<(Release, PathBuf), String> {
    let (release, path) = text.split_once('=').ok_or("use RELEASE=PATH, such as 1.1=target/old/rexi-migrate")?;
    let release = release.parse::<Release>().map_err(|error| error.to_string())?;
    // Absolute, since the report may be read elsewhere, and so that a bare name is not looked up in PATH.
    let path = std::path::absolute(path).map_err(|error| format!("{path:?} is no path: {error}"))?;
    if path.is_file() { Ok((release, path)) } else { Err(format!("there is no file {}", path.display())) }
}

#[cfg(feature = "mutants")]
fn parse_mutants(text: &str) -> Result<String, String> {
    use rexi_server::{Mutants, proto::Mutant};

    let known = || Mutant::ALL.iter().map(|planted| planted.name).collect::<Vec<_>>().join(", ");
    Mutants::from_names(text).map_err(|name| format!("{name:?} is no mutant: use some of {}", known()))?;
    Ok(text.to_owned())
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Subcommands::Rehearse(args) => run(args),
        Subcommands::Plan(args) => cli::plan::run(&args),
        Subcommands::Wire(args) => cli::wire::run(args),
        Subcommands::Check(args) => cli::check::run(&args),
        Subcommands::Simulate(args) => cli::simulate::run(&args),
        Subcommands::Verify(args) => cli::verify::run(&args),
        #[cfg(feature = "mutants")]
        Subcommands::Mutants(args) => cli::mutants::run(&args),
        #[cfg(feature = "mutants")]
        Subcommands::History(args) => cli::mutants::history(&args),
        Subcommands::Node(args) => return node::run(args),
    };
    ended.unwrap_or_else(|(code, report)| {
        eprintln!("{report:?}");
        ExitCode::from(code)
    })
}

/// This executable under a name of the run's own, for as long as the guard lives: a build that replaces it meanwhile
/// must not put another program into the second half of the run (SAFETY.md M45).
fn pinned(program: &Path) -> std::io::Result<(TempDir, PathBuf)> {
    let dir = TempDir::with_prefix("rexi-program-")?;
    let own = dir.path().join("rexi-migrate");
    std::fs::hard_link(program, &own).or_else(|_| std::fs::copy(program, &own).map(drop))?;
    Ok((dir, own))
}

/// Runs a rehearsal to its report; an error comes with the exit code that it means.
fn run(args: RehearseArgs) -> Result<ExitCode, (u8, Report)> {
    let could_not_tell = |report| (COULD_NOT_TELL, report);
    let program = std::env::current_exe()
        .into_diagnostic()
        .wrap_err("cannot tell where this executable lies")
        .map_err(could_not_tell)?;
    let (_pin, program) =
        pinned(&program).into_diagnostic().wrap_err("cannot copy this executable").map_err(could_not_tell)?;
    let json = args.json.as_deref().map(create).transpose().map_err(|report| (USAGE, report))?;
    let progress = if args.quiet { Progress::quiet() } else { Progress::new() };
    let options = args.options(program, rand::random::<u32>().into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start the runtime")
        .map_err(could_not_tell)?;
    let ended = runtime.block_on(rehearse(&options, judge, progress));
    // A judge that was interrupted is not waited for.
    runtime.shutdown_background();
    let report = ended.map_err(|error| match error {
        RehearsalError::Directory { .. } => (USAGE, miette!("--keep: {error}")),
        error => (COULD_NOT_TELL, Report::msg(error.to_string())),
    })?;
    // Nobody may be left to read it; the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{}", report.to_text());
    if let Some(mut file) = json {
        let written = file.write_all(report.to_json().as_bytes());
        let written = written.into_diagnostic().wrap_err("cannot write the report to the file of --json");
        // A breach stays one, whatever becomes of its file.
        let code = if report.verdict == Conclusion::Unsafe { report.verdict.code() } else { COULD_NOT_TELL };
        written.map_err(|error| (code, error))?;
    }
    Ok(report.verdict.into())
}

/// Opens the file of `--json` before the run, so that a wrong path costs no two minutes.
fn create(path: &Path) -> Result<File, Report> {
    File::create(path).into_diagnostic().wrap_err_with(|| format!("--json: cannot write {}", path.display()))
}

impl RehearseArgs {
    fn options(self, program: PathBuf, random_seed: u64) -> Options {
        let seed = self.seed.unwrap_or(random_seed);
        let (command, node_args) = (self.command(seed), self.node_args());
        Options {
            nodes: self.nodes,
            rate: self.rate.unwrap_or(RATE_DEFAULT),
            rate_is_due: self.rate.is_some(),
            seed,
            train: self.train,
            kill_share: self.kill_share,
            workload: self.workload,
            dwell: Duration::from_millis(self.dwell_ms),
            program,
            programs: self.releases.into_iter().collect::<BTreeMap<_, _>>(),
            keep: self.keep,
            node_args,
            command,
        }
    }

    /// What every node is told beside what the rehearsal tells it.
    #[cfg(feature = "mutants")]
    fn node_args(&self) -> Vec<String> {
        let broken = self.mutant.iter().flat_map(|names| ["--mutant".to_owned(), names.clone()]);
        broken.chain(self.kv_forgets.then(|| "--kv-forgets".to_owned())).collect()
    }

    /// What every node is told beside what the rehearsal tells it: nothing.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the feature's twin needs it")]
    fn node_args(&self) -> Vec<String> {
        Vec::new()
    }

    /// The command line that repeats the run with this seed.
    fn command(&self, seed: u64) -> String {
        let own = std::env::args().next().unwrap_or_else(|| "rexi-migrate".to_owned());
        let mut command = format!(
            "{} rehearse --nodes {} --seed {seed} --train {} --kill-share {} --dwell-ms {}",
            quoted(&own),
            self.nodes,
            self.train,
            self.kill_share,
            self.dwell_ms
        );
        if let Some(rate) = self.rate {
            command += &format!(" --rate {rate}");
        }
        if self.workload == Workload::Kv {
            command += " --workload kv";
        }
        for (release, path) in &self.releases {
            command += &format!(" --release {}", quoted(&format!("{release}={}", path.display())));
        }
        for word in self.node_args() {
            command += &format!(" {}", quoted(&word));
        }
        command
    }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=,:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<RehearseArgs, clap::Error> {
        let words = ["rexi-migrate", "rehearse"].into_iter().chain(args.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Subcommands::Rehearse(args) => Ok(args),
            _ => unreachable!("the words say rehearse"),
        }
    }

    #[test]
    fn wrong_usage_names_the_value_and_what_is_allowed_and_exits_2() {
        for (args, value, allowed) in [
            ("--nodes 1", "'1'", "from 2 to 32"),
            ("--nodes 33", "'33'", "from 2 to 32"),
            ("--nodes many", "'many'", "from 2 to 32"),
            ("--rate 0", "0", "1..=200000"),
            ("--rate 200001", "200001", "1..=200000"),
            ("--kill-share 1.1", "'1.1'", "from 0 to 1"),
            ("--kill-share NaN", "'NaN'", "from 0 to 1"),
            ("--kill-share=-0.1", "'-0.1'", "from 0 to 1"),
            ("--train 1.0,1.3", "'1.0,1.3'", "1.0, 1.1, 1.2, 2.0"),
            ("--train=", "''", "at least one release"),
            ("--release 1.1", "'1.1'", "RELEASE=PATH"),
            ("--release 1.4=/bin/sh", "1.4", "1.0, 1.1, 1.2, 2.0"),
            ("--release 1.1=/no/such/file", "/no/such/file", "no file"),
            ("--seed -1", "-1", "--"),
        ] {
            let error = parse(args).expect_err(args);
            let text = error.to_string();
            assert_eq!(error.exit_code(), i32::from(USAGE), "{args}: {text}");
            assert!(text.contains(value) && text.contains(allowed), "{args}: {text}");
        }
    }

    #[test]
    fn bounds_are_inside_and_an_illegal_train_is_no_wrong_usage() {
        for args in ["--nodes 2", "--nodes 32", "--rate 1", "--rate 200000", "--kill-share 0", "--kill-share 1"] {
            assert!(parse(args).is_ok(), "{args}");
        }
        assert_eq!(parse("--train 1.0,1.2").expect("a train").train.to_string(), "1.0,1.2");
    }

    #[test]
    fn the_command_repeats_the_run_with_its_seed() {
        let given = parse("--nodes 3 --kill-share 0.25 --train 1.0,1.1 --workload kv --release 1.1=/bin/sh")
            .expect("arguments");
        let first = given.options("self".into(), 77);
        let words = first.command.split_once(" rehearse ").expect("a subcommand").1;
        let again = parse(words).expect("the same again").options("self".into(), 78);
        assert_eq!(format!("{first:?}"), format!("{again:?}"));
        assert_eq!(again.seed, 77);
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutants_reach_the_nodes_and_the_command_and_an_unknown_one_is_wrong_usage() {
        let options = parse("--mutant kill-follows-phase").expect("arguments").options("self".into(), 1);
        assert_eq!(options.node_args, ["--mutant", "kill-follows-phase"]);
        assert!(options.command.ends_with(" --mutant kill-follows-phase"), "{}", options.command);
        let text = parse("--mutant kill-nobody").expect_err("unknown").to_string();
        assert!(text.contains("kill-nobody") && text.contains("kill-follows-phase"), "{text}");
    }
}
