//! Services that Consul knows: first the catalogue of names, then for each name its instances.
//!
//! Both are asked by blocking queries: a request with the index of the last answer is answered when
//! something has changed. Instances are targets with meta labels `__meta_consul_*`.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;
use vedette_config::discovery::Consul;
use vedette_model::{ADDRESS_LABEL, Labels, TargetGroup};

use super::{host_port, label_name, null_as_default};

/// The targets of one `consul_sd_configs` entry.
#[derive(Debug)]
pub struct ConsulTargets {
    config: Consul,
    /// The last good group of each service that is watched; `None` before its first answer.
    services: BTreeMap<String, Option<TargetGroup>>,
}

/// An instance of a service, with the fields that become labels.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Node,
    service: Service,
    #[serde(default, deserialize_with = "null_as_default")]
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    datacenter: String,
    #[serde(default, deserialize_with = "null_as_default")]
    tagged_addresses: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    meta: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default, deserialize_with = "null_as_default")]
    tags: Vec<String>,
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    partition: String,
    #[serde(default, deserialize_with = "null_as_default")]
    meta: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
}

impl ConsulTargets {
    /// Nothing is asked yet.
    pub fn new(config: Consul) -> Self {
        Self { config, services: BTreeMap::new() }
    }

    /// How the server is reached.
    pub fn config(&self) -> &Consul {
        &self.config
    }

    /// Where the catalogue of services is, waiting for a change since `index`; 0 does not wait.
    pub fn catalogue_url(&self, index: u64) -> Result<Url, url::ParseError> {
        let mut url = self.url(&["catalog", "services"], index)?;
        if !self.config.filter.is_empty() {
            url.query_pairs_mut().append_pair("filter", &self.config.filter);
        }
        Ok(url)
    }

    /// Where the instances of a service are, waiting for a change since `index`; 0 does not wait.
    pub fn service_url(&self, service: &str, index: u64) -> Result<Url, url::ParseError> {
        let mut url = self.url(&["health", "service", service], index)?;
        let mut query = url.query_pairs_mut();
        for tag in &self.config.tags {
            query.append_pair("tag", tag);
        }
        if !self.config.health_filter.is_empty() {
            query.append_pair("filter", &self.config.health_filter);
        }
        drop(query);
        Ok(url)
    }

