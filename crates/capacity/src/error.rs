//! What can be wrong with a snapshot. Each message names the object and what to do.

/// Why a snapshot cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no JSON of Kubernetes objects.
    #[error("{source_name} is no list of Kubernetes objects in JSON; write it with `kubectl get … -o json`")]
    Json {
        /// The file or other source.
        source_name: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// One object is not of the form that its kind has.
    #[error("{source_name}: item {index} ({}) is not of the form of its kind", short(.kind))]
    Object {
        /// The file or other source.
        source_name: String,
        /// Which item of the list.
        index: usize,
        /// The kind that it says it is of.
        kind: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// One object holds more than any object of its kind does.
    #[error("{source_name}: item {index} ({}): {problem}; take it out, or write the dump anew", short(.kind))]
    Absurd {
        /// The file or other source.
        source_name: String,
        /// Which item of the list.
        index: usize,
        /// The kind that it says it is of.
        kind: String,
        /// What it has too much of.
        problem: String,
    },
    /// An amount cannot be read.
    #[error("{}: {} {:?} is no quantity such as 500m, 2 or 4Gi", short(.object), short(.resource), short(.text))]
    Quantity {
        /// Kind and name.
        object: String,
        /// Which resource.
        resource: String,
        /// What stands there.
        text: String,
    },
    /// A selector, toleration or constraint that the API server would refuse.
    #[error("{}: {}", short(.object), short(.problem))]
    Constraint {
        /// Kind and name.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is more than is judged at once.
    #[error(
        "the snapshot has {found} {what}, of which {limit} at most are judged; judge a part of the cluster"
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Amounts of all pods together are beyond counting.
    #[error("the pods ask for more {} than can be counted; look for one whose request is absurd", short(.resource))]
    Sum {
        /// Which resource.
        resource: String,
    },
    /// Two objects of one kind have the same name.
    #[error("{} is in the snapshot twice; give each list once", short(.object))]
    Twice {
        /// Kind and name.
        object: String,
    },
    /// Nothing can fail.
    #[error("the snapshot has no nodes; add them with `kubectl get nodes -o json`")]
    NoNodes,
    /// A failure set names a node that is not there.
    #[error("there is no node {name:?} in the snapshot")]
    NoSuchNode {
        /// Its name.
        name: String,
    },
}

/// The longest part of a message that comes from a dump, in bytes: names and labels are shorter.
const SHOWN_BYTES_MAX: usize = 600;

/// What is shown of a text that may be of any length.
fn short(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.into();
    }
    let end = text.floor_char_boundary(SHOWN_BYTES_MAX);
    format!("{}… ({} bytes)", &text[..end], text.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_an_end() {
        let long = "ä".repeat(1 << 20);
        let error = Error::Quantity { object: long.clone(), resource: "cpu".into(), text: long.clone() };
        assert!(error.to_string().len() < 3 * SHOWN_BYTES_MAX);
        assert!(
            Error::Constraint { object: "pod a/b".into(), problem: long }
                .to_string()
                .starts_with("pod a/b: ää")
        );
        let error = Error::Twice { object: "pod a/b".into() };
        assert_eq!(error.to_string(), "pod a/b is in the snapshot twice; give each list once");
    }
}
