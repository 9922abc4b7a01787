//! Lines of Graphite over TCP, from whoever on this machine sends them.
//!
//! The protocol has no answers. So lines that cannot be stored now are tried again, and nothing more is
//! read of their connection meanwhile: its sender has to wait, and nothing is lost. Lines that never
//! can be stored are counted by the door and told in the log.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use vedette_ingest::{Receiver, WriteError, Written};
use vedette_wire::graphite::LINE_BYTES_MAX;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// Bytes that are stored at once.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// How long a connection may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// Between two tries to store the same lines.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A port that is taken, and from which nothing is read yet.
pub struct Listener {
    listener: StdListener,
    address: SocketAddr,
}

/// Takes lines.
pub trait Lines: Send + Sync + 'static {
    /// Stores what it can of some lines.
    fn store(&self, lines: &[u8]) -> Result<Written, WriteError>;
}

impl Lines for Receiver {
    fn store(&self, lines: &[u8]) -> Result<Written, WriteError> {
        self.graphite_lines(lines)
    }
}

impl Listener {
    /// Takes the port.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let bind = || -> io::Result<Self> {
            let listener = StdListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Self { address: listener.local_addr()?, listener })
        };
        bind().with_context(|| {
            format!("cannot listen on {address} for lines of Graphite; choose another port in receive.graphite.listen")
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes lines until `stop` is done; what was read by then is stored.
    pub async fn run(self, lines: Arc<impl Lines>, stop: impl Future<Output = ()>) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "lines of Graphite cannot be taken"),
        };
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (stopping, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                let slot = slots.clone().acquire_owned().await.expect("BUG: the semaphore is never closed");
                (listener.accept().await, slot)
            };
            tokio::select! {
                () = &mut stop => break,
                (accepted, slot) = accepted => match accepted {
                    Ok((stream, peer)) => {
                        let (lines, stopped) = (lines.clone(), stopped.clone());
                        connections.spawn(async move {
                            let _slot = slot;
                            read(stream, peer, lines, stopped).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection for lines of Graphite");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
        let _ = stopping.send(true);
        while connections.join_next().await.is_some() {}
    }
}

/// Reads lines until the sender ends, is silent for too long, or the program stops.
async fn read(
    mut stream: impl AsyncRead + Unpin,
    peer: SocketAddr,
    lines: Arc<impl Lines>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let room = BATCH_BYTES_MAX - buffer.len();
        let mut limited = (&mut stream).take(room as u64);
        let read = tokio::select! {
            read = tokio::time::timeout(SILENCE_MAX, limited.read_buf(&mut buffer)) => read,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let ended = !matches!(read, Ok(Ok(bytes)) if bytes > 0);
        // The last line may lack its end where its sender has ended, and only there.
        let whole = match buffer.iter().rposition(|byte| *byte == b'\n') {
            _ if ended => buffer.len(),
            Some(end) => end + 1,
            None if buffer.len() > LINE_BYTES_MAX => {
                tracing::warn!(%peer, "a line of Graphite has more than {LINE_BYTES_MAX} bytes; the connection is closed");
                return;
            }
            None => 0,
        };
        if whole > 0 {
            let rest = buffer.split_off(whole);
            let batch = std::mem::replace(&mut buffer, rest);
            if !store(batch, peer, &lines, &mut stopped).await {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

/// Stores lines, however often it takes; false when the program stops before that.
async fn store(
    batch: Vec<u8>,
    peer: SocketAddr,
    lines: &Arc<impl Lines>,
    stopped: &mut watch::Receiver<bool>,
) -> bool {
    let batch = Arc::new(batch);
    loop {
        let (lines, batch) = (lines.clone(), batch.clone());
        match tokio::task::spawn_blocking(move || lines.store(&batch)).await {
            Ok(Ok(written)) => {
                if let Some(refused) = written.refused {
                    tracing::warn!(%peer, refused, "lines of Graphite were refused");
                }
                return true;
            }
            Ok(Err(WriteError::Retry(reason))) => {
                tracing::warn!(%peer, reason, "lines of Graphite cannot be stored yet");
            }
            Ok(Err(error)) => {
                tracing::warn!(%peer, %error, "lines of Graphite were refused");
                return true;
            }
            Err(_) => {
                tracing::error!(%peer, "storing lines of Graphite ended without a result");
                return false;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
            _ = stopped.wait_for(|stopped| *stopped) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Keeps lines; the first try fails.
    #[derive(Default)]
    struct Kept(Mutex<(usize, Vec<String>)>);

    impl Lines for Kept {
        fn store(&self, lines: &[u8]) -> Result<Written, WriteError> {
            let mut kept = self.0.lock().expect("no panic");
            kept.0 += 1;
            if kept.0 == 1 {
                return Err(WriteError::Retry("the disk is full".to_owned()));
            }
            kept.1.extend(String::from_utf8_lossy(lines).lines().map(str::to_owned));
            Ok(Written::default())
        }
    }

    async fn send(pieces: &[&[u8]]) -> Vec<String> {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let kept = Arc::new(Kept::default());
        let (_stop, stopped) = watch::channel(false);
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let reading = tokio::spawn(read(receiver, peer, kept.clone(), stopped));
        for piece in pieces {
            if sender.write_all(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        reading.await.expect("no panic");
        let kept = kept.0.lock().expect("no panic");
        kept.1.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_put_together_and_tried_again() {
        let lines = send(&[b"a 1 1\nb", b" 2", b" 2\nc 3 3\n", b"last 4 4"]).await;
        assert_eq!(lines, ["a 1 1", "b 2 2", "c 3 3", "last 4 4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_without_end_ends_the_connection() {
        let endless = vec![b'x'; LINE_BYTES_MAX + 100];
        assert_eq!(send(&[b"a 1 1\n", &endless, b" 1 1\nb 2 2\n"]).await, ["a 1 1"]);
    }

    #[tokio::test]
    async fn a_port_in_use_is_told() {
        let first = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("binds");
        let error = Listener::bind(first.address()).err().expect("is in use");
        assert!(format!("{error:#}").contains("receive.graphite.listen"), "{error:#}");
    }
}
