//! What must hold of the state of a peer, whatever befalls two nodes that talk to each other: casts, replies, streams
//! and monitors of theirs, connections that break, are replaced and bring things late, new lives, phases, time; and,
//! where a node is not honest, any valid frame of its.
//!
//! In: a byte that says the releases and whether frames are forged, then what happens, a byte or some for each thing.
//! Out: a panic where it does not hold. At the end all is healed: then both agree on what is open, every call comes to
//! its end, and nothing is held.

use std::time::Duration;

use rexi_proto::{
    BulkId, CallRef, Cast, CastError, ExitReason, Form, Incarnation, ItemList, ItemStep, JobEnding, MonitorRef,
    Mutants, NodeName, Party, Phase, Presence, QuestionStep, Refusal, SERVER_PER_NODE, Saying, Total, VersionRange,
    WireVersion,
};

use link::Parting;
use node::{Release, function};
use notes::{Monitor, payload};
use world::{CONTROL_BYTES, DROPPED_BYTES, Parts, World};

#[path = "peer/forge.rs"]
mod forge;
#[path = "peer/heal.rs"]
mod heal;
#[path = "peer/link.rs"]
mod link;
#[path = "peer/node.rs"]
mod node;
#[path = "peer/notes.rs"]
mod notes;
#[path = "peer/world.rs"]
mod world;

/// Panics where a rule is broken.
pub(crate) fn check(bytes: &[u8]) {
    check_broken(bytes, Mutants::default());
}

/// The same with nodes that are broken on purpose.
pub(crate) fn check_broken(bytes: &[u8], mutants: Mutants) {
    let mut script = Script(bytes);
    let Some(how) = script.next() else { return };
    let releases = PAIRS[usize::from(how & 0x3f) % PAIRS.len()];
    let parts = PARTS[usize::from(how & 0x3f) / PAIRS.len() % PARTS.len()];
    let mut world = World::new(releases, how & FORGED != 0, parts, mutants);
    if how & APART == 0 {
        world.connect(0);
    }
    for _ in 0..STEPS_MAX {
        let Some(what) = script.next() else { break };
        step(&mut world, &mut script, usize::from(what >> 7), what & 0x7f);
    }
    world.heal();
}

/// What is yet to happen.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn below(&mut self, most: usize) -> usize {
        usize::from(self.byte()) % most.max(1)
    }

    /// A small number as a rule.
    fn number(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX,
            0xfe => u64::MAX - 1,
            small => u64::from(small % 32),
        }
    }

    /// So many bytes: few as a rule, some for a stream of their own, at times more than may be.
    fn bytes(&mut self) -> usize {
        match self.byte() {
            small @ 0..=0x7f => usize::from(small) / 4,
            large => usize::from(large - 0x7f) * 5,
        }
    }
}

/// One thing happens at a node, or to a connection.
fn step(world: &mut World, script: &mut Script<'_>, n: usize, what: u8) {
    match what {
        0..=13 => cast(world, script, n),
        14..=16 => kill(world, script, n),
        17..=26 => work(world, script, n),
        27..=32 => say(world, script, n),
        33 => monitor(world, n),
        34 => demonitor(world, script, n),
        35..=36 => world.set_phase(n, if script.below(2) == 0 { Phase::Introduce } else { Phase::Switch }),
        37 => {
            let (total, amount) = (Total::ALL[script.below(5)], script.byte());
            world.at(n, 0, |node, _| node.share(total, usize::from(amount >> 1), amount & 1 == 0));
        }
        38..=40 => drop(world.take(n)),
        41 => world.pass(TIMES[script.below(TIMES.len())]),
        42..=43 => rare(world, script, n),
        44..=45 => world.connect(n),
        46 if world.links.len() < LINKS_MAX => world.dial(),
        47..=86 => on_link(world, script, n, what),
        87..=99 if what < 92 || !world.go_on(n) => drop(world.exchange()),
        87..=99 => {}
        _ if world.notes.forged => forge(world, script, n),
        100..=113 => work(world, script, n),
        _ => cast(world, script, n),
    }
}

fn on_link(world: &mut World, script: &mut Script<'_>, n: usize, what: u8) {
    if world.links.is_empty() {
        return;
    }
    // Of several, that in use as a rule.
    let l = match script.byte() {
        0..=0xbf if let Some(l) = world.attached(n) => l,
        other => usize::from(other) % world.links.len(),
    };
    match what {
        47..=50 => world.attach(l, n),
        51 => world.cut(l),
        52..=55 => world.learn(l, n),
        56..=65 => drop(world.write(l, n)),
        66..=70 => drop(world.deliver(l, n, usize::MAX)),
        71..=78 => drop(world.deliver(l, n, 1 + script.below(64))),
        79..=84 => drop(world.deliver_bulk(l, n, script.below(4))),
        _ => world.tell_sent(l, n, script.below(2)),
    }
}

