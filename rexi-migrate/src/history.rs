//! What was seen: the records of every process, and the judge that brings both ends of each call together.

pub mod ledger;
pub mod evidence;
pub mod judge;
