//! What a broken rule of the model breaks: an invariant of docs/safety.md, or a fact of docs/rexi.md.

use rexi_migrate::model::Rule;

/// Its id; `None` where random runs break the rule rightly.
pub(crate) const fn id(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::JobTwice | Rule::ToldThatItDidNotRun => "S2",
        Rule::JobUnknownToServer => "S3",
        Rule::AbortOfNoJob | Rule::WakeOfNoJob | Rule::MetAnothersCall => "S4",
        Rule::AskedTwice
        | Rule::ReplyOutOfOrder
        | Rule::LastReplyTooEarly
        | Rule::StreamNotStarted
        | Rule::ItemNotAcknowledged
        | Rule::QuestionNotAnswered => "S5",
        Rule::RequestToNoSingleton
        | Rule::SingletonMissing
        | Rule::ServerMissing
        | Rule::MonitorMetNoServer
        | Rule::RaisedUnready => "S6",
        Rule::JobOfAnotherCaller
        | Rule::AnswerToNoCall
        | Rule::AnswerToAnotherCall
        | Rule::ReplyOfAnotherJob
        | Rule::EarlierLifeAgreed => "S7",
        Rule::ClosedOnSoundPeer
        | Rule::JobOfNoCall
        | Rule::JobOfAnotherPayload
        | Rule::HelloUnread
        | Rule::LongPassedOver => "S8",
        Rule::KindUnknownToPeer | Rule::KindNotOfVersion | Rule::FunctionMissing => "S9",
        Rule::UnknownUncounted => "S10",
        Rule::JobOverSkew | Rule::RefusalOutlived => "S11",
        Rule::PhaseWithoutTransition | Rule::LoweredToRemoved => "S12",
        Rule::HoldoutLeftBehind => "S13",
        Rule::AnswerBehindTheLast | Rule::LostWithoutALoss => "L1",
        Rule::CeilingStays | Rule::CeilingPassed => "L5",
        Rule::MonitorFiredAgain => "R31",
        Rule::RunsAfterDeparture => "R38",
        // Bounds are small, and ceilings are drawn that a release does not have.
        Rule::CastNotTaken | Rule::NotLowered => return None,
    })
}
