//! Checks of whether nodes can be spared, and hold out: their services, jobs, certificates, clocks and room.

use std::time::{Duration, UNIX_EPOCH};

use rexi_proto::NodeName;
use rexi_proto::operate::MemberLook;

use super::{Aim, On, Outcome};
use crate::clock::utc;

impl On<'_> {
    pub(super) fn may_stop(&self) -> Outcome {
        let stopped = match self.stopped() {
            Ok(stopped) => stopped,
            Err(why) => return Outcome::Skipped(why),
        };
        let holds = stopped.into_iter().flat_map(|(node, look)| {
            look.holds.iter().map(move |(check, why)| format!("{node} should not stop: {check}: {why}"))
        });
        let faults: Vec<String> = holds.collect();
        Outcome::of(&faults, "no service says that it should not", "wait until the service can spare a node")
    }

    pub(super) fn drain_fits(&self) -> Outcome {
        let stopped = match self.stopped() {
            Ok(stopped) => stopped,
            Err(why) => return Outcome::Skipped(why),
        };
        let seconds = |millis: u64| Duration::from_millis(millis).as_secs_f64();
        let late = stopped.into_iter().filter_map(|(node, look)| {
            let (age, limit) = (look.oldest_job_ms?, look.drain_limit_ms);
            let seen =
                || format!("{node}: a job has run for {:.1} s, and is given {:.1} s", seconds(age), seconds(limit));
            (age > limit).then(seen)
        });
        let faults: Vec<String> = late.collect();
        let todo = "wait for it, or raise `drain.limit_ms`: a restart would end it";
        Outcome::of(&faults, "no job has run for longer than it is given", todo)
    }

    /// Who would be stopped to get to where it is aimed at, or why nobody is.
    fn stopped(&self) -> Result<Vec<(&NodeName, &MemberLook)>, String> {
        let Aim::Advance(to) = self.aim else { return Err("no restart is needed for it".to_owned()) };
        let stopped: Vec<_> = self.looks().filter(|(_, look)| look.life.release != *to).collect();
        if stopped.is_empty() { Err(format!("all run {to} already")) } else { Ok(stopped) }
    }

    pub(super) fn certificates(&self) -> Outcome {
        let until = self.settings.now.saturating_add(self.settings.soak.saturating_add(CERTIFICATE_SPARE).as_secs());
        let soon = self.looks().filter(|(_, look)| look.certificate_expires < until);
        let faults: Vec<String> = soon
            .map(|(node, look)| {
                format!("{node}: at {}", utc(UNIX_EPOCH + Duration::from_secs(look.certificate_expires)))
            })
            .collect();
        Outcome::of(&faults, "none does", "renew it first")
    }

    pub(super) fn clocks(&self) -> Outcome {
        let clocks = || self.looks().map(|(_, look)| look.clock);
        let (first, last) = (clocks().min().unwrap_or_default(), clocks().max().unwrap_or_default());
        let apart = Duration::from_micros(last.saturating_sub(first));
        let shown = format!("{} ms apart, the time that the answers took included", apart.as_millis());
        let todo = "let NTP set them: the lives of nodes come from clocks";
        Outcome::when(apart <= CLOCKS_APART_MAX, shown.clone(), shown, todo)
    }

    pub(super) fn room(&self) -> Outcome {
        let full = self.looks().filter(|(_, look)| look.pool_left < POOL_LEFT_MIN);
        let faults: Vec<String> = full.map(|(node, look)| format!("{node}: {} % are left", look.pool_left)).collect();
        Outcome::of(&faults, "there is", "wait, or take load off: a restart moves it to the others")
    }
}

/// How long a certificate is to last beyond the soak.
const CERTIFICATE_SPARE: Duration = Duration::from_hours(7 * 24);

/// How far apart clocks may be.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);

/// Percent of each total that is to be free.
const POOL_LEFT_MIN: u8 = 20;
