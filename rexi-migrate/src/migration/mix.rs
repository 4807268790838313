//! Every mix of two neighbouring releases, searched exhaustively: a call between any two of three nodes, while nodes
//! restart into the next release and back, and change what they say while calls are open.
//!
//! In: a migration. Out: that every state was visited and none breaks an invariant, or the shortest trace to one that
//! does. The space is finite, so nothing bounds it. A restart loses what is on its way, ends what runs there and
//! forgets its calls; so only a *flip* (a change of what is said, with open calls) shows where kills go wrong. A flip
//! is possible where neighbours accept the same.

use std::collections::VecDeque;

use super::data::{MessageForms, ProtocolChange, Role, Unknown};
use crate::verdict::invariant::Invariant;
use crate::verdict::trace::{Place, TraceEvent};

/// Nodes of the cluster. Of 123 real failures of upgrades (SOSP'21), all could be reproduced with three or fewer.
pub(super) const NODES: usize = 3;

/// The cluster, as far as the migration is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mix {
    /// The release of each node.
    pub(super) at: [usize; NODES],
    /// The one call that may be open.
    pub(super) call: Option<Call>,
    /// What the last step broke.
    pub(super) broken: Option<Broken>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) caller: usize,
    pub(super) callee: usize,
    /// The release that its caller was at when it was cast.
    pub(super) cast_at: usize,
    /// MessageForms on their way to the callee.
    forth: VecDeque<usize>,
    /// Answers on their way back.
    back: VecDeque<usize>,
    pub(super) job: Job,
    killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    Awaited,
    /// It was started by this form.
    Runs(usize),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Cast { caller: usize, callee: usize },
    Deliver,
    Return,
    Kill,
    Answer,
    Restart { node: usize, to: usize },
    Flip { node: usize, to: usize },
}

/// Ways to break an invariant; forms and releases by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Broken {
    CastRefused { form: usize, release: usize },
    NobodyTookTheCast,
    RanTwice { form: usize },
    Unread { form: usize, release: usize },
    KillMissed,
    NothingAnswered { release: usize },
    AnswerUnread { form: usize, release: usize },
    AnsweredTwice { form: usize },
}

impl Broken {
    pub(super) fn invariant(self) -> Invariant {
        match self {
            Self::NobodyTookTheCast | Self::NothingAnswered { .. } => Invariant::L1,
            Self::CastRefused { .. } | Self::AnsweredTwice { .. } => Invariant::S1,
            Self::RanTwice { .. } => Invariant::S2,
            Self::KillMissed => Invariant::S3,
            Self::Unread { .. } | Self::AnswerUnread { .. } => Invariant::S9,
        }
    }

    pub(super) fn sentence(self, migration: &ProtocolChange) -> String {
        let form = |form: usize| migration.forms[form].name.as_str();
        let release = |release: usize| migration.releases[release].name.as_str();
        match self {
            Self::CastRefused { form: of, release: at } => {
                format!("a {} reaches {}, which does not take it", form(of), release(at))
            }
            Self::NobodyTookTheCast => "no form of the cast was accepted, and its caller is not told".to_owned(),
            Self::RanTwice { form: of } => format!("the job runs twice, the second time by the {}", form(of)),
            Self::Unread { form: of, release: at } => format!("{} cannot read a {}", release(at), form(of)),
            Self::KillMissed => "the job runs on though its kill has arrived".to_owned(),
            Self::NothingAnswered { release: at } => format!("{} answers in no form", release(at)),
            Self::AnswerUnread { form: of, release: at } => {
                format!("a caller of {} cannot read a {}", release(at), form(of))
            }
            Self::AnsweredTwice { form: of } => format!("the call is answered twice, again by a {}", form(of)),
        }
    }
}

impl Mix {
    /// All nodes at one release, nothing open.
    pub(super) fn at_rest(release: usize) -> Self {
        Self { at: [release; NODES], call: None, broken: None }
    }

