//! A QUIC session without cryptography, for simulations by the thousand: packets are as long as with TLS and carry a
//! mark in place of their tag, and each end shows the certificate that TLS would have shown.
//!
//! It proves nothing about who is there, so it lives here and not in the server. What it keeps is what the server can
//! tell: a peer's names, the flights of a handshake, and that a packet of no session (a stateless reset) is not taken
//! for one of this session.

use std::any::Any;
use std::sync::Arc;

use bytes::BytesMut;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn::{ConnectError, ConnectionId, Side, TransportErrorCode};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rexi_server::{Identity, env::QuicCrypto};
use rustls::pki_types::CertificateDer;

/// Sessions that show this identity's certificate.
pub(super) fn crypto(identity: &Identity) -> QuicCrypto {
    let config = Arc::new(Config { chain: identity.certificate_chain().into() });
    QuicCrypto { server: Arc::clone(&config) as Arc<dyn ServerConfig>, client: config }
}

struct Config {
    chain: Arc<[CertificateDer<'static>]>,
}

impl Config {
    fn session(&self, side: Side, params: &TransportParameters) -> Box<dyn Session> {
        let mut opening = Vec::with_capacity(1_024);
        params.write(&mut opening);
        let mut first = length(opening.len()).to_vec();
        first.append(&mut opening);
        for certificate in self.chain.iter() {
            first.extend(length(certificate.len()));
            first.extend_from_slice(certificate);
        }
        let flight = [&length(first.len())[..], &first].concat();
        Box::new(Plain { side, said: 0, flight, heard: Vec::new(), peer: None, over: false })
    }
}

fn length(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes()
}

impl ClientConfig for Config {
    fn start_session(
        self: Arc<Self>,
        _: u32,
        _: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(self.session(Side::Client, params))
    }
}

impl ServerConfig for Config {
    fn initial_keys(&self, _: u32, _: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(keys(0))
    }

    fn retry_tag(&self, _: u32, _: &ConnectionId, _: &[u8]) -> [u8; 16] {
        RETRY_TAG
    }

    fn start_session(self: Arc<Self>, _: u32, params: &TransportParameters) -> Box<dyn Session> {
        self.session(Side::Server, params)
    }
}

/// One end of a handshake of three flights, as TLS has them: an opening each way, then a last word each way.
struct Plain {
    side: Side,
    /// Flights that were written.
    said: u8,
    flight: Vec<u8>,
    /// What has arrived of the peer's flight.
    heard: Vec<u8>,
    peer: Option<Peer>,
    /// The peer's last word has come.
    over: bool,
}

struct Peer {
    params: TransportParameters,
    chain: Vec<CertificateDer<'static>>,
}

impl Plain {
    /// Reads the peer's opening once it is whole.
    fn read_opening(&mut self) -> Result<(), TransportError> {
        let Some(opening) = take(&mut self.heard.as_slice()).map(<[u8]>::to_vec) else { return Ok(()) };
        self.heard.drain(..opening.len() + 4);
        let mut rest = opening.as_slice();
        let mut params = take(&mut rest).ok_or_else(malformed)?;
        let params = TransportParameters::read(self.side, &mut params).map_err(|_| malformed())?;
        let mut chain = Vec::new();
        while !rest.is_empty() {
            chain.push(CertificateDer::from(take(&mut rest).ok_or_else(malformed)?.to_vec()));
        }
        self.peer = Some(Peer { params, chain });
        Ok(())
    }
}

/// Takes what has its length before it; `None` where it is not whole.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

fn malformed() -> TransportError {
    // 50 is TLS's alert for a message that cannot be read (RFC 8446 §6.2).
    TransportErrorCode::crypto(50).into()
}

impl Session for Plain {
    fn initial_keys(&self, _: &ConnectionId, _: Side) -> Keys {
        keys(0)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.peer.as_ref().map(|peer| Box::new(peer.chain.clone()) as Box<dyn Any>)
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.side.is_client().then_some(false)
    }

