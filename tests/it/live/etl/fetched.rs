//! Files got over HTTP from a server that does what its script says.

use super::files::{Folder, LIMIT};
use pgbench_rs::etl::imdb::fetch::{FetchError, Fetching, fetch};
use pgbench_rs::etl::imdb::schema::FILES;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with requests for name.basics; the other files come whole.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Script {
    /// All of it.
    Whole,
    /// So many bytes, then the connection breaks; the next request goes on.
    CutAfter(usize),
    /// The same, and it knows no ranges.
    CutWithoutRanges(usize),
    /// No such file.
    Missing,
    /// It is broken.
    Broken,
}

#[derive(Debug)]
struct Server {
    address: String,
    /// The requests.
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Path, and `Range`.
type Asked = (String, Option<String>);

const ETAG: &str = "\"one\"";

fn body(path: &str) -> Vec<u8> {
    path.as_bytes().iter().copied().cycle().take(10_000).collect()
}

impl Server {
    async fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, mut script) = (asked.clone(), script);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((path, range)) = request(&mut stream).await else { continue };
                log.lock().expect("no panic").push((path.clone(), range.clone()));
                let of = if path.contains("name.basics") { script } else { Script::Whole };
                if let (Script::CutAfter(_) | Script::CutWithoutRanges(_), true) = (of, path.contains("name.basics")) {
                    script = if range.is_some() { Script::Whole } else { of };
                    if range.is_some() && matches!(of, Script::CutWithoutRanges(_)) {
                        let _ = answer(&mut stream, &path, None, Script::Whole).await;
                        continue;
                    }
                }
                let of = if range.is_some() { script } else { of };
                let _ = answer(&mut stream, &path, range, of).await;
            }
        });
        Server { address, asked }
    }

    fn ranges(&self) -> Vec<Option<String>> {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|(path, _)| path.contains("name.basics")).map(|(_, range)| range.clone()).collect()
    }
}

async fn request(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next_line().await.ok()??.split(' ').nth(1)?.to_owned();
    let (mut range, mut same) = (None, true);
    while let Some(line) = lines.next_line().await.ok()?.filter(|line| !line.is_empty()) {
        match line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())) {
            Some((name, value)) if name == "range" => range = Some(value),
            Some((name, value)) if name == "if-range" => same = value == ETAG,
            _ => {}
        }
    }
    Some((path, range.filter(|_| same)))
}

async fn answer(stream: &mut TcpStream, path: &str, range: Option<String>, script: Script) -> std::io::Result<()> {
    let all = body(path);
    let status = match script {
        Script::Missing => "404 Not Found",
        Script::Broken => "503 Service Unavailable",
        _ => "",
    };
    if !status.is_empty() {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return stream.write_all(head.as_bytes()).await;
    }
    let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let head = match start {
        Some(start) if start >= all.len() => {
            format!(
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n",
                all.len()
            )
        }
        Some(start) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n",
            all.len() - 1,
            all.len(),
            all.len() - start
        ),
        None => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", all.len()),
    };
    stream.write_all(format!("{head}ETag: {ETAG}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let rest = all.get(start.unwrap_or(0)..).unwrap_or_default();
    let sent = match script {
        Script::CutAfter(bytes) | Script::CutWithoutRanges(bytes) => &rest[..bytes.min(rest.len())],
        _ => rest,
    };
    stream.write_all(sent).await?;
    stream.flush().await
}

async fn get(server: &Server, dir: &Path) -> Result<Vec<Fetching>, FetchError> {
    let mut said = Vec::new();
    let done = fetch(&server.address, dir, |fetching| said.push(fetching.clone()));
    tokio::time::timeout(LIMIT, done).await.expect("it ends")?;
    Ok(said)
}

fn whole(dir: &Path) {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let wanted: Vec<_> = FILES.iter().map(|shape| format!("{}.tsv.gz", shape.file)).collect();
    assert_eq!(names, wanted, "the seven files and nothing beside them");
    for name in &wanted {
        assert_eq!(fs::read(dir.join(name)).expect("a file"), body(&format!("/{name}")), "{name}");
    }
}

#[tokio::test]
async fn whole_files_come_at_once_and_are_not_got_again() {
    let (server, dir) = (Server::start(Script::Whole).await, tempfile::tempdir().expect("a directory"));
    let said = get(&server, dir.path()).await.expect("they come");
    whole(dir.path());
    assert!(said.iter().any(|now| now.bytes == 10_000 && now.of == Some(10_000)));
    get(&server, dir.path()).await.expect("they are there");
    assert_eq!(server.asked.lock().expect("no panic").len(), 7);
    // A file that is there uncompressed is there.
    let other = Folder::new();
    get(&server, other.path()).await.expect("they are there");
    assert_eq!(server.asked.lock().expect("no panic").len(), 7);
}

#[tokio::test]
async fn a_file_that_is_cut_goes_on() {
    let (server, dir) = (Server::start(Script::CutAfter(4000)).await, tempfile::tempdir().expect("a directory"));
    get(&server, dir.path()).await.expect("they come");
    whole(dir.path());
    assert_eq!(server.ranges(), [None, Some("bytes=4000-".to_owned())]);
}

#[tokio::test]
async fn a_server_without_ranges_begins_anew() {
    let script = Script::CutWithoutRanges(4000);
    let (server, dir) = (Server::start(script).await, tempfile::tempdir().expect("a directory"));
    get(&server, dir.path()).await.expect("they come");
    whole(dir.path());
    assert_eq!(server.ranges(), [None, Some("bytes=4000-".to_owned())]);
}

#[tokio::test]
async fn what_an_earlier_fetch_left_is_gone_on_with_or_thrown_away() {
    let all = body("/name.basics.tsv.gz");
    for (part, etag, ranges) in [
        (all[..2500].to_vec(), Some(ETAG), vec![Some("bytes=2500-".to_owned())]),
        // All of it came, but it was not put in its place.
        (all.clone(), Some(ETAG), vec![Some("bytes=10000-".to_owned())]),
        // More than there is.
        ([all.clone(), vec![0]].concat(), Some(ETAG), vec![Some("bytes=10001-".to_owned()), None]),
        // Of another day.
        (vec![0; 2500], Some("\"two\""), vec![None]),
        // Of nobody knows which.
        (vec![0; 2500], None, vec![None]),
    ] {
        let (server, dir) = (Server::start(Script::Whole).await, tempfile::tempdir().expect("a directory"));
        fs::write(dir.path().join("name.basics.tsv.gz.part"), part).expect("it is written");
        if let Some(etag) = etag {
            fs::write(dir.path().join("name.basics.tsv.gz.etag"), etag).expect("it is written");
        }
        get(&server, dir.path()).await.expect("they come");
        whole(dir.path());
        assert_eq!(server.ranges(), ranges);
    }
}

#[tokio::test]
async fn what_does_not_come_is_an_error() {
    let (server, dir) = (Server::start(Script::Missing).await, tempfile::tempdir().expect("a directory"));
    let error = get(&server, dir.path()).await.expect_err("it is missing");
    assert!(matches!(&error, FetchError::Status { status, .. } if status.as_u16() == 404), "{error}");
    assert!(fs::read_dir(dir.path()).expect("a folder").next().is_none());
    let server = Server::start(Script::Broken).await;
    let error = get(&server, dir.path()).await.expect_err("it is broken").to_string();
    assert!(error.contains("503") && error.contains("once more goes on after the 0 bytes"), "{error}");
    assert_eq!(server.ranges().len(), 5);
}
