//! What a ledger file keeps through a round trip, a torn end and damage.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rexi_proto::{Incarnation, NodeName, Phase, ServerAddress};
use semver::Version;
use tempfile::TempDir;

use super::*;

fn header() -> LedgerHeader {
    LedgerHeader {
        node: NodeName::new("n2.example").expect("a name"),
        index: NodeIndex(2),
        release: Version::new(1, 1, 0),
        incarnation: Incarnation(77),
        pid: 4711,
        began_us: 1_000_000,
    }
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let phase = || prop::sample::select(Phase::ALL.to_vec());
    let work = || prop::sample::select(Work::ALL.to_vec());
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    let how = prop::sample::select(Ending::ALL.to_vec());
    let server = prop::sample::select(vec![ServerAddress::Singleton, ServerAddress::PerNode]);
    let call = || any::<u64>().prop_map(CallNumber);
    let node = || any::<u16>().prop_map(NodeIndex);
    let monitor = || any::<u64>().prop_map(MonitorNumber);
    let id = || {
        (node(), any::<u64>().prop_map(Incarnation), call()).prop_map(|(caller, incarnation, call)| CallId {
            caller,
            incarnation,
            call,
        })
    };
    let content = || prop::sample::select(Content::ALL.to_vec());
    let nodes = || any::<u32>().prop_map(NodeSet);
    let form = prop::sample::select(GatherForm::ALL.to_vec());
    let end = prop::sample::select(GatherEnd::ALL.to_vec());
    let odd = prop::option::of(prop::sample::select(Outcome::ALL.to_vec()));
    let talk = prop_oneof![
        (call(), any::<u16>(), any::<u8>()).prop_map(|(call, items, window)| Entry::StreamStarted {
            call,
            items,
            window
        }),
        call().prop_map(|call| Entry::StreamCancelled { call }),
        (id(), any::<u16>()).prop_map(|(id, index)| Entry::ItemSent { id, index }),
        (call(), any::<u16>(), content(), any::<u16>()).prop_map(|(call, index, content, kib)| Entry::ItemReceived {
            call,
            index,
            content,
            kib
        }),
        (id(), any::<u8>()).prop_map(|(id, index)| Entry::Asked { id, index }),
        (call(), any::<u8>(), content()).prop_map(|(call, index, content)| Entry::Responded { call, index, content }),
        (id(), any::<u8>(), content()).prop_map(|(id, index, content)| Entry::ResponseHeard { id, index, content }),
        (call(), form, any::<u8>(), nodes(), any::<u32>()).prop_map(|(gather, form, need, members, limit_ms)| {
            Entry::GatherBegun { gather, form, need, members, limit_ms }
        }),
        (call(), end, nodes(), nodes(), odd).prop_map(|(gather, how, votes, wrong, odd)| Entry::GatherEnded {
            gather,
            how,
            votes,
            wrong,
            odd
        }),
    ];
    prop_oneof![
        talk,
        (call(), node(), work(), phase()).prop_map(|(call, to, work, phase)| Entry::Cast { call, to, work, phase }),
        (call(), outcome).prop_map(|(call, outcome)| Entry::Answered { call, outcome }),
        (call(), phase()).prop_map(|(call, phase)| Entry::Killed { call, phase }),
        (id(), server, work()).prop_map(|(id, server, work)| Entry::Started { id, server, work }),
        (id(), how).prop_map(|(id, how)| Entry::Ended { id, how }),
        (any::<u8>(), phase()).prop_map(|(migration, phase)| Entry::PhaseChanged { migration, phase }),
        Just(Entry::Quiet),
        Just(Entry::Drained),
        (monitor(), node()).prop_map(|(monitor, on)| Entry::Monitored { monitor, on }),
        (monitor(), any::<u8>()).prop_map(|(monitor, reason)| Entry::MonitorDown { monitor, reason }),
        monitor().prop_map(|monitor| Entry::Demonitored { monitor }),
        any::<u64>().prop_map(|waited_us| Entry::Beat { waited_us }),
        node().prop_map(|node| Entry::Away { node }),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was(at_us: u64, entry in any_entry()) {
        let record = Record { at_us, entry };
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn no_single_changed_byte_passes_for_another_record(
        at_us: u64, entry in any_entry(), at in 0..RECORD_BYTES, flip in 1_u8..,
    ) {
        let record = Record { at_us, entry };
        let mut bytes = record.encode();
        bytes[at] ^= flip;
        // A check of 16 bits lets one in 65,536 pass; none may decode to what was never written there.
        if let Ok(decoded) = Record::decode(&bytes) {
            prop_assert_ne!(decoded, record);
        }
    }
}

#[test]
fn codes_are_frozen() {
    let codes = |all: &[(u8, &str)]| all.iter().map(|(c, t)| format!("{c} {t}")).collect::<Vec<_>>().join(", ");
    let work: Vec<_> = Work::ALL.iter().map(|w| (w.code(), w.as_str())).collect();
    assert_eq!(codes(&work), "1 reply, 2 fail, 3 hold, 4 bulk, 5 stream, 6 question, 7 vote");
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|o| (o.code(), o.as_str())).collect();
    assert_eq!(
        codes(&outcomes),
        "1 reply, 2 wrong_reply, 3 failed_as_asked, 4 down, 5 connection_lost, 6 no_such_server, 7 no_such_function, \
         8 draining, 9 dropped, 10 incompatible, 11 other_exit, 12 timed_out, 13 stream_done, \
         14 stream_cancelled"
    );
    let endings: Vec<_> = Ending::ALL.iter().map(|e| (e.code(), e.as_str())).collect();
    assert_eq!(codes(&endings), "1 done, 2 failed, 3 dropped");
    let contents: Vec<_> = Content::ALL.iter().map(|c| (c.code(), c.as_str())).collect();
    assert_eq!(codes(&contents), "1 right, 2 wrong");
    let forms: Vec<_> = GatherForm::ALL.iter().map(|f| (f.code(), f.as_str())).collect();
    assert_eq!(codes(&forms), "1 first, 2 majority, 3 hedged");
    let ends: Vec<_> = GatherEnd::ALL.iter().map(|e| (e.code(), e.as_str())).collect();
    assert_eq!(codes(&ends), "1 reached, 2 too_few, 3 timed_out, 4 refused, 5 given_up");
}

#[test]
fn a_record_has_its_golden_bytes() {
    let id = CallId { caller: NodeIndex(0x0201), incarnation: Incarnation(0x0a), call: CallNumber(0x0b) };
    let entry = Entry::Started { id, server: ServerAddress::PerNode, work: Work::Hold };
    let bytes = Record { at_us: 0x0c, entry }.encode();
    assert_eq!(bytes[..14], [0x0c, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 0, 0x01, 0x02]);
    assert_eq!(bytes[16..], [0x0b, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn the_records_of_streams_questions_and_gathers_have_their_golden_bytes() {
    let bytes = |entry| {
        let bytes = Record { at_us: 0, entry }.encode();
        ([bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13]], bytes[16], bytes[24..].to_vec())
    };
    let (call, gather) = (CallNumber(9), CallNumber(9));
    let id = CallId { caller: NodeIndex(2), incarnation: Incarnation(7), call };
    let (nobody, life) = (vec![0; 8], vec![7, 0, 0, 0, 0, 0, 0, 0]);
    let content = Content::Wrong;
    let started = Entry::StreamStarted { call, items: 0x0102, window: 5 };
    assert_eq!(bytes(started), ([12, 2, 1, 5, 0, 0], 9, nobody.clone()));
    assert_eq!(bytes(Entry::StreamCancelled { call }), ([13, 0, 0, 0, 0, 0], 9, nobody.clone()));
    assert_eq!(bytes(Entry::ItemSent { id, index: 0x0102 }), ([14, 2, 1, 0, 2, 0], 9, life.clone()));
    let received = Entry::ItemReceived { call, index: 0x0102, content, kib: 0x0304 };
    assert_eq!(bytes(received), ([15, 2, 1, 2, 4, 3], 9, nobody.clone()));
    assert_eq!(bytes(Entry::Asked { id, index: 1 }), ([16, 1, 0, 0, 2, 0], 9, life.clone()));
    assert_eq!(bytes(Entry::Responded { call, index: 1, content }), ([17, 1, 2, 0, 0, 0], 9, nobody));
    assert_eq!(bytes(Entry::ResponseHeard { id, index: 1, content }), ([18, 1, 2, 0, 2, 0], 9, life));
    let (form, members) = (GatherForm::Hedged, [0, 2].map(NodeIndex).into_iter().collect());
    let begun = Entry::GatherBegun { gather, form, need: 2, members, limit_ms: 0x0102 };
    assert_eq!(bytes(begun), ([19, 3, 2, 0, 0, 0], 9, vec![5, 0, 0, 0, 2, 1, 0, 0]));
    let (how, votes, wrong) = (GatherEnd::TooFew, NodeSet(2), NodeSet(4));
    let ended = Entry::GatherEnded { gather, how, votes, wrong, odd: Some(Outcome::NoSuchServer) };
    assert_eq!(bytes(ended), ([20, 2, 6, 0, 0, 0], 9, vec![2, 0, 0, 0, 4, 0, 0, 0]));
}

#[test]
fn a_set_of_nodes_holds_the_first_thirty_two() {
    let set: NodeSet = [0, 31, 31].map(NodeIndex).into_iter().collect();
    assert_eq!((set, set.len(), set.is_empty()), (NodeSet(0x8000_0001), 2, false));
    assert!(set.has(NodeIndex(31)) && !set.has(NodeIndex(32)) && !set.has(NodeIndex(1)));
    assert_eq!(set.with(NodeIndex(32)), set, "one more than fits");
    assert_eq!(set.nodes().collect::<Vec<_>>(), [NodeIndex(0), NodeIndex(31)]);
    assert!(NodeSet::default().is_empty());
}

struct Written {
    _dir: TempDir,
    path: PathBuf,
}

fn write(entries: &[Entry]) -> Written {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("n2.ledger");
    let writer = LedgerWriter::create(&path, &header()).expect("created");
    for entry in entries {
        writer.append(&[*entry]).expect("appended");
    }
    Written { _dir: dir, path }
}

fn three() -> [Entry; 3] {
    let (call, to) = (CallNumber(1), NodeIndex(0));
    [
        Entry::Cast { call, to, work: Work::Bulk, phase: Phase::Introduce },
        Entry::Answered { call, outcome: Outcome::Down },
        Entry::Quiet,
    ]
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_file_comes_back_as_it_was_written() {
    let written = write(&three());
    let ledger = LedgerReader::read(&written.path).expect("read");
    assert_eq!(ledger.header, header());
    assert_eq!(ledger.records.iter().map(|r| r.entry).collect::<Vec<_>>(), three());
    assert!(ledger.records.windows(2).all(|w| w[0].at_us <= w[1].at_us), "time fell");
    assert!(ledger.records[0].at_us > 1_600_000_000_000_000, "not microseconds since 1970");
    assert!(!ledger.torn);
}

#[test]
fn a_torn_last_record_is_left_out_and_reported_at_every_length() {
    for cut in 1..RECORD_BYTES {
        let written = write(&three());
        change(&written.path, |bytes| bytes.truncate(bytes.len() - cut));
        let ledger = LedgerReader::read(&written.path).expect("read");
        assert_eq!(ledger.records.len(), 2);
        assert!(ledger.torn);
    }
    let written = write(&three());
    change(&written.path, |bytes| bytes.truncate(bytes.len() - RECORD_BYTES));
    assert!(!LedgerReader::read(&written.path).expect("read").torn, "a whole record less is not torn");
}

#[test]
fn a_damaged_record_is_an_error_that_names_file_and_offset() {
    let written = write(&three());
    let len = fs::metadata(&written.path).expect("there").len();
    let second = len - 2 * RECORD_BYTES as u64;
    change(&written.path, |bytes| bytes[usize::try_from(second).expect("small") + 9] ^= 0x40);
    let error = LedgerReader::read(&written.path).expect_err("damaged");
    assert!(matches!(error, LedgerError::Damaged { offset, .. } if offset == second), "{error}");
    let text = error.to_string();
    assert!(text.contains("n2.ledger") && text.contains(&format!("byte {second}")), "{text}");
}

#[test]
fn fields_that_make_no_sense_are_damage_though_the_check_fits() {
    let sealed = |at: usize, value: u8| {
        let mut bytes = Record { at_us: 5, entry: three()[0] }.encode();
        bytes[at] = value;
        bytes[14..16].fill(0);
        let sum = record::check(&bytes);
        bytes[14..16].copy_from_slice(&sum.to_le_bytes());
        Record::decode(&bytes)
    };
    assert!(sealed(12, 1).is_ok(), "another node is another record");
    assert_eq!(sealed(8, 0), Err(Damage::Kind(0)));
    assert_eq!(sealed(8, 23), Err(Damage::Kind(23)));
    assert_eq!(sealed(9, 9), Err(Damage::Code(9)));
    assert_eq!(sealed(10, 5), Err(Damage::Code(5)));
    assert_eq!(sealed(11, 1), Err(Damage::Spare));
    assert_eq!(sealed(31, 1), Err(Damage::Spare));
}

#[test]
fn headers_that_are_cut_damaged_or_of_another_format_are_told_apart() {
    let read = |edit: &dyn Fn(&mut Vec<u8>)| {
        let written = write(&[]);
        change(&written.path, edit);
        LedgerReader::read(&written.path)
    };
    assert!(read(&|_| {}).is_ok());
    assert!(matches!(read(&|b| b.truncate(0)), Err(LedgerError::NotALedger { .. })));
    assert!(matches!(read(&|b| b.truncate(b.len() - 1)), Err(LedgerError::NotALedger { .. })));
    assert!(matches!(read(&|b| b[0] = b'R'), Err(LedgerError::NotALedger { .. })));
    assert!(matches!(read(&|b| b[8] = 2), Err(LedgerError::UnknownFormat { format: 2, .. })));
    assert!(matches!(read(&|b| b[20] ^= 1), Err(LedgerError::DamagedHeader { .. })));
    let missing = LedgerReader::read("no/such.ledger");
    assert!(matches!(missing, Err(LedgerError::Read { .. })));
}

#[test]
fn a_ledger_is_never_written_over() {
    let written = write(&three());
    let again = LedgerWriter::create(&written.path, &header());
    assert!(matches!(again, Err(LedgerError::Create { .. })));
    assert_eq!(LedgerReader::read(&written.path).expect("read").records.len(), 3);
}

#[test]
fn the_longest_release_name_fits_and_one_byte_more_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let release = |len: usize| Version::parse(&format!("1.0.0-{}", "a".repeat(len - 6))).expect("a version");
    let longest = LedgerHeader { release: release(255), ..header() };
    LedgerWriter::create(dir.path().join("a"), &longest).expect("fits");
    assert_eq!(LedgerReader::read(dir.path().join("a")).expect("read").header, longest);
    let longer = LedgerHeader { release: release(256), ..header() };
    let refused = LedgerWriter::create(dir.path().join("b"), &longer);
    assert!(matches!(refused, Err(LedgerError::LongRelease { .. })));
}

#[test]
fn many_threads_append_whole_records() {
    let written = write(&[]);
    let path = written.path.with_extension("shared");
    let writer = LedgerWriter::create(&path, &header()).expect("created");
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let writer = &writer;
            scope.spawn(move || {
                for n in 0..500 {
                    let call = CallNumber(thread * 1_000 + n);
                    writer.append(&[Entry::Answered { call, outcome: Outcome::Reply }]).expect("appended");
                }
            });
        }
    });
    let ledger = LedgerReader::read(&path).expect("read");
    assert_eq!(ledger.records.len(), 2_000);
    assert!(ledger.records.windows(2).all(|w| w[0].at_us <= w[1].at_us), "time fell");
}
