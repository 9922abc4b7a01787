//! The newest values of what is collected, for those who scrape Vedette like an exporter.

use vedette_model::{Labels, MetricMetadata};

/// Which exporter Vedette stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// node_exporter.
    Node,
    /// cAdvisor.
    Containers,
}

/// Everything newest of one source, in any order.
#[derive(Debug, Clone, Default)]
pub struct Latest {
    /// What is known of the families.
    pub metadata: Vec<MetricMetadata>,
    /// The samples.
    pub samples: Vec<LatestSample>,
}

/// The newest sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestSample {
    /// Labels, without those that a scrape adds.
    pub labels: Labels,
    /// Value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Knows the newest values.
pub trait LatestSamples: Send + Sync {
    /// The newest values of one source.
    fn latest(&self, source: Source) -> Latest;
}
