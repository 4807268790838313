//! What is asked of a cluster while it is upgraded, and what the right answer to it is.

pub(crate) mod work;
pub(crate) mod load;
