//! Whether a server's certificate will do, as libpq judges it.

use super::certificate::Certificate;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, RootCertStore, SignatureScheme,
};

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The same as they were read: a server may show one of them itself.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Where they are from.
    pub(super) what: String,
}

/// Checks the chain when there are roots, and the name when there is one to check.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Option<Roots>,
    name: Option<String>,
    provider: Arc<CryptoProvider>,
}

/// What libpq has words for and rustls has not.
#[derive(Debug)]
struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

fn unfit(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Unfit(why)))))
}

impl Verifier {
    pub(super) fn new(roots: Option<Roots>, name: Option<String>, provider: Arc<CryptoProvider>) -> Verifier {
        Verifier { roots, name, provider }
    }

    fn chain(
        &self,
        roots: &Roots,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if roots.certificates.iter().any(|root| root == shown) {
            return valid_now(&read(shown)?, now);
        }
        let algorithms = self.provider.signature_verification_algorithms.all;
        let judge = |shown: &CertificateDer<'_>| {
            let parsed = ParsedCertificate::try_from(shown)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots.store, intermediates, now, algorithms)
        };
        judge(shown).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                unfit(format!("the server's certificate is not signed by any of {}", roots.what))
            }
            Error::InvalidCertificate(CertificateError::Other(other)) => unfit(format!(
                "the server's certificate cannot be checked: {other}\n\
                 hint: it must be X.509 version 3 and no authority itself, or stand in {} as it is",
                roots.what
            )),
            other => other,
        })
    }

    /// Verifies with the bare key: rustls reads no certificate of X.509 version 1, which servers have that were
    /// set up with `openssl x509 -req`.
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let shown = read(certificate)?;
        let all = self.provider.signature_verification_algorithms.mapping;
        let of_scheme =
            all.iter().filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, algorithms)| *algorithms);
        let mut fitting =
            of_scheme.filter(|algorithm| algorithm.public_key_alg_id().as_ref() == shown.key_algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        match fitting.any(|algorithm| algorithm.verify_signature(shown.key, message, signed.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            self.chain(roots, end_entity, intermediates, now)?;
        }
        if let Some(host) = &self.name {
            is_for(&read(end_entity)?, host).map_err(unfit)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::read(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn valid_now(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > certificate.not_after {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Whether the certificate is for `host`: a name of `subjectAltName`, or the subject's common name when there is none
/// there of the host's kind.
fn is_for(certificate: &Certificate<'_>, host: &str) -> Result<(), String> {
    let address: Option<IpAddr> = host.parse().ok();
    let by_name = certificate.dns.iter().any(|name| matches(name, host));
    let by_address = address.is_some_and(|address| certificate.addresses.contains(&address));
    let ask_subject = match address {
        Some(_) => certificate.addresses.is_empty(),
        None => certificate.dns.is_empty(),
    };
    let by_subject = ask_subject && certificate.common_name.as_ref().is_some_and(|name| matches(name, host));
    if by_name || by_address || by_subject {
        return Ok(());
    }
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    let mut names: Vec<String> = certificate.dns.iter().cloned().chain(addresses).collect();
    names.extend(certificate.common_name.clone().filter(|_| ask_subject));
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Err(format!("the server's certificate is for {names}, not for {host}"))
}

/// Whether a name of a certificate is that of `host`. An asterisk stands for one label, and only at the beginning.
fn matches(name: &str, host: &str) -> bool {
    if name.contains('\0') {
        return false;
    }
    match name.strip_prefix("*.") {
        None => name.eq_ignore_ascii_case(host),
        Some(domain) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
        }
    }
}

/// What is wrong with a certificate.
pub(super) fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers".to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => format!("the server's certificate is not accepted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(common_name: Option<&str>, dns: &[&str], addresses: &[[u8; 4]]) -> Certificate<'static> {
        Certificate {
            key_algorithm: b"",
            key: b"",
            not_before: 10,
            not_after: 20,
            common_name: common_name.map(str::to_owned),
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| IpAddr::from(*address)).collect(),
        }
    }

    #[test]
    fn names_as_libpq_compares_them() {
        for (name, host, same) in [
            ("db.example", "DB.Example", true),
            ("*.example", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", ".example", false),
            ("*.example", "example", false),
            ("d*.example", "db.example", false),
            ("*", "db", false),
            ("db.example\0.evil", "db.example\0.evil", false),
        ] {
            assert_eq!(matches(name, host), same, "{name} {host}");
        }
    }

    #[test]
    fn the_subject_counts_only_where_there_is_no_alternative_name() {
        let here = [127, 0, 0, 1];
        for (certificate, host, fits) in [
            (certificate(Some("db"), &[], &[]), "db", true),
            (certificate(Some("db"), &["other"], &[]), "db", false),
            (certificate(Some("other"), &["db"], &[]), "db", true),
            (certificate(None, &[], &[here]), "127.0.0.1", true),
            (certificate(Some("127.0.0.1"), &["db"], &[]), "127.0.0.1", true),
            (certificate(Some("127.0.0.1"), &[], &[[10, 0, 0, 1]]), "127.0.0.1", false),
            (certificate(Some("db"), &[], &[here]), "db", true),
            (certificate(None, &[], &[]), "db", false),
        ] {
            assert_eq!(is_for(&certificate, host).is_ok(), fits, "{certificate:?} {host}");
        }
        let said = is_for(&certificate(Some("x"), &["a", "b"], &[here]), "db").unwrap_err();
        assert_eq!(said, "the server's certificate is for a, b, 127.0.0.1, not for db");
    }

    #[test]
    fn validity_has_two_ends() {
        let at = |second| {
            valid_now(&certificate(None, &[], &[]), UnixTime::since_unix_epoch(std::time::Duration::from_secs(second)))
        };
        assert!(at(10).is_ok() && at(20).is_ok() && at(9).is_err() && at(21).is_err());
    }
}
