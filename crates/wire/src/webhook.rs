//! Alertmanager's webhook message, version 4: what receivers that take Alertmanager's
//! notifications expect in the body.

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use vedette_model::Labels;

use crate::number::rfc3339;

/// Version of the message's form.
pub const VERSION: &str = "4";

/// Go's zero time, which Alertmanager writes where an alert has not ended.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// One notification: a group of alerts that share labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// Name of the receiver.
    pub receiver: &'a str,
    /// `firing` while any alert of the group fires.
    pub status: Status,
    /// The alerts.
    pub alerts: Vec<Alert<'a>>,
    /// Labels by which alerts were grouped.
    #[serde(serialize_with = "labels")]
    pub group_labels: &'a Labels,
    /// Labels that all alerts share.
    #[serde(serialize_with = "labels")]
    pub common_labels: Labels,
    /// Annotations that all alerts share.
    #[serde(serialize_with = "labels")]
    pub common_annotations: Labels,
    /// Where people find the sender.
    #[serde(rename = "externalURL")]
    pub external_url: &'a str,
    /// [`VERSION`].
    pub version: &'static str,
    /// Names the group for as long as it exists.
    pub group_key: &'a str,
    /// How many alerts were left out.
    pub truncated_alerts: u64,
}

/// One alert of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert<'a> {
    /// State.
    pub status: Status,
    /// Labels, `alertname` included.
    #[serde(serialize_with = "labels")]
    pub labels: &'a Labels,
    /// Annotations.
    #[serde(serialize_with = "labels")]
    pub annotations: &'a Labels,
    /// Since when it fires, RFC 3339.
    pub starts_at: String,
    /// Since when it is resolved, RFC 3339.
    pub ends_at: String,
    /// Where people find the rule or finding.
    #[serde(rename = "generatorURL")]
    pub generator_url: &'a str,
    /// Sixteen hexadecimal digits that name the label set.
    pub fingerprint: &'a str,
}

/// State of an alert or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the message's own words")]
pub enum Status {
    Firing,
    Resolved,
}

impl<'a> Alert<'a> {
    /// An alert; without an end it fires.
    pub fn new(
        labels: &'a Labels,
        annotations: &'a Labels,
        starts_ns: i64,
        ends_ns: Option<i64>,
        generator_url: &'a str,
        fingerprint: &'a str,
    ) -> Self {
        Self {
            status: if ends_ns.is_some() { Status::Resolved } else { Status::Firing },
            labels,
            annotations,
            starts_at: rfc3339(starts_ns),
            ends_at: ends_ns.map_or_else(|| NO_END.to_owned(), rfc3339),
            generator_url,
            fingerprint,
        }
    }
}

impl<'a> Message<'a> {
    /// A message about `alerts`; status and common labels follow from them.
    pub fn new(
        receiver: &'a str,
        group_key: &'a str,
        group_labels: &'a Labels,
        external_url: &'a str,
        alerts: Vec<Alert<'a>>,
        truncated_alerts: u64,
    ) -> Self {
        let firing = alerts.iter().any(|a| a.status == Status::Firing);
        Self {
            receiver,
            status: if firing { Status::Firing } else { Status::Resolved },
            common_labels: shared(alerts.iter().map(|a| a.labels)),
            common_annotations: shared(alerts.iter().map(|a| a.annotations)),
            alerts,
            group_labels,
            external_url,
            version: VERSION,
            group_key,
            truncated_alerts,
        }
    }

    /// The message as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("BUG: a message has text keys only")
    }
}

fn shared<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    sets.fold(first.clone(), |shared, set| {
        Labels::from_pairs(shared.iter().filter(|(name, value)| set.get(name) == Some(value)))
    })
}

fn labels<S: Serializer>(labels: &impl AsLabels, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in labels.as_labels() {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

trait AsLabels {
    fn as_labels(&self) -> &Labels;
}

impl AsLabels for Labels {
    fn as_labels(&self) -> &Labels {
        self
    }
}

impl AsLabels for &Labels {
    fn as_labels(&self) -> &Labels {
        self
    }
}
