//! Times in the words of the page.

/// A time: milliseconds below a second, then seconds, then minutes.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{:.1} s", ms as f64 / 1e3),
        _ => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_exact_as_it_is_short() {
        for (ms, told) in [(0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (99_949, "99.9 s"), (100_000, "1 min 40 s")]
        {
            assert_eq!(duration(ms), told);
        }
    }
}
