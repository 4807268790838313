//! The evidence of a rehearsal: the ledgers of all its processes, its steps, and the cases that its plan has to
//! produce.
//!
//! In: every process with its end, the rows of the steps, the plan. Out: what `judge.rs` judges. A ledger that cannot
//! be read is passed on as such, since the judge decides what it means.

use std::sync::Arc;
use std::time::Duration;

use rexi_proto::Limits;

use crate::history::evidence::{Evidence, ProcessEnd, ProcessRecord, StepWindow};
use crate::history::judge::Judgement;
use crate::history::ledger::LedgerReader;
use crate::plan::{Leave, Op, Plan};
use crate::rehearse::cluster::{Ending, ProcessLife};
use crate::rehearse::report::StepRow;
use crate::verdict::case::{Requirement, Witness};
use crate::workload::called;
use rexi_proto::Release;

/// Who judges what the ledgers of a run show.
pub(crate) type Judge = Arc<dyn Fn(&Evidence) -> Judgement + Send + Sync>;

/// Reads the ledger of every process and adds the rest. Blocks, for about a second a million records.
pub fn gather(lives: &[ProcessLife], rows: &[StepRow], plan: &Plan) -> Evidence {
    Evidence {
        processes: lives.iter().map(process).collect(),
        steps: windows(rows),
        required: required(plan),
        outlives_max: Some(outlives_max()),
        doubtful_after: Some(DOUBTFUL_AFTER),
        functions: called(&plan.train),
        simulated: false,
        disturbances: Vec::new(),
    }
}

fn process(life: &ProcessLife) -> ProcessRecord {
    let at_us = life.stopped_us.unwrap_or(u64::MAX);
    let end = match life.ended {
        Some(Ending::Killed | Ending::FromOutside) => ProcessEnd::KilledNine { at_us },
        Some(Ending::Drained) => ProcessEnd::Drained { at_us },
        Some(Ending::ByItself) => ProcessEnd::Crashed { at_us },
        None => ProcessEnd::LiveAtEnd,
    };
    ProcessRecord { node: life.index, ledger: LedgerReader::read(&life.ledger), end }
}

/// The steps without the gaps between them, in which a cast would belong to none.
fn windows(rows: &[StepRow]) -> Vec<StepWindow> {
    let next = rows.iter().skip(1).map(|row| row.started_us).chain([u64::MAX]);
    let window = |(row, next_us): (&StepRow, u64)| StepWindow {
        name: row.title(),
        from_us: row.started_us,
        to_us: if next_us == u64::MAX { row.ended_us } else { next_us },
    };
    rows.iter().zip(next).map(window).collect()
}

/// Of the cases that prove a run's worth, those that this plan can produce.
pub(crate) fn required(plan: &Plan) -> Vec<Requirement> {
    let mut required = Requirement::of_rehearsal();
    required.retain(|requirement| can_produce(plan, requirement.witness));
    required
}

fn can_produce(plan: &Plan, witness: Witness) -> bool {
    let stops = |how| plan.ops.iter().filter(|op| op.stops() == Some(how)).count();
    let restarts = stops(Leave::Kill) + stops(Leave::Drain) > 0;
    let any = |is: fn(&Op) -> bool| plan.ops.iter().any(is);
    // Every node goes from each release of the train to the next.
    let neighbours = |are: fn(&[Release]) -> bool| restarts && plan.train.releases().windows(2).any(are);
    match witness {
        Witness::KillNine => stops(Leave::Kill) > 0,
        Witness::Rollback => any(|op| matches!(op, Op::RollBack { .. })) || neighbours(|two| two[1] < two[0]),
        Witness::BufferedOverRelease => neighbours(|two| two[1] != two[0]),
        // A stream takes a moment to fill its window, and a step that does not dwell may give it none.
        Witness::RestartInFlight | Witness::StreamOverRestart | Witness::StreamWindowFull => restarts,
        // Only the release that has the phase `switch` of rexi's own migration has other servers to flip to.
        Witness::KillAcrossSwitch | Witness::StreamOverSwitch => {
            plan.train.switches_servers() && any(|op| matches!(op, Op::Raise { .. }))
        }
        // Nodes leave in good order, often enough, and the others learn of it at once and ask around; and there are
        // enough others for a majority.
        Witness::QuorumOverDown => plan.nodes > 2 && stops(Leave::Drain) >= DRAINS_MIN,
        // What is demanded without a rule here is demanded of every plan.
        _ => true,
    }
}

/// How many orderly restarts a plan needs for a quorum over a node that is down to be certain: each gives a few, and
/// the default plan has at least one in each of its five legs.
const DRAINS_MIN: usize = 5;

/// How long a job may run on after its kill or its caller's death, at most 25 s: a peer that dies in silence is away
/// when the connection's idle time-out has passed, and down, with its jobs, when it was away for the stability period.
pub fn outlives_max() -> Duration {
    IDLE_TIMEOUT + Limits::default().stability_period + SLACK
}

/// From when on a job that runs on, or a call that has heard nothing, is a doubt. Far above the 0.4 s to 1.3 s that a
/// healthy run comes to on a busy machine, since a restart tells its peers at once what a silent death does not.
pub const DOUBTFUL_AFTER: Duration = Duration::from_secs(5);

/// What the transport of `rexi-server` waits for a sign of life.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);

