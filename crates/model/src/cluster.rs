//! How the parts of a cluster are: its API servers, its store, the nodes' kubelets and what else it cannot do
//! without.
//!
//! Whoever watches a cluster knows this; whoever shows it reads it as [`ClusterStatus`].

use std::sync::Arc;

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartState {
    /// It does its work.
    Healthy,
    /// Nobody can tell now, as the server that would know cannot be asked.
    Unknown,
    /// It does its work in part, or will soon not.
    Degraded,
    /// It does not do its work.
    Failed,
}

impl PartState {
    /// The word shown and used as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// A part of a cluster, or one of several of the same kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPart {
    /// Which, as `apiserver`.
    pub part: &'static str,
    /// Which of them: a node, or an address; empty where there is only one.
    pub instance: Box<str>,
    /// How it is.
    pub state: PartState,
    /// Why it is not healthy, in one word of a closed set; empty where it is.
    pub cause: &'static str,
    /// What was seen, in the words of who said it; empty where it is healthy.
    pub evidence: String,
    /// What a person does next; empty where nothing is to be done.
    pub next_step: &'static str,
    /// Since when it is in this state, in milliseconds since the Unix epoch.
    pub since_unix_ms: i64,
}

/// Something about a part that is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFigure {
    /// What is measured.
    pub kind: ClusterFigureKind,
    /// Of which part.
    pub part: &'static str,
    /// Of which of them.
    pub instance: Box<str>,
    /// The value, in the unit of its kind.
    pub value: f64,
}

/// What is measured of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterFigureKind {
    /// How long the last answer to a question about its health took, in seconds.
    ProbeSeconds,
    /// How long ago its lease was renewed, in seconds.
    LeaseAgeSeconds,
    /// Bytes of a database.
    DatabaseBytes,
    /// Bytes that a database may have.
    DatabaseQuotaBytes,
}

/// For what a certificate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterCertificateRole {
    /// A part shows it as its own.
    Server,
    /// A part shows it to lead from its own to an authority.
    ServerChain,
    /// Vedette shows it to a part.
    Client,
    /// Vedette trusts what it signed.
    Authority,
}

impl ClusterCertificateRole {
    /// The word shown and used as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ServerChain => "server_chain",
            Self::Client => "client",
            Self::Authority => "authority",
        }
    }
}

/// A certificate by which Vedette and a part know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterCertificate {
    /// Which part, as `apiserver`.
    pub part: &'static str,
    /// Which of them: an address.
    pub instance: Box<str>,
    /// What it is for.
    pub role: ClusterCertificateRole,
    /// Whom it names, in the words of who made it; of one role and instance each name comes once.
    pub subject: String,
    /// Who signed it, in the words of who made it.
    pub issuer: String,
    /// When it begins, in seconds since the Unix epoch.
    pub not_before_unix_s: i64,
    /// When it ends, in seconds since the Unix epoch.
    pub not_after_unix_s: i64,
}

/// How a cluster is.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus {
    /// What it is called.
    pub name: Arc<str>,
    /// The version that its API server tells; empty until it does.
    pub version: Box<str>,
    /// Its parts, in the order of their names.
    pub parts: Vec<ClusterPart>,
    /// Instances of parts that are not told, as there are too many.
    pub left_out: u64,
    /// What is measured.
    pub figures: Vec<ClusterFigure>,
    /// Certificates by which Vedette and the parts know each other, in the order of parts and instances.
    pub certificates: Vec<ClusterCertificate>,
}

impl ClusterStatus {
    /// Nothing is known of it yet.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            version: Box::default(),
            parts: Vec::new(),
            left_out: 0,
            figures: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// How its worst part is; unknown where nothing is known yet.
    pub fn state(&self) -> PartState {
        self.parts.iter().map(|part| part.state).max().unwrap_or(PartState::Unknown)
    }
}
