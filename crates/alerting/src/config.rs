//! How alerts are grouped and who is told.

use vedette_model::{Labels, Severity};

/// Settings of judgement and notification.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address under which people reach this instance; stands in links.
    pub external_url: String,
    /// Labels that templates see as `$externalLabels`.
    pub external_labels: Labels,
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// How alerts are grouped on their way to the receivers.
    pub route: Route,
    /// How often a group is evaluated that says nothing of it.
    pub evaluation_interval_ms: i64,
    /// How long a resolved alert is kept and shown.
    pub resolved_retention_ms: i64,
    /// How long after an alert was sent to Alertmanagers it is sent again.
    pub resend_delay_ms: i64,
    /// A finding is over when it was not seen again for so long.
    pub finding_ttl_ms: i64,
    /// A pending alert goes on waiting after a stop of at most this length.
    pub outage_tolerance_ms: i64,
    /// After a restart an alert that was firing goes on firing for so long even if its series
    /// are not there yet, so that a restart does not look like a recovery.
    pub restart_grace_ms: i64,
    /// Findings kept at most; of more, the ones resolved longest ago go first.
    pub findings_max: usize,
    /// What one query of a rule may take.
    pub query_limits: vedette_promql::Limits,
    /// Bytes of memory that one query of a rule may hold.
    pub query_memory_bytes_max: u64,
    /// How long one query of a rule may take; the rules after it wait for it.
    pub query_timeout_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            external_url: "http://127.0.0.1:9090".into(),
            external_labels: Labels::empty(),
            receivers: Vec::new(),
            route: Route::default(),
            evaluation_interval_ms: 60_000,
            resolved_retention_ms: 15 * 60_000,
            resend_delay_ms: 60_000,
            finding_ttl_ms: 15 * 60_000,
            outage_tolerance_ms: 3_600_000,
            restart_grace_ms: 60_000,
            findings_max: 10_000,
            query_limits: vedette_promql::Limits { samples_max: 20_000_000, ..Default::default() },
            query_memory_bytes_max: 256 << 20,
            query_timeout_ms: 10_000,
        }
    }
}

/// Someone to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Name, unique.
    pub name: String,
    /// Which severities; none means all. An alert without a known severity counts as a warning.
    pub severities: Vec<Severity>,
    /// Whether to tell also when alerts are over.
    pub send_resolved: bool,
}

impl Receiver {
    /// A receiver of everything.
    pub fn all(name: impl Into<String>) -> Self {
        Self { name: name.into(), severities: Vec::new(), send_resolved: true }
    }

    pub(crate) fn takes(&self, labels: &Labels) -> bool {
        let severity = labels.get("severity").and_then(Severity::parse).unwrap_or(Severity::Warning);
        self.severities.is_empty() || self.severities.contains(&severity)
    }
}

/// The root of the routing tree, which matches every alert and hands it to each receiver that
/// takes its severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Alerts with the same values of these labels are told of together.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts before it is first told of.
    pub group_wait_ms: i64,
    /// How long a group waits before changes in it are told.
    pub group_interval_ms: i64,
    /// After how long a group that goes on firing is told of again.
    pub repeat_interval_ms: i64,
}

impl Default for Route {
    /// Shorter waits than Alertmanager's, which has to gather alerts from many senders first.
    fn default() -> Self {
        Self {
            group_by: ["alertname", "host", "instance", "namespace", "pod", "container"]
                .map(Into::into)
                .into(),
            group_wait_ms: 5_000,
            group_interval_ms: 60_000,
            repeat_interval_ms: 4 * 3_600_000,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct ConfigError {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Config {
    /// Refuses settings that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |setting, problem: String| Err(ConfigError { setting, problem });
        let day_ms = 24 * 3_600_000;
        for (setting, value, min) in [
            ("route.group_wait", self.route.group_wait_ms, 0),
            ("route.group_interval", self.route.group_interval_ms, 1000),
            ("route.repeat_interval", self.route.repeat_interval_ms, 1000),
            ("evaluation_interval", self.evaluation_interval_ms, 100),
            ("resolved_retention", self.resolved_retention_ms, 0),
            ("resend_delay", self.resend_delay_ms, 0),
            ("finding_ttl", self.finding_ttl_ms, 1000),
            ("outage_tolerance", self.outage_tolerance_ms, 0),
            ("restart_grace", self.restart_grace_ms, 0),
            ("query_timeout", self.query_timeout_ms, 1),
        ] {
            if value < min || value > 366 * day_ms {
                return fail(setting, format!("is {value} ms; it must be between {min} ms and 366 days"));
            }
        }
        if self.findings_max == 0 {
            return fail("findings_max", "is 0; at least 1 is needed".into());
        }
        for (i, receiver) in self.receivers.iter().enumerate() {
            if receiver.name.is_empty() {
                return fail("receivers", "have an empty name; give each its own".into());
            }
            if self.receivers[..i].iter().any(|r| r.name == receiver.name) {
                return fail(
                    "receivers",
                    format!("have the name {:?} twice; give each its own", receiver.name),
                );
            }
        }
        Ok(())
    }
}
