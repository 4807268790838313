//! From whatever has happened to a cluster that is whole: what must hold when all is over.

use std::time::Duration;

use rexi_proto::{ExitReason, ItemStep, JobEnding, Presence, QuestionStep};

use super::LINKS_MAX;
use super::notes::payload;
use super::world::World;

impl World {
    /// A new connection, on which both ends attach: this one first.
    pub(super) fn connect(&mut self, first: usize) {
        self.links.retain(|link| !link.is_closed(0) || !link.is_closed(1));
        if self.links.len() >= LINKS_MAX {
            return;
        }
        for n in 0..2 {
            let phase = self.nodes[n].release.phase_for(self.nodes[1 - n].release);
            let release = self.nodes[1 - n].release;
            if release != self.nodes[n].release {
                self.set_phase(n, phase);
            }
        }
        self.dial();
        let l = self.links.len() - 1;
        self.attach(l, first);
        self.attach(l, 1 - first);
    }

    /// What is encoded is written and arrives, on every connection. Whether anything was.
    pub(super) fn exchange(&mut self) -> bool {
        let mut moved = false;
        for l in 0..self.links.len() {
            for n in 0..2 {
                moved |= self.write(l, n);
                moved |= self.deliver(l, 1 - n, usize::MAX);
                moved |= self.deliver_bulk(l, 1 - n, 0);
            }
        }
        moved | self.take(0) | self.take(1)
    }

    /// Until nothing is on its way, and no list is left.
    fn rest(&mut self) {
        let rounds = (0..ROUNDS_MAX).take_while(|_| self.exchange() | self.go_on(0) | self.go_on(1)).count();
        assert!(rounds < ROUNDS_MAX, "they talk for ever");
    }

    /// What each has open with the other is what the other runs for it.
    fn judge_agreement(&self) {
        for n in 0..2 {
            let life = self.nodes[n].life;
            let of = |job: &&super::node::Job| job.key.caller.incarnation == life;
            let jobs = &self.nodes[1 - n].jobs;
            let mut run: Vec<_> = jobs.iter().filter(of).map(|job| job.key.call).collect();
            run.sort_unstable();
            assert_eq!(run.len(), jobs.len(), "jobs of a life of node {n} that is over");
            let open: Vec<_> = self.nodes[n].peer.open_calls().collect();
            assert_eq!(open, run, "open calls of node {n}, and what is run for it");
            assert!(self.nodes[n].peer.is_clear() && self.nodes[n].peer.stats().buffered == 0, "{n}");
        }
    }

    /// The same, and each knows in which phase the other is, and nothing waits that need not.
    fn judge_rest(&mut self) {
        self.judge_agreement();
        if self.notes.forged {
            return;
        }
        for n in 0..2 {
            assert_eq!(self.nodes[n].heard, self.nodes[1 - n].phase().epoch, "what node {n} was told");
            for place in 0..self.nodes[n].jobs.len() {
                self.judge_wait(n, place);
            }
        }
        self.rest();
    }

    /// A job does not wait for what its caller has said.
    fn judge_wait(&mut self, n: usize, place: usize) {
        let job = self.nodes[n].jobs[place];
        let of = job.call.expect("nobody forges frames");
        let call = &self.notes.calls[of];
        assert_ne!(call.said, Some(false), "{call:?} has a job that is to end");
        if let Some(question) = job.question.filter(|_| call.questions.is_empty()) {
            let step = self.with_server(n, job.key, |server| server.take_response(job.key, question));
            assert!(matches!(step, QuestionStep::Response(_)), "{step:?} for a response");
            self.nodes[n].jobs[place].question = None;
        }
        let call = &mut self.notes.calls[of];
        if call.said.is_some() {
            let (mut body, window) = (payload(Some(of), call.sent, 0), (call.unacked == 0).then_some(1));
            call.sent += 1;
            let step = self.with_server(n, job.key, |server| server.handle_item(job.key, &mut body, window));
            assert_eq!(step, ItemStep::Sent, "a stream that was started, and acknowledged");
        }
    }

    /// Every connection is lost, and there is another.
    fn reconnect(&mut self) {
        for l in 0..self.links.len() {
            self.cut(l);
            (0..2).for_each(|n| self.learn(l, n));
        }
        self.now += Duration::from_millis(1);
        self.connect(0);
        assert!((0..2).all(|n| matches!(self.nodes[n].peer.presence(), Presence::Up(..))), "they are connected");
        self.rest();
    }

    /// All that was disturbed comes to its end.
    pub(super) fn heal(&mut self) {
        self.nodes.iter().for_each(super::node::Node::judge_within);
        let current = [self.nodes[0].life, self.nodes[1].life];
        if !self.notes.forged && self.links.iter().any(|link| link.is_sound() && link.lives == current) {
            self.rest();
            if self.links.iter().any(|link| link.is_sound() && link.lives == current) {
                self.judge_rest();
            }
        }
        self.reconnect();
        if self.notes.forged {
            // What came of forged frames may have waited for the connection. It is over with the next.
            self.reconnect();
        }
        self.judge_rest();
        for n in 0..2 {
            while let Some(place) = self.nodes[n].jobs.len().checked_sub(1) {
                self.end(n, place, JobEnding::Exit(ExitReason::Done));
            }
        }
        self.rest();
        self.judge_agreement();
        for n in 0..2 {
            assert_eq!(self.nodes[n].peer.stats().calls, 0, "calls of node {n} that never end");
            assert_eq!(self.nodes[n].peer.stats().streams, 0, "streams of node {n}");
        }
        self.stop();
    }

    /// Both nodes stop: nothing is held, and who watches has heard of it.
    fn stop(&mut self) {
        for n in 0..2 {
            self.at(n, 0, |node, _| node.peer.stop());
            while self.take(n) | self.go_on(n) {}
            self.nodes[n].judge_empty_pool();
        }
        let waits = self.notes.monitors.iter().position(|monitor| !monitor.over);
        assert_eq!(waits, None, "a monitor that has not fired");
    }
}

const ROUNDS_MAX: usize = 10_000;