fn cast(world: &mut World, script: &mut Script<'_>, n: usize) {
    let (of, bytes, time) = (script.byte(), script.bytes(), script.byte());
    let (node, notes) = (&mut world.nodes[n], &mut world.notes);
    let (place, call) = notes.add_call(n, node.life, of % 4 < 2);
    let time_left = (time >= 0xe0).then(|| Duration::from_millis(1 << (time & 0xf)));
    let body = payload(Some(place), 0, bytes);
    let cast =
        Cast { call, function: function(of.into()).into(), time_left, nonce: 0, trace: None, body: body.clone() };
    let taken = node.peer.cast(world.now, cast, u32::try_from(place).expect("there are few"));
    match taken {
        Ok(()) => {}
        Err(CastError::TooManyCalls { max }) => assert_eq!(notes.open_calls(n).count(), max + 1, "with this one"),
        Err(CastError::PayloadTooLarge { max, .. }) => assert!(body.len() > max),
        Err(error) => panic!("{error}"),
    }
    notes.calls[place].open = taken.is_ok();
    if taken.is_ok() {
        node.excused_bytes += DROPPED_BYTES;
    }
    // What comes of it was not told yet.
    world.drain(n);
}

fn kill(world: &mut World, script: &mut Script<'_>, n: usize) {
    let open: Vec<usize> = world.notes.open_calls(n).collect();
    let (first, count) = (script.byte(), 1 + script.below(3));
    let killed = open.iter().cycle().skip(usize::from(first) % open.len().max(1)).take(count.min(open.len()));
    let mut numbers: Vec<CallRef> = Vec::new();
    for &place in killed {
        world.notes.calls[place].open = false;
        numbers.push(world.notes.calls[place].number);
    }
    if first >= 0xf0 {
        numbers.push(CallRef(1_000 + u64::from(script.byte())));
    }
    world.at(n, CONTROL_BYTES, |node, _| node.peer.kill(&numbers));
}

fn work(world: &mut World, script: &mut Script<'_>, n: usize) {
    let (place, deed, bytes) = (script.byte(), script.byte(), script.bytes());
    if world.nodes[n].jobs.is_empty() {
        return;
    }
    let place = usize::from(place) % world.nodes[n].jobs.len();
    let job = world.nodes[n].jobs[place];
    if job.over {
        return;
    }
    let ends = world.is_ending(n, job.key);
    let body = payload(job.call, job.call.map_or(0, |call| world.notes.calls[call].sent), bytes);
    let (sent, over) = match deed % 16 {
        0..=2 => {
            let sent = world.with_server(n, job.key, |server| server.handle_reply(job.key, body));
            (u16::from(sent), !sent)
        }
        3..=4 => {
            let window = if deed >= 0xe0 { None } else { Some(1 + u32::from(deed >> 6)) };
            let step = world.with_server(n, job.key, |server| server.handle_item(job.key, &mut body.clone(), window));
            (u16::from(step == ItemStep::Sent), step == ItemStep::Over)
        }
        5 => {
            let (mut items, window) = (ItemList::default(), 1 + u32::from(deed >> 6));
            let said = job.call.map_or(0, |call| world.notes.calls[call].sent);
            for number in said..said + AT_ONCE {
                assert!(items.push(&payload(job.call, number, bytes.min(1_000))), "they are few");
            }
            let room = world.with_server(n, job.key, |server| server.handle_items(job.key, &mut items, window));
            let sent = AT_ONCE - u16::try_from(items.len()).expect("no more than there were");
            (if room.is_some() { sent } else { 0 }, room.is_none())
        }
        6..=7 => {
            let asked = world.with_server(n, job.key, |server| server.handle_question(job.key, body));
            let asks = world.nodes[n].jobs.iter_mut().find(|asks| asks.key == job.key);
            asks.into_iter().for_each(|asks| asks.question = asked);
            (u16::from(asked.is_some()), asked.is_none())
        }
        8 => {
            let runs = world.with_server(n, job.key, |server| server.handle_ping(job.key));
            (0, !runs)
        }
        9 => {
            world.with_server(n, job.key, |server| server.handle_stream_timeout(job.key));
            (0, false)
        }
        10 => {
            let question = job.question.unwrap_or_default();
            let step = world.with_server(n, job.key, |server| server.take_response(job.key, question));
            let (responds, over) = (matches!(step, QuestionStep::Response(_)), step == QuestionStep::Over);
            world.nodes[n].jobs[place].question = job.question.filter(|_| !responds);
            if let (QuestionStep::Response(body), false) = (step, world.notes.forged) {
                let question = u16::try_from(question).expect("there are few");
                let said = notes::numbers(&body).map(|(of, number)| (Some(usize::from(of)), number));
                assert_eq!(said, Some((job.call, question)), "another's response");
            }
            (0, over)
        }
        11..=13 => return world.end(n, place, JobEnding::Reply(body)),
        14 => return world.end(n, place, JobEnding::Exit(ExitReason::Done)),
        _ => return world.end(n, place, JobEnding::Exit(ExitReason::Failed("why".into()))),
    };
    if let Some(other) = world.nodes[n].jobs.iter_mut().find(|other| other.key == job.key) {
        assert!(!over || ends, "it is over, and runs");
        other.over = over;
    }
    assert!(sent == 0 || !ends, "it has ended, and is heard");
    if let Some(call) = job.call {
        world.notes.calls[call].sent += sent;
    }
}

