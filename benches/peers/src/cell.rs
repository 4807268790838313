//! A cell of the tables: which processes it takes, what they play together, and which figures come of it.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::cli::Runtime;
use crate::cluster::{Certificates, Cluster, Common, Process};
use crate::failure::Failure;
use crate::measure::Usage;
use crate::order::{Play, Played};
use crate::systems::System;
use crate::systems::rexi::Mode;
use crate::work::{SMALL_BYTES, Work};

/// A row of the table of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// One server and one caller of this system.
    System(System),
    /// A stream of items of so many bytes.
    Window { items: u32, bytes: u32 },
    /// So many nodes that call one, each with so many calls in flight.
    Coordinators { mode: Mode, nodes: usize, in_flight: usize },
    /// A probe beside so many nodes that flood, each with so many calls in flight.
    Isolation { mode: Mode, flooders: usize, in_flight: usize },
    /// Majorities of three.
    Fanout { mode: Mode, in_flight: usize },
    /// Peers that are connected and do nothing.
    IdlePeers,
    /// Jobs that wait, and calls beside them.
    Jobs { jobs: usize },
    /// Calls whose frames wait for a peer that is away.
    Buffered { frames: usize },
}

/// What a figure is of, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Metric {
    CallsPerSecond,
    ItemsPerSecond,
    MibPerSecond,
    P50Micros,
    P99Micros,
    /// Processor time of all processes of the cell, for each call or item.
    CpuMicros,
    ServerKibPerPeer,
    CallerKibPerNode,
    ServerBytesPerJob,
    CallerBytesPerJob,
    CallerBytesPerFrame,
}

/// A figure of one cell in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::CallsPerSecond => "calls/s",
            Self::ItemsPerSecond => "items/s",
            Self::MibPerSecond => "MiB/s",
            Self::P50Micros => "p50 µs",
            Self::P99Micros => "p99 µs",
            Self::CpuMicros => "CPU µs each",
            Self::ServerKibPerPeer => "server KiB/peer",
            Self::CallerKibPerNode => "caller KiB/node",
            Self::ServerBytesPerJob => "server bytes/job",
            Self::CallerBytesPerJob => "caller bytes/job",
            Self::CallerBytesPerFrame => "caller bytes/buffered call",
        }
    }
}

impl Row {
    /// The rows of the table of this work.
    pub(crate) fn all(work: Work, systems: &[System]) -> Vec<Self> {
        let modes = Mode::ALL;
        let of_modes = |rows: &dyn Fn(Mode) -> Vec<Self>| modes.into_iter().flat_map(rows).collect();
        match work {
            _ if work.play().is_some() => {
                let playing = systems.iter().filter(|system| !work.is_stream() || system.has_streams());
                playing.map(|&system| Self::System(system)).collect()
            }
            _ if !systems.contains(&System::Rexi) => Vec::new(),
            Work::Windows => {
                let of_bytes = |bytes| [5, 64, 1_024].map(|items| Self::Window { items, bytes });
                [64, 4 << 10].into_iter().flat_map(of_bytes).collect()
            }
            Work::Coordinators => of_modes(&|mode| {
                let loads = [(1, 64), (3, 64), (1, 1_024), (3, 1_024)];
                loads.map(|(nodes, in_flight)| Self::Coordinators { mode, nodes, in_flight }).to_vec()
            }),
            Work::Isolation => of_modes(&|mode| {
                let loads = [(0, 0), (1, 64), (1, 256), (1, 1_024), (3, 64), (3, 256), (3, 1_024)];
                loads.map(|(flooders, in_flight)| Self::Isolation { mode, flooders, in_flight }).to_vec()
            }),
            Work::Fanout => of_modes(&|mode| vec![Self::Fanout { mode, in_flight: 64 }]),
            _ => {
                let jobs = [10, 1_000, 100_000].map(|jobs| Self::Jobs { jobs });
                jobs.into_iter().chain([Self::Buffered { frames: BUFFERED_FRAMES }, Self::IdlePeers]).collect()
            }
        }
    }

