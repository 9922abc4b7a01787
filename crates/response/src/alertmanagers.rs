//! Sends alerts to the Alertmanagers of a configuration, as a Prometheus server does.
//!
//! Each Alertmanager has a queue and a task of its own, so that none waits for another. Nothing is
//! kept on disk: who sends alerts sends those that fire again and again, and those that are over for a
//! while, so what is lost on the way is made up for. What is lost is counted: the oldest alerts of a
//! queue that is full, and those of a request that failed.

mod message;
mod queue;
mod set;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use vedette_config::prometheus::Alerting;
use vedette_http_client as http_client;
use vedette_model::{
    Labels, MetricKind, RelabelRule, TargetGroup, relabel,
    status::{Health, Part, StatusBoard},
    telemetry::{Counter, Family, MetricSource, MetricVisitor, Telemetry},
};

use self::{queue::Queue, set::Set};

/// The name under which the state of all stands on the status page.
const STATUS: &str = "alertmanagers";

/// What all Alertmanagers have in common.
#[derive(Clone)]
pub struct AlertmanagerOptions {
    /// Alerts that wait for one Alertmanager; when more come, the oldest are lost.
    pub queue_max: usize,
    /// Alerts of one request.
    pub batch_max: usize,
    /// How clients are made.
    pub client: http_client::Options,
}

impl AlertmanagerOptions {
    /// With the bounds of Prometheus.
    pub fn new(client: http_client::Options) -> Self {
        Self { queue_max: 10_000, batch_max: 256, client }
    }
}

/// An alert on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnwardAlert {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Since when it fires, in milliseconds since the Unix epoch.
    pub starts_at_ms: i64,
    /// When it was over, or until when it is to be believed if nothing more is heard.
    pub ends_at_ms: i64,
    /// Where to look at its cause.
    pub generator_url: String,
}

/// The addresses of Alertmanagers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those that get alerts.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// All Alertmanagers. Clones share them.
#[derive(Clone)]
pub struct Alertmanagers(Arc<Shared>);

struct Shared {
    options: AlertmanagerOptions,
    runtime: tokio::runtime::Handle,
    status: StatusBoard,
    state: Mutex<State>,
    /// What was lost with Alertmanagers that are no more.
    lost_before: Arc<Counter>,
}

#[derive(Default)]
struct State {
    external_labels: Labels,
    relabel: Vec<RelabelRule>,
    sets: Vec<Set>,
    is_closed: bool,
}

impl Alertmanagers {
    /// None yet. What sends runs on `runtime`.
    pub fn new(
        options: AlertmanagerOptions,
        runtime: tokio::runtime::Handle,
        status: StatusBoard,
        telemetry: &Telemetry,
    ) -> Self {
        let state = Mutex::default();
        let shared = Arc::new(Shared { options, runtime, status, state, lost_before: Arc::default() });
        telemetry.register(shared.clone());
        Self(shared)
    }

    /// Takes a configuration over, all of it or, if a client cannot be made, nothing. A group that is
    /// the same as before keeps its Alertmanagers and what waits for them.
    pub fn apply(&self, config: &Alerting, external_labels: &Labels) -> Result<(), http_client::Error> {
        let shared = &self.0;
        let mut state = shared.state.lock();
        let mut kept: Vec<Option<usize>> = vec![None; config.alertmanagers.len()];
        let mut made = Vec::new();
        for (i, group) in config.alertmanagers.iter().enumerate() {
            let same = |(at, set): (usize, &Set)| set.is_for(group) && !kept.contains(&Some(at));
            kept[i] = state.sets.iter().enumerate().position(same);
            made.push(match kept[i] {
                Some(_) => None,
                None => Some(Set::new(group, &shared.options.client)?),
            });
        }
        let mut old: Vec<Option<Set>> = std::mem::take(&mut state.sets).into_iter().map(Some).collect();
        for (made, kept) in made.into_iter().zip(kept) {
            let known = kept.and_then(|at| old[at].take());
            state.sets.extend(made.or(known));
        }
        old.into_iter().flatten().for_each(Set::close);
        state.external_labels = external_labels.clone();
        state.relabel.clone_from(&config.alert_relabel);
        let is_closed = state.is_closed;
        for set in &mut state.sets {
            set.follow(&shared.starter(), is_closed);
        }
        drop(state);
        shared.post();
        Ok(())
    }

    /// What a discovery of a group of Alertmanagers has found by now. Both are numbered as in the
    /// configuration; numbers that it does not have are ignored.
    pub fn set_groups(&self, set: usize, discovery: usize, groups: &[TargetGroup]) {
        let mut state = self.0.state.lock();
        let is_closed = state.is_closed;
        if let Some(set) = state.sets.get_mut(set) {
            set.discovered(discovery, groups);
            set.follow(&self.0.starter(), is_closed);
        }
        drop(state);
        self.0.post();
    }

    /// The addresses of all.
    pub fn addresses(&self) -> Addresses {
        let state = self.0.state.lock();
        let mut addresses = Addresses::default();
        for set in &state.sets {
            addresses.active.extend(set.queues().map(|q| q.address().to_owned()));
            addresses.dropped.extend(set.dropped().iter().cloned());
        }
        addresses
    }

    /// Puts alerts into the queue of each Alertmanager, as the rules of the configuration leave them.
    pub fn send(&self, alerts: &[OnwardAlert]) {
        let state = self.0.state.lock();
        if state.is_closed || state.sets.is_empty() {
            return;
        }
        let alerts: Vec<Arc<OnwardAlert>> =
            alerts.iter().filter_map(|a| relabelled(a, &state.external_labels, &state.relabel)).collect();
        for set in &state.sets {
            set.send(&alerts);
        }
    }

