//! What must hold of a typed payload: one that is read is written again as it came, and takes no more memory than its
//! length accounts for.
//!
//! In: the payload's bytes, which are read as several types. Out: a panic where that does not hold.

use std::collections::BTreeMap;
use std::fmt::Debug;

use rexi_server::typed::{self, Payload, PayloadError};
use serde::{Deserialize, Serialize};

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    read_as::<u64>(bytes, is_written_as_it_came);
    read_as::<String>(bytes, is_written_as_it_came);
    read_as::<Option<Row>>(bytes, is_written_as_it_came);
    read_as::<Tree>(bytes, is_written_as_it_came);
    read_as::<Result<Vec<Row>, String>>(bytes, is_written_as_it_came);
    read_as::<Vec<()>>(bytes, is_written_as_it_came);
    read_as::<Vec<[u64; 16]>>(bytes, |value, bytes| {
        let (taken, body_bytes) = (value.capacity() * size_of::<[u64; 16]>(), bytes.len() - SHAPE_BYTES);
        assert!(taken <= 32 * body_bytes + (4 << 20), "{body_bytes} bytes take {taken}");
        is_written_as_it_came(value, bytes);
    });
    read_as::<BTreeMap<u16, Row>>(bytes, |value, _| {
        // It may come in another order than it is written in.
        let again = typed::encode(value).expect("it was read");
        let read: BTreeMap<u16, Row> = typed::decode(&again).expect("it was written");
        assert_eq!(typed::encode(&read), Ok(again));
    });
}

fn is_written_as_it_came<T: Payload + Debug>(value: &T, bytes: &[u8]) {
    assert_eq!(typed::encode(value).as_deref(), Ok(bytes), "{value:?}");
}

/// Where only the shape is wrong, it is read a second time with the right one: no fuzzer guesses a hash.
fn read_as<T: Payload>(bytes: &[u8], check: impl Fn(&T, &[u8])) {
    match typed::decode::<T>(bytes) {
        Ok(value) => check(&value, bytes),
        Err(PayloadError::OtherShape { decoded, .. }) => {
            let right = [&decoded.0.to_le_bytes(), &bytes[SHAPE_BYTES..]].concat();
            match typed::decode::<T>(&right) {
                Ok(value) => check(&value, &right),
                Err(PayloadError::NotCanonical { .. }) => {}
                Err(other) => panic!("with the right shape: {other}"),
            }
        }
        Err(_) => {}
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    name: String,
    number: i128,
    ratio: (f64, bool),
    letter: char,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf(u8),
    Named { name: String, inner: Box<Tree> },
    Many(Vec<Tree>),
    Nothing,
}

/// What a fuzzer begins with: a value of each type.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let row = || Row { name: "row".to_owned(), number: -5, ratio: (0.5, true), letter: 'é' };
    let inner = Box::new(Tree::Many(vec![Tree::Leaf(7), Tree::Nothing]));
    let payloads = [
        typed::encode(&300_u64),
        typed::encode(&"text".to_owned()),
        typed::encode(&Some(row())),
        typed::encode(&Tree::Named { name: "t".to_owned(), inner }),
        typed::encode(&Ok::<_, String>(vec![row(), row()])),
        typed::encode(&vec![(); 3]),
        typed::encode(&vec![[1_u64; 16]]),
        typed::encode(&BTreeMap::from([(1_u16, row()), (2, row())])),
    ];
    payloads.into_iter().map(|payload| payload.expect("it has a shape").to_vec()).collect()
}

/// Bytes of the shape that a payload opens with.
const SHAPE_BYTES: usize = 4;
