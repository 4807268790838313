//! `rexi-migrate verify`: every level, every plan and every broken variant within a budget of time; one page, one file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::columns::wrapped;
use crate::page;
use crate::service::{Service, quoted};
use crate::verify::{BUDGET, Options, Verification, verify};
use clap::Args;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use rexi_proto::Release;
use rexi_server::rollout::build_of;

use super::rehearse::parse_program;
use super::shared::{COULD_NOT_TELL, USAGE, pinned, writable};

/// Runs all levels of the verification within a budget of time, and writes one page of it.
///
/// Runs the plans of the known migrations as well and, in a build that has them, the variants that are broken on
/// purpose. The page is self-contained; the same goes into a JSON file.
///
/// Exit codes: 0 safe, 1 unsafe, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Seconds for all of it, 1 to 86400. Each part has its share. What does not fit is cut short and is a doubt.
    #[arg(long, value_name = "SECONDS", default_value_t = BUDGET.as_secs())]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    budget_seconds: u64,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    html: PathBuf,
    /// Where the same goes as JSON.
    #[arg(long, value_name = "FILE", default_value = "report.json")]
    json: PathBuf,
    /// Seed of everything that is random. [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Starts no processes. That leaves L3 out, which is a doubt.
    #[arg(long)]
    no_rehearsal: bool,
    /// The program of a release's nodes in the rehearsal, again for each. [default: this one]
    #[arg(long = "release", value_name = "RELEASE=PATH", value_parser = parse_program)]
    #[arg(conflicts_with = "no_rehearsal")]
    releases: Vec<(Release, PathBuf)>,
    /// Shows only the summary, no progress.
    #[arg(long)]
    quiet: bool,
}

/// Verifies, and gives the exit code of the verdict; an error comes with the exit code that it means.
pub(crate) fn run(args: &VerifyArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    // Before the run, so that a wrong path costs no ten minutes.
    for (flag, file) in [("--html", &args.html), ("--json", &args.json)] {
        writable(flag, Some(file))?;
    }
    if same(&args.html, &args.json) {
        return Err((USAGE, miette!("--html and --json name the same file, {}", args.html.display())));
    }
    let own = std::env::current_exe()
        .into_diagnostic()
        .wrap_err("cannot find this executable")
        .map_err(|report| (COULD_NOT_TELL, report))?;
    let (_pin, program) = pinned(&own)
        .into_diagnostic()
        .wrap_err("cannot copy this executable")
        .map_err(|report| (COULD_NOT_TELL, report))?;
    let options = args.options(service, program, rand::random::<u32>().into())?;
    let verification = verify(&options);
    // Nobody may be left to read it; the exit code still tells.
    let _ = write!(std::io::stdout(), "{}", verification.to_text());
    // A breach stays one, whatever becomes of its files.
    let code = verification.verdict.code();
    let code = if code == 0 { COULD_NOT_TELL } else { code };
    args.write(&verification).map_err(|report| (code, report))?;
    let files = format!("{} and {}", args.html.display(), args.json.display());
    let _ = writeln!(std::io::stdout(), "{}", wrapped("", "  ", &files));
    Ok(verification.verdict.into())
}

fn same(one: &Path, other: &Path) -> bool {
    let found = |path: &Path| path.canonicalize().ok();
    found(one).is_some() && found(one) == found(other)
}