    /// All that may happen next; nothing once an invariant is broken.
    pub(super) fn actions(&self, migration: &ProtocolChange) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.broken.is_some() {
            return actions;
        }
        match &self.call {
            None => {
                // A release that casts in no form does not call: it has not begun to, or no longer does.
                let calls = |&caller: &usize| !migration.emitted(self.at[caller], Role::Start).is_empty();
                let callers = (0..NODES).filter(calls);
                let pairs = callers.flat_map(|caller| (0..NODES).map(move |callee| (caller, callee)));
                let casts = pairs.filter(|(caller, callee)| caller != callee);
                actions.extend(casts.map(|(caller, callee)| Action::Cast { caller, callee }));
            }
            Some(call) => {
                let ends = !migration.of_role(Role::End).is_empty();
                let runs = matches!(call.job, Job::Runs(_));
                actions.extend((!call.forth.is_empty()).then_some(Action::Deliver));
                actions.extend((!call.back.is_empty()).then_some(Action::Return));
                actions.extend((ends && !call.killed).then_some(Action::Kill));
                actions.extend(runs.then_some(Action::Answer));
            }
        }
        for node in 0..NODES {
            for to in self.neighbours(migration, node) {
                actions.push(Action::Restart { node, to });
                if migration.releases[to].accepts == migration.releases[self.at[node]].accepts {
                    actions.push(Action::Flip { node, to });
                }
            }
        }
        actions
    }

    /// Releases that the node may go to: one step away, and one step at most from every other node, since the handshake
    /// refuses the rest.
    fn neighbours(&self, migration: &ProtocolChange, node: usize) -> Vec<usize> {
        let at = self.at[node];
        let near = |&to: &usize| self.at.iter().enumerate().all(|(other, &of)| other == node || of.abs_diff(to) <= 1);
        let last = migration.releases.len() - 1;
        [at.checked_sub(1), Some(at + 1).filter(|&to| to <= last)].into_iter().flatten().filter(near).collect()
    }

    /// The state after an action.
    pub(super) fn step(&self, migration: &ProtocolChange, action: Action) -> Self {
        let mut after = self.clone();
        after.broken = after.apply(migration, action).err();
        if after.broken.is_none() {
            after.broken = after.settle().err();
        }
        after
    }

    fn apply(&mut self, migration: &ProtocolChange, action: Action) -> Result<(), Broken> {
        match action {
            Action::Cast { caller, callee } => {
                let cast_at = self.at[caller];
                let forth: VecDeque<usize> = migration.emitted(cast_at, Role::Start).iter().collect();
                let (back, job) = (VecDeque::new(), Job::Awaited);
                self.call = Some(Call { caller, callee, cast_at, forth, back, job, killed: false });
                Ok(())
            }
            Action::Restart { node, to } => {
                self.at[node] = to;
                self.call.take_if(|call| call.caller == node || call.callee == node);
                Ok(())
            }
            Action::Flip { node, to } => {
                self.at[node] = to;
                Ok(())
            }
            Action::Deliver | Action::Return | Action::Kill | Action::Answer => {
                let Some(call) = &mut self.call else { return Ok(()) };
                let (caller, callee) = (self.at[call.caller], self.at[call.callee]);
                match action {
                    Action::Deliver => call.deliver(migration, callee),
                    Action::Return => call.hear(migration, caller),
                    Action::Kill => {
                        call.kill(migration, caller);
                        Ok(())
                    }
                    _ => call.answer(migration, callee),
                }
            }
        }
    }

    /// Judges the call at rest, and lets go of one that is over.
    fn settle(&mut self) -> Result<(), Broken> {
        let Some(call) = &self.call else { return Ok(()) };
        if !call.forth.is_empty() {
            return Ok(());
        }
        match call.job {
            Job::Runs(_) if call.killed => Err(Broken::KillMissed),
            Job::Awaited if !call.killed => Err(Broken::NobodyTookTheCast),
            Job::Runs(_) => Ok(()),
            Job::Awaited | Job::Ended => {
                self.call.take_if(|call| call.back.is_empty());
                Ok(())
            }
        }
    }

    /// The action in the words of a trace, as it is taken from this state.
    pub(super) fn event(&self, migration: &ProtocolChange, action: Action) -> TraceEvent {
        let name = |release: usize| migration.releases[release].name.as_str();
        let first = |queue: &VecDeque<usize>| queue.front().map_or("", |&form| migration.forms[form].name.as_str());
        let parties = self.call.as_ref().map(|call| (call.caller, call.callee));
        let (caller, callee) = parties.unwrap_or_default();
        match action {
            Action::Cast { caller, callee } => {
                let forms = migration.names(migration.emitted(self.at[caller], Role::Start));
                TraceEvent::new(Place::At(caller), format!("sends {forms} for n{}", callee + 1))
            }
            Action::Deliver => {
                let form = self.call.as_ref().map_or("", |call| first(&call.forth));
                TraceEvent::new(Place::Between(caller, callee), form)
            }
            Action::Return => {
                let form = self.call.as_ref().map_or("", |call| first(&call.back));
                TraceEvent::new(Place::Between(callee, caller), form)
            }
            Action::Kill => {
                let forms =
                    self.call.as_ref().map_or(MessageForms::NONE, |call| call.kills(migration, self.at[caller]));
                TraceEvent::new(Place::At(caller), format!("kills the call: sends {}", migration.names(forms)))
            }
            Action::Answer => {
                let forms = migration.names(migration.emitted(self.at[callee], Role::Answer));
                TraceEvent::new(Place::At(callee), format!("the job ends: sends {forms}"))
            }
            Action::Restart { node, to } => {
                TraceEvent::new(Place::At(node), format!("restarts: {} to {}", name(self.at[node]), name(to)))
            }
            Action::Flip { node, to } => TraceEvent::new(
                Place::At(node),
                format!("changes at run time: {} to {}", name(self.at[node]), name(to)),
            ),
        }
    }
}

