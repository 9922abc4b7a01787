//! Clusters as discovery sees them: one watch for all jobs that want the same objects.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use tokio::runtime::Handle;
use vedette_collector::discovery::{ClusterSource, ClusterTargets, ClusterTell};
use vedette_config::discovery::Kubernetes;
use vedette_http_client::Options;
use vedette_k8s::{Discoverer, Hub, SERVICE_ACCOUNT_FOLDER, Timing};

/// All clusters that `kubernetes_sd_configs` names.
pub struct Clusters(Arc<Hub>);

struct Source(Discoverer);

impl Clusters {
    /// None is watched yet.
    pub fn new(runtime: Handle, options: Options) -> Self {
        Self(Arc::new(Hub::new(runtime, options, Timing::default())))
    }
}

impl ClusterTargets for Clusters {
    fn source(&self, config: &Kubernetes) -> Box<dyn ClusterSource> {
        let folder = PathBuf::from(SERVICE_ACCOUNT_FOLDER);
        Box::new(Source(Discoverer::new(self.0.clone(), config, folder)))
    }
}

impl ClusterSource for Source {
    fn run(self: Box<Self>, tell: ClusterTell) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.0.run(tell))
    }
}
