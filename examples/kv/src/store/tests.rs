//! What a store keeps, over writes in any order, over restarts, and of many writers at once.

use rexi_server::Bytes;

use faulty::FaultyDisk;

use super::*;

#[path = "../../tests/faulty/mod.rs"]
mod faulty;

const CLOSED: StoreError = StoreError::Closed;

fn version(counter: u64, writer: &str) -> Version {
    Version { counter, writer: writer.to_owned(), life: 1, write: 0 }
}

fn entry(counter: u64, writer: &str, value: &str) -> Entry {
    Entry { version: version(counter, writer), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("n1.redb");
    (dir, path)
}

fn created(path: &Path) -> Store {
    Store::create(path).expect("a new file");
    Store::open(path).expect("a store")
}

async fn write(store: &Store, entry: &Entry) {
    store.write("key".to_owned(), entry.clone()).await.expect("written");
}

#[tokio::test]
async fn the_later_version_is_kept_in_whatever_order_they_come() {
    let (_dir, path) = file();
    for store in [Store::in_memory(), created(&path)] {
        assert_eq!(store.read("key"), Ok(None));
        let (older, newer, newest) = (entry(1, "n3", "a"), entry(2, "n1", "b"), entry(2, "n2", "c"));
        for (written, kept) in [(&newer, &newer), (&older, &newer), (&newest, &newest), (&newer, &newest)] {
            write(&store, written).await;
            assert_eq!(store.read("key"), Ok(Some(kept.clone())));
            assert_eq!(store.version("key"), Ok(Some(kept.version.clone())));
        }
        assert_eq!(store.read("other"), Ok(None));
    }
}

#[tokio::test]
async fn a_deletion_is_remembered_like_a_value_and_an_empty_value_is_none() {
    let store = Store::in_memory();
    let deleted = Entry { version: version(2, "n1"), value: None };
    write(&store, &deleted).await;
    write(&store, &entry(1, "n1", "before")).await;
    assert_eq!(store.read("key"), Ok(Some(deleted)));
    write(&store, &entry(3, "n1", "")).await;
    assert_eq!(store.read("key"), Ok(Some(entry(3, "n1", ""))));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_a_file_is_for_one_store() {
    let (_dir, path) = file();
    let store = created(&path);
    write(&store, &entry(1, "n1", "kept")).await;
    let error = Store::open(&path).expect_err("it is open").to_string();
    assert!(error.contains("n1.redb"), "{error}");
    store.close().await;
    let refused = store.write("key".to_owned(), entry(2, "n1", "late")).await;
    assert_eq!((refused, store.read("key"), store.check()), (Err(CLOSED), Err(CLOSED), Err(CLOSED)));
    let store = Store::open(&path).expect("closed before");
    assert_eq!(store.read("key"), Ok(Some(entry(1, "n1", "kept"))));
}

#[tokio::test]
async fn a_file_is_made_when_it_is_asked_for_and_never_otherwise() {
    let (dir, path) = file();
    let error = Store::open(&path).expect_err("there is none");
    assert!(matches!(error, OpenError::Missing(_)) && error.to_string().contains("--init"), "{error}");
    assert_eq!(dir.path().read_dir().expect("a directory").count(), 0, "and there is none yet");
    // What is left of a process that was killed while it made one.
    std::fs::write(dir.path().join("n1.redb.new"), "").expect("written");
    let store = created(&path);
    write(&store, &entry(1, "n1", "kept")).await;
    let error = Store::create(&path).expect_err("it is there");
    assert!(matches!(error, OpenError::There(_)) && error.to_string().contains("without --init"), "{error}");
    assert_eq!(store.read("key"), Ok(Some(entry(1, "n1", "kept"))));
    store.close().await;
    std::fs::write(&path, "").expect("written");
    let error = Store::open(&path).expect_err("nothing is left of it");
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_none_of_ours_is_refused_and_left_alone() {
    let (_dir, path) = file();
    std::fs::write(&path, "precious").expect("written");
    let error = Store::open(&path).expect_err("refused").to_string();
    assert!(error.contains("cannot use") && error.contains("n1.redb"), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), b"precious");
}

#[test]
fn writes_that_wait_together_share_a_commit_and_each_is_answered() {
    let store = Store::in_memory();
    let (queue, writes) = mpsc::channel(QUEUE_MAX);
    let mut answers = Vec::new();
    for number in 0..BATCH_MAX as u64 + 1 {
        let (done, answer) = oneshot::channel();
        let of = (format!("key {number}"), entry(number, "n1", "value"));
        queue.try_send(Write { of, done }).expect("there is room");
        answers.push(answer);
    }
    // One caller has gone meanwhile, which does not matter to the others.
    drop(answers.remove(0));
    drop(queue);
    commit_all(&store.disk, writes);
    for (number, mut answer) in (1..).zip(answers) {
        assert_eq!(answer.try_recv(), Ok(Ok(())));
        assert_eq!(store.version(&format!("key {number}")), Ok(Some(version(number, "n1"))));
    }
    assert_eq!(store.version("key 0"), Ok(None));
}

#[tokio::test]
async fn many_writers_at_once_leave_the_latest() {
    let (_dir, path) = file();
    let store = created(&path);
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..2 * QUEUE_MAX as u64 {
        let store = store.clone();
        // Each once, in no order: 5 divides no power of 2.
        let counter = number * 5 % (2 * QUEUE_MAX as u64);
        writers.spawn(async move { store.write("key".to_owned(), entry(counter, "n1", "x")).await });
    }
    assert!(writers.join_all().await.into_iter().all(|written| written.is_ok()));
    assert_eq!(store.version("key"), Ok(Some(version(2 * QUEUE_MAX as u64 - 1, "n1"))));
}

/// The requests of a second are told of in one line, and those that are refused meanwhile cost no look at the disk.
#[tokio::test]
async fn a_full_disk_is_told_of_once_a_second_and_not_at_each_request() {
    let (dir, faulty) = (tempfile::tempdir().expect("a directory"), FaultyDisk::default());
    let log = dir.path().join("log");
    let to = tracing_subscriber::fmt().with_writer(Arc::new(std::fs::File::create(&log).expect("a file")));
    let _here = tracing::subscriber::set_default(to.finish());
    let on = faulty.clone();
    let open: Box<Opener> = Box::new(move || Database::builder().create_with_backend(on.clone()));
    // Commits in place, so that what is logged of it is logged here.
    let store = Store { queue: None, disk: Disk::open(open).expect("it is well at first") };
    let began = std::time::Instant::now();
    faulty.set_full(true);
    for number in 0..500 {
        let refused = store.write("key".to_owned(), entry(number, "n1", "value")).await;
        assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
        assert_eq!(store.check(), refused);
    }
    let lines = std::fs::read_to_string(&log).expect("a file").lines().count();
    assert!((1..=1 + began.elapsed().as_secs()).contains(&(lines as u64)), "{lines} lines in {:?}", began.elapsed());
    faulty.set_full(false);
    let reopened = async {
        while store.check().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), reopened).await.expect("it is opened again");
    write(&store, &entry(501, "n1", "value")).await;
}

/// In the value, in the version, in the key, and in what leads to them.
#[tokio::test]
async fn whichever_byte_changes_at_rest_the_answer_is_what_was_written_or_an_error() {
    let on = |disk: FaultyDisk| Store::on(move || disk.clone());
    let disk = FaultyDisk::default();
    let store = on(disk.clone()).expect("a new store");
    let (one, two) = (entry(1, "n1", "an older value"), entry(2, "n1", "the value that was written"));
    write(&store, &one).await;
    write(&store, &two).await;
    store.write("other".to_owned(), one.clone()).await.expect("written");
    store.close().await;
    let sound = disk.bytes();
    // The first page says which of the last two commits counts, and redb guards that itself.
    let used =
        (PAGE_BYTES..sound.len()).filter(|place| sound[place - place % PAGE_BYTES..][..PAGE_BYTES] != [0; PAGE_BYTES]);
    let (mut errors, mut tried) = (0, 0);
    for place in used.step_by(STRIDE).chain(places(&sound, b"the value")).chain(places(&sound, b"2@n1")) {
        let mut bytes = sound.clone();
        bytes[place] ^= 1;
        tried += 1;
        // redb need not take such a file.
        let Ok(store) = on(FaultyDisk::with_file(&bytes)) else { continue };
        let (read, version) = (store.read("key"), store.version("key"));
        assert!(read.is_err() || read == Ok(Some(two.clone())), "byte {place}: {read:?}");
        assert!(version.is_err() || version == Ok(Some(two.version.clone())), "byte {place}: {version:?}");
        errors += usize::from(read.is_err());
        store.close().await;
    }
    assert!(errors > 2, "{errors} of {tried}");
}

fn places<'a>(bytes: &'a [u8], of: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(of.len()).enumerate().filter(move |(_, window)| *window == of).map(|(place, _)| place)
}

