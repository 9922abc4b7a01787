//! The newest values of what is collected, for those who scrape Vedette like an exporter.

use vedette_model::{Labels, MachineFacts, MetricMetadata, MinuteUsage, ProcessFigures};

/// Which exporter Vedette stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// node_exporter.
    Node,
    /// cAdvisor.
    Containers,
}

/// The newest sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatestSample<'a> {
    /// The name of its family.
    pub family: &'a str,
    /// What is known of the family.
    pub metadata: Option<&'a MetricMetadata>,
    /// Labels, those included that a scrape adds: `job`, `instance`, `metrics_path`.
    pub labels: &'a Labels,
    /// Name and labels as an exposition has them, without those that a scrape adds.
    pub text: &'a [u8],
    /// Value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// The course of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesCourse {
    /// Labels, those included that a scrape adds.
    pub labels: Labels,
    /// Times in milliseconds since the Unix epoch and values, the oldest first.
    pub samples: Vec<(i64, f64)>,
}

/// Knows the newest values, and what the machine is that they are of.
pub trait LatestSamples: Send + Sync {
    /// Tells the newest values of one source, each family's one behind the other and in order of labels.
    fn visit(&self, source: Source, each: &mut dyn FnMut(LatestSample<'_>));

    /// The last two minutes of the series of containers that are wanted.
    fn courses(&self, wanted: &dyn Fn(&Labels) -> bool) -> Vec<SeriesCourse> {
        let _ = wanted;
        Vec::new()
    }

    /// What a container used in the minutes of the last day, the oldest first; minutes of which nothing is
    /// known are left out.
    fn minutes(&self, cgroup: &str) -> Vec<MinuteUsage> {
        let _ = cgroup;
        Vec::new()
    }

    /// What the machine is made of.
    fn machine(&self) -> MachineFacts {
        MachineFacts::default()
    }

    /// The processes of a cgroup and of those in it; all of them for `/`.
    fn processes(&self, cgroup: &str) -> Vec<ProcessFigures> {
        let _ = cgroup;
        Vec::new()
    }
}
