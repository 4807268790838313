//! Hand-made ledgers: each finding fires where it should, and not in a similar run that is safe.

mod accounts;
mod bounds;
mod cases;
mod columns;
mod doubts;
mod evidence;
mod findings;
mod gathers;
mod legal;
mod needed;
mod questions;
mod simulated;
mod slices;
mod stray;
mod streams;
mod witnesses;

use rexi_proto::{Incarnation, NodeName, Phase, ServerAddress};
use semver::Version;
use std::time::Duration;

use super::*;
use crate::history::evidence::{ProcessEnd, ProcessRecord, StepWindow};
use crate::history::ledger::{
    CallId, CallNumber, Content, Ending, Entry, LedgerError, LedgerHeader, MonitorNumber, NodeIndex, ProcessLedger,
    Record, Work,
};
use crate::verdict::invariant::Invariant;

/// A ledger in the making. Unless told otherwise, it is of a process that lives to the end.
struct Process {
    header: LedgerHeader,
    records: Vec<Record>,
    end: ProcessEnd,
}

/// A process of `node` that begins at `began_us`, which is its incarnation too.
fn process(node: u16, release: &str, began_us: u64) -> Process {
    let header = LedgerHeader {
        node: NodeName::new(format!("n{node}")).expect("a name"),
        index: NodeIndex(node),
        release: Version::parse(release).expect("a version"),
        incarnation: Incarnation(began_us),
        pid: 1,
        began_us,
    };
    Process { header, records: Vec::new(), end: ProcessEnd::LiveAtEnd }
}

impl Process {
    fn add(mut self, at_us: u64, entry: Entry) -> Self {
        self.records.push(Record { at_us, entry });
        self
    }

    fn cast(self, at_us: u64, call: u64, to: u16, work: Work) -> Self {
        self.cast_in(Phase::Switch, at_us, call, to, work)
    }

    fn cast_in(self, phase: Phase, at_us: u64, call: u64, to: u16, work: Work) -> Self {
        self.add(at_us, Entry::Cast { call: CallNumber(call), to: NodeIndex(to), work, phase })
    }

    fn answered(self, at_us: u64, call: u64, outcome: Outcome) -> Self {
        self.add(at_us, Entry::Answered { call: CallNumber(call), outcome })
    }

    fn killed(self, at_us: u64, call: u64, phase: Phase) -> Self {
        self.add(at_us, Entry::Killed { call: CallNumber(call), phase })
    }

    fn started(self, at_us: u64, id: CallId, work: Work) -> Self {
        self.started_on(ServerAddress::PerNode, at_us, id, work)
    }

    fn started_on(self, server: ServerAddress, at_us: u64, id: CallId, work: Work) -> Self {
        self.add(at_us, Entry::Started { id, server, work })
    }

    fn ended(self, at_us: u64, id: CallId, how: Ending) -> Self {
        self.add(at_us, Entry::Ended { id, how })
    }

    /// Starts a stream of this many items, of which two may be unacknowledged.
    fn stream_started(self, at_us: u64, call: u64, items: u16) -> Self {
        self.add(at_us, Entry::StreamStarted { call: CallNumber(call), items, window: 2 })
    }

    fn item_sent(self, at_us: u64, id: CallId, index: u16) -> Self {
        self.add(at_us, Entry::ItemSent { id, index })
    }

    fn item_received(self, at_us: u64, call: u64, index: u16) -> Self {
        self.item(at_us, call, index, Content::Right)
    }

    fn item(self, at_us: u64, call: u64, index: u16, content: Content) -> Self {
        self.add(at_us, Entry::ItemReceived { call: CallNumber(call), index, content, kib: 0 })
    }

    fn kill_nine(self, at_us: u64) -> ProcessRecord {
        Self { end: ProcessEnd::KilledNine { at_us }, ..self }.record()
    }

    fn crash(self, at_us: u64) -> ProcessRecord {
        Self { end: ProcessEnd::Crashed { at_us }, ..self }.record()
    }

    /// Asked at `at_us`, drained a little later.
    fn drain(self, at_us: u64) -> ProcessRecord {
        let ended = self.add(at_us + 5, Entry::Quiet).add(at_us + 5, Entry::Drained);
        Self { end: ProcessEnd::Drained { at_us }, ..ended }.record()
    }

    fn live(self) -> ProcessRecord {
        self.add(900_000, Entry::Quiet).record()
    }

    fn record(self) -> ProcessRecord {
        let ledger = ProcessLedger { header: self.header, records: self.records, torn: false };
        ProcessRecord { node: ledger.header.index, ledger: Ok(ledger), end: self.end }
    }
}

/// Node 0 of the runs below begins at 10.
fn caller() -> Process {
    process(0, "1.2.0", 10)
}

/// Node 1 of the runs below begins at 11.
fn worker() -> Process {
    process(1, "1.1.0", 11)
}

/// A call of [`caller`].
fn id(call: u64) -> CallId {
    CallId { caller: NodeIndex(0), incarnation: Incarnation(10), call: CallNumber(call) }
}

fn run(processes: impl IntoIterator<Item = ProcessRecord>) -> Evidence {
    Evidence { processes: processes.into_iter().collect(), ..Evidence::default() }
}

/// The same process, with a torn record at the end of its ledger.
fn torn(mut record: ProcessRecord) -> ProcessRecord {
    record.ledger = record.ledger.map(|ledger| ProcessLedger { torn: true, ..ledger });
    record
}

/// The kinds found, with their counts.
fn found(evidence: &Evidence) -> Vec<(FindingKind, u64)> {
    judge(evidence).findings().iter().map(|f| (f.kind, f.count)).collect()
}

/// One call of `work`, served as it should be: the ledgers of both ends, open for more.
fn served(work: Work) -> (Process, Process) {
    let (outcome, how) = match work {
        Work::Reply | Work::Bulk => (Outcome::Reply, Ending::Done),
        Work::Fail => (Outcome::FailedAsAsked, Ending::Failed),
        Work::Stream => (Outcome::StreamDone, Ending::Done),
        Work::Question | Work::Vote => (Outcome::Reply, Ending::Done),
        Work::Hold => panic!("a job that holds is killed, not served"),
    };
    (
        caller().cast(100, 1, 1, work).answered(130, 1, outcome),
        worker().started(110, id(1), work).ended(120, id(1), how),
    )
}

/// One `Hold` call, killed at 200, and its job, open for its end.
fn held() -> (Process, Process) {
    (caller().cast(100, 1, 1, Work::Hold).killed(200, 1, Phase::Switch), worker().started(110, id(1), Work::Hold))
}
