//! What a store keeps, over writes in any order, over restarts, and of many writers at once.

use super::*;

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

async fn write(store: &Store, entry: &Entry) {
    store.write("key".to_owned(), entry.clone()).await.expect("written");
}

#[tokio::test]
async fn the_later_version_is_kept_in_whatever_order_they_come() {
    let (_dir, path) = file();
    for store in [Store::in_memory(), Store::open(path).expect("a store")] {
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
    let store = Store::open(&path).expect("a store");
    write(&store, &entry(1, "n1", "kept")).await;
    let error = Store::open(&path).expect_err("it is open").to_string();
    assert!(error.contains("n1.redb"), "{error}");
    // Also closes it: the last handle waits for the thread.
    drop(store);
    let store = Store::open(&path).expect("closed before");
    assert_eq!(store.read("key"), Ok(Some(entry(1, "n1", "kept"))));
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
    let database = with_table(Database::builder().create_with_backend(InMemoryBackend::new())).expect("a database");
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
    commit_all(&database, writes);
    for mut answer in answers {
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }
    let table = database.begin_read().expect("a transaction").open_table(ENTRIES).expect("a table");
    assert_eq!(redb::ReadableTableMetadata::len(&table).expect("counted"), BATCH_MAX as u64 + 1);
}

#[tokio::test]
async fn many_writers_at_once_leave_the_latest() {
    let (_dir, path) = file();
    let store = Store::open(path).expect("a store");
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
