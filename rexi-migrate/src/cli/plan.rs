//! `rexi-migrate plan`: the steps of a migration, what each needs and its way back; or the shortest safe plan, found
//! from the old and the new behaviour alone.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::columns::{hanging, wrapped};
use crate::migration::{
    Checked, PlanStep, ProtocolChange, RuledOut, Synthesis, check, from_toml, known, steps, synthesize,
};
use crate::service::Service;
use crate::verdict::conclusion::Conclusion;
use clap::Args;
use miette::{IntoDiagnostic, Report, WrapErr, miette};
use serde_json::{Value, json};

use super::shared::{USAGE, writable, write_json};

/// Prints the steps of a migration: what each changes, what has to be true before it, and the way back.
///
/// Searches every mix of neighbouring releases first.
///
/// Exit codes: 0 safe, 1 unsafe or no safe plan, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Which migration: one that the train declares, kill-all or tagged-reply. [default: all]
    #[arg(conflicts_with = "file")]
    migration: Option<String>,
    /// A migration of your own, from a TOML file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Takes only the first and the last release, finds the shortest safe sequence between them, and shows the
    /// counterexample that rules out each shorter one.
    #[arg(long)]
    synthesize: bool,
    /// Shows each counterexample as a trace.
    #[arg(long)]
    traces: bool,
    /// Writes the result to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Plans, and gives the exit code of the worst; an error comes with the exit code that it means.
pub(crate) fn run(args: &PlanArgs, service: &Service) -> Result<ExitCode, (u8, Report)> {
    let migrations = args.migrations(service).map_err(|report| (USAGE, report))?;
    writable("--json", args.json.as_deref())?;
    let (mut worst, mut text, mut parts) = (Conclusion::Safe, String::new(), Vec::new());
    for migration in &migrations {
        let (conclusion, part) = if args.synthesize {
            synthesized(migration, args.traces, &mut text).map_err(|report| (USAGE, report))?
        } else {
            planned(migration, &mut text)
        };
        worst = worst.max(conclusion);
        parts.push(part);
    }
    print!("{text}");
    if let Some(file) = &args.json {
        write_json(file, &json!({ "format_version": 1, "verdict": worst, "migrations": parts }))?;
    }
    Ok(worst.into())
}

impl PlanArgs {
    fn migrations(&self, service: &Service) -> miette::Result<Vec<ProtocolChange>> {
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file)
                .into_diagnostic()
                .wrap_err_with(|| format!("--file: cannot read {}", file.display()))?;
            let migration = from_toml(&text).into_diagnostic().wrap_err_with(|| file.display().to_string())?;
            return Ok(vec![migration]);
        }
        let known = known(&service.train);
        let Some(name) = &self.migration else { return Ok(known) };
        let found = known.iter().find(|migration| migration.name == *name).cloned();
        let names = || known.iter().map(|migration| migration.name.as_str()).collect::<Vec<_>>().join(", ");
        Ok(vec![found.ok_or_else(|| miette!("there is no migration {name:?}: use one of {}, or --file", names()))?])
    }
}

fn planned(migration: &ProtocolChange, text: &mut String) -> (Conclusion, Value) {
    let (checked, steps) = (check(migration), steps(migration));
    let conclusion = if checked.breach.is_none() { Conclusion::Safe } else { Conclusion::Unsafe };
    tell(text, migration, &checked, &steps);
    let part = json!({
        "migration": migration.name,
        "verdict": conclusion,
        "states": checked.states,
        "steps": steps,
        "breach": breach(&checked),
    });
    (conclusion, part)
}

fn breach(checked: &Checked) -> Value {
    checked
        .breach
        .as_ref()
        .map_or(Value::Null, |(invariant, what, trace)| json!({ "invariant": invariant, "what": what, "trace": trace }))
}

fn tell(text: &mut String, migration: &ProtocolChange, checked: &Checked, steps: &[PlanStep]) {
    let mut say = |line: String| writeln!(text, "{line}").expect("a string takes all that is written to it");
    say(wrapped("", "  ", &format!("{}: {}", migration.name, migration.about)));
    for (number, step) in (1..).zip(steps) {
        say(format!("\nstep {number}: {} -> {}", step.from, step.to));
        step.changes.iter().for_each(|change| say(hanging("  changes   ", change)));
        step.needs.iter().for_each(|need| say(hanging("  needs     ", need)));
        say(hanging("  way back  ", &step.way_back));
    }
    let Checked { states, transitions, depth, .. } = checked;
    let searched = format!("every mix of three nodes: {states} states, {transitions} steps between them, {depth} deep");
    say(format!("\n{}", wrapped("", "  ", &searched)));
    for (what, times) in &checked.met {
        say(wrapped("  ", "    ", &format!("met {times} {what}")));
    }
    match &checked.breach {
        None => say("SAFE\n".to_owned()),
        Some((invariant, what, trace)) => {
            let what = wrapped("", "  ", &format!("UNSAFE, {invariant}: {what}"));
            say(format!("{what}\n{trace}"));
        }
    }
}

fn synthesized(migration: &ProtocolChange, traces: bool, text: &mut String) -> miette::Result<(Conclusion, Value)> {
    let found = synthesize(migration).into_diagnostic().wrap_err_with(|| migration.name.clone())?;
    let Synthesis { plan, candidates, pairs, states, ruled_out } = &found;
    let mut say = |line: String| writeln!(text, "{line}").expect("a string takes all that is written to it");
    say(wrapped("", "  ", &format!("{}: {}", migration.name, migration.about)));
    let searched =
        format!("{candidates} behaviours of a release between, {pairs} pairs of neighbours, {states} states searched");
    say(wrapped("", "  ", &searched) + "\n");
    for RuledOut { steps, plans, pair, invariant, what, trace } in ruled_out {
        let many =
            |count: &str, what: &str| if count == "1" { format!("1 {what}") } else { format!("{count} {what}s") };
        let (plans, steps) = (many(&plans.to_string(), "plan"), many(&steps.to_string(), "step"));
        let out = format!("ruled out: {plans} of {steps}; {} events to {invariant}: {what}", trace.events.len());
        say(wrapped("", "  ", &out));
        for release in pair {
            say(wrapped("  ", "    ", &migration.behaviour(release).to_string()));
        }
        if traces {
            say(trace.to_string());
        }
    }
    let part = json!({
        "migration": migration.name,
        "candidates": candidates,
        "pairs": pairs,
        "states": states,
        "plan": plan.as_ref().map(steps),
        "ruled_out": ruled_out.iter().map(|out| json!({
            "steps": out.steps, "plans": out.plans.to_string(), "invariant": out.invariant, "what": out.what,
            "trace": out.trace,
        })).collect::<Vec<_>>(),
    });
    let Some(plan) = plan else {
        say("NO SAFE PLAN\n".to_owned());
        return Ok((Conclusion::Unsafe, part));
    };
    let steps = steps(plan);
    say(format!("\nthe shortest safe plan has {} steps", steps.len()));
    tell(text, plan, &check(plan), &steps);
    Ok((Conclusion::Safe, part))
}
