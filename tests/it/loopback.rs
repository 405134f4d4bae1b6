//! A web server on this machine for the tests of downloads: it answers as it is told, lies and hangs up included.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// With the query.
    pub path: String,
    /// Names in small letters.
    headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of `Range: bytes=N-`.
    pub fn first_byte(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }

    /// True for the request that only asks what the file is.
    pub fn is_first_look(&self) -> bool {
        self.header("range") == Some("bytes=0-0")
    }
}

/// What follows the body that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection is closed as it should be.
    Close,
    /// Nothing more comes, and the connection stays open until the client closes it.
    Silence,
    /// The last bytes again and again until the client hangs up.
    Endless,
}

/// How the length of a body is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// `Content-Length` with this number.
    Said(usize),
    /// In chunks.
    Chunked,
    /// Not at all: the connection's end is the end.
    Unsaid,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub length: Length,
    pub end: End,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), length: Length::Said(body.len()), body, end: End::Close }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same announcement, but the connection ends after `bytes` of the body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.body.truncate(bytes);
        self
    }

    pub fn silent_after(self, bytes: usize) -> Self {
        Self { end: End::Silence, ..self.cut_after(bytes) }
    }

    pub fn redirect(to: impl Into<String>) -> Self {
        Self::new(302, "").with("Location", to)
    }

    /// A file as good servers send it: ranges, and `If-Range` by `etag`.
    pub fn file(request: &Request, bytes: &[u8], etag: &str) -> Self {
        let is_same = request.header("if-range").is_none_or(|wanted| wanted == etag);
        let total = bytes.len();
        let Some(first) = request.first_byte().filter(|_| is_same) else {
            return Self::new(200, bytes).with("ETag", etag);
        };
        if first >= total {
            return Self::new(416, "").with("Content-Range", format!("bytes */{total}"));
        }
        let last = if request.is_first_look() { 0 } else { total - 1 };
        let range = format!("bytes {first}-{last}/{total}");
        Self::new(206, &bytes[first..=last]).with("ETag", etag).with("Content-Range", range)
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} x\r\nConnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        match self.length {
            Length::Said(bytes) => write!(stream, "Content-Length: {bytes}\r\n\r\n")?,
            Length::Chunked => write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?,
            Length::Unsaid => write!(stream, "\r\n")?,
        }
        self.send_body(stream)?;
        match self.end {
            End::Close if self.length == Length::Chunked => stream.write_all(b"0\r\n\r\n"),
            End::Close => Ok(()),
            End::Silence => stream.read(&mut [0]).map(drop),
            End::Endless => loop {
                self.send_body(stream)?;
            },
        }
    }

    fn send_body(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        if self.length != Length::Chunked {
            return stream.write_all(&self.body);
        }
        for chunk in self.body.chunks(1000) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        }
        Ok(())
    }
}

/// A server at work until it is dropped.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request as `answer` says; it is told how many came before.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let is_closing: Arc<AtomicBool> = Arc::default();
        let (log, flag, answer) = (Arc::clone(&requests), Arc::clone(&is_closing), Arc::new(answer));
        let thread = Builder::new().spawn(move || {
            let mut talks = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if flag.load(Ordering::Acquire) {
                    break;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                talks.push(Builder::new().spawn(move || talk(stream, &log, answer.as_ref())).unwrap());
            }
            for talk in talks {
                talk.join().unwrap();
            }
        });
        Self { address, requests, is_closing, thread: Some(thread.unwrap()) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same server under another name.
    pub fn other_origin(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn talk(mut stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request, usize) -> Reply) {
    let Some(request) = read(&stream) else { return };
    let before = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(request.clone());
        log.len() - 1
    };
    // The client may hang up whenever it likes.
    let _ = answer(&request, before).send(&mut stream);
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Request { path, headers: headers.collect() })
}
