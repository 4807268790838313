//! Functions by name: what a node lets others run.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use rexi_proto::{ExitReason, FunctionRow, JobEnding, NodeName};

use crate::engine::context::Context;
use crate::engine::metrics::FunctionMetrics;

pub(crate) type Work = Pin<Box<dyn Future<Output = JobEnding> + Send>>;
pub(crate) type Handler = Arc<dyn Fn(Context, Bytes) -> Work + Send + Sync>;

/// What a function may return besides an error: a value for the caller, or nothing.
pub trait IntoEnding {
    /// The job's end.
    fn into_ending(self) -> JobEnding;
}

impl IntoEnding for Bytes {
    fn into_ending(self) -> JobEnding {
        JobEnding::Reply(self)
    }
}

impl IntoEnding for Vec<u8> {
    fn into_ending(self) -> JobEnding {
        JobEnding::Reply(self.into())
    }
}

/// The job ends without a (further) reply; its caller is told that it ended.
impl IntoEnding for () {
    fn into_ending(self) -> JobEnding {
        JobEnding::Exit(ExitReason::Done)
    }
}

/// A function over bytes, as the registry has it.
pub(crate) fn boxed<F, Fut, T, E>(function: F) -> Handler
where
    F: Fn(Context, Bytes) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
    T: IntoEnding,
    E: fmt::Display,
{
    let function = Arc::new(function);
    Arc::new(move |context, body| {
        let function = Arc::clone(&function);
        // The function is called inside the future, so that a panic in it is the worker's, not the reader's.
        Box::pin(async move {
            match function(context, body).await {
                Ok(value) => value.into_ending(),
                Err(error) => JobEnding::Exit(ExitReason::Failed(error.to_string().into())),
            }
        })
    })
}

/// A node's functions.
#[derive(Default)]
pub(crate) struct Registry {
    functions: BTreeMap<Arc<str>, Registered>,
}

/// A function, and what belongs to it.
pub(crate) struct Registered {
    pub(crate) function: Handler,
    row: Option<FunctionRow>,
    /// From the node's start on.
    metrics: Option<Arc<FunctionMetrics>>,
}

impl Registry {
    /// Adds a function, with its row where it is typed. `false`: the name is taken.
    pub(crate) fn insert(&mut self, name: &str, function: Handler, row: Option<FunctionRow>) -> bool {
        self.functions.insert(name.into(), Registered { function, row, metrics: None }).is_none()
    }

    /// Takes out those whose rows are so.
    pub(crate) fn take_out(&mut self, is: impl Fn(&FunctionRow) -> bool) -> Vec<FunctionRow> {
        let out = self.functions.extract_if(.., |_, of| of.row.as_ref().is_some_and(&is));
        out.filter_map(|(_, of)| of.row).collect()
    }

    /// Counts the functions' jobs from now on, as those of this node.
    pub(crate) fn measure(&mut self, node: &NodeName) {
        for (name, registered) in &mut self.functions {
            registered.metrics = Some(Arc::new(FunctionMetrics::new(node, name)));
        }
    }

    /// Puts something around a function. `false`: there is no such function.
    #[cfg(feature = "tower")]
    pub(crate) fn wrap(&mut self, name: &str, wrap: impl FnOnce(Handler) -> Handler) -> bool {
        let found = self.functions.get_mut(name).map(|of| of.function = wrap(Arc::clone(&of.function)));
        found.is_some()
    }

    /// Puts something around each function.
    #[cfg(feature = "tower")]
    pub(crate) fn wrap_all(&mut self, wrap: impl Fn(Handler) -> Handler) {
        self.functions.values_mut().for_each(|of| of.function = wrap(Arc::clone(&of.function)));
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Registered> {
        self.functions.get(name)
    }

    /// All functions by name, with the rows of those that are typed.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Option<&FunctionRow>)> {
        self.functions.iter().map(|(name, registered)| (&**name, registered.row.as_ref()))
    }
}

impl Registered {
    pub(crate) fn metrics(&self) -> Arc<FunctionMetrics> {
        Arc::clone(self.metrics.as_ref().expect("a node measures its functions before it takes a cast"))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}
