//! Which programs wrote an object, as its managed fields say: of all their entries the first that wrote the object
//! itself and the last, and of these neither which fields they wrote nor the rest.
//!
//! An API server names the program, by what it calls itself, and never the person. The time of an entry is that of
//! the program's last change, so the first entry is the maker's only where its time is that of the object.

use std::{borrow::Cow, fmt, num::NonZeroI64};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess},
};

use super::null_as_default;

/// Names that stand in most objects of most clusters, so that they are not kept once for each.
const KNOWN: [&str; 12] = [
    "kube-controller-manager",
    "kubelet",
    "kube-scheduler",
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-edit",
    "helm",
    "Go-http-client",
    "argocd-controller",
    "kustomize-controller",
    "helm-controller",
];
/// An API server allows so many.
const MANAGER_BYTES_MAX: usize = 128;

/// A program that wrote an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// What it calls itself, as `kubectl-create`; at most 128 bytes.
    pub manager: Cow<'static, str>,
    /// Whether it applied the object (`Apply`), instead of writing it (`Update`).
    pub is_apply: bool,
    /// When it did so last, in seconds since 1970.
    at: Option<NonZeroI64>,
}

impl Hand {
    /// When it did so last, in seconds since 1970, if that is told.
    pub fn at(&self) -> Option<i64> {
        self.at.map(NonZeroI64::get)
    }

    /// As managed fields say it.
    pub fn operation(&self) -> &'static str {
        if self.is_apply { "Apply" } else { "Update" }
    }
}

/// Who wrote an object. What only wrote its status, or another part with an address of its own, does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authors {
    /// The one whose last change is the oldest.
    pub first: Hand,
    /// The one whose change is the newest, if that is another.
    pub last: Option<Box<Hand>>,
}

/// Reads the entries one by one, keeping two.
pub(super) fn authors<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Authors>>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<Box<Authors>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of managed fields")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut first: Option<Wire<'de>> = None;
            let mut last: Option<Wire<'de>> = None;
            while let Some(entry) = entries.next_element::<Wire<'de>>()? {
                if !entry.subresource.is_empty() || entry.manager.is_empty() {
                    continue;
                }
                // One without a time is told only where there is no other.
                let is_before = |than: &Wire<'de>| match (entry.time, than.time) {
                    (Some(this), Some(other)) => this < other,
                    (this, other) => this.is_some() && other.is_none(),
                };
                if first.as_ref().is_none_or(is_before) {
                    last = last.or_else(|| first.take());
                    first = Some(entry);
                } else if last.as_ref().is_none_or(|than| entry.time >= than.time) {
                    last = Some(entry);
                }
            }
            let last = last.filter(|last| last.time > first.as_ref().and_then(|first| first.time));
            Ok(first.map(|first| {
                Box::new(Authors { first: first.hand(), last: last.map(|last| Box::new(last.hand())) })
            }))
        }
    }
    from.deserialize_any(Visitor)
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    manager: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    operation: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    subresource: Cow<'a, str>,
    #[serde(default, deserialize_with = "super::time")]
    time: Option<i64>,
}

impl Wire<'_> {
    fn hand(self) -> Hand {
        let manager = &self.manager[..self.manager.floor_char_boundary(MANAGER_BYTES_MAX)];
        let known = KNOWN.iter().find(|known| **known == manager);
        Hand {
            manager: known.map_or_else(|| Cow::Owned(manager.to_owned()), |known| Cow::Borrowed(*known)),
            is_apply: self.operation == "Apply",
            at: self.time.and_then(NonZeroI64::new),
        }
    }
}

/// A text that is not copied where that can be, or null.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'de, str>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(null_as_default::<_, Text<'de>>(from)?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "authors")]
        of: Option<Box<Authors>>,
    }

    /// First and last as `manager operation time`.
    fn told(entries: &Value) -> Vec<String> {
        let text = json!({"of": entries}).to_string();
        let holder: Holder = serde_json::from_str(&text).expect("sound");
        let one = |hand: &Hand| format!("{} {} {:?}", hand.manager, hand.operation(), hand.at());
        holder.of.map_or_else(Vec::new, |authors| {
            std::iter::once(one(&authors.first)).chain(authors.last.as_deref().map(one)).collect()
        })
    }

    #[test]
    fn the_first_and_the_last_who_wrote_the_object_itself_are_kept() {
        let entry = |manager: &str, operation: &str, time: &str, subresource: &str| {
            json!({"manager": manager, "operation": operation, "time": time, "subresource": subresource,
                "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:x": {}}}})
        };
        let a = entry("kubectl-create", "Update", "2017-07-14T02:40:00Z", "");
        let b = entry("my-operator", "Apply", "2017-07-14T02:41:00Z", "");
        let c = entry("kubectl-edit", "Update", "2017-07-14T02:42:00Z", "");
        let status = entry("kubelet", "Update", "2017-07-14T02:39:00Z", "status");
        let untimed = json!({"manager": "old", "operation": "Update"});
        let (first, last) =
            ("kubectl-create Update Some(1500000000)", "kubectl-edit Update Some(1500000120)");
        for (entries, expected) in [
            (json!(null), vec![]),
            (json!([]), vec![]),
            (json!([status]), vec![]),
            (json!([status, a]), vec![first]),
            (json!([a, a]), vec![first]),
            (json!([untimed]), vec!["old Update None"]),
            (json!([untimed, a]), vec![first]),
            (json!([a, untimed]), vec![first]),
            (json!([b]), vec!["my-operator Apply Some(1500000060)"]),
            // In every order of three.
            (json!([a, b, c]), vec![first, last]),
            (json!([a, c, b]), vec![first, last]),
            (json!([b, a, c]), vec![first, last]),
            (json!([b, c, a]), vec![first, last]),
            (json!([c, a, b]), vec![first, last]),
            (json!([c, b, a]), vec![first, last]),
            (json!([{"manager": null, "operation": null, "time": null, "subresource": null}]), vec![]),
            (json!([{"manager": "x", "time": "soon"}]), vec!["x Update None"]),
        ] {
            assert_eq!(told(&entries), expected, "{entries}");
        }
        let long = told(&json!([{"manager": "é".repeat(500), "operation": "Apply"}]));
        assert_eq!(long, [format!("{} Apply None", "é".repeat(64))]);
    }
}
