//! A server as a search sees it: the same under other numbers of peers, and without what only tells of the past.

use super::{Caller, Server};
use crate::name::{CallRef, PeerId};
use crate::peer::ConnectionId;
use crate::pool::Pool;
use crate::reply_stream::StreamTimeouts;

impl<P: Pool + Clone> Server<P> {
    /// The same server in a node that numbers its peers otherwise. For a search that takes clusters which differ in
    /// numbers alone for one; `rename` must not give two peers the same number.
    #[must_use]
    pub fn renamed(&self, rename: impl Fn(PeerId) -> PeerId) -> Self {
        let caller = |of: Caller| Caller { peer: rename(of.peer), ..of };
        let jobs = self.jobs.iter().map(|(&(of, call), job)| ((caller(of), call), job.clone())).collect();
        let monitors = self.monitors.iter().map(|&(of, monitor)| (caller(of), monitor)).collect();
        let shares = self.shares.iter().map(|(&peer, &share)| (rename(peer), share)).collect();
        // Their order counts where they are dropped, beyond the bound.
        let tombstones = self.tombstones.iter().map(|&(of, call)| (caller(of), call)).collect();
        let behind = self.behind.iter().map(|part| part.renamed(caller)).collect();
        Self { jobs, monitors, shares, tombstones, behind, ..self.clone() }
    }

    /// Forgets what only tells of the past, so that a search does not take states apart for it: counts, job numbers
    /// once no job runs and no worker is to be aborted, and kills of calls whose cast can no longer come, as
    /// `may_come` says. The caller must hold no number of a job that is over.
    pub fn forget_past(&mut self, may_come: impl Fn(Caller, CallRef) -> bool) {
        self.timeouts = StreamTimeouts::default();
        self.tombstones.retain(|&(caller, call)| may_come(caller, call));
        if self.jobs.is_empty() && self.ending().next().is_none() {
            self.next_job = 0;
        }
    }

    /// Numbers the connections on which calls were said to be open otherwise.
    pub fn renumber(&mut self, renumber: impl Fn(Caller, ConnectionId) -> ConnectionId) {
        self.behind.iter_mut().for_each(|part| part.renumber(&renumber));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::phase::ServerAddress;
    use crate::server::JobKey;
    use crate::server::tests::{CALLER, kill, outputs, server, spawn};

    #[test]
    fn a_renamed_server_runs_the_same_jobs_for_peers_of_other_numbers() {
        let mut before = server(5, 5);
        spawn(&mut before, 1);
        before.handle_request(CALLER, kill(&[2]));
        let after = before.renamed(|peer| PeerId(peer.0 + 7));
        let callers: Vec<_> = after.calls().map(|(caller, call)| (caller.peer, call)).collect();
        assert_eq!(callers, [(PeerId(8), CallRef(1))]);
        assert_eq!(after.renamed(|peer| PeerId(peer.0 - 7)), before, "there and back");
    }

    #[test]
    fn what_only_tells_of_the_past_is_forgotten_and_what_runs_is_not() {
        let (mut used, fresh) = (server(5, 5), server(5, 5));
        spawn(&mut used, 1);
        used.handle_request(CALLER, kill(&[2]));
        used.forget_past(|_, call| call == CallRef(2));
        assert_eq!((used.jobs(), used.tombstones.len(), used.next_job), (1, 1, 1));
        used.handle_request(CALLER, kill(&[1]));
        outputs(&mut used);
        used.forget_past(|_, _| false);
        assert_eq!(used, fresh);
    }

    #[test]
    fn a_server_that_is_behind_is_renamed_with_its_lists_and_keeps_the_numbers_of_its_workers() {
        let limits = Limits { part_calls_max: 1, ..Limits::default() };
        let mut server = Server::new(ServerAddress::PerNode, &limits);
        let jobs = [1, 2].map(|call| spawn(&mut server, call));
        server.handle_request(CALLER, kill(&[1, 2]));
        assert_eq!(server.ending().collect::<Vec<_>>(), [jobs[1]], "of the first the worker is told");
        let renamed: Vec<_> = server.renamed(|peer| PeerId(peer.0 + 7)).ending().collect();
        assert_eq!(renamed, [JobKey { caller: Caller { peer: PeerId(8), ..CALLER }, ..jobs[1] }]);
        outputs(&mut server);
        server.forget_past(|_, _| false);
        assert_eq!(server.next_job, 2, "another job is not taken for it");
        server.go_on();
        outputs(&mut server);
        server.forget_past(|_, _| false);
        assert_eq!(server, Server::new(ServerAddress::PerNode, &limits));
    }
}
