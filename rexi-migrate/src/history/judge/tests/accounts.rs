//! What accounts for what: for each finding a run that shows it, and the same run with each record, or end of a
//! process, that makes it none. docs/judge.md has this table, word for word.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::history::ledger::{GatherForm, NodeSet};

/// A finding, the run that shows it, and the runs that do not, each by what accounts for it.
struct Row {
    kind: FindingKind,
    /// The records that show it.
    shown_by: &'static [&'static str],
    shown: Evidence,
    accounted: Vec<(&'static str, Evidence)>,
}

fn row(
    kind: FindingKind,
    shown_by: &'static [&'static str],
    shown: Evidence,
    accounted: impl IntoIterator<Item = (&'static str, Evidence)>,
) -> Row {
    Row { kind, shown_by, shown, accounted: accounted.into_iter().collect() }
}

fn rows() -> Vec<Row> {
    [calls(), jobs(), stray_ends(), answers(), talk(), gathers_and_monitors()].into_iter().flatten().collect()
}

fn asked(work: Work) -> Process {
    caller().cast(100, 1, 1, work)
}

fn job(work: Work) -> Process {
    worker().started(110, id(1), work)
}

/// A run in which a job may outlive its kill and its caller for 25 s.
fn limited<const N: usize>(processes: [ProcessRecord; N]) -> Evidence {
    Evidence { outlives_max: Some(Duration::from_secs(25)), ..run(processes) }
}

/// Beats from one time on, with a gap until the other.
fn stands_still(process: Process, from_us: u64, to_us: u64) -> Process {
    let beat = Entry::Beat { waited_us: 0 };
    process.add(from_us, beat).add(to_us, beat)
}

fn unread(node: u16) -> ProcessRecord {
    let ledger = Err(LedgerError::NotALedger { path: "n.ledger".into() });
    ProcessRecord { node: NodeIndex(node), ledger, end: ProcessEnd::LiveAtEnd }
}

const SECOND: u64 = 1_000_000;

fn calls() -> Vec<Row> {
    use FindingKind as K;
    let lost = |caller: Process| run([caller.live(), worker().live()]);
    let given_up = |process: Process| process.answered(130 * SECOND, 1, Outcome::TimedOut);
    let silent = || job(Work::Stream).item_sent(111, id(1), 0).ended(210, id(1), Ending::Dropped).live();
    vec![
        row(
            K::Lost,
            &["cast", "answered"],
            lost(asked(Work::Reply)),
            [
                ("answered", lost(asked(Work::Reply).answered(120, 1, Outcome::Down))),
                ("killed", lost(asked(Work::Hold).killed(200, 1, Phase::Switch))),
                ("kill -9", run([asked(Work::Reply).kill_nine(900), worker().live()])),
                ("beat", lost(given_up(stands_still(asked(Work::Reply), 200, 125 * SECOND)))),
            ],
        ),
        row(
            K::StreamSilent,
            &["cast", "answered"],
            run([asked(Work::Stream).live(), silent()]),
            [
                ("answered", run([asked(Work::Stream).answered(220, 1, Outcome::Dropped).live(), silent()])),
                ("stream started", {
                    let started = asked(Work::Stream).stream_started(120, 1, 4);
                    run([started.killed(200, 1, Phase::Switch).live(), silent()])
                }),
                ("kill -9", run([asked(Work::Stream).kill_nine(205), silent()])),
            ],
        ),
        row(
            K::AnsweredTwice,
            &["answered"],
            {
                let (caller, worker) = served(Work::Reply);
                run([caller.answered(131, 1, Outcome::Reply).live(), worker.live()])
            },
            [],
        ),
        row(K::Crashed, &[], run([worker().crash(300)]), []),
    ]
}

