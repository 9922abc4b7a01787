//! Lists of relabelling rules.

use vedette_model::{NameScheme, RelabelAction, RelabelConfig, RelabelRule};

use crate::{
    fields::{Fields, Result},
    shown::Shown,
    yaml::Value,
};

/// Reads a list of rules; names are checked by `scheme`.
pub(crate) fn rules(
    fields: &mut Fields<'_>,
    key: &str,
    known: &str,
    scheme: NameScheme,
) -> Result<Vec<RelabelRule>> {
    fields.list(key, known, |inner| rule(inner, scheme))
}

fn rule(fields: &mut Fields<'_>, scheme: NameScheme) -> Result<RelabelRule> {
    let source_labels = fields.texts("source_labels")?;
    if let Some(i) = source_labels.iter().position(String::is_empty) {
        let key = format!("source_labels[{i}]");
        return Err(fields.refuse(&key, "an empty text is no label name"));
    }
    let separator = text(fields, "separator", Some(";"))?;
    let regex = text(fields, "regex", None)?;
    let modulus = fields.count("modulus", 0)?;
    let target_label = fields.text_or("target_label", "")?;
    let replacement = text(fields, "replacement", Some("$1"))?;
    let action = match fields.node("action") {
        None if fields.is_there("action") => {
            return Err(fields.refuse("action", "the relabel action is empty; name one or remove the key"));
        }
        None => RelabelAction::Replace,
        Some(node) => {
            let word = fields.text_of("action", node)?;
            RelabelAction::parse(word).ok_or_else(|| {
                let words = RelabelAction::ALL.map(RelabelAction::as_str);
                let reason = format!("unknown relabel action {word:?}; use one of {}", words.join(", "));
                fields.refuse("action", reason)
            })?
        }
    };
    fields.show("action", Shown::Text(action.as_str().to_owned()));
    let config =
        RelabelConfig { source_labels, separator, regex, modulus, target_label, replacement, action };
    RelabelRule::new(config, scheme).map_err(|error| {
        let key = match &error {
            vedette_model::RelabelError::Regex(_) => "regex",
            vedette_model::RelabelError::Missing { key, .. }
            | vedette_model::RelabelError::Meaningless { key, .. }
            | vedette_model::RelabelError::Name { key, .. } => key,
        };
        fields.refuse(key, error.to_string())
    })
}

/// A text for which null is an empty text, not absence. One that is absent is shown as `default`.
fn text(fields: &mut Fields<'_>, key: &str, default: Option<&str>) -> Result<Option<String>> {
    let text = match fields.node(key) {
        None if fields.is_there(key) => Some(String::new()),
        None => None,
        Some(node) if matches!(node.value, Value::Null) => Some(String::new()),
        Some(node) => Some(fields.text_of(key, node)?.to_owned()),
    };
    if let Some(shown) = text.as_deref().or(default) {
        fields.show(key, Shown::Text(shown.to_owned()));
    }
    Ok(text)
}
