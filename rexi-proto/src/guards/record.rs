//! Guards of how the record of a cluster is kept and moved.

use std::sync::Arc;

use super::Guards;
use crate::mutant::Mutant;
use crate::record::{ClusterRecord, Kept};

impl Guards {
    /// A window opens upwards only.
    pub(crate) const fn opens_upwards(self, is_below: bool) -> bool {
        is_below && !self.lacks(Mutant::TopBelowFloor)
    }

    /// A yes binds the member before the record says so.
    pub(crate) const fn yes_binds_at_once(self, is_below: bool) -> bool {
        is_below && !self.lacks(Mutant::PendingFloorUnbound)
    }

    /// A node asks its floor before it starts.
    pub(crate) const fn start_reads_floor(self) -> bool {
        !self.lacks(Mutant::StartIgnoresFloor)
    }

    /// Who is below the floor is not spoken to.
    pub(crate) const fn verdict_asks_floor(self) -> bool {
        !self.lacks(Mutant::VerdictIgnoresFloor)
    }

    /// Who hears that another is behind gives it the record.
    pub(crate) const fn hears_of_other(self, differs: bool) -> bool {
        differs && !self.lacks(Mutant::OtherRecordUnheard)
    }

    /// A member that was forgotten does not come back with what it has kept.
    pub(crate) const fn keeps_forgotten_out(self, is_from_before: bool) -> bool {
        is_from_before && !self.lacks(Mutant::ForgottenLetIn)
    }

    /// A member answers once what it answers is on its disk.
    pub(crate) const fn answers_once_written(self) -> bool {
        !self.lacks(Mutant::AnsweredUnwritten)
    }

    /// A yes is written.
    pub(crate) fn a_yes_is_written(self, before: &Kept, after: &Kept) -> bool {
        !self.lacks(Mutant::VoteInMemory) || after.vote.is_none() || before.vote == after.vote
    }

    /// What is looked at is what the disk holds.
    pub(crate) const fn status_is_of_the_disk(self) -> bool {
        !self.lacks(Mutant::StatusFromMemory)
    }

    /// A file that cannot be read is not taken for one that is not there.
    pub(crate) const fn unreadable_is_not_missing(self) -> bool {
        !self.lacks(Mutant::CorruptIsMissing)
    }

    /// A member whose disk came new does not speak for what it was.
    pub(crate) const fn who_came_anew_is_silent(self) -> bool {
        !self.lacks(Mutant::AnewSpeaks)
    }

    /// What is closed gets no yes.
    pub(crate) const fn closed_stays_closed(self, is_closed: bool) -> bool {
        is_closed && !self.lacks(Mutant::ClosedSaysYes)
    }

    /// A member says yes to one intent at a time.
    pub(crate) const fn says_yes_once(self) -> bool {
        !self.lacks(Mutant::TwoYes)
    }

    /// Only what follows from the record here gets a yes.
    pub(crate) const fn compares_epochs(self, differs: bool) -> bool {
        differs && !self.lacks(Mutant::EpochUncompared)
    }

    /// A yes is that of the process that was looked at.
    pub(crate) const fn asks_life(self, is_other: bool) -> bool {
        is_other && !self.lacks(Mutant::YesUnbound)
    }

    /// Before a member is forgotten, what it may know of is closed.
    pub(crate) const fn forgets_behind_a_fence(self) -> bool {
        !self.lacks(Mutant::ForgetUnfenced)
    }

    /// From who is fenced off nothing is taken.
    pub(crate) const fn fence_holds(self) -> bool {
        !self.lacks(Mutant::FenceIgnored)
    }

    /// Who is to be forgotten is not asked.
    pub(crate) const fn forgets_without_asking(self) -> bool {
        !self.lacks(Mutant::ForgottenAsked)
    }

    /// Who has said yes to an attempt cannot close it.
    pub(crate) const fn a_yes_cannot_be_closed(self, said_yes: bool) -> bool {
        said_yes && !self.lacks(Mutant::YesClosed)
    }

    /// What a member has closed does not become the record there, whoever has said yes.
    pub(crate) const fn closed_is_no_record(self, is_closed: bool) -> bool {
        is_closed && !self.lacks(Mutant::ClosedCommits)
    }

    /// An operator is told that a change is given up once all have let go of it.
    pub(crate) const fn given_up_once_all_let_go(self) -> bool {
        !self.lacks(Mutant::AbortedOnceSent)
    }

    /// A member makes an intent the record once all have said yes to it.
    pub(crate) const fn commit_needs_all(self) -> bool {
        !self.lacks(Mutant::CommitUncounted)
    }

    /// A commit that comes again changes nothing.
    pub(crate) fn commits_once(self, kept: &Kept, record: &ClusterRecord) -> Kept {
        if !self.lacks(Mutant::CommitTwice) {
            return kept.clone();
        }
        kept.with_record(Arc::new(ClusterRecord {
            epoch: record.epoch + 1,
            previous: record.digest(),
            ..record.clone()
        }))
    }

    /// Whether votes are missing that are needed.
    pub(crate) const fn lacks_votes(self, away: usize, of: usize) -> bool {
        let is_enough = self.lacks(Mutant::SilenceIsYes) || self.lacks(Mutant::MajorityCommits) && 2 * away < of;
        away > 0 && !is_enough
    }

    /// Who does not answer has not said yes.
    pub(crate) const fn silence_is_no_yes(self) -> bool {
        !self.lacks(Mutant::SilenceIsYes)
    }

    /// A change is done once all members say so.
    pub(crate) const fn done_once_all_say_so(self) -> bool {
        !self.lacks(Mutant::DoneOnceSent)
    }

    /// One member is asked first, so that two operators meet there.
    pub(crate) const fn asks_one_first(self) -> bool {
        !self.lacks(Mutant::TurnstileSkipped)
    }

    /// Who wants what is under way, carries that.
    pub(crate) const fn equal_wishes_are_one(self) -> bool {
        !self.lacks(Mutant::ResumeAnew)
    }

    /// A driver whose change another has ended knows it again.
    pub(crate) const fn knows_its_change(self) -> bool {
        !self.lacks(Mutant::OwnChangeUnknown)
    }

    /// That one member has said yes does not mean that all have.
    pub(crate) const fn a_yes_is_no_commit(self) -> bool {
        !self.lacks(Mutant::YesIsCommit)
    }

    /// An operator is told that a member refuses.
    pub(crate) const fn refusals_are_told(self) -> bool {
        !self.lacks(Mutant::RefusalIsDone)
    }
}
