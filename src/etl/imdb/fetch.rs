//! IMDb's files from IMDb's own address. They are for their user's own, non-commercial use: nothing here hands them on.
//!
//! ```text
//! DIR/title.akas.tsv.gz           whole
//! DIR/title.akas.tsv.gz.part      what came before it was cut; the next fetch goes on there (HTTP's Range)
//! DIR/title.akas.tsv.gz.etag      of which version of the file it is: IMDb makes them anew every day
//! ```

use super::schema::FILES;
use crate::etl::file::find;
use crate::etl::source::SourceError;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where IMDb has them.
pub const ADDRESS: &str = "https://datasets.imdbws.com";
/// How often a file that is cut is gone on with before it is given up.
const TRIES: u32 = 5;
/// Longest that the server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How far a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetching {
    /// Its name.
    pub file: String,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes of all; absent: the server does not say.
    pub of: Option<u64>,
}

/// Why a file could not be got. What came of it stays, and the next fetch goes on there.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none.
    #[error("{0} is no address of files")]
    Address(String),
    /// This system's roots are not to be had.
    #[error("this system's root certificates cannot be read: {0}\nhint: apt-get install ca-certificates")]
    Roots(String),
    /// The server refuses.
    #[error("{url}: {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// What it said.
        status: StatusCode,
    },
    /// It was cut, again and again.
    #[error("{url}: {why}\nhint: once more goes on after the {bytes} bytes that came")]
    Cut {
        /// What was asked for.
        url: String,
        /// How.
        why: String,
        /// What came.
        bytes: u64,
    },
    /// The file cannot be written.
    #[error("{}: {why}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The folder.
    #[error(transparent)]
    Folder(#[from] SourceError),
}

type Http = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Gets those of the seven files into `dir` that are not there, plain or compressed, from below `address`. `say` is told
/// how far each is.
pub async fn fetch(address: &str, dir: &Path, mut say: impl FnMut(&Fetching)) -> Result<(), FetchError> {
    let http = client()?;
    fs::create_dir_all(dir).await.map_err(|why| FetchError::Write { path: dir.to_owned(), why })?;
    for shape in &FILES {
        if find(dir, &format!("{}.tsv", shape.file))?.is_none() {
            let name = format!("{}.tsv.gz", shape.file);
            let url = format!("{}/{name}", address.trim_end_matches('/'));
            Download { http: &http, url, path: dir.join(&name), name }.run(&mut say).await?;
        }
    }
    Ok(())
}

fn client() -> Result<Http, FetchError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(loaded.certs).0 == 0 {
        let why = loaded.errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(FetchError::Roots(why));
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let config = config.map_err(|error| FetchError::Roots(error.to_string()))?;
    let tls = config.with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// One file.
struct Download<'h> {
    http: &'h Http,
    url: String,
    path: PathBuf,
    name: String,
}

/// What a try came to.
enum Tried {
    Whole,
    /// It ended early, for this reason.
    Cut(String),
}

