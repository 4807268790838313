//! Certificates for development and tests: a private authority, and one certificate for each node name.
//!
//! In goes a directory, or none, and node names; out come [`Identity`]s and PEM files. Several processes may open one
//! directory at once: a key is put in place whole and never replaced, and a certificate can be made again from its key.
//! Nothing here runs unless it is called, and it warns in the log. Source of the fields: RFC 5280 §4.2.1.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, date_time_ymd,
};
use rexi_proto::NodeName;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::NamedTempFile;
use thiserror::Error;
use tracing::warn;

use crate::files::read_bounded;
use crate::net::identity::{Identity, IdentityError};
use crate::net::pem::PEM_FILE_BYTES_MAX;

/// An authority for development, which certifies any name for anyone who can read its key.
///
/// Keys are Ed25519, in PKCS#8 version 1: OpenSSL 3.0 and much else do not read version 2. Certificates are valid from
/// 2000 to 2100, so that neither a demo nor a simulated clock outlives them: one more reason to keep this authority out
/// of production.
#[derive(Debug)]
pub struct DevAuthority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    /// `None` for an authority in memory.
    dir: Option<PathBuf>,
}

/// Why a development certificate could not be made or read.
///
/// The environment or the caller, who chose the directory, is at fault; files already written stay, are complete, and
/// are used when the call is made again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevCertsError {
    /// A file or the directory could not be read or written.
    #[error("development certificates: cannot use {}: {reason}; check the path and its permissions", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The directory has a CA certificate but not its key, so it belongs to another authority.
    #[error(
        "development certificates: {} is there without its key {}; choose another directory, or delete the certificate \
         to make a new authority", cert.display(), key.display()
    )]
    KeyMissing {
        /// The CA certificate.
        cert: PathBuf,
        /// The key that is missing.
        key: PathBuf,
    },
    /// A key file holds no Ed25519 key that this module could have written.
    #[error("development certificates: {} is not an Ed25519 key: {reason}; delete it to get a new one", path.display())]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What the parser said.
        reason: rcgen::Error,
    },
    /// The files in the directory do not fit together, or do not belong to this authority.
    #[error("development certificates of {name}: {reason}; delete that node's files to have them made again")]
    Unfit {
        /// The node.
        name: NodeName,
        /// What does not fit.
        reason: IdentityError,
    },
    /// A node is called `ca`, so its files would be the authority's own.
    #[error("development certificates: a node may not be called \"ca\", whose files are the authority's; rename it")]
    ReservedName,
    /// A key or a certificate could not be made. These crates, or the random source, are at fault.
    #[error("development certificates: cannot make one for {subject}: {reason}")]
    Unmakable {
        /// Whom it was for.
        subject: String,
        /// What the library said.
        reason: rcgen::Error,
    },
}

impl DevAuthority {
    /// Makes an authority that leaves nothing on disk; another one each time.
    ///
    /// # Errors
    /// [`DevCertsError::Unmakable`] where the system gives no random bytes.
    pub fn in_memory() -> Result<Self, DevCertsError> {
        Self::from_key(new_key(CA)?, None)
    }

    /// Opens the authority in `dir`, or makes the directory and the authority: `ca.pem`, and `ca.key`, which its owner
    /// alone may read. Logs a warning. Blocks while it reads and writes.
    ///
    /// # Errors
    /// [`DevCertsError`], where the files cannot be used or belong to something else.
    pub fn open_or_create(dir: &Path) -> Result<Self, DevCertsError> {
        fs::create_dir_all(dir).map_err(|reason| unusable(dir, reason))?;
        let (cert_path, key_path) = (dir.join("ca.pem"), dir.join("ca.key"));
        // In this order: the key is written first, so a certificate without one was not made here.
        let had_cert = cert_path.exists();
        if had_cert && !key_path.exists() {
            return Err(DevCertsError::KeyMissing { cert: cert_path, key: key_path });
        }
        let (key, _) = key_in_file(&key_path, CA)?;
        let mut authority = Self::from_key(key, Some(dir.to_owned()))?;
        if had_cert {
            authority.ca_pem = read_text(&cert_path)?;
        } else {
            publish(&cert_path, &authority.ca_pem)?;
        }
        warn!(dir = %dir.display(), "development certificates in use: anyone who reads ca.key can pose as any node");
        Ok(authority)
    }

