//! What must hold of the first frame of a connection: a hello that is read is written again as it came, but for its
//! extensions, which no release knows yet.
//!
//! In: the frame's bytes without their length. Out: a panic where that does not hold.

use bytes::BytesMut;
use rexi_proto::{HELLO_BYTES_MAX, Hello, LENGTH_BYTES};

use super::golden;

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    if bytes.len() > HELLO_BYTES_MAX as usize {
        // The reader lets none through.
        return;
    }
    let Ok(hello) = Hello::decode(bytes) else { return };
    let mut out = BytesMut::new();
    hello.encode(&mut out);
    let again = &out[LENGTH_BYTES..];
    assert_eq!(Hello::decode(again), Ok(hello), "it is understood alike");
    let (extensions, known) = again.split_last().expect("a hello is not empty");
    assert_eq!(*extensions, 0, "we write none");
    assert!(bytes.starts_with(known), "{bytes:?} is written as {again:?}");
}

/// What a fuzzer begins with: the golden hello, and that of a later release.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = golden::unhex(&golden::HELLO.concat());
    let hello = frame[LENGTH_BYTES..].to_vec();
    let (_, known) = hello.split_last().expect("it is not empty");
    let later = [known, &[2, 9, 1, 0xff, 200, 1, 0]].concat();
    vec![hello, later]
}
