//! Makes plans: upgrades of a cluster under calls, with faults laid over the boundaries of their steps.
//!
//! A plan is a chain of scenes. Most are one operation; the others are what chance alone would not put together often
//! enough: a step with a fault on either side of it, a hot flip with jobs running, a whole release rolled over all
//! nodes. Scenes are lists, so that proptest takes them away and shortens them by itself.

use std::fmt;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, NewTree, Union, ValueTree};
use proptest::test_runner::TestRunner;
use rexi_proto::Train;

use super::op::{Leave, Op, Whom, Work};
use super::record::{Command, DiskFails, Lost, RecordOp};
use super::scenario::{NODES, Plan};
use crate::path::{Place, UpgradePath};

/// Plans of three nodes that go through this train, for `proptest!`; see [`Upgrades`].
///
/// ```
/// use proptest::prelude::*;
/// use rexi_migrate::demo;
/// use rexi_migrate::plan::upgrades;
/// use rexi_migrate::simulate::Simulation;
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(3))]
///     fn a_cluster_survives(plan in upgrades(&demo::train()).scenes(1..=6)) {
///         let outcome = Simulation::new().run(&plan);
///         prop_assert!(outcome.is_safe(), "{outcome}");
///     }
/// }
/// a_cluster_survives();
/// ```
///
/// # Panics
/// Where the train contradicts itself: the caller's fault.
pub fn upgrades(train: &Train) -> Upgrades {
    Upgrades::along(&UpgradePath::of(train).unwrap_or_else(|error| panic!("{error}")))
}

/// A proptest strategy for plans: how large, and out of what.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Upgrades {
    train: UpgradePath,
    nodes: u8,
    scenes: (usize, usize),
    actions: u16,
    forced: bool,
    operated: bool,
}

impl Upgrades {
    /// Plans of three nodes that go through these releases.
    pub fn along(train: &UpgradePath) -> Self {
        Self { train: train.clone(), nodes: 3, scenes: (4, 14), actions: 0, forced: true, operated: true }
    }

    /// The releases that they go through.
    pub fn train(&self) -> &UpgradePath {
        &self.train
    }

    /// How many nodes. Default: 3, which is enough for all upgrade failures of a public study of 123.
    ///
    /// # Panics
    /// Where that is not within [`NODES`].
    pub fn nodes(self, nodes: u8) -> Self {
        assert!(NODES.contains(&nodes), "a scenario has {} to {} nodes, not {nodes}", NODES.start(), NODES.end());
        Self { nodes, ..self }
    }

    /// How many scenes a plan has, of up to a dozen operations each. Default: 4 to 14.
    ///
    /// # Panics
    /// Where the range is empty.
    pub fn scenes(self, scenes: RangeInclusive<usize>) -> Self {
        assert!(!scenes.is_empty(), "{scenes:?} is an empty range of scenes");
        Self { scenes: (*scenes.start(), *scenes.end()), ..self }
    }

    /// How many different actions of the test's own ([`Op::Act`]) there are: they are numbered from 0. Default: none.
    pub fn actions(self, actions: u16) -> Self {
        Self { actions, ..self }
    }

    /// Leaves out the operator's mistake of starting a node two releases away ([`Op::Force`]). Such nodes are refused,
    /// so a service cannot be whole until the operator notices.
    pub fn without_mistakes(self) -> Self {
        Self { forced: false, ..self }
    }

    /// Leaves out the record and its operators, which a third of all plans have. For a service without one.
    pub fn without_record(self) -> Self {
        Self { operated: false, ..self }
    }

    fn plans(&self) -> BoxedStrategy<Plan> {
        let (least, most) = self.scenes;
        let train = self.train.clone();
        let scenes = |scene| vec(scene, least..=most).prop_map(|scenes| scenes.concat());
        let unrecorded = scenes(self.scene()).boxed();
        let scenes = if self.operated {
            let operated = Union::new_weighted(vec![(2, self.scene()), (3, self.operators())]).boxed();
            let begun = (self.node(), short(), scenes(operated))
                .prop_map(|(at, gap, scenes)| [vec![command(at, Command::Begin), gap], scenes].concat());
            prop_oneof![2 => unrecorded, 1 => begun].boxed()
        } else {
            unrecorded
        };
        let nodes = self.nodes;
        (0..=train.last().0, any::<u64>().no_shrink(), scenes)
            .prop_map(move |(start, seed, ops)| Plan { train: train.clone(), nodes, start: Place(start), seed, ops })
            .boxed()
    }

