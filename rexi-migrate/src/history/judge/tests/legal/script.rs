//! What is asked of a history's nodes: one call, gather or monitor, from both ends, as a correct cluster does it.

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::super::*;
use super::life::{Break, SECOND, Stop, World, noticed};
use crate::history::ledger::{GatherForm, NodeSet};

/// One script under way.
pub(super) struct Script<'a> {
    pub(super) world: &'a mut World,
    pub(super) rng: Xoshiro256PlusPlus,
    /// The process that asks: an index.
    pub(super) caller: usize,
    /// The process that runs the job: an index.
    pub(super) runner: usize,
    pub(super) id: CallId,
    pub(super) work: Work,
    pub(super) cast_us: u64,
    /// What ends the job from outside, if nothing else does before.
    cut: Option<Cut>,
    /// When its caller killed it.
    killed_us: Option<u64>,
    /// When its caller heard the last word of it: what comes, comes in order.
    pub(super) heard_us: u64,
}

/// What ends a job though its caller has not killed it.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at_us: u64,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    CallerGone,
    RunnerLeaves,
    /// The connection broke, and something of the call was lost; its caller learns of that at this time.
    Broken(u64),
}

/// Plays the script of this seed; it stops where nothing more follows.
pub(super) fn play(world: &mut World, seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let caller = world.any_life(&mut rng);
    let (from_us, until_us) = (world.lives[caller].began_us, world.lives[caller].asks_until_us());
    let at_us = rng.random_range(from_us + 1..until_us.max(from_us + 2));
    match rng.random_range(0..10) {
        0 => _ = gather(world, rng, caller, at_us),
        1 => _ = monitor(world, &mut rng, caller, at_us),
        _ => {
            let to = rng.random_range(0..world.nodes);
            let works: Vec<Work> = Work::ALL.iter().copied().filter(|&work| work != Work::Vote).collect();
            let work = *works.choose(&mut rng).expect("there are works");
            let number = world.lives[caller].number();
            let _ = Script::new(world, rng, caller, number, work).call(to, at_us);
        }
    }
}

impl<'a> Script<'a> {
    fn new(world: &'a mut World, rng: Xoshiro256PlusPlus, caller: usize, number: u64, work: Work) -> Self {
        let life = &world.lives[caller];
        let (caller_node, incarnation) = (NodeIndex(life.node), Incarnation(life.began_us));
        let id = CallId { caller: caller_node, incarnation, call: CallNumber(number) };
        Self { world, rng, caller, runner: caller, id, work, cast_us: 0, cut: None, killed_us: None, heard_us: 0 }
    }

    fn call(mut self, to: u16, at_us: u64) -> Option<()> {
        let (call, work) = (self.id.call, self.work);
        let cast = Entry::Cast { call, to: NodeIndex(to), work, phase: Phase::Switch };
        self.cast_us = self.world.say(self.caller, at_us, cast)?;
        let started_us = self.deliver(to)?;
        self.carry_out(started_us)
    }

    fn carry_out(&mut self, started_us: u64) -> Option<()> {
        match self.work {
            Work::Reply | Work::Bulk => self.end_and_answer(started_us, Ending::Done, Outcome::Reply),
            Work::Fail => self.end_and_answer(started_us, Ending::Failed, Outcome::FailedAsAsked),
            Work::Hold => self.hold(started_us),
            Work::Stream => self.stream(started_us),
            Work::Question => self.question(started_us),
            Work::Vote => unreachable!("a gather's"),
        }
    }

    /// Brings the cast to a process of the node; `None` where it leads to no job.
    fn deliver(&mut self, to: u16) -> Option<u64> {
        let local = self.world.lives[self.caller].node == to;
        let sent_us = self.cast_us + self.latency();
        if local {
            self.runner = self.caller;
            return self.start(self.cast_us + 1);
        }
        if self.rng.random_bool(0.03) {
            return self.refused(Outcome::Dropped, sent_us);
        }
        let Some(runner) = self.world.at_or_after(to, sent_us) else {
            let heard_us = sent_us + self.rng.random_range(1..23 * SECOND);
            return self.refused(Outcome::Down, heard_us);
        };
        self.runner = runner;
        let began_us = self.world.lives[runner].began_us;
        let mut at_us = sent_us;
        if began_us > sent_us {
            at_us = began_us + self.rng.random_range(5_000..50_000);
            if self.world.lives[self.caller].gone_us() <= at_us {
                return None;
            }
        }
        if let Some(broken) = self.broken(self.cast_us).filter(|broken| broken.at_us <= at_us) {
            let heard_us = self.hears_of(broken);
            return self.refused(Outcome::ConnectionLost, heard_us);
        }
        if at_us >= self.world.lives[runner].takes_until_us() {
            return match self.world.lives[runner].stop {
                Stop::Killed(gone_us) => self.lost_with_runner(gone_us),
                _ => self.refused(Outcome::Draining, at_us + 500),
            };
        }
        self.start(at_us)
    }

