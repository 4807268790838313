//! A trace: what happened between nodes, event by event, as text for a terminal and as a sequence diagram in SVG.
//!
//! Every level tells its counterexamples as traces: lanes are nodes from left to right, events go from top to bottom.
//! What a level does not know about an event (its time, for example) it leaves out. The diagram refers to nothing
//! outside itself and takes its colours from the page, so that it can be printed.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::columns::hanging;

/// What happened, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The nodes, from left to right, as the diagram heads them: a name and what else is worth saying of it.
    pub lanes: Vec<String>,
    /// What happened, first to last.
    pub events: Vec<TraceEvent>,
}

/// One event of a trace. Lanes are named by their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceEvent {
    /// When, since the start of the run; none where order is all that is known.
    pub at: Option<Duration>,
    /// Where.
    pub place: Place,
    /// What, in a few words.
    pub what: String,
    /// Whether this is the event that broke the invariant.
    pub breach: bool,
}

/// Where an event took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On one node.
    At(usize),
    /// On the way from one node to another, where it arrived.
    Between(usize, usize),
    /// On the way from one node to another, where it was lost.
    Lost(usize, usize),
    /// Everywhere, or outside all nodes.
    Everywhere,
}

impl TraceEvent {
    /// An event without a time that breaks nothing.
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        Self { at: None, place, what: what.into(), breach: false }
    }

    /// The same event at a time.
    #[must_use]
    pub fn at(self, at: Duration) -> Self {
        Self { at: Some(at), ..self }
    }

    /// The same event as the one that broke the invariant.
    #[must_use]
    pub fn breach(self) -> Self {
        Self { breach: true, ..self }
    }
}

