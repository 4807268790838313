//! What a replica's file holds of a key, and how a change of that at rest is noticed.
//!
//! The version and the value stand in two tables, each behind a checksum of the key and of all that it says. So a value
//! that was changed is never served, while its version still counts, and a later write mends it. A key that only one of
//! the tables knows was changed itself.

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use rexi_server::Bytes;
use twox_hash::XxHash3_128;

use super::StoreError;
use crate::sparse::Sparse;
use crate::version::{Entry, Version};

/// Makes the tables of a new file. In any case the disk takes a commit.
pub(super) fn begin(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(VERSIONS)?;
    transaction.open_table(VALUES)?;
    {
        let mut opened = transaction.open_table(OPENED)?;
        let times = opened.get(())?.map_or(0, |times| times.value());
        opened.insert((), times + 1)?;
    }
    Ok(transaction.commit()?)
}

/// The version of what is held of a key. The inner error says that it was changed at rest.
pub(super) fn version(database: &Database, key: &str) -> Result<Result<Option<Version>, StoreError>, redb::Error> {
    let transaction = database.begin_read()?;
    held(&transaction.open_table(VERSIONS)?, &transaction.open_table(VALUES)?, key)
}

/// What is held of a key. The inner error says that it was changed at rest.
pub(super) fn entry(database: &Database, key: &str) -> Result<Result<Option<Entry>, StoreError>, redb::Error> {
    let transaction = database.begin_read()?;
    let (versions, values) = (transaction.open_table(VERSIONS)?, transaction.open_table(VALUES)?);
    let version = match held(&versions, &values, key)? {
        Ok(Some(version)) => version,
        other => return Ok(other.map(|_| None)),
    };
    let row = values.get(key)?;
    let value = match row.as_ref().and_then(|row| unsealed(&[key, &version.to_string()], row.value())) {
        Some([PRESENT, value @ ..]) => Some(Bytes::copy_from_slice(value)),
        Some([ABSENT]) => None,
        _ => return Ok(Err(damaged(key))),
    };
    Ok(Ok(Some(Entry { version, value })))
}

/// Keeps each entry unless a later one is held, all or none, and waits until they are on disk. Out: for each, an error
/// where what is held was changed at rest, so that nobody knows which is the later.
pub(super) fn keep(
    database: &Database,
    entries: &[(String, Entry)],
) -> Result<Vec<Result<(), StoreError>>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut kept = Vec::with_capacity(entries.len());
    {
        let (mut versions, mut values) = (transaction.open_table(VERSIONS)?, transaction.open_table(VALUES)?);
        for (key, entry) in entries {
            let held = held(&versions, &values, key)?;
            // The same once more mends a value that was changed at rest.
            if held.as_ref().is_ok_and(|held| held.as_ref() <= Some(&entry.version)) {
                let version = entry.version.to_string();
                let value = entry.value.as_ref().map_or(vec![ABSENT], |value| [&[PRESENT], &value[..]].concat());
                values.insert(key.as_str(), sealed(&[key, &version], &value).as_slice())?;
                versions.insert(key.as_str(), sealed(&[key], version.as_bytes()).as_slice())?;
            }
            kept.push(held.map(drop));
        }
    }
    transaction.commit()?;
    Ok(kept)
}

fn held(
    versions: &impl ReadableTable<&'static str, &'static [u8]>,
    values: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Result<Option<Version>, StoreError>, redb::Error> {
    let Some(row) = versions.get(key)? else {
        return Ok(if values.get(key)?.is_some() { Err(damaged(key)) } else { Ok(None) });
    };
    let text = unsealed(&[key], row.value()).and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| damaged(key)))
}

fn damaged(key: &str) -> StoreError {
    if let Some(times) = DAMAGED.line() {
        tracing::error!(key, times, "a key was changed at rest: this replica does not answer for it");
    }
    StoreError::Failed(format!("what it holds of {key:?} was changed at rest"))
}

/// The bytes behind a checksum of theirs and of what they belong to.
fn sealed(of: &[&str], bytes: &[u8]) -> Vec<u8> {
    [&checksum(of, bytes)[..], bytes].concat()
}

/// The bytes behind the checksum, where it is theirs.
fn unsealed<'a>(of: &[&str], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, bytes) = sealed.split_first_chunk()?;
    (*sum == checksum(of, bytes)).then_some(bytes)
}

fn checksum(of: &[&str], bytes: &[u8]) -> [u8; 16] {
    let mut sum = XxHash3_128::new();
    for part in of.iter().map(|part| part.as_bytes()).chain([bytes]) {
        // With its length, or two parts could be cut elsewhere.
        sum.write(&(part.len() as u64).to_le_bytes());
        sum.write(part);
    }
    sum.finish_128().to_le_bytes()
}

/// The version of each key, as text.
const VERSIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("versions");

/// The value of each key: [`PRESENT`] and its bytes, or [`ABSENT`] where it was deleted.
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

/// How often the file was opened.
const OPENED: TableDefinition<'_, (), u64> = TableDefinition::new("opened");

static DAMAGED: Sparse = Sparse::new();

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
