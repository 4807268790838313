//! Drivers among keepers that answer for themselves: what an operator is told where others get in between.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Facts, Keeper, KeeperOutput, Kept, Loss, SeenLife};
use super::*;
use crate::function::Release;
use crate::migration::SERVER_PER_NODE;
use crate::name::Incarnation;
use crate::phase::Phase;

const LOW: Release = Release(1, 0, 0);

fn name(index: usize) -> NodeName {
    NodeName::new(format!("n{index}")).expect("a name")
}

/// Three members, of which those that are away do not answer.
struct Cluster {
    keepers: BTreeMap<NodeName, Keeper>,
    away: BTreeSet<NodeName>,
}

impl Cluster {
    fn new() -> Self {
        let keeper = |node: NodeName| (node.clone(), Keeper::new(Kept::nothing(node)));
        Self { keepers: (1..=3).map(name).map(keeper).collect(), away: BTreeSet::new() }
    }

    fn driver(&self, by: &str, command: OperatorCommand) -> Driver {
        let members = self.keepers.keys().cloned().collect();
        Driver::new(command, "shop".into(), by.into(), 1, members, Mutants::default())
    }

    /// Answers what a driver asks next; one that is away does not.
    fn answer(&mut self, driver: &mut Driver) {
        let (round, node, ask) = driver.poll_output().expect("it asks");
        let answer = (!self.away.contains(&node)).then(|| self.ask(&node, ask));
        driver.handle(round, &node, answer);
    }

    fn ask(&mut self, node: &NodeName, ask: KeeperAsk) -> Answer {
        let life = SeenLife { incarnation: Incarnation(7), release: LOW, build: Digest::default() };
        let members = self.keepers.keys().cloned().collect();
        let facts = Facts { life, members, cluster: "shop".into(), ready: Ok(()), settled: Ok(()) };
        let keeper = self.keepers.get_mut(node).expect("a member");
        keeper.handle(1, ask, &facts);
        loop {
            match keeper.poll_output().expect("it answers") {
                KeeperOutput::Write(_) => keeper.handle_written(true, &facts),
                KeeperOutput::Apply(_) => {}
                KeeperOutput::Answer(_, answer) => return answer,
            }
        }
    }

    fn carry(&mut self, mut driver: Driver) -> CommandOutcome {
        while driver.outcome().is_none() {
            self.answer(&mut driver);
        }
        driver.outcome().expect("it has ended").clone()
    }

    fn command(&mut self, by: &str, command: OperatorCommand) -> CommandOutcome {
        let driver = self.driver(by, command);
        self.carry(driver)
    }

    /// Carries a command until all have been asked for their yes, and one of them has yet to hear it.
    fn carry_to_the_last_yes(&mut self, by: &str, command: OperatorCommand) -> Driver {
        let mut driver = self.driver(by, command);
        while driver.step != Step::Vote || driver.waiting.len() > 1 {
            self.answer(&mut driver);
        }
        driver
    }

    fn epochs(&self) -> Vec<u64> {
        self.keepers.values().map(|keeper| keeper.kept().epoch()).collect()
    }
}

fn begin() -> OperatorCommand {
    OperatorCommand::Make(ClusterChange::Begin { floor: LOW, top: LOW })
}

fn cap(phase: Phase) -> OperatorCommand {
    OperatorCommand::Make(ClusterChange::Cap([(SERVER_PER_NODE.key().clone(), phase)].into()))
}

fn forget(node: usize) -> OperatorCommand {
    OperatorCommand::Make(ClusterChange::Forget { nodes: [name(node)].into(), loss: Loss::Destroyed })
}

#[test]
fn who_is_overtaken_by_who_ended_it_is_told_that_it_is_done() {
    let mut cluster = Cluster::new();
    let first = cluster.carry_to_the_last_yes("alice", begin());
    assert_eq!(cluster.command("bob", OperatorCommand::Resume), CommandOutcome::Done(1));
    assert_eq!(cluster.carry(first), CommandOutcome::Done(1), "and not that there is a record already");
}

#[test]
fn a_change_is_made_once_though_another_came_after_it() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.command("alice", begin()), CommandOutcome::Done(1));
    let first = cluster.carry_to_the_last_yes("alice", cap(Phase::Introduce));
    assert_eq!(cluster.command("bob", OperatorCommand::Resume), CommandOutcome::Done(2));
    assert_eq!(cluster.command("bob", cap(Phase::Singleton)), CommandOutcome::Done(3));
    assert_eq!(cluster.carry(first), CommandOutcome::Done(2));
    assert_eq!(cluster.epochs(), [3, 3, 3], "bob's change stands");
}

#[test]
fn who_is_overtaken_twice_is_told_that_it_cannot_be_told() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.command("alice", begin()), CommandOutcome::Done(1));
    let first = cluster.carry_to_the_last_yes("alice", cap(Phase::Introduce));
    assert_eq!(cluster.command("bob", OperatorCommand::Resume), CommandOutcome::Done(2));
    for phase in [Phase::Singleton, Phase::Switch] {
        cluster.command("bob", cap(phase));
    }
    assert_eq!(cluster.carry(first), CommandOutcome::Overtaken(4));
}

#[test]
fn what_was_given_up_is_tried_again_where_another_change_came() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.command("alice", begin()), CommandOutcome::Done(1));
    let first = cluster.carry_to_the_last_yes("alice", cap(Phase::Introduce));
    assert_eq!(cluster.command("bob", OperatorCommand::Abort), CommandOutcome::Aborted { epoch: 2, attempt: 1 });
    assert_eq!(cluster.command("bob", cap(Phase::Singleton)), CommandOutcome::Done(2));
    assert_eq!(cluster.carry(first), CommandOutcome::Done(3));
}

#[test]
fn a_member_that_is_lost_before_there_is_a_record_is_left_behind() {
    let mut cluster = Cluster::new();
    let first = cluster.carry_to_the_last_yes("alice", begin());
    drop(first);
    cluster.away.insert(name(3));
    assert_eq!(cluster.command("bob", OperatorCommand::Abort), CommandOutcome::Blocked([name(3)].into()));
    assert_eq!(cluster.command("bob", forget(3)), CommandOutcome::Aborted { epoch: 1, attempt: 2 });
    // The lists are changed.
    cluster.keepers.remove(&name(3));
    assert_eq!(cluster.command("bob", begin()), CommandOutcome::Done(1));
    assert!(cluster.keepers.values().all(|keeper| keeper.kept().fence.is_none() && keeper.kept().vote.is_none()));
}

#[test]
fn of_two_that_are_fenced_off_by_each_other_the_first_goes_on() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.command("alice", begin()), CommandOutcome::Done(1));
    // Of each operator's command one member hears.
    let freeze = |cluster: &mut Cluster, lost: usize, hears: usize| {
        cluster.away.insert(name(lost));
        let mut driver = cluster.driver("alice", forget(lost));
        while !matches!(driver.step, Step::Freeze(_)) {
            cluster.answer(&mut driver);
        }
        while let Some((_, node, ask)) = driver.poll_output() {
            if node == name(hears) {
                assert_eq!(cluster.ask(&node, ask).did, Ok(()));
            }
        }
        cluster.away.clear();
    };
    freeze(&mut cluster, 2, 1);
    freeze(&mut cluster, 1, 2);
    assert_eq!(cluster.command("bob", OperatorCommand::Resume), CommandOutcome::Done(2));
    let [first, second, third] = [1, 2, 3].map(|index| cluster.keepers[&name(index)].kept().clone());
    assert_eq!((first.epoch(), second.epoch(), third.epoch()), (2, 1, 2), "the second is forgotten");
}
