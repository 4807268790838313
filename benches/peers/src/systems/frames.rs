//! Frames on any pair of byte streams: what a fast RPC needs at least, and nothing beyond.
//!
//! A frame is its length (4 bytes), a number (8 bytes), a kind (1 byte) and a body. Both sides encode into one shared
//! buffer; a writer swaps it and writes it with one call. The caller's side finds its waiters in a table of slots, and
//! looks into it once per read. The server starts a task per request.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::failure::Failure;
use crate::systems::{Caller, Items, Taken, item};

/// A frame that was read.
struct Frame {
    number: u64,
    kind: u8,
    body: Bytes,
}

/// Frames on their way to the writer.
#[derive(Default)]
struct Outbox {
    buffer: Mutex<BytesMut>,
    filled: Notify,
    emptied: Notify,
}

impl Outbox {
    fn push(&self, number: u64, kind: u8, body: &[u8]) {
        let was_empty = {
            let mut buffer = self.lock();
            let was_empty = buffer.is_empty();
            buffer.reserve(HEADER_BYTES + body.len());
            buffer.put_u32_le((HEADER_BYTES - 4 + body.len()) as u32);
            buffer.put_u64_le(number);
            buffer.put_u8(kind);
            buffer.put_slice(body);
            was_empty
        };
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// As `push`, but waits while there is much to write.
    async fn push_when_clear(&self, number: u64, kind: u8, body: &[u8]) {
        while self.lock().len() > OUTBOX_BYTES {
            self.emptied.notified().await;
        }
        self.push(number, kind, body);
    }

    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.buffer.lock().expect("nothing panics while it holds the buffer")
    }

    async fn write_all(&self, mut to: impl AsyncWrite + Unpin) -> Result<(), Failure> {
        // With several threads the first frame would be written alone, before the next is encoded.
        let yields = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        let mut full = BytesMut::new();
        loop {
            self.filled.notified().await;
            if yields {
                tokio::task::yield_now().await;
            }
            std::mem::swap(&mut full, &mut self.lock());
            self.emptied.notify_one();
            to.write_all(&full).await?;
            to.flush().await?;
            full.clear();
        }
    }
}

/// Frames as they come.
struct Reader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::with_capacity(READ_BYTES) }
    }

    /// Reads what there is, and adds all whole frames at once. `false` at the end.
    async fn read(&mut self, frames: &mut Vec<Frame>) -> Result<bool, Failure> {
        let buffer = &mut self.buffer;
        let whole = buffer.first_chunk::<4>().map_or(0, |length| 4 + u32::from_le_bytes(*length) as usize);
        if whole > HEADER_BYTES + BODY_BYTES_MAX {
            return Err(Failure::new("a frame is too long"));
        }
        let wanted = whole.saturating_sub(buffer.len()).max(SPARE_BYTES);
        // What was handed over is still held by others, so that to reserve is to take new memory: not for each read.
        if buffer.capacity() - buffer.len() < wanted {
            buffer.reserve(wanted.max(READ_BYTES));
        }
        if self.from.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
        while let Some(length) = buffer.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize) {
            if length < HEADER_BYTES - 4 {
                return Err(Failure::new("a frame is too short"));
            }
            if buffer.len() < 4 + length {
                break;
            }
            let mut frame = buffer.split_to(4 + length).freeze();
            frame.advance(4);
            let (number, kind) = (frame.get_u64_le(), frame.get_u8());
            frames.push(Frame { number, kind, body: frame });
        }
        Ok(true)
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve<R, W>(from: R, to: W) -> Result<(), Failure>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let outbox = Arc::new(Outbox::default());
    let writer = Arc::clone(&outbox);
    let writing = tokio::spawn(async move { writer.write_all(to).await });
    let read = read_requests(&outbox, Reader::new(from)).await;
    writing.abort();
    read
}

async fn read_requests(outbox: &Arc<Outbox>, mut reader: Reader<impl AsyncRead + Unpin>) -> Result<(), Failure> {
    let mut frames = Vec::new();
    while reader.read(&mut frames).await? {
        for frame in frames.drain(..) {
            tokio::spawn(answer(Arc::clone(outbox), frame));
        }
    }
    Ok(())
}

async fn answer(outbox: Arc<Outbox>, mut frame: Frame) {
    if frame.kind == ECHO {
        outbox.push(frame.number, ECHO, &frame.body);
    } else if frame.kind == ITEM && frame.body.len() == 12 {
        let (count, body) = (frame.body.get_u64_le(), item(frame.body.get_u32_le()));
        for _ in 0..count {
            outbox.push_when_clear(frame.number, ITEM, &body).await;
        }
        outbox.push(frame.number, END, &[]);
    }
}