/// Room for a machine that is busy.
const SLACK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rexi_proto::{Incarnation, NodeName, Phase, ServerAddress};

    use super::*;
    use crate::history::judge::{Verdict, judge};
    use crate::history::ledger::{
        CallId, CallNumber, Entry, LedgerHeader, LedgerWriter, NodeIndex, Outcome, Work, now_us,
    };
    use crate::name::node_name;
    use crate::plan::rolling;

    fn witnesses(train: &str, kill_share: f64) -> Vec<Witness> {
        let train = crate::demo::path().select(train).expect("a path");
        required(&rolling(&train, 3, 1, kill_share)).iter().map(|requirement| requirement.witness).collect()
    }

    #[test]
    fn a_plan_is_asked_for_what_it_can_produce_and_the_whole_train_for_all() {
        let all: Vec<Witness> = Requirement::of_rehearsal().iter().map(|requirement| requirement.witness).collect();
        assert_eq!(witnesses("1.0,1.1,1.2,2.0", 0.4), all);
        assert_eq!(witnesses("1.1", 0.4), []);
        let all_killed = witnesses("1.0,1.1,1.2,2.0", 1.0);
        assert!(!all_killed.contains(&Witness::QuorumOverDown) && all_killed.contains(&Witness::StreamOverSwitch));
        let streams = [Witness::StreamOverRestart, Witness::StreamWindowFull];
        let restarts = [Witness::BufferedOverRelease, Witness::RestartInFlight];
        assert_eq!(witnesses("1.0,1.1", 0.0), [restarts, streams].concat());
        let back = [Witness::KillNine, Witness::Rollback];
        assert_eq!(witnesses("1.1,1.0", 1.0), [restarts, back, streams].concat());
        assert_eq!(witnesses("1.2", 0.4), [Witness::KillAcrossSwitch, Witness::StreamOverSwitch]);
    }

    fn row(number: usize, started_us: u64, ended_us: u64) -> StepRow {
        StepRow {
            number,
            node: "n2".to_owned(),
            from: "1.0".parse().ok(),
            to: "1.1".parse().ok(),
            how: "drain".to_owned(),
            started_us,
            ended_us,
            ready_ms: None,
            casts_per_s: None,
            in_flight: 0,
            error: None,
        }
    }

    #[test]
    fn steps_leave_no_gap_between_them_and_keep_their_order() {
        let windows = windows(&[row(1, 10, 20), row(2, 22, 22), row(3, 22, 30)]);
        let times: Vec<(u64, u64)> = windows.iter().map(|window| (window.from_us, window.to_us)).collect();
        assert_eq!(times, [(10, 22), (22, 22), (22, 30)]);
        assert_eq!(windows[0].name, "1 n2 1.0 -> 1.1 drain");
    }

    fn writer(dir: &Path, index: u16) -> LedgerWriter {
        let node = NodeName::new(node_name(index)).expect("a name");
        let release = semver::Version::new(1, 1, 0);
        let header = LedgerHeader::new(node, NodeIndex(index), release, Incarnation(u64::from(index) + 1));
        LedgerWriter::create(dir.join(format!("{index}.ledger")), &header).expect("a ledger")
    }

    fn write(ledger: &LedgerWriter, entries: &[Entry]) {
        for entry in entries {
            ledger.append(&[*entry]).expect("written");
        }
    }

    fn life(dir: &Path, index: u16, ended: Option<Ending>) -> ProcessLife {
        ProcessLife {
            node: node_name(index),
            index: NodeIndex(index),
            release: "1.1".parse().expect("a release"),
            ledger: dir.join(format!("{index}.ledger")),
            incarnation: None,
            stopped_us: Some(now_us()),
            ended,
            judged: false,
        }
    }

    #[test]
    fn ledgers_on_disk_are_judged_from_both_ends_by_how_their_process_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let begun_us = now_us();
        let (caller, worker) = (writer(dir.path(), 0), writer(dir.path(), 1));
        let (phase, work) = (Phase::Introduce, Work::Reply);
        let cast = |call| Entry::Cast { call: CallNumber(call), to: NodeIndex(1), work, phase };
        let id = CallId { caller: NodeIndex(0), incarnation: Incarnation(1), call: CallNumber(1) };
        write(&caller, &[cast(1)]);
        let how = crate::history::ledger::Ending::Done;
        write(&worker, &[Entry::Started { id, server: ServerAddress::Singleton, work }, Entry::Ended { id, how }]);
        let answered = Entry::Answered { call: CallNumber(1), outcome: Outcome::Reply };
        write(&caller, &[answered, cast(2), Entry::Quiet, Entry::Drained]);
        let rows = [row(1, begun_us, begun_us + 60_000_000)];
        let plan = Plan::parse("nodes 3 start 1.1 seed 1", &crate::demo::path()).expect("a plan");
        let mut lives = vec![life(dir.path(), 0, Some(Ending::Killed)), life(dir.path(), 1, Some(Ending::Killed))];
        let judged = judge(&gather(&lives, &rows, &plan));
        assert_eq!(judged.verdict, Verdict::Safe, "{judged:?}");
        assert_eq!((judged.counts.casts, judged.counts.caller_died, judged.steps[0].answered), (2, 1, 1));

        lives[0].ended = Some(Ending::Drained);
        let judged = judge(&gather(&lives, &rows, &plan));
        assert_eq!((judged.counts.lost, judged.steps[0].lost), (1, 1), "{judged:?}");

        lives.push(life(dir.path(), 2, Some(Ending::ByItself)));
        lives[0].ended = Some(Ending::Killed);
        let judged = judge(&gather(&lives, &rows, &plan));
        assert!(matches!(judged.verdict, Verdict::CouldNotTell(_)), "{judged:?}");
        assert!(judged.doubts[0].contains("a ledger of n3 is missing"), "{:?}", judged.doubts);
    }
}
