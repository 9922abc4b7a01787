//! A large answer goes out while it is still written, piece by piece, so that it is never there as
//! a whole. Who writes runs ahead of the client by a few pieces and then waits for it, but not for
//! long in all: a client that is slower than that gets the rest out of memory, and holds up no one.
//!
//! Invariant: an answer that fails after its first piece ends its connection, and never looks
//! complete. A short answer is no stream: it is kept back until it is known whether it fails.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use vedette_promql::{Cancel, QueryError};
use vedette_sys::Clock;

use crate::prometheus::Failure;

/// A piece is sent when it has so many bytes.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces that may wait for the client.
const PIECES_AHEAD: usize = 3;
/// How long one answer waits for its client in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits at a time before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// The work that writes an answer; gives what is left to be sent when it is done.
type Work = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// Between who writes and who sends.
#[derive(Default)]
pub struct Flow {
    state: Mutex<State>,
    /// A piece was taken, or nobody takes any more.
    taken: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Vec<u8>>,
    /// Buffers whose bytes have been sent.
    spare: Vec<Vec<u8>>,
    has_begun: bool,
    /// Nobody will take any more.
    is_abandoned: bool,
    waker: Option<Waker>,
}

/// A piece, whose buffer is used again when its bytes have been sent.
struct Piece {
    bytes: Vec<u8>,
    flow: Arc<Flow>,
}

/// Writes pieces.
pub struct Outlet {
    flow: Arc<Flow>,
    clock: Arc<dyn Clock>,
    waited: Duration,
    /// Whether a client that is too slow gets no more, instead of the rest out of memory.
    gives_up: bool,
}

/// What is sent: the pieces, and then what the work leaves.
pub struct Stream {
    flow: Arc<Flow>,
    work: Option<Work>,
    rest: Option<Result<Vec<u8>, Failure>>,
}

/// How an answer goes out.
pub enum Answered {
    /// It was short, or failed at once.
    Whole(Result<Vec<u8>, Failure>),
    /// Its first pieces are there.
    Stream(Stream),
}

/// An answer failed after its first piece was sent.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off: {0}")]
pub struct CutOff(String);

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next piece, or leaves the waker where there is none.
    fn take(&self, cx: &Context<'_>) -> Option<Vec<u8>> {
        let mut state = self.state();
        let piece = state.pieces.pop_front();
        match piece {
            Some(_) => self.taken.notify_all(),
            None => state.waker = Some(cx.waker().clone()),
        }
        piece
    }

    fn has_begun(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        if !state.has_begun {
            state.waker = Some(cx.waker().clone());
        }
        state.has_begun
    }
}

impl Outlet {
    /// One that waits by this clock.
    pub fn new(flow: Arc<Flow>, clock: Arc<dyn Clock>) -> Self {
        Self { flow, clock, waited: Duration::ZERO, gives_up: false }
    }

    /// One whose answer is too large to wait in memory for a client that is too slow: such a one is cut off.
    pub fn strict(flow: Arc<Flow>, clock: Arc<dyn Clock>) -> Self {
        Self { gives_up: true, ..Self::new(flow, clock) }
    }

