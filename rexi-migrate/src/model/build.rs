//! What a node of the model is built with.

use std::sync::Arc;

use rexi_proto::{FunctionTable, Limits, Mutants, Unlimited};

use crate::path::UpgradePath;

/// What a node is built with.
#[derive(Clone, Debug)]
pub struct Build<P = Unlimited> {
    /// How many nodes there are.
    pub nodes: usize,
    /// The releases that they may run.
    pub train: UpgradePath,
    /// The functions that a node of each takes.
    pub functions: Arc<[FunctionTable]>,
    /// The bounds of this one.
    pub limits: Arc<Limits>,
    /// What its peers and its singleton share.
    pub pool: P,
    /// Whether each peer bears the number of its node. If none does, a peer's state does not depend on which node it
    /// stands for.
    pub numbered: bool,
    /// Whether a list is followed by its next part when the driver says so ([`NodeModel::go_on`]), and not at once.
    ///
    /// [`NodeModel::go_on`]: super::NodeModel::go_on
    pub in_turns: bool,
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

impl<P> Build<P> {
    /// Nodes of these releases, as [`Build`] has them.
    pub fn new(nodes: usize, train: &UpgradePath, limits: Limits, pool: P, mutants: Mutants) -> Self {
        let functions = (0..train.len()).map(|release| functions(train, release)).collect();
        let (limits, train) = (Arc::new(limits), train.clone());
        Self { nodes, train, functions, limits, pool, numbered: false, in_turns: false, mutants }
    }
}

/// What a node of a release takes: [`FUNCTION`], and of the service's own what changes on the way.
fn functions(train: &UpgradePath, release: usize) -> FunctionTable {
    let changing = train.changing().iter().flat_map(|changing| changing.taken(train.at(release)));
    FunctionTable::new([FUNCTION].into_iter().chain(changing)).expect("there are few")
}

/// The function that every node takes.
pub const FUNCTION: &str = "f";