fn jobs() -> Vec<Row> {
    use FindingKind as K;
    let killed = || asked(Work::Hold).killed(200, 1, Phase::Switch).live();
    let late = 40 * SECOND;
    let died = || asked(Work::Hold).kill_nine(200);
    vec![
        row(
            K::ExecutedTwice,
            &["started"],
            {
                let (caller, worker) = served(Work::Reply);
                run([caller.live(), worker.started(112, id(1), Work::Reply).ended(113, id(1), Ending::Done).live()])
            },
            [],
        ),
        row(
            K::OrphanAfterKill,
            &["killed", "ended"],
            limited([killed(), job(Work::Hold).live()]),
            [
                ("ended", limited([killed(), job(Work::Hold).ended(210, id(1), Ending::Dropped).live()])),
                ("kill -9", limited([killed(), job(Work::Hold).kill_nine(900)])),
                ("beat", {
                    let job = stands_still(job(Work::Hold), 150, 30 * SECOND);
                    limited([killed(), job.ended(late, id(1), Ending::Dropped).live()])
                }),
            ],
        ),
        row(
            K::Orphan,
            &["cast", "ended"],
            limited([died(), job(Work::Hold).live()]),
            [
                ("ended", limited([died(), job(Work::Hold).ended(210, id(1), Ending::Dropped).live()])),
                ("kill -9", limited([died(), job(Work::Hold).kill_nine(900)])),
                ("beat", {
                    let job = stands_still(job(Work::Hold), 150, 30 * SECOND);
                    limited([died(), job.ended(late, id(1), Ending::Dropped).live()])
                }),
            ],
        ),
        row(
            K::JobWithoutCall,
            &["started"],
            run([caller().live(), job(Work::Reply).ended(120, id(1), Ending::Done).live()]),
            [
                ("cast", {
                    let (caller, worker) = served(Work::Reply);
                    run([caller.live(), worker.live()])
                }),
                ("gather begun", {
                    let (caller, worker) = gather();
                    run([caller.live(), worker.live()])
                }),
                (
                    "torn tail",
                    run([torn(caller().kill_nine(900)), job(Work::Reply).ended(120, id(1), Ending::Done).live()]),
                ),
                ("missing ledger", run([unread(0), job(Work::Reply).ended(120, id(1), Ending::Done).live()])),
            ],
        ),
        row(
            K::JobUnlikeCall,
            &["cast", "started"],
            {
                let (caller, _) = served(Work::Reply);
                run([caller.live(), job(Work::Bulk).ended(120, id(1), Ending::Done).live()])
            },
            [],
        ),
    ]
}

/// A job that holds was dropped though nobody had killed it: the caller dies long after.
fn stray_ends() -> Vec<Row> {
    let dropped = |work| job(work).ended(500, id(1), Ending::Dropped);
    let much_later = 20 * SECOND;
    let hold = |caller: Process| run([caller.kill_nine(much_later), dropped(Work::Hold).live()]);
    let away = |node| Entry::Away { node: NodeIndex(node) };
    let other = |outcome| asked(Work::Hold).cast(200, 2, 1, Work::Reply).answered(490, 2, outcome);
    let late = |caller: Process| caller.add(15 * SECOND, away(1));
    vec![row(
        FindingKind::EndedUnkilled,
        &["ended", "killed"],
        hold(asked(Work::Hold)),
        [
            ("killed", hold(asked(Work::Hold).killed(400, 1, Phase::Switch))),
            ("answered", hold(asked(Work::Hold).answered(900, 1, Outcome::Down))),
            ("answered, of another call to that node", hold(other(Outcome::ConnectionLost))),
            ("stream cancelled", {
                let cancelled = asked(Work::Stream).add(300, Entry::StreamCancelled { call: CallNumber(1) });
                run([cancelled.kill_nine(much_later), dropped(Work::Stream).live()])
            }),
            ("away", hold(asked(Work::Hold).add(480, away(1)))),
            ("away, at the job's node", {
                let worker = dropped(Work::Hold).add(501, away(0));
                run([asked(Work::Hold).kill_nine(much_later), worker.live()])
            }),
            ("beat", hold(late(stands_still(asked(Work::Hold), 450, 15 * SECOND)))),
            ("kill -9", run([asked(Work::Hold).kill_nine(490), dropped(Work::Hold).live()])),
            ("kill -9, soon after the end of a stream", {
                run([asked(Work::Stream).kill_nine(600), dropped(Work::Stream).live()])
            }),
            ("drained", run([asked(Work::Hold).kill_nine(much_later), dropped(Work::Hold).drain(490)])),
            ("crashed", run([asked(Work::Hold).kill_nine(much_later), dropped(Work::Hold).crash(900)])),
            ("torn tail", run([torn(asked(Work::Hold).kill_nine(much_later)), dropped(Work::Hold).live()])),
        ],
    )]
}