    /// Takes no more alerts, and waits until what waits is sent, or `limit` has passed. Then what is
    /// left is lost, and counted.
    pub async fn drain(&self, limit: Duration) {
        let queues: Vec<Arc<Queue>> = {
            let mut state = self.0.state.lock();
            state.is_closed = true;
            state.sets.iter().flat_map(Set::queues).cloned().collect()
        };
        queues.iter().for_each(|queue| queue.close());
        let all = async {
            for queue in &queues {
                queue.ended().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            let lost: usize = queues.iter().map(|queue| queue.give_up()).sum();
            tracing::warn!(alerts = lost, "alerts for Alertmanagers were dropped at the end");
        }
    }
}

/// With external labels where it has none of that name, and as the rules leave it, if they do.
fn relabelled(alert: &OnwardAlert, external: &Labels, rules: &[RelabelRule]) -> Option<Arc<OnwardAlert>> {
    let mut builder = alert.labels.to_builder();
    for (name, value) in external {
        if alert.labels.get(name).is_none_or(str::is_empty) {
            builder.set(name, value);
        }
    }
    relabel(rules, &mut builder).then(|| {
        Arc::new(OnwardAlert {
            labels: builder.build(),
            annotations: alert.annotations.clone(),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: alert.ends_at_ms,
            generator_url: alert.generator_url.clone(),
        })
    })
}

/// Starts a queue's task.
type Starter<'a> = dyn Fn(&http_client::Client, &http_client::Uri, Duration) -> Arc<Queue> + 'a;

impl Shared {
    fn starter(self: &Arc<Self>) -> impl Fn(&http_client::Client, &http_client::Uri, Duration) -> Arc<Queue> {
        let shared = self.clone();
        move |client, uri, timeout| {
            let AlertmanagerOptions { queue_max, batch_max, .. } = shared.options;
            let queue = Arc::new(Queue::new(uri, queue_max, batch_max, shared.lost_before.clone()));
            let tell = {
                // The task must not keep alive what waits for its end.
                let shared = Arc::downgrade(&shared);
                move || {
                    if let Some(shared) = shared.upgrade() {
                        shared.post();
                    }
                }
            };
            shared.runtime.spawn(queue::run(queue.clone(), client.clone(), timeout, tell));
            queue
        }
    }

    /// Posts how all are.
    fn post(&self) {
        let part = self.part();
        self.status.post(STATUS, part);
    }

    fn part(&self) -> Part {
        let state = self.state.lock();
        let mut part = Part::ok();
        let mut failing = Vec::new();
        let mut all = 0;
        for set in &state.sets {
            if let Some(problem) = set.problem() {
                part = Part::new(Health::Degraded, problem, "Correct the group of Alertmanagers.");
            }
            for queue in set.queues() {
                all += 1;
                failing.extend(queue.failure().map(|reason| (queue.address(), reason)));
            }
        }
        if let Some((_, reason)) = failing.first() {
            let health = if failing.len() == all { Health::Failed } else { Health::Degraded };
            let message = format!("{} of {all} Alertmanagers get no alerts: {reason}", failing.len());
            part = Part::new(health, message, "Start the Alertmanager, or correct its address.");
        }
        for queue in state.sets.iter().flat_map(Set::queues) {
            let (sent, lost) = (queue.sent.get(), queue.lost.get());
            part = part.fact(queue.address(), format!("{sent} alerts sent, {lost} lost"));
        }
        part
    }
}

const SENT: Family = Family {
    name: "vedette_response_alerts_sent_total",
    kind: MetricKind::Counter,
    help: "Alerts that an Alertmanager took.",
};
const FAILED: Family = Family {
    name: "vedette_response_alerts_failed_total",
    kind: MetricKind::Counter,
    help: "Alerts of requests that an Alertmanager did not take.",
};
const LOST: Family = Family {
    name: "vedette_response_alerts_lost_total",
    kind: MetricKind::Counter,
    help: "Alerts that did not reach an Alertmanager; those with no name were for such as are configured no more.",
};
const WAITING: Family = Family {
    name: "vedette_response_alerts_waiting",
    kind: MetricKind::Gauge,
    help: "Alerts that wait to be sent to an Alertmanager.",
};
const KNOWN: Family = Family {
    name: "vedette_response_alertmanagers",
    kind: MetricKind::Gauge,
    help: "Alertmanagers that get alerts.",
};

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for Shared {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        type Read = fn(&Queue) -> f64;
        let state = self.state.lock();
        let queues: Vec<&Arc<Queue>> = state.sets.iter().flat_map(Set::queues).collect();
        let families: [(&Family, Read); 4] = [
            (&SENT, |q| q.sent.get() as f64),
            (&FAILED, |q| q.failed.get() as f64),
            (&LOST, |q| q.lost.get() as f64),
            (&WAITING, |q| q.waiting() as f64),
        ];
        for (family, read) in families {
            // Several groups may name one Alertmanager.
            let mut sums = std::collections::BTreeMap::new();
            for queue in &queues {
                *sums.entry(queue.address()).or_insert(0.0) += read(queue);
            }
            if family.name == LOST.name {
                sums.insert("", self.lost_before.get() as f64);
            }
            for (address, sum) in sums {
                visitor.value(family, &[("alertmanager", address)], sum);
            }
        }
        visitor.value(&KNOWN, &[], queues.len() as f64);
    }
}

#[cfg(test)]
mod tests;
