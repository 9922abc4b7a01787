//! The state of the objects of clusters as metrics, and how their watches are.

use std::{collections::BTreeMap, slice, sync::Arc, time::Duration};

use vedette_api::KubeState;
use vedette_collector::{
    Error, Surroundings,
    state::{Elsewhere, PageEnd, StateKeeper, StatePage, StateSource},
};
use vedette_k8s::state::{ClusterState, Format, Gone, States, Watched as _, write_page};
use vedette_model::{
    MetricKind, TargetReader,
    status::{Health, Part, StatusBoard},
    telemetry::{Family, MetricSource, MetricVisitor},
};
use vedette_sys::Clock;
use vedette_wire::exposition;

use crate::{clusters::Connected, config::ClusterSettings, own_page::OwnPage};

/// How often the status board is told how watches are.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// The state of all clusters of the configuration.
pub struct ClusterStates {
    states: States,
    names_cluster: bool,
    clock: Arc<dyn Clock>,
}

impl ClusterStates {
    /// None is watched yet.
    pub fn new(clusters: &[ClusterSettings], clock: Arc<dyn Clock>) -> Self {
        Self { states: States::default(), names_cluster: clusters.len() > 1, clock }
    }

    /// Begins to watch a cluster, and tells the status board how its watches are for as long as the process runs.
    pub fn watch(&self, cluster: &ClusterSettings, connected: &Connected, status: StatusBoard) {
        let Connected { name, hub, api } = connected;
        let state = Arc::new(ClusterState::watch(name.clone(), hub, api, &cluster.state));
        self.states.add(state.clone());
        let server = api.connection().address();
        tokio::spawn(async move {
            let name = format!("cluster {}", state.name());
            let mut is_listed = false;
            loop {
                status.post(&name, part(&state).fact("API server", &server));
                if !is_listed && has_listed(&state) {
                    is_listed = true;
                    // The first lists of a large cluster leave megabytes behind that are free, and are not needed again;
                    // nor is most of the code that has run until now.
                    tokio::task::spawn_blocking(|| {
                        vedette_sys::give_back_free_memory();
                        vedette_sys::give_back_program_file();
                    });
                }
                tokio::time::sleep(STATUS_INTERVAL).await;
            }
        });
    }
}

/// Begins to store the state of those clusters of which it is wanted, as soon as they are connected, and for as long
/// as `targets` do not bring it.
pub fn store(
    states: &Arc<ClusterStates>,
    clusters: &[ClusterSettings],
    surroundings: &Surroundings,
    own: OwnPage,
    targets: Option<Arc<dyn TargetReader>>,
) -> Result<StateKeeper, Error> {
    let elsewhere: Arc<dyn Fn() -> Elsewhere + Send + Sync> =
        Arc::new(move || targets.as_ref().map_or(Elsewhere::No, |targets| own.is_scraped(&**targets)));
    let tells = |cluster: &&ClusterSettings| !cluster.state.is_nothing();
    let source = |cluster: &ClusterSettings| {
        let page = Arc::new(OneCluster { states: states.clone(), name: cluster.name.clone() });
        let (names_cluster, cluster, interval) =
            (states.names_cluster, cluster.name.clone(), cluster.state_interval?);
        Some(StateSource { cluster, names_cluster, interval, page, elsewhere: elsewhere.clone() })
    };
    StateKeeper::start(clusters.iter().filter(tells).filter_map(source).collect(), surroundings)
}

/// The page of one of the clusters.
struct OneCluster {
    states: Arc<ClusterStates>,
    name: Arc<str>,
}

impl StatePage for OneCluster {
    fn write(&self, take: &mut dyn FnMut(&str) -> bool) -> PageEnd {
        let all = self.states.states.clusters();
        let Some(cluster) = all.iter().find(|cluster| *cluster.name() == self.name) else {
            return PageEnd::NotYet;
        };
        let mut take = |text: &mut String| if take(text) { Ok(()) } else { Err(Gone) };
        match write_page(slice::from_ref(cluster), self.states.names_cluster, Format::Text, &mut take) {
            Ok(()) => PageEnd::Whole,
            Err(Gone) => PageEnd::Cut,
        }
    }
}

/// Whether each watch has had its first list, or cannot have it for now.
fn has_listed(cluster: &ClusterState) -> bool {
    cluster.watches().all(|watch| {
        let state = watch.health().state();
        state.is_whole || state.trouble.is_some()
    })
}

/// How the watches of a cluster are.
fn part(cluster: &ClusterState) -> Part {
    let mut troubles = Vec::new();
    let mut unknown_kinds = Vec::new();
    let (mut objects, mut watches, mut whole) = (0, 0, 0);
    let mut has_failed = true;
    for watch in cluster.watches() {
        let state = watch.health().state();
        if state.trouble.as_ref().is_some_and(|trouble| trouble.is_not_found) {
            unknown_kinds.push(watch.health().resource().name());
            continue;
        }
        watches += 1;
        whole += usize::from(state.is_whole);
        objects += watch.objects();
        has_failed &= state.trouble.is_some();
        troubles.extend(state.trouble.map(|trouble| trouble.told(watch.health().resource(), state.is_whole)));
    }
    if let Some(custom) = cluster.custom() {
        unknown_kinds.extend(custom.missing());
        troubles.extend(custom.troubles());
        if custom.left_out() > 0 {
            troubles
                .push(format!("{} kinds of custom resources are too many to be watched", custom.left_out()));
        }
    }
    let part = if troubles.is_empty() {
        Part::ok()
    } else {
        let health = if has_failed { Health::Failed } else { Health::Degraded };
        let remedy = "Grant the account what is missing, or leave kinds out of state_metrics.kinds and \
            .custom_resources; what can be watched is told, and the rest is tried again.";
        Part::new(health, troubles.join("; "), remedy)
    };
    let part = part.fact("objects", objects).fact("watches", format!("{whole} of {watches} whole"));
    let lost = cluster.custom().map_or(0, |custom| {
        custom.watches().iter().flat_map(|watch| watch.lost()).map(|(_, count)| count).sum()
    });
    let part = if lost == 0 { part } else { part.fact("left out of custom resources since the start", lost) };
    if unknown_kinds.is_empty() {
        return part;
    }
    part.fact("kinds that its API server does not know", unknown_kinds.join(", "))
}

