//! Every bound of the protocol: its unit, its default, and what happens beyond. docs/bounds.md has their tests, too,
//! docs/threats.md the attacks that they stop.
//!
//! A bound whose name ends in `_total_max` is one over all peers of the node; `pool.rs` says how it is shared out.
//! The buffer's length and the stability period are the original's (R37 and R42 of docs/rexi.md).

use std::time::Duration;

use thiserror::Error;

use crate::phase::Servers;

/// The bounds of one node. [`Limits::default`] fits a cluster of up to 64 nodes; [`Limits::check`] refuses a set that
/// contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of one frame on the ordered lane, its length prefix left out. Beyond: the connection is closed, since a
    /// peer that was told the limit in the handshake does not keep to it. Default 1 MiB.
    pub frame_bytes_max: u32,
    /// Bytes of one cast's argument or one reply. Beyond: a typed exit, nothing is sent. Default 4 MiB.
    pub payload_bytes_max: u32,
    /// Bytes of a payload that still travels inside its frame; a larger one goes on a QUIC stream of its own. Default
    /// 32 KiB.
    pub inline_bytes_max: u32,
    /// Payloads that may be in transfer on QUIC streams of their own at once, per peer and direction; of those that are
    /// received, one at a time is read beyond [`STREAM_WINDOW_BYTES`]. Beyond: the next waits. Default 4.
    pub bulk_streams_max: u32,
    /// Frames of one peer that may wait for their payloads. Beyond: the connection is closed. A node has half as many
    /// payloads in transfer at most; more wait in the buffer. Default 1,024.
    pub bulk_frames_max: usize,
    /// Bytes of encoded frames that wait for the writer, per peer. Beyond: frames go to the buffer. Default 256 KiB.
    pub unwritten_bytes_max: usize,
    /// Frames that wait for a peer that is away or slow. Beyond: the oldest is dropped, counted, and its caller told.
    /// Default 2,000, as in the original.
    pub buffered_frames_max: usize,
    /// Bytes of payload that those frames hold. Beyond: as above. Default 8 MiB.
    pub buffered_bytes_max: usize,
    /// Frames in the buffers of all peers. Beyond: the oldest frame for the peer that needs room is dropped, counted,
    /// and its caller told that it is the node's total. Default 64,000.
    pub buffered_frames_total_max: usize,
    /// Bytes of payload that all those frames hold. Beyond: as above. Default 256 MiB.
    pub buffered_bytes_total_max: usize,
    /// Calls that one node may have open to one peer. Beyond: the cast is refused. Default 100,000.
    pub calls_open_max: usize,
    /// Jobs that one server runs at once for one peer. Beyond: a typed exit. Default 100,000.
    pub jobs_max: usize,
    /// Jobs that all servers of the node run at once. Beyond: a typed exit that says so, to peers above their floor.
    /// Default 400,000.
    pub jobs_total_max: usize,
    /// Bytes of arguments that the jobs of one peer may hold on one server. Beyond: a typed exit. Default 8 MiB.
    pub job_bytes_max: usize,
    /// Bytes of arguments that all jobs of the node may hold. Beyond: a typed exit that says so, to peers above their
    /// floor. Default 256 MiB.
    pub job_bytes_total_max: usize,
    /// Reply streams that one server may have open for one peer. Beyond: the job that wants one more ends with a typed
    /// exit. Default 10,000.
    pub streams_max: usize,
    /// Reply streams that all servers of the node may have open. Beyond: as above, and the exit says that it is the
    /// node's total. Default 40,000.
    pub streams_total_max: usize,
    /// Items of a stream that may be unacknowledged; a job may ask for another window. Beyond: the job waits. Default
    /// 5, as in the original.
    pub stream_window: u32,
    /// How long a job waits for its stream to be started, and for an acknowledgement. Beyond: a typed exit.
    /// Default 300 s, as in the original.
    pub stream_time_limit: Duration,
    /// Monitors of one peer that one server keeps. Beyond: the peer is told that this one is down. Default 1,000.
    pub monitors_max: usize,
    /// Kills that a server remembers since they met no job. Beyond: the oldest is forgotten. Default 256.
    pub tombstones_max: usize,
    /// Calls of a list that a server works off before others have their turn: jobs of one peer that end together, and
    /// answers to a resume. Beyond: the rest waits, and the peer is not read meanwhile. Default 64.
    pub part_calls_max: usize,
    /// Replies that may wait in one mailbox. Beyond: the job that replies is ended and its call answered. The last
    /// answer of a call always fits: there is one for each open call. Default 65,536.
    pub mailbox_length_max: usize,
    /// Bytes of payload of those replies. Beyond: as above. Default 64 MiB.
    pub mailbox_bytes_max: usize,
    /// Bytes of a function's name. Beyond: the cast is refused. Default 255.
    pub function_bytes_max: usize,
    /// How long a peer that is away keeps its server, its jobs and what is buffered for it. Default 15 s, as in the
    /// original.
    pub stability_period: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            payload_bytes_max: 4 << 20,
            inline_bytes_max: 32 << 10,
            bulk_streams_max: 4,
            bulk_frames_max: 1_024,
            unwritten_bytes_max: 256 << 10,
            buffered_frames_max: 2_000,
            buffered_bytes_max: 8 << 20,
            buffered_frames_total_max: 64_000,
            buffered_bytes_total_max: 256 << 20,
            calls_open_max: 100_000,
            jobs_max: 100_000,
            jobs_total_max: 400_000,
            job_bytes_max: 8 << 20,
            job_bytes_total_max: 256 << 20,
            streams_max: 10_000,
            streams_total_max: 40_000,
            stream_window: 5,
            stream_time_limit: Duration::from_secs(300),
            monitors_max: 1_000,
            tombstones_max: 256,
            // Some tens of microseconds, and as much by the workers that are aborted.
            part_calls_max: 64,
            mailbox_length_max: 65_536,
            mailbox_bytes_max: 64 << 20,
            function_bytes_max: 255,
            stability_period: Duration::from_secs(15),
        }
    }
}

