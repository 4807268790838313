//! The functions that a node takes, which its hello lists. Their places number them on a connection: a cast carries the
//! number, and a function that the peer does not list is answered here, without a frame.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

/// The functions that a node takes, by name and by number. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FunctionTable {
    /// Sorted.
    names: Arc<[Arc<str>]>,
    digest: u64,
}

/// More functions, or longer names, than a hello can list. The caller is at fault; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FunctionTableError {
    /// Too many.
    #[error("{count} functions are too many for a handshake: use at most {FUNCTIONS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Too long in all.
    #[error("the names of {count} functions have {bytes} bytes in all: a handshake holds {FUNCTION_NAMES_BYTES_MAX}")]
    TooLong {
        /// How many functions.
        count: usize,
        /// Bytes of their names, and two more for each.
        bytes: usize,
    },
}

impl FunctionTable {
    /// The table of these functions, in any order.
    ///
    /// # Errors
    /// [`FunctionTableError`] where a hello could not list them.
    pub fn new<N: Into<Arc<str>>>(names: impl IntoIterator<Item = N>) -> Result<Self, FunctionTableError> {
        let mut names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        names.sort();
        names.dedup();
        let count = names.len();
        if count > FUNCTIONS_MAX {
            return Err(FunctionTableError::TooMany { count });
        }
        let bytes = names.iter().map(|name| name.len() + LENGTH_PREFIX_BYTES).sum();
        if bytes > FUNCTION_NAMES_BYTES_MAX {
            return Err(FunctionTableError::TooLong { count, bytes });
        }
        let mut hasher = DefaultHasher::new();
        names.hash(&mut hasher);
        Ok(Self { names: names.into(), digest: hasher.finish() })
    }

    /// The number of a function; `None` where it is not listed.
    pub fn number(&self, name: &str) -> Option<u32> {
        let place = self.names.binary_search_by(|known| (**known).cmp(name)).ok()?;
        u32::try_from(place).ok()
    }

    /// The number that a cast bears: as above, and one beyond every table for [`NO_FUNCTION`].
    pub(crate) fn number_to_cast(&self, name: &str) -> Option<u32> {
        self.number(name).or((name == NO_FUNCTION).then_some(u32::MAX))
    }

    /// The function of a number; `None` where there is none.
    pub fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get(usize::try_from(number).ok()?)
    }

    /// All of them, in the order of their numbers.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether the names are in the order that numbers them, each once.
    pub(crate) fn is_ordered(names: &[&str]) -> bool {
        names.is_sorted_by(|one, next| one < next)
    }
}

impl PartialEq for FunctionTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.names, &other.names) || self.digest == other.digest && self.names == other.names
    }
}

impl Eq for FunctionTable {}

/// By a digest made once: a search hashes the states that hold a table millions of times.
impl Hash for FunctionTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// A function that no node has and that is cast all the same. A peer answers in order, so the answer says that the peer
/// has read all that was cast before.
pub const NO_FUNCTION: &str = "rexi.none";

/// Functions of a node.
pub const FUNCTIONS_MAX: usize = 1_024;

/// Bytes of their names in a hello, with their lengths.
pub const FUNCTION_NAMES_BYTES_MAX: usize = 32 << 10;

/// Bytes of a name's length: a varint of a name below 16 KiB.
const LENGTH_PREFIX_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_the_place_of_its_name_and_is_found_both_ways() {
        let table = FunctionTable::new(["put", "get", "list", "get"]).expect("a table");
        assert_eq!(table.names().collect::<Vec<_>>(), ["get", "list", "put"]);
        for (number, name) in (0..).zip(["get", "list", "put"]) {
            assert_eq!((table.number(name), table.name(number).map(|name| &**name)), (Some(number), Some(name)));
        }
        assert_eq!((table.number("gett"), table.number(""), table.name(3)), (None, None, None));
        assert_eq!(table, FunctionTable::new(["list", "put", "get"]).expect("a table"), "in any order");
        assert_ne!(table, FunctionTable::new(["put", "get"]).expect("a table"));
    }

    #[test]
    fn a_table_is_refused_one_beyond_its_bounds_and_not_at_them() {
        let names = |count: usize| (0..count).map(|n| format!("f{n:04}"));
        assert_eq!(FunctionTable::new(names(1_024)).map(|table| table.names().len()), Ok(1_024));
        assert_eq!(FunctionTable::new(names(1_025)), Err(FunctionTableError::TooMany { count: 1_025 }));
        let long = |last: usize| (0..127).map(|n| format!("{n:0254}")).chain([format!("x{:0last$}", 0)]);
        assert!(FunctionTable::new(long(253)).is_ok(), "128 names of 254 bytes");
        let bytes = FUNCTION_NAMES_BYTES_MAX + 1;
        assert_eq!(FunctionTable::new(long(254)), Err(FunctionTableError::TooLong { count: 128, bytes }));
    }
}