    /// Sends what was written if it is enough for a piece, and leaves an empty buffer. Bytes that
    /// wait for a slow client stay counted as held.
    pub fn flow(&mut self, written: &mut Vec<u8>, cancel: &Cancel) -> Result<(), QueryError> {
        if written.len() < PIECE_BYTES {
            return Ok(());
        }
        let mut state = self.flow.state();
        while state.pieces.len() >= PIECES_AHEAD && !state.is_abandoned && self.waited < PATIENCE {
            let begun = self.clock.monotonic();
            let waited = self.flow.taken.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.waited += self.clock.monotonic().since(begun);
            cancel.check()?;
        }
        let is_too_slow = self.gives_up && state.pieces.len() >= PIECES_AHEAD;
        if state.is_abandoned || is_too_slow {
            return Err(QueryError::Canceled);
        }
        let is_ahead = state.pieces.len() >= PIECES_AHEAD;
        let bytes = written.len() as u64;
        let spare = state.spare.pop().unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        state.pieces.push_back(std::mem::replace(written, spare));
        state.has_begun = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if !is_ahead {
            cancel.release_bytes(bytes);
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut state = self.flow.state();
        if state.spare.len() < PIECES_AHEAD && !state.is_abandoned {
            bytes.clear();
            state.spare.push(bytes);
        }
    }
}

/// Runs `work`, which writes into `flow`, until the answer can begin.
pub async fn begin(
    work: impl Future<Output = Result<Vec<u8>, Failure>> + Send + 'static,
    flow: Arc<Flow>,
) -> Answered {
    let mut work: Work = Box::pin(work);
    let finished = poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        let has_begun = flow.has_begun(cx);
        match polled {
            Poll::Ready(result) if has_begun => Poll::Ready((Some(result), true)),
            Poll::Ready(result) => Poll::Ready((Some(result), false)),
            Poll::Pending if has_begun => Poll::Ready((None, true)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    match finished {
        (Some(result), false) => Answered::Whole(result),
        (None, _) => Answered::Stream(Stream { flow, work: Some(work), rest: None }),
        (rest, true) => Answered::Stream(Stream { flow, work: None, rest }),
    }
}

impl Stream {
    /// What is sent next; nothing when all was.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutOff>>> {
        if let Some(work) = &mut self.work
            && let Poll::Ready(rest) = work.as_mut().poll(cx)
        {
            self.work = None;
            self.rest = Some(rest);
        }
        if let Some(bytes) = self.flow.take(cx) {
            let piece = Piece { bytes, flow: Arc::clone(&self.flow) };
            return Poll::Ready(Some(Ok(Bytes::from_owner(piece))));
        }
        if self.work.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(self.rest.take().map(|rest| match rest {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err((_, reason)) => {
                tracing::warn!(%reason, "a query failed after its answer had begun; its connection is ended");
                Err(CutOff(reason))
            }
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.flow.state();
        state.is_abandoned = true;
        state.pieces.clear();
        state.spare.clear();
        drop(state);
        self.flow.taken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use vedette_sys::SystemClock;
    use vedette_wire::prometheus::ErrorType;

    use super::*;

    fn outlet(flow: &Arc<Flow>) -> Outlet {
        Outlet::new(Arc::clone(flow), Arc::new(SystemClock))
    }

    async fn collect(mut stream: Stream) -> (Vec<u8>, Option<String>) {
        let mut all = Vec::new();
        while let Some(piece) = poll_fn(|cx| stream.poll_next(cx)).await {
            match piece {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) => return (all, Some(error.to_string())),
            }
        }
        (all, None)
    }

    /// Writes `bytes` bytes, and ends as it is told.
    async fn write(bytes: usize, end: Result<(), Failure>) -> Answered {
        let flow = Arc::new(Flow::default());
        let mut outlet = outlet(&flow);
        let work = tokio::task::spawn_blocking(move || {
            let mut written = Vec::new();
            for i in 0..bytes {
                written.push((i % 251) as u8);
                outlet.flow(&mut written, &Cancel::new()).expect("somebody takes it");
            }
            end.map(|()| written)
        });
        begin(async { work.await.expect("it ends") }, flow).await
    }

    #[tokio::test]
    async fn what_is_written_arrives_in_order_and_once() {
        for bytes in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES * 9 + 5] {
            let expected: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
            match write(bytes, Ok(())).await {
                Answered::Whole(whole) => {
                    assert!(bytes < PIECE_BYTES);
                    assert_eq!(whole.expect("an answer"), expected);
                }
                Answered::Stream(stream) => {
                    assert!(bytes >= PIECE_BYTES);
                    let (all, cut_off) = collect(stream).await;
                    assert!(cut_off.is_none());
                    assert_eq!(all, expected);
                }
            }
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_whole_or_cuts_the_answer_off() {
        let failure = || Err((ErrorType::Execution, "it broke".to_owned()));
        let Answered::Whole(Err(told)) = write(10, failure()).await else { panic!("nothing was sent") };
        assert_eq!(told.1, "it broke");
        let Answered::Stream(stream) = write(PIECE_BYTES * 2, failure()).await else { panic!("a stream") };
        let (all, cut_off) = collect(stream).await;
        assert_eq!(
            (all.len(), cut_off.as_deref()),
            (PIECE_BYTES * 2, Some("the answer is cut off: it broke"))
        );
    }

    #[tokio::test]
    async fn who_writes_stops_when_nobody_takes_it() {
        let flow = Arc::new(Flow::default());
        let mut outlet = outlet(&flow);
        let (told, result) = tokio::sync::oneshot::channel();
        let work = tokio::task::spawn_blocking(move || {
            let mut written = Vec::new();
            let end = loop {
                written.resize(PIECE_BYTES, 7);
                if let Err(error) = outlet.flow(&mut written, &Cancel::new()) {
                    break error;
                }
            };
            let _ = told.send(end.to_string());
            Ok(Vec::new())
        });
        let answered = begin(async { work.await.expect("it ends") }, flow).await;
        drop(answered);
        assert!(result.await.expect("it stops").contains("canceled"));
    }
}