/// A caller says something to its job.
fn say(world: &mut World, script: &mut Script<'_>, n: usize) {
    let open: Vec<usize> = world.notes.open_calls(n).collect();
    let (place, word, bytes) = (script.byte(), script.byte(), script.bytes());
    let Some(&place) = open.get(usize::from(place) % open.len().max(1)) else { return };
    let (forged, call) = (world.notes.forged, &mut world.notes.calls[place]);
    let number = call.number;
    match word % 8 {
        0..=3 => {
            // Who was not asked yet does not answer: that its job asks may wait for a payload before it.
            if !call.asked && !forged {
                return;
            }
            let (wanted, start) = (call.said.is_none(), word % 8 != 3);
            let taken = world.at(n, CONTROL_BYTES, |node, _| match start {
                true => node.peer.start_stream(number),
                false => node.peer.cancel_stream(number),
            });
            assert!(forged || taken == wanted, "the stream of {number:?}");
            if taken {
                world.notes.calls[place].said = Some(start);
            }
        }
        4..=5 => {
            let items = u64::from(word >> 6).min(call.unacked);
            call.unacked -= items;
            let taken = world.at(n, CONTROL_BYTES, |node, _| node.peer.ack(number, items));
            assert!(forged || taken || items == 0, "items of {number:?}");
        }
        _ => {
            let (which, count) = (usize::from(word >> 3), call.questions.len());
            if count == 0 && !forged {
                return;
            }
            // In any order: a job may ask again before it has the response.
            let question = (count > 0).then(|| call.questions.remove(which % count));
            // A response that is too large for the other, or dropped, loses its call.
            call.lossy = true;
            let asked = question.unwrap_or(which as u64);
            let body = payload(Some(place), asked as u16, bytes);
            let fits = body.len() <= world.nodes[n].limits.payload_bytes_max as usize;
            let taken = world.at(n, DROPPED_BYTES, |node, now| node.peer.respond(now, number, asked, body));
            assert!(forged || question.is_none() || taken == fits, "the response of {number:?}");
            // What was not taken is yet to be said.
            world.notes.calls[place].questions.extend(question.filter(|_| !taken));
        }
    }
}

fn monitor(world: &mut World, n: usize) {
    let (node, notes) = (&mut world.nodes[n], &mut world.notes);
    let place = notes.monitors.len();
    notes.monitors.push(Monitor { by: n, life: node.life, over: false });
    let mailbox = u32::try_from(place).expect("there are few");
    world.at(n, CONTROL_BYTES, |node, _| node.peer.monitor(MonitorRef(place as u64), mailbox));
}

fn demonitor(world: &mut World, script: &mut Script<'_>, n: usize) {
    let own: Vec<usize> = (0..world.notes.monitors.len()).filter(|&at| world.notes.monitors[at].by == n).collect();
    let Some(&place) = own.get(script.below(own.len())) else { return };
    world.notes.monitors[place].over = true;
    world.at(n, CONTROL_BYTES, |node, _| node.peer.demonitor(MonitorRef(place as u64)));
}

/// What happens to a node as a whole.
fn rare(world: &mut World, script: &mut Script<'_>, n: usize) {
    let other = world.nodes[1 - n].release;
    let next = Release::ALL[script.below(3)];
    let next = if next.is_near(other) { next } else { world.nodes[n].release };
    match script.below(8) {
        0..=1 => world.restart(n, next, Parting::Lost),
        2 => world.leave(n, next),
        3 => world.refuse_casts(n),
        4 => world.forget(n),
        what => {
            let life = world.nodes[1 - n].life;
            let life = if what == 5 { Incarnation(life.0 - 1) } else { life };
            let refusal = Box::new(refusal(script.below(3)));
            world.at(n, CONTROL_BYTES, |node, now| node.peer.handle_refused(now, life, refusal));
        }
    }
}

