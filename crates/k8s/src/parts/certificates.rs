//! Certificates by which we and the parts know each other: how long they last, and what it means that one ended.

use std::collections::BTreeMap;

use vedette_http_client::{Certificate, CertificateRole};
use vedette_model::cluster::{ClusterCertificate, ClusterCertificateRole};

use super::{
    causes::{CERTIFICATE_OUTLIVED, CLIENT_EXPIRED},
    track::Seen,
};

/// Servers whose certificates are kept; members of the store and endpoints are bounded, too.
const SERVERS_MAX: usize = 256;

/// The certificates of all parts that speak to us encrypted.
#[derive(Debug, Default)]
pub(super) struct Certificates(BTreeMap<(&'static str, Box<str>), Vec<Certificate>>);

impl Certificates {
    /// Takes those between us and a part. What it showed before stays known while it shows nothing.
    pub(super) fn take(&mut self, part: &'static str, instance: &str, mut found: Vec<Certificate>) {
        if found.is_empty() {
            return;
        }
        let key = (part, Box::from(instance));
        if let Some(known) = self.0.get_mut(&key) {
            let shows = |one: &Certificate| is_of_server(one.role);
            if !found.iter().any(shows) {
                found.extend(known.drain(..).filter(shows));
            }
            *known = found;
        } else if self.0.len() < SERVERS_MAX {
            self.0.insert(key, found);
        }
    }

    /// What was seen, once it is known which certificates have ended.
    pub(super) fn explain(&self, part: &'static str, instance: &str, seen: Seen, unix_ms: i64) -> Seen {
        let unix_s = unix_ms.div_euclid(1000);
        let Some(known) = self.0.get(&(part, Box::from(instance))) else { return seen };
        let ended = |is_meant: fn(CertificateRole) -> bool| {
            let ended = known.iter().filter(|one| is_meant(one.role) && one.has_ended(unix_s));
            ended.min_by_key(|one| one.not_after_unix_s).map(told)
        };
        match seen.cause.map(|cause| cause.word) {
            // A connection that is open, or whoever does not check, does not notice.
            None => match ended(is_of_server) {
                Some(told) => Seen::wrong(CERTIFICATE_OUTLIVED, told),
                None => seen,
            },
            Some("certificate_expired") => match ended(is_of_server) {
                Some(told) => Seen { evidence: format!("{}; {told}", seen.evidence), ..seen },
                None => seen,
            },
            Some("credentials" | "client_certificate_refused") => {
                match ended(|role| role == CertificateRole::Client) {
                    Some(told) => Seen::wrong(CLIENT_EXPIRED, format!("{}; {told}", seen.evidence)),
                    None => seen,
                }
            }
            Some(_) => seen,
        }
    }

    /// All, in the order of parts and instances.
    pub(super) fn told(&self) -> Vec<ClusterCertificate> {
        let all = self
            .0
            .iter()
            .flat_map(|((part, instance), all)| all.iter().map(move |one| (part, instance, one)));
        all.map(|(part, instance, one)| ClusterCertificate {
            part,
            instance: instance.clone(),
            role: match one.role {
                CertificateRole::Server => ClusterCertificateRole::Server,
                CertificateRole::ServerChain => ClusterCertificateRole::ServerChain,
                CertificateRole::Client => ClusterCertificateRole::Client,
                CertificateRole::Authority => ClusterCertificateRole::Authority,
            },
            subject: one.subject.clone(),
            issuer: one.issuer.clone(),
            not_before_unix_s: one.not_before_unix_s,
            not_after_unix_s: one.not_after_unix_s,
        })
        .collect()
    }
}

fn is_of_server(role: CertificateRole) -> bool {
    matches!(role, CertificateRole::Server | CertificateRole::ServerChain)
}

/// For people: which one, and when it ended. Not how long ago that is: the text stands in a label.
fn told(one: &Certificate) -> String {
    let subject = if one.subject.is_empty() { "without a name" } else { &*one.subject };
    let ended = jiff::Timestamp::from_second(one.not_after_unix_s).unwrap_or(jiff::Timestamp::MAX);
    format!("the certificate {subject} ended at {}", ended.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::causes::{CERTIFICATE_EXPIRED, CREDENTIALS, SERVER_SLOW};

    fn one(role: CertificateRole, subject: &str, not_after_unix_s: i64) -> Certificate {
        let (subject, issuer) = (subject.to_owned(), "ca".to_owned());
        Certificate { role, subject, issuer, not_before_unix_s: 0, not_after_unix_s }
    }

    #[test]
    fn what_has_ended_explains_what_was_seen() {
        let mut all = Certificates::default();
        let found = vec![
            one(CertificateRole::Server, "kube-apiserver", 2_000),
            one(CertificateRole::ServerChain, "middle", 1_000),
            one(CertificateRole::Client, "admin", 1_500),
            one(CertificateRole::Authority, "ca", 500),
        ];
        all.take("apiserver", "a:1", found);
        let told = |cause: Option<&'static super::super::causes::Cause>, unix_s: i64| {
            let seen = cause.map_or_else(Seen::good, |cause| Seen::wrong(cause, "said"));
            let seen = all.explain("apiserver", "a:1", seen, unix_s * 1000 + 999);
            (seen.cause.map_or("", |cause| cause.word), seen.evidence)
        };
        assert_eq!(told(None, 1_000), ("", String::new()), "an authority alone says nothing of the server");
        let middle = "the certificate middle ended at 1970-01-01T00:16:40Z";
        assert_eq!(told(None, 1_001), ("certificate_outlived", middle.to_owned()));
        assert_eq!(
            told(Some(CERTIFICATE_EXPIRED), 3_000),
            ("certificate_expired", format!("said; {middle}"))
        );
        assert_eq!(told(Some(CREDENTIALS), 1_500), ("credentials", "said".to_owned()));
        let admin = "said; the certificate admin ended at 1970-01-01T00:25:00Z";
        assert_eq!(told(Some(CREDENTIALS), 1_501), ("client_certificate_expired", admin.to_owned()));
        assert_eq!(told(Some(SERVER_SLOW), 3_000), ("slow", "said".to_owned()));
        assert_eq!(all.explain("etcd", "a:1", Seen::good(), i64::MAX), Seen::good());
    }

    #[test]
    fn what_a_server_showed_is_known_until_it_shows_another() {
        let mut all = Certificates::default();
        let server = |until| one(CertificateRole::Server, "s", until);
        let client = |until| one(CertificateRole::Client, "c", until);
        all.take("apiserver", "a:1", vec![server(1), client(2)]);
        // A client that is made anew has not been shown anything yet.
        all.take("apiserver", "a:1", vec![client(3)]);
        let told = |all: &Certificates| -> Vec<i64> {
            all.told().iter().map(|certificate| certificate.not_after_unix_s).collect()
        };
        assert_eq!(told(&all), [3, 1]);
        all.take("apiserver", "a:1", vec![server(9), client(3)]);
        assert_eq!(told(&all), [9, 3]);
        (0..2 * SERVERS_MAX).for_each(|n| all.take("etcd", &n.to_string(), vec![server(1)]));
        assert_eq!(all.told().len(), SERVERS_MAX + 1);
    }
}
