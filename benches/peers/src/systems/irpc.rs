//! irpc over noq, as its example `compute` shows it: an actor takes the requests and starts a task for each. With
//! mutual TLS, and with more streams at once than noq's 100, since each call in flight is one.

use std::sync::Arc;

use bytes::Bytes;
use irpc::channel::{mpsc, oneshot};
use irpc::rpc::{RemoteService, listen};
use irpc::{Client, WithChannels, rpc_requests};
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use serde::{Deserialize, Serialize};

use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::tls::Identity;
use crate::systems::{Caller, Items, Members, Taken, item, quinn};

#[rpc_requests(message = PeerMessage, no_spans)]
#[derive(Serialize, Deserialize, Debug)]
enum PeerProtocol {
    #[rpc(tx = oneshot::Sender<Bytes>)]
    Echo(EchoRequest),
    #[rpc(tx = mpsc::Sender<Bytes>)]
    Rows(RowsRequest),
}

#[derive(Debug, Serialize, Deserialize)]
struct EchoRequest {
    body: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
struct RowsRequest {
    count: u64,
    bytes: u32,
}

pub(crate) async fn serve(setup: &Setup) -> Result<(), Failure> {
    let crypto = QuicServerConfig::try_from(Identity::read(setup)?.server()?)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    let socket = quinn::bind(Members::read(setup)?.own(setup)?)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;
    let (sender, requests) = mpsc::channel(REQUESTS_WAITING);
    tokio::spawn(act(requests));
    let client = Client::<PeerProtocol>::local(sender);
    let local = client.as_local().ok_or_else(|| Failure::new("irpc's local client is not local"))?;
    tokio::spawn(listen(endpoint, PeerProtocol::remote_handler(local)));
    Ok(())
}

async fn act(mut requests: mpsc::Receiver<PeerMessage>) {
    while let Ok(Some(request)) = requests.recv().await {
        tokio::spawn(answer(request));
    }
}

async fn answer(request: PeerMessage) -> Result<(), irpc::channel::SendError> {
    match request {
        PeerMessage::Echo(WithChannels { tx, inner, .. }) => tx.send(inner.body).await,
        PeerMessage::Rows(WithChannels { tx, inner, .. }) => {
            let row = item(inner.bytes);
            for _ in 0..inner.count {
                tx.send(row.clone()).await?;
            }
            Ok(())
        }
    }
}

pub(crate) async fn connect(setup: &Setup) -> Result<Peer, Failure> {
    let crypto = QuicClientConfig::try_from(Identity::read(setup)?.client()?)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    let members = Members::read(setup)?;
    let socket = quinn::bind(members.own(setup)?)?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    let peer = setup.peers.first().map_or("", String::as_str);
    let connection = endpoint.connect_with(config, members.peer(setup)?, peer)?.await?;
    Ok(Peer { client: Client::boxed(connection), _endpoint: endpoint })
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    Arc::new(transport)
}

#[derive(Clone)]
pub(crate) struct Peer {
    client: Client<PeerProtocol>,
    _endpoint: Endpoint,
}

impl Caller for Peer {
    async fn echo(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.client.rpc(EchoRequest { body }).await?)
    }

    async fn items(&self, ask: Items, mut take: impl FnMut(&[u8]) -> Taken + Send) -> Result<(), Failure> {
        let request = RowsRequest { count: ask.count, bytes: ask.bytes };
        let mut rows = self.client.server_streaming(request, ROWS_WAITING).await?;
        while let Some(row) = rows.recv().await? {
            if take(&row) == Taken::Enough {
                break;
            }
        }
        Ok(())
    }
}

/// Requests that may wait for the actor, as in the example.
const REQUESTS_WAITING: usize = 128;

/// Items that may wait for their caller, as in the example.
const ROWS_WAITING: usize = 128;

/// Calls that may be in flight.
const STREAMS_MAX: u32 = 2_048;
