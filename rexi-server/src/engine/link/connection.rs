//! One connection in use: a reader, a writer, and payloads on QUIC streams of their own.
//!
//! In: a connection on which both ends have agreed. Out: its end, reported to the member. The reader hands the bytes of
//! the ordered lane to the protocol's state as they come; the writer takes all that is encoded at once and writes it
//! with one call. Large payloads travel alongside the lane, at lower priority, so that small calls do not wait behind
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, WriteError};
use rexi_proto::{BulkId, CloseCode, ConnectionId, READ_BYTES_MAX, STREAM_WINDOW_BYTES};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::engine::link::handshake::Established;
use crate::engine::link::lane::{BULK_PRIORITY, Lane, Transfer};
use crate::engine::link::silence;
use crate::engine::member::{LEFT, Member};
use crate::engine::shared::Shared;
use crate::net::{canonical, close};

/// Why a connection is no longer in use.
enum End {
    /// The peer has finished its lane, which it does before it leaves; or we leave, and read no more.
    Finished,
    /// It was closed, by either side, or timed out.
    Lost(String),
    /// We are leaving, and the peer has all that we had to say.
    Flushed,
    /// The peer did not read.
    TooSlow,
    /// The peer has reset its lane, or stopped ours, which no sound one does.
    Reset,
}

/// Serves an agreed connection until it ends.
pub(crate) async fn run(shared: &Arc<Shared>, established: Established) {
    let Established { member, connection, send, mut recv, session, said, release, met } = established;
    let address = canonical(connection.remote_address());
    shared.doorman.admit(address);
    let wire = session.wire;
    if shared.flush.is_cancelled() {
        // What a peer sent now would be neither run nor answered.
        return close(&connection, CloseCode::Shutdown, "this node is leaving");
    }
    let attached = member.attach(&connection, session, release);
    drop(met);
    let Some(id) = attached else {
        let (code, reason) = match member.has_left() {
            true => (CloseCode::NotTrusted, LEFT),
            false => (CloseCode::Replaced, "a later start of this node has said hello"),
        };
        return close(&connection, code, reason);
    };
    if let Some(unsaid) = member.lines.connected.next() {
        tracing::info!(node = %shared.name, peer = %member.name(), %address, %wire, unsaid, "connected");
    }
    // The record may have moved between the verdict and now, when there was no connection to be closed for it.
    if shared.record_word() != said {
        member.detach(id, false);
        return close(&connection, CloseCode::TryAgain, "the record has moved since the hello");
    }
    shared.tell_brakes(member.name());
    let bulk = shared.spawn(accept_bulk(Arc::clone(shared), Arc::clone(&member), connection.clone(), id));
    let writer = Writer { shared: Arc::clone(shared), member: Arc::clone(&member), connection: connection.clone(), id };
    let mut writer = shared.spawn(writer.run(send));
    let mut end = tokio::select! {
        biased;
        end = &mut writer => of_writer(end),
        end = read(shared, &member, id, &mut recv) => end,
        never = silence::probe(&connection, &shared.limits) => match never {},
    };
    if matches!(end, End::Finished) && shared.flush.is_cancelled() {
        // Our writer still waits for its last words to be acknowledged. The lane in is kept open, though nobody reads
        // it: a peer that is told to stop would close before it has read them.
        end = of_writer((&mut writer).await);
    }
    writer.abort();
    bulk.abort();
    finish(shared, &member, &connection, id, end).await;
}

fn of_writer(ended: Result<Option<End>, JoinError>) -> End {
    match ended {
        Ok(Some(end)) => end,
        Ok(None) => End::Lost("this node has stopped".to_owned()),
        Err(error) => End::Lost(error.to_string()),
    }
}

/// Tells the member and the operator how a connection ended.
async fn finish(shared: &Shared, member: &Arc<Member>, connection: &Connection, id: ConnectionId, end: End) {
    let address = canonical(connection.remote_address());
    let (node, peer) = (&shared.name, member.name());
    if matches!(end, End::Finished) {
        let _ = tokio::time::timeout(CLOSE_GRACE, connection.closed()).await;
    }
    // What a later connection has not read to its end yet does not belong to this one.
    let bytes = member.with(|peer, _| if peer.connection() == id { peer.incomplete_bytes() } else { 0 });
    if bytes > 0
        && let Some(unsaid) = member.lines.cut_short.next()
    {
        tracing::warn!(%node, %peer, %address, bytes, unsaid, "the lane ended in the middle of a frame");
    }
    let (code, why) = match connection.close_reason() {
        Some(ConnectionError::ApplicationClosed(closed)) => {
            (CloseCode::from_code(closed.error_code.into_inner()), closed.to_string())
        }
        _ => (None, String::new()),
    };
    let departed = code == Some(CloseCode::Shutdown);
    if code == Some(CloseCode::NotTrusted) && member.with(|peer, _| peer.connection() == id) {
        member.note_error(why, true);
    }
    let (code, reason) = match end {
        End::Finished => (CloseCode::Shutdown, "the lane was finished".to_owned()),
        // Not a shutdown, where the connection still stands: the peer must not take it for the end of this life.
        End::Lost(reason) => (CloseCode::TryAgain, reason),
        End::Flushed => (CloseCode::Shutdown, "this node is leaving".to_owned()),
        End::TooSlow => (CloseCode::TooSlow, format!("nothing was read for {WRITE_LIMIT:?}")),
        End::Reset => (CloseCode::ProtocolBroken, "the lane was reset, or stopped".to_owned()),
    };
    if let Some(unsaid) = member.lines.disconnected.next() {
        tracing::info!(%node, %peer, %address, departed, reason, unsaid, "disconnected");
    }
    // Before the close, so that no task finds a closed connection in use.
    member.detach(id, departed);
    close(connection, code, &reason);
}

