//! What is done with each cluster that is configured, as soon as it is known how it is reached.

use std::sync::Arc;

use vedette_api::Server;
use vedette_collector::state::StateKeeper;
use vedette_k8s::identity::Place;
use vedette_model::{Sink, TargetReader};

use crate::{
    capacity::live,
    cluster_audit::AuditDesks,
    cluster_events::{self, Keeping},
    cluster_parts,
    cluster_policy::{self, Judging, PolicyBoard},
    cluster_state,
    clusters::{self, Clusters},
    config::Settings,
    own_page::{OwnPage, STATE_PATH},
    part_metrics,
    stray_containers::{self, Looking},
};

use super::{House, prometheus};

/// Starts to watch the clusters that are configured. Discovery shares their watches. Without stores (`whole`)
/// nothing is kept of their events, and nothing is found on this machine.
pub(super) fn watch(
    settings: &Settings,
    house: &House,
    whole: Option<(&Keeping, &Looking)>,
    audit: &AuditDesks,
) -> Arc<Clusters> {
    let options = prometheus::client_options(&house.clock);
    let clusters = Arc::new(Clusters::new(tokio::runtime::Handle::current(), options.clone()));
    let data = settings.data_dir.join("capacity");
    let workloads = settings.data_dir.join("workloads");
    let policies = PolicyBoard::default();
    for cluster in &settings.kubernetes {
        let (states, own) = (house.states.clone(), cluster.clone());
        let (directory, status) = (house.directory.clone(), house.status.clone());
        let events = whole.filter(|_| cluster.events).map(|(events, _)| {
            let mut events = events.clone();
            events.origin.source = format!("{}/{}", events.origin.source, cluster.name);
            events
        });
        let looking = whole.filter(|_| cluster.stray_containers && settings.figures).map(|(_, looking)| {
            let node = cluster.node.clone().unwrap_or_else(|| looking.node.clone());
            Looking { node, ..looking.clone() }
        });
        let policy = whole.zip(cluster.policy.clone()).map(|((_, looking), rules)| Judging {
            rules,
            audit: audit.of(&cluster.name),
            stage: looking.stage.clone(),
            ruler: looking.ruler.clone(),
            clock: looking.clock.clone(),
            status: looking.status.clone(),
            figures: policies.clone(),
        });
        let judge = cluster.capacity.clone().map(|settings| {
            let file = live::outages_file(&data, &cluster.name);
            live::Watcher::new(settings, house.status.clone(), house.fs.clone(), file, &house.capacity)
        });
        // Names of clusters have no slash, and may be two dots.
        let folder = workloads.join(format!("{}.pods", cluster.name));
        let history = Place { fs: house.fs.clone(), folder };
        let (parts, asked_by) = (house.clusters.add(cluster.name.clone()), options.clone());
        clusters.watch(cluster, &house.status, move |connected| {
            let (config, board) = (own.parts.clone(), status.clone());
            tokio::spawn(cluster_parts::run(parts, connected.clone(), config, asked_by, board));
            states.watch(&own, &connected, status.clone());
            clusters::identify(&connected, own.gone_pods, history, &directory, status);
            if let Some(looking) = looking {
                tokio::spawn(stray_containers::look(connected.clone(), looking));
            }
            if let Some(policy) = policy {
                tokio::spawn(cluster_policy::judge(connected.clone(), policy));
            }
            if let Some(events) = events {
                tokio::spawn(cluster_events::keep(connected.clone(), events));
            }
            if let Some(judge) = judge {
                tokio::spawn(judge.run(connected));
            }
        });
    }
    if !settings.kubernetes.is_empty() {
        house.telemetry.register(house.states.clone());
    }
    if settings.kubernetes.iter().any(|cluster| cluster.capacity.is_some()) {
        house.telemetry.register(Arc::new(house.capacity.clone()));
    }
    if !audit.is_empty() {
        house.telemetry.register(Arc::new(audit.clone()));
    }
    if whole.is_some() && settings.kubernetes.iter().any(|cluster| cluster.policy.is_some()) {
        house.telemetry.register(Arc::new(policies));
    }
    clusters
}

/// Starts to scrape the parts of the clusters that the configuration says so of.
pub(super) fn scrape_parts(
    settings: &Settings,
    house: &House,
    clusters: &Clusters,
    prometheus: Option<&prometheus::Prometheus>,
) {
    let Some(prometheus) = prometheus else { return };
    for cluster in settings.kubernetes.iter().filter(|cluster| !cluster.part_metrics.is_empty()) {
        let (own, scraping, status) = (cluster.clone(), prometheus.scraping.clone(), house.status.clone());
        clusters.watch(cluster, &house.status, move |connected| {
            tokio::spawn(part_metrics::keep(connected, own, scraping, status));
        });
    }
}

/// Starts to store the state of clusters in `sink`. A job of the file that scrapes it from `server` goes first.
pub(super) fn store(
    settings: &Settings,
    house: &House,
    sink: Arc<dyn Sink>,
    server: &Server,
    file: Option<&prometheus::Prometheus>,
) -> Result<StateKeeper, vedette_collector::Error> {
    let page = OwnPage {
        listen: server.address(),
        path: format!("{}{STATE_PATH}", settings.route_prefix),
        machine: house.host.name.clone(),
    };
    let targets = file.map(|file| file.scraper.clone() as Arc<dyn TargetReader>);
    cluster_state::store(&house.states, &settings.kubernetes, &house.surroundings(sink), page, targets)
}
