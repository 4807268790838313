//! How much may happen to a record: the members, what operators ask for, and a budget for each thing that costs states.

use std::collections::BTreeMap;

use rexi_proto::record::{ClusterChange, OperatorCommand};
use rexi_proto::{Mutants, Phase, Release, SERVER_PER_NODE};

use crate::model::name;
use crate::path::UpgradePath;

/// The bounds of one search. Counts are per run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its name in reports.
    pub name: String,
    /// Members, 1 to 4.
    pub nodes: usize,
    /// Whether there is a record at first; else all disks are empty.
    pub begun: bool,
    /// Whether a change is half-way at first: a finalize that the first member has and the others have said yes to,
    /// with the record on its way to the second.
    pub half_way: bool,
    /// A member that nobody lists at first.
    pub joiner: Option<usize>,
    /// The releases that may run, lowest first: at least two.
    pub releases: Vec<Release>,
    /// The places of the lowest and of the highest release that may run at first.
    pub window: (usize, usize),
    /// The place of the release that all run at first.
    pub runs: usize,
    /// What each operator asks for, once.
    pub wishes: Vec<OperatorCommand>,
    /// Whether operators may give up what is under way; they may always go on with it.
    pub aborts: bool,
    /// Whether they may do so while another's command is carried.
    pub rivals: bool,
    /// Members that never come back, and that operators may forget once they are gone.
    pub lost: Vec<usize>,
    /// Whether those come back after all.
    pub returns: bool,
    /// Processes that are killed.
    pub crashes: u8,
    /// Restarts into another release.
    pub moves: u8,
    /// Answers that do not come, though what was asked may.
    pub misses: u8,
    /// What is asked, and comes twice.
    pub doubles: u8,
    /// Drivers that are killed.
    pub deserted: u8,
    /// Disks that are emptied while their node is down.
    pub wipes: u8,
    /// Disks whose file can no longer be read.
    pub corruptions: u8,
    /// Writes that fail.
    pub failures: u8,
    /// Meetings of two members, of whom one has the later record, while an operator's command is carried; afterwards
    /// there may be any number.
    pub meetings: u8,
    /// Whether what members keep is read of one after the other, with all that may come between.
    pub torn: bool,
    /// Lists of members that come to name those that nobody listed.
    pub relists: u8,
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

impl Bounds {
    /// Three members with a record, and nothing that happens to them.
    fn new(name: &str, releases: &[Release], mutants: Mutants) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 3,
            begun: true,
            half_way: false,
            joiner: None,
            releases: releases.to_vec(),
            window: (0, 0),
            runs: 0,
            wishes: Vec::new(),
            aborts: true,
            rivals: false,
            lost: Vec::new(),
            returns: false,
            crashes: 0,
            moves: 0,
            misses: 0,
            doubles: 0,
            deserted: 0,
            wipes: 0,
            corruptions: 0,
            failures: 0,
            meetings: 0,
            torn: false,
            relists: 0,
            mutants,
        }
    }

    /// All bounds in one line.
    pub fn describe(&self) -> String {
        let mut text = format!("{} members", self.nodes);
        for (count, one, several) in [
            (self.wishes.len(), "wish", "wishes"),
            (self.crashes.into(), "crash", "crashes"),
            (self.moves.into(), "move to another release", "moves to another release"),
            (self.misses.into(), "answer lost", "answers lost"),
            (self.doubles.into(), "message doubled", "messages doubled"),
            (self.deserted.into(), "driver killed", "drivers killed"),
            (self.wipes.into(), "disk wiped", "disks wiped"),
            (self.corruptions.into(), "file corrupt", "files corrupt"),
            (self.failures.into(), "write failed", "writes failed"),
            (self.meetings.into(), "meeting in between", "meetings in between"),
            (self.relists.into(), "list changed", "lists changed"),
        ] {
            if count > 0 {
                text += &format!(", {count} {}", if count == 1 { one } else { several });
            }
        }
        text
    }
}

/// The searches of `check`, on the releases of a train.
pub fn bounds(train: &UpgradePath, mutants: Mutants) -> Vec<Bounds> {
    let mut releases: Vec<Release> = (0..train.len().min(3)).map(|place| train.at(place).stop()).collect();
    while let [.., last] = releases[..]
        && releases.len() < 3
    {
        releases.push(Release(last.0 + 1, 0, 0));
    }
    let mut all = operators(&releases, mutants);
    all.extend(bad_days(&releases, mutants));
    all
}

