//! A client of one node: HTTP/1.1 over a connection for each request, for tests and for those who have no other client
//! at hand.
//!
//! For a request without an answer it says whether the node can have seen it, since a write that was sent may happen.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::coordinator::VALUE_BYTES_MAX;
use crate::http::VERSION_HEADER;
use crate::replica::Consistency;

/// A node's HTTP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    address: SocketAddr,
}

/// What a node has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The version of the entry that the answer is about.
    pub version: Option<String>,
    /// The value, or why there is none, as a line of text.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There was no connection. Nothing was done.
    #[error("cannot connect: {0}")]
    NotSent(#[source] io::Error),
    /// The connection broke. The node may have done what was asked, and may still do it.
    #[error("no answer: {0}")]
    NoAnswer(#[from] io::Error),
}

impl Client {
    /// A client of the node that serves HTTP at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Reads a key, linearizably: 200 with its value, or 404.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, key: &str) -> Result<Answer, ClientError> {
        self.request("GET", &escaped(key), &[]).await
    }

    /// As [`Client::get`], with this consistency: 409 where the node does not read so yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_as(&self, key: &str, consistency: Consistency) -> Result<Answer, ClientError> {
        self.request("GET", &format!("{}?consistency={consistency}", escaped(key)), &[]).await
    }

    /// Writes a key: 204.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn put(&self, key: &str, value: &[u8]) -> Result<Answer, ClientError> {
        self.request("PUT", &escaped(key), value).await
    }

    /// Deletes a key: 204.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&self, key: &str) -> Result<Answer, ClientError> {
        self.request("DELETE", &escaped(key), &[]).await
    }

    async fn request(&self, method: &str, path: &str, body: &[u8]) -> Result<Answer, ClientError> {
        let mut stream = TcpStream::connect(self.address).await.map_err(ClientError::NotSent)?;
        let (address, length) = (self.address, body.len());
        let head = format!(
            "{method} /kv/{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let sent = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        // Who refuses a body may answer before it has read all of it.
        parsed(&answer).map_err(|garbled| ClientError::NoAnswer(sent.err().unwrap_or(garbled)))
    }
}

/// A key as part of a path: all but letters, digits and some signs as `%` and its bytes.
fn escaped(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    key.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An answer that is whole.
fn parsed(answer: &[u8]) -> io::Result<Answer> {
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "the answer is cut off, or not HTTP");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(garbled)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| garbled())?;
    let body = answer[end + 4..].to_vec();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    let header = |name: &str| {
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let length = header("content-length").map_or(Ok(0), |length| length.parse::<usize>().map_err(|_| garbled()))?;
    if length != body.len() {
        return Err(garbled());
    }
    Ok(Answer { status, version: header(VERSION_HEADER).map(str::to_owned), body })
}

/// The longest answer: a value and its head.
const ANSWER_BYTES_MAX: u64 = VALUE_BYTES_MAX as u64 + 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_read_and_half_of_one_is_none() {
        let text = b"HTTP/1.1 200 OK\r\nKv-Version: 7@n1/1/3\r\ncontent-length: 5\r\n\r\nhello";
        let answer = parsed(text).expect("an answer");
        assert_eq!((answer.status, answer.version.as_deref()), (200, Some("7@n1/1/3")));
        assert_eq!(answer.body, b"hello");
        for length in 0..text.len() {
            assert!(parsed(&text[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_key_is_escaped_where_a_path_cannot_hold_it() {
        assert_eq!(escaped("a-1_.~"), "a-1_.~");
        assert_eq!(escaped("a/b ä?"), "a%2Fb%20%C3%A4%3F");
    }
}
