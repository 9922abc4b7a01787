//! Clusters of Kubernetes: those that are watched by configuration, and discovery in them and in others. All who
//! want the same objects of a cluster share one watch.

use std::{collections::HashMap, future::Future, path::PathBuf, pin::Pin, slice, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use vedette_collector::discovery::{ClusterSource, ClusterTargets, ClusterTell};
use vedette_config::discovery::Kubernetes;
use vedette_http_client::Options;
use vedette_k8s::{
    Api, Connection, Discoverer, Error, Hub, SERVICE_ACCOUNT_FOLDER, Surroundings, Timing,
    identity::{Identities, Limits, Place},
};
use vedette_model::{
    Directory,
    status::{Health, Part, StatusBoard},
};

use crate::config::ClusterSettings;

/// When files that say how a cluster is reached are looked at again.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// All clusters that are watched, whoever wants it.
pub struct Clusters {
    runtime: Handle,
    hub: Arc<Hub>,
    /// The clusters of the configuration of which it is known how they are reached.
    connections: Arc<Mutex<HashMap<Arc<str>, Connection>>>,
}

/// A cluster of the configuration that can be asked.
#[derive(Clone)]
pub struct Connected {
    /// What it is called.
    pub name: Arc<str>,
    /// The watches of all clusters.
    pub hub: Arc<Hub>,
    /// Its API server.
    pub api: Arc<Api>,
}

struct Source(Discoverer);

/// A cluster that discovery should look into and that nobody has connected to.
struct Unknown(String);

impl Clusters {
    /// None is watched yet.
    pub fn new(runtime: Handle, options: Options) -> Self {
        let hub = Arc::new(Hub::new(runtime.clone(), options, Timing::default()));
        Self { runtime, hub, connections: Arc::default() }
    }

    /// Connects to a cluster, and again and again until it is known how, then begins what is done with it.
    pub fn watch(
        &self,
        settings: &ClusterSettings,
        status: &StatusBoard,
        begin: impl FnOnce(Connected) + Send + 'static,
    ) {
        let (settings, status, hub) = (settings.clone(), status.clone(), self.hub.clone());
        let connections = self.connections.clone();
        self.runtime.spawn(async move {
            let part = format!("cluster {}", settings.name);
            loop {
                match connection(&settings) {
                    Ok(connection) => {
                        status.post(&part, Part::ok().fact("API server", connection.address()));
                        connections.lock().insert(settings.name.clone(), connection.clone());
                        let api = hub.cluster(connection);
                        return begin(Connected { name: settings.name, hub, api });
                    }
                    Err(error) => {
                        let remedy = "Mend the file; it is read again every 15 seconds.";
                        status.post(&part, Part::new(Health::Failed, error.told(), remedy));
                        tokio::time::sleep(CONNECT_AGAIN_AFTER).await;
                    }
                }
            }
        });
    }
}

/// Begins to keep which workload is which, over restarts in that place.
pub fn identify(
    connected: &Connected,
    limits: Limits,
    history: Place,
    directory: &Directory,
    status: StatusBoard,
) {
    let Connected { name, hub, api } = connected.clone();
    let identities = Arc::new(Identities::new(name.clone(), limits));
    directory.add(identities.clone());
    tokio::spawn(identities.follow(hub, api, status, format!("workloads {name}"), Some(history)));
}

fn connection(settings: &ClusterSettings) -> Result<Connection, Error> {
    match &settings.kubeconfig_file {
        Some(file) => Connection::by_kubeconfig(slice::from_ref(file), settings.context.as_deref()),
        None => {
            let env = |name: &str| std::env::var(name).ok();
            let service_account = PathBuf::from(SERVICE_ACCOUNT_FOLDER);
            Connection::in_cluster(Surroundings { env: &env, service_account: &service_account })
        }
    }
}

impl ClusterTargets for Clusters {
    fn source(&self, config: &Kubernetes) -> Box<dyn ClusterSource> {
        if let Some(name) = &config.known_cluster {
            let known = self.connections.lock().get(&**name).cloned();
            return match known {
                Some(known) => Box::new(Source(Discoverer::within(self.hub.clone(), config, known))),
                None => Box::new(Unknown(name.clone())),
            };
        }
        let folder = PathBuf::from(SERVICE_ACCOUNT_FOLDER);
        Box::new(Source(Discoverer::new(self.hub.clone(), config, folder)))
    }
}

impl ClusterSource for Source {
    fn run(self: Box<Self>, tell: ClusterTell) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.run(tell))
    }
}

impl ClusterSource for Unknown {
    fn run(self: Box<Self>, tell: ClusterTell) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        tell(None, Err(format!("there is no cluster {:?} below `kubernetes` in the configuration", self.0)));
        Box::pin(std::future::ready(()))
    }
}
