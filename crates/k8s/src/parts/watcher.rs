//! Asks the parts of a cluster how they are, for as long as it is let, and hands what comes to the judge.
//!
//! Questions begin at every interval, whether those before were answered or not: a server that hangs is then
//! found as soon as one that refuses. Each ends by its time-out, so few are under way at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use vedette_config::HttpClient;
use vedette_http_client::{Client, Options};
use vedette_model::cluster::{ClusterFigure, ClusterFigureKind, ClusterStatus};
use vedette_sys::{Clock, MonotonicTime};

use super::{
    ask::{self, Asked, Member},
    endpoint::{self, Endpoints},
    etcd::{self, MemberFigures},
    judge::{ETCD, Judge, LEADERS},
    lease::Lease,
    look::Watches,
    probe::Probe,
    returns::Returns,
    suspects::{self, ALONE_MAX, Leases},
    workloads::SYSTEM_NAMESPACE,
};
use crate::{Api, Error, Hub};

/// The version is asked for so often, in intervals.
const VERSION_EVERY: u64 = 60;
/// After a sleep of so many intervals, what is under way says nothing of the server.
const SLEPT_INTERVALS: u32 = 3;

/// How a cluster's parts are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Between two questions to the API server.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The URLs of the members of etcd that are asked themselves.
    pub etcd_endpoints: Vec<url::Url>,
    /// As whom they are asked.
    pub etcd_client: HttpClient,
    /// Health endpoints of other parts.
    pub endpoints: Vec<Endpoints>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            etcd_endpoints: Vec::new(),
            etcd_client: HttpClient::default(),
            endpoints: Vec::new(),
        }
    }
}

/// How the parts of one cluster are, for whoever wants to know.
#[derive(Clone)]
pub struct Parts(Arc<RwLock<Arc<ClusterStatus>>>);

impl Parts {
    /// Nothing is known yet of a cluster that is called so.
    pub fn new(name: Arc<str>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ClusterStatus::new(name)))))
    }

    /// How they are now.
    pub fn status(&self) -> Arc<ClusterStatus> {
        self.0.read().clone()
    }
}