    pub(crate) fn label(self) -> String {
        let nodes = |count: usize| if count == 1 { "node" } else { "nodes" };
        match self {
            Self::System(system) => system.key().to_owned(),
            Self::Window { items, bytes } => format!("{items} items of {bytes} bytes"),
            Self::Coordinators { mode, nodes: count, in_flight } => {
                format!("{}, {count} {}, {in_flight} in flight each", mode.key(), nodes(count))
            }
            Self::Isolation { mode, flooders: 0, .. } => format!("{}, no flood", mode.key()),
            Self::Isolation { mode, flooders, in_flight } => {
                let flood = if flooders == 1 { "other floods" } else { "others flood" };
                format!("{}, {flooders} {flood}, {in_flight} in flight each", mode.key())
            }
            Self::Fanout { mode, in_flight } => format!("{}, {in_flight} in flight", mode.key()),
            Self::IdlePeers => format!("idle peers ({FEW_PEERS} to {MANY_PEERS})"),
            Self::Jobs { jobs } => format!("{jobs} jobs, 64 calls in flight beside them"),
            Self::Buffered { frames } => format!("{frames} buffered calls of {SMALL_BYTES} bytes"),
        }
    }

    /// The row that this one is set in relation to: rexi for other systems, per-node servers for other modes.
    pub(crate) fn reference(self) -> Option<Self> {
        let mode = Mode::PerNode;
        let reference = match self {
            Self::System(_) => Self::System(System::Rexi),
            Self::Coordinators { nodes, in_flight, .. } => Self::Coordinators { mode, nodes, in_flight },
            Self::Isolation { flooders, in_flight, .. } => Self::Isolation { mode, flooders, in_flight },
            Self::Fanout { in_flight, .. } => Self::Fanout { mode, in_flight },
            Self::Window { .. } | Self::IdlePeers | Self::Jobs { .. } | Self::Buffered { .. } => return None,
        };
        (reference != self).then_some(reference)
    }

    /// Plays the cell.
    pub(crate) async fn play(
        self,
        work: Work,
        runtime: Runtime,
        certificates: &Certificates,
        time: Duration,
    ) -> Result<Vec<Figure>, Failure> {
        let cell = |mode| Cell { common: Common { system: System::Rexi, runtime, mode }, certificates, time };
        let small = |in_flight| Play::Calls { in_flight, bytes: SMALL_BYTES };
        match self {
            Self::System(system) => {
                let cell = Cell { common: Common { system, runtime, mode: Mode::PerNode }, certificates, time };
                let play = work.play().ok_or_else(|| Failure::new("systems do not play this"))?;
                let (played, cpu_us) = cell.around_one_server(&[play]).await?;
                Ok(figures(work, played[0], cpu_us))
            }
            Self::Window { items, bytes } => {
                let play = Play::Items { bytes, window: items };
                let (played, cpu_us) = cell(Mode::PerNode).around_one_server(&[play]).await?;
                Ok(figures(work, played[0], cpu_us))
            }
            Self::Coordinators { mode, nodes, in_flight } => {
                let (played, cpu_us) = cell(mode).around_one_server(&vec![small(in_flight); nodes]).await?;
                Ok(of_coordinators(&played, cpu_us))
            }
            Self::Isolation { mode, flooders, in_flight } => {
                let flood = vec![Play::Flood { in_flight }; flooders];
                let plays: Vec<_> = [Play::Probe { beside: 0 }].into_iter().chain(flood).collect();
                let (played, _) = cell(mode).around_one_server(&plays).await?;
                Ok(of_isolation(&played))
            }
            Self::Fanout { mode, in_flight } => cell(mode).fanout(in_flight).await,
            Self::IdlePeers => cell(Mode::PerNode).idle_peers().await,
            Self::Jobs { jobs } => cell(Mode::PerNode).jobs(jobs).await,
            Self::Buffered { frames } => cell(Mode::PerNode).buffered(frames).await,
        }
    }
}

/// What all cells have.
struct Cell<'a> {
    common: Common,
    certificates: &'a Certificates,
    time: Duration,
}