fn answers() -> Vec<Row> {
    use FindingKind as K;
    let answered = |work, outcome, how| {
        run([asked(work).answered(130, 1, outcome).live(), job(work).ended(120, id(1), how).live()])
    };
    let told = |outcome| run([asked(Work::Reply).answered(130, 1, outcome).live(), worker().live()]);
    vec![
        row(K::WrongReply, &["answered"], answered(Work::Reply, Outcome::WrongReply, Ending::Done), []),
        row(K::UnfitAnswer, &["answered"], answered(Work::Fail, Outcome::Reply, Ending::Done), []),
        row(K::UnaskedExit, &["answered"], told(Outcome::OtherExit), []),
        row(K::AnswerUnlikeJob, &["answered", "ended"], answered(Work::Reply, Outcome::Reply, Ending::Failed), []),
        row(K::NoSuchServer, &["answered"], told(Outcome::NoSuchServer), []),
        row(K::NoSuchFunction, &["answered"], told(Outcome::NoSuchFunction), []),
        row(
            K::ReplyWithoutJob,
            &["answered", "started"],
            told(Outcome::Reply),
            [
                ("started", answered(Work::Reply, Outcome::Reply, Ending::Done)),
                ("missing ledger", run([asked(Work::Reply).answered(130, 1, Outcome::Reply).live(), unread(1)])),
            ],
        ),
    ]
}

/// A stream of four items, of which these came, and another ledger says what was sent.
fn stream(received: &[u16], sent: u16) -> (Process, Process) {
    let caller = asked(Work::Stream).stream_started(112, 1, 4);
    let came = |process: Process, (at_us, &index): (u64, &u16)| process.item_received(at_us, 1, index);
    let worker =
        (0..sent).fold(job(Work::Stream), |worker, index| worker.item_sent(111 + 10 * u64::from(index), id(1), index));
    ((1..).map(|n| 110 + 10 * n).zip(received).fold(caller, came), worker.ended(180, id(1), Ending::Done))
}

fn talk() -> Vec<Row> {
    use FindingKind as K;
    let told = |received: &[u16], sent, outcome| {
        let (caller, worker) = stream(received, sent);
        run([caller.answered(200, 1, outcome).live(), worker.live()])
    };
    let lost = |received| told(received, 4, Outcome::ConnectionLost);
    let content = |content| {
        let (caller, worker) = stream(&[], 4);
        run([caller.item(130, 1, 0, content).answered(200, 1, Outcome::ConnectionLost).live(), worker.live()])
    };
    let behind = {
        let (caller, worker) = stream(&[0, 1, 2, 3], 4);
        let ended = caller.answered(190, 1, Outcome::StreamDone).item_received(195, 1, 0);
        run([ended.live(), worker.live()])
    };
    let both = |(caller, worker): (Process, Process)| run([caller.live(), worker.live()]);
    let whole = || told(&[0, 1, 2, 3], 4, Outcome::StreamDone);
    vec![
        row(K::ItemGap, &["item received"], lost(&[0, 2]), [("item received", lost(&[0, 1, 2]))]),
        row(K::ItemTwice, &["item received"], lost(&[0, 0]), []),
        row(K::ItemReordered, &["item received"], lost(&[1, 0]), []),
        row(K::WrongItem, &["item received"], content(Content::Wrong), []),
        row(
            K::ItemUnsent,
            &["item received", "item sent"],
            told(&[0, 1], 1, Outcome::ConnectionLost),
            [
                ("item sent", told(&[0, 1], 2, Outcome::ConnectionLost)),
                ("missing ledger", {
                    let (caller, _) = stream(&[0, 1], 1);
                    run([caller.answered(200, 1, Outcome::ConnectionLost).live(), unread(1)])
                }),
            ],
        ),
        row(K::ItemAfterEnd, &["item received", "answered", "stream cancelled"], behind, []),
        row(
            K::StreamShort,
            &["item received", "answered"],
            told(&[0, 1, 2], 4, Outcome::StreamDone),
            [("item received", whole())],
        ),
        row(
            K::AckAstray,
            &["item sent"],
            told(&[], 4, Outcome::ConnectionLost),
            [("stream started", told(&[], 3, Outcome::ConnectionLost)), ("item received", whole())],
        ),
        row(
            K::QuestionAstray,
            &["responded", "asked"],
            both(question(false, true)),
            [
                ("asked", both(question(true, true))),
                ("missing ledger", run([question(false, true).0.live(), unread(1)])),
            ],
        ),
        row(
            K::ResponseAstray,
            &["response heard", "responded"],
            both(question(true, false)),
            [("responded", both(question(true, true)))],
        ),
    ]
}

