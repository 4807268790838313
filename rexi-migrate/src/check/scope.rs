//! What one search of the cluster covers: how many nodes and releases, which work, which faults, whose discipline.
//!
//! Every budget is for the whole run and not for a node, so that the space is finite; what is not budgeted may happen
//! at any time. The defaults are those of `rexi-migrate check`.

use rexi_proto::{Limits, Mutants};

use crate::path::UpgradePath;

/// The bounds of one search. Counts are per run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its name in reports.
    pub name: String,
    /// Nodes, [`NODES_MIN`] to [`NODES_MAX`].
    pub nodes: usize,
    /// The releases to go through.
    pub train: UpgradePath,
    /// Casts, each from any node to any other, and each to be killed, answered or lost.
    pub jobs: u8,
    /// How many of those may send a stream.
    pub streams: u8,
    /// Items of such a stream.
    pub items: u8,
    /// Monitors.
    pub monitors: u8,
    /// Restarts into the release before.
    pub rollbacks: u8,
    /// Restarts into the same release.
    pub crashes: u8,
    /// Connections that break with all that is on its way.
    pub cuts: u8,
    /// Times that an operator lowers a node from `switch` to `introduce`. Lifting is free.
    pub flips: u8,
    /// Stability periods that run out.
    pub expiries: u8,
    /// Things of a connection that has ended that still arrive. With any, payloads travel on QUIC streams of their own,
    /// since these may come out of order.
    pub stragglers: u8,
    /// Lists are worked off call by call, and anything may happen between two of them, but that the peer is read.
    pub parts: bool,
    /// Who restarts nodes, and when.
    pub operator: Operator,
    /// How finely a handshake is taken apart.
    pub handshake: Handshake,
    /// When an end learns that its connection is gone.
    pub notice: Notice,
    /// How nodes are stopped.
    pub stops: Stops,
    /// Whether clusters that differ in the nodes' names alone are taken for one.
    pub symmetry: bool,
    /// Whether, from every state, the train's end must be within reach (L4).
    pub reach_goal: bool,
    /// Broken on purpose; none in a release.
    pub mutants: Mutants,
}

/// Who restarts nodes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Waits until all are connected and in their release's highest phase, and goes leg by leg.
    Patient,
    /// Goes leg by leg, and waits for nothing.
    Hasty,
    /// Restarts any node into any other release at any time; each counts as one of [`Scope::crashes`].
    Careless,
}

/// How finely a handshake is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Both hellos are made and taken at once.
    Whole,
    /// The dialer's hello, the listener's answer and its arrival are three steps.
    Steps,
}

/// When an end learns that its connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// At once.
    AtOnce,
    /// At any later time, or when a new connection takes its place.
    Late,
}

/// How nodes are stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// By `kill -9`.
    Crash,
    /// By `kill -9` or by leaving in good order.
    Both,
}

impl Scope {
    /// Three nodes and these releases, without work or faults.
    pub fn new(name: impl Into<String>, train: &UpgradePath) -> Self {
        Self {
            name: name.into(),
            nodes: 3,
            train: train.clone(),
            jobs: 0,
            streams: 0,
            items: 1,
            monitors: 0,
            rollbacks: 0,
            crashes: 0,
            cuts: 0,
            flips: 0,
            expiries: 0,
            stragglers: 0,
            parts: false,
            operator: Operator::Patient,
            handshake: Handshake::Whole,
            notice: Notice::AtOnce,
            stops: Stops::Crash,
            symmetry: true,
            reach_goal: true,
            mutants: Mutants::default(),
        }
    }

    /// The bounds of its nodes.
    pub(super) fn limits(&self) -> Limits {
        let limits = Limits::default();
        let limits = if self.parts { Limits { part_calls_max: 1, ..limits } } else { limits };
        // Below every payload of the model.
        if self.stragglers > 0 { Limits { inline_bytes_max: 1, ..limits } } else { limits }
    }

    /// All bounds in one line.
    pub fn describe(&self) -> String {
        let releases: Vec<String> = self.train.releases().iter().map(ToString::to_string).collect();
        let mut text = format!("{} nodes, {}", self.nodes, releases.join(" > "));
        for (count, one) in [
            (self.jobs, "job"),
            (self.streams, "stream"),
            (self.monitors, "monitor"),
            (self.rollbacks, "rollback"),
            (self.crashes, "crash"),
            (self.cuts, "cut"),
            (self.flips, "flip"),
            (self.expiries, "expiry"),
            (self.stragglers, "straggler"),
        ] {
            if count > 0 {
                text += &format!(", {count} {one}{}", if count == 1 { "" } else { "s" });
            }
        }
        if self.parts {
            text += ", lists in parts";
        }
        text += match self.operator {
            Operator::Patient => ", patient operator",
            Operator::Hasty => ", hasty operator",
            Operator::Careless => ", careless operator",
        };
        if self.handshake == Handshake::Steps {
            text += ", handshakes in steps";
        }
        if self.notice == Notice::Late {
            text += ", late notice";
        }
        if self.stops == Stops::Both {
            text += ", departures";
        }
        text
    }
}

/// Fewest nodes of a search.
pub const NODES_MIN: usize = 2;

/// Most nodes of a search: every state is named in as many ways as there are orders of its nodes.
pub const NODES_MAX: usize = 5;
