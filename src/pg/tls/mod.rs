//! TLS as libpq does it: `sslmode` and what it checks, roots, client certificates.
//!
//! rustls does the cryptography. What it would judge otherwise than libpq does is decided in `verify`: names in a
//! certificate's subject, certificates that stand in the root file themselves, and that without roots nothing is checked.

mod certificate;
mod verify;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, RootCertStore, SupportedProtocolVersion};
use verify::{Roots, Verifier};

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Never encrypted.
    Disable,
    /// Encrypted when the server takes it no other way.
    Allow,
    /// Encrypted when the server can.
    Prefer,
    /// Encrypted, with whomever; with a root certificate as [`Mode::VerifyCa`].
    Require,
    /// Encrypted, with a server whose certificate is signed by a root.
    VerifyCa,
    /// … and is for the host that was asked for.
    VerifyFull,
}

impl Mode {
    /// All of them, as they are written.
    pub const ALL: [(&'static str, Mode); 6] = [
        ("disable", Mode::Disable),
        ("allow", Mode::Allow),
        ("prefer", Mode::Prefer),
        ("require", Mode::Require),
        ("verify-ca", Mode::VerifyCa),
        ("verify-full", Mode::VerifyFull),
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        Mode::ALL.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// Encryption of the connections to one server.
#[derive(Clone)]
pub struct Tls {
    /// `sslmode`.
    pub mode: Mode,
    /// `sslnegotiation=direct`: no question first.
    pub direct: bool,
    client: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    libpq: Vec<(&'static str, OsString)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).field("direct", &self.direct).finish_non_exhaustive()
    }
}

/// Where the roots are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootsFrom {
    /// A file of certificates in PEM.
    File(PathBuf),
    /// What this system trusts.
    System,
}

/// What there is to say of TLS, files not read yet.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// `sslmode`.
    pub mode: Mode,
    /// `sslnegotiation=direct`.
    pub direct: bool,
    /// The host that the certificate must be for; absent when only an address was given.
    pub host: Option<String>,
    /// `sslrootcert`; nothing is checked when the file is not there.
    pub roots: Option<RootsFrom>,
    /// `sslcert`, used when the file is there.
    pub cert: Option<PathBuf>,
    /// `sslkey`.
    pub key: Option<PathBuf>,
    /// `sslcertmode=require`: the certificate must be there.
    pub needs_cert: bool,
    /// `sslsni`.
    pub sni: bool,
    /// `ssl_min_protocol_version` is TLSv1.3.
    pub from_13: bool,
    /// `ssl_max_protocol_version` is TLSv1.2.
    pub up_to_12: bool,
}

/// Why TLS cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `verify-ca` or `verify-full` without roots.
    #[error(
        "root certificate file {file} does not exist, so sslmode={mode} has nothing to check against\n\
         hint: name the file with sslrootcert, or sslrootcert=system for what this machine trusts, or choose sslmode=require"
    )]
    NoRoots {
        /// Where it was looked for.
        file: String,
        /// `sslmode`.
        mode: &'static str,
    },
    /// A file cannot be used.
    #[error("{path}: {why}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Options that cannot be had together.
    #[error("{0}")]
    Asked(String),
}

impl Tls {
    /// No encryption.
    pub fn off() -> Tls {
        Tls { mode: Mode::Disable, direct: false, client: None, libpq: Vec::new() }
    }

    /// Reads the files that `options` name.
    pub fn new(options: &TlsOptions) -> Result<Tls, TlsError> {
        let &TlsOptions { mode, direct, .. } = options;
        if mode == Mode::Disable {
            return Ok(Tls { mode, direct, client: None, libpq: Vec::new() });
        }
        let name = options.host.clone().filter(|_| mode == Mode::VerifyFull);
        if mode == Mode::VerifyFull && name.is_none() {
            return Err(TlsError::Asked("sslmode=verify-full needs a host name; hostaddr alone has none".to_owned()));
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(roots(options)?, name, provider.clone());
        let versions: &[&SupportedProtocolVersion] = match (options.from_13, options.up_to_12) {
            (false, false) => &[&TLS13, &TLS12],
            (true, false) => &[&TLS13],
            (false, true) => &[&TLS12],
            (true, true) => {
                return Err(TlsError::Asked("no TLS version is left between the least and the highest".to_owned()));
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Asked(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match own_certificate(options)? {
            None => builder.with_no_client_auth(),
            Some((path, chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsError::File { path, why: format!("cannot be used to log in: {error}") })?,
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let server = options.host.as_deref().and_then(|host| ServerName::try_from(host.to_owned()).ok());
        config.enable_sni = options.sni && matches!(server, Some(ServerName::DnsName(_)));
        // Names are judged by `Verifier`; this one is for SNI alone.
        let server = server.unwrap_or(ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()));
        Ok(Tls { mode, direct, client: Some((Arc::new(config), server)), libpq: for_libpq(options) })
    }

    /// The same for a program that uses libpq, as variables of its environment. It reads the files itself, so its user
    /// must be able to.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let mode = std::iter::once(("PGSSLMODE", OsStr::new(self.mode.as_str())));
        mode.chain(self.libpq.iter().map(|(name, value)| (*name, value.as_os_str())))
    }

    /// Encrypts `stream`.
    pub(super) async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let Some((config, name)) = &self.client else { return Err("encryption is disabled".to_owned()) };
        let connector = TlsConnector::from(config.clone());
        connector.connect(name.clone(), stream).await.map_err(|error| format!("no TLS: {}", in_words(&error)))
    }
}

/// What went wrong on an encrypted connection.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(why)) => verify::in_words(why),
        Some(Error::AlertReceived(alert)) => match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::DecryptError => {
                format!("the server refuses the certificate that it was shown ({alert:?})")
            }
            AlertDescription::CertificateRequired => "the server wants a certificate (sslcert)".to_owned(),
            other => format!("the server broke off ({other:?})"),
        },
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        None => error.to_string(),
    }
}