    /// The authority's certificate as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Makes a key and a certificate for `name` and gives both as PEM, certificate first. Nothing is written, and each
    /// call makes others.
    ///
    /// # Errors
    /// [`DevCertsError::Unmakable`] where the system gives no random bytes.
    pub fn issue_pem(&self, name: &NodeName) -> Result<(String, String), DevCertsError> {
        let key = new_key(name.as_str())?;
        Ok((self.certify(name, &key)?, key.serialize_pem()))
    }

    /// The identity of node `name`, from this authority.
    ///
    /// With a directory, it is in `<name>.pem` and `<name>.key`, which its owner alone may read; it is made once and
    /// read after that. Without one, each call makes another. Logs a warning. Blocks while it reads and writes.
    ///
    /// # Errors
    /// [`DevCertsError`], where files cannot be used or do not belong to this authority.
    pub fn issue(&self, name: &NodeName) -> Result<Identity, DevCertsError> {
        let unfit = |reason| DevCertsError::Unfit { name: name.clone(), reason };
        warn!(node = %name, "identity from a development authority: not for production");
        let Some(dir) = &self.dir else {
            let (cert, key) = self.issue_pem(name)?;
            return Identity::from_pem(self.ca_pem.as_bytes(), cert.as_bytes(), key.as_bytes()).map_err(unfit);
        };
        if name.as_str() == "ca" {
            return Err(DevCertsError::ReservedName);
        }
        let (cert_path, key_path) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        let (key, is_new) = key_in_file(&key_path, name.as_str())?;
        if is_new || !cert_path.exists() {
            publish(&cert_path, &self.certify(name, &key)?)?;
        }
        let identity = Identity::from_pem_files(dir.join("ca.pem"), cert_path, key_path).map_err(unfit)?;
        identity.check(name, SystemTime::now()).map_err(unfit)?;
        Ok(identity)
    }

    /// Makes a key and a certificate for the operator `name`, and gives both as PEM, certificate first. This authority
    /// is that of the operators, which is to be another than that of the nodes. Nothing is written.
    ///
    /// # Errors
    /// [`DevCertsError::Unmakable`] where the name is no URI's, or the system gives no random bytes.
    pub fn issue_operator_pem(&self, name: &str) -> Result<(String, String), DevCertsError> {
        let key = new_key(name)?;
        Ok((self.certify_operator(name, &key)?, key.serialize_pem()))
    }

    /// The identity of the operator `name` in `dir`, from this authority, as operators' tools read it: `ca.pem`, which
    /// is the authority of the nodes, `operator.pem`, and `operator.key`, which its owner alone may read. The directory
    /// and the key are made once. Blocks while it reads and writes.
    ///
    /// # Errors
    /// As [`DevAuthority::issue_operator_pem`], and where files cannot be used.
    pub fn issue_operator(&self, name: &str, nodes: &Self, dir: &Path) -> Result<(), DevCertsError> {
        fs::create_dir_all(dir).map_err(|reason| unusable(dir, reason))?;
        let cert_path = dir.join("operator.pem");
        let (key, is_new) = key_in_file(&dir.join("operator.key"), name)?;
        if is_new || !cert_path.exists() {
            publish(&cert_path, &self.certify_operator(name, &key)?)?;
        }
        publish(&dir.join("ca.pem"), &nodes.ca_pem)
    }

