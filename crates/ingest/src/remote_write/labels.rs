//! The labels of a series that is not known yet.

use vedette_model::{Labels, METRIC_NAME};
use vedette_wire::remote_write::LabelPairs;

use crate::Config;

/// Reads labels as a sender of 1.0 wrote them.
pub fn read(config: &Config, label_bytes: &[u8]) -> Result<Labels, String> {
    let pairs = LabelPairs::in_bytes(label_bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("in the labels of a series {e}"))?;
    check(config, pairs)
}

/// Checks labels as they were sent. Senders sort them, and those that do not are not refused for
/// it; a label without a value means the same as none.
pub fn check(config: &Config, mut pairs: Vec<(&str, &str)>) -> Result<Labels, String> {
    if !pairs.is_sorted() {
        pairs.sort_unstable();
    }
    pairs.retain(|(_, value)| !value.is_empty());
    let wrong = |what: String| {
        let name = pairs.iter().find(|(n, _)| *n == METRIC_NAME).map_or("", |(_, v)| shorten(v));
        Err(format!("a series of the metric {name:?} {what}"))
    };
    if pairs.len() > config.labels_max {
        return wrong(format!("has {} labels, more than {}", pairs.len(), config.labels_max));
    }
    if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return wrong(format!("has the label {:?} twice", shorten(pair[0].0)));
    }
    for (name, value) in &pairs {
        if name.is_empty() {
            return wrong("has a label without a name".to_owned());
        }
        for (what, text, bytes_max) in
            [("name", name, config.label_name_bytes_max), ("value", value, config.label_value_bytes_max)]
        {
            if text.len() > bytes_max {
                let (name, length) = (shorten(name), text.len());
                return wrong(format!(
                    "has a label {name:?} whose {what} has {length} bytes, more than {bytes_max}"
                ));
            }
        }
    }
    if pairs.iter().all(|(name, _)| *name != METRIC_NAME) {
        return Err(format!("a series has no label {METRIC_NAME}"));
    }
    Ok(Labels::from_sorted(pairs.into_iter()))
}

/// As much of a text as an error should repeat.
fn shorten(text: &str) -> &str {
    &text[..text.floor_char_boundary(100)]
}
