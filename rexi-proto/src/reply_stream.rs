//! The callee's end of a reply stream: asked for, started, and then as many items as its caller keeps up with.
//!
//! In: what the job wants to send, what its caller says. Out: whether the next item may go now. Time limits are the
//! shell's to keep; what one means is decided here. Sending is the server's. Source: rexi.erl (`stream2`,
//! `stream_last`, `stream_ack`); R18 to R24 of docs/rexi.md.
//!
//! ```text
//!             first item            Start                item (unacked < window)
//!   Unopened ────────────► Asked ─────────► Open { sent, acked } ◄──┐
//!                            │ Cancel: the job ends     └───────────┘ Ack(total)
//! ```

/// A stream as its server sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum ReplyStream {
    /// The job has sent no item yet.
    #[default]
    Unopened,
    /// The caller was asked, and has not answered.
    Asked,
    /// The caller takes items.
    Open {
        /// Items sent that want an acknowledgement.
        sent: u64,
        /// Items acknowledged.
        acked: u64,
    },
}

/// What a caller says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamSignal {
    /// It takes the stream.
    Start,
    /// It does not want it.
    Cancel,
    /// It has consumed so many items in all.
    Ack(u64),
}

/// What comes of a caller's word for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The job may have something to send now.
    Wake,
    /// Nothing has changed.
    Nothing,
    /// The caller does not want the stream.
    Cancelled,
    /// The caller acknowledges what it has not started.
    Invalid,
    /// The caller acknowledges more than there was.
    Mismatched,
}

/// What a job does that waits for its caller for too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamTimeouts {
    /// Streams that were neither started nor cancelled in time.
    pub init_stream: u64,
    /// Streams that ended since their items were not acknowledged in time.
    pub stream: u64,
    /// Waits for an acknowledgement that did not come in time; the original counts one for each of those.
    pub wait_for_ack: u64,
}

impl std::ops::Add for StreamTimeouts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            init_stream: self.init_stream + other.init_stream,
            stream: self.stream + other.stream,
            wait_for_ack: self.wait_for_ack + other.wait_for_ack,
        }
    }
}

impl ReplyStream {
    /// Whether an item may be sent now. `window` is how many may be unacknowledged; `None` for an item that wants no
    /// acknowledgement.
    pub(crate) fn has_room(self, window: Option<u32>) -> bool {
        matches!(self, Self::Open { .. }) && window.is_none_or(|window| self.room(window) > 0)
    }

    /// How many items may be sent now.
    pub(crate) fn room(self, window: u32) -> usize {
        match self {
            Self::Unopened | Self::Asked => 0,
            Self::Open { sent, acked } => usize::try_from(u64::from(window).saturating_sub(sent - acked)).unwrap_or(0),
        }
    }

    /// Takes the caller's word.
    pub(crate) fn handle_signal(&mut self, signal: StreamSignal) -> Heard {
        match (*self, signal) {
            (_, StreamSignal::Cancel) => Heard::Cancelled,
            (Self::Asked, StreamSignal::Start) => {
                *self = Self::Open { sent: 0, acked: 0 };
                Heard::Wake
            }
            // Said again after a reconnect.
            (Self::Open { .. }, StreamSignal::Start) => Heard::Nothing,
            (Self::Unopened, StreamSignal::Start) | (Self::Unopened | Self::Asked, StreamSignal::Ack(_)) => {
                Heard::Invalid
            }
            (Self::Open { sent, .. }, StreamSignal::Ack(total)) if total > sent => Heard::Mismatched,
            (Self::Open { sent, acked }, StreamSignal::Ack(total)) => {
                *self = Self::Open { sent, acked: acked.max(total) };
                if total > acked { Heard::Wake } else { Heard::Nothing }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_filled_and_each_acknowledgement_makes_room_for_one() {
        let mut stream = ReplyStream::Asked;
        assert!(!stream.has_room(Some(5)) && !stream.has_room(None), "nothing goes before the start");
        assert_eq!(stream.handle_signal(StreamSignal::Start), Heard::Wake);
        assert!(stream.has_room(Some(1)) && !stream.has_room(Some(0)));
        stream = ReplyStream::Open { sent: 5, acked: 0 };
        assert!(!stream.has_room(Some(5)) && stream.has_room(Some(6)) && stream.has_room(None));
        assert_eq!(stream.handle_signal(StreamSignal::Ack(1)), Heard::Wake);
        assert!(stream.has_room(Some(5)) && !stream.has_room(Some(4)));
    }

    #[test]
    fn what_is_said_again_changes_nothing() {
        let mut stream = ReplyStream::Open { sent: 4, acked: 3 };
        for again in [StreamSignal::Start, StreamSignal::Ack(3), StreamSignal::Ack(1)] {
            assert_eq!(stream.handle_signal(again), Heard::Nothing);
            assert_eq!(stream, ReplyStream::Open { sent: 4, acked: 3 });
        }
    }

    #[test]
    fn more_acknowledgements_than_items_and_any_before_the_start_are_errors() {
        let mut stream = ReplyStream::Open { sent: 4, acked: 0 };
        assert_eq!(stream.handle_signal(StreamSignal::Ack(4)), Heard::Wake);
        assert_eq!(stream.handle_signal(StreamSignal::Ack(5)), Heard::Mismatched);
        assert_eq!(ReplyStream::Asked.handle_signal(StreamSignal::Ack(0)), Heard::Invalid);
        assert_eq!(ReplyStream::Unopened.handle_signal(StreamSignal::Start), Heard::Invalid);
    }

    #[test]
    fn timeouts_of_two_servers_are_added_kind_by_kind() {
        let one = StreamTimeouts { init_stream: 1, stream: 2, wait_for_ack: 3 };
        let other = StreamTimeouts { init_stream: 10, stream: 20, wait_for_ack: 30 };
        assert_eq!(one + other, StreamTimeouts { init_stream: 11, stream: 22, wait_for_ack: 33 });
    }
}
