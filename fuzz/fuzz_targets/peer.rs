//! The fuzz target of `checks/peer.rs`.

#![no_main]

#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../checks/peer.rs"]
mod peer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peer::check(bytes));
