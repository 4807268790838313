//! The system's UDP socket, with buffers large enough for bursts.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A socket with buffers of 4 MiB, where the system grants them: with its default, bursts are lost and bulk is halved.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    for granted in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)]
    {
        if let Err(error) = granted {
            tracing::warn!(%address, %error, "the system grants no larger socket buffers");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

const SOCKET_BUFFER_BYTES: usize = 4 << 20;
