//! Names whose records are targets. Meta labels: `__meta_dns_name`, and for some records
//! `__meta_dns_srv_record_target`, `__meta_dns_srv_record_port`, `__meta_dns_mx_record_target`,
//! `__meta_dns_ns_record_target`.

use std::net::IpAddr;

use vedette_config::discovery::{DnsDiscovery, DnsRecord};
use vedette_model::{ADDRESS_LABEL, Labels, TargetGroup};

/// One record that a name server told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsAnswer {
    /// A service at a host and port.
    Srv {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// An address.
    Address(IpAddr),
    /// A mail server.
    Mx(String),
    /// A name server.
    Ns(String),
}

/// The targets of one `dns_sd_configs` entry.
#[derive(Debug)]
pub struct DnsTargets {
    config: DnsDiscovery,
    /// The last good group of each name.
    groups: Vec<TargetGroup>,
}

impl DnsTargets {
    /// Nothing is asked yet.
    pub fn new(config: DnsDiscovery) -> Self {
        let empty = |name: &String| TargetGroup { source: name.clone(), ..TargetGroup::default() };
        Self { groups: config.names.iter().map(empty).collect(), config }
    }

    /// The names that are asked for.
    pub fn names(&self) -> &[String] {
        &self.config.names
    }

    /// The records that are asked for.
    pub fn record(&self) -> DnsRecord {
        self.config.record
    }

    /// Takes the answers for the name with this number. Records of another kind do not count; a name
    /// that could not be asked for keeps its targets, so only answers come here.
    pub fn take(&mut self, name: usize, answers: &[DnsAnswer]) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let (config, name) = (&self.config, &self.config.names[name]);
        group.targets = answers.iter().filter_map(|answer| target(config, name, answer)).collect();
    }

    /// The groups of all names.
    pub fn groups(&self) -> &[TargetGroup] {
        &self.groups
    }
}

fn target(config: &DnsDiscovery, name: &str, answer: &DnsAnswer) -> Option<Labels> {
    let at = |host: &str, port: u16| format!("{}:{port}", host.trim_end_matches('.'));
    let mut labels = Labels::from_pairs([("__meta_dns_name", name)]).to_builder();
    match (answer, config.record) {
        (DnsAnswer::Srv { host, port }, DnsRecord::Srv) => {
            labels.set(ADDRESS_LABEL, &at(host, *port));
            labels.set("__meta_dns_srv_record_target", host);
            labels.set("__meta_dns_srv_record_port", &port.to_string());
        }
        (DnsAnswer::Address(IpAddr::V4(ip)), DnsRecord::A) => {
            labels.set(ADDRESS_LABEL, &format!("{ip}:{}", config.port));
        }
        (DnsAnswer::Address(IpAddr::V6(ip)), DnsRecord::Aaaa) => {
            labels.set(ADDRESS_LABEL, &format!("[{ip}]:{}", config.port));
        }
        (DnsAnswer::Mx(host), DnsRecord::Mx) => {
            labels.set(ADDRESS_LABEL, &at(host, config.port));
            labels.set("__meta_dns_mx_record_target", host);
        }
        (DnsAnswer::Ns(host), DnsRecord::Ns) => {
            labels.set(ADDRESS_LABEL, &at(host, config.port));
            labels.set("__meta_dns_ns_record_target", host);
        }
        _ => return None,
    }
    Some(labels.build())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn targets(record: DnsRecord) -> DnsTargets {
        DnsTargets::new(DnsDiscovery {
            names: vec!["n.example".into(), "other".into()],
            record,
            port: 9100,
            refresh_interval: Duration::from_secs(30),
        })
    }

    fn found(targets: &DnsTargets) -> Vec<String> {
        targets.groups().iter().flat_map(TargetGroup::discovered).map(|l| l.to_string()).collect()
    }

    #[test]
    fn records_become_targets() {
        let ip = |text: &str| DnsAnswer::Address(text.parse().expect("an address"));
        let srv = DnsAnswer::Srv { host: "h.example.".into(), port: 80 };
        let all = [srv, ip("1.2.3.4"), ip("::1"), DnsAnswer::Mx("m.".into()), DnsAnswer::Ns("s".into())];
        for (record, expected) in [
            (
                DnsRecord::Srv,
                "{__address__=\"h.example:80\", __meta_dns_name=\"n.example\", \
                 __meta_dns_srv_record_port=\"80\", __meta_dns_srv_record_target=\"h.example.\"}",
            ),
            (DnsRecord::A, "{__address__=\"1.2.3.4:9100\", __meta_dns_name=\"n.example\"}"),
            (DnsRecord::Aaaa, "{__address__=\"[::1]:9100\", __meta_dns_name=\"n.example\"}"),
            (
                DnsRecord::Mx,
                "{__address__=\"m:9100\", __meta_dns_mx_record_target=\"m.\", __meta_dns_name=\"n.example\"}",
            ),
            (
                DnsRecord::Ns,
                "{__address__=\"s:9100\", __meta_dns_name=\"n.example\", __meta_dns_ns_record_target=\"s\"}",
            ),
        ] {
            let mut targets = targets(record);
            targets.take(0, &all);
            assert_eq!(found(&targets), [expected]);
        }
    }

    #[test]
    fn each_name_has_its_own_answers() {
        let mut targets = targets(DnsRecord::Mx);
        targets.take(0, &[DnsAnswer::Mx("a".into())]);
        targets.take(1, &[DnsAnswer::Mx("b".into()), DnsAnswer::Mx("c".into())]);
        assert_eq!(found(&targets).len(), 3);
        targets.take(1, &[]);
        targets.take(7, &[DnsAnswer::Mx("nobody asked".into())]);
        assert_eq!(found(&targets).len(), 1);
        assert_eq!(targets.groups()[1].source, "other");
    }
}
