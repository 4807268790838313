//! Questions: each reached the caller of its own job, once, and each response reached the job that had asked.

use super::finding::{FindingKind, Findings, of_talk};
use super::join::{Call, Joined};
use super::talk::{Said, Talk};
use crate::history::ledger::{Content, Outcome, Work};

/// Finds what is wrong with questions and responses. A call counts once in each kind.
pub(super) fn find(joined: &Joined<'_>, found: &mut Findings) {
    for (index, talk) in &joined.talks {
        let call = &joined.calls[*index];
        if let Some(note) = astray(joined, call, talk) {
            found.add(FindingKind::QuestionAstray, || of_talk(joined, *index, note));
        }
        if let Some(note) = misheard(call, talk) {
            found.add(FindingKind::ResponseAstray, || of_talk(joined, *index, note));
        }
    }
}

/// A question that the caller has heard, and that is not the one that its job has asked. The caller counts what comes,
/// so one that comes twice is one that was never asked.
fn astray(joined: &Joined<'_>, call: &Call, talk: &Talk) -> Option<String> {
    let readable = !joined.unread.contains(&call.to);
    let wrong = |said: &&Said| said.content == Content::Wrong || readable && !was_said(&talk.asked, said);
    talk.responded.iter().find(wrong).map(|said| format!("as question {}", said.index))
}

/// A response that a job has heard, and that is not the one that its caller has given; or one that it never heard,
/// though it has replied.
fn misheard(call: &Call, talk: &Talk) -> Option<String> {
    let wrong = |said: &&Said| said.content == Content::Wrong || !was_said(&talk.responded, said);
    if let Some(said) = talk.heard.iter().find(wrong) {
        return Some(format!("as response {}", said.index));
    }
    let replied = call.work == Work::Question && call.answer.is_some_and(|answer| answer.outcome == Outcome::Reply);
    let unheard = replied && call.jobs == 1 && talk.heard.len() < talk.asked.len();
    unheard.then(|| format!("{} of {} responses were heard", talk.heard.len(), talk.asked.len()))
}

/// Whether the other end has said it by then.
fn was_said(said: &[Said], heard: &Said) -> bool {
    said.iter().any(|said| said.index == heard.index && said.at_us <= heard.at_us)
}
