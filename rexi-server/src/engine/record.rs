//! The record of the cluster on a running node: its keeper behind a lock, its disk, and what follows from what it
//! keeps: who may be spoken to, how far each migration may go, and whether the node may serve at all.
//!
//! ```text
//!   a member, a driver ─► ask ─► Keeper (rexi_proto) ─► disk (state.rs) ─► applied: rollout, links ─► answered
//! ```

mod drive;
pub(crate) mod keeper;
mod look;
pub(crate) mod questions;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use rexi_proto::record::{Answer, Bar, ClusterRecord, Digest, Facts, KeeperAsk, KeeperOutput, Kept, SeenLife};
use rexi_proto::{CloseCode, LimitingFactor};
use tokio::sync::oneshot;

use self::keeper::{RecordKeeper, State};
use crate::engine::shared::Shared;
use crate::state::Disk;

impl Shared {
    /// Asks this node's own keeper, and waits for its disk; `None` where the node keeps no record, or stops.
    pub(crate) async fn ask_keeper(self: &Arc<Self>, ask: KeeperAsk) -> Option<Answer> {
        let record = self.record.as_ref()?;
        let facts = self.facts_now().await;
        let (answer, answered) = oneshot::channel();
        {
            let mut state = record.lock();
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.asked.insert(ticket, answer);
            state.keeper.handle(ticket, ask, &facts);
            self.settle_record(record, &mut state);
        }
        tokio::select! {
            biased;
            answer = answered => answer.ok(),
            // The write that was waited for may never be told.
            () = self.env.tasks().stopped() => None,
        }
    }

    /// Does what the keeper wants done.
    fn settle_record(self: &Arc<Self>, record: &RecordKeeper, state: &mut State) {
        while let Some(output) = state.keeper.poll_output() {
            match output {
                KeeperOutput::Write(kept) => drop(self.spawn(Arc::clone(self).write_record(kept))),
                KeeperOutput::Apply(kept) => self.apply_record(record, kept),
                // Who has asked may have gone.
                KeeperOutput::Answer(ticket, answer) => {
                    if let Some(asked) = state.asked.remove(&ticket) {
                        let _ = asked.send(answer);
                    }
                }
            }
        }
    }

    async fn write_record(self: Arc<Self>, kept: Kept) {
        let Some(record) = &self.record else { return };
        let written = match record.disk().clone() {
            Disk::Dir(dir) => self.env.aside(move || dir.write(&kept)).await,
            #[cfg(feature = "testing")]
            Disk::Memory(disk) => disk.write(kept).await,
        };
        if let Err(error) = &written {
            record.note_broken();
            tracing::error!(node = %self.name, %error, "the record was not written: this node says no to every change");
        }
        let facts = self.facts_now().await;
        let mut state = record.lock();
        state.keeper.handle_written(written.is_ok(), &facts);
        self.settle_record(record, &mut state);
    }

    /// What is on the disk holds from now on, before anybody hears that it does.
    fn apply_record(self: &Arc<Self>, record: &RecordKeeper, kept: Kept) {
        let kept = Arc::new(kept);
        let before = record.kept().epoch();
        for why in self.change_rollout(|rollout| rollout.set_kept(Arc::clone(&kept))) {
            tracing::warn!(node = %self.name, %why, "a ceiling of the record does not hold here");
        }
        let had_brakes = record.kept().brakes == kept.brakes;
        record.apply(Arc::clone(&kept));
        if !had_brakes {
            for member in self.members().iter().filter(|member| !member.is_local() && member.is_connected()) {
                self.tell_brakes(member.name());
            }
        }
        if kept.epoch() == before {
            return;
        }
        if let Some(after) = &kept.record {
            let (epoch, floor, top, by) = (after.epoch, after.floor, after.top, &after.by);
            tracing::info!(node = %self.name, epoch, %floor, %top, %by, "the record has moved");
        }
        for member in self.members().iter().filter(|member| !member.is_local()) {
            let verdict = self.rollout().may_speak_to(member.name());
            if let Err(apart) = verdict {
                member.close_connection(CloseCode::NotTrusted, &apart.to_string());
            }
            // It may be the record that stood in the way.
            member.kicked.notify_one();
        }
        if let Err(bar) = self.is_barred(&kept) {
            tracing::error!(node = %self.name, error = %bar, "this release may not run any more: the node leaves");
            self.drain();
        }
        self.presence.send_modify(|changes| *changes += 1);
    }