/// Beside `sslmode`: files that are there, and the host that the certificate must be for (see `Access` for where it is).
fn for_libpq(options: &TlsOptions) -> Vec<(&'static str, OsString)> {
    let there = |path: &Option<PathBuf>| path.as_ref().filter(|path| path.exists()).map(OsString::from);
    let roots = match &options.roots {
        Some(RootsFrom::System) => Some("system".into()),
        Some(RootsFrom::File(path)) => there(&Some(path.clone())),
        None => None,
    };
    let cert = there(&options.cert);
    let key = cert.as_ref().and_then(|_| there(&options.key));
    let direct = options.direct.then(|| "direct".into());
    let named = [
        ("PGHOST", options.host.as_ref().map(OsString::from)),
        ("PGSSLROOTCERT", roots),
        ("PGSSLCERT", cert),
        ("PGSSLKEY", key),
        ("PGSSLNEGOTIATION", direct),
    ];
    named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The roots to check against; none: nothing is checked.
fn roots(options: &TlsOptions) -> Result<Option<Roots>, TlsError> {
    let missing = |file: String| match options.mode {
        Mode::VerifyCa | Mode::VerifyFull => Err(TlsError::NoRoots { file, mode: options.mode.as_str() }),
        Mode::Disable | Mode::Allow | Mode::Prefer | Mode::Require => Ok(None),
    };
    match &options.roots {
        None => missing("~/.postgresql/root.crt".to_owned()),
        Some(RootsFrom::File(path)) if !path.exists() => missing(path.display().to_string()),
        Some(RootsFrom::File(path)) => {
            let certificates = certificates(path)?;
            let mut store = RootCertStore::empty();
            for certificate in &certificates {
                let why = |error: Error| TlsError::File { path: path.clone(), why: error.to_string() };
                store.add(certificate.clone()).map_err(why)?;
            }
            Ok(Some(Roots { store, certificates, what: path.display().to_string() }))
        }
        Some(RootsFrom::System) => {
            let loaded = rustls_native_certs::load_native_certs();
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(loaded.certs.iter().cloned());
            if store.is_empty() {
                let why = loaded.errors.first().map_or("there are none".to_owned(), ToString::to_string);
                return Err(TlsError::Asked(format!(
                    "sslrootcert=system, and this system's roots cannot be read: {why}\nhint: apt-get install ca-certificates"
                )));
            }
            Ok(Some(Roots { store, certificates: loaded.certs, what: "this system's roots".to_owned() }))
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error: pem::Error| TlsError::File { path: path.to_owned(), why: pem_words(&error) };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect();
    let read = read.map_err(unreadable)?;
    if read.is_empty() {
        return Err(TlsError::File { path: path.to_owned(), why: "there is no certificate in it (PEM)".to_owned() });
    }
    Ok(read)
}

type OwnCertificate = (PathBuf, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client certificate with its key, when there is one.
fn own_certificate(options: &TlsOptions) -> Result<Option<OwnCertificate>, TlsError> {
    let Some(path) = options.cert.as_ref().filter(|path| path.exists()) else {
        return match &options.cert {
            Some(path) if options.needs_cert => {
                Err(TlsError::File { path: path.clone(), why: "sslcertmode=require, and it does not exist".to_owned() })
            }
            None if options.needs_cert => Err(TlsError::Asked("sslcertmode=require, and no sslcert".to_owned())),
            _ => Ok(None),
        };
    };
    let chain = certificates(path)?;
    let Some(key) = options.key.as_ref().filter(|key| key.exists()) else {
        let key =
            options.key.as_ref().map_or("~/.postgresql/postgresql.key".to_owned(), |key| key.display().to_string());
        return Err(TlsError::File { path: path.clone(), why: format!("its private key file {key} does not exist") });
    };
    private(key)?;
    let read = PrivateKeyDer::from_pem_file(key);
    let read = read.map_err(|error| TlsError::File { path: key.clone(), why: pem_words(&error) })?;
    Ok(Some((path.clone(), chain, read)))
}

/// libpq's rule for private keys.
fn private(key: &Path) -> Result<(), TlsError> {
    let file = |why: String| TlsError::File { path: key.to_owned(), why };
    let meta = std::fs::metadata(key).map_err(|error| file(error.to_string()))?;
    if !meta.is_file() {
        return Err(file("is no file".to_owned()));
    }
    let forbidden = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & forbidden != 0 {
        return Err(file(
            "a private key that group or world can read is not used\n\
             hint: chmod 0600, or 0640 if it belongs to root"
                .to_owned(),
        ));
    }
    Ok(())
}

fn pem_words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => {
            "there is nothing of the kind in it (PEM; an encrypted private key cannot be used)".to_owned()
        }
        other => other.to_string(),
    }
}
