//! Discovery of the objects of a Kubernetes cluster.

use std::path::PathBuf;

use url::Url;

use crate::{
    HttpClient,
    fields::{Fields, Result, or_list},
    http_client,
};

/// Objects of a Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// The API server; that of the cluster one runs in where it is not given.
    pub api_server: Option<Url>,
    /// Which objects are targets.
    pub role: Role,
    /// A file that tells server and identity.
    pub kubeconfig_file: Option<PathBuf>,
    /// How the server is reached.
    pub client: HttpClient,
    /// A cluster that whoever runs the discovery knows by this name, in place of server, file and client. No file
    /// can say so.
    pub known_cluster: Option<String>,
    /// In which namespaces; in all where it is empty and `own_namespace` is not set.
    pub namespaces: Vec<String>,
    /// Whether the namespace one runs in is among them.
    pub own_namespace: bool,
    /// Which objects of each role.
    pub selectors: Vec<Selector>,
    /// What of other objects is told with the targets.
    pub attach_metadata: AttachMetadata,
}

/// A kind of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Nodes.
    Node,
    /// Pods, one target for each port.
    Pod,
    /// Services, one target for each port.
    Service,
    /// Endpoints.
    Endpoints,
    /// Endpoint slices.
    EndpointSlice,
    /// Ingresses, one target for each path.
    Ingress,
}

const ROLES: [(&str, Role); 6] = [
    ("node", Role::Node),
    ("pod", Role::Pod),
    ("service", Role::Service),
    ("endpoints", Role::Endpoints),
    ("endpointslice", Role::EndpointSlice),
    ("ingress", Role::Ingress),
];

impl Role {
    /// The word in configuration files.
    pub fn as_str(self) -> &'static str {
        ROLES.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }

    /// The roles that this one can select by.
    fn selects(self) -> &'static [Self] {
        match self {
            Self::Pod => &[Self::Pod, Self::Node],
            Self::Service => &[Self::Service],
            Self::EndpointSlice => &[Self::Pod, Self::Service, Self::EndpointSlice],
            Self::Endpoints => &[Self::Pod, Self::Service, Self::Endpoints],
            Self::Node => &[Self::Node],
            Self::Ingress => &[Self::Ingress],
        }
    }
}

/// Which objects of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The role.
    pub role: Role,
    /// A selector of labels, as the API server takes it.
    pub label: String,
    /// A selector of fields.
    pub field: String,
}

/// What of other objects is told with the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttachMetadata {
    /// Labels and annotations of the node.
    pub node: bool,
    /// Those of the namespace.
    pub namespace: bool,
    /// The deployment of a pod.
    pub deployment: bool,
    /// The job of a pod.
    pub job: bool,
    /// The cron job of a pod.
    pub cronjob: bool,
}

impl Kubernetes {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self> {
        let has_server = !fields.text_is_empty("api_server");
        let api_server = if has_server { Some(http_client::url(fields, "api_server")?) } else { None };
        let role = role(fields)?;
        let kubeconfig_file = fields.path("kubeconfig_file")?;
        let client = HttpClient::read(fields)?;
        let is_custom = client != HttpClient::default();
        if has_server && kubeconfig_file.is_some() {
            let reason = "cannot use 'kubeconfig_file' and 'api_server' together; remove one of the two";
            return Err(fields.refuse("kubeconfig_file", reason));
        }
        if is_custom && kubeconfig_file.is_some() {
            let reason = "cannot use custom HTTP client keys together with 'kubeconfig_file'; put them there";
            return Err(fields.refuse("kubeconfig_file", reason));
        }
        if is_custom && !has_server {
            let reason = "custom HTTP client keys need the 'api_server' URL; add it";
            return Err(fields.refuse("", reason));
        }
        let (namespaces, own_namespace) = fields
            .section("namespaces", "namespaces", |inner| {
                Ok((inner.texts("names")?, inner.flag("own_namespace", false)?))
            })?
            .unwrap_or_default();
        for (key, is_there) in [("api_server", has_server), ("kubeconfig_file", kubeconfig_file.is_some())] {
            if own_namespace && is_there {
                let reason =
                    format!("cannot use '{key}' and 'namespaces.own_namespace' together; name the namespace");
                return Err(fields.refuse(key, reason));
            }
        }
        let selectors = selectors(fields, role)?;
        let attach_metadata = fields
            .section("attach_metadata", "attach_metadata", |inner| {
                Ok(AttachMetadata {
                    node: inner.flag("node", false)?,
                    namespace: inner.flag("namespace", false)?,
                    deployment: inner.flag("deployment", false)?,
                    job: inner.flag("job", false)?,
                    cronjob: inner.flag("cronjob", false)?,
                })
            })?
            .unwrap_or_default();
        Ok(Self {
            api_server,
            role,
            kubeconfig_file,
            client,
            known_cluster: None,
            namespaces,
            own_namespace,
            selectors,
            attach_metadata,
        })
    }
}

