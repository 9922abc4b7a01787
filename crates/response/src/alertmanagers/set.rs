//! A group of Alertmanagers of the configuration: what its discoveries have found, and the queues of
//! those that its rules leave.

use std::{collections::BTreeMap, sync::Arc};

use vedette_config::{discovery::Discovery, prometheus::Alertmanager};
use vedette_http_client::{Client, Error, Options, Uri};
use vedette_model::{ADDRESS_LABEL, Labels, RelabelRule, TargetGroup, relabel};

use super::{OnwardAlert, Starter, queue::Queue, relabelled};

const SCHEME_LABEL: &str = "__scheme__";
const PATH_LABEL: &str = "__alerts_path__";
/// The path of the API.
const API_PATH: &str = "/api/v2/alerts";

/// A group of Alertmanagers.
pub struct Set {
    config: Alertmanager,
    client: Client,
    /// By the number of the discovery.
    found: BTreeMap<usize, Vec<TargetGroup>>,
    /// In order of discovery.
    queues: Vec<Arc<Queue>>,
    /// The addresses that the queues send to.
    uris: Vec<Uri>,
    dropped: Vec<String>,
    problem: Option<String>,
}

/// What discovery and rules come to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    uris: Vec<Uri>,
    dropped: Vec<String>,
    problem: Option<String>,
}

impl Set {
    /// A group with the Alertmanagers that the configuration itself names.
    pub fn new(config: &Alertmanager, options: &Options) -> Result<Self, Error> {
        let fixed = config.discoveries.iter().enumerate().filter_map(|(i, discovery)| match discovery {
            Discovery::Static(group) => Some((i, vec![group.clone()])),
            _ => None,
        });
        Ok(Self {
            client: Client::new(&config.client, options)?,
            found: fixed.collect(),
            config: config.clone(),
            queues: Vec::new(),
            uris: Vec::new(),
            dropped: Vec::new(),
            problem: None,
        })
    }

    /// Whether this is the group that stands in a configuration.
    pub fn is_for(&self, config: &Alertmanager) -> bool {
        self.config == *config
    }

    /// What a discovery has found by now.
    pub fn discovered(&mut self, discovery: usize, groups: &[TargetGroup]) {
        if discovery < self.config.discoveries.len() {
            self.found.insert(discovery, groups.to_vec());
        }
    }

    /// Begins and ends queues as what was found asks for.
    pub fn follow(&mut self, start: &Starter<'_>, is_closed: bool) {
        let Found { uris, dropped, problem } = found(&self.config, self.found.values().flatten());
        (self.dropped, self.problem) = (dropped, problem);
        let old = self.uris.drain(..).zip(self.queues.drain(..));
        let mut known: Vec<(Uri, Arc<Queue>)> = old.collect();
        for uri in uris {
            let queue = match known.iter().position(|(old, _)| *old == uri) {
                Some(at) => known.swap_remove(at).1,
                None => {
                    let queue = start(&self.client, &uri, self.config.timeout);
                    if is_closed {
                        queue.close();
                    }
                    queue
                }
            };
            self.uris.push(uri);
            self.queues.push(queue);
        }
        known.into_iter().for_each(|(_, queue)| queue.close());
    }

    /// Ends all queues.
    pub fn close(self) {
        self.queues.iter().for_each(|queue| queue.close());
    }

    /// Puts alerts into all queues, as the rules of this group leave them.
    pub fn send(&self, alerts: &[Arc<OnwardAlert>]) {
        let own = &self.config.alert_relabel;
        let changed: Vec<Arc<OnwardAlert>>;
        let alerts = if own.is_empty() {
            alerts
        } else {
            changed = alerts.iter().filter_map(|a| relabelled(a, &Labels::empty(), own)).collect();
            changed.as_slice()
        };
        if !alerts.is_empty() {
            self.queues.iter().for_each(|queue| queue.put(alerts));
        }
    }

    pub fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.iter()
    }

    /// Addresses that the rules dropped.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// What keeps Alertmanagers from getting alerts, if anything does.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

fn found<'g>(config: &Alertmanager, groups: impl Iterator<Item = &'g TargetGroup>) -> Found {
    let mut found = Found::default();
    if config.cloud_auth.is_some() {
        found.problem = Some(
            "alerts are not sent where sigv4 asks for a role (role_arn); give keys of that role".to_owned(),
        );
        return found;
    }
    for labels in groups.flat_map(TargetGroup::discovered) {
        match uri(config, &labels, &config.relabel) {
            Ok(uri) => {
                if !found.uris.contains(&uri) {
                    found.uris.push(uri);
                }
            }
            Err(Left::Dropped(address)) => found.dropped.push(address),
            Err(Left::Wrong(reason)) => found.problem = Some(reason),
        }
    }
    found
}

/// Why a target gets no alerts.
enum Left {
    Dropped(String),
    Wrong(String),
}

/// Where the alerts of a target are sent.
fn uri(config: &Alertmanager, discovered: &Labels, rules: &[RelabelRule]) -> Result<Uri, Left> {
    let mut builder = discovered.to_builder();
    builder.set(SCHEME_LABEL, &config.scheme);
    builder.set(PATH_LABEL, &clean(&format!("/{}{API_PATH}", config.path_prefix)));
    // Labels of discovery go before those of the configuration.
    for name in [SCHEME_LABEL, PATH_LABEL] {
        if let Some(value) = discovered.get(name) {
            builder.set(name, value);
        }
    }
    let before = builder.build();
    let mut builder = before.to_builder();
    if !relabel(rules, &mut builder) {
        return Err(Left::Dropped(text(&before)));
    }
    let labels = builder.build();
    let address = labels.get(ADDRESS_LABEL).unwrap_or_default();
    if address.is_empty() || address.contains('/') {
        let reason = format!("{address:?} is no host and port of an Alertmanager");
        return Err(Left::Wrong(reason));
    }
    text(&labels).parse().map_err(|e| Left::Wrong(format!("{:?} is no address: {e}", text(&labels))))
}

fn text(labels: &Labels) -> String {
    let get = |name| labels.get(name).unwrap_or_default();
    let path = get(PATH_LABEL);
    let slash = if path.starts_with('/') || path.is_empty() { "" } else { "/" };
    format!("{}://{}{slash}{path}", get(SCHEME_LABEL), get(ADDRESS_LABEL))
}

/// A path without empty parts, `.` and `..`.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