    fn start(&mut self, at_us: u64) -> Option<u64> {
        let entry = Entry::Started { id: self.id, server: ServerAddress::PerNode, work: self.work };
        let Some(started_us) = self.world.say(self.runner, at_us, entry) else {
            return self.lost_with_runner(self.world.lives[self.runner].gone_us());
        };
        self.cut = self.draw_cut(started_us);
        Some(started_us)
    }

    /// What ends this job from outside, and when.
    fn draw_cut(&mut self, started_us: u64) -> Option<Cut> {
        let (caller, runner) = (&self.world.lives[self.caller], &self.world.lives[self.runner]);
        let (gone_us, stop) = (caller.gone_us(), runner.stop);
        let mut cuts = Vec::new();
        if self.caller != self.runner && gone_us != u64::MAX {
            let late_us = if self.rng.random_bool(0.9) { self.rng.random_range(100..SECOND) } else { 23 * SECOND };
            cuts.push(Cut { at_us: gone_us.max(started_us) + late_us, why: Why::CallerGone });
        }
        if let Stop::Drained(asked_us, gone_us) = stop {
            let at_us = self.rng.random_range(asked_us..(asked_us + 10 * SECOND).min(gone_us)).max(started_us);
            cuts.push(Cut { at_us, why: Why::RunnerLeaves });
        }
        if let Some(broken) = self.broken(started_us) {
            let noticed_us = broken.noticed_by(self.world.lives[self.runner].node);
            cuts.push(Cut { at_us: noticed_us + self.latency(), why: Why::Broken(self.hears_of(broken)) });
        }
        cuts.into_iter().min_by_key(|cut| cut.at_us)
    }

    /// The connection between caller and runner breaks, and takes something of this call along.
    fn broken(&mut self, from_us: u64) -> Option<Break> {
        let (a, b) = (self.world.lives[self.caller].node, self.world.lives[self.runner].node);
        self.world.next_break(a, b, from_us).filter(|_| self.rng.random_bool(0.5))
    }

    /// When its caller is told that the break has taken something of the call along.
    fn hears_of(&mut self, broken: Break) -> u64 {
        broken.noticed_by(self.world.lives[self.caller].node) + self.latency()
    }

    /// A call that leads to no job.
    fn refused<T>(&mut self, outcome: Outcome, at_us: u64) -> Option<T> {
        // What holds may be killed before its caller learns of the refusal.
        let kill_us = (self.work == Work::Hold).then(|| self.draw_kill());
        match kill_us {
            Some(kill_us) if kill_us <= at_us => _ = self.kill(kill_us),
            _ => _ = self.answer(outcome, at_us),
        }
        None
    }

    /// A call whose runner was killed; its caller learns of that.
    fn lost_with_runner<T>(&mut self, gone_us: u64) -> Option<T> {
        if self.caller == self.runner {
            return None;
        }
        let heard_us = gone_us.max(self.cast_us) + noticed(&mut self.rng);
        self.refused(Outcome::Down, heard_us)
    }

    /// The job writes something down, unless it was ended before; then what follows from that is told.
    pub(super) fn job_says(&mut self, at_us: u64, entry: Entry) -> Option<u64> {
        if let Some(cut) = self.cut.filter(|cut| cut.at_us <= at_us) {
            return self.cut_short(cut);
        }
        match self.world.say(self.runner, at_us, entry) {
            Some(at_us) => Some(at_us),
            None if self.killed_us.is_some() => None,
            None => self.lost_with_runner(self.world.lives[self.runner].gone_us()),
        }
    }

    /// Nothing is left to be done by a time if the job was ended before, or its runner has died.
    pub(super) fn go_on_until(&mut self, at_us: u64) -> Option<()> {
        if let Some(cut) = self.cut.filter(|cut| cut.at_us <= at_us) {
            return self.cut_short(cut);
        }
        let runner = &self.world.lives[self.runner];
        match runner.stop {
            Stop::Killed(gone_us) if gone_us <= at_us => self.lost_with_runner(gone_us),
            _ => Some(()),
        }
    }

