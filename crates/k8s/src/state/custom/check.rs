//! From what is written to what is done; an error names the place and the remedy.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use super::{
    CustomFamily, CustomMetric, CustomResource, CustomResourceFile,
    labels::LabelPaths,
    metric::{Metric, Shape},
    path::Path,
    written::{Each, WrittenMetric, WrittenResource},
};
use crate::state::{KINDS, Kind};

/// A configuration of custom resources that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ConfigError {
    /// The file, and where in it.
    pub place: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// What `kind` says of such a file.
const FILE_KIND: &str = "CustomResourceStateMetrics";
/// What names of metrics begin with where nothing is said.
const PREFIX: &str = "kube_customresource";
/// Of a cluster.
const RESOURCES_MAX: usize = 256;
/// Of a resource.
const METRICS_MAX: usize = 500;
/// Labels of each of the ways in which a metric may have them.
const LABELS_MAX: usize = 64;
/// States that a value may be in.
const STATES_MAX: usize = 256;
/// Names of metrics, labels, groups and kinds.
const NAME_BYTES_MAX: usize = 256;
/// Texts that stand on the page as they are.
const TEXT_BYTES_MAX: usize = 1024;

impl CustomResourceFile {
    /// Checks all of it. Errors begin with `place`, which ends such that a key can follow.
    ///
    /// # Errors
    /// Something of it cannot be used.
    pub fn check(self, place: &str) -> Result<Vec<CustomResource>, ConfigError> {
        let place = Place(place.to_owned());
        if !self.kind.is_empty() && self.kind != FILE_KIND {
            return Err(place
                .key("kind")
                .refuse(format!("{:?} is another kind; use {FILE_KIND}", self.kind)));
        }
        if self.spec.resources.is_empty() {
            return Err(place.key("spec.resources").refuse("name at least one resource"));
        }
        let all = self.spec.resources.into_iter().enumerate();
        all.map(|(at, resource)| resource_of(&place.nth("spec.resources", at), resource)).collect()
    }
}

/// All resources of a cluster, of whichever files.
///
/// # Errors
/// They are too many, or two are the same.
pub fn together(all: Vec<CustomResource>) -> Result<Arc<[CustomResource]>, ConfigError> {
    if let Some(more) = all.get(RESOURCES_MAX) {
        let reason =
            format!("a cluster may have at most {RESOURCES_MAX} entries; bring some together by kind \"*\"");
        return Err(ConfigError { place: more.place.to_string(), reason });
    }
    let mut known: HashMap<(&str, Option<&str>), &CustomResource> = HashMap::new();
    for resource in &all {
        if let Some(first) = known.insert((&resource.group, resource.kind.as_deref()), resource) {
            let reason = format!(
                "{} is there already at {}, of whichever version; write all its metrics at one place",
                resource.told(),
                first.place
            );
            return Err(ConfigError { place: resource.place.to_string(), reason });
        }
    }
    Ok(all.into())
}

/// Where something is written.
struct Place(String);

impl Place {
    fn key(&self, key: &str) -> Self {
        let point = if self.0.is_empty() || self.0.ends_with([' ', '.']) { "" } else { "." };
        Self(format!("{}{point}{key}", self.0))
    }

    fn nth(&self, key: &str, at: usize) -> Self {
        let mut place = self.key(key);
        place.0.push_str(&format!("[{at}]"));
        place
    }

    fn refuse(self, reason: impl Into<String>) -> ConfigError {
        ConfigError { place: self.0, reason: reason.into() }
    }
}