/// A set of limits that cannot be kept. The caller is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// One limit sets a need that another does not meet.
    #[error("{smaller} ({smaller_value}) needs {larger} to be at least {needed}, but it is {larger_value}")]
    TooSmall {
        /// The limit that sets the need.
        smaller: &'static str,
        /// Its value.
        smaller_value: usize,
        /// The limit that is too small for it.
        larger: &'static str,
        /// Its value.
        larger_value: usize,
        /// What it needs to be.
        needed: usize,
    },
    /// A limit is beyond what its counter and those that it is added to can hold.
    #[error("{limit} is {value}, allowed are up to {max}")]
    TooLarge {
        /// The limit.
        limit: &'static str,
        /// Its value.
        value: usize,
        /// What is allowed.
        max: usize,
    },
    /// A peer that is away would be kept for longer than times are counted.
    #[error("stability_period is {given:?}, allowed are up to {max:?}")]
    StabilityPeriod {
        /// What was given.
        given: Duration,
        /// What is allowed.
        max: Duration,
    },
}

impl Limits {
    /// Bytes that one peer can make a node with these servers hold of what it sends, whatever it sends: by default just
    /// below 16 MiB where there is one server, and 8 MiB more while there are two.
    ///
    /// | what | default |
    /// |---|---|
    /// | QUIC streams that are not read: the lane and [`Limits::bulk_streams_max`], a window each | 1.25 MiB |
    /// | the frame that has begun, and what one read adds | 1.06 MiB |
    /// | payloads that are not complete or wait for their frame: a window each, and one in full | 5 MiB |
    /// | frames that wait for their payload | 0.5 MiB |
    /// | arguments of jobs, per server | 8 MiB |
    ///
    /// Not in it: what a job takes by running, which is a task and a row of about 2 KiB and whatever its function does,
    /// for [`Limits::jobs_max`] jobs; and what this node has for a peer that does not read, which is bounded by
    /// [`Limits::unwritten_bytes_max`], [`Limits::buffered_bytes_max`] and the latter once more for payloads in
    /// transfer.
    pub fn inbound_bytes_max(&self, hosts: Servers) -> usize {
        let (window, streams) = (STREAM_WINDOW_BYTES as usize, self.bulk_streams_max as usize);
        let windows = streams.saturating_mul(window);
        let unread = windows.saturating_add(window);
        let frame = (self.frame_bytes_max as usize).saturating_add(READ_BYTES_MAX);
        let payloads = windows.saturating_add(self.payload_bytes_max as usize);
        let frames = self.bulk_frames_max.saturating_mul(self.function_bytes_max.saturating_add(WAITING_FRAME_BYTES));
        let arguments = self.job_bytes_max.saturating_mul(hosts.iter().count());
        [unread, frame, payloads, frames, arguments].into_iter().fold(0, usize::saturating_add)
    }