/// Operators who get in each other's way, and what they say that is lost or comes twice.
fn operators(releases: &[Release], mutants: Mutants) -> Vec<Bounds> {
    let make = OperatorCommand::Make;
    let low = || BTreeMap::from([(SERVER_PER_NODE.key().clone(), Phase::Introduce)]);
    let (open, cap) = (|| make(ClusterChange::Open { top: releases[1] }), || make(ClusterChange::Cap(low())));
    let begin = |top: usize| make(ClusterChange::Begin { floor: releases[0], top: releases[top] });
    let lift = || make(ClusterChange::Lift((0..3).map(|index| (name(index), 1)).collect()));
    let of = |name: &str, wishes| Bounds { wishes, ..Bounds::new(name, releases, mutants) };
    vec![
        Bounds { meetings: 1, ..of("two operators at once", vec![open(), cap()]) },
        Bounds { torn: true, ..of("two operators who read one member after the other", vec![open(), cap()]) },
        Bounds { rivals: true, ..of("one operator, and others who end it", vec![open()]) },
        Bounds { deserted: 1, ..of("two operators, and a driver is killed", vec![open(), open()]) },
        Bounds { doubles: 1, deserted: 1, ..of("messages doubled, and a driver is killed", vec![open()]) },
        Bounds { doubles: 1, ..of("two operators, and messages doubled", vec![open(), cap()]) },
        Bounds { aborts: false, deserted: 1, misses: 1, ..of("one change, always gone on with", vec![open()]) },
        Bounds { begun: false, crashes: 1, ..of("two operators begin", vec![begin(0), begin(1)]) },
        Bounds { begun: false, rivals: true, ..of("one begins, and others end it", vec![begin(0)]) },
        Bounds { begun: false, lost: vec![2], ..of("one begins, and a member is lost", vec![begin(0)]) },
        Bounds { misses: 1, ..of("a brake and its lifting", vec![OperatorCommand::Brake(low()), lift()]) },
        Bounds { nodes: 4, joiner: Some(3), relists: 4, ..of("a member joins", vec![open()]) },
        Bounds { joiner: Some(0), relists: 3, ..of("a member joins that is asked first", vec![open(), cap()]) },
    ]
}

/// Processes that are killed, disks that fail, and members that are lost.
fn bad_days(releases: &[Release], mutants: Mutants) -> Vec<Bounds> {
    let make = OperatorCommand::Make;
    let open = |top: usize| make(ClusterChange::Open { top: releases[top] });
    let finalize = || make(ClusterChange::Finalize { floor: releases[1] });
    let cap = || make(ClusterChange::Cap(BTreeMap::new()));
    let of = |name: &str, wishes| Bounds { wishes, window: (0, 1), runs: 1, ..Bounds::new(name, releases, mutants) };
    let crash = |name: &str, wishes| Bounds { crashes: 1, meetings: 1, ..of(name, wishes) };
    vec![
        Bounds { moves: 1, ..crash("a finalize, a crash and a release below", vec![finalize()]) },
        Bounds { wipes: 1, moves: 1, ..crash("a finalize and a disk that is wiped", vec![finalize()]) },
        Bounds { failures: 1, ..of("a finalize and a disk that fails", vec![finalize()]) },
        Bounds { corruptions: 1, moves: 1, ..crash("a file that cannot be read", Vec::new()) },
        Bounds { wipes: 1, crashes: 1, ..of("a disk that is wiped, and two operators", vec![cap(), finalize()]) },
        Bounds { wipes: 1, half_way: true, ..crash("a disk that is wiped, half-way", vec![cap()]) },
        Bounds { lost: vec![2], deserted: 1, ..of("a member is lost, and forgotten", vec![finalize()]) },
        Bounds { lost: vec![0], ..of("the member that is asked first is lost", vec![finalize()]) },
        Bounds { nodes: 4, lost: vec![2, 3], ..of("two members are lost", vec![finalize()]) },
        Bounds { lost: vec![2], wipes: 1, crashes: 1, ..of("one is lost, and a disk is wiped", vec![finalize()]) },
        Bounds {
            lost: vec![2],
            returns: true,
            meetings: 1,
            deserted: 1,
            ..of("a member is forgotten, and comes back", vec![finalize()])
        },
        Bounds { window: (1, 1), moves: 1, ..crash("a window below the floor", vec![open(0), open(2)]) },
    ]
}
