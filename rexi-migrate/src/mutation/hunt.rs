//! Tries one broken variant at every level, from cheap to real, and says what each noticed.
//!
//! In: a variant of the core, or a break of the wire, and how much each level may look at. Out: what was found. Where a
//! second guard covers the variant, it is tried by itself first, which may go unnoticed, and then without that guard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rexi_proto::{Mutant, Mutants, Train};
use serde_json::Value;

use super::score::{Cover, Fate, Found, Hunted, Tried};
use crate::check::hellos::{self, Hellos};
use crate::check::record::{self, Records};
use crate::check::{Cluster, NODES_MAX, Operator, Scope, suite, trace};
use crate::demo;
use crate::path::UpgradePath;
use crate::plan::upgrades;
use crate::search::{Broken, End, Model, Options, Path, search};
use crate::simulate::{self, Campaign, Simulation, panic_text};
use crate::verdict::invariant::Invariant;
use crate::verdict::level::Level;
use crate::verdict::trace::Trace;
use crate::wire;

/// How much each level may look at.
#[derive(Clone, Debug)]
pub struct Budget {
    /// L0: generated frames of each kind and version.
    pub frames: usize,
    /// L1: states of each scope.
    pub states_max: u64,
    /// L2: scenarios.
    pub scenarios: u64,
    /// L3: the executable, with the variants in it, that rehearses.
    pub program: PathBuf,
    /// The levels that try.
    pub levels: Vec<Level>,
    /// Whether the levels after the first that notices a variant need not try it.
    pub until_noticed: bool,
    /// L1 and L2: threads.
    pub threads: usize,
    /// Seed of all of it.
    pub seed: u64,
}

/// One to try.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Its name, or names with commas between.
    pub name: String,
    /// The ids of the catalogue that it stands for.
    pub ids: Vec<String>,
    sentence: String,
    breaks: &'static str,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Wire(wire::PlantedBreak),
    Core { on: Mutants, cover: Option<Covered> },
}

/// A second guard: what it is, which variants it covers, which one takes it away.
#[derive(Clone, Debug)]
struct Covered {
    guard: &'static str,
    alone: Mutants,
    with: Vec<String>,
}

/// All that there are: breaks of the wire, every variant of the core in the order of its declaration, pairs.
///
/// # Errors
/// [`wire::LockError`] where a type of the wire has no schema.
pub fn hunts() -> Result<Vec<Hunt>, wire::LockError> {
    let of_wire = wire::mutants()?.into_iter().map(Hunt::of_wire);
    let of_core = Mutant::ALL.iter().map(Hunt::of_core);
    let pairs = PAIRS.iter().map(|names| Hunt::of_names(names).expect("a pair has known names"));
    Ok(of_wire.chain(of_core).chain(pairs).collect())
}

/// Guards that stand behind each other and are taken away together: skew, readiness, and a stale view.
/// States of each scope that are looked at before any is looked at to the end of the budget.
const FIRST_LOOK: u64 = 2_000;

const PAIRS: [&str; 4] = [
    "wire-unchecked,unknown-is-ready",
    "wire-unchecked,hosts-unchecked,first-release-believed",
    "kill-follows-phase,resume-keeps-jobs",
    "late-per-node-servers,own-phase-gate",
];

impl Hunt {
    fn of_wire(planted: wire::PlantedBreak) -> Self {
        Self {
            name: planted.what.to_owned(),
            ids: vec![planted.id.to_owned()],
            sentence: format!("On the wire, {}.", planted.what),
            breaks: "",
            what: What::Wire(planted),
        }
    }

    fn of_core(planted: &'static rexi_proto::Planted) -> Self {
        let alone = Mutants::default().with(planted.mutant);
        let name = |&mutant: &Mutant| Mutants::default().with(mutant).names();
        let cover =
            planted.covered_by.map(|guard| Covered { guard, alone, with: planted.with.iter().map(name).collect() });
        Self {
            name: planted.name.to_owned(),
            ids: planted.ids.split(' ').filter(|id| !id.is_empty()).map(str::to_owned).collect(),
            sentence: planted.sentence.to_owned(),
            // Of others a level may notice first what follows from it.
            breaks: if alone.break_the_record() { planted.breaks } else { "" },
            what: What::Core { on: planted.with.iter().fold(alone, |on, &mutant| on.with(mutant)), cover },
        }
    }

