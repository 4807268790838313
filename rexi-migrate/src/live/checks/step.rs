//! Checks of the step itself: releases, phases, who holds them, and what still goes to the singleton.

use std::time::Duration;

use rexi_proto::operate::{MemberLook, PhaseLook, SourceLook};
use rexi_proto::{Forms, NodeName, Release, SERVER_PER_NODE};

use super::{Aim, On, Outcome};

impl On<'_> {
    pub(super) fn within_window(&self) -> Outcome {
        let Some(record) = self.cluster.record() else { return Outcome::Skipped("there is no record yet".to_owned()) };
        // What runs below the floor that is to be would be stopped by it.
        let may_run = |release: Release| match self.aim {
            Aim::Finalize(to) => record.admits(release) && release >= *to,
            _ => record.admits(release),
        };
        let outside = self.looks().filter(|(_, look)| !may_run(look.life.release));
        let faults: Vec<String> = outside.map(|(node, look)| format!("{node} runs {}", look.life.release)).collect();
        Outcome::of(&faults, format!("{} to {}", record.floor, record.top), "run a release there that may run after it")
    }

    pub(super) fn next_release(&self) -> Outcome {
        match (self.aim, self.cluster.record()) {
            (Aim::Begin, _) => {
                let stops = self.cluster.stops();
                let places: Vec<_> = stops.iter().filter_map(|&stop| self.train.place(stop)).collect();
                let near = stops.len() <= 2 && places.windows(2).all(|pair| pair[0].is_near(pair[1]));
                let names = stops.iter().map(Release::to_string).collect::<Vec<_>>().join(", ");
                let seen = format!("they run {names}");
                Outcome::when(near, seen.clone(), seen, "bring all to one release, or to two that follow")
            }
            (Aim::Raise(_), _) => Outcome::Skipped("no release is aimed at".to_owned()),
            (_, None) => Outcome::Fail("there is no record yet".to_owned(), "begin one with `live init`".to_owned()),
            (Aim::Finalize(to), Some(record)) => {
                let (pass, fail) = (format!("{to} is the top"), format!("the top is {}", record.top));
                Outcome::when(*to == record.top, pass, fail, "only the top can be finalized")
            }
            (Aim::Advance(to), Some(record)) => {
                let Some(to_place) = self.train.place(*to) else {
                    let todo = "use the tool that is built with that release".to_owned();
                    return Outcome::Unknown(format!("this tool's train does not have {to}"), todo);
                };
                let follows =
                    self.train.place(record.floor).is_some_and(|floor| floor.is_near(to_place) && *to > record.floor);
                let floor = record.floor;
                let (pass, fail) = (format!("{to} follows {floor}"), format!("{to} does not follow {floor}"));
                Outcome::when(follows, pass, fail, "take the releases one by one")
            }
        }
    }

    pub(super) fn phase_settled(&self) -> Outcome {
        if let Aim::Begin | Aim::Raise(_) = self.aim {
            return Outcome::Skipped("no phase is needed for it".to_owned());
        }
        let held = self.looks().flat_map(|(node, look)| {
            let held = look.phases.iter().filter_map(|phase| Some((phase, phase.limit.as_ref()?)));
            held.map(move |(phase, limit)| format!("{node} is in {} of {}: {limit}", phase.phase, phase.migration))
        });
        let todo = "wait until all have it, lift a brake with `live lift`, or raise a ceiling";
        Outcome::of(&held.collect::<Vec<_>>(), "all do", todo)
    }

    pub(super) fn singleton_quiet(&self) -> Outcome {
        let to = match self.aim {
            Aim::Advance(to) | Aim::Finalize(to) => *to,
            Aim::Begin | Aim::Raise(_) => return Outcome::Skipped("the singleton stays".to_owned()),
        };
        let Some(place) = self.train.place(to) else {
            return Outcome::Skipped(format!("this tool's train does not have {to}"));
        };
        let keeps =
            self.train.profile(place).stage(SERVER_PER_NODE.key()).is_none_or(|stage| stage.takes() != Forms::NEW);
        if keeps {
            return Outcome::Skipped(format!("{to} still runs the singleton"));
        }
        let busy = self.looks().filter_map(|(node, look)| {
            let singleton = look.singleton.as_ref()?;
            let quiet = Duration::from_millis(singleton.quiet_ms);
            let is_busy = quiet < self.settings.quiet || singleton.queue > 0 || singleton.jobs > 0;
            let (queue, jobs) = (singleton.queue, singleton.jobs);
            let seen = format!("{node}: quiet for {} s, {queue} wait, {jobs} jobs", quiet.as_secs());
            is_busy.then_some(seen)
        });
        Outcome::of(
            &busy.collect::<Vec<_>>(),
            "all are quiet",
            "wait until the last cast to it is over, then look again",
        )
    }

    pub(super) fn flag_source(&self) -> Outcome {
        if *self.aim == Aim::Begin {
            return Outcome::Skipped("no phase is needed for it".to_owned());
        }
        let has_one = self.looks().filter_map(|(node, look)| Some((node, look, look.source.as_ref()?)));
        let faults: Vec<String> =
            has_one.flat_map(|(node, look, source)| self.source_faults(node, look, source)).collect();
        let todo = "mend it or raise it there: with a silent source no node starts again";
        let any = self.looks().any(|(_, look)| look.source.is_some());
        Outcome::of(&faults, if any { "all are heard" } else { "no member has one" }, todo)
    }

    fn source_faults(&self, node: &NodeName, look: &MemberLook, source: &SourceLook) -> Vec<String> {
        let wanted = |phase: &PhaseLook| match self.aim {
            Aim::Begin => None,
            Aim::Raise(to) => to.get(&phase.migration).map(|&to| to.min(phase.highest)),
            Aim::Advance(_) | Aim::Finalize(_) => Some(phase.highest),
        };
        let silent = source.problem.iter().map(|problem| format!("{node} does not follow it: {problem}"));
        let below = look.phases.iter().filter_map(|phase| {
            let held = *source.ceilings.get(&phase.migration)?;
            (held < wanted(phase)?).then(|| format!("{node} is held in {held} of {}", phase.migration))
        });
        silent.chain(below).collect()
    }
}