fn resource_of(place: &Place, written: WrittenResource) -> Result<CustomResource, ConfigError> {
    let gvk = place.key("groupVersionKind");
    let group = word(gvk.key("group"), &written.group_version_kind.group, "a group, as stable.example.com")?;
    let version = any_or_word(gvk.key("version"), &written.group_version_kind.version)?;
    let kind = any_or_word(gvk.key("kind"), &written.group_version_kind.kind)?;
    let plural = match written.resource_plural.as_deref().filter(|plural| !plural.is_empty()) {
        None => None,
        Some(_) if kind.is_none() => {
            let reason = "several kinds have several words; name the kind, or leave this out";
            return Err(place.key("resourcePlural").refuse(reason));
        }
        Some(plural) => Some(word(place.key("resourcePlural"), plural, "the word in paths, as foos")?),
    };
    let metrics = place.key("metrics");
    if written.metrics.is_empty() || written.metrics.len() > METRICS_MAX {
        return Err(metrics.refuse(format!("name 1 to {METRICS_MAX} metrics")));
    }
    let prefix = written.metric_name_prefix.as_deref().unwrap_or(PREFIX);
    let common = common_labels(place, written.common_labels)?;
    let paths = label_paths(place, written.labels_from_path)?;
    let mut families: Vec<CustomFamily> = Vec::new();
    for (at, metric) in written.metrics.into_iter().enumerate() {
        let place = place.nth("metrics", at);
        let name = family_name(&place, prefix, &metric.name)?;
        let help = help_text(&place, &metric.help)?;
        let level = metric.error_log_v.or(written.error_log_v).unwrap_or(0);
        let (kind, metric) = metric_of(&place, metric, &common, &paths, level)?;
        match families.iter_mut().find(|family| *family.name == *name) {
            Some(family) => family.metrics.push(metric),
            None => families.push(CustomFamily { name: name.into(), help, kind, metrics: vec![metric] }),
        }
    }
    let place = place.0.as_str().into();
    Ok(CustomResource { place, group, version, kind, plural, families: families.into() })
}

fn metric_of(
    place: &Place,
    written: WrittenMetric,
    common: &BTreeMap<String, String>,
    paths: &BTreeMap<String, Path>,
    log_level: i32,
) -> Result<(Kind, CustomMetric), ConfigError> {
    let mut labels = common.clone();
    labels.extend(common_labels(place, written.common_labels)?);
    let mut from_paths = paths.clone();
    from_paths.extend(label_paths(place, written.labels_from_path)?);
    let (kind, each) = each_of(&place.key("each"), written.each)?;
    let metric = CustomMetric {
        common: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        labels: LabelPaths::of(from_paths),
        warns: log_level <= 0,
        each,
    };
    Ok((kind, metric))
}

