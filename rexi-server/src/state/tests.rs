//! Tests of the directory of state on a real disk, with processes that are killed in the middle of a write.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rexi_proto::Release;
use rexi_proto::record::{Bar, ClusterChange, ClusterRecord, Digest, Intent};

use super::*;

const LOW: Release = Release(1, 0, 0);
const HIGH: Release = Release(1, 1, 0);

fn n1() -> NodeName {
    NodeName::new("n1").expect("a name")
}

/// The first record of a cluster of one, and then one epoch after the other.
fn record(before: Option<&ClusterRecord>) -> Arc<ClusterRecord> {
    let (epoch, previous) = before.map_or((0, Digest::default()), |record| (record.epoch, record.digest()));
    let cap = ClusterChange::Cap(BTreeMap::new());
    let change = if before.is_some() { cap } else { ClusterChange::Begin { floor: HIGH, top: HIGH } };
    let (members, lives) = (BTreeSet::from([n1()]), BTreeMap::new());
    let (cluster, by) = ("shop".into(), "alice".into());
    let intent = Intent { cluster, epoch: epoch + 1, attempt: 1, previous, change, members, lives, by, at: 0 };
    Arc::new(intent.record(before).expect("it follows"))
}

fn kept(record: Arc<ClusterRecord>) -> Kept {
    Kept { record: Some(record), ..Kept::nothing(n1()) }
}

#[test]
fn what_is_written_is_there_for_the_next_process() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("state");
    let state = StateDir::open(&dir).expect("it is made");
    let fresh = state.keeper(&n1()).expect("nothing is there");
    assert_eq!(fresh.may_start(HIGH), Err(Bar::NoRecord));
    let began = record(None);
    state.write(&kept(Arc::clone(&began))).expect("it is written");
    drop(state);
    let keeper = StateDir::open(&dir).and_then(|state| state.keeper(&n1())).expect("it is read");
    assert_eq!(keeper.kept(), &kept(began));
    assert!(matches!(keeper.may_start(LOW), Err(Bar::BelowFloor { .. })));
    assert_eq!(keeper.may_start(HIGH), Ok(()));
}

#[test]
fn one_process_has_a_directory_at_a_time() {
    let home = tempfile::tempdir().expect("a directory");
    let first = StateDir::open(home.path()).expect("it is free");
    let second = StateDir::open(home.path()).expect_err("it is taken");
    assert!(matches!(second, StateError::InUse { .. }), "{second}");
    drop(first);
    StateDir::open(home.path()).expect("it is free again");
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(home.path()).expect("it is free");
    let file = home.path().join(RECORD);
    let good = kept(record(None)).to_text();
    let other = good.replace("node n1", "node n2");
    for text in ["", "a stray file\n", &good[..good.len() - 1], &other] {
        fs::write(&file, text).expect("written");
        let error = state.keeper(&n1()).expect_err("it is not what was written");
        assert!(matches!(error, StateError::Kept { .. }), "{error}");
        assert!(error.to_string().contains("does not count as missing"), "{error}");
    }
    fs::write(&file, [0xff, 0xfe]).expect("written");
    assert!(matches!(state.keeper(&n1()), Err(StateError::Read { .. })), "it is no text");
    fs::write(&file, vec![b'x'; KEPT_BYTES_MAX + 1]).expect("written");
    assert!(matches!(state.keeper(&n1()), Err(StateError::Read { .. })), "it is too long");
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("made");
    assert!(matches!(state.keeper(&n1()), Err(StateError::Read { .. })), "it is a directory");
    let error = state.write(&kept(record(None))).expect_err("it cannot be replaced");
    assert!(matches!(error, StateError::Write { .. }), "{error}");
}

#[test]
fn a_directory_that_has_no_place_is_refused_by_name() {
    let home = tempfile::tempdir().expect("a directory");
    let error = StateDir::open(home.path().join("not-mounted/state")).expect_err("its parent is missing");
    assert!(error.to_string().contains("not-mounted"), "{error}");
    let file = home.path().join("file");
    fs::write(&file, "").expect("written");
    let error = StateDir::open(&file).expect_err("it is a file");
    assert!(matches!(error, StateError::Directory { .. }), "{error}");
    // A volume that is gone while the node runs.
    let dir = home.path().join("gone");
    let state = StateDir::open(&dir).expect("it is made");
    fs::remove_dir_all(&dir).expect("removed");
    assert!(matches!(state.write(&kept(record(None))), Err(StateError::Write { .. })));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_look_into_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("state");
    let state = StateDir::open(&dir).expect("it is made");
    state.write(&kept(record(None))).expect("it is written");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(RECORD))), (0o700, 0o600));
}

/// Where the process that is killed writes; set for it alone.
const VICTIM: &str = "REXI_STATE_VICTIM";

/// Not a test by itself: writes one epoch after the other, and says so, until it is killed.
#[test]
fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let state = StateDir::open(dir).expect("it is free");
    let mut last = state.keeper(&n1()).expect("it is read").kept().record.clone();
    loop {
        let next = record(last.as_deref());
        state.write(&kept(Arc::clone(&next))).expect("it is written");
        println!("written {}", next.epoch);
        last = Some(next);
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_what_it_has_said_or_the_next() {
    let home = tempfile::tempdir().expect("a directory");
    let program = std::env::current_exe().expect("this program");
    let name = "state::tests::the_process_that_is_killed";
    let mut before = 0;
    for round in 0..KILLS {
        let mut victim = Command::new(&program)
            .args([name, "--exact", "--nocapture", "--test-threads", "1"])
            .env(VICTIM, home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let said = BufReader::new(victim.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut written = said.filter_map(|line| line.strip_prefix("written ")?.parse::<u64>().ok());
        // It is killed a little later each time: by what it says, not by a clock.
        let seen = written.by_ref().nth(round % 7).expect("it writes");
        victim.kill().expect("it runs");
        victim.wait().expect("it ends");
        let last = written.last().unwrap_or(seen);
        let state = StateDir::open(home.path()).expect("the lock went with the process");
        let epoch = state.keeper(&n1()).expect("it is whole").kept().epoch();
        assert!((last..=last + 1).contains(&epoch) && last > before, "said {last}, and {epoch} is there");
        before = epoch;
        let left = fs::read_dir(home.path()).expect("there").filter_map(Result::ok);
        assert_eq!(left.count(), if cfg!(feature = "operate") { 3 } else { 2 }, "the lock, the record and the trail");
    }
}

/// Processes killed.
const KILLS: usize = 40;