/// A question, whose job may have asked it and whose caller may have responded to it.
fn question(asked_too: bool, responded_too: bool) -> (Process, Process) {
    let (id, call, index, content) = (id(1), CallNumber(1), 0, Content::Right);
    let (mut caller, mut worker) = (asked(Work::Question), job(Work::Question));
    if asked_too {
        worker = worker.add(111, Entry::Asked { id, index });
    }
    if responded_too {
        caller = caller.add(112, Entry::Responded { call, index, content });
    }
    let heard = worker.add(113, Entry::ResponseHeard { id, index, content }).ended(120, id, Ending::Done);
    (caller.answered(130, 1, Outcome::Reply), heard)
}

/// A gather that was given a vote, open for its end.
fn gather() -> (Process, Process) {
    let members = [0, 1].map(NodeIndex).into_iter().collect();
    let (gather, form) = (CallNumber(1), GatherForm::First);
    let begun = Entry::GatherBegun { gather, form, need: 1, members, limit_ms: 3_000 };
    (gathered(caller().add(100, begun), 140, GatherEnd::Reached), job(Work::Vote).ended(120, id(1), Ending::Done))
}

fn gathered(process: Process, at_us: u64, how: GatherEnd) -> Process {
    let votes = if how == GatherEnd::Reached { NodeSet::default().with(NodeIndex(1)) } else { NodeSet::default() };
    let ended = Entry::GatherEnded { gather: CallNumber(1), how, votes, wrong: NodeSet::default(), odd: None };
    process.add(at_us, ended)
}