fn each_of(place: &Place, written: Each) -> Result<(Kind, Metric), ConfigError> {
    let needs = |key: &str| place.key(key).refuse(format!("the type {} needs this key", written.r#type));
    let made = match written.r#type.to_ascii_lowercase().as_str() {
        "gauge" => {
            let place = place.key("gauge");
            let gauge = written.gauge.ok_or_else(|| needs("gauge"))?;
            if gauge.path.is_empty() && gauge.value_from.is_empty() {
                return Err(place.key("path").refuse("name where the number stands, as [status, replicas]"));
            }
            let shape = Shape::Gauge {
                value: path(place.key("valueFrom"), &gauge.value_from)?,
                key: key_label(&place, &gauge.label_from_key)?,
                nil_is_zero: gauge.nil_is_zero,
            };
            let labels = LabelPaths::of(label_paths(&place, gauge.labels_from_path)?);
            (Kind::Gauge, Metric { path: path(place.key("path"), &gauge.path)?, labels, shape })
        }
        "stateset" => {
            let place = place.key("stateSet");
            let set = written.state_set.ok_or_else(|| needs("stateSet"))?;
            if set.list.is_empty() || set.list.len() > STATES_MAX {
                return Err(place.key("list").refuse(format!("name 1 to {STATES_MAX} states")));
            }
            if let Some(long) = set.list.iter().find(|state| state.len() > TEXT_BYTES_MAX) {
                let reason =
                    format!("a state of {} bytes is too long; use at most {TEXT_BYTES_MAX}", long.len());
                return Err(place.key("list").refuse(reason));
            }
            label_name(place.key("labelName"), &set.label_name)?;
            let shape = Shape::StateSet {
                value: path(place.key("valueFrom"), &set.value_from)?,
                label: set.label_name.into(),
                states: set.list.into_iter().map(String::into_boxed_str).collect(),
            };
            let labels = LabelPaths::of(label_paths(&place, set.labels_from_path)?);
            (Kind::StateSet, Metric { path: path(place.key("path"), &set.path)?, labels, shape })
        }
        "info" => {
            let place = place.key("info");
            let info = written.info.ok_or_else(|| needs("info"))?;
            let shape = Shape::Info { key: key_label(&place, &info.label_from_key)? };
            let labels = LabelPaths::of(label_paths(&place, info.labels_from_path)?);
            (Kind::Info, Metric { path: path(place.key("path"), &info.path)?, labels, shape })
        }
        _ => {
            let reason = format!("{:?} is none of Gauge, StateSet and Info", written.r#type);
            return Err(place.key("type").refuse(reason));
        }
    };
    Ok(made)
}

fn path(place: Place, steps: &[String]) -> Result<Path, ConfigError> {
    Path::of(steps).map_err(|reason| place.refuse(reason))
}

fn key_label(place: &Place, name: &str) -> Result<Option<Box<str>>, ConfigError> {
    if name.is_empty() {
        return Ok(None);
    }
    label_name(place.key("labelFromKey"), name)?;
    Ok(Some(name.into()))
}

fn common_labels(
    place: &Place,
    written: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let place = place.key("commonLabels");
    if written.len() > LABELS_MAX {
        return Err(place.refuse(format!("name at most {LABELS_MAX} labels")));
    }
    for (name, value) in &written {
        label_name(place.key(name), name)?;
        if value.len() > TEXT_BYTES_MAX {
            let reason =
                format!("a value of {} bytes is too long; use at most {TEXT_BYTES_MAX}", value.len());
            return Err(place.key(name).refuse(reason));
        }
    }
    Ok(written)
}

fn label_paths(
    place: &Place,
    written: BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, Path>, ConfigError> {
    let place = place.key("labelsFromPath");
    if written.len() > LABELS_MAX {
        return Err(place.refuse(format!("name at most {LABELS_MAX} labels")));
    }
    let one = |(name, steps): (String, Vec<String>)| {
        match name.split_once('*') {
            // Each field is a label of its own name.
            Some(("", _)) => {}
            Some((prefix, _)) => label_name(place.key(&name), prefix)?,
            None => label_name(place.key(&name), &name)?,
        }
        let path = path(place.key(&name), &steps)?;
        Ok((name, path))
    };
    written.into_iter().map(one).collect()
}

/// A word that may stand in a path of the API server.
fn word(place: Place, text: &str, what: &str) -> Result<Box<str>, ConfigError> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !is_word {
        return Err(place.refuse(format!("{text:?} cannot be used; name {what}")));
    }
    Ok(text.into())
}

/// None for any.
fn any_or_word(place: Place, text: &str) -> Result<Option<Box<str>>, ConfigError> {
    if text == "*" {
        return Ok(None);
    }
    word(place, text, "it as the cluster does, or \"*\" for all").map(Some)
}

fn label_name(place: Place, name: &str) -> Result<(), ConfigError> {
    let is_sound = name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .enumerate()
            .all(|(at, byte)| byte.is_ascii_alphabetic() || byte == b'_' || at > 0 && byte.is_ascii_digit());
    if name.is_empty() || !is_sound || name.starts_with("__") {
        let reason = format!(
            "{name:?} is no name of a label; use letters, digits and _, no digit first, and no __ at the beginning"
        );
        return Err(place.refuse(reason));
    }
    Ok(())
}

fn family_name(place: &Place, prefix: &str, name: &str) -> Result<String, ConfigError> {
    let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}_{name}") };
    let is_sound = full.bytes().enumerate().all(|(at, byte)| {
        byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || at > 0 && byte.is_ascii_digit()
    });
    if name.is_empty() || full.len() > NAME_BYTES_MAX || !is_sound {
        let reason = format!(
            "{full:?} is no name of a metric; use letters, digits and _, at most {NAME_BYTES_MAX} with the prefix"
        );
        return Err(place.key("name").refuse(reason));
    }
    static OWN: OnceLock<HashSet<Cow<'static, str>>> = OnceLock::new();
    let own =
        OWN.get_or_init(|| KINDS.iter().flat_map(|kind| (kind.families)()).map(|words| words.name).collect());
    if own.contains(&*full) {
        let reason = format!("{full} tells of objects of Kubernetes itself; use another metricNamePrefix");
        return Err(place.key("name").refuse(reason));
    }
    Ok(full)
}

fn help_text(place: &Place, text: &str) -> Result<Box<str>, ConfigError> {
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!("a help of {} bytes is too long; use at most {TEXT_BYTES_MAX}", text.len());
        return Err(place.key("help").refuse(reason));
    }
    Ok(text.into())
}
