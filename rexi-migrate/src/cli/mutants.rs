//! `rexi-migrate mutants` and `rexi-migrate history`: the protocol broken on purpose, and who notices.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use crate::columns::{each_line, wrapped};
use crate::mutation::{BUGS, Budget, Entry, Fate, How, Hunt, Hunted, Score, hunt, hunts};
use crate::screen::Screen;
use crate::verdict::conclusion::Conclusion;
use crate::verdict::level::Level;
use clap::Args;
use miette::{IntoDiagnostic, Report, WrapErr, miette};

use super::shared::{COULD_NOT_TELL, USAGE, print, writable, write_json};

/// Breaks every guard of the protocol on purpose, one after another, and shows who notices.
///
/// That is: which level of the verification, by which invariant, in how many steps. A guard that a second one covers is
/// also tried without that one.
///
/// Exit codes: 0 each is noticed, or covered as stated, 1 one is not, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Only these: names of variants (with commas between them, all at once), or ids of docs/safety.md such as M24.
    /// [default: all]
    #[arg(value_name = "NAMES", value_parser = parse_subject)]
    subjects: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
    /// Writes the score to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Replays a bug of the original's upgrade, and shows the invariant that it broke; or says why it cannot happen here.
///
/// Exit codes: 0 every bug asked for is noticed or impossible, 1 one is not, 2 wrong usage, 3 could not tell.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The bugs: G1 to G18.
    #[arg(value_name = "ID", value_parser = parse_bug, required_unless_present = "all")]
    ids: Vec<String>,
    /// All of them.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// The levels to try: some of wire, check, simulate, rehearse. A rehearsal takes half a minute per variant.
    #[arg(long, value_delimiter = ',', default_value = "wire,check,simulate", value_parser = parse_level)]
    levels: Vec<Level>,
    /// Tries each only until a level notices it: the score is the same, and says less of what each level sees.
    #[arg(long)]
    until_noticed: bool,
    /// States that `check` visits in each scope at most.
    #[arg(long, default_value_t = 60_000)]
    budget_states: u64,
    /// Scenarios that `simulate` plays at most.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    scenarios: u64,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shows only the report, no progress.
    #[arg(long)]
    quiet: bool,
}

fn parse_level(text: &str) -> Result<Level, String> {
    let known = || Level::ALL.map(Level::word).join(", ");
    Level::ALL.into_iter().find(|level| level.word() == text).ok_or_else(|| format!("use some of {}", known()))
}

fn parse_subject(text: &str) -> Result<String, String> {
    if all_hunts().iter().any(|hunt| hunt.is(text)) || Hunt::of_names(text).is_ok() {
        return Ok(text.to_owned());
    }
    let known: Vec<String> =
        all_hunts().into_iter().filter(|hunt| !hunt.ids.is_empty()).map(|hunt| hunt.name).collect();
    let known = known.join(", ");
    Err(format!("{text:?} is neither a variant nor a planted id: use an id of docs/safety.md, or some of {known}"))
}

fn parse_bug(text: &str) -> Result<String, String> {
    let known = BUGS.iter().any(|bug| bug.id == text);
    if known { Ok(text.to_owned()) } else { Err(format!("{text:?} is not a bug of the list: use G1 to G18")) }
}

fn all_hunts() -> Vec<Hunt> {
    hunts().expect("every type of this build's wire has a schema, as its tests show")
}

/// Tries the variants, and gives the exit code of the score.
pub(crate) fn run(args: &MutantsArgs) -> Result<ExitCode, (u8, Report)> {
    let started = Instant::now();
    writable("--json", args.json.as_deref())?;
    let subjects = subjects(&args.subjects);
    let hunted = args.how.hunt(&subjects)?;
    let score = Score::new(hunted, args.command(), started.elapsed());
    // A part of all says nothing of the ids that it leaves out.
    let whole = args.subjects.is_empty();
    print(&if whole { score.to_text() } else { score.hunted.iter().map(Hunted::to_text).collect() });
    if let Some(file) = &args.json {
        write_json(file, &score)?;
    }
    let full = if whole { score.is_full() } else { score.hunted.iter().all(Hunted::is_as_said) };
    Ok(verdict(full).into())
}