    /// The authority and the keys of test clusters, which are the same in every process: their secrets are their names.
    #[cfg(feature = "testing")]
    pub(crate) fn fixed() -> Result<Self, DevCertsError> {
        Self::from_key(fixed_key(CA)?, None)
    }

    /// As [`DevAuthority::issue_pem`], with the key that is fixed for that name.
    #[cfg(feature = "testing")]
    pub(crate) fn issue_fixed_pem(&self, name: &NodeName) -> Result<(String, String), DevCertsError> {
        let key = fixed_key(name.as_str())?;
        Ok((self.certify(name, &key)?, key.serialize_pem()))
    }

    fn from_key(key: KeyPair, dir: Option<PathBuf>) -> Result<Self, DevCertsError> {
        let mut params = params(CA);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&key).map_err(|reason| unmakable(CA, reason))?;
        Ok(Self { ca_pem: ca.pem(), issuer: Issuer::new(params, key), dir })
    }

    fn certify(&self, name: &NodeName, key: &KeyPair) -> Result<String, DevCertsError> {
        let dns_name = name.as_str().try_into().map_err(|reason| unmakable(name.as_str(), reason))?;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.certify_as(name.as_str(), rcgen::SanType::DnsName(dns_name), usages, key)
    }

    fn certify_operator(&self, name: &str, key: &KeyPair) -> Result<String, DevCertsError> {
        let uri = format!("{}{name}", rexi_proto::operate::OPERATOR_URI);
        let uri = uri.try_into().map_err(|reason| unmakable(name, reason))?;
        self.certify_as(name, rcgen::SanType::URI(uri), vec![ExtendedKeyUsagePurpose::ClientAuth], key)
    }

    fn certify_as(
        &self,
        subject: &str,
        name: rcgen::SanType,
        usages: Vec<ExtendedKeyUsagePurpose>,
        key: &KeyPair,
    ) -> Result<String, DevCertsError> {
        let mut params = params(subject);
        params.subject_alt_names = vec![name];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(|reason| unmakable(subject, reason))?.pem())
    }
}

/// What all certificates of an authority share. The subject must not change: it is how a certificate names its issuer.
fn params(subject: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut distinguished_name = DistinguishedName::new();
    // X.520 allows a common name 64 characters; a node name may be longer, and the name that counts is the alternative.
    let common_name: String = format!("rexi development only: {subject}").chars().take(64).collect();
    distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name = distinguished_name;
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn new_key(subject: &str) -> Result<KeyPair, DevCertsError> {
    // rcgen's own keys are of version 2, which holds the public key too.
    let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new());
    let pkcs8 = pkcs8.map_err(|_| unmakable(subject, rcgen::Error::RingUnspecified))?;
    key_of(pkcs8.as_ref(), subject)
}

fn key_of(pkcs8: &[u8], subject: &str) -> Result<KeyPair, DevCertsError> {
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519).map_err(|reason| unmakable(subject, reason))
}

/// An Ed25519 key whose secret is the hash of the subject's name.
#[cfg(feature = "testing")]
fn fixed_key(subject: &str) -> Result<KeyPair, DevCertsError> {
    let secret = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, subject.as_bytes());
    key_of(&[PKCS8_ED25519, secret.as_ref()].concat(), subject)
}

/// The key in the file, and whether this call made it. Of several callers at once, one makes it and all get that one.
fn key_in_file(path: &Path, subject: &str) -> Result<(KeyPair, bool), DevCertsError> {
    let mut is_new = false;
    if !path.exists() {
        let file = temporary(path, &new_key(subject)?.serialize_pem(), OWNER_READS)?;
        match file.persist_noclobber(path) {
            Ok(_) => is_new = true,
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(path, error.error)),
        }
    }
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(&read_text(path)?, &PKCS_ED25519)
        .map_err(|reason| DevCertsError::BadKey { path: path.to_owned(), reason })?;
    Ok((key, is_new))
}

