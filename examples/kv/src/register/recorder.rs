//! Records what clients do to a few keys at once, and has each key's history checked once it is long enough.

use std::collections::BTreeMap;

use rexi_migrate::rehearse::Account;

use super::{Act, Operation, check};

/// Histories under way, and what became of those that were checked.
#[derive(Debug)]
pub struct Recorder {
    /// Counts beginnings and ends: all clients go through this one recorder, so these have one order.
    clock: u64,
    last_value: u64,
    /// The key of each place.
    places: Vec<u64>,
    last_key: u64,
    keys: BTreeMap<u64, Key>,
    checked: Checked,
}

/// What became of histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many were checked.
    pub histories: u64,
    /// Operations in them.
    pub operations: u64,
    /// Those of them whose outcome is not known.
    pub unknown: u64,
    /// What is not possible, in words; the first of them.
    pub broken: Vec<String>,
}

impl Checked {
    /// Puts this into the account of a rehearsal.
    pub(crate) fn add_to(&self, account: &mut Account) {
        let Self { histories, operations, unknown, broken } = self;
        let counts = [("histories", *histories), ("operations_in_them", *operations), ("unknown_in_them", *unknown)];
        account.counts.extend(counts);
        account.counts.insert("without_order", broken.len() as u64);
        let order = if broken.is_empty() { "each has an order" } else { "some have no order" };
        account.summary += &format!(" {histories} histories of registers, {operations} operations: {order}.");
        account.breaches.extend_from_slice(broken);
    }
}

/// What a client is doing, until it says what came of it.
#[derive(Debug)]
#[must_use = "what came of it is to be told"]
pub struct Ticket {
    key: u64,
    operation: usize,
    value: u64,
}

#[derive(Debug, Default)]
struct Key {
    operations: Vec<Option<Operation>>,
    unknown: usize,
    under_way: usize,
    /// No further operation begins.
    is_closed: bool,
}

impl Recorder {
    /// Of clients that use so many keys at once.
    pub fn new(places: usize) -> Self {
        let places: Vec<u64> = (0..places as u64).collect();
        Self {
            clock: 0,
            last_value: 0,
            last_key: places.len() as u64,
            keys: places.iter().map(|&key| (key, Key::default())).collect(),
            places,
            checked: Checked::default(),
        }
    }

    /// A client writes to the key of this place.
    pub fn begin_write(&mut self, place: usize) -> Ticket {
        self.last_value += 1;
        let value = self.last_value;
        self.begin(place, Act::Write(value), value)
    }

    /// A client reads the key of this place.
    pub fn begin_read(&mut self, place: usize) -> Ticket {
        self.begin(place, Act::Read(None), 0)
    }

    fn begin(&mut self, place: usize, act: Act, value: u64) -> Ticket {
        self.clock += 1;
        let at = self.places[place];
        let key = self.keys.get_mut(&at).expect("it is in use");
        key.operations.push(Some(Operation { began: self.clock, ended: None, act }));
        key.under_way += 1;
        let ticket = Ticket { key: at, operation: key.operations.len() - 1, value };
        if key.operations.len() >= OPERATIONS_MAX {
            self.close(place);
        }
        ticket
    }

    /// The write was acknowledged.
    pub fn written(&mut self, ticket: Ticket) {
        let act = Act::Write(ticket.value);
        self.end(ticket, Some(act));
    }

    /// The read was answered with this body; `None` where there was no value.
    pub fn read(&mut self, ticket: Ticket, body: Option<&[u8]>) {
        let value = body.map(|body| std::str::from_utf8(body).ok().and_then(|text| text.parse().ok()));
        match value {
            Some(None) => {
                let body = String::from_utf8_lossy(body.unwrap_or_default()).into_owned();
                self.broken(format!("{} was read as {body:?}, which no client wrote", ticket.key()));
                self.end(ticket, None);
            }
            value => self.end(ticket, Some(Act::Read(value.flatten()))),
        }
    }

    /// It had no effect: the client was told so, or it was a read without an answer.
    pub fn without_effect(&mut self, ticket: Ticket) {
        self.end(ticket, None);
    }

    /// Nobody knows whether the write took effect, or will.
    pub fn unknown(&mut self, Ticket { key: at, .. }: Ticket) {
        let key = self.keys.get_mut(&at).expect("an operation is under way");
        key.unknown += 1;
        key.under_way -= 1;
        if key.unknown >= UNKNOWN_MAX
            && let Some(place) = self.places.iter().position(|&of_place| of_place == at)
        {
            self.close(place);
        }
        self.check_if_over(at);
    }

    /// Ends all histories.
    ///
    /// # Panics
    /// Where an operation is still under way: the caller's fault.
    pub fn finish(&mut self) -> Checked {
        for key in std::mem::take(&mut self.keys).into_values() {
            assert_eq!(key.under_way, 0, "each client has said what came of what it did");
            self.check(&key);
        }
        self.checked.clone()
    }

    /// What became of those that were checked.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    fn end(&mut self, Ticket { key: at, operation, .. }: Ticket, act: Option<Act>) {
        self.clock += 1;
        let key = self.keys.get_mut(&at).expect("an operation is under way");
        let operation = &mut key.operations[operation];
        match (act, operation) {
            (Some(act), Some(operation)) => (operation.act, operation.ended) = (act, Some(self.clock)),
            (_, operation) => *operation = None,
        }
        key.under_way -= 1;
        self.check_if_over(at);
    }

    /// The next operations of this place are on another key.
    fn close(&mut self, place: usize) {
        let closed = std::mem::replace(&mut self.places[place], self.last_key);
        self.keys.insert(self.last_key, Key::default());
        self.last_key += 1;
        self.keys.get_mut(&closed).expect("it is in use").is_closed = true;
    }

    fn check_if_over(&mut self, at: u64) {
        if self.keys.get(&at).is_some_and(|key| key.is_closed && key.under_way == 0)
            && let Some(key) = self.keys.remove(&at)
        {
            self.check(&key);
        }
    }

    fn check(&mut self, key: &Key) {
        let operations: Vec<Operation> = key.operations.iter().flatten().cloned().collect();
        self.checked.histories += 1;
        self.checked.operations += operations.len() as u64;
        self.checked.unknown += key.unknown as u64;
        if let Err(error) = check(&operations) {
            self.broken(error.to_string());
        }
    }

    fn broken(&mut self, what: String) {
        if self.checked.broken.len() < BROKEN_TOLD {
            self.checked.broken.push(what);
        }
    }
}

impl Ticket {
    /// The key in the store.
    pub fn key(&self) -> String {
        format!("register-{}", self.key)
    }

    /// What a write writes there.
    pub fn body(&self) -> String {
        self.value.to_string()
    }
}

/// Operations of one history: what there may be in one order grows with it.
const OPERATIONS_MAX: usize = 200;

/// Writes of unknown outcome in one history: each may happen at any later time, so each doubles what has to be tried.
const UNKNOWN_MAX: usize = 4;

/// What is not possible is told so many times.
const BROKEN_TOLD: usize = 10;
