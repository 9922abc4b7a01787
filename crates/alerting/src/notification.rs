//! What receivers are told: the model of Alertmanager's webhook, version 4. How it is written as
//! JSON is the business of those who send it.

use vedette_model::Labels;

/// Whether something is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It is.
    Firing,
    /// It is over.
    Resolved,
}

impl Status {
    /// The word in the payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One message about a group of alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Name of the group: the route and the labels by which it is grouped.
    pub group_key: String,
    /// Alerts left out.
    pub truncated_alerts: u64,
    /// Firing if any alert is.
    pub status: Status,
    /// Who is told.
    pub receiver: String,
    /// The labels by which the group is grouped.
    pub group_labels: Labels,
    /// Labels that all alerts share.
    pub common_labels: Labels,
    /// Annotations that all alerts share.
    pub common_annotations: Labels,
    /// The address of this instance.
    pub external_url: String,
    /// The alerts, in order of their labels.
    pub alerts: Vec<NotifiedAlert>,
}

/// One alert of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifiedAlert {
    /// State.
    pub status: Status,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Since when, in milliseconds since the Unix epoch.
    pub starts_at_ms: i64,
    /// Until when; `None` while it fires.
    pub ends_at_ms: Option<i64>,
    /// Where to look at its cause.
    pub generator_url: String,
    /// Stable name of the alert, 16 hexadecimal digits.
    pub fingerprint: String,
}

/// A message that must be delivered. It stays outstanding, also over restarts, until
/// [`crate::Alerting::delivered`] or [`crate::Alerting::rejected`] is told its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Names it; never used again.
    pub id: u64,
    /// When it was made.
    pub created_ms: i64,
    /// The message; `notification.receiver` is who gets it.
    pub notification: Notification,
}

/// The fingerprint of a label set as Alertmanager computes it: FNV-1a over names and values,
/// each followed by the byte 255.
pub(crate) fn fingerprint(labels: &Labels) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for (name, value) in labels {
        name.bytes().for_each(&mut add);
        add(255);
        value.bytes().for_each(&mut add);
        add(255);
    }
    hash
}
