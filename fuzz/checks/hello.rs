//! What must hold of the first frame of a connection: a hello that is read is written again as it came, but for its
//! extensions, of which this release knows one. And of a question about the record, which may stand in its place.
//!
//! In: the frame's bytes without their length. Out: a panic where that does not hold.

use bytes::BytesMut;
use rexi_proto::record::{Question, RecordWord};
use rexi_proto::{HELLO_BYTES_MAX, Hello, LENGTH_BYTES};

use super::golden;

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    if bytes.len() > HELLO_BYTES_MAX as usize {
        // The reader lets none through.
        return;
    }
    if let Ok(question) = Question::decode(bytes) {
        assert_eq!(question.encode().map(|again| again[LENGTH_BYTES..] == *bytes), Ok(true), "{question:?}");
    }
    let Ok(hello) = Hello::decode(bytes) else { return };
    let mut out = BytesMut::new();
    hello.encode(&mut out);
    let again = &out[LENGTH_BYTES..];
    assert_eq!(Hello::decode(again).as_ref(), Ok(&hello), "it is understood alike");
    out.clear();
    Hello { record: RecordWord::Unkept, ..hello }.encode(&mut out);
    let again = &out[LENGTH_BYTES..];
    let (extensions, known) = again.split_last().expect("a hello is not empty");
    assert_eq!(*extensions, 0, "there is no other");
    assert!(bytes.starts_with(known), "{bytes:?} is written as {again:?}");
}

/// What a fuzzer begins with: the golden hellos, and that of a later release; a question of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frame = |golden: &[&str]| golden::unhex(&golden.concat())[LENGTH_BYTES..].to_vec();
    let said = include_str!("../../rexi-proto/src/record/golden/said-1.txt").lines().map(golden::unhex);
    let said = said.map(|bytes| bytes[LENGTH_BYTES..].to_vec());
    let hello = frame(golden::HELLO);
    let (_, known) = hello.split_last().expect("it is not empty");
    let later = [known, &[2, 9, 1, 0xff, 200, 1, 0]].concat();
    [hello, later, frame(golden::HELLO_AWAITED), frame(golden::HELLO_KNOWN)].into_iter().chain(said).collect()
}
