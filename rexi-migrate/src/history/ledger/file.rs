//! Ledger files: a header that names the process, then records of one size, appended as they are made.
//!
//! A write goes straight to the kernel, whose page cache outlives the process, so `kill -9` loses no record that was
//! appended; only a record that was being written can be torn, and only at the end: what was to be written behind it is
//! not there. (A crash of the machine is another matter: nothing is synced to disk.) Header: magic · format u16 · body
//! length u16 · body · check u16.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rexi_proto::{Incarnation, NodeName};
use semver::Version;
use thiserror::Error;

use super::clock::now_us;
use super::entry::{Entry, NodeIndex, Record};
use super::memory::Memory;
use super::record::{Damage, RECORD_BYTES, check};

/// Whose ledger a file is: one life of one node, as one process of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerHeader {
    /// The node's name.
    pub node: NodeName,
    /// The node's place in the cluster.
    pub index: NodeIndex,
    /// The release that the process runs.
    pub release: Version,
    /// The node's incarnation in this process.
    pub incarnation: Incarnation,
    /// The process.
    pub pid: u32,
    /// When the process began, in microseconds since 1970.
    pub began_us: u64,
}

impl LedgerHeader {
    /// The header of the process that calls this, which begins now.
    pub fn new(node: NodeName, index: NodeIndex, release: Version, incarnation: Incarnation) -> Self {
        Self { node, index, release, incarnation, pid: std::process::id(), began_us: now_us() }
    }
}

/// Appends records to one new file, or keeps them in memory. Share it by reference among tasks.
#[derive(Debug)]
pub struct LedgerWriter(Sink);

#[derive(Debug)]
enum Sink {
    File(Mutex<Tail>),
    Memory(Memory),
}

#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: File,
    last_us: u64,
    /// What is written at once; kept for the next time.
    bytes: Vec<u8>,
    /// A write failed partway through: what would follow it could not be read.
    broken: bool,
}

impl LedgerWriter {
    /// Makes the file, which must not exist yet, and writes its header.
    ///
    /// # Errors
    /// [`LedgerError::Create`] where the file cannot be made or its header not be written, and
    /// [`LedgerError::LongRelease`] where the header cannot hold the release.
    pub fn create(path: impl AsRef<Path>, header: &LedgerHeader) -> Result<Self, LedgerError> {
        let path = path.as_ref().to_owned();
        let file = create_file(&path, header)?;
        let tail = Tail { path, file, last_us: header.began_us, bytes: Vec::new(), broken: false };
        Ok(Self(Sink::File(Mutex::new(tail))))
    }

    /// Goes on in another file, which must not exist yet, with the header of the same process. What was appended before
    /// stays where it is. Memory has no files, and goes on as it is.
    ///
    /// # Errors
    /// As [`LedgerWriter::create`]; the ledger then stays in the file that it has.
    pub fn turn(&self, path: impl AsRef<Path>, header: &LedgerHeader) -> Result<(), LedgerError> {
        let Sink::File(tail) = &self.0 else { return Ok(()) };
        let path = path.as_ref().to_owned();
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.file = create_file(&path, header)?;
        tail.path = path;
        Ok(())
    }

    /// A ledger of a life that has no process of its own, by this clock.
    pub fn in_memory(now_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Sink::Memory(Memory::new(now_us)))
    }

    /// What is in memory; `None` where the records go to a file.
    pub fn memory(&self) -> Option<&Memory> {
        match &self.0 {
            Sink::File(_) => None,
            Sink::Memory(memory) => Some(memory),
        }
    }

    /// Appends records. To a file they go in one write, all with the time of now: on return all of them survive
    /// `kill -9`, and one that falls into the write leaves the first of them and tears one.
    ///
    /// Costs one write system call of [`RECORD_BYTES`] a record under a lock that is held for no longer; it blocks for
    /// about a microsecond, so call it from async code as it is.
    ///
    /// # Errors
    /// [`LedgerError::Write`] where the file does not take the records, and from then on [`LedgerError::Broken`]: end
    /// the process, since from here on its ledger is not evidence. Memory takes all.
    pub fn append(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        let tail = match &self.0 {
            Sink::File(tail) => tail,
            Sink::Memory(memory) => {
                memory.append(entries);
                return Ok(());
            }
        };
        let mut guard = tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = &mut *guard;
        if tail.broken {
            return Err(LedgerError::Broken { path: tail.path.clone() });
        }
        // Read under the lock, so that the order of the file is the order of the times.
        tail.last_us = tail.last_us.max(now_us());
        tail.bytes.clear();
        for &entry in entries {
            tail.bytes.extend_from_slice(&Record { at_us: tail.last_us, entry }.encode());
        }
        tail.file.write_all(&tail.bytes).map_err(|source| {
            tail.broken = true;
            LedgerError::Write { path: tail.path.clone(), source }
        })
    }
}

/// Everything in one ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessLedger {
    /// Whose it is.
    pub header: LedgerHeader,
    /// Its records, in the order of the file.
    pub records: Vec<Record>,
    /// Whether the file ends in a part of a record, which was left out.
    pub torn: bool,
}

/// Reads ledger files.
#[derive(Debug)]
pub struct LedgerReader;