    fn scene(&self) -> BoxedStrategy<Vec<Op>> {
        let mut scenes = vec![
            (16, self.load()),
            (10, one(pass())),
            (6, one(self.kill())),
            (8, self.step_under_fault()),
            (6, self.flip()),
            (4, self.release()),
            (4, self.outage()),
            (2, self.lost_response()),
            (1, self.late_payload()),
            (6, one(self.fault())),
            (2, one(self.step())),
            (2, one(Just(Op::Heal).boxed())),
            (2, one((self.node(), -7_200..7_200).prop_map(|(node, seconds)| Op::Clock { node, seconds }).boxed())),
        ];
        if self.forced {
            let force = (self.node(), 0..=self.train.last().0)
                .prop_map(|(node, release)| Op::Force { node, release: Place(release) });
            scenes.push((2, one(force.boxed())));
        }
        Union::new_weighted(scenes).boxed()
    }

    fn node(&self) -> BoxedStrategy<u8> {
        (0..self.nodes).boxed()
    }

    fn pair(&self) -> BoxedStrategy<(u8, u8)> {
        let nodes = self.nodes;
        (0..nodes, 1..nodes).prop_map(move |(one, further)| (one, (one + further) % nodes)).boxed()
    }

    /// One call or more, or what the test does itself.
    fn call(&self) -> BoxedStrategy<Op> {
        let cast = (self.node(), self.node(), select(CASUAL), 1_u8..=3).prop_map(|(from, to, work, count)| Op::Cast {
            from,
            to,
            work,
            count,
        });
        let held = (self.pair(), select(&[Work::Hold, Work::Stream, Work::Large][..]))
            .prop_map(|((from, to), work)| Op::Cast { from, to, work, count: 1 });
        let gather = self.node().prop_map(|from| Op::Gather { from });
        let mut calls = vec![(5, cast.boxed()), (3, held.boxed()), (1, gather.boxed())];
        if self.actions > 0 {
            let act = (self.node(), 0..self.actions).prop_map(|(node, number)| Op::Act { node, number });
            calls.push((18, act.boxed()));
        }
        Union::new_weighted(calls).boxed()
    }

    fn load(&self) -> BoxedStrategy<Vec<Op>> {
        vec(self.call(), 1..=4).boxed()
    }

    fn kill(&self) -> BoxedStrategy<Op> {
        let one = (0_u8..4).prop_map(|call| Op::Kill { call });
        let all = self.node().prop_map(|node| Op::KillAll { node });
        prop_oneof![3 => one, 1 => all].boxed()
    }

    fn step(&self) -> BoxedStrategy<Op> {
        let how = || select(Leave::ALL);
        prop_oneof![
            5 => (self.node(), how()).prop_map(|(node, how)| Op::Upgrade { node, how }),
            2 => (self.node(), how()).prop_map(|(node, how)| Op::RollBack { node, how }),
            2 => self.whom().prop_map(|node| Op::Lower { node }),
            2 => self.whom().prop_map(|node| Op::Raise { node }),
        ]
        .boxed()
    }

    fn whom(&self) -> BoxedStrategy<Whom> {
        prop_oneof![1 => Just(Whom::All), 2 => self.node().prop_map(Whom::One)].boxed()
    }

    fn fault(&self) -> BoxedStrategy<Op> {
        let pair = || self.pair();
        prop_oneof![
            2 => pair().prop_map(|(one, other)| Op::Cut { one, other }),
            2 => pair().prop_map(|(from, to)| Op::CutOneWay { from, to }),
            2 => (pair(), 5_u8..=40).prop_map(|((one, other), percent)| Op::Lose { one, other, percent }),
            1 => (pair(), 5_u8..=60).prop_map(|((one, other), percent)| Op::Twice { one, other, percent }),
            1 => (pair(), 1_u16..=30).prop_map(|((one, other), ms)| Op::Reorder { one, other, ms }),
            1 => (pair(), 2_u16..=250).prop_map(|((one, other), ms)| Op::Slow { one, other, ms }),
        ]
        .boxed()
    }

