//! A node for peers that are not written in Rust: it does what the lines of its standard input say, and tells what
//! becomes of it in lines of its standard output.
//!
//! `foreign-node certificates DIR NAME...` makes the certificates; `foreign-node node DIR NAME RELEASE PEER=ADDRESS...`
//! runs a node until its input ends. Lines in: `cast ID PEER FUNCTION [ARGUMENT]`, `kill ID...`, `monitor PEER`,
//! `free`, `status`, `leave`; an argument `*N` is N bytes. Lines out open with the ID, or with the word that was said.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rexi_server::jobs::QuestionError;
use rexi_server::{Answer, Bytes, CallRef, Context, DevAuthority, Event, JobOver, Mailbox, Node, NodeBuilder, Request};
use rexi_tests::{functions, name, release};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

rexi_server::function! {
    /// Twice a number.
    pub Double = "double" (u32) -> u32, error String, since 1.0;
    /// A point on the other side of the origin.
    pub Mirror = "mirror" (Point) -> Option<Point>, error String, since 1.0;
}

/// A place in the plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    x: i32,
    y: i32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["certificates", dir, ref names @ ..] => {
            let authority = DevAuthority::open_or_create(Path::new(dir))?;
            names.iter().try_for_each(|&of| authority.issue(&name(of)).map(drop))?;
            Ok(())
        }
        ["node", dir, own, number, ref peers @ ..] => serve(dir, own, number, peers).await,
        _ => Err("foreign-node certificates DIR NAME... | foreign-node node DIR NAME RELEASE PEER=ADDRESS...".into()),
    }
}

async fn serve(dir: &str, own: &str, number: &str, peers: &[&str]) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let identity = DevAuthority::open_or_create(Path::new(dir))?.issue(&name(own))?;
    let (free, freed) = watch::channel(false);
    let mut builder = Node::builder(name(own), release(number), identity).listen((Ipv4Addr::LOCALHOST, 0).into());
    for peer in peers {
        let (of, address) = peer.split_once('=').ok_or("a peer is NAME=ADDRESS")?;
        builder = builder.peer(name(of), address.parse::<SocketAddr>()?);
    }
    let node = more_functions(functions(builder), freed).start()?;
    println!("listens {}", node.local_addr()?);
    Host { mailbox: node.mailbox(), node, calls: BTreeMap::new(), free }.run(lines()).await;
    Ok(())
}

/// The lines of the standard input, which a thread of its own waits for.
fn lines() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let read = std::io::stdin().lock().lines().map_while(Result::ok);
        // Nobody listens once the node has left.
        read.map_while(|line| to.blocking_send(line).ok()).for_each(drop);
    });
    lines
}

fn more_functions(node: NodeBuilder, freed: watch::Receiver<bool>) -> NodeBuilder {
    node.function("quiet", |_, _| async { Ok::<_, String>(()) })
        .function("seen", seen)
        .function("replies", replies)
        .function("count", count)
        .function("ask", ask)
        .function("big", |_, argument: Bytes| async move {
            let bytes = String::from_utf8_lossy(&argument).parse().map_err(|error| format!("{error}"))?;
            Ok::<_, String>(vec![b'x'; bytes])
        })
        .function("hold", move |job: Context, argument: Bytes| {
            let mut freed = freed.clone();
            async move {
                for _ in 0..argument.len() {
                    job.reply("held").map_err(|over| over.to_string())?;
                }
                // Fails where the node has left, and then nobody is told.
                let _ = freed.wait_for(|is_free| *is_free).await;
                Ok::<_, String>(Bytes::from_static(b"free"))
            }
        })
        .serve(Double, |_, number| async move { Ok(number * 2) })
        .serve(Mirror, |_, Point { x, y }| async move {
            let there = x != 0 || y != 0;
            if x < 0 { Err("too left".to_owned()) } else { Ok(there.then_some(Point { x: -x, y: -y })) }
        })
}

/// What came with the cast.
async fn seen(job: Context, _: Bytes) -> Result<Bytes, String> {
    let trace = job.trace().map(|trace| format!("{:x} {:x} {}", trace.trace_id, trace.span_id, trace.flags));
    let limit = if job.time_left().is_some() { "limited" } else { "unlimited" };
    Ok(format!("{} {limit} {} {}", job.caller(), job.nonce(), trace.unwrap_or_default()).into())
}

/// Two replies, a sign of life, and a last reply.
async fn replies(job: Context, _: Bytes) -> Result<Bytes, JobOver> {
    job.reply("one")?;
    job.reply("two")?;
    job.ping()?;
    Ok(Bytes::from_static(b"three"))
}