    fn url(&self, path: &[&str], index: u64) -> Result<Url, url::ParseError> {
        const WAIT: &str = "120000ms";
        let config = &self.config;
        let mut url = Url::parse(&format!("{}://{}", config.scheme, config.server))?;
        let prefix = config.path_prefix.split('/').filter(|part| !part.is_empty());
        url.path_segments_mut()
            .map_err(|()| url::ParseError::SetHostOnCannotBeABaseUrl)?
            .clear()
            .extend(prefix)
            .push("v1")
            .extend(path);
        let mut query = url.query_pairs_mut();
        for (name, value) in
            [("dc", &config.datacenter), ("ns", &config.namespace), ("partition", &config.partition)]
        {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if config.allow_stale {
            query.append_pair("stale", "");
        }
        for (name, value) in &config.node_meta {
            query.append_pair("node-meta", &format!("{name}:{value}"));
        }
        if index > 0 {
            query.append_pair("index", &index.to_string()).append_pair("wait", WAIT);
        }
        drop(query);
        // Without any parameter a question mark is left.
        if url.query() == Some("") {
            url.set_query(None);
        }
        Ok(url)
    }

    /// Takes the catalogue: names of services with their tags. Targets of services that are gone go.
    pub fn take_catalogue(&mut self, body: &[u8]) -> Result<(), String> {
        let all: BTreeMap<String, Option<Vec<String>>> =
            serde_json::from_slice(body).map_err(|e| format!("the catalogue of services is broken: {e}"))?;
        let config = &self.config;
        let is_wanted = |name: &String, tags: &[String]| {
            (config.services.is_empty() || config.services.contains(name))
                && config.tags.iter().all(|tag| tags.contains(tag))
        };
        let wanted =
            all.into_iter().filter(|(name, tags)| is_wanted(name, tags.as_deref().unwrap_or_default()));
        let mut before = std::mem::take(&mut self.services);
        self.services = wanted.map(|(name, _)| before.remove_entry(&name).unwrap_or((name, None))).collect();
        Ok(())
    }

    /// The services that are watched.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    /// Takes the instances of a service. A broken answer changes nothing.
    pub fn take_service(&mut self, service: &str, body: &[u8]) -> Result<(), String> {
        let Some(group) = self.services.get_mut(service) else { return Ok(()) };
        let instances: Vec<Instance> = serde_json::from_slice(body)
            .map_err(|e| format!("the instances of the service {service:?} are broken: {e}"))?;
        *group = Some(TargetGroup {
            source: service.to_owned(),
            targets: instances.iter().map(|instance| target(&self.config, instance)).collect(),
            labels: Labels::from_pairs([("__meta_consul_service", service)]),
        });
        Ok(())
    }

    /// The groups of all services.
    pub fn groups(&self) -> Vec<TargetGroup> {
        self.services.values().flatten().cloned().collect()
    }
}

fn target(config: &Consul, instance: &Instance) -> Labels {
    let Instance { node, service, checks } = instance;
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let datacenter = if config.datacenter.is_empty() { &node.datacenter } else { &config.datacenter };
    let separator = &config.tag_separator;
    // Separators on both sides make every tag easy to match.
    let tags = format!("{separator}{}{separator}", service.tags.join(separator));
    let port = service.port.to_string();
    let mut labels = Labels::from_pairs([
        (ADDRESS_LABEL, host_port(host, service.port).as_str()),
        ("__meta_consul_address", &node.address),
        ("__meta_consul_dc", datacenter),
        ("__meta_consul_node", &node.node),
        ("__meta_consul_namespace", &service.namespace),
        ("__meta_consul_partition", &service.partition),
        ("__meta_consul_tags", &tags),
        ("__meta_consul_service_address", &service.address),
        ("__meta_consul_service_port", &port),
        ("__meta_consul_service_id", &service.id),
        ("__meta_consul_health", health(checks)),
    ])
    .to_builder();
    for (prefix, map) in [
        ("__meta_consul_metadata_", &node.meta),
        ("__meta_consul_service_metadata_", &service.meta),
        ("__meta_consul_tagged_address_", &node.tagged_addresses),
    ] {
        for (name, value) in map {
            labels.set(&label_name(prefix, name), value);
        }
    }
    labels.build()
}

/// The worst of all checks; maintenance goes before all.
fn health(checks: &[Check]) -> &'static str {
    let is_maintenance = |c: &Check| c.id == "_node_maintenance" || c.id.starts_with("_service_maintenance:");
    if checks.iter().any(|c| is_maintenance(c) || c.status == "maintenance") {
        return "maintenance";
    }
    for status in ["critical", "warning"] {
        if checks.iter().any(|c| c.status == status) {
            return status;
        }
    }
    if checks.iter().all(|c| c.status == "passing") { "passing" } else { "" }
}

#[cfg(test)]
mod tests {
    use vedette_config::discovery::Discovery;

    use super::*;
    use crate::pool::tests::job;

    fn targets(keys: &str) -> ConsulTargets {
        let job = job(&format!("consul_sd_configs: [{{{keys}}}]"));
        match &job.discoveries[0] {
            Discovery::Consul(config) => ConsulTargets::new((**config).clone()),
            other => panic!("{other:?}"),
        }
    }

    /// In the form of Consul 1.17, made up.
    const INSTANCES: &str = r#"[
      {"Node": {"ID": "x", "Node": "n-1", "Address": "10.0.0.1", "Datacenter": "dc1",
                "TaggedAddresses": {"lan": "10.0.0.1", "wan-v4": "1.2.3.4"}, "Meta": {"rack-id": "7"}},
       "Service": {"ID": "web-1", "Service": "web", "Tags": ["a", "b"], "Address": "", "Meta": null, "Port": 80},
       "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "c", "Status": "warning"}]},
      {"Node": {"Node": "n-2", "Address": "fd00::1", "Datacenter": "dc1"},
       "Service": {"ID": "web-2", "Tags": null, "Address": "fd00::2", "Meta": {"v": "2"}, "Port": 8080}}
    ]"#;