fn publish(path: &Path, text: &str) -> Result<(), DevCertsError> {
    let file = temporary(path, text, ALL_READ)?;
    file.persist(path).map_err(|error| unusable(path, error.error))?;
    Ok(())
}

/// Writes the text next to `path`, to be renamed once it is complete.
fn temporary(path: &Path, text: &str, mode: u32) -> Result<NamedTempFile, DevCertsError> {
    let dir = path.parent().expect("every path here was joined to a directory");
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder.tempfile_in(dir).map_err(|reason| unusable(dir, reason))?;
    file.write_all(text.as_bytes()).map_err(|reason| unusable(path, reason))?;
    Ok(file)
}

fn read_text(path: &Path) -> Result<String, DevCertsError> {
    let bytes = read_bounded(path, PEM_FILE_BYTES_MAX).map_err(|reason| unusable(path, reason))?;
    String::from_utf8(bytes).map_err(|e| unusable(path, io::Error::new(io::ErrorKind::InvalidData, e)))
}

fn unusable(path: &Path, reason: io::Error) -> DevCertsError {
    DevCertsError::Unusable { path: path.to_owned(), reason }
}

fn unmakable(subject: &str, reason: rcgen::Error) -> DevCertsError {
    DevCertsError::Unmakable { subject: subject.to_owned(), reason }
}

const CA: &str = "CA";

/// What stands before the 32 bytes of the secret in PKCS#8 version 1 (RFC 8410 §7).
#[cfg(any(feature = "testing", test))]
const PKCS8_ED25519: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

