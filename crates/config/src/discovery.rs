//! Where targets come from: the kinds of service discovery.
//!
//! All kinds that Prometheus knows are read and checked. Those that ask a cloud provider or a
//! product of one vendor are not run by Vedette; what is left of them is their name.

mod kubernetes;
mod providers;

use std::{path::PathBuf, time::Duration};

use url::Url;
use vedette_model::{ADDRESS_LABEL, TargetGroup};

use crate::{
    HttpClient, Secret,
    fields::{Fields, Result},
    http_client, targets,
};

pub use kubernetes::{AttachMetadata, Kubernetes, Role, Selector};

/// One source of targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Targets that are written in the configuration.
    Static(TargetGroup),
    /// Lists of targets in files.
    File(FileDiscovery),
    /// A list of targets that a web server gives.
    Http(Box<HttpDiscovery>),
    /// Names whose records are targets.
    Dns(DnsDiscovery),
    /// Services that Consul knows.
    Consul(Box<Consul>),
    /// Containers that a Docker daemon runs.
    Docker(Box<Docker>),
    /// Objects of a Kubernetes cluster.
    Kubernetes(Box<Kubernetes>),
    /// A kind that is read and checked, but not run. What it would find can come by `http_sd`.
    NotRun {
        /// The key of the kind, such as `ec2_sd_configs`.
        kind: &'static str,
    },
}

impl Discovery {
    /// The kind's name, as in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::Consul(_) => "consul",
            Self::Docker(_) => "docker",
            Self::Kubernetes(_) => "kubernetes",
            Self::NotRun { kind } => kind.trim_end_matches("_sd_configs"),
        }
    }
}

/// Lists of targets in files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths; the last part may have a `*`.
    pub files: Vec<PathBuf>,
    /// After how long they are read again in any case.
    pub refresh_interval: Duration,
}

/// A list of targets that a web server gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpDiscovery {
    /// Where.
    pub url: Url,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How it is reached.
    pub client: HttpClient,
}

/// Names whose records are targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsDiscovery {
    /// The names.
    pub names: Vec<String>,
    /// Which records.
    pub record: DnsRecord,
    /// The port of the targets, where the record tells none.
    pub port: u16,
    /// How often they are asked for.
    pub refresh_interval: Duration,
}

/// A kind of DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecord {
    /// Host and port.
    Srv,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A mail server.
    Mx,
    /// A name server.
    Ns,
}

/// Services that Consul knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consul {
    /// Host and port.
    pub server: String,
    /// `http` or `https`.
    pub scheme: String,
    /// What stands before the path of the API.
    pub path_prefix: String,
    /// The token that opens it.
    pub token: Option<Secret>,
    /// Which data centre; the server's own where it is empty.
    pub datacenter: String,
    /// Which namespace.
    pub namespace: String,
    /// Which partition.
    pub partition: String,
    /// What stands between tags in the label of all tags.
    pub tag_separator: String,
    /// Whether answers of a follower will do.
    pub allow_stale: bool,
    /// Which services; all where it is empty.
    pub services: Vec<String>,
    /// Tags that a service must have.
    pub tags: Vec<String>,
    /// Metadata that a node must have.
    pub node_meta: Vec<(String, String)>,
    /// An expression that chooses services.
    pub filter: String,
    /// An expression that chooses their instances.
    pub health_filter: String,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How it is reached.
    pub client: HttpClient,
}

/// Containers that a Docker daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// The daemon: `unix:///…`, `tcp://…`, `http://…`.
    pub host: String,
    /// The port of containers that publish none.
    pub port: u16,
    /// Filters as the daemon knows them.
    pub filters: Vec<Filter>,
    /// The host of containers in the host's network.
    pub host_networking_host: String,
    /// Whether only the first network of a container counts.
    pub match_first_network: bool,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How it is reached.
    pub client: HttpClient,
}

/// A filter of an API: a name and the values that fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The name.
    pub name: String,
    /// The values.
    pub values: Vec<String>,
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const HALF_MINUTE: Duration = Duration::from_secs(30);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// Reads all kinds that stand among the keys of a scrape job or an Alertmanager.
pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Vec<Discovery>> {
    let mut all = Vec::new();
    let known = "a discovery";
    all.extend(
        fields.list("static_configs", "a target group", targets::group)?.into_iter().map(Discovery::Static),
    );
    all.extend(fields.list("file_sd_configs", known, file)?.into_iter().map(Discovery::File));
    all.extend(
        fields.list("http_sd_configs", known, http)?.into_iter().map(|d| Discovery::Http(Box::new(d))),
    );
    all.extend(fields.list("dns_sd_configs", known, dns)?.into_iter().map(Discovery::Dns));
    all.extend(
        fields.list("consul_sd_configs", known, consul)?.into_iter().map(|d| Discovery::Consul(Box::new(d))),
    );
    all.extend(
        fields.list("docker_sd_configs", known, docker)?.into_iter().map(|d| Discovery::Docker(Box::new(d))),
    );
    all.extend(
        fields
            .list("kubernetes_sd_configs", known, Kubernetes::read)?
            .into_iter()
            .map(|d| Discovery::Kubernetes(Box::new(d))),
    );
    for (kind, read) in providers::KINDS {
        let found = fields.list(kind, known, |inner| read(inner))?;
        all.extend(found.iter().map(|()| Discovery::NotRun { kind }));
    }
    Ok(all)
}

