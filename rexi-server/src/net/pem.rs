//! The certificates of a PEM text or file, and what is wrong with one, in words. PEM is parsed by pki-types only, never
//! by hand.

use std::fmt;
use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject};

use crate::files::read_bounded;
use crate::net::identity::{IdentityError, IdentityPart};

pub(super) fn read_pem(part: IdentityPart, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let pem = read_bounded(path, PEM_FILE_BYTES_MAX);
    pem.map_err(|reason| IdentityError::Unreadable { part, path: path.to_owned(), reason })
}

/// The authorities of a PEM text.
pub(super) fn authorities(ca: (&str, &[u8])) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for (index, root) in certificates(ca)?.into_iter().enumerate() {
        roots.add(root).map_err(|reason| bad_certificate(ca.0, index + 1, reason))?;
    }
    Ok(roots)
}

pub(super) fn certificates((origin, text): (&str, &[u8])) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(pem_error(origin, CERTIFICATE, pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(reason) => Err(pem_error(origin, CERTIFICATE, reason)),
    }
}

pub(super) fn pem_error(origin: &str, wanted: &'static str, reason: pem::Error) -> IdentityError {
    let origin = origin.to_owned();
    match reason {
        pem::Error::NoItemsFound => IdentityError::NothingFound { origin, wanted },
        reason => IdentityError::DamagedPem { origin, reason },
    }
}

pub(super) fn bad_certificate(origin: &str, position: usize, reason: impl fmt::Display) -> IdentityError {
    IdentityError::BadCertificate { origin: origin.to_owned(), position, reason: reason.to_string() }
}

/// The parser shows some of what it found as numbers.
pub(super) fn explain_pem(reason: &pem::Error) -> String {
    match reason {
        pem::Error::MissingSectionEnd { .. } => "a section has no end line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section has a broken first line".to_owned(),
        reason => reason.to_string(),
    }
}

/// The most that is read of a PEM file, in bytes: 1 MiB, five times a system's whole bundle of authorities.
pub const PEM_FILE_BYTES_MAX: u64 = 1024 * 1024;

const CERTIFICATE: &str = "CERTIFICATE section";
