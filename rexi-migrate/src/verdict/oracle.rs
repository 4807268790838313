//! The list of what a level's verdict asks: each question is an oracle with the invariant that it finds broken.
//!
//! Production asks all. The tests of a level go over its list, plant for each oracle what it alone finds, and leave it
//! out: an oracle that nobody needs, or that was taken away, fails there; a new one that is planted nowhere does not
//! compile.

/// Declares the oracles of a level, each once, and the sets of them.
macro_rules! oracles {
    ($($oracle:ident $invariant:ident,)+) => {
        /// One thing that the verdict asks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Oracle { $($oracle,)+ }

        impl Oracle {
            /// Every oracle.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$oracle,)+];

            /// What it finds broken.
            pub(super) const fn invariant(self) -> crate::verdict::invariant::Invariant {
                match self { $(Self::$oracle => crate::verdict::invariant::Invariant::$invariant,)+ }
            }
        }

        /// A set of oracles: a bit each.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Oracles(u64);

        impl Oracles {
            pub(super) const ALL: Self = Self(u64::MAX);

            /// All but one.
            #[cfg(test)]
            pub(super) const fn without(oracle: Oracle) -> Self {
                Self(!(1 << oracle as u32))
            }

            pub(super) const fn has(self, oracle: Oracle) -> bool {
                self.0 & 1 << oracle as u32 != 0
            }
        }

        const _: () = assert!([$(Oracle::$oracle,)+].len() <= 64, "a set of oracles has 64 bits");
    };
}

pub(crate) use oracles;
