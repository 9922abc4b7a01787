//! statsd over UDP: nothing tells whether a packet arrived, only that nobody listens.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::{net::UdpSocket, sync::Mutex};

use super::{Deliver, again};
use crate::export::{
    batch::{Batch, Delivery},
    target::Statsd,
};

/// The way to a server.
pub struct Sink {
    config: Statsd,
    socket: Arc<Mutex<Option<UdpSocket>>>,
}

impl Sink {
    /// Nothing is opened yet.
    pub fn new(config: &Statsd) -> Self {
        Self { config: config.clone(), socket: Arc::default() }
    }

    #[cfg(test)]
    pub(super) async fn is_open(&self) -> bool {
        self.socket.lock().await.is_some()
    }
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let (config, socket) = (self.config.clone(), self.socket.clone());
        Box::pin(async move {
            let mut socket = socket.lock().await;
            match send(&config, &mut socket, &batch).await {
                Ok(()) => Delivery::Taken,
                Err(error) => {
                    // The name may lead elsewhere next time.
                    *socket = None;
                    again(format!("{}: {error}", config.address))
                }
            }
        })
    }
}

async fn send(config: &Statsd, socket: &mut Option<UdpSocket>, batch: &Batch) -> std::io::Result<()> {
    let socket = match socket {
        Some(socket) => socket,
        None => {
            let mut addresses = tokio::net::lookup_host(&config.address).await?;
            let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
            let address = addresses.next().ok_or_else(none)?;
            let local = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let opened = UdpSocket::bind(local).await?;
            opened.connect(address).await?;
            socket.insert(opened)
        }
    };
    for packet in packets(batch, config.packet_bytes_max) {
        socket.send(packet).await?;
    }
    Ok(())
}

/// As many lines as a packet holds; one that is longer goes by itself.
pub(super) fn packets(batch: &Batch, bytes_max: usize) -> impl Iterator<Item = &[u8]> {
    let mut begin = 0;
    let mut at = 0;
    let packet = move || {
        let mut end = begin;
        while let Some(document) = batch.documents.get(at) {
            // The line break of the last line is not sent.
            if end > begin && document.end - begin > bytes_max + 1 {
                break;
            }
            end = document.end;
            at += 1;
        }
        let bytes = &batch.bytes[begin..end];
        begin = end;
        (!bytes.is_empty()).then(|| bytes.strip_suffix(b"\n").unwrap_or(bytes))
    };
    std::iter::from_fn(packet)
}
