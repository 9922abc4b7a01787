//! Doubles of runtimes that no test machine has, written from their documents: they answer on one
//! unix socket in HTTP/1.1 and in gRPC, as CRI-O does; Docker and Podman speak only the former.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Frame, Incoming},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::{net::UnixListener, sync::mpsc, task::JoinSet};

/// What is answered to a path.
#[derive(Clone)]
pub(super) enum Reply {
    Json(String),
    Grpc(Vec<u8>),
    /// The head comes, the rest never does.
    Hangs,
    /// Bytes without end.
    Endless,
}

impl Reply {
    pub(super) fn grpc(message: &impl Message) -> Self {
        Self::Grpc(message.encode_to_vec())
    }
}

/// A runtime. It ends when it is dropped.
pub(super) struct Double {
    pub(super) replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    /// How often each path was asked for.
    pub(super) asked: Arc<Mutex<HashMap<String, usize>>>,
    /// Lines for those who listen to `/events`.
    pub(super) events: mpsc::Sender<String>,
    _tasks: JoinSet<()>,
}

/// Lines that come when they come; who listens next gets what follows.
#[derive(Clone)]
struct Lines(Arc<Mutex<mpsc::Receiver<String>>>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.lock().poll_recv(context).map(|line| Some(Ok(Frame::data((line? + "\n").into()))))
    }
}

impl Double {
    pub(super) fn start(socket: &Path, replies: &[(&str, Reply)]) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let (events, told) = mpsc::channel(16);
        let told = Lines(Arc::new(Mutex::new(told)));
        let replies: BTreeMap<String, Reply> =
            replies.iter().map(|(path, reply)| ((*path).to_owned(), reply.clone())).collect();
        let replies = Arc::new(Mutex::new(replies));
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let (all, counts) = (replies.clone(), asked.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (replies, asked, told) = (all.clone(), counts.clone(), told.clone());
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let path = request.uri().path().to_owned();
                        *asked.lock().entry(path.clone()).or_default() += 1;
                        let reply = replies.lock().get(request.uri().to_string().as_str()).cloned();
                        let reply = reply.or_else(|| replies.lock().get(&path).cloned());
                        let response = respond(&path, request.version(), reply, told.clone());
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { replies, asked, events, _tasks: tasks }
    }

    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.lock().get(path).copied().unwrap_or(0)
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn respond(path: &str, version: Version, reply: Option<Reply>, told: Lines) -> Response<Body> {
    if path == "/events" && version == Version::HTTP_11 {
        return Response::new(told.boxed());
    }
    let grpc = |message: Option<Vec<u8>>| {
        let mut trailers = HeaderMap::new();
        let status = if message.is_some() { "0" } else { "12" };
        trailers.insert("grpc-status", status.parse().unwrap());
        let framed = message.map(|m| {
            let length = u32::try_from(m.len()).unwrap().to_be_bytes();
            [&[0][..], &length, &m].concat()
        });
        let body = Full::new(Bytes::from(framed.unwrap_or_default()));
        let body = body.with_trailers(async move { Some(Ok(trailers)) }).boxed();
        Response::builder().header("content-type", "application/grpc").body(body).unwrap()
    };
    match (reply, version) {
        (Some(Reply::Grpc(message)), Version::HTTP_2) => grpc(Some(message)),
        (None, Version::HTTP_2) => grpc(None),
        (Some(Reply::Json(text)), Version::HTTP_11) => Response::new(Full::new(text.into()).boxed()),
        (Some(Reply::Hangs), _) => Response::new(endless(None)),
        // The head of a message of two gigabytes.
        (Some(Reply::Endless), Version::HTTP_2) => {
            let mut response = Response::new(endless(Some(Bytes::from_static(&[0, 0x7f, 0xff, 0xff, 0xff]))));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            response
        }
        (Some(Reply::Endless), _) => Response::new(endless(Some(Bytes::from(vec![b'['; 1 << 20])))),
        _ => {
            let body = Full::new(r#"{"message":"page not found"}"#.into()).boxed();
            Response::builder().status(StatusCode::NOT_FOUND).body(body).unwrap()
        }
    }
}

/// A body that repeats something for ever, or waits for ever.
fn endless(what: Option<Bytes>) -> Body {
    Endless(what).boxed()
}

struct Endless(Option<Bytes>);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &self.0 {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.clone())))),
            None => Poll::Pending,
        }
    }
}
