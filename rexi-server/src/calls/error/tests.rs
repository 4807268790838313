//! Every error of a call, and whether the function may have run and the call may be made again.

use rexi_proto::{CallRef, FunctionRow, Party, VersionRange, WireVersion};

use super::*;
use crate::functions::AskError;
use crate::typed::PayloadError;

/// What a caller may conclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may have run: the caller decides whether to try again.
    MayHaveRun,
    /// It did not run and may be tried again.
    Safe,
    /// It did not run, and would not anywhere.
    Useless,
}

use Verdict::{MayHaveRun, Safe, Useless};

fn of(error: &CallError) -> Verdict {
    assert_eq!(error.may_have_run(), !error.did_not_run(), "{error:?}");
    match (error.did_not_run(), error.is_safe_to_retry()) {
        (false, false) => MayHaveRun,
        (true, true) => Safe,
        (true, false) => Useless,
        (false, true) => panic!("{error:?} may have run and is said to be safe"),
    }
}

/// Which variant it is; a new one does not compile until it is in the table.
fn variant(error: &CallError) -> usize {
    match error {
        CallError::Send(_) => 0,
        CallError::Failed { .. } => 1,
        CallError::Panicked { .. } => 2,
        CallError::WrongArgument { .. } => 3,
        CallError::WrongReply { .. } => 4,
        CallError::NoReply => 5,
        CallError::NoSuchFunction => 6,
        CallError::NoSuchServer(_) => 7,
        CallError::Dropped => 8,
        CallError::DroppedInAll => 9,
        CallError::TooLarge => 10,
        CallError::Down(_) => 11,
        CallError::Incompatible(_) => 12,
        CallError::Ended(_) => 13,
        CallError::TimePassed => 14,
        CallError::IsStream => 15,
        CallError::Asks => 16,
        CallError::NotAllowed { .. } => 17,
    }
}

const VARIANTS: usize = 18;

fn short() -> PayloadError {
    PayloadError::TooShort { bytes: 1 }
}

fn name() -> NodeName {
    NodeName::new("n2").expect("a good name")
}

fn refusal() -> Box<Refusal> {
    const V1: VersionRange = VersionRange { oldest: WireVersion::V1, newest: WireVersion::V1 };
    let party = |number| Party { node: name(), release: semver::Version::new(number, 0, 0), wire: V1 };
    Box::new(Refusal::NoCommonWire { first: party(1), second: party(2) })
}

fn sends() -> [(SendError, Verdict); 9] {
    let row: FunctionRow = crate::typed::Life::since(Release(1, 0, 0)).row("f");
    [
        (SendError::NotAMember { peer: name(), members: String::new() }, Safe),
        (SendError::MailboxGone, Useless),
        (SendError::NoRoom(name()), Safe),
        (SendError::Refused(CastError::DuplicateRef(CallRef(1))), Safe),
        (SendError::Refused(CastError::TooManyCalls { max: 1 }), Safe),
        (SendError::Refused(CastError::PayloadTooLarge { bytes: 2, max: 1 }), Useless),
        (SendError::Refused(CastError::FunctionName { bytes: 0, max: 1 }), Useless),
        (SendError::NotEmitted { row: Box::new(row), release: Release(1, 0, 0) }, Useless),
        (SendError::NotEncoded { function: "f".into(), problem: short() }, Useless),
    ]
}

/// Exits that become an error of their own are not among these.
fn exits() -> [(ExitReason, Verdict); 22] {
    [
        (ExitReason::Draining, Safe),
        (ExitReason::TooManyJobs, Safe),
        (ExitReason::TooManyBytes, Safe),
        (ExitReason::TooManyJobsInAll, Safe),
        (ExitReason::TooManyBytesInAll, Safe),
        (ExitReason::DuplicateRef, Safe),
        (ExitReason::NotAllowed, Safe),
        (ExitReason::Killed, Useless),
        (ExitReason::WrongType("u64".into()), Useless),
        (ExitReason::Done, MayHaveRun),
        (ExitReason::Failed("it".into()), MayHaveRun),
        (ExitReason::Panicked("it".into()), MayHaveRun),
        (ExitReason::TimePassed, MayHaveRun),
        (ExitReason::ConnectionLost, MayHaveRun),
        (ExitReason::ReplyDropped, MayHaveRun),
        (ExitReason::ReplyDroppedInAll, MayHaveRun),
        (ExitReason::ReplyTooLarge, MayHaveRun),
        (ExitReason::ServerEnded, MayHaveRun),
        (ExitReason::StreamTimeout, MayHaveRun),
        (ExitReason::InvalidStreamMessage, MayHaveRun),
        (ExitReason::MismatchedAck, MayHaveRun),
        (ExitReason::TooManyStreams, MayHaveRun),
    ]
}

fn downs() -> [(DownReason, Verdict); 6] {
    [
        (DownReason::NoConnect, Safe),
        (DownReason::NoServer, MayHaveRun),
        (DownReason::NoConnection, MayHaveRun),
        (DownReason::Restarted, MayHaveRun),
        (DownReason::Shutdown, MayHaveRun),
        (DownReason::TooManyMonitors, MayHaveRun),
    ]
}

fn others() -> [(CallError, Verdict); 16] {
    let function = || Arc::<str>::from("f");
    [
        (CallError::Failed { function: function(), error: "it".into() }, MayHaveRun),
        (CallError::Panicked { function: function(), message: "it".into() }, MayHaveRun),
        (CallError::WrongArgument { function: function(), problem: "it".into() }, Useless),
        (CallError::WrongReply { function: function(), problem: short() }, MayHaveRun),
        (CallError::NoReply, MayHaveRun),
        (CallError::NotAllowed { function: function() }, Safe),
        (CallError::NoSuchFunction, Safe),
        (CallError::NoSuchServer(ServerAddress::Singleton), Safe),
        (CallError::Dropped, Safe),
        (CallError::DroppedInAll, Safe),
        (CallError::TooLarge, Safe),
        (CallError::Incompatible(refusal()), Safe),
        (CallError::TimePassed, MayHaveRun),
        (CallError::IsStream, MayHaveRun),
        (CallError::Asks, MayHaveRun),
        (CallError::Ended(ExitReason::TooManyStreamsInAll), MayHaveRun),
    ]
}

#[test]
fn each_error_says_whether_it_may_have_run_and_may_be_tried_again() {
    let sends = sends().map(|(error, verdict)| (CallError::Send(error), verdict));
    let exits = exits().map(|(reason, verdict)| (CallError::Ended(reason), verdict));
    let downs = downs().map(|(reason, verdict)| (CallError::Down(reason), verdict));
    let all: Vec<_> = sends.into_iter().chain(exits).chain(downs).chain(others()).collect();
    for (error, verdict) in &all {
        assert_eq!(of(error), *verdict, "{error:?}");
        let asked = AskError::<String>::Call(error.clone());
        assert_eq!(asked.is_safe_to_retry(), *verdict == Safe, "{error:?}");
    }
    let met: std::collections::BTreeSet<_> = all.iter().map(|(error, _)| variant(error)).collect();
    assert_eq!(met, (0..VARIANTS).collect());
    let own = AskError::Function("no".to_owned());
    assert!(!own.is_safe_to_retry() && !own.did_not_run());
}