impl Cell<'_> {
    /// Lets as many callers play as there are plays, all at once, against one server. Every node knows every other.
    /// Returns what they played, and the processor time of all.
    async fn around_one_server(&self, plays: &[Play]) -> Result<(Vec<Played>, u64), Failure> {
        let callers: Vec<_> = (1..=plays.len()).map(|number| format!("n{number}")).collect();
        let names = [&[SERVER.to_owned()], &callers[..]].concat();
        let cluster = Cluster::new(self.common, self.certificates, &names)?;
        let server = cluster.serve(SERVER, &callers).await?;
        let calls = callers.iter().map(|name| {
            let others = names.iter().filter(|&other| other != name).cloned().collect::<Vec<_>>();
            let cluster = &cluster;
            async move { cluster.call(std::slice::from_ref(name), &others).await }
        });
        let callers = try_join_all(calls).await?;
        self.play_at_once(vec![server], callers, plays).await
    }

    async fn play_at_once(
        &self,
        mut servers: Vec<Process>,
        mut callers: Vec<Process>,
        plays: &[Play],
    ) -> Result<(Vec<Played>, u64), Failure> {
        play_each(&mut callers, plays, self.time / 4).await?;
        let before = cpu_us(&mut servers).await?;
        let played = play_each(&mut callers, plays, self.time).await?;
        let servers_us = cpu_us(&mut servers).await?.saturating_sub(before);
        for process in callers.into_iter().chain(servers) {
            process.end().await;
        }
        let callers_us: u64 = played.iter().map(|played| played.cpu_us).sum();
        Ok((played, servers_us + callers_us))
    }

    /// One caller asks three servers, and waits for two.
    async fn fanout(&self, in_flight: usize) -> Result<Vec<Figure>, Failure> {
        let names = ["n1", "s1", "s2", "s3"].map(str::to_owned);
        let cluster = Cluster::new(self.common, self.certificates, &names)?;
        let others = |name: &str| names.iter().filter(|&other| other != name).cloned().collect::<Vec<_>>();
        let mut servers = Vec::new();
        for name in &names[1..] {
            servers.push(cluster.serve(name, &others(name)).await?);
        }
        let caller = cluster.call(&names[..1], &others("n1")).await?;
        let (played, cpu_us) = self.play_at_once(servers, vec![caller], &[Play::Quorum { in_flight }]).await?;
        Ok(figures(Work::Fanout, played[0], cpu_us))
    }

    /// What each peer takes on the server's side, and each node with one connection on the other. Certificates, code
    /// and the like are the same with few and with many, so what is told is the difference.
    async fn idle_peers(&self) -> Result<Vec<Figure>, Failure> {
        let (few, many) = (self.connected(FEW_PEERS).await?, self.connected(MANY_PEERS).await?);
        let each =
            |few: Usage, many: Usage| (many.rss_kib as f64 - few.rss_kib as f64) / (MANY_PEERS - FEW_PEERS) as f64;
        Ok(vec![
            Figure { metric: Metric::ServerKibPerPeer, value: each(few.0, many.0) },
            Figure { metric: Metric::CallerKibPerNode, value: each(few.1, many.1) },
        ])
    }

    async fn connected(&self, peers: usize) -> Result<(Usage, Usage), Failure> {
        let nodes: Vec<_> = (1..=peers).map(|number| format!("n{number}")).collect();
        let names = [&[SERVER.to_owned()], &nodes[..]].concat();
        let cluster = Cluster::new(self.common, self.certificates, &names)?;
        let mut server = cluster.serve(SERVER, &nodes).await?;
        let mut caller = cluster.call(&nodes, &[SERVER.to_owned()]).await?;
        let usage = (server.usage().await?, caller.usage().await?);
        caller.end().await;
        server.end().await;
        Ok(usage)
    }

    /// What jobs take on both sides, and what calls cost beside them.
    async fn jobs(&self, jobs: usize) -> Result<Vec<Figure>, Failure> {
        let names = [SERVER, "n1"].map(str::to_owned);
        let cluster = Cluster::new(self.common, self.certificates, &names)?;
        let mut server = cluster.serve(SERVER, &names[1..]).await?;
        let mut caller = cluster.call(&names[1..], &names[..1]).await?;
        let calls = Play::Calls { in_flight: 64, bytes: SMALL_BYTES };
        caller.play(calls, self.time / 4).await?;
        let before = (server.usage().await?, caller.usage().await?);
        caller.play(Play::Hold { jobs }, self.time).await?;
        let after = (server.usage().await?, caller.usage().await?);
        let (played, cpu_us) = self.play_at_once(vec![server], vec![caller], &[calls]).await?;
        let each = |before: Usage, after: Usage| (after.rss_kib as f64 - before.rss_kib as f64) * 1_024.0 / jobs as f64;
        let mut figures = figures(Work::Inflight64, played[0], cpu_us);
        figures.push(Figure { metric: Metric::ServerBytesPerJob, value: each(before.0, after.0) });
        figures.push(Figure { metric: Metric::CallerBytesPerJob, value: each(before.1, after.1) });
        Ok(figures)
    }

    /// What a call takes whose frame waits, since its peer has died.
    async fn buffered(&self, frames: usize) -> Result<Vec<Figure>, Failure> {
        let names = [SERVER, "n1"].map(str::to_owned);
        let cluster = Cluster::new(self.common, self.certificates, &names)?;
        let server = cluster.serve(SERVER, &names[1..]).await?;
        let mut caller = cluster.call(&names[1..], &names[..1]).await?;
        caller.play(Play::Calls { in_flight: 64, bytes: SMALL_BYTES }, self.time / 4).await?;
        // It is killed.
        drop(server);
        let before = caller.usage().await?;
        caller.play(Play::Buffer { frames }, self.time).await?;
        let after = caller.usage().await?;
        caller.end().await;
        let value = (after.rss_kib as f64 - before.rss_kib as f64) * 1_024.0 / frames as f64;
        Ok(vec![Figure { metric: Metric::CallerBytesPerFrame, value }])
    }
}