    /// Whether it has that name, or stands for that id.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.ids.iter().any(|id| id == name)
    }

    /// Several variants of the core at once, or a declared one by its name alone.
    ///
    /// # Errors
    /// The first name that no variant has.
    pub fn of_names(names: &str) -> Result<Self, String> {
        if let Some(planted) = Mutant::ALL.iter().find(|planted| planted.name == names) {
            return Ok(Self::of_core(planted));
        }
        let on = Mutants::from_names(names)?;
        let sentences = Mutant::ALL.iter().filter(|planted| on.names().split(',').any(|name| name == planted.name));
        let sentence = sentences.map(|planted| planted.sentence).collect::<Vec<_>>().join(" ");
        Ok(Self { name: on.names(), ids: Vec::new(), sentence, breaks: "", what: What::Core { on, cover: None } })
    }
}

/// Tries it at every level, or until one notices it.
pub fn hunt(hunt: &Hunt, budget: &Budget) -> Hunted {
    let (tried, cover) = match &hunt.what {
        What::Wire(planted) => (vec![of_wire(planted)], None),
        What::Core { on, cover } => (levels(*on, budget), cover.as_ref().map(|covered| covered.try_alone(budget))),
    };
    let noticed = |tried: &[Tried]| tried.iter().any(|tried| tried.found.is_some());
    let fate = match &cover {
        _ if !noticed(&tried) => Fate::Alive,
        Some(cover) if !noticed(&cover.alone) => Fate::Equivalent,
        _ => Fate::Killed,
    };
    let Hunt { name, ids, sentence, breaks, .. } = hunt.clone();
    Hunted { name, ids, sentence, breaks: breaks.to_owned(), fate, tried, cover }
}

impl Covered {
    fn try_alone(&self, budget: &Budget) -> Cover {
        Cover { guard: self.guard.to_owned(), with: self.with.clone(), alone: levels(self.alone, budget) }
    }
}

fn levels(mutants: Mutants, budget: &Budget) -> Vec<Tried> {
    let one = |level: &Level| match level {
        Level::Wire => by_frames(mutants, budget),
        Level::Check => by_states(mutants, budget),
        Level::Simulate => by_scenarios(mutants, budget),
        Level::Rehearse => by_rehearsal(mutants, budget),
    };
    // The search of all states notices each of these; simulations notice some, and take longer.
    let looks = |level: &&Level| **level == Level::Check || !mutants.break_the_record();
    let levels = budget.levels.iter().filter(looks);
    if !budget.until_noticed {
        return levels.map(one).collect();
    }
    // What is found soonest comes first, and the search of all states last.
    let (searches, others): (Vec<_>, Vec<_>) = levels.partition(|level| **level == Level::Check);
    let first_look = (!searches.is_empty()).then(|| by_some_states(mutants, &budget.first_look()));
    let rest = others.into_iter().map(one).chain(searches.into_iter().map(|_| by_some_states(mutants, budget)));
    let mut tried: Vec<Tried> = Vec::new();
    for one in first_look.into_iter().filter(|look| look.found.is_some()).chain(rest) {
        let is_noticed = one.found.is_some();
        tried.push(one);
        if is_noticed {
            break;
        }
    }
    tried
}

impl Budget {
    fn first_look(&self) -> Self {
        Self { states_max: self.states_max.min(FIRST_LOOK), ..self.clone() }
    }
}

fn of_wire(planted: &wire::PlantedBreak) -> Tried {
    let found = planted.breaks.map(|invariant| Found {
        invariant: Some(invariant),
        what: planted.said.clone(),
        steps: 1,
        trace: None,
        command: "rexi-migrate wire report".to_owned(),
    });
    Tried { level: Level::Wire, found, looked_at: "every layout of the two locks".to_owned() }
}

/// L0: every version's frames by every version, with this codec.
fn by_frames(mutants: Mutants, budget: &Budget) -> Tried {
    let read = wire::matrix(budget.frames, budget.seed, mutants).expect("the layouts were told before");
    let found = read.wrong.first().map(|what| Found {
        invariant: Some(what.breaks),
        what: what.what.clone(),
        steps: 1,
        trace: None,
        command: command(Level::Wire, mutants),
    });
    Tried { level: Level::Wire, found, looked_at: format!("{} frames", read.frames()) }
}

