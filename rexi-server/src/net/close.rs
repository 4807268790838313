//! How a connection is closed: with a code, and a reason in words that fits into one packet.

use rexi_proto::CloseCode;

/// Closes a connection with a code and a reason in words, cut to what QUIC carries in one packet.
pub(crate) fn close(connection: &quinn::Connection, code: CloseCode, reason: &str) {
    connection.close(code.code().into(), in_one_packet(reason).as_bytes());
}

fn in_one_packet(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)]
}

/// Bytes of a reason that a close carries; a CONNECTION_CLOSE frame must fit into one packet of 1,200 bytes.
const CLOSE_REASON_BYTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_1_000_bytes_and_at_a_character() {
        let most = "a".repeat(1_000);
        assert_eq!(in_one_packet(&most), most);
        assert_eq!(in_one_packet(&format!("{most}a")), most);
        assert_eq!(in_one_packet(&format!("{}é", &most[1..])), &most[1..]);
        assert_eq!(in_one_packet("short"), "short");
    }
}
