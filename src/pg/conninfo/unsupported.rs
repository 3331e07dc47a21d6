//! Keywords that libpq knows and that have no effect here: accepted when that makes no difference.

use super::{ConninfoError, Settings, value};

/// A version of TLS, as `ssl_min_protocol_version` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Older than is spoken.
    Old,
    Tls12,
    Tls13,
}

/// What is accepted although it is not heeded. Returns what to tell about.
pub(super) fn check(settings: &Settings) -> Result<Vec<String>, ConninfoError> {
    let refuse = |keyword: &'static str, why: &str| match settings.get(keyword) {
        Some(_) => Err(value(keyword, why.to_owned())),
        None => Ok(()),
    };
    refuse("sslcrl", "revocation lists are not checked here")?;
    refuse("sslcrldir", "revocation lists are not checked here")?;
    refuse("sslkeylogfile", "keys are not logged here")?;
    refuse("require_auth", "how the server asks for the login is not checked here")?;
    refuse("scram_client_key", "a login takes the password itself")?;
    refuse("scram_server_key", "a login takes the password itself")?;
    allow(settings, "channel_binding", &["disable", "prefer"], "SCRAM is done without channel binding here")?;
    allow(settings, "gssencmode", &["disable", "prefer"], "GSSAPI is not spoken here")?;
    allow(settings, "gssdelegation", &["0"], "GSSAPI is not spoken here")?;
    allow(settings, "load_balance_hosts", &["disable", "random"], "is disable or random")?;
    allow(
        settings,
        "target_session_attrs",
        &["any"],
        "a node is one server, whatever its role; whoever needs the primary finds it by himself",
    )?;
    allow(settings, "replication", &["0", "off", "no", "false"], "sessions are ordinary ones")?;
    allow(settings, "min_protocol_version", &["3.0"], "the protocol is spoken in version 3.0")?;
    allow(settings, "max_protocol_version", &["3.0", "3.2", "latest"], "is 3.0, 3.2 or latest")?;
    let mut notes = Vec::new();
    if settings.said.contains(&"application_name") {
        notes.push("application_name has no effect: it tells the harness's own sessions apart".to_owned());
    }
    let other =
        |encoding: &&str| !["auto", "utf8", "utf-8", "unicode"].contains(&encoding.to_ascii_lowercase().as_str());
    if settings.get("client_encoding").filter(other).is_some() {
        notes.push("client_encoding has no effect: sessions of the harness are in UTF-8".to_owned());
    }
    Ok(notes)
}

fn allow(settings: &Settings, keyword: &'static str, harmless: &[&str], why: &str) -> Result<(), ConninfoError> {
    match settings.get(keyword) {
        Some(other) if !harmless.contains(&other) => Err(value(keyword, format!("`{other}` cannot be had: {why}"))),
        _ => Ok(()),
    }
}

/// A version of TLS; libpq takes it in any case.
pub(super) fn version(settings: &Settings, keyword: &'static str) -> Result<Option<Version>, ConninfoError> {
    let Some(text) = settings.get(keyword) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "tlsv1" | "tlsv1.1" => Ok(Some(Version::Old)),
        "tlsv1.2" => Ok(Some(Version::Tls12)),
        "tlsv1.3" => Ok(Some(Version::Tls13)),
        _ => Err(value(keyword, format!("`{text}` is none of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"))),
    }
}
