//! What a node of the model is built with.

use std::sync::Arc;

use rexi_proto::{Form, FunctionTable, Limits, Migration, Mutants, Profile, Stage, Unlimited};

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
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

impl<P> Build<P> {
    /// Nodes of these releases, as [`Build`] has them.
    pub fn new(nodes: usize, train: &UpgradePath, limits: Limits, pool: P, mutants: Mutants) -> Self {
        let functions = (0..train.len()).map(|release| functions(train.at(release))).collect();
        Self { nodes, train: train.clone(), functions, limits: Arc::new(limits), pool, numbered: false, mutants }
    }
}

/// What a node of a release takes: [`FUNCTION`], and of each migration of functions the forms of its stage.
fn functions(profile: &Profile) -> FunctionTable {
    let taken = |(migration, stage): (&Migration, Stage)| {
        let forms = [Form::Old, Form::New].into_iter().filter(move |&form| stage.takes().contains(form));
        forms.filter_map(|form| migration.function(form).map(str::to_owned)).collect::<Vec<_>>()
    };
    let of_migrations = profile.migrations().flat_map(taken);
    FunctionTable::new([FUNCTION.to_owned()].into_iter().chain(of_migrations)).expect("there are few")
}

/// The function that every node takes.
pub const FUNCTION: &str = "f";
