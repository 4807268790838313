//! What a test adds to a simulation: its functions, its actions, its invariant.

use std::pin::Pin;
use std::sync::Arc;

use rexi_server::testing::TestCluster;
use rexi_server::{Node, NodeBuilder, NodeName, Release};

/// What a test adds.
#[derive(Clone, Default)]
pub(super) struct Actions {
    pub(super) define: Option<Arc<Define>>,
    pub(super) act: Option<Arc<Act>>,
    pub(super) check: Option<Arc<Check>>,
    #[cfg(feature = "mutants")]
    pub(super) mutants: rexi_server::Mutants,
}

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(super) type Define = dyn Fn(NodeBuilder, &NodeName, Release) -> NodeBuilder + Send + Sync;
pub(super) type Act = dyn Fn(Node, u16) -> Boxed<()> + Send + Sync;
pub(super) type Check = dyn Fn(Arc<TestCluster>) -> Boxed<Result<(), String>> + Send + Sync;

impl Actions {
    pub(super) fn define(&self, builder: NodeBuilder, name: &NodeName) -> NodeBuilder {
        match &self.define {
            Some(define) => {
                let release = builder.profile().stop();
                define(builder, name, release)
            }
            None => builder,
        }
    }

    pub(super) fn act(&self, node: Node, number: u16) -> Option<Boxed<()>> {
        self.act.as_ref().map(|act| act(node, number))
    }

    #[cfg(feature = "mutants")]
    pub(super) fn mutate(&self, builder: NodeBuilder) -> NodeBuilder {
        builder.mutants(self.mutants)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the feature's twin needs it")]
    pub(super) fn mutate(&self, builder: NodeBuilder) -> NodeBuilder {
        builder
    }
}