/// Replays the bugs, and gives the exit code.
pub(crate) fn history(args: &HistoryArgs) -> Result<ExitCode, (u8, Report)> {
    let mut all_shown = true;
    for bug in BUGS.iter().filter(|bug| args.all || args.ids.iter().any(|id| id == bug.id)) {
        print(&(wrapped("", "  ", &format!("{}: {} ({})", bug.id, bug.what, bug.oracles)) + "\n"));
        if let How::Impossible { construction, held_by } = bug.how {
            print(&(each_line(&format!("  impossible here: {construction}\n  held by {held_by}\n")) + "\n\n"));
            continue;
        }
        let hunted = args.how.hunt(&standing(bug))?;
        all_shown &= !hunted.is_empty() && hunted.iter().all(|hunted| hunted.fate != Fate::Alive);
        hunted.iter().for_each(|hunted| print(&hunted.to_text()));
    }
    Ok(verdict(all_shown).into())
}

/// The variants that stand for a bug.
fn standing(bug: &Entry) -> Vec<Hunt> {
    all_hunts().into_iter().filter(|hunt| hunt.is(bug.id) || hunt.is(bug.wire_id())).collect()
}

fn subjects(names: &[String]) -> Vec<Hunt> {
    if names.is_empty() {
        return all_hunts();
    }
    let all = all_hunts();
    let of = |name: &String| {
        let known: Vec<Hunt> = all.iter().filter(|hunt| hunt.is(name)).cloned().collect();
        if known.is_empty() { Hunt::of_names(name).into_iter().collect() } else { known }
    };
    names.iter().flat_map(of).collect()
}

fn verdict(full: bool) -> Conclusion {
    if full { Conclusion::Safe } else { Conclusion::Unsafe }
}

impl HowArgs {
    /// What each of the variants that are tried side by side may look at.
    fn budget(&self, side_by_side: usize) -> Result<Budget, (u8, Report)> {
        let program = std::env::current_exe()
            .into_diagnostic()
            .wrap_err("cannot find this executable")
            .map_err(|report| (COULD_NOT_TELL, report))?;
        Ok(Budget {
            frames: FRAMES,
            states_max: self.budget_states,
            scenarios: self.scenarios,
            program,
            levels: self.levels.clone(),
            until_noticed: self.until_noticed,
            threads: threads().div_ceil(side_by_side),
            seed: self.seed,
        })
    }

    fn hunt(&self, subjects: &[Hunt]) -> Result<Vec<Hunted>, (u8, Report)> {
        if subjects.is_empty() {
            return Err((USAGE, miette!("no variant has that name")));
        }
        // Two searches of a thread each are faster than one of two. A rehearsal has the machine to itself.
        let alone = self.levels.contains(&Level::Rehearse);
        let side_by_side = if alone { 1 } else { threads().min(subjects.len()) };
        let budget = self.budget(side_by_side)?;
        let (screen, begun, all) = (Mutex::new(Screen::new(self.quiet)), Instant::now(), subjects.len());
        let hunts: Vec<_> = subjects.iter().map(|subject| (subject, OnceLock::new())).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            while let Some((subject, hunted)) = hunts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done_now = done.load(Ordering::Relaxed);
                let share = done_now as f64 / all as f64;
                let left = if done_now > 0 {
                    format!(", about {:.0} s left", begun.elapsed().as_secs_f64() * (1.0 / share - 1.0))
                } else {
                    String::new()
                };
                let text = format!("{done_now} of {all} tried, now {}{left}", subject.name);
                screen.lock().expect("nothing panics while it writes").say(Some(share), &text);
                hunted.get_or_init(|| hunt(subject, &budget));
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        // What a variant panics with is told in its row.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        std::thread::scope(|scope| (0..side_by_side).for_each(|_| drop(scope.spawn(work))));
        std::panic::set_hook(hook);
        Ok(hunts.into_iter().map(|(_, hunted)| hunted.into_inner().expect("each was taken")).collect())
    }
}

impl MutantsArgs {
    fn command(&self) -> String {
        let HowArgs { levels, until_noticed, budget_states, scenarios, seed, .. } = &self.how;
        let levels = levels.iter().map(|level| level.word()).collect::<Vec<_>>().join(",");
        let subjects: String = self.subjects.iter().map(|subject| format!(" {subject}")).collect();
        format!(
            "rexi-migrate mutants{subjects} --levels {levels}{} --budget-states {budget_states} --scenarios \
             {scenarios} --seed {seed}",
            if *until_noticed { " --until-noticed" } else { "" }
        )
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Generated frames of each kind and version.
const FRAMES: usize = 50;