fn gathers_and_monitors() -> Vec<Row> {
    use FindingKind as K;
    let begun = || {
        let members = [0, 1].map(NodeIndex).into_iter().collect();
        let (gather, form) = (CallNumber(1), GatherForm::First);
        caller().add(100, Entry::GatherBegun { gather, form, need: 1, members, limit_ms: 3_000 })
    };
    let with = |caller: ProcessRecord| run([caller, worker().live()]);
    let late = 12 * SECOND;
    let (monitor, no_server) = (MonitorNumber(3), 2);
    let watch = |worker: ProcessRecord| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        let fired = set.add(300, Entry::MonitorDown { monitor, reason: no_server });
        vec![fired.live(), worker]
    };
    let silent = |entry: Option<Entry>| {
        let set = caller().add(100, Entry::Monitored { monitor, on: NodeIndex(1) });
        let then = entry.into_iter().fold(set, |process, entry| process.add(300, entry));
        let ends = [then.add(26 * SECOND, Entry::Quiet).record(), worker().kill_nine(200)];
        Evidence { simulated: true, ..run(ends) }
    };
    let restarted = watch(worker().kill_nine(200)).into_iter().chain([process(1, "1.2.0", 210).live()]);
    vec![
        row(
            K::GatherLate,
            &["gather begun", "gather ended"],
            with(begun().live()),
            [
                ("gather ended", with(gathered(begun(), late / 3, GatherEnd::TimedOut).live())),
                ("kill -9", with(begun().kill_nine(900))),
                ("drained", with(gathered(begun(), 910, GatherEnd::GivenUp).drain(900))),
                ("beat", with(gathered(stands_still(begun(), 200, late - 1), late, GatherEnd::TimedOut).live())),
            ],
        ),
        row(
            K::QuorumContradicted,
            &["gather ended", "ended"],
            with(gather().0.live()),
            [
                ("ended", run([gather().0.live(), gather().1.live()])),
                ("missing ledger", run([gather().0.live(), unread(1)])),
            ],
        ),
        row(
            K::MonitorUnserved,
            &["monitor down"],
            run(watch(worker().live())),
            [
                ("drained", run(watch(worker().drain(290)))),
                ("kill -9, of the process that it was set on", run(restarted)),
            ],
        ),
        row(
            K::MonitorSilent,
            &["monitored"],
            silent(None),
            [
                ("monitor down", silent(Some(Entry::MonitorDown { monitor, reason: 4 }))),
                ("demonitored", silent(Some(Entry::Demonitored { monitor }))),
            ],
        ),
    ]
}

#[test]
fn each_finding_is_found_unless_something_accounts_for_it() {
    for Row { kind, shown, accounted, .. } in rows() {
        let kinds = |evidence: &Evidence| found(evidence).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        assert!(kinds(&shown).contains(&kind), "{kind:?} is not found: {:?}", kinds(&shown));
        for (what, evidence) in accounted {
            assert!(!kinds(&evidence).contains(&kind), "{kind:?} is found in spite of {what}");
        }
    }
}

/// The names of ends of a process that account for something, besides those of records.
const ENDS: [&str; 5] = ["kill -9", "drained", "crashed", "torn tail", "missing ledger"];

/// Records that show no finding by themselves and account for none: they count cases, or doubts.
const NEITHER: [&str; 3] = ["phase changed", "quiet", "drained"];

#[test]
fn every_finding_has_its_row_and_every_record_has_its_place() {
    let rows = rows();
    let kinds: BTreeSet<FindingKind> = rows.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, FindingKind::ALL.iter().copied().collect());
    assert_eq!(kinds.len(), rows.len(), "a finding has two rows");
    let named = rows.iter().flat_map(|row| {
        let accounted = row.accounted.iter().map(|(what, _)| what.split(',').next().expect("a name"));
        row.shown_by.iter().copied().chain(accounted).collect::<Vec<_>>()
    });
    let named: BTreeSet<&str> = named.collect();
    for name in &named {
        assert!(Entry::NAMES.contains(name) || ENDS.contains(name), "{name} is no record and no end of a process");
    }
    for name in Entry::NAMES {
        assert!(named.contains(name) || NEITHER.contains(name), "which findings does {name} bear on?");
    }
}

/// The table as docs/judge.md has it.
fn table() -> String {
    let mut text = "| finding | breaks | shown by | accounted for by |\n|---|---|---|---|\n".to_owned();
    for row in rows() {
        let accounted: Vec<&str> = row.accounted.iter().map(|(what, _)| *what).collect();
        let list = |names: &[&str]| if names.is_empty() { "nothing".to_owned() } else { names.join("; ") };
        let (kind, invariant) = (row.kind.name(), row.kind.invariant());
        let shown_by = if row.shown_by.is_empty() { "the end of its process".to_owned() } else { list(row.shown_by) };
        let _ = writeln!(text, "| `{kind}` | {invariant} | {shown_by} | {} |", list(&accounted));
    }
    text
}

#[test]
fn the_page_has_the_table() {
    let page = include_str!("../../../../../docs/judge.md");
    let table = table();
    assert!(page.contains(&table), "docs/judge.md has another table; this is the judge's:\n{table}");
}
