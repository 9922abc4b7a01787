//! How the parts of watched clusters are: told as metrics, on the status board and to the API.

use std::sync::Arc;

use parking_lot::RwLock;
use vedette_http_client::Options;
use vedette_k8s::parts::{Config, Parts, watch};
use vedette_model::{
    cluster::{ClusterCertificate, ClusterFigureKind, ClusterPart, ClusterStatus, PartState},
    status::{Health, Part, StatusBoard},
    telemetry::{Family, MetricSource, MetricVisitor},
};

use crate::clusters::Connected;

/// On the status board no more parts are named.
const NAMED_MAX: usize = 5;

const UP: Family = Family::gauge(
    "vedette_cluster_part_up",
    "Whether a part of a cluster does its work: 1 where it does, also where only in part, 0 where it does not, NaN where that cannot be asked.",
);
const PROBLEM: Family = Family::gauge(
    "vedette_cluster_part_problem_info",
    "1 for a part of a cluster that is not healthy, with the cause, what was seen and what to do next.",
);
const LEFT_OUT: Family = Family::gauge(
    "vedette_cluster_parts_left_out",
    "Instances of parts of a cluster that are not told, as there are too many.",
);
const NOT_AFTER: Family = Family::gauge(
    "vedette_cluster_certificate_not_after_seconds",
    "When a certificate by which Vedette and a part of a cluster know each other ends, in seconds since the Unix epoch.",
);
const NOT_BEFORE: Family = Family::gauge(
    "vedette_cluster_certificate_not_before_seconds",
    "When such a certificate begins, in seconds since the Unix epoch.",
);
/// Figures of parts; the kind, and its family.
const FIGURES: [(ClusterFigureKind, Family); 4] = [
    (
        ClusterFigureKind::ProbeSeconds,
        Family::gauge(
            "vedette_cluster_part_probe_seconds",
            "How long the last answer of a part to a question about its health took, in seconds.",
        ),
    ),
    (
        ClusterFigureKind::LeaseAgeSeconds,
        Family::gauge(
            "vedette_cluster_part_lease_age_seconds",
            "How long ago a renewal of the lease of a part was seen, in seconds.",
        ),
    ),
    (
        ClusterFigureKind::DatabaseBytes,
        Family::gauge("vedette_cluster_part_database_bytes", "Bytes of the database of a member of etcd."),
    ),
    (
        ClusterFigureKind::DatabaseQuotaBytes,
        Family::gauge(
            "vedette_cluster_part_database_quota_bytes",
            "Bytes that the database of a member of etcd may have.",
        ),
    ),
];

/// The parts of all clusters of the configuration. Clones share them.
#[derive(Clone, Default)]
pub struct ClusterParts(Arc<RwLock<Vec<Parts>>>);

impl ClusterParts {
    /// A cluster is to be watched; nothing is known of it until it is.
    pub fn add(&self, name: Arc<str>) -> Parts {
        let parts = Parts::new(name);
        self.0.write().push(parts.clone());
        parts
    }

    /// How all are now.
    pub fn all(&self) -> Vec<Arc<ClusterStatus>> {
        self.0.read().iter().map(Parts::status).collect()
    }
}

/// Watches the parts of a cluster that can be asked, for as long as the process runs.
pub async fn run(parts: Parts, connected: Connected, config: Config, options: Options, board: StatusBoard) {
    let name = format!("cluster {} parts", connected.name);
    let server = connected.api.connection().address();
    let (told, mut news) = tokio::sync::watch::channel(());
    let watched = watch(parts.clone(), connected.hub, connected.api, config, &options, told);
    let post = async {
        while news.changed().await.is_ok() {
            board.post(&name, account(&parts.status(), &server));
        }
    };
    let failed = tokio::select! {
        failed = watched => failed,
        () = post => Ok(()),
    };
    if let Err(error) = failed {
        let remedy = "Mend kubernetes[].etcd and kubernetes[].probes in the configuration and start again.";
        board.post(&name, Part::new(Health::Failed, error.to_string(), remedy));
    }
}

/// A cluster on the status board, the worst parts first.
fn account(status: &ClusterStatus, server: &str) -> Part {
    let mut wrong: Vec<&ClusterPart> =
        status.parts.iter().filter(|part| part.state > PartState::Unknown).collect();
    wrong.sort_by_key(|part| std::cmp::Reverse(part.state));
    let part = match wrong.first() {
        None => Part::ok(),
        Some(worst) => {
            let tell = |part: &&ClusterPart| {
                let instance = if part.instance.is_empty() { "" } else { " " };
                format!("{}{instance}{} {}: {}", part.part, part.instance, part.state.as_str(), part.evidence)
            };
            let mut text = wrong.iter().take(NAMED_MAX).map(tell).collect::<Vec<_>>().join("; ");
            if wrong.len() > NAMED_MAX {
                text.push_str(&format!("; and {} more", wrong.len() - NAMED_MAX));
            }
            // Vedette does its own work; that of the cluster has alerts of its own.
            Part::new(Health::Degraded, text, worst.next_step)
        }
    };
    let count = |state| status.parts.iter().filter(|part| part.state == state).count();
    part.fact("API server", server)
        .fact("version", &status.version)
        .fact("parts healthy", count(PartState::Healthy))
        .fact("parts unknown", count(PartState::Unknown))
        .fact("parts not told, as there are too many", status.left_out)
}

