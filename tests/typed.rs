//! Typed functions between two real nodes: what is declared is what is run, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use futures_util::StreamExt;
use rexi_server::{
    AskError, Bytes, CallError, Context, Event, Function, Items, Node, NodeBuilder, QuorumError, Release, Request,
    SendError, StartError, calls::VoteError, functions,
};
use rexi_tests::{Cluster, RELEASES, name, release, within};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    database: String,
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Refused {
    NoSuchDatabase(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::NoSuchDatabase(name) = self;
        write!(f, "there is no database {name}")
    }
}

rexi_server::function! {
    /// Finds a document.
    Get = "get" (Key) -> Option<Vec<u32>>, error Refused, since 1.0;
    /// Of no use to anybody.
    Nothing = "nothing-much" () -> (), error Refused, since 1.0;
    /// Run since 1.2, called since 2.0.
    Put = "put" (Key, Vec<u32>) -> (), error Refused, since 1.2, emitted 2.0;
    /// Of the past.
    Compact = "compact" (String) -> (), error Refused, since 1.0, retired 2.0;
    /// Of a release that is to come.
    Late = "late" () -> (), error Refused, since 3.0;
}

rexi_server::function! {
    /// Gives back what it is given.
    Echo = "echo-bytes" (Bytes) -> Bytes, error Refused, since 1.0;
    /// As many bytes at once.
    Parts = "bytes-in-parts" (Bytes, u32) -> stream Bytes, error Refused, since 1.0;
}

/// Functions of the same names, as a build declares them that nobody checked.
mod other {
    use serde::{Deserialize, Serialize};

    /// The same layout, with its fields swapped.
    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Key {
        pub(super) id: String,
        pub(super) database: String,
    }

    rexi_server::function! {
        pub(super) GetSwapped = "get" (Key) -> Option<Vec<u32>>, error super::Refused, since 1.0;
        pub(super) GetSigned = "get" (super::Key) -> Option<Vec<i32>>, error super::Refused, since 1.0;
    }
}

fn key(database: &str) -> Key {
    Key { database: database.to_owned(), id: "a".to_owned() }
}

async fn get(_job: Context, key: Key) -> Result<Option<Vec<u32>>, Refused> {
    match key.database.as_str() {
        "full" => Ok(Some(vec![1, 2, 300])),
        "empty" => Ok(None),
        other => Err(Refused::NoSuchDatabase(other.to_owned())),
    }
}

/// Two connected nodes of one release, the second built further by `build`.
async fn pair(number: &str, build: impl FnOnce(NodeBuilder) -> NodeBuilder) -> (Node, Node) {
    let cluster = Cluster::new(["n1", "n2"]);
    let n1 = cluster.start("n1", number);
    let n2 = build(cluster.builder("n2", release(number))).start().expect("n2 starts");
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    (n1, n2)
}

#[tokio::test]
async fn a_typed_call_has_a_typed_reply_in_every_mode() {
    for number in rexi_tests::RELEASES {
        let (n1, _n2) = pair(number, |n2| n2.serve(Get, get)).await;
        let n2 = name("n2");
        let ask = |database| n1.ask(Get, &n2, &key(database));
        assert_eq!(within("the value", ask("full")).await, Ok(Some(vec![1, 2, 300])), "release {number}");
        assert_eq!(within("no value", ask("empty")).await, Ok(None), "release {number}");
        let error = AskError::Function(Refused::NoSuchDatabase("lost".to_owned()));
        let told = within("the error", ask("lost")).await;
        assert_eq!(told, Err(error), "release {number}");
        assert!(!told.expect_err("an error").did_not_run());
    }
}

#[tokio::test]
async fn bytes_are_an_argument_a_reply_and_an_item() {
    let parts = async |mut items: Items<Parts>, (body, length): (Bytes, u32)| {
        for part in body.chunks(length as usize) {
            items.send(&body.slice_ref(part)).await;
        }
        Ok(None)
    };
    let (n1, _n2) = pair("2.0", |n2| n2.serve(Echo, async |_, body| Ok(body)).serve_stream(Parts, parts)).await;
    let (n2, body) = (name("n2"), Bytes::from_static(b"as they are"));
    assert_eq!(within("the reply", n1.ask(Echo, &n2, &body)).await, Ok(body.clone()));
    let items = n1.ask_stream(Parts, &n2, &(body, 5));
    let items: Vec<_> = within("the items", items.collect()).await;
    assert_eq!(items, [&b"as th"[..], b"ey ar", b"e"].map(|part| Ok(Bytes::from_static(part))));
}

