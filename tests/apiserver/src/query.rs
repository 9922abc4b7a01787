//! Paths, queries and selectors.

use serde_json::Value;

/// What a path and its query ask for.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// As `/api/v1/pods`, without the namespace.
    pub(crate) collection: String,
    pub(crate) namespace: Option<String>,
    /// Where one object is asked for.
    pub(crate) name: Option<String>,
    pairs: Vec<(String, String)>,
}

impl Query {
    /// `None` for what is no path of objects.
    pub(crate) fn parse(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let prefix = match *parts.first()? {
            "api" => 2,
            "apis" => 3,
            _ => return None,
        };
        let (group, rest) = parts.split_at_checked(prefix)?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (plural, name) = match rest {
            [plural] => (plural, None),
            [plural, name] => (plural, Some((*name).to_owned())),
            _ => return None,
        };
        let collection = format!("/{}/{plural}", group.join("/"));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Some(Self { collection, namespace, name, pairs: pairs.collect() })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    /// The last part of the collection, as `pods`.
    pub(crate) fn plural(&self) -> &str {
        self.collection.rsplit('/').next().unwrap_or_default()
    }

    /// Whether an object is among what is asked for.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        if self.namespace.as_deref().is_some_and(|wanted| meta["namespace"] != wanted) {
            return false;
        }
        let label = |key: &str| meta["labels"][key].as_str();
        let field = |key: &str| key.split('.').fold(object, |value, part| &value[part]).as_str();
        let labels = self.get("labelSelector").unwrap_or_default();
        let fields = self.get("fieldSelector").unwrap_or_default();
        conditions(labels).all(|condition| holds(condition, &label))
            && conditions(fields).all(|condition| holds(condition, &field))
    }
}

fn conditions(selector: &str) -> impl Iterator<Item = &str> {
    selector.split(',').map(str::trim).filter(|condition| !condition.is_empty())
}

/// `a=b`, `a==b`, `a!=b`, `a` and `!a`; sets are not known here.
fn holds<'a>(condition: &str, value: &dyn Fn(&str) -> Option<&'a str>) -> bool {
    if let Some((key, wanted)) = condition.split_once("!=") {
        return value(key) != Some(wanted);
    }
    if let Some((key, wanted)) = condition.split_once('=') {
        return value(key) == Some(wanted.trim_start_matches('='));
    }
    match condition.strip_prefix('!') {
        Some(key) => value(key).is_none(),
        None => value(condition).is_some(),
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
