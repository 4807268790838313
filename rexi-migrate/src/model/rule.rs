//! What the model asks of every step; what a broken rule means, and whether it counts, is its driver's to say.

/// Something that should not happen and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A node is in a phase, and no transition has brought it there.
    PhaseWithoutTransition,
    /// A request needs a singleton that is not there.
    RequestToNoSingleton,
    /// A node sent a kind of frame that its peer does not know.
    KindUnknownToPeer,
    /// A node sent a kind of frame that the version of the connection lacks.
    KindNotOfVersion,
    /// A node closed its connection to a peer that did nothing wrong.
    ClosedOnSoundPeer,
    /// A job was started that nobody asked for.
    JobOfNoCall,
    /// A job was started with what another call has sent.
    JobOfAnotherPayload,
    /// The job of a call was started twice.
    JobTwice,
    /// A job was started for another than its caller, or elsewhere than it was cast to.
    JobOfAnotherCaller,
    /// A job was started for a caller that is more than a release away.
    JobOverSkew,
    /// A job was aborted that does not run.
    AbortOfNoJob,
    /// A job was woken that does not run.
    WakeOfNoJob,
    /// An answer has no call.
    AnswerToNoCall,
    /// An answer came to another call's mailbox.
    AnswerToAnotherCall,
    /// An answer came after the kill, or after the last.
    AnswerBehindTheLast,
    /// A caller was asked twice whether it wants a stream.
    AskedTwice,
    /// A reply is another job's.
    ReplyOfAnotherJob,
    /// A reply is out of order, or one before it was lost in silence.
    ReplyOutOfOrder,
    /// A call is over, and not all replies before have come.
    LastReplyTooEarly,
    /// A cast met no singleton.
    SingletonMissing,
    /// A cast met no per-node server.
    ServerMissing,
    /// A cast met no function of the form that it was said in.
    FunctionMissing,
    /// A cast met another's job or kill.
    MetAnothersCall,
    /// A call was lost with its connection, and none was lost.
    LostWithoutALoss,
    /// A job has run, and its caller was told that it did not.
    ToldThatItDidNotRun,
    /// A monitor fired once too often.
    MonitorFiredAgain,
    /// A monitor of a member that is there met no server.
    MonitorMetNoServer,
    /// A job runs on a node that has left in good order.
    RunsAfterDeparture,
    /// A ceiling was lifted, and still holds.
    CeilingStays,
    /// A hello cannot be read.
    HelloUnread,
    /// A cast was not taken.
    CastNotTaken,
    /// A stream that a caller was asked for could not be started or cancelled.
    StreamNotStarted,
    /// An item that a caller got could not be acknowledged.
    ItemNotAcknowledged,
    /// A question that a caller got could not be responded to.
    QuestionNotAnswered,
    /// A job runs that its server does not know.
    JobUnknownToServer,
    /// A phase was raised, and a member has not said that it serves there.
    RaisedUnready,
    /// A peer counts as refused for a phase that this node has left since.
    RefusalOutlived,
    /// A node without a singleton was let in, and a third still sends to one.
    HoldoutLeftBehind,
    /// A hello of an earlier life was agreed to after that of a later one.
    EarlierLifeAgreed,
    /// A node could not be lowered to its lowest phase.
    NotLowered,
    /// A ceiling was accepted, and the phase is above it.
    CeilingPassed,
    /// A phase was lowered to a server that a connected member has removed.
    LoweredToRemoved,
    /// A frame of an unknown kind was not counted.
    UnknownUncounted,
    /// Bytes behind a message's last field were passed over.
    LongPassedOver,
}
