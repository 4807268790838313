//! tonic over HTTP/2 with mutual TLS, as its guides show it; small writes are sent at once, and as many calls may be
//! in flight as the work has.

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::{Caller, Items, Members, Taken, item, tls};

use generated::peer_client::PeerClient;
use generated::peer_server::{Peer, PeerServer};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/peers.Peer.rs"));
}

/// What is echoed, and an item of a stream.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    body: Bytes,
}

/// A stream to ask for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct RowsRequest {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(uint32, tag = "2")]
    bytes: u32,
}

struct Handlers;

#[tonic::async_trait]
impl Peer for Handlers {
    type RowsStream = std::pin::Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn rows(&self, request: Request<RowsRequest>) -> Result<Response<Self::RowsStream>, Status> {
        let RowsRequest { count, bytes } = request.into_inner();
        let row = Payload { body: item(bytes) };
        Ok(Response::new(Box::pin(stream::iter((0..count).map(move |_| Ok(row.clone()))))))
    }
}

pub(crate) async fn serve(setup: &Setup) -> Result<(), Failure> {
    let (authority, identity) = identity(setup)?;
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(authority);
    let server = Server::builder().tls_config(tls)?.max_concurrent_streams(CALLS_MAX);
    let service = PeerServer::new(Handlers);
    let incoming = TcpIncoming::bind(Members::read(setup)?.own(setup)?)?.with_nodelay(Some(true));
    tokio::spawn(server.clone().add_service(service).serve_with_incoming(incoming));
    Ok(())
}

pub(crate) async fn connect(setup: &Setup) -> Result<Client, Failure> {
    let (authority, identity) = identity(setup)?;
    let peer = setup.peers.first().map_or("", String::as_str);
    let tls = ClientTlsConfig::new().identity(identity).ca_certificate(authority).domain_name(peer);
    let address = format!("https://{}", Members::read(setup)?.peer(setup)?);
    let channel = Endpoint::from_shared(address)?.tls_config(tls)?.tcp_nodelay(true).connect().await?;
    Ok(Client(PeerClient::new(channel)))
}

fn identity(setup: &Setup) -> Result<(Certificate, Identity), Failure> {
    let (certificate, key) = tls::files(setup);
    let authority = Certificate::from_pem(std::fs::read(tls::authority(&setup.certificates))?);
    Ok((authority, Identity::from_pem(std::fs::read(certificate)?, std::fs::read(key)?)))
}

#[derive(Clone)]
pub(crate) struct Client(PeerClient<Channel>);

impl Caller for Client {
    async fn echo(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.0.clone().echo(Payload { body }).await?.into_inner().body)
    }

    async fn items(&self, ask: Items, mut take: impl FnMut(&[u8]) -> Taken + Send) -> Result<(), Failure> {
        let request = RowsRequest { count: ask.count, bytes: ask.bytes };
        let mut rows = self.0.clone().rows(request).await?.into_inner();
        while let Some(row) = rows.message().await? {
            if take(&row.body) == Taken::Enough {
                break;
            }
        }
        Ok(())
    }
}

/// Calls that may be in flight on one connection; its default is 200.
const CALLS_MAX: u32 = 4_096;
