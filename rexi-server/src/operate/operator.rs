//! The other end of the port for operators: what an operator's tool asks members with.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quinn::{ConnectionError, Endpoint};
use rexi_proto::operate::{OPERATOR_REPLY_BYTES_MAX, OperatorAsk, OperatorReply};
use rexi_proto::{CloseCode, NodeName};
use thiserror::Error;

use crate::engine::{Identity, IdentityError};

/// An operator who asks members at their ports.
#[derive(Debug)]
pub struct OperatorClient {
    client: quinn::ClientConfig,
}

/// Why a member gave no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// It was not reached, or did not take this operator for one. Nothing was asked.
    #[error("{node} at {address} was not reached: {reason}")]
    NotReached {
        /// The member.
        node: NodeName,
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// It was asked, and its answer did not come. What was asked may be under way.
    #[error("{node} at {address} was asked, and did not answer: {reason}")]
    NoAnswer {
        /// The member.
        node: NodeName,
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

impl OperatorClient {
    /// That of an identity: its certificate names the operator, and its authorities are those of the nodes.
    ///
    /// # Errors
    /// [`IdentityError::Unconfigurable`].
    pub fn new(identity: &Identity) -> Result<Self, IdentityError> {
        Ok(Self { client: identity.operator_client()? })
    }

    /// Asks a member at its port for operators, and waits for its answer for as long as `limit` says.
    ///
    /// # Errors
    /// [`OperatorError`] says whether anything was asked.
    pub async fn ask(
        &self,
        node: &NodeName,
        address: SocketAddr,
        ask: &OperatorAsk,
        limit: Duration,
    ) -> Result<OperatorReply, OperatorError> {
        let not_reached = |reason: String| OperatorError::NotReached { node: node.clone(), address, reason };
        let no_answer = |reason: String| OperatorError::NoAnswer { node: node.clone(), address, reason };
        let until = tokio::time::Instant::now() + limit;
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(local).map_err(|e| not_reached(e.to_string()))?;
        let connecting = endpoint.connect_with(self.client.clone(), address, node.as_str());
        let connecting = connecting.map_err(|e| not_reached(e.to_string()))?;
        let connection = tokio::time::timeout(CONNECT_LIMIT.min(limit), connecting).await;
        let connection = connection.map_err(|_| not_reached(format!("nobody answers within {CONNECT_LIMIT:?}")))?;
        let connection = connection.map_err(|e| not_reached(explained(&e)))?;
        let bytes = ask.encode().map_err(|e| not_reached(e.to_string()))?;
        let asked = async {
            let (mut send, mut recv) = connection.open_bi().await.map_err(|e| explained(&e))?;
            send.write_all(&bytes).await.map_err(|e| e.to_string())?;
            let _ = send.finish();
            let reply = recv.read_to_end(OPERATOR_REPLY_BYTES_MAX as usize).await;
            let reply = reply.map_err(|e| match connection.close_reason() {
                Some(closed) => explained(&closed),
                None => e.to_string(),
            })?;
            OperatorReply::decode(&reply)
                .map_err(|e| format!("its answer cannot be read ({e}): use a tool of its version"))
        };
        let asked = tokio::time::timeout_at(until, asked).await;
        // The other end judges the certificate once this one holds the connection for made.
        let is_refused = connection.close_reason().is_some_and(|closed| refuses(&closed));
        connection.close(0_u32.into(), b"answered");
        let _ = tokio::time::timeout(CLOSE_LIMIT, endpoint.wait_idle()).await;
        let asked = asked.map_err(|_| no_answer(format!("nothing came within {limit:?}")))?;
        asked.map_err(|why| if is_refused { not_reached(why) } else { no_answer(why) })
    }
}

/// Whether a member has closed since it does not take who asks for an operator: nothing was asked then.
fn refuses(closed: &ConnectionError) -> bool {
    match closed {
        ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_) => true,
        ConnectionError::ApplicationClosed(closed) => {
            CloseCode::from_code(closed.error_code.into_inner()) == Some(CloseCode::BadHandshake)
        }
        _ => false,
    }
}

/// TLS's word for what an operator can mend.
fn explained(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TimedOut => "nobody answers there".to_owned(),
        error => error.to_string(),
    }
}

/// How long a member may take to be reached.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How long a close may take to be sent.
const CLOSE_LIMIT: Duration = Duration::from_millis(50);
