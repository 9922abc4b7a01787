//! Containers that a Docker daemon runs, one target for each network and TCP port, with meta labels
//! `__meta_docker_*`.

use std::collections::BTreeMap;

use serde::Deserialize;
use vedette_config::discovery::Docker;
use vedette_model::{ADDRESS_LABEL, LabelsBuilder, TargetGroup};

use super::{host_port, label_name, null_as_default};

/// The targets of one `docker_sd_configs` entry.
#[derive(Debug)]
pub struct DockerTargets {
    config: Docker,
    group: TargetGroup,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default, deserialize_with = "null_as_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    ports: Vec<Port>,
    #[serde(default, deserialize_with = "null_as_default")]
    host_config: HostConfig,
    #[serde(default, deserialize_with = "null_as_default")]
    network_settings: NetworkSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", default)]
    ip: String,
    private_port: u16,
    #[serde(default)]
    public_port: u16,
    #[serde(rename = "Type", default)]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default, deserialize_with = "null_as_default")]
    networks: BTreeMap<String, Option<Endpoint>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(rename = "NetworkID", default)]
    network: String,
    #[serde(rename = "IPAddress", default)]
    ipv4: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    ipv6: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    ingress: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
}

impl DockerTargets {
    /// Nothing is asked yet.
    pub fn new(config: Docker) -> Self {
        let group = TargetGroup { source: "Docker".into(), ..TargetGroup::default() };
        Self { config, group }
    }

    /// How the daemon is reached.
    pub fn config(&self) -> &Docker {
        &self.config
    }

    /// The path and query of the list of containers.
    pub fn containers_path(&self) -> String {
        let mut filters: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        for filter in &self.config.filters {
            let values = filter.values.iter().map(|value| (value.as_str(), true));
            filters.entry(&filter.name).or_default().extend(values);
        }
        if filters.is_empty() {
            return "/containers/json".to_owned();
        }
        let filters = serde_json::to_string(&filters).expect("BUG: a map of texts can be written as JSON");
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters).finish();
        format!("/containers/json?{query}")
    }

    /// The path of the list of networks.
    pub fn networks_path(&self) -> &'static str {
        "/networks"
    }

    /// Takes both lists. A broken one changes nothing.
    pub fn take(&mut self, containers: &[u8], networks: &[u8]) -> Result<(), String> {
        let containers: Vec<Container> = serde_json::from_slice(containers)
            .map_err(|e| format!("the list of containers is broken: {e}"))?;
        let networks: Vec<Network> =
            serde_json::from_slice(networks).map_err(|e| format!("the list of networks is broken: {e}"))?;
        let by_id: BTreeMap<&str, &Container> = containers.iter().map(|c| (c.id.as_str(), c)).collect();
        let networks: BTreeMap<&str, &Network> = networks.iter().map(|n| (n.id.as_str(), n)).collect();
        self.group.targets.clear();
        for container in containers.iter().filter(|c| !c.names.is_empty()) {
            let mut endpoints = endpoints(container, &by_id);
            if self.config.match_first_network {
                endpoints.truncate(1);
            }
            for endpoint in endpoints {
                let network = networks.get(endpoint.network.as_str()).copied();
                self.add(container, endpoint, network);
            }
        }
        Ok(())
    }

    fn add(&mut self, container: &Container, endpoint: &Endpoint, network: Option<&Network>) {
        let ip = if endpoint.ipv4.is_empty() { &endpoint.ipv6 } else { &endpoint.ipv4 };
        let mut common = LabelsBuilder::new();
        common.set("__meta_docker_container_id", &container.id);
        common.set("__meta_docker_container_name", &container.names[0]);
        common.set("__meta_docker_container_network_mode", &container.host_config.network_mode);
        common.set("__meta_docker_network_ip", ip);
        for (name, value) in &container.labels {
            common.set(&label_name("__meta_docker_container_label_", name), value);
        }
        if let Some(network) = network {
            set_network(&mut common, network);
        }
        let mut has_port = false;
        for port in container.ports.iter().filter(|port| port.kind == "tcp") {
            has_port = true;
            let mut labels = common.clone();
            labels.set(ADDRESS_LABEL, &host_port(ip, port.private_port));
            labels.set("__meta_docker_port_private", &port.private_port.to_string());
            if port.public_port > 0 {
                labels.set("__meta_docker_port_public", &port.public_port.to_string());
                labels.set("__meta_docker_port_public_ip", &port.ip);
            }
            self.group.targets.push(labels.build());
        }
        if !has_port {
            let address = match container.host_config.network_mode.as_str() {
                "host" => self.config.host_networking_host.clone(),
                _ => host_port(ip, self.config.port),
            };
            self.group.targets.push(common.set(ADDRESS_LABEL, &address).build());
        }
    }

    /// All containers.
    pub fn groups(&self) -> &[TargetGroup] {
        std::slice::from_ref(&self.group)
    }
}

