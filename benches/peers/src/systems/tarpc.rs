//! tarpc over TCP, without encryption. Its frames are encoded with postcard, as rexi's are: bincode, which it offers
//! itself, is unmaintained, and its JSON would be unfair.

use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::{Caller, Items, Members, Taken};

#[tarpc::service]
trait Peer {
    async fn echo(body: Bytes) -> Bytes;
}

#[derive(Clone)]
struct Handlers;

impl Peer for Handlers {
    async fn echo(self, _: context::Context, body: Bytes) -> Bytes {
        body
    }
}

pub(crate) async fn serve(setup: &Setup) -> Result<(), Failure> {
    let listener = TcpListener::bind(Members::read(setup)?.own(setup)?).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(()) = stream.set_nodelay(true) else { continue };
            let transport = tarpc::serde_transport::new(codec().new_framed(stream), Postcard);
            let requests = BaseChannel::with_defaults(transport).execute(Handlers.serve());
            tokio::spawn(requests.for_each(async |answer| {
                tokio::spawn(answer);
            }));
        }
    });
    Ok(())
}

pub(crate) async fn connect(setup: &Setup) -> Result<Client, Failure> {
    let stream = TcpStream::connect(Members::read(setup)?.peer(setup)?).await?;
    stream.set_nodelay(true)?;
    let transport = tarpc::serde_transport::new(codec().new_framed(stream), Postcard);
    let mut config = client::Config::default();
    // Its defaults are 1,000 and 100: fewer than the work has in flight.
    config.max_in_flight_requests = CALLS_MAX;
    config.pending_request_buffer = CALLS_MAX;
    Ok(Client(PeerClient::new(config, transport).spawn()))
}

fn codec() -> tarpc::tokio_util::codec::length_delimited::Builder {
    let mut codec = LengthDelimitedCodec::builder();
    codec.max_frame_length(FRAME_BYTES_MAX);
    codec
}

#[derive(Clone)]
pub(crate) struct Client(PeerClient);

impl Caller for Client {
    async fn echo(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.0.echo(context::current(), body).await?)
    }

    async fn items(&self, _: Items, _: impl FnMut(&[u8]) -> Taken + Send) -> Result<(), Failure> {
        Err(Failure::new("tarpc has no streams"))
    }
}

/// postcard as tarpc's transport takes a codec.
struct Postcard;

impl<T: Serialize> tokio_serde::Serializer<T> for Postcard {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, value: &T) -> io::Result<Bytes> {
        postcard::to_stdvec(value).map(Bytes::from).map_err(io::Error::other)
    }
}

impl<T: DeserializeOwned> tokio_serde::Deserializer<T> for Postcard {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, bytes: &BytesMut) -> io::Result<T> {
        postcard::from_bytes(bytes).map_err(io::Error::other)
    }
}

const CALLS_MAX: usize = 4_096;

const FRAME_BYTES_MAX: usize = 4 << 20;
