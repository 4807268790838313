//! The work: which there is, what one caller does for it, and what is said of it.

pub(crate) mod calls;
pub(crate) mod items;
pub(crate) mod probe;
pub(crate) mod load;

use clap::ValueEnum;

use crate::order::Play;

/// Work, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "verbatim")]
pub(crate) enum Work {
    /// One call after the other, of 64 bytes.
    #[value(name = "seq")]
    Seq,
    /// 64 calls of 64 bytes in flight.
    #[value(name = "inflight64")]
    Inflight64,
    /// 1,024 calls of 64 bytes in flight.
    #[value(name = "inflight1024")]
    Inflight1024,
    /// A stream of items of 64 bytes.
    #[value(name = "stream64")]
    Stream64,
    /// A stream of items of 4 KiB.
    #[value(name = "stream4k")]
    Stream4k,
    /// Four echoes of 1 MiB in flight.
    #[value(name = "bulk")]
    Bulk,
    /// A small call every 2 ms beside four echoes of 1 MiB in flight.
    #[value(name = "mixed")]
    Mixed,
    /// Streams with windows of several sizes (rexi alone).
    #[value(name = "windows")]
    Windows,
    /// Several nodes that call one (rexi alone).
    #[value(name = "coordinators")]
    Coordinators,
    /// What a node with little to do sees while others flood (rexi alone).
    #[value(name = "isolation")]
    Isolation,
    /// Casts to three nodes that wait for two (rexi alone).
    #[value(name = "fanout")]
    Fanout,
    /// What peers and jobs take (rexi alone).
    #[value(name = "memory")]
    Memory,
}

impl Work {
    /// What one caller plays, where all systems do.
    pub(crate) fn play(self) -> Option<Play> {
        match self {
            Self::Seq => Some(Play::Calls { in_flight: 1, bytes: SMALL_BYTES }),
            Self::Inflight64 => Some(Play::Calls { in_flight: 64, bytes: SMALL_BYTES }),
            Self::Inflight1024 => Some(Play::Calls { in_flight: 1_024, bytes: SMALL_BYTES }),
            Self::Stream64 => Some(Play::Items { bytes: 64, window: STREAM_WINDOW_BYTES / 64 }),
            Self::Stream4k => Some(Play::Items { bytes: 4 << 10, window: STREAM_WINDOW_BYTES / (4 << 10) }),
            Self::Bulk => Some(Play::Calls { in_flight: LARGE_IN_FLIGHT, bytes: LARGE_BYTES }),
            Self::Mixed => Some(Play::Probe { beside: LARGE_IN_FLIGHT }),
            Self::Windows | Self::Coordinators | Self::Isolation | Self::Fanout | Self::Memory => None,
        }
    }

    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Stream64 | Self::Stream4k)
    }

    /// Whether it is played on runtimes of several threads, too.
    pub(crate) fn has_threads(self) -> bool {
        matches!(self, Self::Inflight64 | Self::Inflight1024)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Seq => "One call after the other, 64 bytes",
            Self::Inflight64 => "64 calls in flight, 64 bytes",
            Self::Inflight1024 => "1,024 calls in flight, 64 bytes",
            Self::Stream64 => "A stream of items, 64 bytes each",
            Self::Stream4k => "A stream of items, 4 KiB each",
            Self::Bulk => "Four echoes of 1 MiB in flight",
            Self::Mixed => "Small calls beside four echoes of 1 MiB",
            Self::Windows => "Streams with windows of several sizes",
            Self::Coordinators => "Several nodes that call one",
            Self::Isolation => "What a node with little to do sees while others flood",
            Self::Fanout => "Casts to three nodes that wait for two",
            Self::Memory => "What peers and jobs take",
        }
    }
}

/// Bytes of rexi's streams that may be unacknowledged where it is set beside other systems. Its default is the
/// original's 5 items, with which a job waits for its caller every five items.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// Bytes of a small call.
pub(crate) const SMALL_BYTES: usize = 64;

/// Bytes of a large one.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// Large ones in flight.
const LARGE_IN_FLIGHT: usize = 4;