/// Refuses addresses that are URLs, where no rule could mend them.
pub(crate) fn check_static_addresses(fields: &Fields<'_>, all: &[Discovery]) -> Result<()> {
    let groups = all.iter().filter_map(|d| match d {
        Discovery::Static(group) => Some(group),
        _ => None,
    });
    for target in groups.flat_map(|group| &group.targets) {
        let address = target.get(ADDRESS_LABEL).unwrap_or_default();
        if address.contains('/') {
            let reason =
                format!("{address:?} is not a valid hostname; write host:port without scheme and path");
            return Err(fields.refuse("static_configs", reason));
        }
    }
    Ok(())
}

fn file(fields: &mut Fields<'_>) -> Result<FileDiscovery> {
    let names = fields.texts("files")?;
    if names.is_empty() {
        return Err(fields.refuse("files", "files is missing or empty; name at least one path"));
    }
    for name in &names {
        let usable = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|e| name.ends_with(e));
        if !usable || !crate::prometheus::has_star_in_last_part_only(name) {
            let reason = format!(
                "the path {name:?} is not valid for file discovery; it ends with .json, .yml or .yaml, \
                 and only its last part may have a *"
            );
            return Err(fields.refuse("files", reason));
        }
    }
    let files = fields.paths_of("files", &names);
    Ok(FileDiscovery { files, refresh_interval: fields.duration("refresh_interval", FIVE_MINUTES)? })
}

fn http(fields: &mut Fields<'_>) -> Result<HttpDiscovery> {
    let client = HttpClient::read(fields)?;
    let refresh_interval = fields.duration("refresh_interval", MINUTE)?;
    Ok(HttpDiscovery { url: http_client::http_url(fields, "url")?, refresh_interval, client })
}

fn dns(fields: &mut Fields<'_>) -> Result<DnsDiscovery> {
    let names = fields.texts("names")?;
    if names.is_empty() {
        return Err(fields.refuse("names", "names is missing or empty; write at least one"));
    }
    let refresh_interval = fields.duration("refresh_interval", HALF_MINUTE)?;
    let word = fields.text_or("type", "SRV")?;
    let record = match word.to_ascii_uppercase().as_str() {
        "SRV" => DnsRecord::Srv,
        "A" => DnsRecord::A,
        "AAAA" => DnsRecord::Aaaa,
        "MX" => DnsRecord::Mx,
        "NS" => DnsRecord::Ns,
        _ => {
            return Err(
                fields.refuse("type", format!("unknown record type {word:?}; use SRV, A, AAAA, MX or NS"))
            );
        }
    };
    let port = fields.port("port", 0)?;
    if port == 0 && record != DnsRecord::Srv {
        return Err(fields.refuse("port", "a port is required for all record types except SRV"));
    }
    Ok(DnsDiscovery { names, record, port, refresh_interval })
}

fn consul(fields: &mut Fields<'_>) -> Result<Consul> {
    let server = fields.text_or("server", "localhost:8500")?;
    if server.trim().is_empty() {
        return Err(fields.refuse("server", "Consul needs a server address"));
    }
    let path_prefix = fields.text_or("path_prefix", "")?;
    let token = fields.secret("token")?;
    let (datacenter, namespace) = (fields.text_or("datacenter", "")?, fields.text_or("namespace", "")?);
    let partition = fields.text_or("partition", "")?;
    let tag_separator = fields.text_or("tag_separator", ",")?;
    let scheme = fields.text_or("scheme", "http")?;
    let (username, password) = (fields.text("username")?, fields.secret("password")?);
    let by_name = username.as_ref().is_some_and(|u| !u.is_empty())
        || password.as_ref().is_some_and(|p| !p.expose().is_empty());
    if by_name && fields.has("basic_auth") {
        return Err(
            fields.refuse("basic_auth", "only one of username with password and basic_auth may be given")
        );
    }
    if token.is_some() && (fields.has("authorization") || fields.has("oauth2")) {
        return Err(fields.refuse("token", "only one of token, authorization and oauth2 may be given"));
    }
    let allow_stale = fields.flag("allow_stale", true)?;
    let refresh_interval = fields.duration("refresh_interval", HALF_MINUTE)?;
    let services = fields.texts("services")?;
    let (tags, node_meta) = (fields.texts("tags")?, fields.text_map("node_meta")?);
    let (filter, health_filter) = (fields.text_or("filter", "")?, fields.text_or("health_filter", "")?);
    let mut client = HttpClient::read(fields)?;
    if by_name {
        client.auth = crate::Auth::Basic {
            username: crate::SecretSource::Inline(Secret::new(username.unwrap_or_default())),
            password: password.map(crate::SecretSource::Inline),
        };
    }
    Ok(Consul {
        server,
        scheme,
        path_prefix,
        token,
        datacenter,
        namespace,
        partition,
        tag_separator,
        allow_stale,
        services,
        tags,
        node_meta,
        filter,
        health_filter,
        refresh_interval,
        client,
    })
}

fn docker(fields: &mut Fields<'_>) -> Result<Docker> {
    let client = HttpClient::read(fields)?;
    let host = docker_host(fields)?;
    Ok(Docker {
        host,
        port: fields.port("port", 80)?,
        filters: filters(fields)?,
        host_networking_host: fields.text_or("host_networking_host", "localhost")?,
        match_first_network: fields.flag("match_first_network", true)?,
        refresh_interval: fields.duration("refresh_interval", MINUTE)?,
        client,
    })
}

fn docker_host(fields: &mut Fields<'_>) -> Result<String> {
    let host = fields.text_or("host", "")?;
    if host.is_empty() {
        return Err(fields.refuse("host", "host is missing; write for example unix:///var/run/docker.sock"));
    }
    Ok(host)
}

fn filters(fields: &mut Fields<'_>) -> Result<Vec<Filter>> {
    fields.list("filters", "a filter", |inner| {
        Ok(Filter { name: inner.text_or("name", "")?, values: inner.texts("values")? })
    })
}
