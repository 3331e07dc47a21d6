//! Certificates for tests, and a server that shows them.

use super::super::fixture::Primary;
use pgbench_rs::base::user::User;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate and its key, both in PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `common_name`, with these alternative names.
    pub fn sign(&self, common_name: &str, names: &[&str]) -> Signed {
        self.sign_until(common_name, names, 2090)
    }

    pub fn sign_until(&self, common_name: &str, names: &[&str], year: i32) -> Signed {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}

/// A file that nobody else can read.
pub fn private(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// A server that shows `own` and asks clients for certificates of `clients`; `rules` are its `pg_hba.conf`.
pub fn server(own: &Signed, clients: &Authority, rules: &str) -> Primary {
    Primary::start_with(&["fsync=off", "ssl=on", "ssl_ca_file=clients.crt"], |data| {
        let files = [
            ("server.crt", own.certificate.as_str()),
            ("server.key", &own.key),
            ("clients.crt", &clients.pem),
            ("pg_hba.conf", rules),
        ];
        for (name, text) in files {
            private(&data.join(name), text);
            if nix::unistd::geteuid().is_root() {
                let user = User::named("postgres").expect("users").expect("the user of the server");
                user.own(&data.join(name)).expect("chown");
            }
        }
    })
}
