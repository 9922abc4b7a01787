//! The series of one container, as statistics are made of them.

use std::collections::BTreeMap;

use vedette_model::{Labels, METRIC_NAME};

use crate::latest::SeriesCourse;

/// Labels that all series of one container share.
const BASE: [&str; 10] =
    ["id", "name", "image", "pod", "namespace", "container", "job", "instance", "metrics_path", METRIC_NAME];

/// Samples of a series, the oldest first.
type Samples = Vec<(i64, f64)>;

/// The series of one container by name.
#[derive(Default)]
pub(super) struct Rows {
    by_name: BTreeMap<String, Vec<(Labels, Samples)>>,
}

/// The series of all containers that are wanted, by cgroup.
pub(super) fn by_container(courses: Vec<SeriesCourse>) -> BTreeMap<String, Rows> {
    let mut containers: BTreeMap<String, Rows> = BTreeMap::new();
    for course in courses {
        let Some(id) = course.labels.get("id").map(str::to_owned) else { continue };
        let name = course.labels.metric_name().to_owned();
        let rows = containers.entry(id).or_default();
        rows.by_name.entry(name).or_default().push((course.labels, course.samples));
    }
    containers
}

impl Rows {
    /// The times of the last `count` passes, the oldest first.
    pub(super) fn times(&self, count: usize) -> Vec<i64> {
        let fast = ["container_cpu_usage_seconds_total", "container_memory_usage_bytes"];
        let samples =
            fast.iter().find_map(|name| self.by_name.get(*name)?.first()).map(|(_, samples)| samples);
        let times: Vec<i64> = samples.into_iter().flatten().map(|(time, _)| *time).collect();
        times[times.len().saturating_sub(count)..].to_vec()
    }

    /// The value of the only series of that name.
    pub(super) fn value(&self, name: &str, time_ms: i64) -> Option<f64> {
        at(&self.by_name.get(name)?.first()?.1, time_ms)
    }

    /// The value of the series of that name with these labels.
    pub(super) fn value_with(&self, name: &str, labels: &[(&str, &str)], time_ms: i64) -> Option<f64> {
        let all = self.by_name.get(name)?;
        let found = all.iter().find(|(own, _)| labels.iter().all(|(n, v)| own.get(n) == Some(*v)));
        at(&found?.1, time_ms)
    }

    /// The values that a label has among the series of that name.
    pub(super) fn label_values(&self, name: &str, label: &str) -> Vec<&str> {
        let all = self.by_name.get(name).into_iter().flatten();
        let mut values: Vec<&str> = all.filter_map(|(labels, _)| labels.get(label)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// A label that any series of the container has.
    pub(super) fn label(&self, label: &str) -> &str {
        self.by_name.values().flatten().find_map(|(labels, _)| labels.get(label)).unwrap_or("")
    }

    /// The labels of `container_info` beside those that all series have.
    pub(super) fn let_through(&self) -> impl Iterator<Item = (&str, &str)> {
        let info = self.by_name.get("container_info").and_then(|all| all.first());
        let labels = info.into_iter().flat_map(|(labels, _)| labels.iter());
        labels.filter(|(name, _)| !BASE.contains(name) && *name != "runtime")
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All samples of the only series of that name.
    pub(super) fn course(&self, name: &str) -> &[(i64, f64)] {
        self.by_name.get(name).and_then(|all| all.first()).map_or(&[], |(_, samples)| samples)
    }
}

/// The last sample until a time; what is told in turns may have its first one only later.
fn at(samples: &[(i64, f64)], time_ms: i64) -> Option<f64> {
    let after = samples.partition_point(|(time, _)| *time <= time_ms);
    samples.get(after.saturating_sub(1)).map(|(_, value)| *value)
}
