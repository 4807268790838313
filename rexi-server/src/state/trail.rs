//! The trail: a line for each thing that an operator has asked of this node, written before it is done, and another
//! for what came of it. Each line holds the digest of the one before, so that none between two others can be changed or
//! taken out unseen.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rexi_proto::operate::TrailLine;
use rexi_proto::record::{Digest, RECORD_SAID_BYTES_MAX};

use super::sync_dir;
use crate::files::{read_bounded, read_text};

/// A node's trail, which one process writes.
#[derive(Debug)]
pub(crate) struct Trail {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    bytes: u64,
    /// The digest of the last line; of nothing, before the first.
    last: Digest,
    /// Once a write has failed, what the file ends with is not known.
    is_broken: bool,
}

impl Trail {
    /// Opens the trail of a directory of state. A last line that was cut off by a crash is taken away: what it was to
    /// say was not done. Blocks.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(TRAIL);
        let bytes = match read_bounded(&path, TRAIL_BYTES_MAX + LINE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // A cut may go through a character.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let text = std::str::from_utf8(&bytes[..whole]);
        let text = text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let last = match text.lines().last() {
            Some(line) => Digest::of(line),
            None => last_of_earlier(dir)?,
        };
        let file = File::options().create(true).append(true).open(&path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
        sync_dir(dir)?;
        let state = Mutex::new(State { file, bytes: whole as u64, last, is_broken: false });
        Ok(Self { dir: dir.to_owned(), state })
    }

    /// Adds a line, and waits until it is on the disk. Blocks.
    pub(crate) fn append(&self, line: TrailLine) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(io::Error::other("an earlier line was not written: mend the disk, and start the node again"));
        }
        let line = TrailLine { previous: state.last.to_string(), ..line };
        let mut text = serde_json::to_string(&line)?;
        if text.len() as u64 >= LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "what was asked is too long for the trail"));
        }
        let last = Digest::of(&text);
        text.push('\n');
        let written = self.write(&mut state, &text);
        state.is_broken = written.is_err();
        written?;
        state.last = last;
        Ok(())
    }

    /// The lines from the first of this time on, in seconds since 1970: the newest file, and before it the earlier ones
    /// for as long as they are there, up to [`TOLD_BYTES_MAX`]. Blocks.
    pub(crate) fn read(&self, since: u64) -> io::Result<String> {
        let _unchanged = self.lock();
        let read = |name: &str| read_text(&self.dir.join(name), TRAIL_BYTES_MAX + LINE_BYTES_MAX);
        let mut text = read(TRAIL)?;
        let mut number = next_earlier(&self.dir)?;
        while text.len() < TOLD_BYTES_MAX && number > 0 && text.lines().next().is_none_or(|line| is_of(line, since)) {
            number -= 1;
            match read(&earlier(number)) {
                Ok(before) if goes_on(&before, &text) => text.insert_str(0, &before),
                // A file between was moved away, and what is before it would not hang together with the rest.
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        let before: usize = text.split_inclusive('\n').take_while(|line| !is_of(line, since)).map(str::len).sum();
        text.drain(..before);
        Self::cut_oldest(&mut text, TOLD_BYTES_MAX);
        Ok(text)
    }

    /// Takes the oldest lines away until there are so many bytes at most.
    pub(crate) fn cut_oldest(text: &mut String, most: usize) {
        let cut = text.len().saturating_sub(most);
        if cut > 0 {
            let rest = text.as_bytes()[cut..].iter().position(|&byte| byte == b'\n');
            text.drain(..rest.map_or(text.len(), |at| cut + at + 1));
        }
    }

    fn write(&self, state: &mut State, text: &str) -> io::Result<()> {
        if state.bytes + text.len() as u64 > TRAIL_BYTES_MAX {
            fs::rename(self.dir.join(TRAIL), self.dir.join(earlier(next_earlier(&self.dir)?)))?;
            state.file = File::options().create_new(true).append(true).open(self.dir.join(TRAIL))?;
            state.bytes = 0;
            sync_dir(&self.dir)?;
        }
        state.file.write_all(text.as_bytes())?;
        state.file.sync_all()?;
        state.bytes += text.len() as u64;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the trail")
    }
}

/// The digest of the last line of the newest earlier file: a crash may have come between the two.
fn last_of_earlier(dir: &Path) -> io::Result<Digest> {
    let Some(newest) = next_earlier(dir)?.checked_sub(1) else { return Ok(Digest::default()) };
    let text = read_text(&dir.join(earlier(newest)), TRAIL_BYTES_MAX + LINE_BYTES_MAX)?;
    Ok(text.lines().last().map_or_else(Digest::default, Digest::of))
}

/// The number of the next file that is full.
fn next_earlier(dir: &Path) -> io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(EARLIER)?.parse::<u64>().ok());
        next = next.max(number.map_or(0, |number| number + 1));
    }
    Ok(next)
}

