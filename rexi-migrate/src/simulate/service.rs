//! What the simulated nodes ask of each other: the function that carries out an order, and the caller that drives it.
//!
//! An order is the call's number and its work, and the answer follows from it, so that a wrong answer can be told from
//! a right one. Both ends write to the scenario's ledger, as the two ends of a rehearsal write to theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rexi_proto::CallRef;
use rexi_server::{Answer, Bytes, Context, Event, ExitReason, Mailbox, Node, NodeName, Request, calls::MailboxHandle};

use super::ledger::{CallNumber, Ledger, Life};
use crate::history::ledger::{Ending, Outcome};
use crate::plan::Work;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) call: CallNumber,
    pub(super) work: Work,
}

impl Order {
    pub(super) fn request(self) -> Request {
        Request::new(FUNCTION, self.argument())
    }

    fn argument(self) -> Vec<u8> {
        let mut argument = self.encode();
        if self.work == Work::Large {
            argument.resize(BULK_BYTES, 0);
        }
        argument
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = (self.call.0 as u64).to_le_bytes().to_vec();
        bytes.push(self.work as u8);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (call, work) = bytes.split_first_chunk::<8>()?;
        let call = CallNumber(usize::try_from(u64::from_le_bytes(*call)).ok()?);
        let (&work, rest) = work.split_first()?;
        let work = *Work::ALL.iter().find(|&&one| one as u8 == work)?;
        let whole = if work == Work::Large { bytes.len() == BULK_BYTES } else { rest.is_empty() };
        whole.then_some(Self { call, work })
    }

    /// What the job must answer: the order backwards; if it is to be a large one, over and over.
    pub(super) fn expected(self) -> Bytes {
        let mut once = self.encode();
        once.reverse();
        match self.work {
            Work::Bulk => once.iter().copied().cycle().take(BULK_BYTES).collect(),
            _ => once.into(),
        }
    }

    /// The item of this number of the job's stream.
    fn item(self, number: u32) -> Bytes {
        [&self.encode()[..], &number.to_le_bytes()].concat().into()
    }

    fn item_number(self, item: &[u8]) -> Option<u32> {
        let number = item.strip_prefix(&self.encode()[..])?;
        Some(u32::from_le_bytes(number.try_into().ok()?))
    }

    /// Whether the job ends with an answer.
    fn answers(self) -> bool {
        self.work != Work::Fail && !self.work.waits_for_kill()
    }

    fn failure(self) -> String {
        format!("{} asked to fail", self.call)
    }

    /// What a last answer comes to.
    fn outcome(self, answer: &Answer) -> Outcome {
        match answer {
            Answer::Reply { body, last: true } if self.answers() => {
                if *body == self.expected() {
                    Outcome::Reply
                } else {
                    Outcome::WrongReply
                }
            }
            Answer::Reply { .. } => Outcome::WrongReply,
            Answer::Exit { reason: ExitReason::Failed(text), .. }
                if self.work == Work::Fail && **text == *self.failure() =>
            {
                Outcome::FailedAsAsked
            }
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } => Outcome::ConnectionLost,
            Answer::Exit { reason: ExitReason::Draining, .. } => Outcome::Draining,
            Answer::Exit { reason: ExitReason::ReplyDropped, .. } | Answer::Dropped => Outcome::Dropped,
            Answer::NoSuchServer(_) => Outcome::NoSuchServer,
            Answer::NoSuchFunction => Outcome::NoSuchFunction,
            Answer::Down(_) | Answer::Exit { reason: ExitReason::ServerEnded, .. } => Outcome::Down,
            Answer::Incompatible(_) => Outcome::Incompatible,
            _ => Outcome::OtherExit,
        }
    }
}

/// The function that every node registers.
pub(super) async fn carry_out(
    ledger: Arc<Ledger>,
    life: Life,
    mut job: Context,
    argument: Bytes,
) -> Result<Bytes, String> {
    let order = Order::decode(&argument).ok_or("this is no order")?;
    let Some(number) = ledger.job_started(order.call, life, job.server()) else {
        return Err("nobody has made this call".to_owned());
    };
    let mut end = EndRecord { ledger, call: order.call, job: number, how: Ending::Dropped };
    let done = work(order, &mut job).await;
    end.how = if done.is_ok() { Ending::Done } else { Ending::Failed };
    done
}

async fn work(order: Order, job: &mut Context) -> Result<Bytes, String> {
    match order.work {
        Work::Reply | Work::Bulk => {}
        Work::Later => tokio::time::sleep(LATER).await,
        Work::Fail => return Err(order.failure()),
        Work::Hold | Work::Large => std::future::pending().await,
        Work::Stream => {
            for number in 0..ITEMS {
                job.stream(order.item(number)).await.map_err(|error| error.to_string())?;
                tokio::time::sleep(ITEM_INTERVAL).await;
            }
        }
        Work::Ask => {
            let asked = job.sync_reply(order.encode(), ASK_LIMIT).await;
            let response = asked.map_err(|error| error.to_string())?;
            if response != order.expected() {
                return Err("the response is not the one to the question".to_owned());
            }
        }
    }
    Ok(order.expected())
}

/// Records a job's end when it is dropped, however that comes about.
struct EndRecord {
    ledger: Arc<Ledger>,
    call: CallNumber,
    job: usize,
    how: Ending,
}

impl Drop for EndRecord {
    fn drop(&mut self) {
        self.ledger.job_ended(self.call, self.job, self.how);
    }
}