    /// A fault on one side of a step and its end on the other, with calls before, between and after.
    fn step_under_fault(&self) -> BoxedStrategy<Vec<Op>> {
        let before = (self.call(), self.fault(), short());
        let after = (short(), self.call(), self.kill(), pass(), Just(Op::Heal));
        (before, self.step(), after)
            .prop_map(|((first, fault, gap), step, (then, second, kill, while_it_lasts, end))| {
                vec![first, fault, gap, step, then, second, kill, while_it_lasts, end]
            })
            .boxed()
    }

    /// A job that runs on while its caller's phase goes down and up again, and its kill in between.
    fn flip(&self) -> BoxedStrategy<Vec<Op>> {
        let cast = (self.pair(), select(&[Work::Hold, Work::Stream, Work::Ask][..]))
            .prop_map(|((from, to), work)| Op::Cast { from, to, work, count: 1 });
        (cast, short(), self.whom(), short(), self.kill(), short())
            .prop_map(|(cast, first, node, second, kill, third)| {
                vec![cast, first, Op::Lower { node }, second, kill, third, Op::Raise { node }]
            })
            .boxed()
    }

    /// A whole release over all nodes, on or back, one after the other, with a call in each gap.
    fn release(&self) -> BoxedStrategy<Vec<Op>> {
        let nodes = usize::from(self.nodes);
        let each = (select(Leave::ALL), self.call(), pass());
        (proptest::bool::weighted(0.25), vec(each, nodes..=nodes))
            .prop_map(|(back, each)| {
                let step = |node, how| if back { Op::RollBack { node, how } } else { Op::Upgrade { node, how } };
                let of = |(node, (how, call, gap))| [call, step(node, how), gap];
                (0..).zip(each).flat_map(of).collect()
            })
            .boxed()
    }

    /// The way to a job that asks is cut when it has asked, until its connection is given up.
    fn lost_response(&self) -> BoxedStrategy<Vec<Op>> {
        (self.pair(), 1_u16..=4, 8_000_u16..=9_500)
            .prop_map(|((from, to), first, second)| {
                let cast = Op::Cast { from, to, work: Work::Ask, count: 1 };
                vec![cast, Op::Pass { ms: first }, Op::CutOneWay { from, to }, Op::Pass { ms: second }, Op::Heal]
            })
            .boxed()
    }

    /// A node starts anew before the first of two large payloads of it is whole, and asks again. What the other node
    /// has not read of the second by then, it reads once its connection is replaced.
    fn late_payload(&self) -> BoxedStrategy<Vec<Op>> {
        (self.pair(), 9_u16..=17, 2_u16..=20)
            .prop_map(|((from, to), first, second)| {
                let ask = |work| Op::Cast { from, to, work, count: 1 };
                vec![
                    ask(Work::Largest),
                    ask(Work::Larger),
                    Op::Pass { ms: first },
                    Op::Crash { node: from },
                    Op::Start { node: from },
                    Op::Pass { ms: second },
                    // The second payload again, in the place and as long as the one that comes late.
                    ask(Work::Large),
                    ask(Work::Larger),
                ]
            })
            .boxed()
    }

