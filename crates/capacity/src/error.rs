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
    #[error("{source_name}: item {index} ({kind}) is not of the form of its kind")]
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
    /// An amount cannot be read.
    #[error("{object}: {resource} {text:?} is no quantity such as 500m, 2 or 4Gi")]
    Quantity {
        /// Kind and name.
        object: String,
        /// Which resource.
        resource: String,
        /// What stands there.
        text: String,
    },
    /// A selector, toleration or constraint that the API server would refuse.
    #[error("{object}: {problem}")]
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
    #[error("the pods ask for more {resource} than can be counted; look for one whose request is absurd")]
    Sum {
        /// Which resource.
        resource: String,
    },
    /// Two objects of one kind have the same name.
    #[error("{object} is in the snapshot twice; give each list once")]
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
