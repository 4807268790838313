//! Raw frames over TCP, without encryption: what the transport of old allows.

use tokio::net::{TcpListener, TcpStream};

use crate::cli::Setup;
use crate::failure::Failure;
use crate::systems::Members;
use crate::systems::frames::{self, Connection};

pub(crate) async fn serve(setup: &Setup) -> Result<(), Failure> {
    let listener = TcpListener::bind(Members::read(setup)?.own(setup)?).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let (from, to) = stream.into_split();
                frames::serve(from, to).await
            });
        }
    });
    Ok(())
}

pub(crate) async fn connect(setup: &Setup) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(Members::read(setup)?.peer(setup)?).await?;
    stream.set_nodelay(true)?;
    let (from, to) = stream.into_split();
    Ok(Connection::start(from, to, ()))
}
