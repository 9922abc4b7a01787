//! A web server and a name server whose answers a test chooses.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket, UnixListener},
};
use vedette_http_client::Bytes;

pub struct Asked(Request<Incoming>);

impl Asked {
    pub fn header(&self, name: &str) -> String {
        let value = self.0.headers().get(name).map(|v| v.as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    }

    pub fn path(&self) -> &str {
        self.0.uri().path()
    }

    pub fn query(&self) -> &str {
        self.0.uri().query().unwrap_or_default()
    }
}

/// Status, content type and body.
type Answer = (u16, &'static str, String);
type Handler = Arc<dyn Fn(Asked) -> Answer + Send + Sync>;

pub struct WebServer {
    pub address: SocketAddr,
    handler: Arc<Mutex<Handler>>,
}

impl WebServer {
    pub async fn start(handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Arc::new(handler)));
        let shared = handler.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, handler }
    }

    pub fn on_socket(path: &Path, handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let handler: Arc<Mutex<Handler>> = Arc::new(Mutex::new(Arc::new(handler)));
        let shared = handler.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address: ([127, 0, 0, 1], 0).into(), handler }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn answer(&self, handler: impl Fn(Asked) -> Answer + Send + Sync + 'static) {
        *self.handler.lock() = Arc::new(handler);
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, handler: Arc<Mutex<Handler>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let handler = handler.lock().clone();
        async move {
            let (status, content_type, body) = handler(Asked(request));
            let answer = Response::builder().status(status).header("content-type", content_type);
            let answer = answer.header("x-consul-index", "7").body(Full::new(Bytes::from(body)));
            Ok::<_, Infallible>(answer.expect("an answer"))
        }
    });
    // That a client goes away is no matter here.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Knows the addresses of `n.example`: one, or so many that they do not fit into a packet.
pub struct NameServer {
    pub address: SocketAddr,
    is_long: Arc<AtomicBool>,
    is_refusing: Arc<AtomicBool>,
}

impl NameServer {
    pub async fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = tcp.local_addr().expect("an address");
        let udp = UdpSocket::bind(address).await.expect("the same port");
        let server = Self { address, is_long: Arc::default(), is_refusing: Arc::default() };
        let (long, refusing) = (server.is_long.clone(), server.is_refusing.clone());
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut packet).await {
                let code = if refusing.load(Ordering::SeqCst) { 2 } else { 0 };
                // What is no answer to the question comes first, as from a forger.
                let _ = udp.send_to(b"nonsense", from).await;
                let reply = reply(&packet[..length], code, long.load(Ordering::SeqCst), true);
                let _ = udp.send_to(&reply, from).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.expect("a length");
                let mut question = vec![0; usize::from(length)];
                stream.read_exact(&mut question).await.expect("a question");
                let reply = reply(&question, 0, true, false);
                stream.write_u16(reply.len() as u16).await.expect("written");
                stream.write_all(&reply).await.expect("written");
            }
        });
        server
    }

    pub fn set_long(&self, long: bool) {
        self.is_long.store(long, Ordering::SeqCst);
    }

    pub fn set_refusing(&self, refusing: bool) {
        self.is_refusing.store(refusing, Ordering::SeqCst);
    }
}

fn reply(question: &[u8], code: u8, long: bool, by_udp: bool) -> Vec<u8> {
    let is_known = question[12..].starts_with(b"\x01n\x07example\0");
    let code = if code == 0 && !is_known { 3 } else { code };
    let is_truncated = long && by_udp && is_known;
    let count: u16 = match (code, is_truncated) {
        (0, false) => {
            if long {
                300
            } else {
                1
            }
        }
        _ => 0,
    };
    let mut reply = question[..2].to_vec();
    reply.extend_from_slice(&[0x81 | u8::from(is_truncated) << 1, 0x80 | code, 0, 1]);
    reply.extend_from_slice(&count.to_be_bytes());
    reply.extend_from_slice(&[0; 4]);
    // The question ends before the record of options.
    reply.extend_from_slice(&question[12..question.len() - 11]);
    for i in 0..count {
        let [high, low] = i.to_be_bytes();
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, high, low.wrapping_add(1)]);
    }
    reply
}