impl KubeState for ClusterStates {
    fn write(&self, format: exposition::Format, take: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> bool {
        let format = match format {
            exposition::Format::Text => Format::Text,
            exposition::Format::OpenMetrics => Format::OpenMetrics,
        };
        let mut take = |text: &mut String| {
            let mut bytes = std::mem::take(text).into_bytes();
            let wants_more = take(&mut bytes);
            bytes.clear();
            // A buffer that comes back is written again.
            *text = String::from_utf8(bytes).unwrap_or_default();
            if wants_more { Ok(()) } else { Err(Gone) }
        };
        self.states.write(self.names_cluster, format, &mut take).is_ok()
    }
}

const OBJECTS: Family = Family {
    name: "vedette_k8s_watch_objects",
    kind: MetricKind::Gauge,
    help: "Objects of a cluster that are known.",
};
const LISTS: Family = Family {
    name: "vedette_k8s_watch_lists_total",
    kind: MetricKind::Counter,
    help: "Lists of the objects of a cluster that came to their end.",
};
const EVENTS: Family = Family {
    name: "vedette_k8s_watch_events_total",
    kind: MetricKind::Counter,
    help: "Changes of the objects of a cluster that were told.",
};
const FAILURES: Family = Family {
    name: "vedette_k8s_watch_failures_total",
    kind: MetricKind::Counter,
    help: "Times that the objects of a cluster could not be listed or watched.",
};
const AGE: Family = Family {
    name: "vedette_k8s_watch_age_seconds",
    kind: MetricKind::Gauge,
    help: "How long ago the API server told of the objects last, where something goes wrong; 0 where all is well.",
};

const LOST: Family = Family {
    name: "vedette_k8s_custom_resource_lost_total",
    kind: MetricKind::Counter,
    help: "What was left out of the rows of custom resources, by reason.",
};
const ROW_BYTES: Family = Family {
    name: "vedette_k8s_custom_resource_bytes",
    kind: MetricKind::Gauge,
    help: "Memory that the rows of the custom resources of a cluster take.",
};

/// A figure of each resource of each cluster; several versions of a resource make one.
type Figures = BTreeMap<(Arc<str>, String), f64>;

fn visit_all(family: &Family, figures: &Figures, visitor: &mut dyn MetricVisitor) {
    for ((cluster, resource), value) in figures {
        visitor.value(family, &[("cluster", cluster), ("resource", resource)], *value);
    }
}

fn visit_custom(clusters: &[Arc<ClusterState>], visitor: &mut dyn MetricVisitor) {
    let mut lost: BTreeMap<(Arc<str>, String, &str), u64> = BTreeMap::new();
    for cluster in clusters {
        let Some(custom) = cluster.custom() else { continue };
        visitor.value(&ROW_BYTES, &[("cluster", cluster.name())], custom.bytes() as f64);
        for watch in custom.watches() {
            for (reason, count) in watch.lost() {
                let key = (cluster.name().clone(), watch.health().resource().name(), reason);
                *lost.entry(key).or_default() += count;
            }
        }
    }
    for ((cluster, resource, reason), count) in lost {
        let labels = [("cluster", &*cluster), ("resource", &resource), ("reason", reason)];
        visitor.value(&LOST, &labels, count as f64);
    }
}

impl MetricSource for ClusterStates {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let now = self.clock.monotonic();
        let clusters = self.states.clusters();
        let [mut objects, mut lists, mut events, mut failures, mut ages]: [Figures; 5] = Default::default();
        for cluster in &clusters {
            for watch in cluster.watches() {
                let state = watch.health().state();
                let key = (cluster.name().clone(), watch.health().resource().name());
                *objects.entry(key.clone()).or_default() += watch.objects() as f64;
                *lists.entry(key.clone()).or_default() += state.lists as f64;
                *events.entry(key.clone()).or_default() += state.events as f64;
                *failures.entry(key.clone()).or_default() += state.failures as f64;
                // Of what was never told there is no age.
                if state.last_contact.is_some() {
                    let age = state.age(now).map_or(0.0, |age| age.as_secs_f64());
                    let oldest = ages.entry(key).or_default();
                    *oldest = oldest.max(age);
                }
            }
        }
        visit_all(&OBJECTS, &objects, visitor);
        visit_all(&LISTS, &lists, visitor);
        visit_all(&EVENTS, &events, visitor);
        visit_all(&FAILURES, &failures, visitor);
        visit_all(&AGE, &ages, visitor);
        visit_custom(&clusters, visitor);
    }
}