/// Streams as many numbers as it is asked for, and says in the end that these were all.
async fn count(mut job: Context, argument: Bytes) -> Result<(), JobOver> {
    let items: u32 = String::from_utf8_lossy(&argument).parse().unwrap_or_default();
    for number in 0..items {
        job.stream(number.to_string()).await?;
    }
    job.stream_last("all").await
}

/// Asks its caller for a word, and replies with it twice.
async fn ask(mut job: Context, _: Bytes) -> Result<Bytes, QuestionError> {
    let word = job.sync_reply("a word?", Duration::from_secs(60)).await?;
    Ok([&word[..], &word[..]].concat().into())
}

struct Host {
    node: Node,
    mailbox: Mailbox,
    /// The names of calls, as whoever writes the lines has them.
    calls: BTreeMap<String, CallRef>,
    free: watch::Sender<bool>,
}

impl Host {
    async fn run(mut self, mut lines: mpsc::Receiver<String>) {
        loop {
            tokio::select! {
                event = self.mailbox.recv() => self.tell(&event),
                line = lines.recv() => match line.as_deref() {
                    // Without a word to anybody but QUIC's.
                    None => return,
                    Some("leave") => break,
                    Some(line) => self.act(&line.split_whitespace().collect::<Vec<_>>()),
                },
            }
        }
        // Jobs that are held go on until they are freed, and the mailbox is still told.
        let Self { node, mut mailbox, calls, free } = self;
        let leaving = node.shutdown(Duration::from_secs(3));
        tokio::pin!(leaving);
        loop {
            tokio::select! {
                ended = &mut leaving => return println!("left {ended}"),
                event = mailbox.recv() => tell(&event, &mailbox, &calls),
                Some(line) = lines.recv() => if line == "free" { free.send_replace(true); },
            }
        }
    }

    fn act(&mut self, words: &[&str]) {
        match *words {
            ["cast", id, peer, function, ref argument @ ..] => {
                let argument = argument.join(" ");
                let long = argument.strip_prefix('*').and_then(|bytes| bytes.parse().ok());
                let argument = long.map_or(argument.into_bytes(), |bytes| vec![b'x'; bytes]);
                match self.mailbox.cast(&name(peer), Request::new(function, argument)) {
                    Ok(call) => drop(self.calls.insert(id.to_owned(), call)),
                    Err(error) => println!("{id} not cast: {error}"),
                }
            }
            ["kill", ref ids @ ..] => {
                let calls: Vec<_> = ids.iter().filter_map(|&id| self.calls.remove(id)).collect();
                self.mailbox.kill(&calls);
            }
            ["monitor", peer] => drop(self.mailbox.monitor(&name(peer))),
            ["free"] => drop(self.free.send_replace(true)),
            ["status"] => {
                let status = self.node.status();
                let phase = status.rollouts[0].phase;
                let peers = status.peers.iter().filter(|peer| peer.name != status.name);
                let peers: Vec<_> = peers.map(|peer| format!("{}={:?}", peer.name, peer.presence)).collect();
                println!("status jobs={} calls={} phase={phase} {}", status.jobs, status.calls, peers.join(" "));
            }
            _ => println!("unknown: {words:?}"),
        }
    }

    fn tell(&self, event: &Event) {
        tell(event, &self.mailbox, &self.calls);
    }
}

/// Says what has come, and does for a stream or a question what its reader would.
fn tell(event: &Event, mailbox: &Mailbox, calls: &BTreeMap<String, CallRef>) {
    let (call, answer) = match event {
        Event::Answer(call, answer) => (*call, answer),
        Event::Down(_, reason) => return println!("monitor down {reason:?}"),
        other => return println!("event {other:?}"),
    };
    let Some((id, _)) = calls.iter().find(|(_, of)| **of == call) else { return };
    match answer {
        Answer::Reply { body, last: false } => println!("{id} reply {}", shown(body)),
        Answer::Reply { body, last: true } => println!("{id} last {}", shown(body)),
        Answer::StreamInit => println!("{id} init {}", mailbox.start(call)),
        Answer::Item { body } => println!("{id} item {} {}", shown(body), mailbox.ack(call, 1)),
        Answer::Question { number, body } => {
            println!("{id} question {number} {} {}", shown(body), mailbox.respond(call, *number, "yes"));
        }
        Answer::Exit { function, reason } => println!("{id} exit {reason:?} of {function:?}"),
        other => println!("{id} {other:?}"),
    }
}

/// A payload that is short, or how long it is.
fn shown(body: &Bytes) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= 64 => text.to_owned(),
        _ => format!("*{}", body.len()),
    }
}
