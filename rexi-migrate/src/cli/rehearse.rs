//! `rehearse`: flags in, a run over real processes, its report and exit code out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::history::judge::judge;
use crate::path::UpgradePath;
use crate::rehearse::soak::{MINUTES_MAX, Soak};
use crate::rehearse::{NODES_MAX, NODES_MIN, Options, RATE_DEFAULT, RATE_MAX, RehearsalError, rehearse};
use crate::service::{Service, quoted};
use crate::verdict::conclusion::Conclusion;
use clap::Args;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use rexi_proto::Release;

use super::shared::{COULD_NOT_TELL, USAGE, path, pinned};

/// The flags of `rehearse`.
#[derive(Debug, Args)]
pub(crate) struct RehearseArgs {
    /// How many nodes, 2 to 32.
    #[arg(long, default_value_t = 5, value_parser = parse_nodes)]
    nodes: u8,
    /// Casts per second, of all nodes together, 1 to 200000. A run that falls short of them proves nothing. [default:
    /// as many as the machine allows, up to 6000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: Option<u32>,
    /// Seed of the order of the nodes, the kills and the load. [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// The releases to go through. [default: all]
    #[arg(long, value_name = "RELEASES")]
    train: Option<String>,
    /// Share of the restarts that are a kill -9 instead of a drain, 0 to 1.
    #[arg(long, default_value_t = 0.4, value_parser = parse_share)]
    kill_share: f64,
    /// How long the load runs on after each step, in milliseconds, up to 600000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=600_000))]
    dwell_ms: u64,
    /// Soaks the cluster after the last step: the load runs on for so many minutes, 1 to 1440, while nodes are killed,
    /// frozen, cut off and slowed down, one after the other.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MINUTES_MAX)))]
    minutes: Option<u32>,
    /// Whether the nodes keep the record of their cluster, and two operators take it from release to release by the
    /// commands of `live` alone, while tools and members are killed in the middle of one, and disks are wiped and
    /// damaged. [default: true; false with --minutes, or where a release is not the next after the one before]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    operate: Option<bool>,
    /// Another executable for a release's nodes, such as 1.1=PATH. May be given once per release.
    #[arg(long = "release", value_name = "RELEASE=PATH", value_parser = parse_program)]
    releases: Vec<(Release, PathBuf)>,
    /// Writes the report to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keeps logs and ledgers in this new or empty directory. [default: a temporary one, kept after a failure]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Shows only the report, no progress.
    #[arg(long)]
    quiet: bool,
    /// Breaks the protocol of every node on purpose, to show that it is noticed: names, separated by commas.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAMES", value_parser = super::shared::parse_mutants)]
    mutant: Option<String>,
}

fn parse_nodes(text: &str) -> Result<u8, String> {
    let nodes = text.parse().ok().filter(|nodes| (NODES_MIN..=NODES_MAX).contains(nodes));
    nodes.ok_or_else(|| format!("use a number of nodes from {NODES_MIN} to {NODES_MAX}"))
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "use a share from 0 to 1, such as 0.4".to_owned())
}

pub(super) fn parse_program(text: &str) -> Result<(Release, PathBuf), String> {
    let (release, path) = text.split_once('=').ok_or("use RELEASE=PATH, such as 1.1=target/old/node")?;
    let release = release.parse().map_err(|_| format!("{release:?} is not a release, such as 1.1"))?;
    // Absolute, since the report may be read elsewhere, and so that a bare name is not looked up in PATH.
    let path = std::path::absolute(path).map_err(|error| format!("{path:?} is not a path: {error}"))?;
    if path.is_file() { Ok((release, path)) } else { Err(format!("there is no file {}", path.display())) }
}