    fn is_handshaking(&self) -> bool {
        !self.over
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.heard.extend_from_slice(bytes);
        if self.peer.is_none() {
            self.read_opening()?;
        }
        if self.peer.is_some() && self.heard.len() >= LAST_WORD.len() {
            self.over = self.heard == LAST_WORD;
            return if self.over { Ok(false) } else { Err(malformed()) };
        }
        Ok(false)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.peer.as_ref().map(|peer| peer.params))
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let client = self.side.is_client();
        let may = match self.said {
            0 => client || self.peer.is_some(),
            1 => self.peer.is_some(),
            2 => client && self.over,
            _ => false,
        };
        if !may {
            return None;
        }
        self.said += 1;
        match (self.said, client) {
            (1, _) => {
                out.append(&mut self.flight);
                (!client).then(|| keys(1))
            }
            (2, true) => Some(keys(1)),
            (2, false) | (3, _) => {
                out.extend(LAST_WORD);
                Some(keys(2))
            }
            _ => None,
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        Some(keys(2).packet)
    }

    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], payload: &[u8]) -> bool {
        payload.ends_with(&RETRY_TAG)
    }

    fn export_keying_material(&self, out: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        out.fill(0);
        Ok(())
    }
}

/// The keys of a packet number space.
fn keys(space: u8) -> Keys {
    let header = || -> Box<dyn HeaderKey> { Box::new(NoHeaderKey) };
    let packet = || -> Box<dyn PacketKey> { Box::new(Mark(space)) };
    Keys {
        header: KeyPair { local: header(), remote: header() },
        packet: KeyPair { local: packet(), remote: packet() },
    }
}

struct NoHeaderKey;

impl HeaderKey for NoHeaderKey {
    fn decrypt(&self, _: usize, _: &mut [u8]) {}

    fn encrypt(&self, _: usize, _: &mut [u8]) {}

    fn sample_size(&self) -> usize {
        TAG_BYTES
    }
}

/// Marks packets of a space with their number.
struct Mark(u8);

impl Mark {
    fn tag(&self, packet: u64) -> [u8; TAG_BYTES] {
        let mut tag = [self.0 ^ 0xa5; TAG_BYTES];
        tag[..8].copy_from_slice(&packet.to_le_bytes());
        tag
    }
}

impl PacketKey for Mark {
    fn encrypt(&self, packet: u64, bytes: &mut [u8], _: usize) {
        if let Some(tag) = bytes.last_chunk_mut::<TAG_BYTES>() {
            *tag = self.tag(packet);
        }
    }

    fn decrypt(&self, packet: u64, _: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let marked = payload.last_chunk::<TAG_BYTES>().is_some_and(|tag| *tag == self.tag(packet));
        if !marked {
            return Err(CryptoError);
        }
        payload.truncate(payload.len() - TAG_BYTES);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG_BYTES
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

/// As long as the tags of TLS's ciphers are.
const TAG_BYTES: usize = 16;

const LAST_WORD: [u8; 4] = *b"over";

const RETRY_TAG: [u8; 16] = *b"a simulated one.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_of_another_space_or_number_or_of_nobody_is_not_taken() {
        let mut packet = vec![7; 40];
        Mark(2).encrypt(9, &mut packet, 10);
        let taken = |space, number, bytes: &[u8]| {
            let mut payload = BytesMut::from(bytes);
            Mark(space).decrypt(number, &[], &mut payload).map(|()| payload.len()).ok()
        };
        assert_eq!(taken(2, 9, &packet), Some(24));
        assert_eq!(taken(2, 8, &packet), None);
        assert_eq!(taken(1, 9, &packet), None);
        assert_eq!(taken(2, 9, &[7; 40]), None);
        assert_eq!(taken(2, 9, &[7; 3]), None);
    }
}