/// The networks of a container in order of their names, or of the one whose network it shares.
fn endpoints<'a>(container: &'a Container, all: &BTreeMap<&str, &'a Container>) -> Vec<&'a Endpoint> {
    let mut owner = container;
    // A ring of containers that share each other's network would have no end.
    for _ in 0..=all.len() {
        let found: Vec<&Endpoint> = owner.network_settings.networks.values().flatten().collect();
        let shared = owner.host_config.network_mode.strip_prefix("container:");
        match shared.and_then(|id| all.get(id)) {
            Some(next) if found.is_empty() => owner = next,
            _ => return found,
        }
    }
    Vec::new()
}

fn set_network(labels: &mut LabelsBuilder, network: &Network) {
    let truth = |flag: bool| if flag { "true" } else { "false" };
    for (name, value) in [
        ("__meta_docker_network_id", network.id.as_str()),
        ("__meta_docker_network_name", &network.name),
        ("__meta_docker_network_scope", &network.scope),
        ("__meta_docker_network_internal", truth(network.internal)),
        ("__meta_docker_network_ingress", truth(network.ingress)),
    ] {
        labels.set(name, value);
    }
    for (name, value) in &network.labels {
        labels.set(&label_name("__meta_docker_network_label_", name), value);
    }
}

#[cfg(test)]
mod tests {
    use vedette_config::discovery::Discovery;
    use vedette_model::Labels;

    use super::*;
    use crate::pool::tests::job;

    fn targets(keys: &str) -> DockerTargets {
        let job = job(&format!("docker_sd_configs: [{{host: 'unix:///s', {keys}}}]"));
        match &job.discoveries[0] {
            Discovery::Docker(config) => DockerTargets::new((**config).clone()),
            other => panic!("{other:?}"),
        }
    }

