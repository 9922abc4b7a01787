//! Events as they come, as server-sent events.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::mpsc;
use vedette_eventdb::{Received, Search, Subscription};
use vedette_wire::vedette;

use super::{Problem, events::read_search};
use crate::{
    answer::{Answer, Body},
    app::Shared,
    request::Call,
    routes::Handled,
};

/// Pieces that wait for a slow reader before the store's own bound begins to count.
const PIECES_MAX: usize = 64;

/// How long a stream is silent before it says that it is alive, and how often it looks whether it
/// should end.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(250);

/// Streams events as they come.
pub fn live(call: Call) -> Handled {
    Box::pin(async move { open(&call).unwrap_or_else(Answer::from) })
}

fn open(call: &Call) -> Result<Answer, Problem> {
    let search = read_search(&call.params)?;
    let shared = call.shared.clone();
    let entered = shared.metrics.live_readers.enter();
    let max = shared.config.live_readers_max;
    if shared.metrics.live_readers.get() > i64::try_from(max).unwrap_or(i64::MAX) {
        return Err(Problem(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{max} readers watch live events already"),
            "Close some of their pages.",
        ));
    }
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    // The subscription begins before the answer does: nothing falls between.
    let subscription = shared.events().subscribe();
    // The store hands events over on a thread that waits. It ends within `LOOK` of its reader.
    tokio::task::spawn_blocking(move || {
        pass_on(&shared, &subscription, &search, &sender);
        drop(entered);
    });
    let mut answer = Response::new(Body::Stream(receiver));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn pass_on(shared: &Shared, subscription: &Subscription, search: &Search, sender: &mpsc::Sender<Bytes>) {
    let stopping = shared.stopping.subscribe();
    let clock = &shared.app.clock;
    let mut spoke = clock.monotonic();
    // Says at once that the stream is open, so that the reader need not wait for an event.
    let mut piece = Bytes::from_static(b": open\n\n");
    loop {
        if !piece.is_empty() && sender.blocking_send(std::mem::take(&mut piece)).is_err() {
            return;
        }
        if sender.is_closed() || *stopping.borrow() {
            return;
        }
        let received = subscription.recv_timeout(LOOK);
        let missed = subscription.take_missed();
        let mut out = Vec::new();
        if missed > 0 {
            shared.metrics.live_lost.add(missed);
            push(&mut out, "event: loss\n", &vedette::Loss { count: missed });
        }
        match received {
            Received::Event(event) if search.matches(&event) => {
                push(&mut out, &format!("id: {}\n", event.id), &vedette::Event::from(event.as_ref()));
            }
            // Events that are not wanted may come without end; the reader hears of none of them.
            Received::Event(_) | Received::Timeout => {
                if out.is_empty() && clock.monotonic().since(spoke) >= HEARTBEAT {
                    out.extend_from_slice(b":\n\n");
                }
            }
            Received::Closed => return,
        }
        if !out.is_empty() {
            spoke = clock.monotonic();
            piece = out.into();
        }
    }
}

/// Appends one server-sent event; JSON has no line break, so one `data` line holds it.
fn push(out: &mut Vec<u8>, head: &str, data: &impl serde::Serialize) {
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, data).expect("BUG: our own answers have text keys only");
    out.extend_from_slice(b"\n\n");
}