async fn play_each(callers: &mut [Process], plays: &[Play], time: Duration) -> Result<Vec<Played>, Failure> {
    try_join_all(callers.iter_mut().zip(plays).map(|(caller, &play)| caller.play(play, time))).await
}

async fn cpu_us(processes: &mut [Process]) -> Result<u64, Failure> {
    let usages = try_join_all(processes.iter_mut().map(Process::usage)).await?;
    Ok(usages.iter().map(|usage| usage.cpu_us).sum())
}

/// The figures of one caller, the most telling first.
fn figures(work: Work, played: Played, cpu_us: u64) -> Vec<Figure> {
    let figure = |metric| {
        let value = match metric {
            Metric::CallsPerSecond | Metric::ItemsPerSecond => played.count_per_second(),
            Metric::MibPerSecond => played.mib_per_second(),
            Metric::P50Micros => played.p50_us,
            Metric::P99Micros => played.p99_us,
            _ => cpu_us as f64 / played.count.max(1) as f64,
        };
        Figure { metric, value }
    };
    let metrics: &[Metric] = match work {
        Work::Seq => &[Metric::P50Micros, Metric::P99Micros, Metric::CpuMicros],
        Work::Stream64 | Work::Stream4k | Work::Windows => {
            &[Metric::ItemsPerSecond, Metric::MibPerSecond, Metric::CpuMicros]
        }
        Work::Bulk => &[Metric::MibPerSecond, Metric::P50Micros, Metric::P99Micros, Metric::CpuMicros],
        Work::Mixed => &[Metric::P99Micros, Metric::P50Micros, Metric::MibPerSecond],
        _ => &[Metric::CallsPerSecond, Metric::P50Micros, Metric::P99Micros, Metric::CpuMicros],
    };
    metrics.iter().map(|&metric| figure(metric)).collect()
}

fn of_coordinators(played: &[Played], cpu_us: u64) -> Vec<Figure> {
    let count: u64 = played.iter().map(|played| played.count).sum();
    let figure = |metric, value| Figure { metric, value };
    vec![
        figure(Metric::CallsPerSecond, played.iter().map(Played::count_per_second).sum()),
        // Of the node that has it worst.
        figure(Metric::P99Micros, played.iter().map(|played| played.p99_us).fold(0.0, f64::max)),
        figure(Metric::CpuMicros, cpu_us as f64 / count.max(1) as f64),
    ]
}

/// The probe is the first; the calls are those of the others.
fn of_isolation(played: &[Played]) -> Vec<Figure> {
    let figure = |metric, value| Figure { metric, value };
    vec![
        figure(Metric::P99Micros, played[0].p99_us),
        figure(Metric::P50Micros, played[0].p50_us),
        figure(Metric::CallsPerSecond, played[1..].iter().map(Played::count_per_second).sum()),
    ]
}

const SERVER: &str = "server";

const FEW_PEERS: usize = 8;
const MANY_PEERS: usize = 56;

/// More than a peer's buffer takes by default, so that the pages of memory do not show.
pub(crate) const BUFFERED_FRAMES: usize = 20_000;