impl VerifyArgs {
    fn options(&self, service: &Service, program: PathBuf, random_seed: u64) -> Result<Options, (u8, Report)> {
        let seed = self.seed.unwrap_or(random_seed);
        let programs: BTreeMap<_, _> = self.releases.iter().cloned().collect();
        if let Some(unknown) = programs.keys().find(|&&release| service.train.place(release).is_none()) {
            return Err((USAGE, miette!("--release {unknown}: the train does not have it: {}", service.train)));
        }
        let build = |program: &PathBuf| {
            let read = build_of(program).into_diagnostic();
            let read = read.wrap_err_with(|| format!("cannot read {}", program.display()));
            read.map(|build| build.to_string()).map_err(|report| (COULD_NOT_TELL, report))
        };
        let mut builds = BTreeMap::new();
        if !self.no_rehearsal {
            let own = build(&program)?;
            for release in service.train.releases() {
                builds.insert(release, programs.get(&release).map_or_else(|| Ok(own.clone()), build)?);
            }
        }
        Ok(Options {
            service: service.clone(),
            budget: Duration::from_secs(self.budget_seconds),
            seed,
            builds,
            program: (!self.no_rehearsal).then_some(program),
            programs,
            quiet: self.quiet,
            command: self.command(service, seed),
        })
    }

    /// The command line that does it again.
    fn command(&self, service: &Service, seed: u64) -> String {
        let mut command = format!("{} verify --budget-seconds {} --seed {seed}", service.called(), self.budget_seconds);
        if self.no_rehearsal {
            command += " --no-rehearsal";
        }
        for (release, program) in &self.releases {
            command += &format!(" --release {}", quoted(&format!("{release}={}", program.display())));
        }
        for (flag, file, default) in [("html", &self.html, "report.html"), ("json", &self.json, "report.json")] {
            if file != Path::new(default) {
                command += &format!(" --{flag} {}", quoted(&file.display().to_string()));
            }
        }
        command
    }

    fn write(&self, verification: &Verification) -> Result<(), Report> {
        let write = |flag: &str, file: &Path, text: String| {
            std::fs::write(file, text)
                .into_diagnostic()
                .wrap_err_with(|| format!("{flag}: cannot write {}", file.display()))
        };
        write("--json", &self.json, verification.to_json())?;
        let page = page::render(verification).into_diagnostic().wrap_err("cannot make the page")?;
        write("--html", &self.html, page)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        args: VerifyArgs,
    }

    fn parse(words: &str) -> Result<VerifyArgs, clap::Error> {
        let words = ["verify"].into_iter().chain(words.split_whitespace());
        Words::try_parse_from(words).map(|words| words.args)
    }

    #[test]
    fn wrong_usage_names_what_is_allowed_and_exits_2() {
        for (words, allowed) in [
            ("--budget-seconds 0", "1..=86400"),
            ("--budget-seconds 86401", "1..=86400"),
            ("--seed many", "--seed"),
            ("--budget 10", "--budget-seconds"),
            ("--release 1.1=/no/such/file", "there is no file"),
            ("--no-rehearsal --release 1.1=/dev/null", "there is no file"),
        ] {
            let error = parse(words).expect_err(words);
            assert_eq!(error.exit_code(), i32::from(USAGE), "{words}");
            assert!(error.to_string().contains(allowed), "{words}: {error}");
        }
        for words in ["--budget-seconds 1", "--budget-seconds 86400"] {
            assert!(parse(words).is_ok(), "{words}");
        }
    }

    #[test]
    fn the_command_does_the_same_again() {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let other = format!("--seed 9 --release 1.1={}", concat!(env!("CARGO_MANIFEST_DIR"), "/wire.lock.json"));
        for words in ["", "--budget-seconds 30 --no-rehearsal --html a.html --json b.json", &other] {
            let service = Service::new(crate::demo::path());
            let options = |args: VerifyArgs, seed| args.options(&service, program.into(), seed).expect(words);
            let first = options(parse(words).expect(words), 77);
            let again = first.command.split_once(" verify").expect("the command").1;
            let again = options(parse(again).expect(again), 78);
            assert_eq!(format!("{again:?}"), format!("{first:?}"), "{words}");
            let distinct: BTreeSet<_> = first.builds.values().collect();
            let builds = if words == other { 2 } else { usize::from(words.is_empty()) };
            assert_eq!(distinct.len(), builds, "{words}: one of each program that is run");
        }
    }
}
