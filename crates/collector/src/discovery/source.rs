//! One source of targets of whatever kind: made from its configuration, then run until it is ended.

use std::{future::Future, pin::Pin};

use vedette_config::discovery::Discovery as Kind;

use super::{ClusterSource, DiscoveryParts, Reporter, consul, dns, docker, file, http};

/// A source that is asked again and again.
pub(super) enum Source {
    File(file::FileSource),
    Http(http::HttpSource),
    Dns(dns::DnsSource),
    Consul(Box<consul::ConsulSource>),
    Docker(docker::DockerSource),
    Cluster(Box<dyn ClusterSource>),
}

impl Source {
    /// Makes what asking needs; `None` for what is not asked.
    pub(super) fn new(config: &Kind, parts: &DiscoveryParts) -> Result<Option<Self>, String> {
        Ok(Some(match config {
            Kind::Static(_) | Kind::NotRun { .. } => return Ok(None),
            Kind::Kubernetes(config) => match &parts.clusters {
                Some(clusters) => Self::Cluster(clusters.source(config)),
                None => return Ok(None),
            },
            Kind::File(config) => Self::File(file::FileSource::new(config, parts)),
            Kind::Http(config) => Self::Http(http::HttpSource::new(config, parts)?),
            Kind::Dns(config) => Self::Dns(dns::DnsSource::new(config)),
            Kind::Consul(config) => Self::Consul(Box::new(consul::ConsulSource::new(config, parts)?)),
            Kind::Docker(config) => Self::Docker(docker::DockerSource::new(config, parts)?),
        }))
    }

    /// Asks until nobody is interested.
    pub(super) fn run(self, reporter: Reporter) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self {
            Self::File(source) => Box::pin(source.run(reporter)),
            Self::Http(source) => Box::pin(source.run(reporter)),
            Self::Dns(source) => Box::pin(source.run(reporter)),
            Self::Consul(source) => Box::pin(source.run(reporter)),
            Self::Docker(source) => Box::pin(source.run(reporter)),
            Self::Cluster(source) => {
                source.run(Box::new(move |groups, outcome| reporter.tell(groups, outcome)))
            }
        }
    }
}
