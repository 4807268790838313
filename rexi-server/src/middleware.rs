//! Tower layers around the functions of a node and around its calls (feature `tower`).
//!
//! On the serving side a layer sees each job before its function does: see [`NodeBuilder::layer`] for all functions and
//! [`NodeBuilder::layer_function`] for one. On the calling side [`Client`] is a node's calls as a service, which
//! standard layers wrap; [`RetryPolicy`] and [`HedgeLayer`] know which errors are safe and how to reach another peer.
//! What has no layer goes its usual way, at no extra cost.
//!
//! [`NodeBuilder::layer`]: crate::NodeBuilder::layer
//! [`NodeBuilder::layer_function`]: crate::NodeBuilder::layer_function

mod client;
mod retry;
mod hedge;
mod layers;

pub use client::{CallRequest, Client};
pub use hedge::{Hedge, HedgeLayer};
pub use layers::{JobError, JobRequest, JobService};
pub(crate) use layers::{Layers, wrap};
pub use retry::{RETRY_ATTEMPTS_MAX, RetryPolicy};
