//! The fuzz target of `checks/ledger.rs`.

#![no_main]

#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../checks/ledger.rs"]
mod ledger;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ledger::check(bytes));