/// L1: hellos in every order, the scopes of `check` for two nodes, and operators who make every mistake, on two and on
/// three; or records, for what breaks those.
fn by_states(mutants: Mutants, budget: &Budget) -> Tried {
    // Most are found in the first states of some scope, which is soon if no other is exhausted before.
    let first = by_some_states(mutants, &budget.first_look());
    if first.found.is_some() { first } else { by_some_states(mutants, budget) }
}

fn by_some_states(mutants: Mutants, budget: &Budget) -> Tried {
    let mut looked = Looked::default();
    if mutants.break_the_record() {
        for bounds in record::bounds(&demo::path(), mutants) {
            if looked.search(&Records::new(bounds), (budget, true), mutants, record::trace) {
                break;
            }
        }
        return looked.tried();
    }
    for scope in scopes(mutants) {
        let model = Cluster::new(scope.clone());
        if looked.search(&model, (budget, scope.reach_goal), mutants, |path, broken| trace(&scope, path, broken)) {
            return looked.tried();
        }
    }
    // Last, since few need them.
    for bounds in hellos::bounds(NODES_MAX, &demo::path(), mutants) {
        if looked.search(&Hellos::new(bounds), (budget, false), mutants, hellos::trace) {
            break;
        }
    }
    looked.tried()
}

/// What L1 has looked at, and found.
#[derive(Default)]
struct Looked {
    states: u64,
    bounded: usize,
    found: Option<Found>,
}

impl Looked {
    /// Searches a model as far as the budget goes, and whether that ends the hunt.
    fn search<M: Model>(
        &mut self,
        model: &M,
        (budget, reach_goal): (&Budget, bool),
        mutants: Mutants,
        trace: impl Fn(&Path<M>, Option<&Broken>) -> Trace,
    ) -> bool {
        let options =
            Options { states_max: budget.states_max, reach_goal, threads: budget.threads, ..Options::default() };
        let case = |broken: Option<Broken>, path: &Path<M>| Found {
            invariant: Some(broken.as_ref().map_or(Invariant::L4, |broken| broken.invariant)),
            what: broken.as_ref().map_or_else(
                || "from here the upgrade cannot be brought to its end".to_owned(),
                |broken| broken.what.clone(),
            ),
            steps: path.steps.len(),
            trace: Some(trace(path, broken.as_ref())),
            command: command(Level::Check, mutants),
        };
        match catch_unwind(AssertUnwindSafe(|| search(model, &options, &mut |_| ()))) {
            Ok(outcome) => {
                self.states += outcome.tally.states;
                self.found = match outcome.end {
                    End::Exhausted => None,
                    End::Bounded(_) => {
                        self.bounded += 1;
                        None
                    }
                    End::Broken(broken, path) => Some(case(Some(broken), &path)),
                    End::Stuck(path) => Some(case(None, &path)),
                };
            }
            Err(panic) => self.found = Some(panicked(&*panic, command(Level::Check, mutants))),
        }
        self.found.is_some()
    }

    fn tried(self) -> Tried {
        let bounded = match self.bounded {
            0 => String::new(),
            count => format!(", {count} scopes up to their bound"),
        };
        let looked_at = format!("{} states{bounded}", self.states);
        Tried { level: Level::Check, found: self.found, looked_at }
    }
}

fn scopes(mutants: Mutants) -> Vec<Scope> {
    let whole = demo::path();
    let careless = |nodes, jobs, train: &UpgradePath| Scope {
        nodes,
        jobs,
        crashes: 1,
        operator: Operator::Careless,
        reach_goal: false,
        mutants,
        ..Scope::new("an operator who makes every mistake", train)
    };
    let mut scopes = suite(2, 1, &whole, mutants);
    scopes.extend([careless(2, 1, &whole), careless(3, 0, &whole)]);
    // What only an old version of the wire lacks, and takes two calls: to kill both at once.
    let first = Scope::new("two jobs of the first release", &whole.only(0));
    scopes.push(Scope { nodes: 2, jobs: 2, mutants, ..first });
    // Releases that nothing but their order keeps apart.
    scopes.push(Scope { name: "releases that are alike".to_owned(), ..careless(2, 0, &alike()) });
    scopes.push(Scope {
        nodes: 3,
        jobs: 0,
        rollbacks: 1,
        flips: 1,
        mutants,
        ..Scope::new("three nodes, to and fro", &whole)
    });
    scopes
}

