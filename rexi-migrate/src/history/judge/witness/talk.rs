//! What a run met of streams, questions and gathers.

use rexi_proto::Phase;

use super::{Tally, Witness};
use crate::history::judge::join::{Call, Joined};
use crate::history::judge::talk::Talk;
use crate::history::judge::{gather, stream};
use crate::history::ledger::{Outcome, Work};

impl Tally {
    pub(super) fn talks(&mut self, joined: &Joined<'_>) {
        let gaps = joined.restarts();
        for (index, talk) in &joined.talks {
            let call = &joined.calls[*index];
            let outcome = call.answer.map(|answer| answer.outcome);
            let ends = talk.received.first().zip(talk.received.last());
            let over_gap = ends.is_some_and(|(first, last)| {
                gaps.iter().any(|gap| first.at_us < gap.gone_us && gap.back_us < last.at_us)
            });
            self.see(Witness::StreamServed, outcome == Some(Outcome::StreamDone));
            self.see(Witness::StreamOverRestart, over_gap);
            let over_switch = ends.is_some_and(|(_, last)| crossed(joined, call, last.at_us));
            self.see(Witness::StreamOverSwitch, over_switch);
            self.see(Witness::StreamWindowFull, stream::was_full(talk));
            self.see(Witness::StreamCancelled, outcome == Some(Outcome::Cancelled));
            self.see(Witness::StreamKilled, talk.started.is_some() && call.kill.is_some());
            self.see(Witness::LargeItem, talk.received.iter().any(|item| item.kib >= LARGE_KIB));
            let answered = call.work == Work::Question && outcome == Some(Outcome::Reply);
            self.see(Witness::QuestionAnswered, answered);
            self.see(Witness::QuestionOverSwitch, answered && question_crossed(joined, call, talk));
        }
        self.add(Witness::QuorumOverDown, gather::over_a_node_that_was_down(joined));
    }
}

/// Whether a question was cast in `Switch` and its last response given in another phase, or the other way round.
fn question_crossed(joined: &Joined<'_>, call: &Call, talk: &Talk) -> bool {
    talk.responded.last().is_some_and(|last| crossed(joined, call, last.at_us))
}

/// Whether its caller was in `Switch` either when the call was cast or at a later time, and not at both.
fn crossed(joined: &Joined<'_>, call: &Call, at_us: u64) -> bool {
    let then = joined.phase_at(call.by, at_us);
    then.is_some_and(|then| (then == Phase::Switch) != (call.phase == Phase::Switch))
}

/// From this size on an item travels alongside the lane (`Limits::inline_bytes_max`); a whole KiB more, to be sure.
const LARGE_KIB: u16 = 33;
