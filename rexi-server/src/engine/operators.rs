//! Which operator may ask what of a node: the list that the port for operators goes by.

use std::collections::{BTreeMap, BTreeSet};

use rexi_proto::operate::VERBS;
use rexi_proto::record::is_operator;
use thiserror::Error;

/// Which operator may ask what. Who is not named may ask nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorList(BTreeMap<String, BTreeSet<&'static str>>);

/// Why a list of operators is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OperatorListError {
    /// The name cannot be an operator's.
    #[error("{0:?} cannot name an operator: use 1 to 64 bytes of a-z, 0-9, '-', '.' and '_'")]
    Name(String),
    /// There is no such thing to be allowed.
    #[error("{verb:?} is nothing that an operator may be allowed: use {}, or \"*\" for all", VERBS.join(", "))]
    Verb {
        /// What was given.
        verb: String,
    },
}

impl OperatorList {
    /// Lets an operator ask these things: words of [`VERBS`] with blanks between, or `*` for all.
    ///
    /// # Errors
    /// [`OperatorListError`].
    pub fn allow(mut self, operator: &str, verbs: &str) -> Result<Self, OperatorListError> {
        if !is_operator(operator) {
            return Err(OperatorListError::Name(operator.to_owned()));
        }
        let allowed = self.0.entry(operator.to_owned()).or_default();
        for verb in verbs.split_whitespace() {
            match VERBS.into_iter().find(|known| *known == verb) {
                Some(known) => drop(allowed.insert(known)),
                None if verb == "*" => allowed.extend(VERBS),
                None => return Err(OperatorListError::Verb { verb: verb.to_owned() }),
            }
        }
        Ok(self)
    }

    /// Whether an operator may ask that.
    pub fn allows(&self, operator: &str, verb: &str) -> bool {
        self.0.get(operator).is_some_and(|verbs| verbs.contains(verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_ask_what_the_list_names_and_nothing_else() {
        let list = OperatorList::default().allow("alice", "status gate").and_then(|list| list.allow("bob", "*"));
        assert_eq!(list, Err(OperatorListError::Verb { verb: "gate".to_owned() }), "a gate is a status");
        let list = OperatorList::default().allow("alice", "status hold").and_then(|list| list.allow("bob", "*"));
        let list = list.expect("words that are known");
        assert!(list.allows("alice", "status") && list.allows("alice", "hold") && !list.allows("alice", "finalize"));
        assert!(VERBS.iter().all(|verb| list.allows("bob", verb) && !list.allows("carol", verb)));
        let nobody = OperatorList::default().allow("Al", "*").map(|_| ());
        assert_eq!(nobody, Err(OperatorListError::Name("Al".to_owned())));
    }
}