    /// Every limit that a counter is compared with.
    fn counted(&self) -> [(&'static str, usize); 19] {
        [
            ("bulk_frames_max", self.bulk_frames_max),
            ("unwritten_bytes_max", self.unwritten_bytes_max),
            ("buffered_frames_max", self.buffered_frames_max),
            ("buffered_bytes_max", self.buffered_bytes_max),
            ("buffered_frames_total_max", self.buffered_frames_total_max),
            ("buffered_bytes_total_max", self.buffered_bytes_total_max),
            ("calls_open_max", self.calls_open_max),
            ("jobs_max", self.jobs_max),
            ("jobs_total_max", self.jobs_total_max),
            ("job_bytes_max", self.job_bytes_max),
            ("job_bytes_total_max", self.job_bytes_total_max),
            ("streams_max", self.streams_max),
            ("streams_total_max", self.streams_total_max),
            ("monitors_max", self.monitors_max),
            ("tombstones_max", self.tombstones_max),
            ("part_calls_max", self.part_calls_max),
            ("mailbox_length_max", self.mailbox_length_max),
            ("mailbox_bytes_max", self.mailbox_bytes_max),
            ("function_bytes_max", self.function_bytes_max),
        ]
    }

    /// Checks that the limits agree with each other.
    ///
    /// # Errors
    /// [`LimitsError`] names those that do not.
    pub fn check(&self) -> Result<(), LimitsError> {
        let frame = self.frame_bytes_max as usize;
        if self.stability_period > STABILITY_PERIOD_MAX {
            return Err(LimitsError::StabilityPeriod { given: self.stability_period, max: STABILITY_PERIOD_MAX });
        }
        for (limit, value) in self.counted() {
            if value > COUNTED_MAX {
                return Err(LimitsError::TooLarge { limit, value, max: COUNTED_MAX });
            }
        }
        let need = |smaller, smaller_value, larger, larger_value, needed| {
            if larger_value >= needed {
                Ok(())
            } else {
                Err(LimitsError::TooSmall { smaller, smaller_value, larger, larger_value, needed })
            }
        };
        // The list of open calls that resumes a connection travels in one frame.
        let resume = self.calls_open_max.saturating_mul(CALL_REF_BYTES_MAX).saturating_add(FRAME_OVERHEAD_BYTES);
        need("calls_open_max", self.calls_open_max, "frame_bytes_max", frame, resume)?;
        let inline = self.inline_bytes_max as usize;
        let header = self.function_bytes_max.saturating_add(FRAME_OVERHEAD_BYTES);
        need("function_bytes_max", self.function_bytes_max, "frame_bytes_max", frame, header)?;
        need("inline_bytes_max", inline, "frame_bytes_max", frame, header.saturating_add(inline))?;
        // Nobody could be asked for anything.
        need("one name's need", 1, "function_bytes_max", self.function_bytes_max, 1)?;
        let payload = self.payload_bytes_max as usize;
        need("inline_bytes_max", inline, "payload_bytes_max", payload, inline)?;
        need("one frame's need", 1, "buffered_frames_max", self.buffered_frames_max, 1)?;
        // Less would let nothing out, ever.
        need("one frame's need", 1, "unwritten_bytes_max", self.unwritten_bytes_max, 1)?;
        need("one item's need", 1, "stream_window", self.stream_window as usize, 1)?;
        // A list would have no end.
        need("one call's need", 1, "part_calls_max", self.part_calls_max, 1)?;
        need("payload_bytes_max", payload, "mailbox_bytes_max", self.mailbox_bytes_max, payload)?;
        need("payload_bytes_max", payload, "job_bytes_max", self.job_bytes_max, payload)?;
        need("one payload's need", 1, "bulk_streams_max", self.bulk_streams_max as usize, 1)?;
        need("two payloads' need", 2, "bulk_frames_max", self.bulk_frames_max, 2)?;
        need("payload_bytes_max", payload, "buffered_bytes_max", self.buffered_bytes_max, payload)?;
        let of_all = |smaller, smaller_value, larger, larger_value| {
            need(smaller, smaller_value, larger, larger_value, smaller_value)
        };
        of_all("jobs_max", self.jobs_max, "jobs_total_max", self.jobs_total_max)?;
        of_all("job_bytes_max", self.job_bytes_max, "job_bytes_total_max", self.job_bytes_total_max)?;
        of_all("streams_max", self.streams_max, "streams_total_max", self.streams_total_max)?;
        let (frames, bytes) = (self.buffered_frames_max, self.buffered_bytes_max);
        of_all("buffered_frames_max", frames, "buffered_frames_total_max", self.buffered_frames_total_max)?;
        of_all("buffered_bytes_max", bytes, "buffered_bytes_total_max", self.buffered_bytes_total_max)?;
        // Half of a total is shared out as floors. A payload of full length fits into the other half, which is free
        // when no peer is above its floor.
        let twice = payload.saturating_mul(2);
        need("payload_bytes_max", payload, "job_bytes_total_max", self.job_bytes_total_max, twice)?;
        need("payload_bytes_max", payload, "buffered_bytes_total_max", self.buffered_bytes_total_max, twice)
    }
}

/// Bytes of one QUIC stream that a peer may send before they are read.
pub const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// Bytes that the reader takes off the ordered lane at once.
pub const READ_BYTES_MAX: usize = 16 << 10;

/// Bytes of a handshake frame. A peer is not trusted before its handshake, so this bound is not configurable.
pub const HELLO_BYTES_MAX: u32 = 64 << 10;

/// What a frame that waits for its payload takes beside its function's name.
const WAITING_FRAME_BYTES: usize = 256;

/// How far ahead of a node's clock a peer may say to have started.
pub const START_AHEAD_MAX: Duration = Duration::from_hours(24);

/// The largest limit that a counter may be compared with, so that a sum of some of them is a number still.
const COUNTED_MAX: usize = 1 << 60;

/// The longest that a peer that is away may be kept.
const STABILITY_PERIOD_MAX: Duration = Duration::from_hours(24);

/// Bytes of the longest call number on the wire: a varint of 64 bits.
pub(crate) const CALL_REF_BYTES_MAX: usize = 10;

/// Bytes that a frame may hold beside its function's name and its payload: all other fields at their longest.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn one_peer_can_make_a_node_hold_16_mib_of_what_it_sends_and_no_more() {
        let (limits, mib) = (Limits::default(), 1 << 20);
        for one in [Servers::SINGLETON, Servers::PER_NODE] {
            assert!(limits.inbound_bytes_max(one) <= 16 * mib, "{}", limits.inbound_bytes_max(one));
        }
        assert_eq!(limits.inbound_bytes_max(Servers::BOTH), limits.inbound_bytes_max(Servers::PER_NODE) + 8 * mib);
        const { assert!(crate::bulk::INCOMPLETE_BYTES < WAITING_FRAME_BYTES) };
    }

    #[test]
    fn totals_that_are_too_small_are_named() {
        let default = Limits::default;
        for (limits, named) in [
            (Limits { jobs_total_max: 99_999, ..default() }, "jobs_total_max"),
            (Limits { job_bytes_total_max: 1, ..default() }, "job_bytes_total_max"),
            (Limits { streams_total_max: 1, ..default() }, "streams_total_max"),
            (Limits { buffered_frames_total_max: 1_999, ..default() }, "buffered_frames_total_max"),
            (Limits { buffered_bytes_total_max: 1, ..default() }, "buffered_bytes_total_max"),
            (Limits { bulk_frames_max: 1, ..default() }, "bulk_frames_max"),
            (Limits { payload_bytes_max: 8 << 20, job_bytes_total_max: 15 << 20, ..default() }, "job_bytes_total_max"),
        ] {
            let error = limits.check().expect_err("too small").to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_named() {
        let limits = Limits { calls_open_max: 200_000, ..Limits::default() };
        let error = limits.check().expect_err("a resume would not fit into a frame").to_string();
        assert!(error.contains("calls_open_max (200000)") && error.contains("frame_bytes_max"), "{error}");
        let for_ever = Limits { stability_period: Duration::MAX, ..Limits::default() };
        assert!(for_ever.check().expect_err("times would overflow").to_string().contains("up to 86400s"));
        assert!(Limits { buffered_frames_max: 0, ..Limits::default() }.check().is_err());
        assert!(Limits { unwritten_bytes_max: 0, ..Limits::default() }.check().is_err());
        assert!(Limits { part_calls_max: 0, ..Limits::default() }.check().is_err());
        assert!(Limits { inline_bytes_max: 2 << 20, ..Limits::default() }.check().is_err());
    }

    #[test]
    fn what_one_peer_can_make_a_node_hold_grows_by_what_each_limit_allows() {
        let none = Limits {
            frame_bytes_max: 0,
            payload_bytes_max: 0,
            bulk_streams_max: 0,
            bulk_frames_max: 0,
            job_bytes_max: 0,
            function_bytes_max: 10,
            ..Limits::default()
        };
        let held = |limits: &Limits| limits.inbound_bytes_max(Servers::PER_NODE);
        assert_eq!(held(&none), (128 << 10) + (16 << 10), "a window of the lane, and what one read takes off it");
        for (limits, more) in [
            (Limits { frame_bytes_max: 3, ..none.clone() }, 3),
            (Limits { payload_bytes_max: 5, ..none.clone() }, 5),
            (Limits { bulk_streams_max: 2, ..none.clone() }, 4 * (128 << 10)),
            (Limits { bulk_frames_max: 3, ..none.clone() }, 3 * (10 + 256)),
            (Limits { job_bytes_max: 7, ..none.clone() }, 7),
        ] {
            assert_eq!(held(&limits) - held(&none), more, "{limits:?}");
        }
    }

    #[test]
    fn a_peer_may_be_kept_for_a_day_and_not_longer() {
        let kept = |stability_period| Limits { stability_period, ..Limits::default() }.check();
        let day = Duration::from_hours(24);
        assert_eq!(kept(day), Ok(()));
        let given = day + Duration::from_nanos(1);
        assert_eq!(kept(given), Err(LimitsError::StabilityPeriod { given, max: day }));
    }

    #[test]
    fn a_limit_that_meets_a_need_exactly_is_enough_and_one_less_is_named_with_what_it_lacks() {
        let base = Limits { calls_open_max: 100, inline_bytes_max: 100, function_bytes_max: 20, ..Limits::default() };
        let resume = Limits { calls_open_max: 500, frame_bytes_max: 500 * 10 + 128, ..base.clone() };
        let inline = Limits { inline_bytes_max: 3_000, frame_bytes_max: 3_000 + 128 + 20, ..base.clone() };
        for (limits, smaller) in [(resume, "calls_open_max"), (inline, "inline_bytes_max")] {
            assert_eq!(limits.check(), Ok(()));
            let short = Limits { frame_bytes_max: limits.frame_bytes_max - 1, ..limits.clone() }.check();
            let Err(LimitsError::TooSmall { smaller: named, larger, needed, .. }) = short else { panic!("{short:?}") };
            assert_eq!((named, larger, needed), (smaller, "frame_bytes_max", limits.frame_bytes_max as usize));
        }
        let payload = Limits { payload_bytes_max: 100, ..base };
        assert_eq!(payload.check(), Ok(()), "a payload may be as long as what travels inline");
        assert!(Limits { payload_bytes_max: 99, ..payload }.check().is_err());
    }
}
