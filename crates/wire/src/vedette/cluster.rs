//! How clusters are.

use serde::Serialize;
use vedette_model::cluster::{ClusterCertificate as Held, ClusterPart as Told, ClusterStatus};

/// Answer of `/api/vedette/v1/clusters`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ClustersAnswer<'a> {
    /// The clusters that are watched, in the order of the configuration.
    pub clusters: Vec<Cluster<'a>>,
}

/// A cluster that is watched.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Cluster<'a> {
    /// What it is called.
    pub name: &'a str,
    /// The version that its API server tells; empty until it does.
    pub version: &'a str,
    /// How its worst part is.
    #[cfg_attr(test, ts(type = "PartState"))]
    pub state: &'static str,
    /// Its parts, the worst first.
    pub parts: Vec<ClusterPart<'a>>,
    /// Instances of parts that are not told, as there are too many.
    #[cfg_attr(test, ts(type = "number"))]
    pub left_out: u64,
    /// Certificates by which Vedette and the parts know each other, the first that ends first.
    pub certificates: Vec<ClusterCertificate<'a>>,
}

/// A certificate by which Vedette and a part of a cluster know each other.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ClusterCertificate<'a> {
    /// Which part, as `apiserver`.
    pub part: &'a str,
    /// Which of them: an address.
    pub instance: &'a str,
    /// What it is for: `server` and `server_chain` the part shows, `client` Vedette shows, `authority` is trusted.
    #[cfg_attr(test, ts(type = "CertificateRole"))]
    pub role: &'static str,
    /// Whom it names.
    pub subject: &'a str,
    /// Who signed it.
    pub issuer: &'a str,
    /// When it begins.
    #[cfg_attr(test, ts(type = "number"))]
    pub not_before_unix_ms: i64,
    /// When it ends.
    #[cfg_attr(test, ts(type = "number"))]
    pub not_after_unix_ms: i64,
}

/// A part of a cluster, or one of several of the same kind.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ClusterPart<'a> {
    /// Which, as `apiserver`.
    pub part: &'a str,
    /// Which of them: a node, or an address; empty where there is only one.
    pub instance: &'a str,
    /// How it is.
    #[cfg_attr(test, ts(type = "PartState"))]
    pub state: &'static str,
    /// Why it is not healthy, in one word; empty where it is.
    pub cause: &'a str,
    /// What was seen.
    pub evidence: &'a str,
    /// What a person does next.
    pub next_step: &'a str,
    /// Since when it is in this state.
    #[cfg_attr(test, ts(type = "number"))]
    pub since_unix_ms: i64,
}

impl<'a> From<&'a ClusterStatus> for Cluster<'a> {
    fn from(status: &'a ClusterStatus) -> Self {
        let mut parts: Vec<&Told> = status.parts.iter().collect();
        // Within a state they keep the order of their names.
        parts.sort_by_key(|part| std::cmp::Reverse(part.state));
        let mut certificates: Vec<&Held> = status.certificates.iter().collect();
        certificates.sort_by_key(|held| held.not_after_unix_s);
        Self {
            name: &status.name,
            version: &status.version,
            state: status.state().as_str(),
            parts: parts.into_iter().map(ClusterPart::from).collect(),
            left_out: status.left_out,
            certificates: certificates.into_iter().map(ClusterCertificate::from).collect(),
        }
    }
}

impl<'a> From<&'a Held> for ClusterCertificate<'a> {
    fn from(held: &'a Held) -> Self {
        Self {
            part: held.part,
            instance: &held.instance,
            role: held.role.as_str(),
            subject: &held.subject,
            issuer: &held.issuer,
            not_before_unix_ms: held.not_before_unix_s.saturating_mul(1000),
            not_after_unix_ms: held.not_after_unix_s.saturating_mul(1000),
        }
    }
}

impl<'a> From<&'a Told> for ClusterPart<'a> {
    fn from(part: &'a Told) -> Self {
        Self {
            part: part.part,
            instance: &part.instance,
            state: part.state.as_str(),
            cause: part.cause,
            evidence: &part.evidence,
            next_step: part.next_step,
            since_unix_ms: part.since_unix_ms,
        }
    }
}