fn role(fields: &mut Fields<'_>) -> Result<Role> {
    let words = ROLES.map(|(word, _)| word);
    let word = fields.text_or("role", "")?;
    ROLES.iter().find(|(known, _)| *known == word).map(|(_, role)| *role).ok_or_else(|| {
        let what = if word.is_empty() { "role missing".into() } else { format!("unknown role {word:?}") };
        fields.refuse("role", format!("{what}; use one of {}", or_list(&words)))
    })
}

fn selectors(fields: &mut Fields<'_>, of: Role) -> Result<Vec<Selector>> {
    let mut seen = Vec::new();
    fields.list("selectors", "a selector", |inner| {
        let role = role(inner)?;
        if seen.contains(&role) {
            let reason = format!("duplicated selector role {}; join the two with a comma", role.as_str());
            return Err(inner.refuse("role", reason));
        }
        seen.push(role);
        if !of.selects().contains(&role) {
            let can: Vec<&str> = of.selects().iter().map(|r| r.as_str()).collect();
            let reason = format!("{} role supports only {} selectors", of.as_str(), can.join(", "));
            return Err(inner.refuse("role", reason));
        }
        let (label, field) = (inner.text_or("label", "")?, inner.text_or("field", "")?);
        if let Err(reason) = check_labels(&label) {
            return Err(inner.refuse("label", reason));
        }
        if let Err(reason) = check_fields(&field) {
            return Err(inner.refuse("field", reason));
        }
        Ok(Selector { role, label, field })
    })
}

/// `key=value,key!=value`
fn check_fields(selector: &str) -> std::result::Result<(), String> {
    for part in selector.split(',').filter(|part| !part.trim().is_empty()) {
        let (key, _) = part
            .split_once("!=")
            .or_else(|| part.split_once("=="))
            .or_else(|| part.split_once('='))
            .ok_or_else(|| format!("{part:?} is no selector of fields; write key=value or key!=value"))?;
        if key.trim().is_empty() {
            return Err(format!("{part:?} names no field"));
        }
    }
    Ok(())
}

/// `key`, `!key`, `key=value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, `key>1`, `key<1`,
/// with commas between.
fn check_labels(selector: &str) -> std::result::Result<(), String> {
    let mut rest = selector.trim();
    while !rest.is_empty() {
        // A comma within parentheses does not end a condition.
        let end = match (rest.find(','), rest.find('('), rest.find(')')) {
            (Some(comma), Some(open), Some(close)) if open < comma && comma < close => {
                rest[close..].find(',').map_or(rest.len(), |i| close + i)
            }
            (Some(comma), ..) => comma,
            (None, ..) => rest.len(),
        };
        check_condition(rest[..end].trim())?;
        let tail = rest[end..].trim_start();
        rest = tail.strip_prefix(',').unwrap_or(tail).trim();
        if rest.is_empty() && tail.starts_with(',') {
            return Err(format!("{selector:?} ends with a comma"));
        }
    }
    Ok(())
}

fn check_condition(condition: &str) -> std::result::Result<(), String> {
    let wrong = |what: &str| Err(format!("{condition:?} is no selector of labels: {what}"));
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let is_value = |value: &str| value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if let Some(key) = condition.strip_prefix('!') {
        return if is_key(key.trim()) { Ok(()) } else { wrong("no label is named after '!'") };
    }
    let key_end =
        condition.find(|c: char| c.is_whitespace() || "=!<>(".contains(c)).unwrap_or(condition.len());
    let (key, rest) = (&condition[..key_end], condition[key_end..].trim());
    if !is_key(key) {
        return wrong("it names no label");
    }
    if rest.is_empty() {
        return Ok(());
    }
    if let Some(list) = rest.strip_prefix("notin").or_else(|| rest.strip_prefix("in")) {
        let values = list.trim().strip_prefix('(').and_then(|l| l.strip_suffix(')'));
        return match values {
            Some(values) if values.split(',').all(|v| is_value(v.trim())) => Ok(()),
            _ => wrong("values stand in parentheses, with commas between"),
        };
    }
    if let Some(number) = rest.strip_prefix(['<', '>']) {
        return if number.trim().parse::<i64>().is_ok() {
            Ok(())
        } else {
            wrong("'<' and '>' take a number")
        };
    }
    match rest.strip_prefix("!=").or_else(|| rest.strip_prefix("==")).or_else(|| rest.strip_prefix('=')) {
        Some(value) if is_value(value.trim()) => Ok(()),
        _ => wrong("use =, !=, in, notin, < or >"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_checked() {
        for good in ["", "a", "!a", "a=b", "a == b,c!=d", "x/y in (a, b),z", "a notin (b)", "n>5", "a="] {
            assert_eq!(check_labels(good), Ok(()), "{good}");
        }
        for bad in ["=b", "a b", "a in b", "a in (b", "a,", "a>x", "!", "a=b c", "a~b"] {
            assert!(check_labels(bad).is_err(), "{bad}");
        }
        assert_eq!(check_fields("metadata.name=x,spec.nodeName!=y"), Ok(()));
        assert!(check_fields("metadata.name").is_err());
    }
}