impl LedgerReader {
    /// Reads a whole ledger. Takes 40 bytes of memory a record at most.
    ///
    /// # Errors
    /// [`LedgerError`]: the file cannot be read, is no ledger, or is damaged. A part of a record at its end is no
    /// error.
    pub fn read(path: impl AsRef<Path>) -> Result<ProcessLedger, LedgerError> {
        let path = path.as_ref();
        let failed = |source| LedgerError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut input = BufReader::with_capacity(64 << 10, file);
        let (header, mut offset) = read_header(&mut input, path)?;
        let mut records = Vec::new();
        let torn = loop {
            let mut bytes = [0; RECORD_BYTES];
            match read_up_to(&mut input, &mut bytes).map_err(failed)? {
                0 => break false,
                RECORD_BYTES => {}
                _ => break true,
            }
            let record = Record::decode(&bytes).map_err(|damage| LedgerError::Damaged {
                path: path.to_owned(),
                offset,
                damage,
            })?;
            records.push(record);
            offset += RECORD_BYTES as u64;
        };
        Ok(ProcessLedger { header, records, torn })
    }
}

/// Why a ledger could not be written or read. In every case the environment is at fault, or the caller where it says
/// so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file could not be made. Nothing was recorded.
    #[error("cannot make the ledger {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The caller's release has a longer name than the header holds. Nothing was made.
    #[error("the release name {release} is longer than 255 bytes")]
    LongRelease {
        /// The release.
        release: Version,
    },
    /// A record could not be written, or only in part. The ledger takes no more.
    #[error("cannot append to the ledger {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// An earlier write failed, so this record was not written.
    #[error("the ledger {} takes no more records: an earlier write failed", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read the ledger {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is not a ledger, or its header is cut short.
    #[error("{} does not begin with the header of a ledger", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a format that this build does not read.
    #[error("the ledger {} is of format {format}; this build reads format {FORMAT}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u16,
    },
    /// The header is there in full and contradicts itself.
    #[error("the header of the ledger {} is damaged", path.display())]
    DamagedHeader {
        /// The file.
        path: PathBuf,
    },
    /// A record is there in full and makes no sense.
    #[error("the ledger {} is damaged: the record at byte {offset} is unusable, {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins, in bytes.
        offset: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

fn create_file(path: &Path, header: &LedgerHeader) -> Result<File, LedgerError> {
    let bytes = encode_header(header)?;
    let create = || {
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        file.write_all(&bytes)?;
        Ok(file)
    };
    create().map_err(|source| LedgerError::Create { path: path.to_owned(), source })
}

fn encode_header(header: &LedgerHeader) -> Result<Vec<u8>, LedgerError> {
    let release = header.release.to_string();
    let long = |_| LedgerError::LongRelease { release: header.release.clone() };
    let release_len = u8::try_from(release.len()).map_err(long)?;
    let name = header.node.as_str();
    let name_len = u8::try_from(name.len()).expect("a node name has at most 253 bytes");
    let mut body = Vec::new();
    body.extend_from_slice(&header.began_us.to_le_bytes());
    body.extend_from_slice(&header.incarnation.0.to_le_bytes());
    body.extend_from_slice(&header.pid.to_le_bytes());
    body.extend_from_slice(&header.index.0.to_le_bytes());
    for (len, text) in [(name_len, name), (release_len, &release)] {
        body.push(len);
        body.extend_from_slice(text.as_bytes());
    }
    let body_len = u16::try_from(body.len()).expect("two texts of a one-byte length and 22 bytes are short");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&body_len.to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&check(&body).to_le_bytes());
    Ok(bytes)
}

/// The header, and the offset of the first record.
fn read_header(input: &mut impl Read, path: &Path) -> Result<(LedgerHeader, u64), LedgerError> {
    let exactly = |input: &mut dyn Read, bytes: &mut [u8]| match input.read_exact(bytes) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(LedgerError::NotALedger { path: path.to_owned() }),
        Err(source) => Err(LedgerError::Read { path: path.to_owned(), source }),
    };
    let mut front = [0; 12];
    exactly(input, &mut front)?;
    let [magic @ .., f0, f1, l0, l1] = front;
    if magic != MAGIC {
        return Err(LedgerError::NotALedger { path: path.to_owned() });
    }
    let format = u16::from_le_bytes([f0, f1]);
    if format != FORMAT {
        return Err(LedgerError::UnknownFormat { path: path.to_owned(), format });
    }
    let mut body = vec![0; usize::from(u16::from_le_bytes([l0, l1]))];
    exactly(input, &mut body)?;
    let mut sum = [0; 2];
    exactly(input, &mut sum)?;
    let header = decode_header(&body).filter(|_| check(&body).to_le_bytes() == sum);
    let first_record = (front.len() + body.len() + sum.len()) as u64;
    header.map(|header| (header, first_record)).ok_or_else(|| LedgerError::DamagedHeader { path: path.to_owned() })
}

fn decode_header(body: &[u8]) -> Option<LedgerHeader> {
    let (began, rest) = body.split_first_chunk()?;
    let (incarnation, rest) = rest.split_first_chunk()?;
    let (pid, rest) = rest.split_first_chunk()?;
    let (index, rest) = rest.split_first_chunk()?;
    let (node, rest) = split_text(rest)?;
    let (release, rest) = split_text(rest)?;
    rest.is_empty().then_some(())?;
    Some(LedgerHeader {
        node: NodeName::new(node).ok()?,
        index: NodeIndex(u16::from_le_bytes(*index)),
        release: Version::parse(release).ok()?,
        incarnation: Incarnation(u64::from_le_bytes(*incarnation)),
        pid: u32::from_le_bytes(*pid),
        began_us: u64::from_le_bytes(*began),
    })
}

fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(len))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// As many bytes as there are, up to the buffer's length.
fn read_up_to(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

const MAGIC: [u8; 8] = *b"rexiledg";
const FORMAT: u16 = 1;
