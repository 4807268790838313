//! The search itself: batches of open states, expanded by threads, merged by one in the order of their numbers.
//!
//! The merge alone decides which of two equal states came first, so the outcome does not depend on who was faster.
//! Threads look up what was met before the current batch, which spares the merge most of the known states.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::fingerprint::Fingerprint;
use super::model::{Bound, Broken, End, Model, Options, Outcome, Path, Tally};
use super::seen::{STATES_MAX, Seen};
use crate::screen::{Screen, per_second};

/// Searches `model` within the bounds; `progress` is told the counts after each batch.
///
/// # Panics
/// Where the model is not pure: a path does not lead again to where it led, or a state has too many actions.
pub fn search<M: Model>(model: &M, options: &Options, progress: &mut dyn FnMut(&Tally)) -> Outcome<M> {
    let mut run = Run {
        model,
        options,
        seen: Seen::new(),
        edges: Vec::new(),
        goals: Vec::new(),
        tally: Tally { met: vec![0; model.cases().len()], ..Tally::default() },
        open_max: 0,
        started: Instant::now(),
    };
    let end = run.run(progress);
    run.tally.states = run.seen.len();
    Outcome {
        end,
        tally: run.tally,
        open_max: run.open_max,
        kept_bytes: run.seen.kept_bytes() + (run.edges.capacity() * 8 + run.goals.capacity()) as u64,
        elapsed: run.started.elapsed(),
    }
}

/// Searches `model`, called `what`. Shows that on standard error once it takes longer than two seconds, unless `quiet`.
///
/// # Panics
/// As [`search`].
pub fn search_shown<M: Model>(model: &M, what: &str, options: &Options, quiet: bool) -> Outcome<M> {
    let (mut screen, begun) = (Screen::late(quiet), Instant::now());
    search(model, options, &mut |tally| screen.show(None, || told(what, options, tally, begun.elapsed())))
}

/// How far a search is. How many states there are nobody knows before the end, so what is left is what the bounds of
/// time and states leave at most.
pub(super) fn told(what: &str, options: &Options, tally: &Tally, elapsed: Duration) -> String {
    let Tally { states, open, depth, .. } = tally;
    let rate = per_second(*states, elapsed).max(1);
    let by_states = Duration::from_secs(options.states_max.saturating_sub(*states) / rate);
    let by_time = options.time_max.map_or(Duration::MAX, |time| time.saturating_sub(elapsed));
    let (left, elapsed) = (by_states.min(by_time).as_secs(), elapsed.as_secs());
    format!("{what}: {states} states, {rate}/s, {open} open, depth {depth}, {elapsed} s, at most {left} s left")
}

struct Run<'a, M: Model> {
    model: &'a M,
    options: &'a Options,
    seen: Seen,
    /// Every transition, from and to, where goals are asked for.
    edges: Vec<(u32, u32)>,
    goals: Vec<bool>,
    tally: Tally,
    open_max: u64,
    started: Instant,
}

/// What came of one action of a state.
struct Next<S> {
    action: u16,
    print: Fingerprint,
    met: u64,
    /// Nothing, where it was known before the batch.
    fresh: Option<(S, Result<(), Broken>)>,
}

