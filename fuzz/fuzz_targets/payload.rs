//! The fuzz target of `checks/payload.rs`.

#![no_main]

#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../checks/payload.rs"]
mod payload;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| payload::check(bytes));
