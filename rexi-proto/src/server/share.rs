//! What one peer takes of a server: jobs, bytes of their arguments, streams; within its floors, and out of the pool
//! beyond.

use super::Server;
use crate::message::ExitReason;
use crate::pool::{Pool, Total, grow, shrink};
use crate::reply_stream::ReplyStream;

/// What one peer takes of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Share {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
    pub(super) streams: usize,
}

impl Share {
    pub(super) fn add_job(&mut self, bytes: usize, pool: &mut impl Pool) -> Result<(), ExitReason> {
        if !grow(pool, Total::Jobs, &mut self.jobs, 1) {
            return Err(ExitReason::TooManyJobsInAll);
        }
        if !grow(pool, Total::JobBytes, &mut self.bytes, bytes) {
            shrink(pool, Total::Jobs, &mut self.jobs, 1);
            return Err(ExitReason::TooManyBytesInAll);
        }
        Ok(())
    }

    pub(super) fn remove_job(&mut self, bytes: usize, stream: ReplyStream, pool: &mut impl Pool) {
        shrink(pool, Total::Jobs, &mut self.jobs, 1);
        shrink(pool, Total::JobBytes, &mut self.bytes, bytes);
        shrink(pool, Total::Streams, &mut self.streams, usize::from(stream != ReplyStream::Unopened));
    }

    pub(super) fn release(mut self, pool: &mut impl Pool) {
        let Self { jobs, bytes, streams } = self;
        shrink(pool, Total::Jobs, &mut self.jobs, jobs);
        shrink(pool, Total::JobBytes, &mut self.bytes, bytes);
        shrink(pool, Total::Streams, &mut self.streams, streams);
    }
}

impl<P: Pool> Server<P> {
    /// What its peers hold of that total beyond a floor of so much for each.
    pub fn beyond(&self, total: Total, floor: usize) -> usize {
        let held = |share: &Share| match total {
            Total::Jobs => share.jobs,
            Total::JobBytes => share.bytes,
            Total::Streams => share.streams,
            Total::BufferedFrames | Total::BufferedBytes => 0,
        };
        self.shares.values().map(|share| held(share).saturating_sub(floor)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::phase::ServerAddress;

    #[test]
    fn what_is_held_beyond_a_floor_is_counted_for_each_peer_by_itself() {
        let mut server = Server::new(ServerAddress::Singleton, &Limits::default());
        for (peer, jobs) in [(0, 5), (1, 2), (2, 9)] {
            let share = Share { jobs, bytes: 10 * jobs, streams: 0 };
            server.shares.insert(crate::name::PeerId(peer), share);
        }
        assert_eq!(server.beyond(Total::Jobs, 3), 2 + 6);
        assert_eq!(server.beyond(Total::JobBytes, 40), 10 + 50);
        assert_eq!(server.beyond(Total::Streams, 0), 0);
        assert_eq!(server.beyond(Total::BufferedFrames, 0), 0, "no server has a buffer");
    }
}