/// Runs a rehearsal to its report; an error comes with the exit code that it means.
pub(super) fn run(args: RehearseArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    let could_not_tell = |report| (COULD_NOT_TELL, report);
    let program =
        std::env::current_exe().into_diagnostic().wrap_err("cannot find this executable").map_err(could_not_tell)?;
    let (_pin, program) =
        pinned(&program).into_diagnostic().wrap_err("cannot copy this executable").map_err(could_not_tell)?;
    let json = args.json.as_deref().map(create).transpose().map_err(|report| (USAGE, report))?;
    let options = args.options(service, program, rand::random::<u32>().into())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("cannot start the runtime")
        .map_err(could_not_tell)?;
    let ended = runtime.block_on(rehearse(&options, service.workload.as_deref(), judge));
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
    fn options(self, service: &Service, program: PathBuf, random_seed: u64) -> Result<Options, (u8, Report)> {
        let train = path(self.train.as_deref(), service)?;
        for (release, _) in &self.releases {
            let found = service.train.find(&release.to_string());
            found.map_err(|error| (USAGE, miette!("--release {release}: {error}")))?;
        }
        let can_operate = match (self.minutes, train.goes_forward()) {
            (Some(_), _) => Err("not with --minutes: a soak has no operators"),
            (None, false) => Err("each release of --train has to be the next after the one before"),
            (None, true) => Ok(()),
        };
        let operate = match (self.operate, can_operate) {
            (Some(true), Err(why)) => return Err((USAGE, miette!("--operate: {why}"))),
            (asked, can) => asked.unwrap_or(can.is_ok()),
        };
        let seed = self.seed.unwrap_or(random_seed);
        let node_args = self.node_args();
        let command = self.command(service, &train, seed);
        let rate = self.rate.unwrap_or(RATE_DEFAULT);
        Ok(Options {
            nodes: self.nodes,
            rate,
            rate_is_due: self.rate.is_some(),
            seed,
            train,
            kill_share: self.kill_share,
            dwell: Duration::from_millis(self.dwell_ms),
            program,
            programs: self.releases.into_iter().collect::<BTreeMap<_, _>>(),
            keep: self.keep,
            under: service.under.clone(),
            node_args,
            operate,
            soak: self.minutes.map(|minutes| Soak::minutes(minutes, rate)),
            quiet: self.quiet,
            command,
        })
    }

    /// What every node is told beside what the rehearsal tells it.
    #[cfg(feature = "mutants")]
    fn node_args(&self) -> Vec<String> {
        self.mutant.iter().flat_map(|names| ["--mutant".to_owned(), names.clone()]).collect()
    }

    /// What every node is told beside what the rehearsal tells it: nothing.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the feature's twin needs it")]
    fn node_args(&self) -> Vec<String> {
        Vec::new()
    }

    /// The command line that repeats the run with this seed.
    fn command(&self, service: &Service, train: &UpgradePath, seed: u64) -> String {
        let mut command = format!(
            "{} rehearse --nodes {} --seed {seed} --train {train} --kill-share {} --dwell-ms {}",
            service.called(),
            self.nodes,
            self.kill_share,
            self.dwell_ms
        );
        if let Some(rate) = self.rate {
            command += &format!(" --rate {rate}");
        }
        if let Some(minutes) = self.minutes {
            command += &format!(" --minutes {minutes}");
        }
        if let Some(operate) = self.operate {
            command += &format!(" --operate={operate}");
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Subcommands};

    fn parse(args: &str) -> Result<RehearseArgs, clap::Error> {
        let words = ["rexi-migrate", "rehearse"].into_iter().chain(args.split_whitespace());
        match Cli::try_parse_from(words)?.args.command {
            Subcommands::Rehearse(args) => Ok(args),
            _ => unreachable!("the words say rehearse"),
        }
    }

    fn demo() -> Service {
        Service::new(crate::demo::path())
    }

    fn options(args: &str, random_seed: u64) -> Options {
        parse(args).expect(args).options(&demo(), "self".into(), random_seed).expect(args)
    }

    #[test]
    fn wrong_usage_names_the_value_and_what_is_allowed_and_exits_2() {
        for (args, value, allowed) in [
            ("--nodes 1", "'1'", "from 2 to 32"),
            ("--nodes 33", "'33'", "from 2 to 32"),
            ("--nodes many", "'many'", "from 2 to 32"),
            ("--rate 0", "0", "1..=200000"),
            ("--minutes 0", "0", "1..=1440"),
            ("--minutes 1441", "1441", "1..=1440"),
            ("--rate 200001", "200001", "1..=200000"),
            ("--kill-share 1.1", "'1.1'", "from 0 to 1"),
            ("--kill-share NaN", "'NaN'", "from 0 to 1"),
            ("--kill-share=-0.1", "'-0.1'", "from 0 to 1"),
            ("--release 1.1", "'1.1'", "RELEASE=PATH"),
            ("--release one=/bin/sh", "one", "is not a release"),
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
    fn what_the_train_does_not_hold_is_wrong_usage_and_the_train_is_told() {
        for (args, value, allowed) in [
            ("--train 1.0,1.3", "1.3", "1.0, 1.1, 1.2, 2.0"),
            ("--train=", "--train", "at least one release"),
            ("--release 1.4=/bin/sh", "1.4", "1.0, 1.1, 1.2, 2.0"),
            ("--operate --minutes 1", "--operate", "--minutes"),
            ("--operate --train 1.0,1.2", "--operate", "the next"),
        ] {
            let (code, report) = parse(args).expect(args).options(&demo(), "self".into(), 7).expect_err(args);
            let text = report.to_string();
            assert!(code == USAGE && text.contains(value) && text.contains(allowed), "{args}: {text}");
        }
    }

    #[test]
    fn bounds_are_inside_and_an_illegal_train_is_no_wrong_usage() {
        for args in ["--nodes 2", "--nodes 32", "--rate 1", "--rate 200000", "--kill-share 0", "--kill-share 1"] {
            assert!(parse(args).is_ok(), "{args}");
        }
        assert_eq!(options("--train 1.0,1.2", 7).train.to_string(), "1.0,1.2");
    }

    #[test]
    fn a_run_has_operators_unless_it_is_a_soak_or_they_are_left_out() {
        for args in ["", "--operate", "--train 1.1,1.2", "--train 2.0"] {
            assert!(options(args, 7).operate, "{args}");
        }
        for args in ["--operate=false", "--minutes 1", "--train 1.0,1.2", "--train 1.2,1.1"] {
            assert!(!options(args, 7).operate, "{args}");
        }
    }

    #[test]
    fn the_command_repeats_the_run_with_its_seed() {
        let first = options("--nodes 3 --kill-share 0.25 --train 1.0,1.1 --operate=false --release 1.1=/bin/sh", 77);
        let words = first.command.split_once(" rehearse ").expect("a subcommand").1;
        let again = options(words, 78);
        assert_eq!(format!("{first:?}"), format!("{again:?}"));
        assert_eq!(again.seed, 77);
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn mutants_reach_the_nodes_and_the_command_and_an_unknown_one_is_wrong_usage() {
        let options = options("--mutant kill-follows-phase", 1);
        assert_eq!(options.node_args, ["--mutant", "kill-follows-phase"]);
        assert!(options.command.ends_with(" --mutant kill-follows-phase"), "{}", options.command);
        let text = parse("--mutant kill-nobody").expect_err("unknown").to_string();
        assert!(text.contains("kill-nobody") && text.contains("kill-follows-phase"), "{text}");
    }
}
