//! How the tools name a node that they count: number 0 is `n1`, in plans, ledgers, traces and on command lines.

/// The name of a node.
pub(crate) fn node_name(node: impl Into<usize>) -> String {
    format!("n{}", node.into() + 1)
}

/// The node of a name, if it is one of these.
pub(crate) fn node_number(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_node_and_any_other_text_to_none() {
        assert_eq!((node_name(0_u8), node_name(31_usize)), ("n1".to_owned(), "n32".to_owned()));
        assert_eq!(node_number(&node_name(u16::MAX)), Some(65_535));
        for other in ["n0", "n", "1", "m1", "n1 ", "n-1", "", "n99999999999999999999"] {
            assert_eq!(node_number(other), None, "{other:?}");
        }
    }
}