const OWNER_READS: u32 = 0o600;
const ALL_READ: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).expect("a name")
    }

    #[test]
    fn a_certificate_is_for_its_node_and_for_no_other() {
        let authority = DevAuthority::in_memory().expect("an authority");
        let n1 = authority.issue(&name("n1")).expect("an identity");
        assert!(n1.certifies_name(&name("n1")));
        assert!(!n1.certifies_name(&name("n2")));
        n1.check(&name("n1"), SystemTime::now()).expect("both sides accept it");
        assert!(matches!(n1.check(&name("n2"), SystemTime::now()), Err(IdentityError::WrongName { .. })));
    }

    #[test]
    fn an_authority_in_a_directory_is_made_once_and_issues_each_node_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().join("new");
        let first = DevAuthority::open_or_create(&dir).expect("made");
        first.issue(&name("n1")).expect("issued");
        let read = |file: &str| fs::read_to_string(dir.join(file)).expect("a file");
        let before = ["ca.pem", "ca.key", "n1.pem", "n1.key"].map(read);

        let again = DevAuthority::open_or_create(&dir).expect("opened");
        assert_eq!(again.ca_pem(), first.ca_pem());
        again.issue(&name("n1")).expect("read");
        assert_eq!(["ca.pem", "ca.key", "n1.pem", "n1.key"].map(read), before);
        // What the second opening issues is believed by who trusts the first.
        let n2 = again.issue(&name("n2")).expect("issued");
        n2.check(&name("n2"), SystemTime::now()).expect("accepted");
        assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 6, "a temporary file was left behind");
    }

    #[test]
    fn a_new_key_is_pkcs8_version_1_and_one_of_version_2_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let pem = |key: &KeyPair| key.serialize_pem();
        let of_rcgen = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        fs::write(dir.path().join("ca.key"), pem(&of_rcgen)).expect("written");
        let authority = DevAuthority::open_or_create(dir.path()).expect("its key is read");
        authority.issue(&name("n1")).expect("issued");
        assert_eq!(fs::read_to_string(dir.path().join("ca.key")).expect("a key"), pem(&of_rcgen));
        assert_eq!(of_rcgen.serialized_der()[..5], [0x30, 0x51, 2, 1, 1], "version 2");
        let (key, _) = key_in_file(&dir.path().join("n1.key"), "n1").expect("a key");
        assert!(key.serialized_der().starts_with(PKCS8_ED25519) && key.serialized_der().len() == 48);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_a_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let nodes = DevAuthority::open_or_create(dir.path()).expect("made");
        nodes.issue(&name("n1")).expect("issued");
        let operators = DevAuthority::open_or_create(&dir.path().join("operators")).expect("made");
        operators.issue_operator("alice", &nodes, &dir.path().join("alice")).expect("issued");
        for file in ["ca.key", "n1.key", "operators/ca.key", "alice/operator.key"] {
            let mode = fs::metadata(dir.path().join(file)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_lost_certificate_is_made_again_from_its_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DevAuthority::open_or_create(dir.path()).expect("made");
        first.issue(&name("n1")).expect("issued");
        let key = fs::read(dir.path().join("n1.key")).expect("a key");
        for file in ["ca.pem", "n1.pem"] {
            fs::remove_file(dir.path().join(file)).expect("removed");
        }
        let again = DevAuthority::open_or_create(dir.path()).expect("made again");
        again.issue(&name("n1")).expect("issued again");
        assert_eq!(fs::read(dir.path().join("n1.key")).expect("a key"), key);
    }

    #[test]
    fn a_certificate_whose_key_is_lost_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = DevAuthority::open_or_create(dir.path()).expect("made");
        authority.issue(&name("n1")).expect("issued");
        fs::remove_file(dir.path().join("n1.key")).expect("removed");
        authority.issue(&name("n1")).expect("replaced");
    }

    #[test]
    fn a_ca_without_its_key_is_somebody_elses() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.pem"), "a production CA").expect("written");
        let error = DevAuthority::open_or_create(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("ca.pem") && error.contains("ca.key"), "{error}");
        assert!(!dir.path().join("ca.key").exists());
    }

    #[test]
    fn files_of_another_authority_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = DevAuthority::open_or_create(dir.path()).expect("made");
        authority.issue(&name("n1")).expect("issued");
        let (cert, key) = DevAuthority::in_memory().and_then(|a| a.issue_pem(&name("n1"))).expect("issued");
        fs::write(dir.path().join("n1.pem"), cert).expect("written");
        fs::write(dir.path().join("n1.key"), key).expect("written");
        let error = authority.issue(&name("n1")).expect_err("refused").to_string();
        assert!(error.contains("of n1") && error.contains("n1.pem") && error.contains("delete"), "{error}");
    }

    #[test]
    fn a_node_may_not_take_the_files_of_the_authority() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = DevAuthority::open_or_create(dir.path()).expect("made");
        assert!(matches!(authority.issue(&name("ca")), Err(DevCertsError::ReservedName)));
    }

    #[test]
    fn a_key_file_of_garbage_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.key"), "garbage").expect("written");
        let error = DevAuthority::open_or_create(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("ca.key is not an Ed25519 key"), "{error}");
    }

    #[test]
    fn processes_that_open_one_directory_at_once_get_one_authority() {
        // Many rounds, since what must not happen shows only where two are between a check and its write.
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("a directory");
            let start = std::sync::Barrier::new(8);
            // Two threads for each name, so that they also meet at a node's files.
            let open_and_issue = |n: usize| {
                start.wait();
                let authority = DevAuthority::open_or_create(dir.path()).expect("opened");
                authority.issue(&name(&format!("n{}", n / 2))).expect("issued and believed");
            };
            std::thread::scope(|scope| {
                for n in 0..8 {
                    scope.spawn(move || open_and_issue(n));
                }
            });
        }
    }

    #[test]
    fn a_name_of_253_bytes_gets_a_certificate() {
        let long =
            name(&[["a"; 60].concat(), ["b"; 63].concat(), ["c"; 63].concat(), ["d"; 64 - 1].concat()].join("."));
        let authority = DevAuthority::in_memory().expect("an authority");
        assert!(authority.issue(&long).expect("issued").certifies_name(&long));
    }
}
