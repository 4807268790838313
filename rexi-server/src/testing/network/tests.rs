//! What the network in memory loses, delays and never forgets.

use std::future::poll_fn;

use super::*;

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 4_000))
}

fn pair(network: &Network) -> [Arc<dyn AsyncUdpSocket>; 2] {
    [1, 2].map(|host| network.open(address(host)).expect("the address is free"))
}

fn send(socket: &Arc<dyn AsyncUdpSocket>, to: u8, contents: &[u8], segment_size: Option<usize>) {
    let ecn = Some(EcnCodepoint::Ect0);
    let transmit = Transmit { destination: address(to), ecn, contents, segment_size, src_ip: None };
    socket.try_send(&transmit).expect("a send never waits");
}

/// Reads at most two datagrams.
async fn recv(socket: &Arc<dyn AsyncUdpSocket>) -> Vec<(Vec<u8>, RecvMeta)> {
    let (mut one, mut two) = ([0; 1_500], [0; 1_500]);
    let mut meta = [RecvMeta::default(); 2];
    let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
    let read = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await.expect("a socket that is open");
    bufs.iter().zip(meta).take(read).map(|(buf, meta)| (buf[..meta.len].to_vec(), meta)).collect()
}

async fn texts(socket: &Arc<dyn AsyncUdpSocket>) -> Vec<String> {
    let read = recv(socket).await;
    read.into_iter().map(|(bytes, _)| String::from_utf8(bytes).expect("text")).collect()
}

