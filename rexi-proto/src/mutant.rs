//! Deliberately broken variants of the protocol, for showing that the verifier notices (SAFETY.md §3).
//!
//! They exist only under the feature `mutants`, which a release build refuses to compile; without it [`Mutants`] is an
//! empty type and every question to it is answered at compile time.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!(
    "the feature `mutants` breaks the protocol on purpose and must not get into a release: build without it, or with a \
     profile that sets debug-assertions = true"
);

/// One way to break the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// M22: a kill goes to the per-node server alone, wherever its cast went.
    KillOnlyPerNode,
    /// M23: a kill goes to the singleton alone, wherever its cast went.
    KillOnlySingleton,
    /// M24: a kill goes where casts go now, wherever its cast went.
    KillFollowsPhase,
    /// M21: per-node servers start only some time after their peer counts as connected.
    LatePerNodeServers,
    /// S1: a cast to a missing server is dropped without an answer.
    SilentMissingServer,
    /// M27: what a caller says of a stream goes where casts go now, wherever its cast went.
    AckFollowsPhase,
}

impl Mutant {
    /// Every mutant with the name that selects it.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::KillOnlyPerNode, "kill-only-per-node"),
        (Self::KillOnlySingleton, "kill-only-singleton"),
        (Self::KillFollowsPhase, "kill-follows-phase"),
        (Self::LatePerNodeServers, "late-per-node-servers"),
        (Self::SilentMissingServer, "silent-missing-server"),
        (Self::AckFollowsPhase, "ack-follows-phase"),
    ];
}

/// The mutants that are switched on in one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mutants {
    #[cfg(feature = "mutants")]
    on: u32,
}

impl Mutants {
    /// Whether `mutant` is on. Without the feature: no, at no cost.
    #[cfg_attr(not(feature = "mutants"), expect(clippy::unused_self, reason = "the feature's twin needs it"))]
    pub(crate) const fn has(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.on & (1 << mutant as u32) != 0;
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }

    /// With `mutant` switched on.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn with(self, mutant: Mutant) -> Self {
        Self { on: self.on | (1 << mutant as u32) }
    }

    /// The mutants of a list of names, joined by commas; an empty list for none.
    ///
    /// # Errors
    /// The first name that no mutant has.
    #[cfg(feature = "mutants")]
    pub fn from_names(names: &str) -> Result<Self, String> {
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Self::default(), |on, name| {
            let known = Mutant::ALL.into_iter().find(|&(_, known)| known == name);
            known.map(|(mutant, _)| on.with(mutant)).ok_or_else(|| name.to_owned())
        })
    }
}