impl Call {
    fn deliver(&mut self, migration: &ProtocolChange, release: usize) -> Result<(), Broken> {
        let Some(form) = self.forth.pop_front() else { return Ok(()) };
        let of = &migration.forms[form];
        if !migration.releases[release].accepts.contains(form) {
            return match (of.unknown, of.role) {
                (Unknown::Ignored, _) => Ok(()),
                (Unknown::Breach, Role::Start) => Err(Broken::CastRefused { form, release }),
                (Unknown::Breach, _) => Err(Broken::Unread { form, release }),
            };
        }
        match (of.role, self.job) {
            (Role::Start, Job::Awaited) => self.job = Job::Runs(form),
            (Role::Start, _) => return Err(Broken::RanTwice { form }),
            (Role::End, Job::Runs(by)) if migration.forms[by].server == of.server => self.job = Job::Ended,
            (Role::End | Role::Answer, _) => {}
        }
        Ok(())
    }

    /// The caller of a killed call lets go of its answers, but has to be able to read them.
    fn hear(&mut self, migration: &ProtocolChange, release: usize) -> Result<(), Broken> {
        let Some(form) = self.back.pop_front() else { return Ok(()) };
        if !migration.releases[release].accepts.contains(form) && migration.forms[form].unknown == Unknown::Breach {
            return Err(Broken::AnswerUnread { form, release });
        }
        match self.back.front() {
            Some(&again) if !self.killed => Err(Broken::AnsweredTwice { form: again }),
            _ => Ok(()),
        }
    }

    fn kill(&mut self, migration: &ProtocolChange, release: usize) {
        self.forth.extend(self.kills(migration, release).iter());
        self.killed = true;
    }

    /// What the caller sends to end the call: what its release emits, and, if it remembers, what reaches the server
    /// that the cast went to.
    fn kills(&self, migration: &ProtocolChange, release: usize) -> MessageForms {
        let emitted = migration.emitted(release, Role::End);
        if !migration.releases[release].remembers {
            return emitted;
        }
        let server = |form: usize| migration.forms[form].server.as_str();
        let cast = migration.emitted(self.cast_at, Role::Start);
        let missed = cast.iter().map(server).filter(|&of| !emitted.iter().any(|end| server(end) == of));
        let reaches = |of: &str| migration.of_role(Role::End).iter().find(|&end| server(end) == of);
        emitted.with(missed.filter_map(reaches).collect())
    }

    fn answer(&mut self, migration: &ProtocolChange, release: usize) -> Result<(), Broken> {
        self.job = Job::Ended;
        if migration.of_role(Role::Answer).is_empty() {
            return Ok(());
        }
        self.back.extend(migration.emitted(release, Role::Answer).iter());
        if self.back.is_empty() { Err(Broken::NothingAnswered { release }) } else { Ok(()) }
    }
}
