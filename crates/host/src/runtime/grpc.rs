//! gRPC over a unix socket, with messages written by hand: only the fields that are needed.

use std::{marker::PhantomData, path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::{
    Request, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Larger answers are refused. containerd sends each container's whole specification, some 16 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A connection to one runtime; clones share it.
#[derive(Clone)]
pub(super) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    timeout: Duration,
}

impl Client {
    pub(super) async fn connect(socket: &Path, timeout: Duration) -> Result<Self, String> {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The address only fills a header; the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(timeout);
        let channel = tokio::time::timeout(timeout, endpoint.connect_with_connector(connector))
            .await
            .map_err(|_| "it does not accept the connection in time".to_owned())?
            .map_err(|e| innermost(&e))?;
        Ok(Self {
            grpc: tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX),
            timeout,
        })
    }

    /// Asks one question; none of ours needs words. `namespace` is containerd's.
    pub(super) async fn unary<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
        namespace: Option<&str>,
    ) -> Result<A, Status> {
        let answer = async {
            self.grpc.ready().await.map_err(|e| Status::unavailable(innermost(&e)))?;
            let path = method.parse().map_err(|_| Status::internal("BUG: a method's path is a path"))?;
            self.grpc.unary(request(namespace)?, path, Prost::<A>::default()).await
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer to {method} in time"))),
        }
    }

    /// Asks for a stream of answers. There is no deadline for it to begin.
    pub(super) async fn stream<A: Message + Default + 'static>(
        &mut self,
        method: &'static str,
    ) -> Result<Streaming<A>, Status> {
        self.grpc.ready().await.map_err(|e| Status::unavailable(innermost(&e)))?;
        let path = method.parse().map_err(|_| Status::internal("BUG: a method's path is a path"))?;
        let answer = self.grpc.server_streaming(request(None)?, path, Prost::<A>::default());
        answer.await.map(tonic::Response::into_inner)
    }
}

/// A question without words.
#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

fn request(namespace: Option<&str>) -> Result<Request<Empty>, Status> {
    let mut request = Request::new(Empty {});
    if let Some(namespace) = namespace {
        let value = MetadataValue::try_from(namespace)
            .map_err(|_| Status::invalid_argument("a namespace's name is no text for a header"))?;
        request.metadata_mut().insert("containerd-namespace", value);
    }
    Ok(request)
}

/// The cause at the bottom, which is the one that says something.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Protocol buffers as gRPC's messages.
struct Prost<A>(PhantomData<A>);

impl<A> Default for Prost<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A: Message + Default + 'static> Codec for Prost<A> {
    type Encode = Empty;
    type Decode = A;
    type Encoder = ProstEncoder;
    type Decoder = ProstDecoder<A>;

    fn encoder(&mut self) -> ProstEncoder {
        ProstEncoder
    }

    fn decoder(&mut self) -> ProstDecoder<A> {
        ProstDecoder(PhantomData)
    }
}

struct ProstEncoder;

impl Encoder for ProstEncoder {
    type Item = Empty;
    type Error = Status;

    fn encode(&mut self, item: Empty, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(out).map_err(|e| Status::internal(e.to_string()))
    }
}

struct ProstDecoder<A>(PhantomData<A>);

impl<A: Message + Default> Decoder for ProstDecoder<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        A::decode(bytes).map(Some).map_err(|e| Status::internal(format!("the answer makes no sense: {e}")))
    }
}