#[tokio::test]
async fn a_closure_may_serve_a_function_that_takes_nothing() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let (n1, _n2) = pair("2.0", |n2| {
        n2.serve(Nothing, move |_job, ()| {
            let count = Arc::clone(&counted);
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        })
    })
    .await;
    assert_eq!(within("the reply", n1.ask(Nothing, &name("n2"), &())).await, Ok(()));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// A pair whose `get` counts how often it has run.
async fn counting_pair() -> (Node, Node, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ran);
    let (n1, n2) = pair("2.0", |n2| {
        n2.serve(Get, move |job, key| {
            counted.fetch_add(1, Ordering::Relaxed);
            get(job, key)
        })
    })
    .await;
    (n1, n2, ran)
}

#[tokio::test]
async fn an_argument_of_another_type_is_a_typed_exit_and_nothing_runs() {
    let (n1, _n2, ran) = counting_pair().await;
    let swapped = other::Key { id: "full".to_owned(), database: "a".to_owned() };
    let told = within("the exit", n1.ask(other::GetSwapped, &name("n2"), &swapped)).await;
    let Err(AskError::Call(error @ CallError::WrongArgument { .. })) = told else { panic!("{told:?}") };
    assert!(error.did_not_run());
    let text = error.to_string();
    assert!(text.contains("get") && text.contains("Key"), "{text}");
    assert_eq!(ran.load(Ordering::Relaxed), 0, "the function did not run");
    assert!(within("a good call", n1.ask(Get, &name("n2"), &key("full"))).await.is_ok());
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn raw_bytes_to_a_typed_function_are_a_typed_exit() {
    let (n1, _n2, ran) = counting_pair().await;
    for bytes in [&b""[..], b"raw", b"more than four bytes", &[255; 100], &[0; 100]] {
        let request = Request::new("get", Bytes::copy_from_slice(bytes));
        let told = within("the exit", n1.call(&name("n2"), request)).await;
        assert!(matches!(&told, Err(CallError::WrongArgument { function, .. }) if &**function == "get"), "{told:?}");
    }
    assert_eq!(ran.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_reply_of_another_type_is_an_error_at_the_caller() {
    let (n1, _n2, ran) = counting_pair().await;
    let told = within("the reply", n1.ask(other::GetSigned, &name("n2"), &key("full"))).await;
    assert!(matches!(&told, Err(AskError::Call(CallError::WrongReply { .. }))), "{told:?}");
    assert!(!told.expect_err("an error").did_not_run());
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    // A raw function's reply is not a typed one either.
    let body = within("the echo", n1.call(&name("n2"), Request::new("echo", "hello"))).await.expect("an echo");
    let read = functions::reply(Get, &body);
    assert!(matches!(read, Err(AskError::Call(CallError::WrongReply { .. }))), "{read:?}");
}

#[tokio::test]
async fn a_function_is_not_called_before_its_release() {
    let argument = (key("full"), vec![1]);
    let (n1, n2) = pair("1.2", |n2| n2.serve(Put, |_, _| async { Ok(()) })).await;
    let told = within("the refusal", n1.ask(Put, &name("n2"), &argument)).await;
    let Err(AskError::Call(CallError::Send(SendError::NotEmitted { row, release }))) = &told else {
        panic!("{told:?}");
    };
    assert_eq!((&*row.name, row.emitted_since, *release), ("put", Release(2, 0, 0), Release(1, 2, 0)));
    assert!(told.expect_err("a refusal").did_not_run());
    let mailbox = n1.mailbox();
    assert!(matches!(mailbox.cast(&name("n2"), Request::of(Put, &argument)), Err(SendError::NotEmitted { .. })));
    assert_eq!((mailbox.open_calls(), n1.status().calls, n2.status().jobs), (0, 0, 0), "nothing was sent");
    let (n1, _n2) = pair("2.0", |n2| n2.serve(Put, |_, _| async { Ok(()) })).await;
    assert_eq!(within("the reply", n1.ask(Put, &name("n2"), &argument)).await, Ok(()));
    let retired = within("the refusal", n1.ask(Compact, &name("n2"), &"full".to_owned())).await;
    let Err(AskError::Call(error)) = retired else { panic!("{retired:?}") };
    assert!(matches!(error, CallError::Send(SendError::NotEmitted { .. })), "{error}");
}

#[tokio::test]
async fn a_node_leaves_out_what_its_release_does_not_have_and_refuses_what_none_has() {
    let all = |number| {
        let node = Cluster::new(["n1"]).builder("n1", release(number)).serve(Compact, |_, _| async { Ok(()) });
        node.serve(Put, |_, _| async { Ok(()) })
    };
    let served = |number| {
        let node = all(number).start().expect("some release has each");
        let names: Vec<String> = node.functions().map(|(name, _)| name.to_owned()).collect();
        ["compact", "put"].map(|function| names.iter().any(|name| name == function))
    };
    assert_eq!(served("1.1"), [true, false], "put is accepted since 1.2");
    assert_eq!(served("2.0"), [false, true], "compact is retired in 2.0");
    let n1 = all("1.2").start().expect("1.2 has both");
    let rows: Vec<_> = n1.functions().map(|(name, row)| (name, row.cloned())).collect();
    assert!(rows.contains(&("compact", Some(Compact::LIFE.row(Compact::NAME)))), "{rows:?}");
    assert!(rows.contains(&("echo", None)), "{rows:?}");
    let twice = all("1.2").function("compact", |_, _| async { Ok::<_, String>(()) });
    assert!(matches!(twice.start(), Err(StartError::FunctionTwice(name)) if name == "compact"));
    let late = Cluster::new(["n1"]).builder("n1", release("2.0")).serve(Late, |_, _| async { Ok(()) });
    let refused = late.start().expect_err("no release has it").to_string();
    assert_eq!(
        refused,
        "no release of the train (1.0, 1.1, 1.2, 2.0) has the function late (accepted since 3.0, emitted since 3.0, \
         not retired); do not serve it, or correct its row"
    );
}

#[tokio::test]
async fn a_typed_request_may_be_cast_into_any_mailbox() {
    let (n1, _n2) = pair("2.0", |n2| n2.serve(Get, get)).await;
    let mut mailbox = n1.mailbox();
    mailbox.cast(&name("n2"), Request::of(Get, &key("full")).nonce(7)).expect("n2 is a member");
    let event = within("the reply", mailbox.recv()).await;
    let Event::Answer(_, rexi_server::Answer::Reply { body, .. }) = event else { panic!("{event:?}") };
    assert_eq!(functions::reply(Get, &body), Ok(Some(vec![1, 2, 300])));
}

#[tokio::test]
async fn an_argument_that_cannot_be_encoded_is_not_sent() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Partial {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maybe: Option<u8>,
    }
    rexi_server::function! {
        Take = "take" (Partial) -> (), error String, since 1.0;
    }
    let (n1, _n2) = pair("2.0", |n2| n2.serve(Take, |_, _| async { Ok(()) })).await;
    let told = within("the refusal", n1.ask(Take, &name("n2"), &Partial { maybe: None })).await;
    let Err(AskError::Call(error @ CallError::Send(SendError::NotEncoded { .. }))) = told else { panic!("{told:?}") };
    assert!(error.to_string().contains("maybe"), "{error}");
    assert_eq!(within("the reply", n1.ask(Take, &name("n2"), &Partial { maybe: Some(1) })).await, Ok(()));
}

rexi_server::function! {
    /// The numbers below a number, which is the last; none for none.
    Count = "count" (u32) -> stream u32, error String, since 1.0;
}

async fn count(mut items: Items<Count>, end: u32) -> Result<Option<u32>, String> {
    if end == 99 {
        items.send(&0).await;
        return Err("99 is too many".to_owned());
    }
    for number in 0..end {
        items.send(&number).await;
    }
    Ok((end > 0).then_some(end))
}

#[tokio::test]
async fn a_typed_stream_gives_its_items_and_its_own_error() {
    for number in RELEASES {
        let cluster = Cluster::new(["n1", "n2"]);
        let start = |of| cluster.builder(of, release(number)).serve_stream(Count, count).start();
        let (n1, _n2) = (start("n1").expect("it starts"), start("n2").expect("it starts"));
        for (end, expected) in [(0, vec![]), (7, (0..=7).map(Ok).collect()), (99, vec![Ok(0), Err("99 is too many")])] {
            let items = n1.ask_stream(Count, &name("n2"), &end);
            let items: Vec<Result<u32, AskError<String>>> = within("the items", items.collect()).await;
            let expected: Vec<_> =
                expected.into_iter().map(|item| item.map_err(|e: &str| AskError::Function(e.to_owned()))).collect();
            assert_eq!(items, expected, "release {number}");
        }
        let wrong = n1.stream(&name("n2"), Request::new("count", "not a number")).expect("a member");
        let wrong: Vec<_> = within("the exit", wrong.collect()).await;
        assert!(matches!(&wrong[..], [Err(CallError::WrongArgument { .. })]), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_functions_own_error_does_not_count_in_a_typed_quorum() {
    let cluster = Cluster::new(["n1", "n2", "n3"]);
    let nodes = ["n1", "n2", "n3"].map(|of| {
        let builder = cluster.builder(of, release("2.0"));
        let finds = of != "n3";
        let serves = builder.serve(Get, move |_, key: Key| async move {
            if finds { Ok(Some(vec![7])) } else { Err(Refused::NoSuchDatabase(key.database)) }
        });
        serves.start().expect("it starts")
    });
    within("n1 to be ready", nodes[0].ready()).await;
    let ask = || nodes[0].ask_quorum(Get, ["n1", "n2", "n3"].map(name), &key("users"));
    let votes = within("the quorum", ask().run()).await.expect("two are enough");
    assert!(votes.len() == 2 && votes.iter().all(|vote| vote.value == Some(vec![7])), "{votes:?}");
    let Err(QuorumError::TooFew { failed, .. }) = within("the error", ask().all().run()).await else {
        panic!("n3 has no such database");
    };
    let refused = VoteError::Function(AskError::Function(Refused::NoSuchDatabase("users".to_owned())));
    assert_eq!(failed, [(name("n3"), refused)]);
}

/// Bytes that tell where they were decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Traced(Vec<u8>);

static DECODED: Mutex<Vec<(usize, ThreadId)>> = Mutex::new(Vec::new());

impl<'de> Deserialize<'de> for Traced {
    fn deserialize<D: serde::Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Traced")]
        struct Plain(Vec<u8>);
        let Plain(bytes) = Plain::deserialize(decoder)?;
        DECODED.lock().expect("nothing panics").push((bytes.len(), thread::current().id()));
        Ok(Self(bytes))
    }
}

rexi_server::function! {
    /// Gives back what it is given.
    Mirror = "mirror" (Traced) -> Traced, error Refused, since 1.0;
}

#[tokio::test]
async fn a_large_payload_is_decoded_where_it_holds_nobody_up() {
    let cluster = Cluster::new(["n1", "n2"]);
    let serve = |of: &str| {
        let builder = cluster.builder(of, release("2.0"));
        builder.serve(Mirror, |_, traced: Traced| async move { Ok(traced) }).start().expect("it starts")
    };
    let (n1, n2) = (serve("n1"), serve("n2"));
    within("both to be ready", async { tokio::join!(n1.ready(), n2.ready()) }).await;
    // The runtime of a test has one thread, which is this one.
    let here = thread::current().id();
    // A shape and a length before the bytes.
    for (bytes, is_here) in [(1, true), ((64 << 10) - 8, true), ((64 << 10) + 1, false), (1 << 20, false)] {
        let sent = Traced(vec![7; bytes]);
        let answer = within("the answer", n1.ask(Mirror, &name("n2"), &sent)).await;
        assert_eq!(answer, Ok(sent));
        let decoded: Vec<_> = std::mem::take(&mut *DECODED.lock().expect("nothing panics"));
        assert_eq!(decoded.iter().map(|(length, _)| *length).collect::<Vec<_>>(), [bytes; 2], "at both ends");
        assert!(decoded.iter().all(|&(_, thread)| (thread == here) == is_here), "{bytes} bytes: {decoded:?}");
    }
}