/// A train whose releases differ in nothing but their numbers.
fn alike() -> UpgradePath {
    let train = Train::new("alike").release("1.0", |r| r).release("1.1", |r| r).release("1.2", |r| r);
    UpgradePath::of(&train).expect("the train is consistent")
}

/// L2: scenarios of one seed, until one fails.
fn by_scenarios(mutants: Mutants, budget: &Budget) -> Tried {
    let scenarios = simulate::Budget::Scenarios(budget.scenarios);
    let simulation = Simulation::new().mutants(mutants);
    let threads = budget.threads;
    let campaign =
        Campaign { simulation, budget: scenarios, threads, ..Campaign::new(upgrades(&demo::train()), budget.seed) };
    let tally = campaign.run(|_| ());
    let found = tally.failure.map(|failure| {
        let outcome = &failure.outcome;
        let command = format!("rexi-migrate simulate --plan '{}' --mutant {}", outcome.plan, mutants.names());
        match outcome.breaches.first() {
            Some(breach) => Found {
                invariant: Some(breach.invariant),
                what: breach.what.clone(),
                steps: outcome.plan.ops.len(),
                trace: Some(outcome.trace()),
                command,
            },
            None => Found {
                invariant: None,
                what: failure.panicked.or(failure.differs).unwrap_or_default(),
                steps: outcome.plan.ops.len(),
                trace: None,
                command,
            },
        }
    });
    Tried { level: Level::Simulate, found, looked_at: format!("{} scenarios", tally.scenarios) }
}

/// L3: processes.
fn by_rehearsal(mutants: Mutants, budget: &Budget) -> Tried {
    let seed = budget.seed.to_string();
    let names = mutants.names();
    let args = ["rehearse", "--nodes", "3", "--rate", "2000", "--dwell-ms", "400", "--seed", &seed, "--mutant", &names];
    let again = format!("rexi-migrate {}", args.join(" "));
    let file = tempfile::NamedTempFile::new().and_then(|file| {
        let mut rehearse = Command::new(&budget.program);
        rehearse.args(args).arg("--quiet").arg("--json").arg(file.path());
        rehearse.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        std::fs::read(file.path())
    });
    let report: Option<Value> = file.ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(report) = report else {
        let looked_at = "a rehearsal that could not run".to_owned();
        return Tried { level: Level::Rehearse, found: None, looked_at };
    };
    let steps = report["steps"].as_array().map_or(0, Vec::len);
    let found = (report["verdict"] == "unsafe").then(|| rehearsed(&report, steps, again));
    Tried { level: Level::Rehearse, found, looked_at: format!("a rehearsal of {steps} steps") }
}

fn rehearsed(report: &Value, steps: usize, command: String) -> Found {
    let first = &report["judgement"]["verdict"]["because"][0];
    let id = first["invariant"].as_str().unwrap_or_default();
    let broken = Invariant::ALL.iter().copied().find(|invariant| invariant.to_string() == id);
    // A step that does not go through is an upgrade that does not reach its end.
    let stuck = report["stopped"].is_string().then_some(Invariant::L4);
    Found {
        invariant: broken.or(stuck),
        what: first["sentence"]
            .as_str()
            .or(report["stopped"].as_str())
            .unwrap_or("a step did not go through")
            .to_owned(),
        steps,
        trace: None,
        command,
    }
}

fn panicked(panic: &(dyn std::any::Any + Send), command: String) -> Found {
    let what = format!("it panicked: {}", panic_text(panic));
    Found { invariant: None, what, steps: 0, trace: None, command }
}

/// The command that looks for it again at this level.
fn command(level: Level, mutants: Mutants) -> String {
    format!("rexi-migrate mutants {} --levels {}", mutants.names(), level.word())
}
