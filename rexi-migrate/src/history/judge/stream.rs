//! Streams: their items came whole, once and in order, and nothing was sent that its caller had no room for.
//!
//! Whatever ended a stream, what was received must be its beginning: items 0 to k, each once. Its end is judged like
//! that of any call.

use std::collections::BTreeSet;

use super::finding::{FindingKind, Findings, of_talk};
use super::join::{Call, Joined};
use super::talk::Talk;
use crate::history::ledger::{Content, Outcome, Work};

/// Finds what is wrong with the items of streams. A stream counts once in each kind.
pub(super) fn find(joined: &Joined<'_>, found: &mut Findings) {
    for (index, talk) in &joined.talks {
        let call = &joined.calls[*index];
        let order = Order::of(talk);
        let mut add = |kind, note: Option<String>| {
            if let Some(note) = note {
                found.add(kind, || of_talk(joined, *index, note));
            }
        };
        add(FindingKind::ItemTwice, order.twice.map(|item| format!("item {item} came twice")));
        add(FindingKind::ItemReordered, order.late.map(|item| format!("item {item} came after a later one")));
        add(FindingKind::ItemGap, order.missing.map(|item| format!("item {item} did not come, and a later one did")));
        let wrong = talk.received.iter().find(|item| item.content == Content::Wrong);
        add(FindingKind::WrongItem, wrong.map(|item| format!("as item {}", item.index)));
        let late = talk.received.iter().find(|item| item.after_end);
        add(FindingKind::ItemAfterEnd, late.map(|item| format!("item {}", item.index)));
        add(FindingKind::StreamShort, short(call, talk));
        if !joined.unread.contains(&call.to) {
            add(FindingKind::ItemUnsent, unsent(talk));
        }
        add(FindingKind::AckAstray, ahead(call, talk));
    }
}

/// The order in which items came.
#[derive(Default)]
struct Order {
    /// An item that came before.
    twice: Option<u16>,
    /// An item that came behind a later one.
    late: Option<u16>,
    /// An item that never came, though a later one did.
    missing: Option<u16>,
}

impl Order {
    fn of(talk: &Talk) -> Self {
        let mut order = Self::default();
        let (mut due, mut missing) = (0_u16, BTreeSet::new());
        for item in &talk.received {
            if item.index >= due {
                missing.extend(due..item.index);
                due = item.index.saturating_add(1);
            } else if missing.remove(&item.index) {
                order.late.get_or_insert(item.index);
            } else {
                order.twice.get_or_insert(item.index);
            }
        }
        order.missing = missing.first().copied();
        order
    }
}

/// A stream that ended as if it were whole, and is not.
fn short(call: &Call, talk: &Talk) -> Option<String> {
    let whole = call.answer.is_some_and(|answer| answer.outcome == Outcome::StreamDone);
    let start = talk.started.filter(|_| whole && call.timed_out_us.is_none())?;
    let came: BTreeSet<u16> = talk.received.iter().map(|item| item.index).collect();
    (came.len() < usize::from(start.items)).then(|| format!("{} of {} items came", came.len(), start.items))
}

/// An item that came before its job was about to send it, or that no job ever was.
fn unsent(talk: &Talk) -> Option<String> {
    let sent = |index, by_us| talk.sent.iter().any(|item| item.index == index && item.at_us <= by_us);
    let item = talk.received.iter().find(|item| !sent(item.index, item.at_us))?;
    Some(format!("item {}", item.index))
}

/// A job that went on before its caller had received, let alone acknowledged, enough: by the time that it is about to
/// send an item, the one before is sent, so no more than a window was open then.
fn ahead(call: &Call, talk: &Talk) -> Option<String> {
    if call.work != Work::Stream {
        return None;
    }
    let window = talk.started.map_or(0, |start| u64::from(start.window));
    let ahead = |index: u16, at_us| match talk.started {
        None => index > 0,
        Some(_) => talk.received_by(at_us) + window < u64::from(index),
    };
    let item = talk.sent.iter().find(|item| ahead(item.index, item.at_us))?;
    let received = talk.received_by(item.at_us);
    Some(format!("item {} was about to go with {received} received and a window of {window}", item.index))
}

/// Whether the window of the stream was full, for certain, when its job wanted to send one more.
pub(super) fn was_full(talk: &Talk) -> bool {
    let Some(start) = talk.started else { return false };
    let full = |index: u16, at_us| u64::from(index) >= talk.received_by(at_us) + u64::from(start.window);
    // The last item wants no acknowledgement, and so waits for no room.
    talk.sent.iter().any(|item| item.index.saturating_add(1) < start.items && full(item.index, item.at_us))
}
