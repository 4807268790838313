//! W3C trace context: which trace a cast belongs to, and its text form, the header `traceparent`.
//!
//! Source: <https://www.w3.org/TR/trace-context/>, level 1. The `tracestate` of vendors is not carried.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A caller's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Trace id.
    pub trace_id: u128,
    /// The caller's span id.
    pub span_id: u64,
    /// Flags; bit 0 means sampled.
    pub flags: u8,
}

/// A text that is not a `traceparent`. Its author is at fault; such a header is to be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no traceparent: it is version-trace-span-flags in lower-case hex of 2, 32, 16 and 2 digits, ids not zero")]
pub struct TraceContextError;

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Reads the header's text. Of a version that is not known yet, the four fields of version 0 are read.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let mut fields = text.trim().split('-');
        let mut field = |digits| hex(fields.next().ok_or(TraceContextError)?, digits);
        let version = field(2)?;
        let (trace_id, span_id, flags) = (field(32)?, field(16)?, field(2)?);
        let extended = fields.next().is_some();
        if version == 0xff || version == 0 && extended || trace_id == 0 || span_id == 0 {
            return Err(TraceContextError);
        }
        Ok(Self { trace_id, span_id: span_id as u64, flags: flags as u8 })
    }
}

/// Reads a field of so many lower-case digits, 32 at most.
fn hex(field: &str, digits: usize) -> Result<u128, TraceContextError> {
    let lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if field.len() != digits || !field.chars().all(lower) {
        return Err(TraceContextError);
    }
    u128::from_str_radix(field, 16).map_err(|_| TraceContextError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace =
            TraceContext { trace_id: 0x4bf92f3577b34da6a3ce929d0e0e4736, span_id: 0x00f067aa0ba902b7, flags: 1 };
        assert_eq!((text.parse(), trace.to_string()), (Ok(trace), text.to_owned()));
    }

    #[test]
    fn a_later_version_may_have_more_fields() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is-this";
        assert!(later.parse::<TraceContext>().is_ok());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let cases = [
            String::new(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7-+1"),
            format!("00-{}é-00f067aa0ba902b7-01", "a".repeat(30)),
        ];
        for case in cases {
            assert_eq!(case.parse::<TraceContext>(), Err(TraceContextError), "{case:?}");
        }
    }
}