#[tokio::test]
async fn a_value_that_was_changed_at_rest_is_mended_by_a_write_and_a_version_by_none() {
    for (changed, is_mended) in [(&b"the value"[..], true), (b"2@n1", false)] {
        let (_dir, path) = file();
        let store = created(&path);
        let held = entry(2, "n1", "the value that was written");
        write(&store, &held).await;
        store.close().await;
        let mut bytes = std::fs::read(&path).expect("a file");
        for place in places(&bytes.clone(), changed) {
            bytes[place] ^= 1;
        }
        std::fs::write(&path, bytes).expect("written");
        let store = Store::open(&path).expect("redb does not notice");
        let error = store.read("key").expect_err("it was changed").to_string();
        assert!(error.contains("changed at rest"), "{error}");
        assert_eq!(store.version("key").is_ok(), is_mended, "the version of a value that was changed still counts");
        // An older one does not take its place: it may be what was acknowledged.
        let _ = store.write("key".to_owned(), entry(1, "n1", "older")).await;
        assert!(store.read("key").is_err());
        let newer = entry(3, "n1", "newer");
        assert_eq!(store.write("key".to_owned(), newer.clone()).await.is_ok(), is_mended);
        assert_eq!(store.read("key").ok(), is_mended.then_some(Some(newer)));
        store.close().await;
    }
}

const PAGE_BYTES: usize = 4_096;

/// Of the bytes that lead to the values, every so many is changed.
const STRIDE: usize = 97;

#[tokio::test]
async fn a_commit_that_does_not_come_back_counts_as_a_failure_until_it_does() {
    let disk = FaultyDisk::default();
    let on = disk.clone();
    let store = Store::on(move || on.clone()).expect("the disk is well at first");
    disk.hang();
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { write(&store, &entry(1, "n1", "a")).await })
    };
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
    let late = || store.disk.check(Instant::now() + disk::HANG_LIMIT);
    while late().is_ok() {
        ticks.tick().await;
    }
    assert_eq!(late(), Err(StoreError::Failed("a commit has not come back for 5s".to_owned())));
    assert_eq!(store.check(), Ok(()), "it may take its time");
    disk.go_on();
    writing.await.expect("written");
    assert_eq!(late(), Ok(()));
}
