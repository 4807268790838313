//! What must hold of a ledger's records: one that is read is written again as it came, and a damaged one is named.
//!
//! In: a record's bytes, cut or filled up to its length. Out: a panic where that does not hold.

use rexi_migrate::history::ledger::{RECORD_BYTES, Record};

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    let mut record = [0; RECORD_BYTES];
    let length = bytes.len().min(RECORD_BYTES);
    record[..length].copy_from_slice(&bytes[..length]);
    read(&record);
    // No fuzzer guesses a check, so it is put right.
    Record::seal(&mut record);
    read(&record);
}

fn read(record: &[u8; RECORD_BYTES]) {
    match Record::decode(record) {
        Ok(read) => assert_eq!(read.encode(), *record, "{read:?}"),
        Err(damage) => assert_ne!(damage.to_string(), ""),
    }
}

/// What a fuzzer begins with: a record of each kind, whose other fields are small numbers.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let of_kind = |kind: u8| {
        let mut record = [0; RECORD_BYTES];
        record[8] = kind;
        Record::seal(&mut record);
        record.to_vec()
    };
    (0..40).map(of_kind).collect()
}