/// Whether nothing comes within a minute.
async fn silent(socket: &Arc<dyn AsyncUdpSocket>) -> bool {
    tokio::time::timeout(Duration::from_secs(60), recv(socket)).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_datagram_arrives_after_its_delay_with_its_sender_and_its_marks() {
    let network = Network::new(1);
    let [one, two] = pair(&network);
    network.change(address(1).ip(), address(2).ip(), |link| link.delay = Duration::from_millis(70));
    let sent = Instant::now();
    send(&one, 2, b"hello", None);
    let read = recv(&two).await;
    assert_eq!(sent.elapsed().as_millis(), 70);
    let (bytes, meta) = &read[0];
    assert_eq!((bytes.as_slice(), meta.addr, meta.stride), (&b"hello"[..], address(1), 5));
    assert_eq!((meta.ecn, meta.dst_ip), (Some(EcnCodepoint::Ect0), Some(address(2).ip())));
}

#[tokio::test(start_paused = true)]
async fn several_datagrams_in_one_send_arrive_as_several_in_order() {
    let [one, two] = pair(&Network::new(1));
    send(&one, 2, b"aabbc", Some(2));
    assert_eq!(texts(&two).await, ["aa", "bb"]);
    assert_eq!(texts(&two).await, ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_a_later_datagram_is_woken_by_an_earlier_one() {
    let network = Network::new(1);
    let [one, two] = pair(&network);
    let three = network.open(address(3)).expect("the address is free");
    network.change(address(1).ip(), address(2).ip(), |link| link.delay = Duration::from_secs(9));
    send(&one, 2, b"late", None);
    let reader = tokio::spawn(async move { [texts(&two).await, texts(&two).await] });
    tokio::task::yield_now().await;
    let sent = Instant::now();
    send(&three, 2, b"soon", None);
    assert_eq!(reader.await.expect("no panic"), [["soon"], ["late"]]);
    assert_eq!(sent.elapsed().as_millis(), 9_000);
}

#[tokio::test(start_paused = true)]
async fn a_cut_loses_what_is_sent_and_what_is_on_its_way_in_one_direction() {
    let network = Network::new(1);
    let [one, two] = pair(&network);
    let (from, to) = (address(1).ip(), address(2).ip());
    send(&one, 2, b"on its way", None);
    network.change(from, to, |link| link.cut = true);
    send(&one, 2, b"sent", None);
    assert!(silent(&two).await);
    send(&two, 1, b"back", None);
    assert_eq!(texts(&one).await, ["back"]);
    network.heal_all();
    send(&one, 2, b"healed", None);
    assert_eq!(texts(&two).await, ["healed"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_chosen_by_the_seed() {
    async fn arrived(seed: u64) -> Vec<u8> {
        let network = Network::new(seed);
        let [one, two] = pair(&network);
        network.change(address(1).ip(), address(2).ip(), |link| link.loss = 0.5);
        (0..200).for_each(|number| send(&one, 2, &[number], None));
        let mut arrived = Vec::new();
        while let Ok(read) = tokio::time::timeout(Duration::from_secs(1), recv(&two)).await {
            arrived.extend(read.into_iter().map(|(bytes, _)| bytes[0]));
        }
        arrived
    }
    let first = arrived(7).await;
    assert!((60..140).contains(&first.len()), "{}", first.len());
    assert_eq!(arrived(7).await, first);
    assert_ne!(arrived(8).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_datagram_can_come_twice_and_each_copy_is_shown() {
    let network = Network::new(1);
    let [one, two] = pair(&network);
    network.change(address(1).ip(), address(2).ip(), |link| link.twice = 1.0);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&shown);
    let start = Instant::now();
    network.observe(Box::new(move |seen: &Datagram<'_>| {
        let arrives = seen.arrives.map(|at| at - start);
        log.lock().expect("a lock").push((seen.at - start, seen.from, seen.to, seen.bytes.to_vec(), arrives));
    }));
    send(&one, 2, b"x", None);
    network.change(address(1).ip(), address(2).ip(), |link| link.cut = true);
    send(&one, 2, b"y", None);
    let (sent, arrives) = (Duration::ZERO, Some(DELAY));
    let expected = [(b"x", arrives), (b"x", arrives), (b"y", None)];
    let expected = expected.map(|(bytes, arrives)| (sent, address(1), address(2), bytes.to_vec(), arrives));
    assert_eq!(*shown.lock().expect("a lock"), expected);
    network.heal_all();
    send(&one, 2, b"z", None);
    let mut read = texts(&two).await;
    read.extend(texts(&two).await);
    assert_eq!(read, ["x", "x", "z"]);
}

#[tokio::test(start_paused = true)]
async fn datagrams_overtake_each_other_as_the_seed_wants_it_and_none_is_lost() {
    async fn arrived(seed: u64) -> Vec<u8> {
        let network = Network::new(seed);
        let [one, two] = pair(&network);
        network.change(address(1).ip(), address(2).ip(), |link| link.jitter = Duration::from_millis(20));
        (0..100).for_each(|number| send(&one, 2, &[number], None));
        let mut arrived = Vec::new();
        while arrived.len() < 100 {
            arrived.extend(recv(&two).await.into_iter().map(|(bytes, _)| bytes[0]));
        }
        arrived
    }
    let first = arrived(7).await;
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_ne!(first, sorted);
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert_eq!(arrived(7).await, first);
    assert_ne!(arrived(8).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_a_datagram_that_is_too_long_are_losses() {
    let [one, two] = pair(&Network::new(1));
    send(&one, 2, &[0; DATAGRAM_BYTES_MAX + 1], None);
    assert!(silent(&two).await);
    send(&one, 2, &[0; DATAGRAM_BYTES_MAX], None);
    assert_eq!(recv(&two).await[0].0.len(), DATAGRAM_BYTES_MAX);
    (0..QUEUE_LENGTH_MAX + 10).for_each(|_| send(&one, 2, b"x", None));
    let mut arrived = 0;
    while let Ok(read) = tokio::time::timeout(Duration::from_secs(1), recv(&two)).await {
        arrived += read.len();
    }
    assert_eq!(arrived, QUEUE_LENGTH_MAX);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_free_once_its_socket_is_closed_and_the_old_one_is_deaf_and_mute() {
    let network = Network::new(1);
    let [one, two] = pair(&network);
    let taken = network.open(address(1)).expect_err("taken");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    network.close(address(1));
    let again = network.open(address(1)).expect("free");
    send(&one, 2, b"from the dead", None);
    send(&two, 1, b"to the living", None);
    assert!(silent(&one).await);
    drop(one);
    assert_eq!(texts(&again).await, ["to the living"]);
    assert!(silent(&two).await);
    drop(again);
    network.open(address(1)).expect("free again");
    let any = network.open(SocketAddr::from(([10, 0, 0, 1], 0))).expect("a free port");
    assert_eq!(any.local_addr().expect("known").port(), 49_152);
}
