//! For each finding a run in which it is the only one: what is no longer looked for is noticed here.

use super::*;
use crate::history::ledger::{GatherForm, NodeSet};

/// Declares the run of each kind, once. A kind without one does not compile.
macro_rules! planted {
    ($($kind:ident => $run:expr,)+) => {
        pub(super) const KINDS: &[FindingKind] = &[$(FindingKind::$kind,)+];

        pub(super) fn planted(kind: FindingKind) -> Evidence {
            match kind { $(FindingKind::$kind => $run,)+ }
        }
    };
}

planted! {
    Lost => run([caller().cast(100, 1, 1, Work::Reply).live(), worker().live()]),
    ExecutedTwice => {
        let (caller, worker) = served(Work::Reply);
        run([caller.live(), worker.started(140, id(1), Work::Reply).ended(150, id(1), Ending::Done).live()])
    },
    OrphanAfterKill => {
        let (caller, worker) = held();
        run([caller.live(), worker.live()])
    },
    Orphan => {
        let died = caller().cast(100, 1, 1, Work::Hold).kill_nine(150);
        run([died, worker().started(110, id(1), Work::Hold).live()])
    },
    EndedUnkilled => {
        let (caller, worker) = held();
        run([caller.live(), worker.ended(150, id(1), Ending::Dropped).live()])
    },
    WrongReply => answered(Work::Reply, Outcome::WrongReply, Ending::Done),
    UnfitAnswer => answered(Work::Fail, Outcome::Reply, Ending::Done),
    UnaskedExit => answered(Work::Reply, Outcome::OtherExit, Ending::Failed),
    AnswerUnlikeJob => answered(Work::Reply, Outcome::Reply, Ending::Failed),
    JobUnlikeCall => {
        let caller = caller().cast(100, 1, 1, Work::Bulk).answered(130, 1, Outcome::Reply);
        run([caller.live(), worker().started(110, id(1), Work::Reply).ended(120, id(1), Ending::Done).live()])
    },
    ReplyWithoutJob => told(Outcome::Reply),
    JobWithoutCall => {
        let (caller, worker) = served(Work::Reply);
        run([caller.live(), worker.started(140, id(9), Work::Reply).ended(150, id(9), Ending::Done).live()])
    },
    AnsweredTwice => {
        let (caller, worker) = served(Work::Reply);
        run([caller.answered(140, 1, Outcome::Down).live(), worker.live()])
    },
    NoSuchServer => told(Outcome::NoSuchServer),
    MonitorUnserved => {
        let (caller, worker) = served(Work::Reply);
        let watched = caller.add(140, Entry::Monitored { monitor: MonitorNumber(1), on: NodeIndex(1) });
        let fired = watched.add(150, Entry::MonitorDown { monitor: MonitorNumber(1), reason: NO_SERVER });
        run([fired.live(), worker.live()])
    },
    MonitorSilent => {
        let (caller, worker) = served(Work::Reply);
        let watched = caller.add(140, Entry::Monitored { monitor: MonitorNumber(1), on: NodeIndex(1) });
        let quiet = watched.add(26_000_000, Entry::Quiet).record();
        Evidence { simulated: true, ..run([quiet, worker.kill_nine(400)]) }
    },
    NoSuchFunction => told(Outcome::NoSuchFunction),
    Crashed => {
        let (caller, worker) = served(Work::Reply);
        run([caller.live(), worker.crash(400)])
    },
    ItemGap => stream(Outcome::ConnectionLost, &[0, 1, 3]),
    ItemTwice => stream(Outcome::StreamDone, &[0, 1, 1, 2, 3]),
    ItemReordered => stream(Outcome::StreamDone, &[0, 2, 1, 3]),
    WrongItem => {
        let caller = started(2).item_received(121, 1, 0).item(131, 1, 1, Content::Wrong);
        run([caller.answered(200, 1, Outcome::StreamDone).live(), sender(2).live()])
    },
    ItemUnsent => {
        let caller = started(4).item_received(121, 1, 0).item_received(131, 1, 1);
        run([caller.answered(200, 1, Outcome::Down).live(), sender(1).kill_nine(195)])
    },
    ItemAfterEnd => {
        let job = worker().started(105, id(1), Work::Stream).item_sent(110, id(1), 0);
        let cancelled = caller().cast(100, 1, 1, Work::Stream);
        let cancelled = cancelled.add(120, Entry::StreamCancelled { call: CallNumber(1) }).item_received(130, 1, 0);
        let ended = cancelled.answered(160, 1, Outcome::Cancelled);
        run([ended.live(), job.ended(150, id(1), Ending::Dropped).live()])
    },
    StreamShort => stream(Outcome::StreamDone, &[0, 1, 2]),
    AckAstray => {
        let job = worker().started(105, id(1), Work::Stream).item_sent(106, id(1), 0).item_sent(110, id(1), 3);
        run([started(9).item_received(111, 1, 0).answered(200, 1, Outcome::Down).live(), job.kill_nine(195)])
    },
    QuestionAstray => question(Content::Wrong, Content::Right),
    ResponseAstray => question(Content::Right, Content::Wrong),
    StreamSilent => run([started(4).item_received(121, 1, 0).live(), sender(4).live()]),
    GatherLate => with_call([begun().live()]),
    QuorumContradicted => {
        let (gather, votes, wrong) = (CallNumber(1), nodes(&[1]), nodes(&[]));
        let ended = Entry::GatherEnded { gather, how: GatherEnd::Reached, votes, wrong, odd: None };
        let voter = process(1, "1.1.0", 11).started(110, id(1), Work::Vote).ended(130, id(1), Ending::Done);
        with_call([begun().add(140, ended).live(), voter.live()])
    },
}