impl Trace {
    /// The sequence diagram, as an `<svg>` element that stands alone.
    pub fn to_svg(&self) -> String {
        let width = self.width();
        let bottom = TOP + (self.events.len() + 1) * ROW;
        let mut svg = String::new();
        let height = bottom + ROW;
        write!(svg, r#"<svg class="trace" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}""#)
            .expect(NEVER);
        write!(svg, r#" width="{width}" height="{height}" role="img" fill="none" stroke="currentColor""#).expect(NEVER);
        svg.push_str(r#" font-family="sans-serif" font-size="13">"#);
        for (lane, name) in self.lanes.iter().enumerate() {
            let x = centre(lane);
            text(&mut svg, x, TOP - ROW / 2, "middle", true, name);
            write!(svg, r#"<path d="M{x} {TOP}V{bottom}" stroke-opacity=".35"/>"#).expect(NEVER);
        }
        for (row, event) in self.events.iter().enumerate() {
            self.draw(&mut svg, TOP + (row + 1) * ROW, width, row + 1, event);
        }
        svg.push_str("</svg>");
        svg
    }

    /// As wide as its lanes, or as its longest text needs: where it is shown it may scroll, but nothing is cut off.
    fn width(&self) -> usize {
        let needed = self.events.iter().map(|event| {
            let text = event.what.chars().count() * if event.breach { BOLD } else { PLAIN };
            match event.place {
                Place::At(lane) => centre(lane) + 10 + text,
                Place::Between(from, to) | Place::Lost(from, to) => centre(from).midpoint(centre(to)) + text / 2,
                Place::Everywhere => text,
            }
        });
        let lanes = LEFT + self.lanes.len().max(1) * LANE;
        needed.max().unwrap_or(0).max(lanes) + RIGHT
    }

    fn draw(&self, svg: &mut String, y: usize, width: usize, number: usize, event: &TraceEvent) {
        let colour = if event.breach { r#" stroke="var(--breach, #b3261e)" stroke-width="2""# } else { "" };
        let time = event.at.map_or_else(|| number.to_string(), |at| format!("{number} · {}", seconds(at)));
        text(svg, 8, y + 4, "start", false, &time);
        match event.place {
            Place::At(lane) => {
                let x = centre(lane);
                write!(svg, r#"<circle cx="{x}" cy="{y}" r="4" fill="currentColor"{colour}/>"#).expect(NEVER);
                text(svg, x + 10, y - 6, "start", event.breach, &event.what);
            }
            Place::Between(from, to) | Place::Lost(from, to) => {
                let lost = matches!(event.place, Place::Lost(..));
                let (from, to) = (centre(from), centre(to));
                let end = if lost { from.midpoint(to) } else { to };
                let back = if to >= from { end.saturating_sub(8) } else { end + 8 };
                let dash = if lost { r#" stroke-dasharray="5 4""# } else { "" };
                write!(svg, r#"<path d="M{from} {y}H{end}"{dash}{colour}/>"#).expect(NEVER);
                let head = if lost {
                    format!("M{} {}L{} {}M{} {}L{} {}", end - 5, y - 5, end + 5, y + 5, end - 5, y + 5, end + 5, y - 5)
                } else {
                    format!("M{back} {}L{end} {y}L{back} {}", y - 5, y + 5)
                };
                write!(svg, r#"<path d="{head}"{colour}/>"#).expect(NEVER);
                text(svg, from.midpoint(to), y - 6, "middle", event.breach, &event.what);
            }
            Place::Everywhere => {
                write!(svg, r#"<path d="M{LEFT} {y}H{}" stroke-dasharray="2 4"{colour}/>"#, width - RIGHT)
                    .expect(NEVER);
                text(svg, width / 2, y - 6, "middle", event.breach, &event.what);
            }
        }
    }
}

impl fmt::Display for Trace {
    /// A line an event, or more of them where one is too long: number, time, where, what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = |lane: usize| self.lanes.get(lane).map_or("?", String::as_str);
        for (number, event) in (1..).zip(&self.events) {
            let time = event.at.map_or_else(String::new, |at| format!("{:>10} ", seconds(at)));
            let place = match event.place {
                Place::At(at) => format!("{}: ", lane(at)),
                Place::Between(from, to) => format!("{} -> {}: ", lane(from), lane(to)),
                Place::Lost(from, to) => format!("{} -x {}: ", lane(from), lane(to)),
                Place::Everywhere => "-- ".to_owned(),
            };
            // Its two words stay together.
            let here = if event.breach { "  <--\u{a0}here" } else { "" };
            let line = hanging(&format!("{number:>4} {time}"), &format!("{place}{}{here}", event.what));
            writeln!(f, "{}", line.replace("<--\u{a0}", "<-- "))?;
        }
        Ok(())
    }
}

/// A time as diagrams and lists show it.
fn seconds(at: Duration) -> String {
    format!("{:.3} s", at.as_secs_f64())
}

fn centre(lane: usize) -> usize {
    LEFT + lane * LANE + LANE / 2
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, bold: bool, what: &str) {
    let weight = if bold { r#" font-weight="bold""# } else { "" };
    let what = escape(what);
    write!(
        svg,
        r#"<text x="{x}" y="{y}" text-anchor="{anchor}"{weight} fill="currentColor" stroke="none">{what}</text>"#
    )
    .expect(NEVER);
}

/// Text as the content of an element or of a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

const NEVER: &str = "a string takes all that is written to it";

/// Measures of the diagram, in CSS pixels: where lanes begin, their width, the margin behind them, the first row, rows.
const LEFT: usize = 110;
const LANE: usize = 260;
const RIGHT: usize = 40;

/// How wide a character is at most on average, in the widest of the usual fonts.
const PLAIN: usize = 8;
const BOLD: usize = 9;
const TOP: usize = 40;
const ROW: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let events = vec![
            TraceEvent::new(Place::Everywhere, "all start").at(Duration::ZERO),
            TraceEvent::new(Place::Between(0, 1), "Cast <c1> to \"singleton\""),
            TraceEvent::new(Place::Lost(1, 0), "Reply c1").at(Duration::from_millis(1_500)),
            TraceEvent::new(Place::At(1), "c1 still runs").breach(),
        ];
        Trace { lanes: vec!["n1 1.1".to_owned(), "n2 1.2".to_owned()], events }
    }

    #[test]
    fn a_trace_reads_from_top_to_bottom() {
        let expected = "   1    0.000 s -- all start\n   \
                        2 n1 1.1 -> n2 1.2: Cast <c1> to \"singleton\"\n   \
                        3    1.500 s n2 1.2 -x n1 1.1: Reply c1\n   \
                        4 n2 1.2: c1 still runs  <-- here\n";
        assert_eq!(trace().to_string(), expected);
    }

    #[test]
    fn a_long_event_goes_on_under_its_place() {
        let mut trace = trace();
        trace.events[2].what = "Reply of many words ".repeat(5).trim().to_owned();
        let text = trace.to_string();
        crate::columns::tests::assert_fits(&text);
        let goes_on = format!("\n{}Reply of many words", " ".repeat(16));
        assert!(text.contains(&goes_on) || text.contains(&format!("\n{}of many", " ".repeat(16))), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn the_diagram_is_well_formed_and_names_every_lane_and_event() {
        let svg = trace().to_svg();
        for part in ["n1 1.1", "n2 1.2", "Cast &lt;c1&gt; to &quot;singleton&quot;", "c1 still runs", "--breach"] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(!svg.contains("href"), "nothing outside is referred to");
        assert!(Trace::default().to_svg().ends_with("</svg>"));
    }

    #[test]
    fn the_diagram_is_as_wide_as_its_longest_text() {
        let with = |place, letters: usize| {
            let lanes = vec!["n1".to_owned(), "n2".to_owned()];
            Trace { lanes, events: vec![TraceEvent::new(place, "x".repeat(letters))] }.width()
        };
        let lanes = LEFT + 2 * LANE + RIGHT;
        for place in [Place::At(1), Place::Between(0, 1), Place::Lost(1, 0), Place::Everywhere] {
            assert_eq!(with(place, 3), lanes, "{place:?}");
            assert!(with(place, 300) > lanes + 300, "{place:?}");
        }
    }
}