/// Makes the calls of one life of a node, and takes their answers.
#[derive(Clone)]
pub(super) struct Caller {
    node: Node,
    life: Life,
    ledger: Arc<Ledger>,
    handle: MailboxHandle,
    orders: Arc<Mutex<BTreeMap<CallRef, Order>>>,
}

impl Caller {
    /// A caller, and its task, which ends with the node's process.
    pub(super) fn new(node: Node, life: Life, ledger: Arc<Ledger>) -> (Self, impl Future<Output = ()>) {
        let mailbox = node.mailbox();
        let caller = Self { node, life, ledger, handle: mailbox.handle(), orders: Arc::default() };
        (caller.clone(), caller.run(mailbox))
    }

    /// Casts. A cast that is refused on the spot counts as one that was told so.
    pub(super) fn cast(&self, to: (usize, &NodeName), work: Work) -> CallNumber {
        let call = self.ledger.cast(self.life, Some(to.0), work, self.node.rollout().phase());
        let (order, number) = (Order { call, work }, self.node.next_call());
        self.orders().insert(number, order);
        if self.handle.cast_as(number, to.1, order.request()).is_err() {
            self.orders().remove(&number);
            self.ledger.answered(call, Outcome::Dropped);
        }
        call
    }

    /// Kills a call, if it is one of this caller's.
    pub(super) fn kill(&self, call: CallNumber) {
        let found = self.orders().iter().find(|(_, order)| order.call == call).map(|(&number, _)| number);
        if let Some(number) = found {
            self.ledger.killed(call, self.node.rollout().phase());
            self.handle.kill(&[number]);
            self.orders().remove(&number);
        }
    }

    /// Kills all that it has open, at once.
    pub(super) fn kill_all(&self) {
        let open = std::mem::take(&mut *self.orders());
        for order in open.values() {
            self.ledger.killed(order.call, self.node.rollout().phase());
        }
        self.handle.kill(&open.keys().copied().collect::<Vec<_>>());
    }

    /// Asks all nodes, and is content with a majority. What still runs then is killed.
    pub(super) async fn gather(self, all: Vec<NodeName>) {
        let call = self.ledger.cast(self.life, None, Work::Later, self.node.rollout().phase());
        let order = Order { call, work: Work::Later };
        let gathered = self.node.quorum(all, order.request()).majority().time_limit(GATHER_LIMIT).run().await;
        let outcome = match gathered {
            Ok(votes) if votes.iter().all(|vote| vote.value == order.expected()) => Outcome::Reply,
            Ok(_) => Outcome::WrongReply,
            Err(_) => Outcome::Down,
        };
        self.ledger.gathered(call, outcome, self.node.rollout().phase());
    }

    async fn run(self, mut mailbox: Mailbox) {
        let mut phases = self.node.rollout().watch();
        let mut phase = *phases.borrow_and_update();
        loop {
            tokio::select! {
                biased;
                changed = phases.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = *phases.borrow_and_update();
                    self.ledger.phase(self.life, phase, now);
                    phase = now;
                }
                event = mailbox.recv() => {
                    if let Event::Answer(number, answer) = event {
                        self.handle_answer(number, &answer);
                    }
                }
            }
        }
    }

    fn handle_answer(&self, number: CallRef, answer: &Answer) {
        let Some(order) = self.orders().get(&number).copied() else { return };
        match answer {
            Answer::Ping => return,
            Answer::StreamInit => {
                self.ledger.streaming(order.call);
                self.handle.start(number);
                return;
            }
            Answer::Item { body } => {
                // A number that no stream reaches, where the item is not one of this call's.
                self.ledger.item(order.call, order.item_number(body).unwrap_or(u32::MAX));
                self.handle.ack(number, 1);
                return;
            }
            Answer::Question { number: question, body } => {
                if *body == order.encode() {
                    self.handle.respond(number, *question, order.expected());
                    return;
                }
                self.ledger.answered(order.call, Outcome::WrongReply);
            }
            answer => self.ledger.answered(order.call, order.outcome(answer)),
        }
        self.orders().remove(&number);
        if !answer.is_last() {
            self.handle.kill(&[number]);
        }
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, BTreeMap<CallRef, Order>> {
        self.orders.lock().expect("nothing panics while it holds the orders")
    }
}

/// The name that the function is registered by.
pub(super) const FUNCTION: &str = "simulation.work";

/// Items of a stream.
pub(super) const ITEMS: u32 = 12;

const ITEM_INTERVAL: Duration = Duration::from_millis(15);

const LATER: Duration = Duration::from_millis(40);

/// Above the 32 KiB from which on a payload travels on a QUIC stream of its own.
const BULK_BYTES: usize = 40_000;

/// Longer than a peer can be away, so that it is never the first to end a job.
const ASK_LIMIT: Duration = Duration::from_secs(120);

const GATHER_LIMIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_to_an_order_counts_as_one() {
        for &work in Work::ALL {
            let order = Order { call: CallNumber(77), work };
            assert_eq!(Order::decode(&order.argument()), Some(order));
            assert_eq!(Order::decode(&order.argument()[1..]), None);
            let reply = Answer::Reply { body: order.expected(), last: true };
            let expected = if order.answers() { Outcome::Reply } else { Outcome::WrongReply };
            assert_eq!(order.outcome(&reply), expected, "{work}");
            let other = Order { call: CallNumber(78), work };
            let reply = Answer::Reply { body: other.expected(), last: true };
            assert_eq!(order.outcome(&reply), Outcome::WrongReply, "{work}");
            assert_eq!(order.item_number(&order.item(9)), Some(9));
            assert_eq!(order.item_number(&other.item(9)), None);
        }
    }
}