/// What came back.
enum Came {
    Probe(Probe),
    Leader(&'static str, Result<Option<Lease>, Error>),
    Node(Box<str>, Result<Option<Lease>, Error>),
    Nodes(Result<Leases, Error>),
    Member(usize, Member),
    Endpoint(&'static str, Box<str>, Asked),
    Version(Box<str>),
}

struct Watcher {
    config: Config,
    clock: Arc<dyn Clock>,
    api: Arc<Api>,
    judge: Judge,
    watches: Watches,
    members: Vec<(Box<str>, Client)>,
    endpoints: Vec<Arc<ask::Endpoint>>,
    figures: BTreeMap<usize, MemberFigures>,
    version: Box<str>,
    /// The states of leases of nodes that the judge has.
    heartbeats: BTreeMap<Box<str>, u64>,
    /// Whether the leases of many nodes are being listed.
    is_listing: bool,
    parts: Parts,
    returns: Returns,
    under_way: JoinSet<Came>,
    told: tokio::sync::watch::Sender<()>,
}

/// Watches the parts of a cluster and never ends by itself; `told` is told of each new state. Fails where the
/// certificates for the members of etcd or for endpoints cannot be used.
pub async fn watch(
    parts: Parts,
    hub: Arc<Hub>,
    api: Arc<Api>,
    config: Config,
    options: &Options,
    told: tokio::sync::watch::Sender<()>,
) -> Result<(), vedette_http_client::Error> {
    let server = &api.connection().server;
    let address = match (server.host_str(), server.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => server.to_string(),
    };
    let mut members = Vec::new();
    for endpoint in &config.etcd_endpoints {
        let name = endpoint.authority().rsplit('@').next().unwrap_or_default().into();
        members.push((name, Client::new(&config.etcd_client, options)?));
    }
    let mut endpoints = Vec::new();
    for alike in &config.endpoints {
        for url in &alike.urls {
            endpoints.push(Arc::new(ask::Endpoint::new(alike, url, options)?));
        }
    }
    let watches = Watches::begin(&hub, &api);
    let watcher = Watcher {
        clock: hub.clock().clone(),
        judge: Judge::new(&address).every(config.interval),
        config,
        watches,
        api,
        members,
        endpoints,
        returns: Returns::default(),
        figures: BTreeMap::new(),
        version: Box::default(),
        heartbeats: BTreeMap::new(),
        is_listing: false,
        parts,
        under_way: JoinSet::new(),
        told,
    };
    watcher.run().await;
    Ok(())
}

impl Watcher {
    async fn run(mut self) {
        let mut ticks = interval(self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut count, mut last) = (0_u64, self.clock.monotonic());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let now = self.clock.monotonic();
                    if now.since(last) > self.config.interval * SLEPT_INTERVALS {
                        self.under_way = JoinSet::new();
                        self.is_listing = false;
                    }
                    last = now;
                    self.look(now);
                    self.ask(count);
                    count += 1;
                    self.judge.take_changed();
                }
                Some(came) = self.under_way.join_next() => {
                    match came {
                        Ok(came) => self.take(came),
                        Err(error) => {
                            self.is_listing = false;
                            tracing::error!(%error, "a question to a cluster ended in a fault");
                        }
                    }
                    // All parts of a large cluster are told at once, so an answer that changes none is told later.
                    if !self.judge.take_changed() {
                        continue;
                    }
                }
            }
            self.tell();
        }
    }

    /// Begins the questions of an interval.
    fn ask(&mut self, count: u64) {
        let (api, clock, timeout) = (self.api.clone(), self.clock.clone(), self.config.timeout);
        self.under_way.spawn(async move { Came::Probe(ask::probe(&api, &*clock, timeout).await) });
        for (lease, part) in LEADERS {
            let api = self.api.clone();
            self.under_way.spawn(async move {
                Came::Leader(part, ask::lease(&api, SYSTEM_NAMESPACE, lease, timeout).await)
            });
        }
        if count.is_multiple_of(VERSION_EVERY) || self.version.is_empty() {
            let api = self.api.clone();
            self.under_way.spawn(async move { Came::Version(ask::version(&api, timeout).await) });
        }
        for (at, (_, client)) in self.members.iter().enumerate() {
            let (client, url, clock) =
                (client.clone(), self.config.etcd_endpoints[at].clone(), self.clock.clone());
            self.under_way
                .spawn(async move { Came::Member(at, ask::member(&client, &url, &*clock, timeout).await) });
        }
        for endpoint in &self.endpoints {
            let (endpoint, api, clock) = (endpoint.clone(), self.api.clone(), self.clock.clone());
            self.under_way.spawn(async move {
                let asked = endpoint.ask(&api, &*clock, timeout).await;
                Came::Endpoint(endpoint.part, endpoint.instance.clone(), asked)
            });
        }
        let suspects = self.judge.suspects(self.clock.monotonic());
        if suspects.len() > ALONE_MAX {
            if !std::mem::replace(&mut self.is_listing, true) {
                let api = self.api.clone();
                let listed = async move { Came::Nodes(suspects::leases(&api, suspects, timeout).await) };
                self.under_way.spawn(listed);
            }
        } else {
            for node in suspects {
                let api = self.api.clone();
                self.under_way.spawn(async move {
                    let lease = ask::lease(&api, "kube-node-lease", &node, timeout).await;
                    Came::Node(node, lease)
                });
            }
        }
    }

    fn look(&mut self, now: MonotonicTime) {
        // First what was renewed, so that none is taken for over that is not.
        let leases = self.watches.leases.objects();
        self.heartbeats.retain(|node, _| leases.get(node).is_some());
        for (key, lease, state) in leases.iter() {
            if self.heartbeats.get(key) != Some(&state) {
                let node = key.rsplit('/').next().unwrap_or_default();
                if self.judge.heartbeat(node, lease, now) {
                    self.heartbeats.insert(key.into(), state);
                }
            }
        }
        drop(leases);
        let view = self.watches.view();
        self.judge.look(&view, now, self.clock.unix_ms());
    }

    fn take(&mut self, came: Came) {
        let (now, unix_ms) = (self.clock.monotonic(), self.clock.unix_ms());
        match came {
            Came::Probe(probe) => {
                self.judge.probe(&probe, unix_ms);
                // Watches that wait before they ask again need not wait longer.
                if self.returns.take(self.judge.answers(), now) {
                    self.api.came_back();
                }
            }
            Came::Leader(part, Ok(lease)) => self.judge.leader(part, lease.as_ref(), now),
            Came::Leader(part, Err(error)) => {
                let barred = error.refusal().filter(|refusal| refusal.code == 403).map(|_| error.told());
                self.judge.leader_unseen(part, barred.as_deref(), now, unix_ms);
            }
            Came::Node(node, Ok(lease)) => self.judge.confirm(&node, lease.as_ref(), now),
            Came::Nodes(listed) => {
                self.is_listing = false;
                for (node, lease) in listed.unwrap_or_default() {
                    self.judge.confirm(&node, lease.as_ref(), now);
                }
            }
            // It stays suspect, and is asked for again.
            Came::Node(_, Err(_)) => {}
            Came::Member(at, member) => {
                let before = self.figures.get(&at);
                let Asked { began, ended, reply, certificates } = member.health;
                let seen = etcd::seen(&reply, member.figures.as_ref(), before);
                self.judge.certificates_of(ETCD, &self.members[at].0, certificates);
                self.judge.member(&self.members[at].0, seen, began, ended, unix_ms);
                // What a member said before says nothing of one that is silent.
                match member.figures {
                    Some(figures) => _ = self.figures.insert(at, figures),
                    None => _ = self.figures.remove(&at),
                }
            }
            Came::Endpoint(part, instance, Asked { began, ended, reply, certificates }) => {
                self.judge.certificates_of(part, &instance, certificates);
                self.judge.endpoint(part, &instance, endpoint::seen(&reply), began, ended, unix_ms);
            }
            Came::Version(version) if version.is_empty() => {}
            Came::Version(version) => self.version = version,
        }
    }

    fn tell(&self) {
        let name = self.parts.status().name.clone();
        let mut figures = self.judge.figures(self.clock.monotonic());
        for (at, member) in &self.figures {
            let told = [
                (ClusterFigureKind::DatabaseBytes, member.database_bytes),
                (ClusterFigureKind::DatabaseQuotaBytes, member.quota_bytes),
            ];
            figures.extend(told.into_iter().filter_map(|(kind, value)| {
                Some(ClusterFigure { kind, part: ETCD, instance: self.members[*at].0.clone(), value: value? })
            }));
        }
        let status = ClusterStatus {
            name,
            version: self.version.clone(),
            parts: self.judge.parts(),
            left_out: self.judge.left_out(),
            figures,
            certificates: self.judge.certificates(),
        };
        *self.parts.0.write() = Arc::new(status);
        self.told.send_replace(());
    }
}
