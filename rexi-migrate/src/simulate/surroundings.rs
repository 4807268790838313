//! What is around the nodes of a scenario, as its plan changes it: links and clocks.

use std::time::{Duration, UNIX_EPOCH};

use rexi_proto::START_AHEAD_MAX;
use rexi_server::Node;

use super::ledger::ScenarioEvent;
use super::world::World;
use crate::plan::Op;

impl World {
    pub(super) fn heal(&self) {
        self.cluster.heal_all();
        self.ledger.note(ScenarioEvent::Healed);
    }

    /// Changes a link.
    pub(super) fn disturb(&self, op: Op) -> bool {
        let cluster = &self.cluster;
        let share = |percent: u8| f64::from(percent.min(100)) / 100.0;
        match op {
            Op::Cut { one, other } => self.between(one, other, |one, other| cluster.cut(one, other)),
            Op::CutOneWay { from, to } => self.between(from, to, |from, to| cluster.cut_one_way(from, to)),
            Op::Lose { one, other, percent } => {
                self.between(one, other, |one, other| cluster.lose(one, other, share(percent)))
            }
            Op::Twice { one, other, percent } => {
                self.between(one, other, |one, other| cluster.duplicate(one, other, share(percent)))
            }
            Op::Reorder { one, other, ms } => {
                self.between(one, other, |one, other| cluster.reorder(one, other, Duration::from_millis(ms.into())))
            }
            Op::Slow { one, other, ms } => {
                let delay = Duration::from_millis(ms.max(1).into());
                self.between(one, other, |one, other| cluster.slow(one, other, delay))
            }
            _ => false,
        }
    }

    fn between(&self, one: u8, other: u8, change: impl FnOnce(&str, &str)) -> bool {
        let (one, other) = (self.number(one), self.number(other));
        if one != other {
            change(self.names[one].as_str(), self.names[other].as_str());
        }
        one != other
    }

    pub(super) fn set_clock(&self, node: u8, seconds: i32) -> bool {
        let name = self.names[self.number(node)].as_str();
        let by = Duration::from_secs(seconds.unsigned_abs().into());
        if seconds < 0 {
            self.cluster.set_clock_back(name, by);
        } else {
            self.cluster.set_clock_ahead(name, by);
        }
        seconds != 0
    }

    /// Sets the clock of a node right. Whether it runs and has started so far ahead that its peers do not believe it.
    pub(super) fn right_clock(&self, number: usize) -> bool {
        self.cluster.set_clock_right(self.names[number].as_str());
        let running = self.cluster.running(self.names[number].as_str());
        let is_far = |node: Node| {
            let now = self.cluster.wall_clock(node.name().as_str()).duration_since(UNIX_EPOCH).unwrap_or_default();
            Duration::from_micros(node.incarnation().0) > now + START_AHEAD_MAX
        };
        running.is_some_and(is_far)
    }
}
