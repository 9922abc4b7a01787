//! What waits for one Alertmanager, and the task that sends it.
//!
//! Invariant: every alert that is put in is counted in the end, as sent or as lost.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use vedette_http_client::{Bytes, Client, Limits, Method, Request, Uri, header::CONTENT_TYPE};
use vedette_model::telemetry::Counter;

use super::{OnwardAlert, message};

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Characters of an answer that are told.
const TOLD_CHARS_MAX: usize = 200;

/// A queue for one Alertmanager.
pub struct Queue {
    uri: Uri,
    address: String,
    alerts_max: usize,
    batch_max: usize,
    state: Mutex<State>,
    woken: Notify,
    ended: watch::Sender<bool>,
    pub sent: Counter,
    pub failed: Counter,
    pub lost: Counter,
    /// Counts once more what is lost when nobody looks at this queue any longer.
    lost_after: Arc<Counter>,
}

#[derive(Default)]
struct State {
    alerts: VecDeque<Arc<OnwardAlert>>,
    /// No more alerts come; the task ends when there are none.
    is_closed: bool,
    /// Why the last request failed.
    failure: Option<String>,
}

impl Queue {
    pub fn new(uri: &Uri, alerts_max: usize, batch_max: usize, lost_after: Arc<Counter>) -> Self {
        Self {
            uri: uri.clone(),
            address: shown(uri),
            alerts_max,
            batch_max: batch_max.max(1),
            state: Mutex::default(),
            woken: Notify::new(),
            ended: watch::Sender::new(false),
            sent: Counter::default(),
            failed: Counter::default(),
            lost: Counter::default(),
            lost_after,
        }
    }

    /// Where alerts are sent, without a password.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn waiting(&self) -> usize {
        self.state.lock().alerts.len()
    }

    /// Why the last request failed, if it did.
    pub fn failure(&self) -> Option<String> {
        self.state.lock().failure.clone()
    }

    /// Puts alerts in. The oldest go where there is no room.
    pub fn put(&self, alerts: &[Arc<OnwardAlert>]) {
        let mut state = self.state.lock();
        state.alerts.extend(alerts.iter().cloned());
        let surplus = state.alerts.len().saturating_sub(self.alerts_max);
        state.alerts.drain(..surplus);
        drop(state);
        if surplus > 0 {
            tracing::warn!(
                alertmanager = self.address,
                alerts = surplus,
                "too many alerts wait; the oldest were dropped"
            );
            self.lost.add(surplus as u64);
        }
        self.woken.notify_one();
    }

    /// No more alerts come; what waits is sent, unless that fails.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        self.woken.notify_one();
    }

    /// Waits for the end of the task.
    pub async fn ended(&self) {
        // The sender lives as long as this queue.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Drops what waits, and tells how many alerts that were.
    pub fn give_up(&self) -> usize {
        let lost = std::mem::take(&mut self.state.lock().alerts).len();
        self.lost.add(lost as u64);
        lost
    }

    /// What to send next; `None` when there will be nothing more.
    async fn next(&self) -> Option<Vec<Arc<OnwardAlert>>> {
        loop {
            let woken = self.woken.notified();
            {
                let mut state = self.state.lock();
                let count = state.alerts.len().min(self.batch_max);
                if count > 0 {
                    return Some(state.alerts.drain(..count).collect());
                }
                if state.is_closed {
                    return None;
                }
            }
            woken.await;
        }
    }

    fn conclude(&self, count: usize, result: Result<(), String>) {
        let count = count as u64;
        match result {
            Ok(()) => {
                self.sent.add(count);
                if self.state.lock().failure.take().is_some() {
                    tracing::info!(alertmanager = self.address, "alerts are sent again");
                }
            }
            Err(reason) => {
                self.failed.add(count);
                self.lost.add(count);
                let mut state = self.state.lock();
                if state.failure.as_ref() != Some(&reason) {
                    tracing::warn!(
                        alertmanager = self.address,
                        reason,
                        "cannot send alerts; they are sent again while they fire"
                    );
                }
                state.failure = Some(reason);
                // Nobody waits for one who is going and does not answer.
                if state.is_closed {
                    let left = std::mem::take(&mut state.alerts).len();
                    self.lost.add(left as u64);
                }
            }
        }
    }
}

/// Sends what is put into a queue until it is closed, and `tell`s when that begins or ceases to work.
pub async fn run(queue: Arc<Queue>, client: Client, timeout: Duration, tell: impl Fn()) {
    while let Some(batch) = queue.next().await {
        let before = queue.failure();
        let result = post(&queue.uri, &client, timeout, message::body(batch.iter().map(|a| &**a))).await;
        queue.conclude(batch.len(), result);
        if queue.failure() != before || queue.waiting() == 0 {
            tell();
        }
    }
    queue.lost_after.add(queue.lost.get());
    queue.ended.send_replace(true);
}

async fn post(uri: &Uri, client: &Client, timeout: Duration, body: Vec<u8>) -> Result<(), String> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("BUG: a sound value"));
    let limits = Limits { timeout, body_bytes_max: ANSWER_BYTES_MAX };
    let mut response = client.send(request, limits).await.map_err(|error| error.to_string())?;
    let status = response.status();
    // Read to its end, so that the connection can be used again. What it says matters only if it is a
    // refusal, and whether it arrives does not.
    let mut said = Vec::new();
    let _ = response.read(&mut said).await;
    if status.is_success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&said)
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TOLD_CHARS_MAX)
        .collect();
    let reason = format!("bad response status {}", vedette_http_client::status_text(status));
    Err(if said.is_empty() { reason } else { format!("{reason}: {said}") })
}

/// An address without name and password.
fn shown(uri: &Uri) -> String {
    let text = uri.to_string();
    match (text.split_once("://"), uri.authority().and_then(|a| a.as_str().rsplit_once('@'))) {
        (Some((scheme, rest)), Some((user, _))) => {
            format!("{scheme}://{}", rest.get(user.len() + 1..).unwrap_or_default())
        }
        _ => text,
    }
}
