//! What became of every call and every monitor, and what must hold of it.

use bytes::Bytes;
use rexi_proto::{Answer, CallRef, DownReason, ExitReason, Incarnation, JobKey, MonitorRef};

/// All calls and monitors, each in the place that is its mailbox.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) calls: Vec<Call>,
    pub(super) monitors: Vec<Monitor>,
    /// Frames were forged: what comes of them is no node's fault.
    pub(super) forged: bool,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) by: usize,
    pub(super) life: Incarnation,
    pub(super) number: CallRef,
    /// Whether every node takes its function.
    pub(super) known: bool,
    /// It was not killed, and has not got its last answer.
    pub(super) open: bool,
    pub(super) started: bool,
    /// A connection was lost since, or a response.
    pub(super) lossy: bool,
    /// Replies that its job has sent, and that its mailbox has got.
    pub(super) sent: u16,
    pub(super) got: u16,
    /// Its job asks for a stream, and its caller has started or cancelled it.
    pub(super) asked: bool,
    pub(super) said: Option<bool>,
    pub(super) unacked: u64,
    pub(super) questions: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) by: usize,
    pub(super) life: Incarnation,
    /// It was taken back, or has fired, or its node's life is over.
    pub(super) over: bool,
}

impl Notes {
    /// A call of that node, which has this place.
    pub(super) fn add_call(&mut self, by: usize, life: Incarnation, known: bool) -> (usize, CallRef) {
        // Each life counts from 0, so that the numbers of one are those of the other and of the next too.
        let own = self.calls.iter().filter(|call| (call.by, call.life) == (by, life)).count();
        let (place, number) = (self.calls.len(), CallRef(own as u64));
        self.calls.push(Call {
            by,
            life,
            number,
            known,
            open: true,
            started: false,
            lossy: false,
            sent: 0,
            got: 0,
            asked: false,
            said: None,
            unacked: 0,
            questions: Vec::new(),
        });
        (place, number)
    }

    pub(super) fn open_calls(&self, by: usize) -> impl Iterator<Item = usize> {
        (0..self.calls.len()).filter(move |&place| self.calls[place].by == by && self.calls[place].open)
    }

    /// Something that was on its way is lost.
    pub(super) fn lost(&mut self) {
        self.calls.iter_mut().for_each(|call| call.lossy = true);
    }

    /// The life of a node is over.
    pub(super) fn buried(&mut self, node: usize) {
        self.calls.iter_mut().filter(|call| call.by == node).for_each(|call| call.open = false);
        self.monitors.iter_mut().filter(|monitor| monitor.by == node).for_each(|monitor| monitor.over = true);
    }

    /// A node starts a job for the other; gives the place of its call.
    pub(super) fn started(&mut self, caller: usize, job: JobKey, body: &[u8]) -> Option<usize> {
        let place = usize::from(numbers(body)?.0);
        let Some(call) = self.calls.get_mut(place) else {
            assert!(self.forged, "{job:?} has no call");
            return None;
        };
        if !self.forged {
            let of = (call.by, call.life, call.number);
            assert_eq!(of, (caller, job.caller.incarnation, job.call), "{job:?} is started with another's argument");
            assert!(!call.started, "{job:?} is started twice");
        }
        call.started = true;
        Some(place)
    }

    /// A mailbox gets an answer.
    pub(super) fn answered(&mut self, by: usize, life: Incarnation, place: u32, number: CallRef, answer: &Answer) {
        let forged = self.forged;
        let call = self.calls.get_mut(place as usize).expect("an answer to a call that nobody made");
        assert_eq!((call.by, call.life, call.number), (by, life, number), "{answer:?} is in another's mailbox");
        assert!(call.open, "{answer:?} comes when the call is over: {call:?}");
        call.open = !answer.is_last();
        match answer {
            Answer::StreamInit => {
                assert!(forged || !call.asked, "asked twice: {call:?}");
                call.asked = true;
            }
            Answer::Item { .. } => call.unacked += 1,
            Answer::Question { number, .. } => call.questions.push(*number),
            _ => {}
        }
        if !forged {
            call.judge(place, answer);
        }
    }

    /// A mailbox learns that what it monitors is down.
    pub(super) fn down(&mut self, by: usize, life: Incarnation, place: u32, number: MonitorRef, reason: DownReason) {
        let monitor = self.monitors.get_mut(place as usize).expect("a down of what nobody monitors");
        assert_eq!((monitor.by, monitor.life, u64::from(place)), (by, life, number.0), "it is another's");
        assert!(!monitor.over, "{number:?} fires once too often: {reason}");
        assert!(self.forged || reason != DownReason::NoServer, "{number:?} met no server");
        monitor.over = true;
    }
}

impl Call {
    /// What holds of an answer if nobody forges frames.
    fn judge(&mut self, place: u32, answer: &Answer) {
        if let Answer::Reply { body, .. } | Answer::Item { body } | Answer::Question { body, .. } = answer {
            let said = numbers(body).map(|(of, number)| (u32::from(of), number));
            assert_eq!(said, Some((place, self.got)), "another's reply, or out of order: {self:?}");
            self.got += 1;
        }
        match answer {
            Answer::Reply { last: true, .. } | Answer::Exit { reason: ExitReason::Done, .. } => {
                assert_eq!(self.got, self.sent, "it is the last, and not all before it came: {self:?}");
            }
            Answer::NoSuchServer(_) | Answer::Exit { reason: ExitReason::DuplicateRef | ExitReason::Killed, .. } => {
                panic!("{answer:?} to a call that was made once, of a server that is there: {self:?}");
            }
            Answer::NoSuchFunction => assert!(!self.known, "{self:?}"),
            Answer::Exit { reason: ExitReason::ConnectionLost, .. } => assert!(self.lossy, "none was lost: {self:?}"),
            _ => {}
        }
        assert!(!says_that_it_did_not_run(answer) || !self.started, "it did: {answer:?} of {self:?}");
    }
}

fn says_that_it_did_not_run(answer: &Answer) -> bool {
    use ExitReason::{Draining, TooManyBytes, TooManyBytesInAll, TooManyJobs, TooManyJobsInAll};
    match answer {
        Answer::Dropped
        | Answer::DroppedInAll
        | Answer::TooLarge
        | Answer::NoSuchFunction
        | Answer::Incompatible(_)
        | Answer::Down(DownReason::NoConnect) => true,
        Answer::Exit { reason, .. } => {
            matches!(reason, Draining | TooManyJobs | TooManyBytes | TooManyJobsInAll | TooManyBytesInAll)
        }
        _ => false,
    }
}

/// A payload that says whose it is, and its number there, of so many bytes at least.
pub(super) fn payload(place: Option<usize>, number: u16, bytes: usize) -> Bytes {
    let place = place.and_then(|place| u16::try_from(place).ok()).unwrap_or(u16::MAX);
    let mut body = [place.to_le_bytes(), number.to_le_bytes()].concat();
    body.resize(bytes.max(body.len()), 0);
    body.into()
}

/// What a payload says.
pub(super) fn numbers(body: &[u8]) -> Option<(u16, u16)> {
    match *body {
        [low, high, first, second, ..] => Some((u16::from_le_bytes([low, high]), u16::from_le_bytes([first, second]))),
        _ => None,
    }
}
