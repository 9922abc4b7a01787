//! A server that takes down every request and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub struct Server {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub head: String,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
}

/// What to answer.
pub struct Answer {
    bytes: Option<Vec<u8>>,
    status: u16,
    headers: String,
    body: String,
    endless: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { bytes: None, status, headers: String::new(), body: String::new(), endless: false }
    }

    /// Nothing, while the connection stays open.
    pub fn silence() -> Self {
        Self::status(0)
    }

    pub fn raw(bytes: &[u8]) -> Self {
        Self { bytes: Some(bytes.to_vec()), ..Self::status(0) }
    }

    pub fn with(mut self, headers: &str) -> Self {
        self.headers.push_str(headers);
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// A body without end.
    pub fn endless(mut self) -> Self {
        self.endless = true;
        self
    }
}

impl Server {
    /// An address at which nobody listens.
    pub fn free_address() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("an address")
    }

    pub async fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answer).await
    }

    pub async fn start_at(
        address: SocketAddr,
        answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                connections.spawn(async move { talk(stream, &seen, answer.as_ref()).await });
            }
        });
        Self { address, requests, task }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// The ids of all requests, in order.
    pub fn ids(&self) -> Vec<String> {
        let id = |r: &Request| r.header("idempotency-key").expect("an id").to_owned();
        self.requests().iter().map(id).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize, &Request) -> Answer + Send + Sync),
) -> Option<()> {
    let request = read(&mut stream).await?;
    let answer = {
        let mut seen = seen.lock().expect("not poisoned");
        seen.push(request.clone());
        answer(seen.len() - 1, &request)
    };
    if let Some(bytes) = answer.bytes {
        stream.write_all(&bytes).await.ok()?;
        return Some(());
    }
    if answer.status == 0 {
        std::future::pending::<()>().await;
    }
    let length = if answer.endless { 1 << 40 } else { answer.body.len() };
    let head = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {length}\r\n{}\r\n{}",
        answer.status, answer.headers, answer.body
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    if answer.endless {
        loop {
            stream.write_all(&[b'x'; 4096]).await.ok()?;
        }
    }
    Some(())
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let request = Request { head: head.to_owned(), body: body.to_owned() };
        let length: usize = request.header("content-length")?.parse().ok()?;
        if request.body.len() >= length {
            return Some(request);
        }
    }
}
