//! The fuzz target of `checks/hello.rs`.

#![no_main]

#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../../rexi-proto/tests/wire_golden/golden.rs"]
mod golden;
#[allow(dead_code, reason = "the seeds are for others")]
#[path = "../checks/hello.rs"]
mod hello;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hello::check(bytes));
