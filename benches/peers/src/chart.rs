//! The chart: a panel for each table with its first metric as bars, drawn as SVG by hand.

use std::fmt::Write;

use crate::cli::Runtime;
use crate::report::{Spread, number};
use crate::round::Table;

/// All panels, one below the other. A bar is a median, the line over it the lowest and the highest.
pub(crate) fn svg(tables: &[Table]) -> String {
    let mut panels = String::new();
    let mut top = MARGIN;
    for table in tables {
        top = panel(&mut panels, table, top);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         {panels}</svg>\n"
    )
}

/// Draws a panel and returns where the next one begins.
fn panel(svg: &mut String, table: &Table, top: u32) -> u32 {
    let Some(&metric) = table.metrics().first() else { return top };
    let threads = if table.runtime == Runtime::Mt { ", two workers" } else { "" };
    let title = escape(&format!("{}{threads}: {}", table.work.title(), metric.title()));
    let _ =
        writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\" font-weight=\"bold\" fill=\"#222222\">{title}</text>", top + 12);
    let spreads: Vec<_> = table.lines.iter().map(|line| (line, Spread::of(line.values(metric)))).collect();
    let longest = spreads.iter().filter_map(|(_, spread)| Some(spread.as_ref()?.max)).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| f64::from(BARS_WIDTH) * value.max(0.0) / longest;
    let mut y = top + 20;
    for (line, spread) in spreads {
        if spread.is_none() && line.rounds.iter().all(Result::is_ok) {
            // It has figures of another kind.
            continue;
        }
        let colour = if line.row.reference().is_none() { "#b5532d" } else { "#5b7d9c" };
        let label = escape(&line.row.label());
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222222\">{label}</text>",
            LEFT - 8,
            y + 13
        );
        let said = if let Some(spread) = spread {
            let (bar, middle) = (scale(spread.median), y + BAR_HEIGHT / 2);
            let (from, to) = (f64::from(LEFT) + scale(spread.min), f64::from(LEFT) + scale(spread.max));
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{bar:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\n\
                 <line x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\" stroke=\"#222222\"/>",
            );
            (number(spread.median), to)
        } else {
            ("failed".to_owned(), f64::from(LEFT))
        };
        let (text, x) = (said.0, said.1 + 6.0);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{}\" fill=\"#222222\">{text}</text>", y + 13);
        y += ROW_HEIGHT;
    }
    y + MARGIN
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const MARGIN: u32 = 16;
const WIDTH: u32 = 900;
/// Where bars begin; left of it are the rows' names.
const LEFT: u32 = 300;
/// Of the longest one; right of it is its figure.
const BARS_WIDTH: u32 = 480;
const BAR_HEIGHT: u32 = 16;
const ROW_HEIGHT: u32 = 22;
