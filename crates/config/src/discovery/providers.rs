//! The kinds that are read and checked, but not run: each asks a cloud provider or a product of
//! one vendor.

use std::time::Duration;

use crate::{
    ClientTls, HttpClient,
    fields::{Fields, Result, or_list},
    http_client,
};

use super::{FIVE_MINUTES, HALF_MINUTE, MINUTE, docker_host, filters};

type Read = fn(&mut Fields<'_>) -> Result<()>;

/// The key of each kind and what its keys are.
pub(super) const KINDS: [(&str, Read); 26] = [
    ("aws_sd_configs", aws),
    ("azure_sd_configs", azure),
    ("digitalocean_sd_configs", digitalocean),
    ("dockerswarm_sd_configs", dockerswarm),
    ("ec2_sd_configs", ec2),
    ("eureka_sd_configs", eureka),
    ("gce_sd_configs", gce),
    ("hetzner_sd_configs", hetzner),
    ("ionos_sd_configs", ionos),
    ("kuma_sd_configs", kuma),
    ("lightsail_sd_configs", lightsail),
    ("linode_sd_configs", linode),
    ("marathon_sd_configs", marathon),
    ("nerve_sd_configs", zookeeper),
    ("nomad_sd_configs", nomad),
    ("oci_sd_configs", oci),
    ("openstack_sd_configs", openstack),
    ("outscale_sd_configs", outscale),
    ("ovhcloud_sd_configs", ovhcloud),
    ("puppetdb_sd_configs", puppetdb),
    ("scaleway_sd_configs", scaleway),
    ("serverset_sd_configs", zookeeper),
    ("stackit_sd_configs", stackit),
    ("triton_sd_configs", triton),
    ("uyuni_sd_configs", uyuni),
    ("vultr_sd_configs", vultr),
];

/// Texts that may be there and need no check.
fn texts(fields: &mut Fields<'_>, keys: &[&str]) -> Result<()> {
    keys.iter().try_for_each(|key| fields.text_or(key, "").map(drop))
}

/// What most kinds have.
fn client_port_refresh(fields: &mut Fields<'_>, refresh: Duration) -> Result<()> {
    HttpClient::read(fields)?;
    fields.port("port", 80)?;
    fields.duration("refresh_interval", refresh).map(drop)
}

/// A role that must be given.
fn role(fields: &mut Fields<'_>, words: &[&str]) -> Result<()> {
    if fields.text_is_empty("role") {
        return Err(fields.refuse("role", format!("role missing; use one of {}", or_list(words))));
    }
    fields.word("role", "", words).map(drop)
}

/// Exactly one of a secret and a file with it.
fn one_secret(fields: &mut Fields<'_>, inline: &str, file: &str) -> Result<()> {
    if !fields.at_most_one(&[inline, file])? {
        return Err(fields.refuse(inline, format!("one of {inline} and {file} is required")));
    }
    fields.secret(inline)?;
    fields.path(file).map(drop)
}

fn aws_account(fields: &mut Fields<'_>) -> Result<()> {
    texts(fields, &["region", "endpoint", "access_key", "profile", "role_arn", "external_id"])?;
    fields.secret("secret_key").map(drop)
}

fn aws(fields: &mut Fields<'_>) -> Result<()> {
    role(fields, &["ec2", "ecs", "elasticache", "lightsail", "msk", "rds"])?;
    aws_account(fields)?;
    fields.texts("clusters")?;
    aws_filters(fields)?;
    client_port_refresh(fields, MINUTE)
}

fn ec2(fields: &mut Fields<'_>) -> Result<()> {
    aws_account(fields)?;
    aws_filters(fields)?;
    client_port_refresh(fields, MINUTE)
}

fn aws_filters(fields: &mut Fields<'_>) -> Result<()> {
    match filters(fields)?.iter().find(|filter| filter.values.is_empty()) {
        Some(filter) => {
            Err(fields.refuse("filters", format!("the values of the filter {:?} are empty", filter.name)))
        }
        None => Ok(()),
    }
}

fn lightsail(fields: &mut Fields<'_>) -> Result<()> {
    aws_account(fields)?;
    client_port_refresh(fields, MINUTE)
}

fn azure(fields: &mut Fields<'_>) -> Result<()> {
    fields.require(&["subscription_id"])?;
    let method = fields.text_or("authentication_method", "OAuth")?;
    let methods = ["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"];
    if !methods.contains(&method.as_str()) {
        let reason = format!(
            "unknown authentication_type {method:?}; use \"OAuth\", \"ManagedIdentity\", \"SDK\" or \
             \"WorkloadIdentity\""
        );
        return Err(fields.refuse("authentication_method", reason));
    }
    if method == "OAuth" {
        fields.require(&["tenant_id", "client_id", "client_secret"])?;
    }
    fields.text_or("environment", "AzurePublicCloud")?;
    texts(fields, &["subscription_id", "tenant_id", "client_id", "resource_group"])?;
    fields.secret("client_secret")?;
    client_port_refresh(fields, FIVE_MINUTES)
}

fn digitalocean(fields: &mut Fields<'_>) -> Result<()> {
    fields.word("role", "droplets", &["droplets", "databases"])?;
    client_port_refresh(fields, MINUTE)
}

fn dockerswarm(fields: &mut Fields<'_>) -> Result<()> {
    docker_host(fields)?;
    role(fields, &["services", "tasks", "nodes"])?;
    filters(fields)?;
    client_port_refresh(fields, MINUTE)
}

fn eureka(fields: &mut Fields<'_>) -> Result<()> {
    fields.require(&["server"])?;
    let valid =
        http_client::url(fields, "server").ok().filter(|u| u.host_str().is_some_and(|h| !h.is_empty()));
    if valid.is_none() {
        let reason = "this is an invalid eureka server URL; write for example http://host:8761/eureka";
        return Err(fields.refuse("server", reason));
    }
    HttpClient::read(fields)?;
    fields.duration("refresh_interval", HALF_MINUTE).map(drop)
}

fn gce(fields: &mut Fields<'_>) -> Result<()> {
    fields.require(&["project", "zone"])?;
    texts(fields, &["project", "zone", "filter"])?;
    fields.duration("refresh_interval", MINUTE)?;
    fields.port("port", 80)?;
    fields.text_or("tag_separator", ",").map(drop)
}

fn hetzner(fields: &mut Fields<'_>) -> Result<()> {
    role(fields, &["robot", "hcloud"])?;
    texts(fields, &["label_selector"])?;
    client_port_refresh(fields, MINUTE)
}

fn ionos(fields: &mut Fields<'_>) -> Result<()> {
    if fields.text_is_empty("datacenter_id") {
        return Err(fields.refuse("datacenter_id", "the datacenter id is missing or empty; it is required"));
    }
    texts(fields, &["datacenter_id"])?;
    client_port_refresh(fields, MINUTE)
}

fn kuma(fields: &mut Fields<'_>) -> Result<()> {
    http_client::http_url(fields, "server")?;
    texts(fields, &["client_id"])?;
    fields.duration("refresh_interval", Duration::from_secs(15))?;
    fields.duration("fetch_timeout", Duration::from_secs(120))?;
    HttpClient::read(fields).map(drop)
}

fn linode(fields: &mut Fields<'_>) -> Result<()> {
    texts(fields, &["region"])?;
    fields.text_or("tag_separator", ",")?;
    client_port_refresh(fields, MINUTE)
}

fn marathon(fields: &mut Fields<'_>) -> Result<()> {
    if fields.texts("servers")?.is_empty() {
        return Err(fields.refuse("servers", "name at least one Marathon server"));
    }
    let tokens = ["auth_token", "auth_token_file"];
    let others = ["basic_auth", "authorization", "bearer_token", "bearer_token_file"];
    if let Some(other) = others.iter().find(|other| fields.has(other))
        && tokens.iter().any(|token| fields.has(token))
    {
        let reason =
            format!("only one of {}, auth_token and auth_token_file may be given", others.join(", "));
        return Err(fields.refuse(other, reason));
    }
    fields.at_most_one(&tokens)?;
    fields.secret("auth_token")?;
    fields.path("auth_token_file")?;
    HttpClient::read(fields)?;
    fields.duration("refresh_interval", HALF_MINUTE).map(drop)
}

fn nomad(fields: &mut Fields<'_>) -> Result<()> {
    if fields.text_or("server", "http://localhost:4646")?.trim().is_empty() {
        return Err(fields.refuse("server", "Nomad needs a server address"));
    }
    fields.flag("allow_stale", true)?;
    for (key, default) in [("namespace", "default"), ("region", "global"), ("tag_separator", ",")] {
        fields.text_or(key, default)?;
    }
    HttpClient::read(fields)?;
    fields.duration("refresh_interval", MINUTE).map(drop)
}

fn oci(fields: &mut Fields<'_>) -> Result<()> {
    const IDENTITY: [&str; 4] = ["tenancy", "user", "fingerprint", "key_file"];
    const PASSPHRASE: [&str; 2] = ["key_passphrase", "key_passphrase_file"];
    fields.require(&["region"])?;
    match fields.word("auth", "api_key", &["api_key", "instance_principal"])?.as_str() {
        "api_key" => fields.require(&IDENTITY)?,
        _ => {
            if let Some(key) = IDENTITY.iter().chain(&PASSPHRASE).find(|key| !fields.text_is_empty(key)) {
                return Err(fields.refuse(key, format!("{key} has no meaning with instance_principal")));
            }
        }
    }
    fields.at_most_one(&PASSPHRASE)?;
    texts(fields, &["region", "tenancy", "user", "fingerprint"])?;
    fields.path("key_file")?;
    fields.secret("key_passphrase")?;
    fields.path("key_passphrase_file")?;
    if let Some(i) = fields.texts("compartments")?.iter().position(String::is_empty) {
        return Err(fields.refuse("compartments", format!("compartments[{i}] is empty")));
    }
    client_port_refresh(fields, MINUTE)?;
    positive_refresh(fields)
}

/// For the kinds that refuse to be asked without pause.
fn positive_refresh(fields: &mut Fields<'_>) -> Result<()> {
    let Some(node) = fields.node("refresh_interval") else { return Ok(()) };
    match crate::scalar::duration(fields.text_of("refresh_interval", node)?) {
        Some(Duration::ZERO) => Err(fields.refuse("refresh_interval", "refresh_interval must be positive")),
        _ => Ok(()),
    }
}

fn openstack(fields: &mut Fields<'_>) -> Result<()> {
    let availability = fields.text_or("availability", "public")?;
    if !["admin", "internal", "public"].contains(&availability.as_str()) {
        let reason = format!("unknown availability {availability:?}; use one of admin, internal or public");
        return Err(fields.refuse("availability", reason));
    }
    let roles = ["instance", "hypervisor", "loadbalancer"];
    if !fields.text_is_empty("role") {
        let word = fields.text_or("role", "")?;
        if !roles.contains(&word.as_str()) {
            let reason = format!("unknown OpenStack role {word:?}; use one of {}", or_list(&roles));
            return Err(fields.refuse("role", reason));
        }
    } else {
        role(fields, &roles)?;
    }
    fields.require(&["region"])?;
    texts(
        fields,
        &[
            "identity_endpoint",
            "username",
            "userid",
            "project_name",
            "project_id",
            "domain_name",
            "domain_id",
            "application_credential_name",
            "application_credential_id",
            "region",
        ],
    )?;
    fields.secret("password")?;
    fields.secret("application_credential_secret")?;
    fields.duration("refresh_interval", MINUTE)?;
    fields.port("port", 80)?;
    fields.switch("all_tenants", false)?;
    fields.section("tls_config", "tls_config", ClientTls::read).map(drop)
}

fn outscale(fields: &mut Fields<'_>) -> Result<()> {
    let region = fields.text_or("region", "eu-west-2")?;
    if region.is_empty() {
        return Err(fields.refuse("region", "region is empty; it is required"));
    }
    fields.require(&["access_key"])?;
    texts(fields, &["access_key"])?;
    one_secret(fields, "secret_key", "secret_key_file")?;
    fields.text_or("endpoint", &format!("https://api.{region}.outscale.com/api/v1"))?;
    client_port_refresh(fields, MINUTE)
}

fn ovhcloud(fields: &mut Fields<'_>) -> Result<()> {
    fields.text_or("endpoint", "ovh-eu")?;
    for (key, name) in [
        ("application_key", "application key"),
        ("application_secret", "application secret"),
        ("consumer_key", "consumer key"),
    ] {
        if fields.text_is_empty(key) {
            return Err(fields.refuse(key, format!("the {name} is missing or empty; it is required")));
        }
    }
    texts(fields, &["application_key"])?;
    fields.secret("application_secret")?;
    fields.secret("consumer_key")?;
    fields.word("service", "", &["dedicated_server", "vps"])?;
    fields.duration("refresh_interval", MINUTE).map(drop)
}

fn puppetdb(fields: &mut Fields<'_>) -> Result<()> {
    if fields.text_is_empty("url") {
        return Err(fields.refuse("url", "the URL is missing; write for example https://host:8081"));
    }
    http_client::http_url(fields, "url")?;
    fields.require(&["query"])?;
    texts(fields, &["query"])?;
    fields.flag("include_parameters", false)?;
    client_port_refresh(fields, MINUTE)
}

fn scaleway(fields: &mut Fields<'_>) -> Result<()> {
    role(fields, &["instance", "baremetal"])?;
    fields.require(&["project_id", "access_key"])?;
    one_secret(fields, "secret_key", "secret_key_file")?;
    texts(fields, &["project_id", "access_key", "name_filter"])?;
    fields.text_or("api_url", "https://api.scaleway.com")?;
    fields.text_or("zone", "fr-par-1")?;
    fields.texts("tags_filter")?;
    client_port_refresh(fields, MINUTE)
}

fn stackit(fields: &mut Fields<'_>) -> Result<()> {
    let region = fields.text_or("region", "eu01")?;
    let endpoint = fields.text_or("endpoint", "")?;
    if region.is_empty() && endpoint.is_empty() {
        return Err(fields.refuse("region", "both endpoint and region are missing; give one"));
    }
    texts(fields, &["project"])?;
    fields.secret("service_account_key")?;
    fields.secret("private_key")?;
    for key in ["service_account_key_path", "private_key_path", "credentials_file_path"] {
        fields.path(key)?;
    }
    client_port_refresh(fields, MINUTE)
}

fn triton(fields: &mut Fields<'_>) -> Result<()> {
    fields.word("role", "container", &["container", "cn"])?;
    fields.require(&["account", "dns_suffix", "endpoint"])?;
    texts(fields, &["account", "dns_suffix", "endpoint"])?;
    fields.texts("groups")?;
    fields.port("port", 9163)?;
    fields.duration("refresh_interval", MINUTE)?;
    positive_refresh(fields)?;
    fields.integer("version", 1)?;
    fields.section("tls_config", "tls_config", ClientTls::read).map(drop)
}

fn uyuni(fields: &mut Fields<'_>) -> Result<()> {
    if fields.text_is_empty("server") {
        return Err(fields.refuse("server", "Uyuni needs a server; write for example https://host"));
    }
    http_client::url(fields, "server")?;
    fields.require(&["username", "password"])?;
    texts(fields, &["username"])?;
    fields.secret("password")?;
    fields.text_or("entitlement", "monitoring_entitled")?;
    fields.text_or("separator", ",")?;
    HttpClient::read(fields)?;
    fields.duration("refresh_interval", MINUTE).map(drop)
}

fn vultr(fields: &mut Fields<'_>) -> Result<()> {
    client_port_refresh(fields, MINUTE)
}

/// Nerve and Serverset keep their lists in Zookeeper.
fn zookeeper(fields: &mut Fields<'_>) -> Result<()> {
    fields.require(&["servers", "paths"])?;
    fields.texts("servers")?;
    if let Some(path) = fields.texts("paths")?.iter().find(|path| !path.starts_with('/')) {
        return Err(fields.refuse("paths", format!("{path:?} does not begin with '/'")));
    }
    fields.duration("timeout", Duration::from_secs(10)).map(drop)
}