/// Reads until the lane ends, or until this node leaves: what came after that would be answered forever, and our last
/// words would have no end.
async fn read(shared: &Shared, member: &Arc<Member>, id: ConnectionId, recv: &mut RecvStream) -> End {
    let leaving = shared.flush.cancelled();
    tokio::pin!(leaving);
    // Of its earlier connection.
    member.wait_caught_up().await;
    loop {
        let chunk = tokio::select! {
            biased;
            () = &mut leaving => return End::Finished,
            chunk = recv.read_chunk(READ_BYTES_MAX, true) => chunk,
        };
        match chunk {
            Ok(Some(chunk)) => {
                let read = Instant::now();
                let is_behind = member.with(|peer, now| {
                    peer.handle_bytes(now, id, &chunk.bytes);
                    peer.is_behind()
                });
                if is_behind {
                    member.wait_caught_up().await;
                }
                if read.elapsed() >= TURN {
                    // Others wait for theirs: other peers, and workers of this chunk that became tasks, which those of
                    // the next one are not to overtake.
                    tokio::task::yield_now().await;
                }
            }
            Ok(None) => return End::Finished,
            Err(ReadError::Reset(_)) => return End::Reset,
            Err(error) => return End::Lost(error.to_string()),
        }
        if let Some(singleton) = &shared.singleton {
            singleton.room().await;
        }
    }
}

/// Takes payloads off their own QUIC streams, as many at once as the transport lets the peer open. One that is complete
/// counts until its frame has come, so that a peer cannot have more of them kept than it may send at once.
async fn accept_bulk(shared: Arc<Shared>, member: Arc<Member>, connection: Connection, id: ConnectionId) {
    let places = Arc::new(Semaphore::new(shared.limits.bulk_streams_max as usize));
    let large = Arc::new(Semaphore::new(1));
    let bytes_max = shared.limits.payload_bytes_max as usize + BULK_HEADER_BYTES;
    let resets = Arc::new(AtomicUsize::new(0));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let Ok(stream) = connection.accept_uni().await else { return };
        let (member, connection, large) = (Arc::clone(&member), connection.clone(), Arc::clone(&large));
        let resets = Arc::clone(&resets);
        shared.spawn(async move {
            let _place = place;
            match read_bulk(stream, bytes_max, &large).await {
                Ok((bytes, _large)) => match bytes.split_first_chunk::<BULK_HEADER_BYTES>() {
                    Some((&header, _)) => {
                        let bulk = BulkId(u64::from_le_bytes(header));
                        let body = bytes.slice(BULK_HEADER_BYTES..);
                        member.with(|peer, now| peer.handle_bulk(now, id, bulk, body));
                        member.wait_for_frame(id, bulk).await;
                    }
                    None => close(&connection, CloseCode::BadFrame, "a payload without its number"),
                },
                Err(Unread::TooLong) => close(&connection, CloseCode::BadFrame, "a payload above the limit"),
                Err(Unread::Reset) if resets.fetch_add(1, Ordering::Relaxed) >= RESETS_MAX => {
                    close(&connection, CloseCode::ProtocolBroken, "payloads were reset again and again");
                }
                // What was in transfer has ended, or with its connection all has.
                Err(Unread::Reset | Unread::Lost) => {}
            }
        });
    }
}