/// The caller's side of one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    outbox: Outbox,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    waiters: Vec<Option<Waiter>>,
    free: Vec<u64>,
}

enum Waiter {
    Reply(oneshot::Sender<Bytes>),
    /// Items come in batches, all of a read in one.
    Items(mpsc::Sender<Vec<Bytes>>),
}

impl Connection {
    /// Starts to read and write. What `keep` holds is kept until the connection ends.
    pub(crate) fn start<R, W>(from: R, to: W, keep: impl Send + 'static) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::default());
        let (writer, reader) = (Arc::clone(&shared), Arc::clone(&shared));
        tokio::spawn(async move { writer.outbox.write_all(to).await });
        tokio::spawn(async move {
            let ended = deliver_all(&reader, Reader::new(from)).await;
            // Whoever still waits hears that its sender is gone.
            reader.slots().waiters.clear();
            drop(keep);
            ended
        });
        Self { shared }
    }

    fn note(&self, waiter: Waiter) -> u64 {
        let mut slots = self.shared.slots();
        if let Some(number) = slots.free.pop() {
            slots.waiters[number as usize] = Some(waiter);
            number
        } else {
            slots.waiters.push(Some(waiter));
            slots.waiters.len() as u64 - 1
        }
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().expect("nothing panics while it holds the slots")
    }
}

async fn deliver_all(shared: &Shared, mut reader: Reader<impl AsyncRead + Unpin>) -> Result<(), Failure> {
    let mut frames = Vec::new();
    while reader.read(&mut frames).await? {
        deliver(shared, &mut frames).await?;
    }
    Ok(())
}

async fn deliver(shared: &Shared, frames: &mut Vec<Frame>) -> Result<(), Failure> {
    let mut items: Vec<(mpsc::Sender<Vec<Bytes>>, u64, Vec<Bytes>)> = Vec::new();
    {
        let mut slots = shared.slots();
        for Frame { number, kind, body } in frames.drain(..) {
            let unasked = || Failure::new("an answer that nobody asked for");
            let slot = slots.waiters.get_mut(number as usize).ok_or_else(unasked)?;
            match (kind, slot.as_ref()) {
                (ITEM, Some(Waiter::Items(sender))) => match items.last_mut().filter(|(_, last, _)| *last == number) {
                    Some((_, _, batch)) => batch.push(body),
                    None => items.push((sender.clone(), number, vec![body])),
                },
                (ECHO | END, Some(_)) => {
                    if let Some(Waiter::Reply(sender)) = slot.take() {
                        let _ = sender.send(body);
                    }
                    slots.free.push(number);
                }
                _ => return Err(unasked()),
            }
        }
    }
    for (sender, _, batch) in items {
        // Whoever has enough of a stream takes no more of it, which is no failure.
        let _ = sender.send(batch).await;
    }
    Ok(())
}

impl Caller for Connection {
    async fn echo(&self, body: Bytes) -> Result<Bytes, Failure> {
        let (sender, reply) = oneshot::channel();
        let number = self.note(Waiter::Reply(sender));
        self.shared.outbox.push(number, ECHO, &body);
        Ok(reply.await?)
    }

    async fn items(&self, ask: Items, mut take: impl FnMut(&[u8]) -> Taken + Send) -> Result<(), Failure> {
        let (sender, mut batches) = mpsc::channel(BATCHES_MAX);
        let number = self.note(Waiter::Items(sender));
        let mut body = [0; 12];
        body[..8].copy_from_slice(&ask.count.to_le_bytes());
        body[8..].copy_from_slice(&ask.bytes.to_le_bytes());
        self.shared.outbox.push(number, ITEM, &body);
        while let Some(batch) = batches.recv().await {
            if batch.iter().any(|item| take(item) == Taken::Enough) {
                break;
            }
        }
        Ok(())
    }
}

/// Of the length, the number and the kind.
const HEADER_BYTES: usize = 13;

const BODY_BYTES_MAX: usize = 4 << 20;

/// What is read into at once.
const READ_BYTES: usize = 64 << 10;

/// What must be left of that for another read.
const SPARE_BYTES: usize = 8 << 10;

/// What may wait for the writer before a stream's next item does.
const OUTBOX_BYTES: usize = 256 << 10;

/// Batches of items that may wait for whoever asked for them; beyond, the connection is not read.
const BATCHES_MAX: usize = 16;

const ECHO: u8 = 0;
const ITEM: u8 = 1;
const END: u8 = 2;