    /// Its caller has died: the job ends of that.
    pub(super) fn outlived(&mut self) {
        let _ = self.cut.and_then(|cut| self.cut_short::<()>(cut));
    }

    fn cut_short<T>(&mut self, cut: Cut) -> Option<T> {
        let dropped = Entry::Ended { id: self.id, how: Ending::Dropped };
        let ended_us = self.world.say(self.runner, cut.at_us, dropped);
        match (cut.why, ended_us) {
            _ if self.killed_us.is_some() => None,
            (Why::CallerGone, _) => None,
            (Why::RunnerLeaves, Some(ended_us)) => {
                let at_us = ended_us + self.latency();
                self.refused(Outcome::Down, at_us)
            }
            (Why::Broken(heard_us), _) => self.refused(Outcome::ConnectionLost, heard_us),
            (Why::RunnerLeaves, None) => None,
        }
    }

    /// The job ends, and its caller learns of it.
    pub(super) fn end_and_answer(&mut self, from_us: u64, how: Ending, outcome: Outcome) -> Option<()> {
        let pause_us = if self.rng.random_bool(0.7) { 0 } else { self.rng.random_range(1..100_000) };
        let ended_us = self.job_says(from_us + pause_us, Entry::Ended { id: self.id, how })?;
        let at_us = ended_us + self.latency();
        match self.broken(ended_us).filter(|broken| broken.at_us <= at_us) {
            Some(broken) => {
                let heard_us = self.hears_of(broken);
                self.answer(Outcome::ConnectionLost, heard_us)
            }
            None => self.answer(outcome, at_us),
        }
    }

    fn hold(&mut self, started_us: u64) -> Option<()> {
        let kill_us = self.draw_kill();
        // Where something else ends it before, its caller may learn of that first, or kill it in vain.
        if let Some(cut) = self.cut.filter(|cut| cut.at_us <= kill_us) {
            return self.cut_short(cut);
        }
        let gone_us = self.world.lives[self.runner].gone_us();
        if gone_us <= kill_us {
            return self.lost_with_runner(gone_us);
        }
        self.kill_and_end(kill_us.max(started_us))
    }

    fn draw_kill(&mut self) -> u64 {
        let life = self.rng.random_range(50_000..2 * SECOND);
        let asks_until_us = self.world.lives[self.caller].asks_until_us();
        (self.cast_us + life).min(asks_until_us.max(self.cast_us) + 10)
    }

    fn kill(&mut self, at_us: u64) -> Option<u64> {
        let entry = Entry::Killed { call: self.id.call, phase: Phase::Switch };
        self.killed_us = self.world.say(self.caller, at_us, entry);
        self.killed_us
    }

    /// Its caller kills the job, which ends of that where nothing else ends it before.
    pub(super) fn kill_and_end(&mut self, at_us: u64) -> Option<()> {
        let killed_us = self.kill(at_us);
        let Some(killed_us) = killed_us else {
            // Its caller died before it could.
            self.outlived();
            return None;
        };
        let lost = self.broken(killed_us).is_some();
        let late_us = if lost { self.rng.random_range(100..14 * SECOND) } else { self.latency() };
        self.job_says(killed_us + late_us, Entry::Ended { id: self.id, how: Ending::Dropped }).map(drop)
    }

    /// Its caller receives an answer, unless it has killed the call.
    pub(super) fn answer(&mut self, outcome: Outcome, at_us: u64) -> Option<()> {
        if self.killed_us.is_some() {
            return None;
        }
        let entry = Entry::Answered { call: self.id.call, outcome };
        self.world.say(self.caller, at_us.max(self.heard_us + 1), entry).map(drop)
    }

    /// How long a word takes from one process to another.
    pub(super) fn latency(&mut self) -> u64 {
        if self.rng.random_bool(0.95) { self.rng.random_range(20..5_000) } else { self.rng.random_range(20..400_000) }
    }
}

