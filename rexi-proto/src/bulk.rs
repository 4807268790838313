//! Payloads that arrive on QUIC streams of their own, and the frames on the ordered lane that wait for them. Either may
//! come first. Bounded both ways: a peer that sends payloads no frame points to is cut off, and one that points to
//! payloads which do not come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::Limits;
use crate::message::{Body, BulkId, Cast};
use crate::name::CallRef;
use crate::phase::ServerAddress;

/// Frames without their payloads, and payloads without their frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Inbound {
    frames: BTreeMap<BulkId, (Incomplete, u32)>,
    bodies: BTreeMap<BulkId, Bytes>,
    body_bytes: usize,
}

/// A frame that waits for its payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Incomplete {
    Cast(ServerAddress, Cast<Body, Arc<str>>),
    Reply(CallRef),
    Response(ServerAddress, CallRef, u64),
}

/// What one of those takes beside the name that it holds.
#[cfg(test)]
pub(crate) const INCOMPLETE_BYTES: usize = size_of::<(BulkId, (Incomplete, u32))>();

/// What is wrong with a payload; the peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BulkError(pub(crate) &'static str);

impl Inbound {
    /// Takes a frame that names payload `id` of `bytes` bytes; gives the payload if it is there already.
    pub(crate) fn handle_frame(
        &mut self,
        id: BulkId,
        bytes: u32,
        frame: Incomplete,
        limits: &Limits,
    ) -> Result<Option<(Incomplete, Bytes)>, BulkError> {
        if bytes > limits.payload_bytes_max {
            return Err(BulkError("a frame names a payload above the limit"));
        }
        if let Some(body) = self.bodies.remove(&id) {
            self.body_bytes -= body.len();
            return joined(frame, bytes, body).map(Some);
        }
        if self.frames.len() >= limits.bulk_frames_max {
            return Err(BulkError("more frames than payloads that they name"));
        }
        match self.frames.insert(id, (frame, bytes)) {
            None => Ok(None),
            Some(_) => Err(BulkError("two frames name the same payload")),
        }
    }

    /// Whether a frame waits for its payload.
    pub(crate) fn awaits_payload(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Takes a payload; gives its frame if it is there already.
    pub(crate) fn handle_body(
        &mut self,
        id: BulkId,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Option<(Incomplete, Bytes)>, BulkError> {
        if let Some((frame, bytes)) = self.frames.remove(&id) {
            return joined(frame, bytes, body).map(Some);
        }
        self.body_bytes += body.len();
        if self.body_bytes > limits.payload_bytes_max as usize * limits.bulk_streams_max as usize {
            return Err(BulkError("more payloads than frames that name them"));
        }
        match self.bodies.insert(id, body) {
            None => Ok(None),
            Some(_) => Err(BulkError("two payloads bear the same number")),
        }
    }

    /// Whether this payload is here and its frame is not.
    pub(crate) fn awaits_frame(&self, id: BulkId) -> bool {
        self.bodies.contains_key(&id)
    }

    /// Forgets casts of these calls to `server`, since a kill has come for them. Their payloads are let go on arrival.
    pub(crate) fn kill(&mut self, server: ServerAddress, calls: &[CallRef]) {
        if self.frames.is_empty() {
            return;
        }
        let calls: BTreeSet<CallRef> = calls.iter().copied().collect();
        for (frame, _) in self.frames.values_mut() {
            if let Incomplete::Cast(at, cast) = frame
                && *at == server
                && calls.contains(&cast.call)
            {
                *frame = Incomplete::Reply(NOBODY);
            }
        }
    }
}

/// A reply to no call: the payload of a killed cast goes there.
const NOBODY: CallRef = CallRef(u64::MAX);

fn joined(frame: Incomplete, bytes: u32, body: Bytes) -> Result<(Incomplete, Bytes), BulkError> {
    if body.len() == bytes as usize {
        Ok((frame, body))
    } else {
        Err(BulkError("a payload is not as long as its frame says"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(call: u64) -> Incomplete {
        Incomplete::Reply(CallRef(call))
    }

    fn body(bytes: usize) -> Bytes {
        vec![7; bytes].into()
    }

    fn limits() -> Limits {
        Limits { payload_bytes_max: 10, bulk_streams_max: 2, bulk_frames_max: 2, ..Limits::default() }
    }

    #[test]
    fn a_frame_and_its_payload_meet_whichever_comes_first() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.handle_frame(BulkId(1), 4, reply(1), &limits()), Ok(None));
        assert_eq!(inbound.handle_body(BulkId(2), body(5), &limits()), Ok(None));
        assert_eq!(inbound.handle_body(BulkId(1), body(4), &limits()), Ok(Some((reply(1), body(4)))));
        assert_eq!(inbound.handle_frame(BulkId(2), 5, reply(2), &limits()), Ok(Some((reply(2), body(5)))));
        assert_eq!(inbound, Inbound::default());
    }

    #[test]
    fn a_payload_is_as_long_as_its_frame_says_and_not_above_the_limit() {
        let mut inbound = Inbound::default();
        assert!(inbound.handle_frame(BulkId(1), 10, reply(1), &limits()).is_ok());
        assert!(inbound.handle_frame(BulkId(2), 11, reply(2), &limits()).is_err());
        assert!(inbound.handle_body(BulkId(1), body(9), &limits()).is_err());
    }

    #[test]
    fn payloads_without_frames_are_bounded_and_make_room_when_met() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.handle_body(BulkId(1), body(10), &limits()), Ok(None));
        assert_eq!(inbound.handle_body(BulkId(2), body(10), &limits()), Ok(None));
        assert!(inbound.clone().handle_body(BulkId(3), body(1), &limits()).is_err());
        assert!(inbound.handle_frame(BulkId(1), 10, reply(1), &limits()).is_ok());
        assert_eq!(inbound.handle_body(BulkId(3), body(1), &limits()), Ok(None));
    }

    #[test]
    fn frames_without_payloads_are_bounded_and_make_room_when_met() {
        let mut inbound = Inbound::default();
        assert_eq!(inbound.handle_frame(BulkId(1), 1, reply(1), &limits()), Ok(None));
        assert_eq!(inbound.handle_frame(BulkId(2), 1, reply(2), &limits()), Ok(None));
        assert!(inbound.clone().handle_frame(BulkId(3), 1, reply(3), &limits()).is_err());
        assert!(inbound.handle_body(BulkId(1), body(1), &limits()).is_ok());
        assert_eq!(inbound.handle_frame(BulkId(3), 1, reply(3), &limits()), Ok(None));
    }

    #[test]
    fn a_number_used_twice_is_refused() {
        let mut inbound = Inbound::default();
        assert!(inbound.handle_frame(BulkId(1), 1, reply(1), &limits()).is_ok());
        assert!(inbound.handle_frame(BulkId(1), 1, reply(1), &limits()).is_err());
        assert!(inbound.handle_body(BulkId(2), body(1), &limits()).is_ok());
        assert!(inbound.handle_body(BulkId(2), body(1), &limits()).is_err());
    }
}