    /// What operators do, and what befalls the disks of the record meanwhile.
    fn operators(&self) -> BoxedStrategy<Vec<Op>> {
        let asked = || (self.node(), select(Command::ALL)).prop_map(|(at, asked)| command(at, asked));
        let brief = || (0_u16..=30).prop_map(|ms| Op::Pass { ms });
        let ended =
            || (self.node(), select(&[Command::Resume, Command::Abort][..])).prop_map(|(at, end)| command(at, end));
        let two =
            (asked(), brief(), asked(), pass()).prop_map(|(first, gap, second, then)| vec![first, gap, second, then]);
        // A crash before, between or after the writes of whoever carries it or says yes.
        let crash =
            (asked(), brief(), self.node(), pass(), ended(), pass()).prop_map(|(asked, gap, node, gone, end, then)| {
                vec![asked, gap, Op::Crash { node }, gone, Op::Start { node }, end, then]
            });
        let fault = (self.fault(), asked(), short(), asked(), pass(), ended(), pass()).prop_map(
            |(fault, first, gap, second, lasts, end, then)| vec![fault, first, gap, second, lasts, Op::Heal, end, then],
        );
        let disk = (self.node(), select(DiskFails::ALL), asked(), pass(), self.load()).prop_map(
            |(node, how, asked, gap, load)| {
                let fails = Op::Record(RecordOp::Disk { node, how });
                [vec![fails, asked, gap], load, vec![Op::Crash { node }, Op::Start { node }]].concat()
            },
        );
        let forget = (self.pair(), any::<bool>(), asked(), pass(), short()).prop_map(
            |((at, node), is_wiped, asked, gap, then)| {
                let (lost, loss) = match is_wiped {
                    true => (Op::Record(RecordOp::Wipe { node }), Lost::Wiped),
                    false => (Op::Crash { node }, Lost::Destroyed),
                };
                let forget = Op::Record(RecordOp::Forget { at, node, loss });
                vec![asked, lost, then, forget, gap, Op::Start { node }]
            },
        );
        Union::new_weighted(vec![
            (4, one(asked().boxed())),
            (4, two.boxed()),
            (6, crash.boxed()),
            (4, fault.boxed()),
            (2, disk.boxed()),
            (2, forget.boxed()),
            (12, self.recorded_release()),
        ])
        .boxed()
    }

    /// The next release over all nodes as operators have it: the window is opened, and closed behind it or not.
    fn recorded_release(&self) -> BoxedStrategy<Vec<Op>> {
        let nodes = usize::from(self.nodes);
        let each = vec((select(Leave::ALL), self.call(), pass()), nodes..=nodes);
        (self.node(), self.node(), each, any::<bool>())
            .prop_map(|(first, second, each, closes)| {
                let of = |(node, (how, call, gap))| [call, Op::Upgrade { node, how }, gap];
                let steps = (0..).zip(each).flat_map(of);
                let opened = [command(first, Command::Open), Op::Pass { ms: 60 }];
                let closed = closes.then(|| [Op::Await, command(second, Command::Finalize), Op::Pass { ms: 60 }]);
                opened.into_iter().chain(steps).chain(closed.into_iter().flatten()).collect()
            })
            .boxed()
    }

    /// A node that is gone for a while.
    fn outage(&self) -> BoxedStrategy<Vec<Op>> {
        (self.node(), any::<bool>(), self.load(), pass())
            .prop_map(|(node, crash, load, gap)| {
                let mut ops = load.clone();
                ops.push(if crash { Op::Crash { node } } else { Op::Stop { node } });
                ops.extend(load);
                ops.extend([gap, Op::Start { node }]);
                ops
            })
            .boxed()
    }
}

fn command(at: u8, command: Command) -> Op {
    Op::Record(RecordOp::Command { at, command })
}

/// What a call is for by chance alone. What is asked with a large payload and is held has an even share with other
/// calls that last; what takes long to arrive has a scene of its own.
const CASUAL: &[Work] = &[Work::Reply, Work::Later, Work::Fail, Work::Hold, Work::Stream, Work::Ask, Work::Bulk];

/// Mostly some milliseconds, in which a packet is under way; sometimes as long as a connection takes to be missed, or a
/// peer to be given up.
fn pass() -> BoxedStrategy<Op> {
    let ms = prop_oneof![8 => 1_u16..=60, 4 => 60_u16..=900, 1 => 7_000_u16..=9_500, 1 => 22_000_u16..=26_000];
    ms.prop_map(|ms| Op::Pass { ms }).boxed()
}

fn short() -> BoxedStrategy<Op> {
    (1_u16..=25).prop_map(|ms| Op::Pass { ms }).boxed()
}

fn one(op: BoxedStrategy<Op>) -> BoxedStrategy<Vec<Op>> {
    op.prop_map(|op| vec![op]).boxed()
}

impl Strategy for Upgrades {
    type Tree = Box<dyn ValueTree<Value = Plan>>;
    type Value = Plan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        self.plans().new_tree(runner)
    }
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { train, nodes, scenes: (least, most), actions, forced, operated } = self;
        let mistakes = if *forced { "with" } else { "without" };
        write!(f, "upgrades of {nodes} nodes through {train}, {least} to {most} scenes, ")?;
        let record = if *operated { "a third with" } else { "without" };
        write!(f, "{actions} actions, {mistakes} mistakes, {record} a record")
    }
}
