//! A port for operators, who may look at the cluster and change its record: QUIC with an authority of their own, one
//! ask a connection. Who may ask what is a list; all else is denied, counted, and put down in the trail.
//!
//! What is asked is in the trail before it is done, and what came of it afterwards.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime};
use rexi_proto::CloseCode;
use rexi_proto::operate::{OPERATOR_ASK_BYTES_MAX, OperatorAsk, OperatorReply, TrailLine};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::engine::{
    CertifiedOperator, OPERATORS_AT_ONCE_MAX, OperatorAuthority, OperatorList, Shared, close, operator_of,
};
use crate::node::Node;

/// The open port of a node. It closes when the node stops.
#[derive(Debug)]
pub struct OperatePort {
    address: SocketAddr,
}

impl OperatePort {
    /// Opens the port of `node` at a UDP address; port 0 lets the system choose. Operators are who `authority` vouches
    /// for and `operators` names. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn open(
        node: &Node,
        address: SocketAddr,
        authority: OperatorAuthority,
        operators: OperatorList,
    ) -> io::Result<Self> {
        let server = authority.server(&node.shared().credentials.identity()).map_err(io::Error::other)?;
        let socket = std::net::UdpSocket::bind(address)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)?;
        let address = endpoint.local_addr()?;
        let shared = Arc::clone(node.shared());
        let port = Arc::new(Port { shared: Arc::clone(&shared), authority, operators });
        shared.spawn(port.serve(endpoint));
        tracing::info!(node = %shared.name, %address, "the port for operators' commands is open");
        Ok(Self { address })
    }

    /// Opens the port of a node's configuration, if it has one. Reads the authority's file, so it blocks for a moment.
    ///
    /// # Errors
    /// What the system says of the address or the file.
    pub fn of_config(node: &Node, config: &Config) -> io::Result<Option<Self>> {
        let Some((address, ca)) = config.operate() else { return Ok(None) };
        let authority = OperatorAuthority::from_pem_file(ca).map_err(io::Error::other)?;
        Self::open(node, address, authority, config.operators().clone()).map(Some)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

struct Port {
    /// Not a [`Node`]: the port does not keep the node running.
    shared: Arc<Shared>,
    authority: OperatorAuthority,
    operators: OperatorList,
}

impl Port {
    async fn serve(self: Arc<Self>, endpoint: Endpoint) {
        let places = Arc::new(Semaphore::new(OPERATORS_AT_ONCE_MAX));
        while let Some(incoming) = endpoint.accept().await {
            // Who cannot receive where it says to send from takes nobody's place.
            if !incoming.remote_address_validated() && incoming.may_retry() {
                let _ = incoming.retry();
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let port = Arc::clone(&self);
            self.shared.spawn(async move {
                let _place = place;
                let address = incoming.remote_address();
                if let Err(error) = port.take(incoming).await
                    && let Some(unsaid) = port.shared.refused.next()
                {
                    let node = &port.shared.name;
                    tracing::warn!(%node, %address, error, unsaid, "refused an operator's connection");
                }
            });
        }
    }

    async fn take(self: &Arc<Self>, incoming: Incoming) -> Result<(), String> {
        let late = |_| format!("nothing was asked within {ASK_LIMIT:?}");
        let asked = async {
            // That of now: the node's identity may have been replaced.
            let server = self.authority.server(&self.shared.credentials.identity()).map_err(|e| e.to_string())?;
            let connecting = incoming.accept_with(Arc::new(server)).map_err(|e| e.to_string())?;
            let connection = connecting.await.map_err(|e| e.to_string())?;
            let asked = async {
                let operator = operator_of(&connection).ok_or("the certificate names no operator, or several")?;
                let (send, mut recv) = connection.accept_bi().await.map_err(|e| e.to_string())?;
                let bytes = recv.read_to_end(OPERATOR_ASK_BYTES_MAX as usize).await.map_err(|e| e.to_string())?;
                let ask = OperatorAsk::decode(&bytes).map_err(|e| e.to_string())?;
                Ok::<_, String>((operator, send, ask))
            };
            match asked.await {
                Ok((operator, send, ask)) => Ok((connection, operator, send, ask)),
                Err(error) => {
                    close(&connection, CloseCode::BadHandshake, &error);
                    Err(error)
                }
            }
        };
        let (connection, operator, mut send, ask) = tokio::time::timeout(ASK_LIMIT, asked).await.map_err(late)??;
        let from = connection.remote_address();
        // A task of its own, which goes on if the operator's tool is gone.
        let answering = self.shared.spawn(Arc::clone(self).answer(operator, from, ask));
        let Ok(Some(reply)) = answering.await else { return Ok(()) };
        let said = async {
            let reply = reply.encode().unwrap_or_else(|error| {
                let why = format!("the answer is too long: {error}");
                OperatorReply::NoTrail(why).encode().expect("it is short")
            });
            send.write_all(&reply).await.map_err(|e| e.to_string())?;
            let _ = send.finish();
            connection.closed().await;
            Ok::<_, String>(())
        };
        let said = tokio::time::timeout(REPLY_LIMIT, said).await;
        close(&connection, CloseCode::Replaced, "the operator was answered");
        said.unwrap_or(Ok(()))
    }

    async fn answer(self: Arc<Self>, by: CertifiedOperator, from: SocketAddr, ask: OperatorAsk) -> OperatorReply {
        let (verb, told) = (ask.verb(), ask.told());
        let ignored = match &ask {
            OperatorAsk::Command { ignored, .. } => ignored.clone(),
            _ => BTreeMap::new(),
        };
        let line = TrailLine {
            by: by.name.clone(),
            fingerprint: by.fingerprint.to_string(),
            from: from.to_string(),
            verb: verb.to_owned(),
            told,
            ignored,
            ..TrailLine::default()
        };
        if !self.operators.allows(&by.name, verb) {
            self.shared.count_operator(verb, "denied");
            // In few bytes, whatever was asked; and denied all the same, where the disk does not take it.
            let told = line.told.chars().take(DENIED_CHARS_MAX).collect();
            let line = TrailLine { told, ignored: BTreeMap::new(), outcome: Some("denied".to_owned()), ..line };
            let put_down = self.put_down(line).await;
            if let Some(unsaid) = self.shared.refused.next() {
                let (node, operator, trail) = (&self.shared.name, &by.name, put_down.err());
                tracing::warn!(%node, operator, verb, ?trail, unsaid, "denied an operator");
            }
            return OperatorReply::Denied { operator: by.name, verb: verb.to_owned() };
        }
        if let Err(problem) = self.put_down(line.clone()).await {
            self.shared.count_operator(verb, "no_trail");
            return OperatorReply::NoTrail(problem);
        }
        let (reply, outcome) = match ask {
            OperatorAsk::Look { all, but } => (OperatorReply::Looks(self.shared.looks(all, but.as_ref()).await), None),
            OperatorAsk::Trail { all, since } => (OperatorReply::Trails(self.shared.trails(all, since).await), None),
            OperatorAsk::Command { .. } if self.shared.record.is_none() => {
                (OperatorReply::Unkept, Some("unkept".into()))
            }
            OperatorAsk::Command { command, looked_at, .. } => {
                let outcome = self.shared.command(by.name.into(), command, looked_at).await;
                let told = outcome.told();
                (OperatorReply::Outcome(outcome), Some(told))
            }
        };
        self.shared.count_operator(verb, "done");
        if outcome.is_some()
            && let Err(error) = self.put_down(TrailLine { outcome, ..line }).await
        {
            tracing::error!(node = %self.shared.name, verb, error, "what came of a command is not in the trail");
        }
        reply
    }

    /// Puts a line into the trail, if the node has one.
    async fn put_down(&self, line: TrailLine) -> Result<(), String> {
        let Some(record) = &self.shared.record else { return Ok(()) };
        let at = self.shared.env.since_1970().as_secs();
        let disk = record.disk().clone();
        let append = move || disk.trail()?.append(TrailLine { at, ..line });
        self.shared.env.aside(append).await.map_err(|error| error.to_string())
    }
}

/// Characters of what was asked that a denial puts down.
const DENIED_CHARS_MAX: usize = 1_000;

/// How long an operator's tool may take to connect and to ask.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// How long it may take to read the reply.
const REPLY_LIMIT: Duration = Duration::from_secs(10);
