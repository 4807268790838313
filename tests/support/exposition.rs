//! A strict reader of Prometheus' text format, which refuses what `promtool check metrics` refuses.
//!
//! Source: the format's description in Prometheus' documentation, and the lints of promtool.

use std::collections::{BTreeMap, BTreeSet};

/// What one scrape said.
#[derive(Debug, Default)]
pub struct Exposition {
    /// By metric: its type.
    pub kinds: BTreeMap<String, String>,
    /// By metric and labels, as written: the value.
    pub samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Reads a scrape.
    ///
    /// # Errors
    /// What is wrong, with the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut read, mut helped) = (Self::default(), BTreeSet::new());
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').ok_or_else(|| wrong("a help without a text"))?;
                if text.is_empty() || !helped.insert(name.to_owned()) {
                    return Err(wrong("an empty help, or a second one"));
                }
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').ok_or_else(|| wrong("a type without a name"))?;
                lint(name, kind).map_err(|what| wrong(&what))?;
                if !helped.contains(name) {
                    return Err(wrong("no help text"));
                }
                if read.kinds.insert(name.to_owned(), kind.to_owned()).is_some() {
                    return Err(wrong("a second type"));
                }
            } else {
                let (series, value) = line.rsplit_once(' ').ok_or_else(|| wrong("a sample without a value"))?;
                let value: f64 = value.parse().map_err(|_| wrong("a value that is no number"))?;
                read.check_series(series).map_err(|what| wrong(&what))?;
                if read.samples.insert(series.to_owned(), value).is_some() {
                    return Err(wrong("the same series twice"));
                }
            }
        }
        read.check_histograms()?;
        Ok(read)
    }

    /// The value of a series, written as `name{label="value",…}` with its labels in the scrape's order.
    pub fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The sum over all series of a metric whose text contains `part`.
    pub fn sum(&self, metric: &str, part: &str) -> f64 {
        let of_metric = |series: &&String| series.split('{').next() == Some(metric) && series.contains(part);
        self.samples.iter().filter(|(series, _)| of_metric(series)).map(|(_, value)| value).sum()
    }

    fn check_series(&self, series: &str) -> Result<(), String> {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = family.filter(|family| self.kinds.get(*family).is_some_and(|kind| kind == "histogram"));
        if !self.kinds.contains_key(family.unwrap_or(name)) {
            return Err("a sample without a type before it".to_owned());
        }
        let labels = labels.strip_suffix('}').ok_or("labels that do not end")?;
        for label in labels.split("\",").filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once("=\"").ok_or("a label without a value in quotes")?;
            if !is_name(name) || value.contains('\n') {
                return Err(format!("the label {name}"));
            }
        }
        Ok(())
    }

    /// Buckets rise, and the last holds all.
    fn check_histograms(&self) -> Result<(), String> {
        let mut last: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (series, &count) in self.samples.iter().filter(|(series, _)| series.contains("_bucket{")) {
            let (of, bound) =
                series.split_once("le=\"").ok_or_else(|| format!("a bucket without a bound: {series}"))?;
            let bound = bound.split('"').next().and_then(|bound| bound.replace("+Inf", "inf").parse().ok());
            let bound: f64 = bound.ok_or_else(|| format!("a bound that is no number: {series}"))?;
            let highest = last.entry(of.to_owned()).or_insert((f64::NEG_INFINITY, 0.0));
            if bound > highest.0 {
                *highest = (bound, count);
            }
        }
        for (of, (bound, count)) in last {
            let whole = of.replace("_bucket{", "_count{");
            let whole = format!("{}}}", whole.trim_end_matches(','));
            if bound.is_finite() || self.value(&whole) != Some(count) {
                return Err(format!(
                    "{of}: the last bucket is up to {bound} with {count}, of {:?}",
                    self.value(&whole)
                ));
            }
        }
        Ok(())
    }
}

/// The lints: units and suffixes that belong to a type.
fn lint(name: &str, kind: &str) -> Result<(), String> {
    if !is_name(name) || name.contains(':') {
        return Err("a bad name".to_owned());
    }
    if let Some(unit) = UNITS.into_iter().find(|unit| name.split('_').any(|word| word == *unit)) {
        return Err(format!("{unit} is no base unit"));
    }
    match kind {
        "counter" if !name.ends_with("_total") => Err("a counter that does not end in _total".to_owned()),
        "gauge" | "histogram" if name.ends_with("_total") => Err(format!("a {kind} that ends in _total")),
        "histogram" if !name.ends_with("_seconds") => Err("a histogram without its unit".to_owned()),
        "counter" | "gauge" | "histogram" => Ok(()),
        other => Err(format!("the type {other}")),
    }
}

/// Units that Prometheus has another for: seconds, bytes, ratios.
const UNITS: [&str; 9] =
    ["milliseconds", "microseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "kibibytes", "percent"];

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