/// Reads a payload and its number to their end. Beyond one window only one payload of a connection is read at a time:
/// otherwise as many full-length payloads as there are streams could be kept in part. The first one is read to its end,
/// so none waits for another that waits.
async fn read_bulk(
    mut stream: RecvStream,
    bytes_max: usize,
    large: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Unread> {
    let (mut bytes, mut permit) = (Vec::new(), None);
    loop {
        let small = (STREAM_WINDOW_BYTES as usize).saturating_sub(bytes.len());
        if small == 0 && permit.is_none() {
            permit = Some(Arc::clone(large).acquire_owned().await.expect("it is never closed"));
        }
        let most = if permit.is_some() { READ_BYTES_MAX } else { small.min(READ_BYTES_MAX) };
        let chunk = stream.read_chunk(most, true).await.map_err(|error| match error {
            ReadError::Reset(_) => Unread::Reset,
            _ => Unread::Lost,
        });
        let Some(chunk) = chunk? else {
            bytes.shrink_to_fit();
            return Ok((bytes.into(), permit));
        };
        if bytes.len() + chunk.bytes.len() > bytes_max {
            return Err(Unread::TooLong);
        }
        if bytes.capacity() - bytes.len() < chunk.bytes.len() {
            // By steps and not by doubling: memory is not taken for what has not arrived.
            bytes.reserve_exact(chunk.bytes.len().max(bytes.len() / 8));
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
}

/// Why a payload did not come to its end.
enum Unread {
    TooLong,
    Reset,
    /// With its connection.
    Lost,
}

struct Writer {
    shared: Arc<Shared>,
    member: Arc<Member>,
    connection: Connection,
    id: ConnectionId,
}

impl Writer {
    async fn run(self, stream: SendStream) -> End {
        let (mut lane, mut out) = (Lane::new(stream, &self.connection), BytesMut::new());
        let bulk_streams = Arc::new(Semaphore::new(self.shared.limits.bulk_streams_max as usize));
        let mut last_words = None;
        // On one thread, every task that was ready to send has sent before this one runs: to yield would only delay it.
        let shares_threads = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        loop {
            let leaving = async {
                tokio::select! {
                    biased;
                    () = self.member.writable.notified() => false,
                    () = self.shared.flush.cancelled() => true,
                }
            };
            let leaving = lane.take_turns_until(leaving).await;
            if shares_threads {
                // Lets those who are about to send join this write.
                tokio::task::yield_now().await;
            }
            loop {
                out.clear();
                let Some(bulk) = self.member.with(|peer, now| peer.take_outgoing(now, self.id, &mut out)) else {
                    // Not to wait again: what there is for another writer would wake this one forever.
                    return End::Lost("the connection is no longer in use".to_owned());
                };
                if out.is_empty() {
                    break;
                }
                let mut unwritten = &out[..];
                while !unwritten.is_empty() {
                    // A limit on silence and not on the whole: a slow peer that keeps reading is not dead.
                    match tokio::time::timeout(WRITE_LIMIT, lane.write(unwritten)).await {
                        Ok(Ok(written)) => unwritten = &unwritten[written..],
                        Ok(Err(WriteError::Stopped(_))) => return End::Reset,
                        Ok(Err(error)) => return End::Lost(error.to_string()),
                        Err(_) => return End::TooSlow,
                    }
                }
                // Behind their frames, which name them.
                for (bulk, body) in bulk {
                    self.send_bulk(&bulk_streams, lane.transfer(), bulk, body);
                }
            }
            if !leaving {
                continue;
            }
            // Large payloads make room for what waits behind them, so all has been said only when none is left.
            let until = *last_words.get_or_insert_with(|| Instant::now() + FLUSH_LIMIT);
            if lane.is_alone() || Instant::now() >= until {
                let _ = tokio::time::timeout_at(until, lane.finish()).await;
                return End::Flushed;
            }
            let _ = tokio::time::timeout_at(until, lane.take_turns_until(self.member.writable.notified())).await;
        }
    }

    fn send_bulk(&self, streams: &Arc<Semaphore>, transfer: Transfer, bulk: BulkId, body: Bytes) {
        let (member, connection, id) = (Arc::clone(&self.member), self.connection.clone(), self.id);
        let streams = Arc::clone(streams);
        let bytes = body.len();
        self.shared.spawn(async move {
            let sent = async {
                let _stream = streams.acquire().await;
                let mut stream = connection.open_uni().await?;
                // One payload a stream: where the stream ends, the payload ends, and no length has to be believed.
                let _ = stream.set_priority(BULK_PRIORITY);
                stream.write_all(&bulk.0.to_le_bytes()).await?;
                // Not copied, as other writes are.
                stream.write_chunk(body).await?;
                let _ = stream.finish();
                let _ = stream.stopped().await;
                Ok::<_, WriteError>(())
            };
            // If it fails, the connection has ended, and its end is reported where it is noticed.
            let _ = sent.await;
            member.with(|peer, now| peer.handle_bulk_sent(now, id, bytes));
            drop(transfer);
            member.writable.notify_one();
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What woke this one last may have been for the next connection's.
        self.member.writable.notify_one();
    }
}

/// A payload's own QUIC stream opens with its number: u64, little endian.
const BULK_HEADER_BYTES: usize = 8;

/// Payloads of one connection that may be reset: a node of ours resets none.
const RESETS_MAX: usize = 1_000;

/// How long a reader goes on before others have their turn. No longer than the first polls of a chunk may take.
const TURN: Duration = Duration::from_micros(100);

/// How long a write may wait for a peer that does not read.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How long a leaving node waits for its last words to arrive.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// How long a peer that has finished its lane may take to close.
const CLOSE_GRACE: Duration = Duration::from_secs(3);