impl<M: Model> Run<'_, M> {
    fn run(&mut self, progress: &mut dyn FnMut(&Tally)) -> End<M> {
        // States whose steps are still to be taken, with their numbers.
        let mut open: Vec<(u32, M::State)> = Vec::new();
        for (number, state) in (0..).zip(self.model.initial()) {
            let print = self.model.fingerprint(&state);
            if let Ok(index) = self.seen.insert(print, None, number) {
                if let Err(broken) = self.model.check(&state) {
                    return End::Broken(broken, self.path_to(index));
                }
                self.note_goal(&state);
                open.push((index, state));
            }
        }
        while !open.is_empty() {
            if self.tally.depth >= self.options.depth_max {
                return End::Bounded(Bound::Depth(self.options.depth_max));
            }
            let mut next: Vec<(u32, M::State)> = Vec::new();
            let mut rest = open.len();
            for batch in open.chunks(BATCH) {
                rest -= batch.len();
                if let Some(end) = self.batch(batch, &mut next) {
                    return end;
                }
                self.tally.open = (rest + next.len()) as u64;
                self.open_max = self.open_max.max(self.tally.open);
                self.tally.states = self.seen.len();
                progress(&self.tally);
                if let Some(bound) = self.bound() {
                    return End::Bounded(bound);
                }
            }
            self.tally.depth += u32::from(!next.is_empty());
            open = next;
        }
        self.stuck().map_or(End::Exhausted, |index| End::Stuck(self.path_to(index)))
    }

    fn bound(&self) -> Option<Bound> {
        let Options { states_max, time_max, memory_bytes_max, .. } = *self.options;
        let states_max = states_max.min(STATES_MAX - 1);
        if self.seen.len() >= states_max {
            return Some(Bound::States(states_max));
        }
        if let Some(time) = time_max.filter(|&time| self.started.elapsed() >= time) {
            return Some(Bound::Time(time));
        }
        resident_bytes().filter(|&bytes| bytes > memory_bytes_max).map(|_| Bound::Memory(memory_bytes_max))
    }

    /// Takes all steps of a batch of states. A result ends the search.
    fn batch(&mut self, batch: &[(u32, M::State)], next: &mut Vec<(u32, M::State)>) -> Option<End<M>> {
        let expanded = self.expand(batch);
        let states_max = self.options.states_max.min(STATES_MAX - 1);
        for ((parent, _), steps) in batch.iter().zip(expanded) {
            for Next { action, print, met, fresh } in steps {
                self.tally.transitions += 1;
                self.count(met);
                let Some((state, checked)) = fresh else {
                    self.note_edge(*parent, print, None);
                    continue;
                };
                let inserted = self.seen.insert(print, Some(*parent), action);
                self.note_edge(*parent, print, Some(inserted.unwrap_or_else(|known| known)));
                let Ok(index) = inserted else { continue };
                if let Err(broken) = checked {
                    self.tally.depth += 1;
                    return Some(End::Broken(broken, self.path_to(index)));
                }
                self.note_goal(&state);
                next.push((index, state));
                if self.seen.len() >= states_max {
                    return Some(End::Bounded(Bound::States(states_max)));
                }
            }
        }
        None
    }

    fn count(&mut self, met: u64) {
        if met != 0 {
            for (bit, count) in self.tally.met.iter_mut().enumerate() {
                *count += met >> bit & 1;
            }
        }
    }

    /// The steps of each state of a batch, in its order.
    fn expand(&self, batch: &[(u32, M::State)]) -> Vec<Vec<Next<M::State>>> {
        let pieces = batch.len().div_ceil(PIECE);
        let threads = self.options.threads.clamp(1, pieces.max(1));
        if threads == 1 {
            return batch.iter().map(|(_, state)| self.steps(state)).collect();
        }
        let (taken, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(pieces)));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let piece = taken.fetch_add(1, Ordering::Relaxed);
                        let Some(states) = batch.chunks(PIECE).nth(piece) else { return };
                        let steps: Vec<_> = states.iter().map(|(_, state)| self.steps(state)).collect();
                        done.lock().expect("no thread panics under the lock").push((piece, steps));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("no thread panics under the lock");
        done.sort_by_key(|(piece, _)| *piece);
        done.into_iter().flat_map(|(_, steps)| steps).collect()
    }

    fn steps(&self, state: &M::State) -> Vec<Next<M::State>> {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        let mut steps = Vec::with_capacity(actions.len());
        for (number, action) in actions.iter().enumerate() {
            let Some(after) = self.model.step(state, action) else { continue };
            let action = u16::try_from(number).expect("a state has at most 65,535 actions");
            let (print, met) = (self.model.fingerprint(&after), self.model.met(&after));
            let fresh = self.seen.find(print).is_none().then(|| {
                let checked = self.model.check(&after);
                (after, checked)
            });
            steps.push(Next { action, print, met, fresh });
        }
        steps
    }

    fn note_goal(&mut self, state: &M::State) {
        if self.options.reach_goal {
            self.goals.push(self.model.is_goal(state));
        }
    }

    fn note_edge(&mut self, from: u32, print: Fingerprint, to: Option<u32>) {
        if self.options.reach_goal {
            let to = to.or_else(|| self.seen.find(print)).expect("it was found before");
            self.edges.push((from, to));
        }
    }

    /// The first state from which no goal can be reached, if there is one.
    fn stuck(&mut self) -> Option<u32> {
        if !self.options.reach_goal {
            return None;
        }
        // Backwards from the goals, over the transitions by where they lead to.
        self.edges.sort_unstable_by_key(|&(_, to)| to);
        let mut reaches = std::mem::take(&mut self.goals);
        let mut todo: Vec<u32> = (0..).zip(&reaches).filter(|(_, goal)| **goal).map(|(index, _)| index).collect();
        while let Some(to) = todo.pop() {
            let first = self.edges.partition_point(|&(_, at)| at < to);
            for &(from, _) in self.edges[first..].iter().take_while(|&&(_, at)| at == to) {
                if !std::mem::replace(&mut reaches[from as usize], true) {
                    todo.push(from);
                }
            }
        }
        (0..).zip(&reaches).find(|(_, reaches)| !**reaches).map(|(index, _)| index)
    }

    /// Walks the path to a state again.
    fn path_to(&self, index: u32) -> Path<M> {
        let (start, numbers) = self.seen.way_to(index);
        let mut initial = self.model.initial().into_iter();
        let start = initial.find(|state| self.seen.find(self.model.fingerprint(state)) == Some(start));
        let start = start.expect("the model is pure, so it begins where it began");
        let mut path = Path { start, steps: Vec::with_capacity(numbers.len()) };
        for number in numbers {
            let mut actions = Vec::new();
            self.model.actions(path.end(), &mut actions);
            let action = actions.swap_remove(usize::from(number));
            let state = self.model.step(path.end(), &action).expect("the model is pure, so a step is one again");
            path.steps.push((action, state));
        }
        path
    }
}

/// Resident memory of this process, where the system tells it.
pub(super) fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// The most resident memory that this process has had, where the system tells it.
pub fn resident_bytes_max() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// States that are expanded before anything is merged: bounds the memory of steps that are not.
const BATCH: usize = 16_384;

/// States that a thread takes at once.
const PIECE: usize = 64;
