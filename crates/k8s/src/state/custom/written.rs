//! What a person writes: a file as kube-state-metrics takes it, unchecked.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::ConfigError;
use crate::objects::null_as_default;

/// A file of kind `CustomResourceStateMetrics`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CustomResourceFile {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
    pub(super) kind: String,
    pub(super) spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Spec {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) resources: Vec<WrittenResource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenResource {
    pub(super) group_version_kind: GroupVersionKind,
    pub(super) resource_plural: Option<String>,
    pub(super) metric_name_prefix: Option<String>,
    #[serde(rename = "errorLogV")]
    pub(super) error_log_v: Option<i32>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) common_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) labels_from_path: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) metrics: Vec<WrittenMetric>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GroupVersionKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenMetric {
    pub(super) name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) help: String,
    pub(super) each: Each,
    #[serde(rename = "errorLogV")]
    pub(super) error_log_v: Option<i32>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) common_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) labels_from_path: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Each {
    pub(super) r#type: String,
    pub(super) gauge: Option<WrittenGauge>,
    pub(super) state_set: Option<WrittenStateSet>,
    pub(super) info: Option<WrittenInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenGauge {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) path: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) value_from: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) labels_from_path: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) label_from_key: String,
    pub(super) nil_is_zero: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenStateSet {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) path: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) value_from: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) labels_from_path: BTreeMap<String, Vec<String>>,
    pub(super) label_name: String,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) list: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct WrittenInfo {
    #[serde(deserialize_with = "null_as_default")]
    pub(super) path: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) labels_from_path: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "null_as_default")]
    pub(super) label_from_key: String,
}

/// Reads the text of such a file; `name` is what errors call it.
///
/// # Errors
/// It is no YAML, or has keys that nobody knows.
pub fn read(name: &str, text: &str) -> Result<CustomResourceFile, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        let error = error.without_snippet().to_string();
        let line = error.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let line = line.trim().trim_start_matches("error: ");
        let reason = line.split(" at line ").next().unwrap_or(line);
        ConfigError {
            place: format!("{name}{place}"),
            reason: format!(
                "{reason}; write it as kube-state-metrics takes it, kind CustomResourceStateMetrics"
            ),
        }
    })
}