    #[test]
    fn instances_become_targets() {
        let mut targets = targets("server: 'c:8500'");
        targets.take_catalogue(br#"{"web": ["a", "b"], "consul": []}"#).expect("sound");
        assert_eq!(targets.services().collect::<Vec<_>>(), ["consul", "web"]);
        targets.take_service("web", INSTANCES.as_bytes()).expect("sound");
        targets.take_service("unknown", b"nobody asked").expect("ignored");
        let found: Vec<Labels> = targets.groups().iter().flat_map(TargetGroup::discovered).collect();
        let expected = [
            ("__address__", "10.0.0.1:80"),
            ("__meta_consul_address", "10.0.0.1"),
            ("__meta_consul_dc", "dc1"),
            ("__meta_consul_health", "warning"),
            ("__meta_consul_metadata_rack_id", "7"),
            ("__meta_consul_node", "n-1"),
            ("__meta_consul_service", "web"),
            ("__meta_consul_service_id", "web-1"),
            ("__meta_consul_service_port", "80"),
            ("__meta_consul_tagged_address_lan", "10.0.0.1"),
            ("__meta_consul_tagged_address_wan_v4", "1.2.3.4"),
            ("__meta_consul_tags", ",a,b,"),
        ];
        assert_eq!(found[0], Labels::from_pairs(expected));
        assert_eq!(found[1].get("__address__"), Some("[fd00::2]:8080"));
        assert_eq!(found[1].get("__meta_consul_service_metadata_v"), Some("2"));
        assert_eq!((found[1].get("__meta_consul_health"), found.len()), (Some("passing"), 2));
        // What is broken changes nothing, a service that is gone takes its targets along.
        targets.take_service("web", b"[{}]").expect_err("no node");
        targets.take_catalogue(b"[]").expect_err("no catalogue");
        assert_eq!(targets.groups()[0].targets.len(), 2);
        targets.take_catalogue(br#"{"consul": null}"#).expect("sound");
        assert!(targets.groups().is_empty());
    }

    #[test]
    fn only_what_is_wanted_is_watched_and_asked_for() {
        let mut targets = targets(
            "server: 'c:1', scheme: https, path_prefix: /x/, datacenter: d, services: [web, db], tags: [t], \
             node_meta: {rack: '1'}, filter: 'a == b', health_filter: h",
        );
        targets.take_catalogue(br#"{"web": ["t"], "db": ["u"], "other": ["t"]}"#).expect("sound");
        assert_eq!(targets.services().collect::<Vec<_>>(), ["web"]);
        assert_eq!(
            targets.catalogue_url(0).expect("a URL").as_str(),
            "https://c:1/x/v1/catalog/services?dc=d&stale=&node-meta=rack%3A1&filter=a+%3D%3D+b"
        );
        assert_eq!(
            targets.service_url("a/b", 7).expect("a URL").as_str(),
            "https://c:1/x/v1/health/service/a%2Fb?dc=d&stale=&node-meta=rack%3A1&index=7&wait=120000ms&tag=t&filter=h"
        );
    }

    #[test]
    fn health_is_the_worst_of_all_checks() {
        let checks = |all: &[(&str, &str)]| {
            let all: Vec<Check> =
                all.iter().map(|(id, status)| Check { id: (*id).into(), status: (*status).into() }).collect();
            health(&all)
        };
        assert_eq!(checks(&[]), "passing");
        assert_eq!(checks(&[("a", "passing"), ("b", "critical"), ("c", "warning")]), "critical");
        assert_eq!(checks(&[("_node_maintenance", "critical")]), "maintenance");
        assert_eq!(checks(&[("a", "strange")]), "");
    }
}
