//! What parts of a cluster tell of its objects.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::{Meta, Object, Resource, null_as_default};

/// Something that happened to an object. Repeats are one event with a growing count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEvent {
    metadata: Meta,
    /// The object.
    #[serde(default, deserialize_with = "null_as_default")]
    pub involved_object: Involved,
    /// Why, in one word.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reason: Box<str>,
    /// What happened, for people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub message: Box<str>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type", default, deserialize_with = "null_as_default")]
    pub kind: Box<str>,
    #[serde(default, deserialize_with = "null_as_default")]
    count: i64,
    #[serde(default, deserialize_with = "time_ns")]
    first_timestamp: Option<i64>,
    #[serde(default, deserialize_with = "time_ns")]
    last_timestamp: Option<i64>,
    #[serde(default, deserialize_with = "time_ns")]
    event_time: Option<i64>,
    #[serde(default, deserialize_with = "null_as_default")]
    series: Series,
    #[serde(default, deserialize_with = "null_as_default")]
    source: Source,
    #[serde(default, deserialize_with = "null_as_default")]
    reporting_component: Box<str>,
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Involved {
    /// Its kind.
    pub kind: Box<str>,
    /// Its namespace, or an empty text.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What tells it from one of the same name.
    pub uid: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series {
    count: i64,
    #[serde(deserialize_with = "time_ns")]
    last_observed_time: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Source {
    component: Box<str>,
}

impl ClusterEvent {
    /// How often it has happened.
    pub fn count(&self) -> u64 {
        self.series.count.max(self.count).max(1).unsigned_abs()
    }

    /// When it happened last, in nanoseconds since 1970.
    pub fn last_ns(&self) -> Option<i64> {
        let made = || self.metadata.created.map(|seconds| seconds.saturating_mul(1_000_000_000));
        let told = self.series.last_observed_time.max(self.last_timestamp);
        told.or(self.event_time).or_else(made)
    }

    /// When it happened first.
    pub fn first_ns(&self) -> Option<i64> {
        self.first_timestamp.or(self.event_time).or_else(|| self.last_ns())
    }

    /// Who tells.
    pub fn reporter(&self) -> &str {
        if self.source.component.is_empty() { &self.reporting_component } else { &self.source.component }
    }
}

impl Object for ClusterEvent {
    const RESOURCE: Resource = Resource::core("events");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Nanoseconds since 1970; what is no time is none.
fn time_ns<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(from)?;
    let time = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_count_are_understood() {
        let old: ClusterEvent = serde_json::from_str(
            r#"{"metadata": {"name": "web.1", "namespace": "shop", "uid": "u"}, "involvedObject": {"kind": "Pod",
                "namespace": "shop", "name": "web", "uid": "p"}, "reason": "BackOff", "message": "again", "type":
                "Warning", "count": 3, "firstTimestamp": "1970-01-01T00:00:01Z", "lastTimestamp":
                "1970-01-01T00:00:05Z", "eventTime": null, "source": {"component": "kubelet", "host": "n"},
                "reportingComponent": ""}"#,
        )
        .expect("sound");
        assert_eq!(
            (old.count(), old.first_ns(), old.last_ns()),
            (3, Some(1_000_000_000), Some(5_000_000_000))
        );
        assert_eq!((old.reporter(), &*old.involved_object.uid), ("kubelet", "p"));
        let new: ClusterEvent = serde_json::from_str(
            r#"{"metadata": {"name": "web.2", "uid": "u2", "creationTimestamp": "1970-01-01T00:00:02Z"},
                "involvedObject": {"kind": "Node", "name": "n"}, "eventTime": "1970-01-01T00:00:02.000001Z",
                "series": {"count": 7, "lastObservedTime": "1970-01-01T00:00:09.5Z"}, "count": null,
                "firstTimestamp": null, "lastTimestamp": null, "source": {}, "reportingComponent": "scheduler"}"#,
        )
        .expect("sound");
        assert_eq!(
            (new.count(), new.first_ns(), new.last_ns()),
            (7, Some(2_000_001_000), Some(9_500_000_000))
        );
        assert_eq!((new.reporter(), &*new.involved_object.namespace), ("scheduler", ""));
        let bare = r#"{"metadata": {"name": "x", "creationTimestamp": "1970-01-01T00:00:02Z"}}"#;
        let bare: ClusterEvent = serde_json::from_str(bare).expect("sound");
        assert_eq!((bare.count(), bare.first_ns()), (1, Some(2_000_000_000)));
    }
}