/// One call for `work`, answered `outcome`, whose job ended `how`.
fn answered(work: Work, outcome: Outcome, how: Ending) -> Evidence {
    let worker = worker().started(110, id(1), work).ended(120, id(1), how);
    run([caller().cast(100, 1, 1, work).answered(130, 1, outcome).live(), worker.live()])
}

/// One call without a job, answered so.
fn told(outcome: Outcome) -> Evidence {
    run([caller().cast(100, 1, 1, Work::Reply).answered(130, 1, outcome).live(), worker().live()])
}

fn started(items: u16) -> Process {
    caller().cast(100, 1, 1, Work::Stream).stream_started(108, 1, items)
}

/// A job that sends this many items at 110, 120, 130, …, and ends.
fn sender(items: u16) -> Process {
    let job = worker().started(105, id(1), Work::Stream);
    let sent = (0..items).fold(job, |job, index| job.item_sent(110 + 10 * u64::from(index), id(1), index));
    sent.ended(190, id(1), Ending::Done)
}

/// A stream of four items of which these came, each once it or a later one was sent, and that ended so.
fn stream(outcome: Outcome, received: &[u16]) -> Evidence {
    let mut latest = 0;
    let caller = received.iter().fold(started(4), |caller, &index| {
        latest = latest.max(u64::from(index));
        caller.item_received(111 + 10 * latest, 1, index)
    });
    run([caller.answered(200, 1, outcome).live(), sender(4).live()])
}

/// A question as its caller had it, and the response as the job did.
fn question(asked: Content, heard: Content) -> Evidence {
    let responded = Entry::Responded { call: CallNumber(1), index: 0, content: asked };
    let caller = caller().cast(100, 1, 1, Work::Question).add(120, responded).answered(160, 1, Outcome::Reply);
    let job = worker().started(105, id(1), Work::Question).add(110, Entry::Asked { id: id(1), index: 0 });
    let job = job.add(130, Entry::ResponseHeard { id: id(1), index: 0, content: heard });
    run([caller.live(), job.ended(150, id(1), Ending::Done).live()])
}

fn nodes(nodes: &[u16]) -> NodeSet {
    nodes.iter().copied().map(NodeIndex).collect()
}

/// A gather over two nodes that needs both.
fn begun() -> Process {
    let (gather, members) = (CallNumber(1), nodes(&[1, 2]));
    caller().add(100, Entry::GatherBegun { gather, form: GatherForm::Majority, need: 2, members, limit_ms: 1 })
}

/// The same run with a call, since one without a cast proves nothing.
fn with_call(processes: impl IntoIterator<Item = ProcessRecord>) -> Evidence {
    let other = process(9, "1.1.0", 19).cast(100, 1, 8, Work::Reply).answered(101, 1, Outcome::Down);
    run(processes.into_iter().chain([other.live()]))
}

/// The ledger's code for a target that has no such server.
const NO_SERVER: u8 = 2;

#[test]
fn each_finding_is_found_where_it_is_the_only_one() {
    for &kind in KINDS {
        let evidence = planted(kind);
        assert_eq!(found(&evidence), [(kind, 1)], "{kind:?}");
        let judgement = judge(&evidence);
        let finding = &judgement.findings()[0];
        assert_eq!((finding.invariant, finding.sentence), (kind.invariant(), kind.sentence()));
        assert_eq!(finding.examples.len(), 1, "{kind:?} shows its case");
    }
}

#[test]
fn no_two_findings_say_the_same() {
    for (place, kind) in KINDS.iter().enumerate() {
        assert!(KINDS[..place].iter().all(|other| other != kind && other.sentence() != kind.sentence()), "{kind:?}");
    }
}
