//! One request to a server that takes line protocol.
//!
//! The client is hyper, which the container driver brings anyway. The `influxdb2` crate (0.5.2) would show the status
//! but not `Retry-After`, loses a path before `/api`, compresses nothing that was encoded elsewhere, writes for InfluxDB 2
//! alone, and brings a second generation of hyper, reqwest and rustls.

use super::destination::DestinationError;
use crate::base::mask::mask;
use crate::driver::start::whole;
use crate::pg::Secret;
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use url::Url;

/// Most that is read of an answer.
const ANSWER: usize = 64 << 10;
/// Most of an answer that is told.
const TOLD: usize = 300;

/// How to prove who asks.
#[derive(Clone, Debug)]
pub(super) enum Authorization {
    /// InfluxDB 2's own.
    Token(Secret),
    /// RFC 6750.
    Bearer(Secret),
    /// RFC 7617.
    Basic(String, Secret),
}

/// A server's write interface.
#[derive(Clone, Debug)]
pub struct Door {
    url: String,
    authorization: Option<HeaderValue>,
    secret: Option<Secret>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Said {
    pub status: u16,
    pub retry_after: Option<String>,
    /// Its beginning, in a line.
    pub text: String,
}

impl Door {
    pub(super) fn new(url: &Url, authorization: Option<Authorization>) -> Result<Door, DestinationError> {
        let tls = HttpsConnectorBuilder::new().with_native_roots().map_err(DestinationError::Certificates)?;
        let connector = tls.https_or_http().enable_http1().build();
        let (header, secret) = match authorization {
            None => (None, None),
            Some(Authorization::Token(secret)) => (Some(format!("Token {}", secret.expose())), Some(secret)),
            Some(Authorization::Bearer(secret)) => (Some(format!("Bearer {}", secret.expose())), Some(secret)),
            Some(Authorization::Basic(user, secret)) => {
                let login = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{}", secret.expose()));
                (Some(format!("Basic {login}")), Some(secret))
            }
        };
        let sensitive = |text: String| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| DestinationError::Secret)?;
            value.set_sensitive(true);
            Ok(value)
        };
        Ok(Door {
            url: url.to_string(),
            authorization: header.map(sensitive).transpose()?,
            secret,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends gzipped lines; an error says why there is no answer.
    pub(super) async fn post(&self, gzip: Bytes, limit: Duration) -> Result<Said, String> {
        let mut request = Request::post(&self.url)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CONTENT_ENCODING, "gzip")
            .header(USER_AGENT, concat!("pgbench-rs/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(gzip)).map_err(|error| error.to_string())?;
        match tokio::time::timeout(limit, self.ask(request)).await {
            Ok(said) => said,
            Err(_) => Err(format!("no answer within {} s", limit.as_secs_f64())),
        }
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Said, String> {
        let answer = self.client.request(request).await.map_err(|error| whole(&error))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The status has decided already; a text that breaks off or does not end is told as far as it came.
        let text = match Limited::new(answer.into_body(), ANSWER).collect().await {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(_) => String::new(),
        };
        Ok(Said { status, retry_after, text: self.line(&text) })
    }

    /// The beginning of a text in a line, without secrets.
    fn line(&self, text: &str) -> String {
        let text = match &self.secret {
            Some(secret) => text.replace(secret.expose(), "****"),
            None => text.to_owned(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        mask(&words.join(" ")).chars().take(TOLD).collect()
    }
}