/// A refusal: final, final for the phase, or not.
fn refusal(which: usize) -> Refusal {
    let party = |name: &str| Party {
        node: NodeName::new(name).expect("a name"),
        release: "1.0.0".parse().expect("a version"),
        wire: VersionRange::from(WireVersion::V1),
    };
    let (first, second) = (party("n1"), party("n2"));
    if which == 0 {
        return Refusal::NotNeighbours { first, second };
    }
    let saying = Saying { migration: SERVER_PER_NODE.key().clone(), form: Form::Old };
    let (phase, can_be_raised) = (Phase::Introduce, which == 1);
    Refusal::NotTaken { sender: first, phase, saying, receiver: second, can_be_raised }
}

/// A frame comes that the other did not send, or a payload.
fn forge(world: &mut World, script: &mut Script<'_>, n: usize) {
    let Some(l) = world.attached(n) else { return };
    let version = match world.nodes[n].peer.presence() {
        Presence::Up(session, _) => session.wire,
        _ => return,
    };
    let way = &mut world.links[l].ways[n];
    if script.below(8) == 0 {
        let (id, bytes) = (BulkId(u64::from(script.byte() % 8)), 4 + script.below(256) * 3);
        return way.bulk.push((id, payload(None, 0, bytes), true));
    }
    let frame = forge::frame(script, version);
    let peer = &world.nodes[n].peer;
    let is_first = way.lane.is_empty() && peer.incomplete_bytes() == 0 && !peer.is_behind();
    way.lane.extend(&frame);
    if is_first && forge::is_unknown(&frame) {
        let before = world.nodes[n].peer.stats().unknown_frames;
        world.deliver(l, n, frame.len());
        let counted = world.nodes[n].peer.stats().unknown_frames - before;
        assert!(counted == 1 || world.attached(n).is_none(), "a frame of an unknown kind is passed over");
    }
}

/// What a fuzzer begins with: what was found, and for each pair and both kinds of script things that happen by chance.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    FOUND.iter().map(|script| script.to_vec()).chain(scripts().take(12 * PAIRS.len())).collect()
}

/// Scripts without end, the same each time.
pub(crate) fn scripts() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 1_u64;
    let mut draw = move || {
        // Knuth's MMIX.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..).map(move |number: usize| {
        let forged = if number / PAIRS.len() % 3 == 2 { FORGED } else { 0 };
        let pair = number % PAIRS.len();
        // Every second script as it was before there were parts, so that what is known of it stays so.
        let round = number / PAIRS.len();
        let parts = if round.is_multiple_of(2) { 0 } else { 1 + round / 2 % (PARTS.len() - 1) };
        let how = (pair + parts * PAIRS.len()) as u8;
        [how | forged].into_iter().chain((0..LENGTH).map(|_| draw())).collect()
    })
}

/// Releases that may be in one cluster.
const PAIRS: [[Release; 2]; 6] = {
    use Release::{Both, New, Old};
    [[Old, Old], [Old, Both], [Both, Both], [Both, New], [New, Both], [New, New]]
};

/// How lists are worked off: at once, or in parts between which anything may happen.
const PARTS: [Parts; 5] = [
    Parts { calls_max: 64, later: false },
    Parts { calls_max: 1, later: true },
    Parts { calls_max: 2, later: true },
    Parts { calls_max: 1, later: false },
    Parts { calls_max: 64, later: true },
];

/// A kill meets no job where none may be remembered. Of two questions the later one's response is lost: that to the
/// other went out after it, or on the next connection. A call whose cast has come was told to be lost, since an earlier
/// connection did not know of it: by a singleton that had requests before that, and by one that was behind.
const FOUND: [&[u8]; 5] = [
    &[5, 0, 0, 0, 0, 87, 145, 0, 11, 0, 14, 0, 0, 87],
    &[5, 0, 0, 0, 0, 87, 145, 0, 6, 0, 145, 0, 6, 0, 87, 27, 0, 14, 0, 27, 0, 6, 0, 51, 0],
    &[5, 0, 0, 0, 0, 87, 145, 0, 6, 0, 145, 0, 6, 0, 87, 27, 0, 14, 0, 44, 27, 0, 6, 0, 51, 0],
    &[2, 51, 0, 54, 0, 46, 0, 0, 0, 0, 48, 39, 0, 0, 36, 0, 88, 44, 56, 0, 194, 0, 175, 247, 66, 0, 196],
    &[
        14, 82, 0, 0, 46, 176, 219, 76, 0, 0, 128, 84, 0, 0, 82, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 92, 44, 92, 48, 217,
        14, 0, 0, 91,
    ],
];

/// Items that a job has ready together.
const AT_ONCE: u16 = 3;

/// Bits of the first byte.
const FORGED: u8 = 0x80;
const APART: u8 = 0x40;

const TIMES: [Duration; 5] = {
    let ms = Duration::from_millis;
    [ms(1), ms(50), ms(1_000), ms(5_000), ms(16_000)]
};

/// Things that happen at most, connections that are open at once, and bytes of a seed.
const STEPS_MAX: usize = 600;
const LINKS_MAX: usize = 4;
const LENGTH: usize = 200;