    /// In the form of the API 1.43, made up.
    const CONTAINERS: &str = r#"[
      {"Id": "c1", "Names": ["/web"], "Labels": {"com.example/x": "1"},
       "Ports": [{"PrivatePort": 53, "Type": "udp"}, {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
       "HostConfig": {"NetworkMode": "b"},
       "NetworkSettings": {"Networks": {"b": {"NetworkID": "n1", "IPAddress": "172.17.0.2"},
                                        "c": {"NetworkID": "n2", "IPAddress": "", "GlobalIPv6Address": "fd00::2"}}}},
      {"Id": "c2", "Names": ["/side"], "Labels": null, "Ports": [], "HostConfig": {"NetworkMode": "container:c1"},
       "NetworkSettings": {"Networks": {}}},
      {"Id": "c3", "Names": ["/host"], "Ports": null, "HostConfig": {"NetworkMode": "host"},
       "NetworkSettings": {"Networks": {"host": {"NetworkID": "n3", "IPAddress": ""}}}},
      {"Id": "c4", "Names": [], "Ports": []},
      {"Id": "c5", "Names": ["/ring"], "HostConfig": {"NetworkMode": "container:c5"}}
    ]"#;
    const NETWORKS: &str = r#"[{"Id": "n1", "Name": "b", "Scope": "local", "Internal": true, "Ingress": false, "Labels": {"l-m": "v"}}]"#;

    /// Recorded of a daemon; see the file beside them.
    const RECORDED_CONTAINERS: &[u8] = include_bytes!("../../recordings/docker-20.10-containers.json");
    const RECORDED_NETWORKS: &[u8] = include_bytes!("../../recordings/docker-20.10-networks.json");

    #[test]
    fn a_recorded_daemon_has_its_containers_as_targets() {
        let mut targets = targets("port: 81");
        targets.take(RECORDED_CONTAINERS, RECORDED_NETWORKS).expect("a daemon wrote it");
        let all = &targets.groups()[0].targets;
        let get = |labels: &Labels, name: &str| labels.get(name).unwrap_or("-").to_owned();
        let mut found: Vec<[String; 4]> = all
            .iter()
            .map(|labels| {
                let meta = |name: &str| get(labels, &format!("__meta_docker_{name}"));
                let address = get(labels, ADDRESS_LABEL);
                [meta("container_name"), address, meta("network_name"), meta("port_public")]
            })
            .collect();
        found.sort();
        let expected = [
            // Without a network there is no address; rules of the job drop it.
            ["/alone", ":81", "none", "-"],
            ["/bare", "localhost", "host", "-"],
            // No port is its own.
            ["/side", "172.18.0.2:81", "back", "-"],
            // Of two networks the first by name, of the ports those of TCP.
            ["/web", "172.18.0.2:80", "back", "18080"],
            ["/web", "172.18.0.2:9100", "back", "-"],
        ];
        assert_eq!(found, expected.map(|row| row.map(str::to_owned)));
        let web = all.iter().find(|labels| labels.get("__meta_docker_port_public").is_some()).expect("web");
        for (name, value) in [
            ("container_label_com_example_role", "front"),
            ("container_network_mode", "default"),
            ("network_internal", "true"),
            ("network_ip", "172.18.0.2"),
            ("network_label_team_example_owner", "a-b"),
            ("network_scope", "local"),
            ("port_private", "80"),
            ("port_public_ip", "0.0.0.0"),
        ] {
            assert_eq!(get(web, &format!("__meta_docker_{name}")), value, "{name}");
        }
    }

    fn addresses(targets: &DockerTargets) -> Vec<String> {
        let all = targets.groups()[0].targets.iter();
        all.map(|l| {
            format!(
                "{} {}",
                l.get("__meta_docker_container_id").unwrap_or("?"),
                l.get("__address__").unwrap_or("?")
            )
        })
        .collect()
    }

    #[test]
    fn containers_become_targets() {
        let mut first = targets("port: 81");
        first.take(CONTAINERS.as_bytes(), NETWORKS.as_bytes()).expect("sound");
        assert_eq!(addresses(&first), ["c1 172.17.0.2:80", "c2 172.17.0.2:81", "c3 localhost"]);
        let expected = [
            ("__address__", "172.17.0.2:80"),
            ("__meta_docker_container_id", "c1"),
            ("__meta_docker_container_label_com_example_x", "1"),
            ("__meta_docker_container_name", "/web"),
            ("__meta_docker_container_network_mode", "b"),
            ("__meta_docker_network_id", "n1"),
            ("__meta_docker_network_ingress", "false"),
            ("__meta_docker_network_internal", "true"),
            ("__meta_docker_network_ip", "172.17.0.2"),
            ("__meta_docker_network_label_l_m", "v"),
            ("__meta_docker_network_name", "b"),
            ("__meta_docker_network_scope", "local"),
            ("__meta_docker_port_private", "80"),
            ("__meta_docker_port_public", "8080"),
            ("__meta_docker_port_public_ip", "0.0.0.0"),
        ];
        assert_eq!(first.groups()[0].targets[0], Labels::from_pairs(expected));
        let before = addresses(&first);
        first.take(b"[{}]", NETWORKS.as_bytes()).expect_err("broken");
        first.take(CONTAINERS.as_bytes(), b"{}").expect_err("broken");
        assert_eq!(addresses(&first), before);
        let mut all = targets("match_first_network: false, host_networking_host: h");
        all.take(CONTAINERS.as_bytes(), NETWORKS.as_bytes()).expect("sound");
        assert_eq!(
            addresses(&all),
            ["c1 172.17.0.2:80", "c1 [fd00::2]:80", "c2 172.17.0.2:80", "c2 [fd00::2]:80", "c3 h"]
        );
    }

    #[test]
    fn filters_are_sent() {
        assert_eq!(targets("").containers_path(), "/containers/json");
        let filtered = targets("filters: [{name: label, values: [a, b]}]");
        assert_eq!(
            filtered.containers_path(),
            "/containers/json?filters=%7B%22label%22%3A%7B%22a%22%3Atrue%2C%22b%22%3Atrue%7D%7D"
        );
    }
}