impl Download<'_> {
    async fn run(&self, say: &mut impl FnMut(&Fetching)) -> Result<(), FetchError> {
        let mut left = TRIES;
        loop {
            let before = self.there().await;
            let why = match self.attempt(before, say).await? {
                Tried::Whole => return self.finish().await,
                Tried::Cut(why) => why,
            };
            let bytes = self.there().await;
            // As long as something comes, it is worth going on.
            left = if bytes > before { TRIES } else { left - 1 };
            if left == 0 {
                return Err(FetchError::Cut { url: self.url.clone(), why, bytes });
            }
        }
    }

    fn beside(&self, extension: &str) -> PathBuf {
        self.path.with_file_name(format!("{}.{extension}", self.name))
    }

    /// Bytes that came so far, of the version that is known.
    async fn there(&self) -> u64 {
        match fs::metadata(self.beside("part")).await {
            Ok(metadata) if self.beside("etag").exists() => metadata.len(),
            _ => 0,
        }
    }

    fn failed(&self, why: io::Error) -> FetchError {
        FetchError::Write { path: self.path.clone(), why }
    }

    async fn attempt(&self, there: u64, say: &mut impl FnMut(&Fetching)) -> Result<Tried, FetchError> {
        let response = match self.ask(there).await? {
            Ok(response) => response,
            Err(why) => return Ok(Tried::Cut(why)),
        };
        let number = |name: HeaderName, of: fn(&str) -> Option<u64>| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).and_then(of)
        };
        let total = number(CONTENT_RANGE, |range| range.rsplit_once('/')?.1.parse().ok());
        let start = match response.status() {
            StatusCode::OK => 0,
            // `bytes 5-9/10`: it goes on where it ended, or is another thing.
            StatusCode::PARTIAL_CONTENT
                if number(CONTENT_RANGE, |range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok())
                    == Some(there) =>
            {
                there
            }
            // There is nothing after what is there: it is all there, or too much.
            StatusCode::RANGE_NOT_SATISFIABLE if total == Some(there) => return Ok(Tried::Whole),
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
                self.forget().await?;
                return Ok(Tried::Cut("the server's file is another one by now".to_owned()));
            }
            status if status.is_server_error() => return Ok(Tried::Cut(status.to_string())),
            status => return Err(FetchError::Status { url: self.url.clone(), status }),
        };
        let all = total.or_else(|| number(CONTENT_LENGTH, |length| length.parse().ok()).map(|rest| start + rest));
        if start == 0 {
            self.forget().await?;
            // Without a version nobody knows whether it can be gone on with.
            if let Some(etag) = response.headers().get(ETAG) {
                fs::write(self.beside("etag"), etag.as_bytes()).await.map_err(|why| self.failed(why))?;
            }
        }
        self.receive(response.into_body(), start, all, say).await
    }

    /// Asks for what is not there yet.
    async fn ask(&self, there: u64) -> Result<Result<Response<Incoming>, String>, FetchError> {
        let mut request = Request::get(&self.url);
        if there > 0 {
            request = request.header(RANGE, format!("bytes={there}-"));
            if let Ok(etag) = fs::read(self.beside("etag")).await {
                request = request.header(IF_RANGE, etag);
            }
        }
        let request = request.body(Empty::new()).map_err(|_| FetchError::Address(self.url.clone()))?;
        Ok(match tokio::time::timeout(SILENCE, self.http.request(request)).await {
            Ok(response) => response.map_err(|error| in_words(&error)),
            Err(_) => Err(format!("no answer within {SILENCE:?}")),
        })
    }

    /// Appends what comes.
    async fn receive(
        &self,
        mut body: Incoming,
        start: u64,
        all: Option<u64>,
        say: &mut impl FnMut(&Fetching),
    ) -> Result<Tried, FetchError> {
        let mut options = File::options();
        let file = options.create(true).append(true).open(self.beside("part")).await;
        let mut file = file.map_err(|why| self.failed(why))?;
        let mut bytes = start;
        let cut = loop {
            say(&Fetching { file: self.name.clone(), bytes, of: all });
            match tokio::time::timeout(SILENCE, body.frame()).await {
                Ok(None) => break None,
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    file.write_all(&data).await.map_err(|why| self.failed(why))?;
                    bytes += data.len() as u64;
                }
                Ok(Some(Err(error))) => break Some(in_words(&error)),
                Err(_) => break Some(format!("silent for {SILENCE:?}")),
            }
        };
        file.sync_all().await.map_err(|why| self.failed(why))?;
        Ok(match (cut, all) {
            (Some(why), _) => Tried::Cut(why),
            (None, Some(all)) if all != bytes => Tried::Cut(format!("{bytes} bytes came, of {all}")),
            (None, _) => Tried::Whole,
        })
    }

    /// What came is of another version.
    async fn forget(&self) -> Result<(), FetchError> {
        for extension in ["part", "etag"] {
            match fs::remove_file(self.beside(extension)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.failed(error)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), FetchError> {
        fs::rename(self.beside("part"), &self.path).await.map_err(|why| self.failed(why))?;
        self.forget().await
    }
}

/// An error with its causes, of which hyper's own text says none.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
