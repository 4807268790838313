//! The fuzz target of `checks/texts.rs`.

#![no_main]

#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../checks/texts.rs"]
mod texts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| texts::check(bytes));