fn earlier(number: u64) -> String {
    format!("{EARLIER}{number}")
}

const TRAIL: &str = "trail";
const EARLIER: &str = "trail-";

/// Whether the lines go on from those before them.
fn goes_on(before: &str, text: &str) -> bool {
    let Some(first) = text.lines().next() else { return true };
    let last = before.lines().last().map_or_else(Digest::default, Digest::of);
    serde_json::from_str(first).is_ok_and(|line: TrailLine| line.previous == last.to_string())
}

/// Whether a line is of this time or later; one that says no time is, so that whoever reads it finds it.
fn is_of(line: &str, since: u64) -> bool {
    since == 0 || serde_json::from_str(line).map_or(true, |line: TrailLine| line.at >= since)
}

/// Bytes of the lines that are told at once.
const TOLD_BYTES_MAX: usize = 4_032 << 10;

const _: () = assert!(TOLD_BYTES_MAX + 1_024 < RECORD_SAID_BYTES_MAX as usize, "a reply to a member has room for them");

/// Bytes of a file of the trail: then another is begun.
const TRAIL_BYTES_MAX: u64 = 2 << 20;

/// Bytes of one line.
const LINE_BYTES_MAX: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(told: &str) -> TrailLine {
        TrailLine { at: 1, by: "alice".to_owned(), told: told.to_owned(), ..TrailLine::default() }
    }

    /// The lines of a text, each with the digest of the one before.
    fn chained(text: &str, mut last: Digest) -> Vec<TrailLine> {
        let read = |line: &str| {
            let read: TrailLine = serde_json::from_str(line).expect("it was written so");
            assert_eq!(read.previous, last.to_string(), "{line}");
            last = Digest::of(line);
            read
        };
        text.lines().map(read).collect()
    }

    #[test]
    fn each_line_holds_the_digest_of_the_one_before_also_after_a_start() {
        let dir = tempfile::tempdir().expect("a directory");
        for told in ["one", "two"] {
            let trail = Trail::open(dir.path()).expect("it opens");
            trail.append(line(told)).expect("it is written");
            trail.append(line("again")).expect("it is written");
        }
        let text = Trail::open(dir.path()).and_then(|trail| trail.read(0)).expect("it is read");
        let told: Vec<String> = chained(&text, Digest::default()).into_iter().map(|line| line.told).collect();
        assert_eq!(told, ["one", "again", "two", "again"]);
    }

    #[test]
    fn a_line_that_a_crash_has_cut_off_is_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let trail = Trail::open(dir.path()).expect("it opens");
        trail.append(line("one")).expect("it is written");
        drop(trail);
        let path = dir.path().join(TRAIL);
        let whole = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, [whole.as_bytes(), &whole.as_bytes()[..20], &"ü".as_bytes()[..1]].concat())
            .expect("it is cut");
        let trail = Trail::open(dir.path()).expect("it opens");
        assert_eq!(trail.read(0).expect("it is read"), whole);
        trail.append(line("two")).expect("it is written");
        assert_eq!(chained(&trail.read(0).expect("it is read"), Digest::default()).len(), 2);
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_next_goes_on_from_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let trail = Trail::open(dir.path()).expect("it opens");
        let newest = || fs::read_to_string(dir.path().join(TRAIL)).expect("it is there");
        let long = "x".repeat(LINE_BYTES_MAX as usize - 1_000);
        let lines = TRAIL_BYTES_MAX / LINE_BYTES_MAX + 1;
        (0..lines).for_each(|_| trail.append(line(&long)).expect("it is written"));
        let first = fs::read_to_string(dir.path().join("trail-0")).expect("the first is full");
        let last = Digest::of(first.lines().last().expect("it has lines"));
        chained(&first, Digest::default());
        assert_eq!(chained(&newest(), last).len(), 1);
        drop(trail);
        // A crash between the two.
        fs::remove_file(dir.path().join(TRAIL)).expect("it is there");
        let trail = Trail::open(dir.path()).expect("it opens");
        trail.append(line("next")).expect("it is written");
        assert_eq!(chained(&newest(), last).len(), 1);
        let too_long = trail.append(line(&"x".repeat(LINE_BYTES_MAX as usize)));
        assert!(too_long.expect_err("it is refused").to_string().contains("too long"));
        trail.append(line("and so on")).expect("a refusal breaks nothing");
    }

    /// The text of a trail with a line for each of these times, of so many bytes or a little more.
    fn written(dir: &Path, times: impl IntoIterator<Item = u64>, bytes: usize) -> Trail {
        let trail = Trail::open(dir).expect("it opens");
        for at in times {
            trail.append(TrailLine { at, ..line(&"x".repeat(bytes)) }).expect("it is written");
        }
        trail
    }

    #[test]
    fn earlier_files_are_read_too_from_the_time_that_is_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let trail = written(dir.path(), 1..=20, LINE_BYTES_MAX as usize - 1_000);
        assert!(dir.path().join("trail-1").exists() && !dir.path().join("trail-2").exists());
        let times = |since| {
            let text = trail.read(since).expect("it is read");
            let first: TrailLine = serde_json::from_str(text.lines().next()?).expect("a line");
            let before = Digest::parse(&first.previous).expect("a digest");
            let all: Vec<u64> = chained(&text, before).iter().map(|line| line.at).collect();
            assert!(text.len() <= TOLD_BYTES_MAX);
            Some((all[0], all[all.len() - 1]))
        };
        assert_eq!(times(0), Some((6, 20)), "as much as has room, and the oldest is left out");
        assert_eq!((times(7), times(18), times(21)), (Some((7, 20)), Some((18, 20)), None));
        fs::remove_file(dir.path().join("trail-1")).expect("it is there");
        assert_eq!(times(0), Some((17, 20)), "what was moved away is missing, and so is what was before it");
    }

    #[test]
    fn all_of_a_trail_of_few_files_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let trail = written(dir.path(), 1..=9, LINE_BYTES_MAX as usize - 1_000);
        let text = trail.read(0).expect("it is read");
        assert_eq!(chained(&text, Digest::default()).len(), 9);
        assert!(dir.path().join("trail-0").exists(), "of two files");
    }

    #[test]
    fn a_trail_that_is_too_long_loses_its_oldest_lines_whole() {
        let cut = |most| {
            let mut trail = "one\ntwö\nthree\n".to_owned();
            Trail::cut_oldest(&mut trail, most);
            trail
        };
        assert_eq!((cut(99), cut(15)), ("one\ntwö\nthree\n".to_owned(), "one\ntwö\nthree\n".to_owned()));
        assert_eq!((cut(14), cut(7), cut(5)), ("twö\nthree\n".to_owned(), "three\n".to_owned(), String::new()));
    }
}