/// All nodes are asked for the same, and the first answers are enough, as many as this says.
fn gather(world: &mut World, mut rng: Xoshiro256PlusPlus, caller: usize, at_us: u64) -> Option<()> {
    let (number, nodes) = (world.lives[caller].number(), world.nodes);
    let members: NodeSet = (0..nodes).map(NodeIndex).collect();
    let need = rng.random_range(1..=u8::try_from(nodes).expect("few nodes"));
    let (gather, form) = (CallNumber(number), *GatherForm::ALL.choose(&mut rng).expect("there are forms"));
    let begun = Entry::GatherBegun { gather, form, need, members, limit_ms: 3_000 };
    let begun_us = world.say(caller, at_us, begun)?;
    let ended = |how, votes| Entry::GatherEnded { gather, how, votes, wrong: NodeSet::default(), odd: None };
    if rng.random_bool(0.05) {
        return world.say(caller, begun_us + 10, ended(GatherEnd::Refused, NodeSet::default())).map(drop);
    }
    let mut votes = Vec::new();
    for node in 0..nodes {
        let script_rng = Xoshiro256PlusPlus::seed_from_u64(rng.random());
        votes.extend(Script::new(world, script_rng, caller, number, Work::Vote).vote(node, begun_us));
    }
    votes.sort_unstable();
    let first: Vec<(u64, NodeIndex)> = votes.iter().copied().take(need.into()).collect();
    let limit_us = begun_us + 3 * SECOND;
    let (at_us, how) = match first.last() {
        Some(&(last_us, _)) if first.len() == usize::from(need) && last_us <= limit_us => (last_us, GatherEnd::Reached),
        _ if rng.random_bool(0.5) => (limit_us, GatherEnd::TimedOut),
        _ => (begun_us + rng.random_range(100..3 * SECOND), GatherEnd::TooFew),
    };
    // A node that is asked to leave gives up what has not ended by the end of its time.
    let asked_us = match world.lives[caller].stop {
        Stop::Drained(asked_us, _) => asked_us,
        _ => u64::MAX,
    };
    let given_up = how != GatherEnd::Reached && asked_us < at_us;
    let how = if given_up { GatherEnd::GivenUp } else { how };
    let at_us = at_us + rng.random_range(1..SECOND);
    let came = votes.iter().filter(|(came_us, _)| *came_us <= at_us).map(|(_, node)| *node);
    let votes = if how == GatherEnd::Reached { first.iter().map(|(_, node)| *node).collect() } else { came.collect() };
    world.say(caller, at_us, ended(how, votes)).map(drop)
}

impl Script<'_> {
    /// One node's vote: when it comes, if it does.
    fn vote(mut self, to: u16, begun_us: u64) -> Option<(u64, NodeIndex)> {
        self.cast_us = begun_us;
        let sent_us = begun_us + self.latency();
        self.runner = if self.world.lives[self.caller].node == to {
            self.caller
        } else {
            self.world.at(to, sent_us).filter(|&runner| sent_us < self.world.lives[runner].takes_until_us())?
        };
        let started = Entry::Started { id: self.id, server: ServerAddress::PerNode, work: Work::Vote };
        let started_us = self.world.say(self.runner, sent_us, started)?;
        // One that is no longer waited for is killed.
        let how = if self.rng.random_bool(0.8) { Ending::Done } else { Ending::Dropped };
        let late_us = self.rng.random_range(1..60_000);
        let ended_us = self.world.say(self.runner, started_us + late_us, Entry::Ended { id: self.id, how })?;
        (how == Ending::Done).then(|| (ended_us + self.latency(), NodeIndex(to)))
    }
}

/// A monitor that fires when the process that it watches ends, or is taken away.
fn monitor(world: &mut World, rng: &mut Xoshiro256PlusPlus, caller: usize, at_us: u64) -> Option<()> {
    let monitor = MonitorNumber(world.lives[caller].number());
    let on = rng.random_range(0..world.nodes);
    let set_us = world.say(caller, at_us, Entry::Monitored { monitor, on: NodeIndex(on) })?;
    let asks_until_us = world.lives[caller].asks_until_us().max(set_us) + 5;
    let gone_us = world.at(on, set_us).map_or(set_us, |target| world.lives[target].gone_us());
    let heard_us = gone_us.saturating_add(noticed(rng));
    let reason = *[1, 3, 4, 5].choose(rng).expect("reasons");
    let (at_us, entry) = if heard_us < asks_until_us {
        (heard_us, Entry::MonitorDown { monitor, reason })
    } else {
        (asks_until_us, Entry::Demonitored { monitor })
    };
    world.say(caller, at_us, entry).map(drop)
}
