//! Services, endpoints, ingresses with their classes, and network policies.

use super::{
    Family, Head, Rows, Stateful,
    common::{annotations, created, deleted, exists, flag, gauge, labels, resource_version},
};
use crate::objects::{EndpointSlice, Endpoints, Ingress, IngressClass, NetworkPolicy, Object, Service};

/// How the class of an ingress was told before there was a field for it; it still counts more.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

impl Stateful for Service {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_service_annotations"),
        labels("kube_service_labels"),
        created("kube_service_created"),
        deleted("kube_service_deletion_timestamp"),
        gauge("kube_service_info", "The addresses of the service.", |object: &Self, rows| {
            let spec = &object.spec;
            rows.row(
                &[
                    ("cluster_ip", &spec.cluster_ip),
                    ("external_name", &spec.external_name),
                    ("external_traffic_policy", &spec.external_traffic_policy),
                    ("load_balancer_ip", &spec.load_balancer_ip),
                ],
                1.0,
            );
        }),
        gauge(
            "kube_service_spec_external_ip",
            "Addresses from outside that lead to it.",
            |object: &Self, rows| {
                for ip in &object.spec.external_ips {
                    rows.row(&[("external_ip", ip)], 1.0);
                }
            },
        ),
        gauge("kube_service_spec_type", "How it can be reached.", |object: &Self, rows| {
            rows.row(&[("type", &object.spec.kind)], 1.0);
        }),
        gauge(
            "kube_service_status_load_balancer_ingress",
            "Where its load balancer takes work.",
            |object: &Self, rows| {
                for way in object.load_balancers() {
                    rows.row(&[("ip", &way.ip), ("hostname", &way.hostname)], 1.0);
                }
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        let meta = self.meta();
        head.label("namespace", &meta.namespace).label("service", &meta.name).label("uid", &meta.uid);
    }
}

impl Stateful for Endpoints {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_endpoint_annotations"),
        labels("kube_endpoint_labels"),
        gauge("kube_endpoint_address", "Addresses with their ports.", |object: &Self, rows| {
            for subset in &object.subsets {
                for port in &subset.ports {
                    let number = port.port.to_string();
                    for (addresses, ready) in
                        [(&subset.addresses, "true"), (&subset.not_ready_addresses, "false")]
                    {
                        for address in addresses {
                            rows.row(
                                &[
                                    ("port_protocol", &port.protocol),
                                    ("port_number", &number),
                                    ("port_name", &port.name),
                                    ("ip", &address.ip),
                                    ("ready", ready),
                                ],
                                1.0,
                            );
                        }
                    }
                }
            }
        }),
        created("kube_endpoint_created"),
        exists("kube_endpoint_info"),
        gauge("kube_endpoint_ports", "Ports of the addresses.", |object: &Self, rows| {
            for port in object.subsets.iter().flat_map(|subset| &subset.ports) {
                port_row(&port.name, &port.protocol, &port.port.to_string(), rows);
            }
        }),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("endpoint", &self.meta().name);
    }
}

impl Stateful for EndpointSlice {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_endpointslice_annotations"),
        labels("kube_endpointslice_labels"),
        created("kube_endpointslice_created"),
        gauge("kube_endpointslice_endpoints", "Addresses and how they are.", endpoints),
        gauge(
            "kube_endpointslice_endpoints_hints",
            "Zones that an address is best for.",
            |object: &Self, rows| {
                for endpoint in &object.endpoints {
                    let Some(address) = endpoint.addresses.first() else { continue };
                    for zone in &endpoint.hints.for_zones {
                        rows.row(&[("address", address), ("for_zone", &zone.name)], 1.0);
                    }
                }
            },
        ),
        gauge("kube_endpointslice_info", "Of which kind the addresses are.", |object: &Self, rows| {
            rows.row(&[("addresstype", &object.address_type)], 1.0);
        }),
        gauge("kube_endpointslice_ports", "Ports of the addresses.", |object: &Self, rows| {
            for port in &object.ports {
                let number = port.port.map(|port| port.to_string()).unwrap_or_default();
                let text = |text: &Option<Box<str>>| text.clone().unwrap_or_default();
                port_row(&text(&port.name), &text(&port.protocol), &number, rows);
            }
        }),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("endpointslice", &self.meta().name);
    }
}

