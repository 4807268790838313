//! What the checks go by besides what members tell, as flags: what is passed over, what was verified, which builds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use miette::miette;
use rexi_proto::operate::REXI;
use rexi_proto::record::Digest;
use semver::Version;
use serde_json::Value;

use super::reach::{Stop, now};
use crate::cli::shared::USAGE;
use crate::live::{Aim, Check, CheckSettings, Cluster, Found, Verified, may_be_ignored, preflight};
use crate::path::UpgradePath;
use crate::wire::Lock;

/// What checks go by, as flags.
#[derive(Clone, Debug, Args)]
pub(super) struct CheckFlags {
    /// Passes over a check, for a reason that goes into the trail. Some cannot be passed over.
    #[arg(long, value_name = "NAME=REASON")]
    ignore: Vec<String>,
    /// How long nothing may have gone to the singleton before it is taken out, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400))]
    quiet: u64,
    /// How long the release is to run before the next step, in hours: certificates must last.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(..=87_600))]
    soak: u64,
    /// The build that the release is to have: the SHA-256 of its program.
    #[arg(long, value_name = "SHA256")]
    build: Option<String>,
    /// The report of `verify`, as JSON, that says SAFE for these releases in the builds that run.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The wire lock of the lowest release's build, and that of the release to let in.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    locks: Vec<PathBuf>,
}

impl CheckFlags {
    /// Makes the checks, those that the operator passes over among them.
    pub(super) fn make(&self, cluster: &Cluster, aim: &Aim, train: &UpgradePath) -> Result<Vec<Check>, Stop> {
        let usage = |report| Stop::Usage(USAGE, report);
        let ignored = self.ignored().map_err(usage)?;
        let build = self.build.as_deref().map(|text| {
            Digest::parse(text)
                .ok_or_else(|| usage(miette!("--build {text:?} is not a SHA-256 in 64 hexadecimal digits")))
        });
        let settings = CheckSettings {
            now: now(),
            quiet: Duration::from_secs(self.quiet),
            soak: Duration::from_secs(self.soak.saturating_mul(3_600)),
            build: build.transpose()?,
            verified: match &self.report {
                Some(file) => verified(file),
                None => Err("no report was given".to_owned()),
            },
            locks: match &self.locks[..] {
                [old, new] => Some(lock(old).and_then(|old| Ok((old, lock(new)?)))),
                _ => None,
            },
            tool: Version::parse(REXI).expect("cargo takes no other version"),
        };
        let mut checks = preflight(cluster, aim, train, &settings);
        for check in &mut checks {
            if let Found::Fail | Found::Unknown = check.found {
                check.ignored = ignored.get(check.name).cloned();
            }
        }
        Ok(checks)
    }

    /// What is passed over, each with its reason.
    pub(super) fn ignored(&self) -> miette::Result<BTreeMap<String, String>> {
        let one = |text: &String| {
            let (name, reason) = text.split_once('=').unwrap_or((text, ""));
            match may_be_ignored(name) {
                _ if reason.trim().is_empty() => Err(miette!("--ignore {name}: give a reason, as in {name}=\"why\"")),
                Some(true) => Ok((name.to_owned(), reason.to_owned())),
                Some(false) => Err(miette!("--ignore {name}: nobody may pass over this check")),
                None => Err(miette!("--ignore {name:?}: there is no such check")),
            }
        };
        self.ignore.iter().map(one).collect()
    }
}

fn lock(file: &Path) -> Result<Lock, String> {
    Lock::read(file).map_err(|error| error.to_string())
}

/// What a report of `verify` says SAFE for.
fn verified(file: &Path) -> Result<Verified, String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let report: Value = serde_json::from_str(&text).map_err(|error| format!("{name} is no report: {error}"))?;
    match report["verdict"].as_str() {
        Some("safe") => {}
        Some(verdict) => return Err(format!("{name} says {verdict}, and not safe")),
        None => return Err(format!("{name} is no report of `verify`")),
    }
    let stops = report["train"].as_array().into_iter().flatten();
    let builds = report["builds"].as_object().into_iter().flatten();
    let build = |(stop, build): (&String, &Value)| Some((stop.parse().ok()?, Digest::parse(build.as_str()?)?));
    Ok(Verified {
        releases: stops.filter_map(|stop| stop["release"].as_str()?.parse().ok()).collect(),
        builds: builds.filter_map(build).collect(),
    })
}
