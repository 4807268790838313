//! The picture of the train: each release with what it hosts, where it casts to, what it speaks; below it the legal
//! mixes, each with a mark for every level that checked it.
//!
//! Signs and words say everything that a colour or a dash does. The page defines the colours.

use std::fmt::Write;

use crate::verdict::level::Level;
use crate::verdict::trace::escape;
use crate::verify::{Mix, Mixes, ServerKind, Stop};

/// The picture, as an `<svg>` element.
pub(super) fn svg(train: &[Stop], mixes: &Mixes) -> String {
    let width = LABELS + train.len().max(1) * (BOX + GAP);
    let height = TOP + BODY + 30 + (mixes.legal.len() + 1) * ROW;
    let mut svg = String::new();
    put(
        &mut svg,
        format_args!(r#"<svg class="train" viewBox="0 0 {width} {height}" width="{width}" height="{height}""#),
    );
    put(&mut svg, format_args!(r#" role="img" aria-labelledby="train-title" fill="none" stroke="currentColor""#));
    svg.push_str(r#" font-family="inherit" font-size="13"><title id="train-title">"#);
    svg.push_str("The releases in order, and the mixes of them that are legal</title>");
    for (row, label) in ["release", "hosts", "", "casts to", "", "speaks"].iter().enumerate() {
        let y = TOP + 24 + row * 28;
        label_at(&mut svg, 0, y, "start", label, true);
    }
    for (place, stop) in train.iter().enumerate() {
        draw_stop(&mut svg, left(place), stop);
        if place > 0 {
            let (from, to, y) = (left(place) - GAP, left(place), TOP + 20);
            put(
                &mut svg,
                format_args!(r#"<path d="M{from} {y}H{to}M{} {}L{to} {y}L{} {}"/>"#, to - 6, y - 4, to - 6, y + 4),
            );
        }
    }
    let below = TOP + BODY + 30;
    label_at(&mut svg, 0, below, "start", "legal mixes", true);
    label_at(&mut svg, LABELS, below, "start", "● run side by side; below each bar: the levels that checked it", true);
    for (row, mix) in mixes.legal.iter().enumerate() {
        draw_mix(&mut svg, below + (row + 1) * ROW, mix);
    }
    svg.push_str("</svg>");
    svg
}

fn draw_stop(svg: &mut String, x: usize, stop: &Stop) {
    put(svg, format_args!(r#"<rect x="{x}" y="{TOP}" width="{BOX}" height="{BODY}" rx="6" stroke-opacity=".5"/>"#));
    let text =
        |svg: &mut String, row: usize, what: &str| label_at(svg, x + 12, TOP + 24 + row * 28, "start", what, false);
    put(svg, format_args!(r#"<text x="{}" y="{}" class="big">{}</text>"#, x + 12, TOP + 25, escape(&stop.release)));
    for (row, server) in [ServerKind::Singleton, ServerKind::PerNode].into_iter().enumerate() {
        let there = stop.hosts.contains(&server);
        let y = TOP + 24 + (row + 1) * 28;
        let dash = if there { "" } else { r#" stroke-dasharray="3 4" stroke-opacity=".4""# };
        let class = if there { "hosted" } else { "absent" };
        put(
            svg,
            format_args!(
                r#"<rect class="{class}" x="{}" y="{}" width="{}" height="22" rx="4"{dash}/>"#,
                x + 8,
                y - 16,
                BOX - 16
            ),
        );
        let what = if there { name(server).to_owned() } else { format!("no {}", name(server)) };
        let faint = if there { "" } else { r#" fill-opacity=".55""# };
        put(
            svg,
            format_args!(r#"<text x="{}" y="{y}" fill="currentColor" stroke="none"{faint}>{what}</text>"#, x + 16),
        );
    }
    for (row, target) in stop.phases.iter().enumerate() {
        text(svg, 3 + row, &format!("{} → {}", target.phase, name(target.casts)));
    }
    text(svg, 5, &stop.speaks.replace("..", " and "));
}

fn draw_mix(svg: &mut String, y: usize, mix: &Mix) {
    let (Some(&first), Some(&last)) = (mix.places.first(), mix.places.last()) else { return };
    label_at(svg, 0, y + 5, "start", &mix.releases.join(" + "), false);
    let centre = |place: usize| left(place) + BOX / 2;
    let (from, to) = (centre(first), centre(last));
    put(svg, format_args!(r#"<path class="bar" d="M{from} {y}H{to}"/>"#));
    for &place in &mix.places {
        put(svg, format_args!(r#"<circle class="dot" cx="{}" cy="{y}" r="6"/>"#, centre(place)));
    }
    let mark = |level: Level| {
        let checked = mix.checked.iter().any(|checked| checked.level == level && !checked.what.is_empty());
        let word = level.to_string();
        let short = word.split(' ').next().unwrap_or_default().to_owned();
        if checked { format!("{short} ✓") } else { format!("{short} –") }
    };
    let marks = Level::ALL.map(mark).join("  ");
    label_at(svg, from.midpoint(to), y + 22, "middle", &marks, false);
}

const fn name(server: ServerKind) -> &'static str {
    match server {
        ServerKind::Singleton => "singleton",
        ServerKind::PerNode => "per-node server",
    }
}

fn label_at(svg: &mut String, x: usize, y: usize, anchor: &str, what: &str, faint: bool) {
    let class = if faint { r#" class="faint""# } else { "" };
    let what = escape(what);
    put(
        svg,
        format_args!(
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}"{class} fill="currentColor" stroke="none">{what}</text>"#
        ),
    );
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a string takes all that is written to it");
}

fn left(place: usize) -> usize {
    LABELS + place * (BOX + GAP)
}

/// Measures, in CSS pixels: the column of labels, a release's box, the way between two, the margin above, the height of
/// a box, a mix's row.
const LABELS: usize = 110;
const BOX: usize = 190;
const GAP: usize = 30;
const TOP: usize = 8;
const BODY: usize = 180;
const ROW: usize = 44;
