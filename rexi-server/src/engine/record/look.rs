//! What a node tells of itself to whoever judges whether its cluster may take a step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use rexi_proto::LimitingFactor;
use rexi_proto::operate::{MemberLook, PeerLook, PhaseLook, REXI, SingletonLook, SourceLook};
use rexi_proto::record::KeeperAsk;

#[cfg(feature = "operate")]
use crate::engine::metrics;
use crate::engine::record::keeper::RecordKeeper;
use crate::engine::shared::{ServiceCheck, Shared};
use crate::engine::status::{NodeStatus, PeerPresence, PeerStatus, RolloutStatus};

impl Shared {
    /// What this node is and keeps, as its disk has it now.
    pub(crate) async fn look(self: &Arc<Self>) -> MemberLook {
        let answer = self.ask_keeper(KeeperAsk::Read).await;
        let disk_problem = self.probe_disk().await;
        let facts = self.facts_now().await;
        let status = self.status();
        let (stops, highest) = {
            let rollout = self.rollout();
            let profile = rollout.profile();
            (profile.stops().to_vec(), profile.migrations().map(|(_, stage)| stage.highest()).collect::<Vec<_>>())
        };
        let phase = |(status, highest): (&RolloutStatus, _)| PhaseLook {
            migration: status.migration.clone(),
            phase: status.phase,
            highest,
            limit: match &status.limiting_factor {
                LimitingFactor::Release(_) => None,
                limit => Some(limit.to_string()),
            },
        };
        let others = || status.peers.iter().filter(|peer| peer.name != self.name);
        MemberLook {
            answer,
            cluster: facts.cluster,
            life: facts.life,
            version: status.release.clone(),
            rexi: semver::Version::parse(REXI).expect("cargo takes no other version"),
            stops,
            members: facts.members,
            phases: status.rollouts.iter().zip(highest).map(phase).collect(),
            peers: others().map(|peer| (peer.name.clone(), connection(peer))).collect(),
            singleton: self.singleton.as_ref().map(|singleton| SingletonLook {
                queue: singleton.queued() as u64,
                jobs: singleton.jobs() as u64,
                quiet_ms: millis(singleton.quiet()),
            }),
            source: self.source_look(),
            jobs: status.jobs as u64,
            oldest_job_ms: self.oldest_job().map(millis),
            drain_limit_ms: self.drain_limit_ms.load(Ordering::Relaxed),
            calls: status.calls as u64,
            draining: status.draining,
            unready: self.unready(&status),
            holds: failed(&self.stop_checks, &status).collect(),
            disk_problem,
            certificate_expires: status.certificate_expires.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            clock: u64::try_from(self.env.since_1970().as_micros()).unwrap_or(u64::MAX),
            pool_left: self.pool.left_percent(),
        }
    }

    fn source_look(&self) -> Option<SourceLook> {
        let problem = self.source_problem.as_ref()?.lock().expect("nothing panics while it holds the text").clone();
        let rollout = self.rollout();
        let ceilings = rollout.of_source().map(|(migration, phase)| (migration.clone(), phase)).collect();
        Some(SourceLook { problem, ceilings })
    }

    /// How long the oldest job has run, of those that have had to wait for something. Looks at all of them.
    fn oldest_job(&self) -> Option<Duration> {
        let per_node = self.members().iter().filter_map(|member| member.serve(|_, jobs| jobs.oldest())).min();
        let singleton = self.singleton.as_ref().and_then(|singleton| singleton.serve(|_, jobs| jobs.oldest()));
        per_node.into_iter().chain(singleton).min().map(|started| started.elapsed())
    }

    /// Counts what an operator has asked of this node.
    #[cfg(feature = "operate")]
    pub(crate) fn count_operator(&self, verb: &'static str, outcome: &'static str) {
        metrics::operator_asked(&self.name, verb, outcome);
    }

    /// Why the node's disk did not take a probe, if it did not.
    async fn probe_disk(self: &Arc<Self>) -> Option<String> {
        let record = self.record.as_ref()?;
        if record.is_broken() {
            return Some("an earlier write has failed: mend the disk, and start the node again".to_owned());
        }
        let shared = Arc::clone(self);
        self.env.aside(move || shared.record.as_ref().and_then(RecordKeeper::probe)).await
    }

    /// What keeps the node from being ready.
    #[cfg(feature = "admin")]
    fn unready(&self, status: &NodeStatus) -> BTreeMap<String, String> {
        let bar = self.unrecorded().map(|bar| ("recorded".to_owned(), bar.to_string()));
        failed(&self.ready_checks, status).chain(bar).collect()
    }

    #[cfg(not(feature = "admin"))]
    fn unready(&self, _status: &NodeStatus) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The checks that say no, each with its reason.
fn failed(checks: &[(String, Box<ServiceCheck>)], status: &NodeStatus) -> impl Iterator<Item = (String, String)> {
    checks.iter().filter_map(|(name, check)| Some((name.clone(), check(status).err()?)))
}

fn connection(peer: &PeerStatus) -> PeerLook {
    let problem = match &peer.presence {
        PeerPresence::Connected => None,
        PeerPresence::Refused(refusal) => Some(refusal.to_string()),
        PeerPresence::Away | PeerPresence::Gone => peer.last_error.clone(),
    };
    PeerLook { is_connected: peer.presence == PeerPresence::Connected, problem }
}
