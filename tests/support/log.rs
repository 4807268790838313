//! What the nodes of this process log, kept as lines for tests to look into.
//!
//! Tests of one process run at once, so a line is found by an address or a name that is the test's own.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Layer};

use crate::patience::{patiently, waited};

/// The lines from a moment on.
pub struct Log {
    from: u64,
}

impl Log {
    /// Keeps lines from now on.
    pub fn here() -> Self {
        listen();
        Self { from: KEPT.lock().expect("nothing panics while it holds the log").end() }
    }

    /// The lines so far that hold all `parts`, oldest first: `LEVEL message name=value name=value`.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        let kept = KEPT.lock().expect("nothing panics while it holds the log");
        let skipped = self.from.checked_sub(kept.first).expect("the log is long enough for a test");
        let lines = kept.lines.iter().skip(usize::try_from(skipped).expect("a number of lines"));
        lines.filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }

    /// Waits for a line that holds all `parts`, and shows the lines with the first part where none comes.
    pub async fn line(&self, parts: &[&str]) -> String {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let found = async {
            loop {
                if let Some(line) = self.lines(parts).into_iter().next() {
                    return line;
                }
                ticks.tick().await;
            }
        };
        let what = || waited(&format!("a line with {parts:?}; {:#?}", self.lines(&parts[..1])));
        patiently(found).await.unwrap_or_else(|| panic!("{}", what()))
    }
}

/// Keeps lines, and shows them where a test fails. `RUST_LOG` chooses how much is shown.
pub(crate) fn listen() {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let shown = tracing_subscriber::fmt::layer().with_test_writer().with_ansi(false).with_filter(filter);
    // Fails where another test of the same process was first, which will do.
    let kept = Targets::new().with_default(LevelFilter::INFO).with_target("rexi_server", LevelFilter::DEBUG);
    let _ = tracing_subscriber::registry().with(shown).with(Keeper.with_filter(kept)).try_init();
}

struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = format!("{} {}{}", event.metadata().level(), text.message, text.fields);
        KEPT.lock().expect("nothing panics while it holds the log").push(line);
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.fields, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

struct Kept {
    lines: VecDeque<String>,
    /// The number of the oldest line that is kept.
    first: u64,
}

impl Kept {
    fn push(&mut self, line: String) {
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
            self.first += 1;
        }
        self.lines.push_back(line);
    }

    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

static KEPT: Mutex<Kept> = Mutex::new(Kept { lines: VecDeque::new(), first: 0 });

const LINES_MAX: usize = 100_000;