impl MetricSource for ClusterParts {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        tell_parts(&self.all(), visitor);
    }
}

fn tell_parts(all: &[Arc<ClusterStatus>], visitor: &mut dyn MetricVisitor) {
    let each = |tell: &mut dyn FnMut(&ClusterStatus, &ClusterPart)| {
        for status in all {
            status.parts.iter().for_each(|part| tell(status, part));
        }
    };
    each(&mut |status, part| {
        let value = match part.state {
            PartState::Healthy | PartState::Degraded => 1.0,
            PartState::Failed => 0.0,
            PartState::Unknown => f64::NAN,
        };
        let labels = [("cluster", &*status.name), ("part", part.part), ("instance", &part.instance)];
        visitor.value(&UP, &labels, value);
    });
    each(&mut |status, part| {
        if part.state == PartState::Healthy {
            return;
        }
        let labels = [
            ("cluster", &*status.name),
            ("part", part.part),
            ("instance", &part.instance),
            ("state", part.state.as_str()),
            ("cause", part.cause),
            ("evidence", &part.evidence),
            ("next_step", part.next_step),
        ];
        visitor.value(&PROBLEM, &labels, 1.0);
    });
    for status in all {
        #[expect(clippy::cast_precision_loss, reason = "instances are counted")]
        visitor.value(&LEFT_OUT, &[("cluster", &status.name)], status.left_out as f64);
    }
    for (kind, family) in &FIGURES {
        for status in all {
            for figure in status.figures.iter().filter(|figure| figure.kind == *kind) {
                let labels =
                    [("cluster", &*status.name), ("part", figure.part), ("instance", &figure.instance)];
                visitor.value(family, &labels, figure.value);
            }
        }
    }
    tell_certificates(all, visitor);
}

fn tell_certificates(all: &[Arc<ClusterStatus>], visitor: &mut dyn MetricVisitor) {
    type Seconds = fn(&ClusterCertificate) -> i64;
    let seconds: [(&Family, Seconds); 2] =
        [(&NOT_AFTER, |one| one.not_after_unix_s), (&NOT_BEFORE, |one| one.not_before_unix_s)];
    for (family, of) in seconds {
        for status in all {
            for one in &status.certificates {
                let labels = [
                    ("cluster", &*status.name),
                    ("part", one.part),
                    ("instance", &one.instance),
                    ("role", one.role.as_str()),
                    ("subject", &one.subject),
                ];
                #[expect(clippy::cast_precision_loss, reason = "years have four digits")]
                visitor.value(family, &labels, of(one) as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vedette_model::cluster::ClusterCertificateRole;

    use super::*;

    #[derive(Default)]
    struct Told(Vec<String>);

    impl MetricVisitor for Told {
        fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            self.0.push(format!("{} {} {value}", family.name, labels.join(",")));
        }
    }

    #[test]
    fn certificates_are_told_with_their_ends() {
        let mut status = ClusterStatus::new("c".into());
        let one = |role, subject: &str, not_after_unix_s| ClusterCertificate {
            part: "etcd",
            instance: "a:1".into(),
            role,
            subject: subject.to_owned(),
            issuer: "ca".to_owned(),
            not_before_unix_s: 5,
            not_after_unix_s,
        };
        status.certificates = vec![
            one(ClusterCertificateRole::Server, "s", 1_795_305_600),
            one(ClusterCertificateRole::Client, "", 7),
        ];
        let mut told = Told::default();
        tell_parts(&[Arc::new(status)], &mut told);
        told.0.retain(|line| line.contains("certificate"));
        let labels = ["role=server,subject=s", "role=client,subject="];
        let expected = [("not_after", ["1795305600", "7"]), ("not_before", ["5", "5"])];
        let expected: Vec<String> = expected
            .iter()
            .flat_map(|(which, values)| {
                labels.iter().zip(values).map(move |(labels, value)| {
                    format!("vedette_cluster_certificate_{which}_seconds cluster=c,part=etcd,instance=a:1,{labels} {value}")
                })
            })
            .collect();
        assert_eq!(told.0, expected);
    }
}
