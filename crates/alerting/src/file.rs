//! The YAML of rule files, with the place of everything that can be wrong in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    #[serde(default)]
    pub(crate) groups: Vec<RawGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGroup {
    pub(crate) name: Spanned<String>,
    pub(crate) interval: Option<Spanned<String>>,
    pub(crate) query_offset: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) limit: Option<Spanned<i64>>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RawRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule {
    pub(crate) record: Option<Spanned<String>>,
    pub(crate) alert: Option<Spanned<String>>,
    pub(crate) expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    pub(crate) hold: Option<Spanned<String>>,
    pub(crate) keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, Spanned<String>>,
}