fn endpoints(slice: &EndpointSlice, rows: &mut Rows<'_>) {
    for endpoint in &slice.endpoints {
        let target = endpoint.target_ref.as_ref();
        for address in &endpoint.addresses {
            rows.row(
                &[
                    ("address", address),
                    ("ready", flag(endpoint.conditions.ready)),
                    ("serving", flag(endpoint.conditions.serving)),
                    ("terminating", flag(endpoint.conditions.terminating)),
                    ("hostname", endpoint.hostname.as_deref().unwrap_or_default()),
                    ("targetref_kind", target.map_or("", |target| &target.kind)),
                    ("targetref_name", target.map_or("", |target| &target.name)),
                    ("targetref_namespace", target.map_or("", |target| &target.namespace)),
                    ("endpoint_nodename", endpoint.node_name.as_deref().unwrap_or_default()),
                    ("endpoint_zone", endpoint.zone.as_deref().unwrap_or_default()),
                ],
                1.0,
            );
        }
    }
}

fn port_row(name: &str, protocol: &str, number: &str, rows: &mut Rows<'_>) {
    rows.row(&[("port_name", name), ("port_protocol", protocol), ("port_number", number)], 1.0);
}

impl Stateful for Ingress {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_ingress_annotations"),
        labels("kube_ingress_labels"),
        created("kube_ingress_created"),
        gauge("kube_ingress_info", "Who serves it.", |object: &Self, rows| {
            let class = object.meta().annotations.get(CLASS_ANNOTATION).or(object.class());
            rows.row(&[("ingressclass", class.unwrap_or("_default"))], 1.0);
        }),
        resource_version("kube_ingress_metadata_resource_version"),
        gauge("kube_ingress_path", "What is served and where it leads.", paths),
        gauge(
            "kube_ingress_tls",
            "Hosts that are encrypted, with their certificates.",
            |object: &Self, rows| {
                for (host, secret) in object.tls_secrets() {
                    rows.row(&[("tls_host", host), ("secret", secret)], 1.0);
                }
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("ingress", &self.meta().name);
    }
}

fn paths(ingress: &Ingress, rows: &mut Rows<'_>) {
    for rule in ingress.rules() {
        for path in rule.paths.iter().flatten() {
            let from = [("host", &*rule.host), ("path", &*path.path), ("path_type", &*path.path_type)];
            if let Some(service) = &path.backend.service {
                let port = service.port.number.to_string();
                let to = [("service_name", &*service.name), ("service_port", &*port)];
                rows.row(&[&from[..], &to].concat(), 1.0);
            } else if let Some(resource) = &path.backend.resource {
                let to = [
                    ("resource_api_group", &*resource.api_group),
                    ("resource_kind", &*resource.kind),
                    ("resource_name", &*resource.name),
                ];
                rows.row(&[&from[..], &to].concat(), 1.0);
            }
        }
    }
}

impl Stateful for IngressClass {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_ingressclass_annotations"),
        labels("kube_ingressclass_labels"),
        created("kube_ingressclass_created"),
        gauge("kube_ingressclass_info", "Who serves its ingresses.", |object: &Self, rows| {
            rows.row(&[("controller", &object.spec.controller)], 1.0);
        }),
    ];

    fn head(&self, head: &mut Head) {
        head.label("ingressclass", &self.meta().name);
    }
}

impl Stateful for NetworkPolicy {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_networkpolicy_annotations"),
        labels("kube_networkpolicy_labels"),
        created("kube_networkpolicy_created"),
        gauge(
            "kube_networkpolicy_spec_egress_rules",
            "How many rules for going out.",
            |object: &Self, rows| {
                rows.row(&[], object.spec.egress.0 as f64);
            },
        ),
        gauge(
            "kube_networkpolicy_spec_ingress_rules",
            "How many rules for coming in.",
            |object: &Self, rows| {
                rows.row(&[], object.spec.ingress.0 as f64);
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("networkpolicy", &self.meta().name);
    }
}