    /// Whether the record lets this node's release run.
    fn is_barred(&self, kept: &Kept) -> Result<(), Bar> {
        match kept.admits(self.release) {
            Err(Bar::NoRecord) => Ok(()),
            verdict => verdict,
        }
    }

    /// Why the record keeps this node from serving, if it does.
    #[cfg(feature = "admin")]
    pub(crate) fn unrecorded(&self) -> Option<Bar> {
        let kept = self.record.as_ref()?.kept();
        match kept.admits(self.release) {
            Err(Bar::NoRecord) if self.rollout().has_record() => None,
            verdict => verdict.err(),
        }
    }

    /// Waits until the record does not let this node run any more, and says why.
    pub(crate) async fn barred(&self) -> Bar {
        let Some(record) = &self.record else { return std::future::pending().await };
        let mut applied = record.watch();
        loop {
            if let Err(bar) = self.is_barred(&applied.borrow_and_update()) {
                return bar;
            }
            if applied.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits until the node may serve by what it keeps: it has a record, or needs none.
    pub(crate) async fn wait_recorded(&self) {
        let Some(record) = &self.record else { return };
        let mut applied = record.watch();
        while !self.rollout().has_record() {
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// What this node is, to whoever asks its keeper.
    pub(super) async fn facts_now(&self) -> Facts {
        let build = match BUILD.get() {
            Some(build) => *build,
            None => self.env.aside(build).await,
        };
        let life = SeenLife { incarnation: self.incarnation, release: self.release, build };
        let members = self.members().names().cloned().collect();
        let leaves = self.draining.load(Ordering::Relaxed) || self.has_stopped();
        let ready = if leaves { Err("it is leaving".to_owned()) } else { Ok(()) };
        let cluster = Arc::clone(self.rollout().cluster());
        Facts { life, members, cluster, ready, settled: self.is_settled() }
    }

    /// How long the last change has been under way, as this node knows it; and how long all could have been finalized,
    /// and was not: every member runs the highest release, and this one says all that it can say.
    pub(crate) fn record_ages(&self) -> (Duration, Duration) {
        let Some(record) = &self.record else { return Default::default() };
        let kept = record.kept();
        let open = kept.vote.as_ref().map(|vote| vote.at).or(kept.fence.as_ref().map(|fence| fence.at));
        let now = self.env.since_1970();
        let open = open.map_or(Duration::ZERO, |at| now.saturating_sub(Duration::from_secs(at)));
        let is_open = |record: &ClusterRecord| record.floor != record.top && self.rollout().all_run(record.top);
        let is_due = kept.record.as_deref().is_some_and(is_open) && self.is_settled().is_ok();
        (open, record.due(is_due, self.now()))
    }

    /// Whether the node says all that its release can say.
    fn is_settled(&self) -> Result<(), String> {
        (0..self.migrations.len()).try_for_each(|place| {
            let status = self.rollout_status(place);
            match status.limiting_factor {
                LimitingFactor::Release(_) => Ok(()),
                limit => Err(format!("it is in phase {} of {}: {limit}", status.phase, status.migration)),
            }
        })
    }
}

static BUILD: OnceLock<Digest> = OnceLock::new();

/// What this process's program is: the digest of its file, counted once; all zeros where it cannot be read. Blocks.
fn build() -> Digest {
    // A package manager may have put another program where this one was started from.
    let own = || File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?));
    *BUILD.get_or_init(|| own().and_then(digest).unwrap_or_default())
}

/// The build that a file with a program is: its SHA-256, which a member that runs it says of itself. Blocks.
///
/// # Errors
/// What the system says of the file.
pub fn build_of(program: &Path) -> io::Result<Digest> {
    digest(File::open(program)?)
}

fn digest(mut file: File) -> io::Result<Digest> {
    let (mut context, mut chunk) = (Context::new(&SHA256), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            read => context.update(&chunk[..read]),
        }
    }
    let bytes = <[u8; 32]>::try_from(context.finish().as_ref()).expect("SHA-256 has 32 bytes");
    Ok(Digest::new(bytes))
}
