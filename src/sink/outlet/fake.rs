//! A server that answers as a test says, on loopback.

use flate2::read::GzDecoder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is done with a request.
pub enum Reply {
    /// Status, further headers (each with its line end), body.
    Say(u16, &'static str, &'static str),
    /// Nothing, as long as the test lasts.
    Hang,
    /// The connection is closed without a word.
    Close,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub head: String,
    pub lines: Vec<String>,
}

/// The server; its thread ends with the test's process.
pub struct Fake {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// `reply` is given the number of the request, from 0, and its lines.
    pub fn start(reply: impl Fn(usize, &[String]) -> Reply + Send + 'static) -> Fake {
        Fake::at(TcpListener::bind(("127.0.0.1", 0)).unwrap(), reply)
    }

    pub fn at(listener: TcpListener, reply: impl Fn(usize, &[String]) -> Reply + Send + 'static) -> Fake {
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(request) = read(&mut reader) {
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    match reply(number, &request.lines) {
                        Reply::Say(status, headers, body) => say(&stream, status, headers, body),
                        Reply::Hang => {
                            held.push(stream);
                            break;
                        }
                        Reply::Close => break,
                    }
                }
            }
        });
        Fake { port, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn say(mut stream: &TcpStream, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(answer.as_bytes());
}

fn read(from: &mut impl BufRead) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    from.read_exact(&mut body).ok()?;
    let mut text = String::new();
    GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
    Some(Asked { head, lines: text.lines().map(str::to_owned).collect() })
}
