//! Files of `kubectl`: clusters, users and contexts, which join one of each.
//!
//! Of several files the first that names something counts. Paths in a file begin in its folder.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;
use vedette_config::{Auth, ClientTls, Header, HttpClient, Proxy, Secret, SecretSource};

use crate::{
    Connection, Error,
    connection::bearer,
    exec::{ClusterInfo, Exec, ExecWire},
    objects::null_as_default,
};

/// A longer file is refused.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One or more files, put together.
#[derive(Debug, Default)]
pub struct Kubeconfig {
    current_context: String,
    clusters: Vec<Named<ClusterWire>>,
    users: Vec<Named<UserWire>>,
    contexts: Vec<Named<ContextWire>>,
}

/// Something with its name and the folder of its file.
#[derive(Debug)]
struct Named<T> {
    name: String,
    folder: PathBuf,
    it: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct FileWire {
    #[serde(deserialize_with = "null_as_default")]
    current_context: String,
    #[serde(deserialize_with = "null_as_default")]
    clusters: Vec<ClusterEntry>,
    #[serde(deserialize_with = "null_as_default")]
    users: Vec<UserEntry>,
    #[serde(deserialize_with = "null_as_default")]
    contexts: Vec<ContextEntry>,
}

#[derive(Debug, Deserialize)]
struct ClusterEntry {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    cluster: ClusterWire,
}

#[derive(Debug, Deserialize)]
struct UserEntry {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    user: UserWire,
}

#[derive(Debug, Deserialize)]
struct ContextEntry {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    context: ContextWire,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ClusterWire {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    insecure_skip_tls_verify: bool,
    tls_server_name: String,
    proxy_url: String,
    #[serde(deserialize_with = "null_as_default")]
    extensions: Vec<ExtensionWire>,
}

/// URLs may hold passwords, and extensions anything.
impl std::fmt::Debug for ClusterWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<cluster>")
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct ExtensionWire {
    name: String,
    extension: serde_json::Value,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct UserWire {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    r#as: String,
    as_uid: String,
    #[serde(deserialize_with = "null_as_default")]
    as_groups: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    as_user_extra: BTreeMap<String, Vec<String>>,
    exec: Option<ExecWire>,
    auth_provider: Option<serde::de::IgnoredAny>,
}

impl std::fmt::Debug for UserWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<user>")
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContextWire {
    cluster: String,
    user: String,
    namespace: String,
}

impl Kubeconfig {
    /// Reads these files, the most important first.
    pub fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self::default();
        for file in files {
            let cannot = |reason: String| Error::Credentials(format!("{}: {reason}", file.display()));
            let length = std::fs::metadata(file).map_err(|e| cannot(e.to_string()))?.len();
            if length > FILE_BYTES_MAX {
                return Err(cannot(format!("it has {length} bytes, more than {FILE_BYTES_MAX}")));
            }
            let text = std::fs::read_to_string(file).map_err(|e| cannot(e.to_string()))?;
            all.add(file, &text)?;
        }
        Ok(all)
    }

    /// Adds the text of a file; what is known already stays.
    pub fn add(&mut self, file: &Path, text: &str) -> Result<(), Error> {
        let read: FileWire = if text.trim().is_empty() { FileWire::default() } else { yaml(file, text)? };
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        if self.current_context.is_empty() {
            self.current_context = read.current_context;
        }
        let named = |name| (name, folder.clone());
        add(&mut self.clusters, read.clusters.into_iter().map(|entry| (named(entry.name), entry.cluster)));
        add(&mut self.users, read.users.into_iter().map(|entry| (named(entry.name), entry.user)));
        add(&mut self.contexts, read.contexts.into_iter().map(|entry| (named(entry.name), entry.context)));
        Ok(())
    }

    /// The names of all contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(|context| &*context.name)
    }

    /// How the cluster of a context is reached, or of the current one.
    pub fn connection(&self, context: Option<&str>) -> Result<Connection, Error> {
        let name = context.unwrap_or(&self.current_context);
        if name.is_empty() && self.contexts.is_empty() && self.clusters.is_empty() {
            return Err(wrong("the file names no cluster"));
        }
        if name.is_empty() {
            return Err(wrong("no context is current; set current-context"));
        }
        let context = find(&self.contexts, "context", name)?;
        let cluster = find(&self.clusters, "cluster", &context.it.cluster)?;
        let none = Named { name: String::new(), folder: PathBuf::new(), it: UserWire::default() };
        let user = match &*context.it.user {
            "" => &none,
            name => find(&self.users, "user", name)?,
        };
        let in_cluster = |reason: String| wrong(&format!("cluster {:?}: {reason}", cluster.name));
        let in_user = |reason: String| wrong(&format!("user {:?}: {reason}", user.name));
        let server = server(&cluster.it.server).map_err(in_cluster)?;
        let tls = tls(cluster, user).map_err(in_cluster)?;
        let proxy = proxy(&cluster.it.proxy_url).map_err(in_cluster)?;
        let client = HttpClient {
            auth: auth(user).map_err(in_user)?,
            tls,
            proxy,
            headers: impersonation(&user.it).map_err(in_user)?,
            ..HttpClient::default()
        };
        let info = ClusterInfo {
            server: cluster.it.server.clone(),
            tls_server_name: cluster.it.tls_server_name.clone(),
            insecure_skip_tls_verify: cluster.it.insecure_skip_tls_verify,
            certificate_authority_data: authority_data(cluster),
            proxy_url: cluster.it.proxy_url.clone(),
            config: extension(&cluster.it),
        };
        let exec = user.it.exec.as_ref().map(|exec| Exec::new(exec, &user.folder, info));
        let exec = exec.transpose().map_err(in_user)?.map(Box::new);
        let namespace = Some(context.it.namespace.clone()).filter(|namespace| !namespace.is_empty());
        Ok(Connection { server, client, exec, namespace })
    }
}

/// Reads YAML. What is wrong is told by its place only, as the text may hold secrets.
fn yaml<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        wrong(&format!("{}{place}: this is no file of kubectl that can be read", file.display()))
    })
}

fn add<T>(into: &mut Vec<Named<T>>, more: impl Iterator<Item = ((String, PathBuf), T)>) {
    for ((name, folder), it) in more {
        if into.iter().all(|known| known.name != name) {
            into.push(Named { name, folder, it });
        }
    }
}

fn find<'a, T>(all: &'a [Named<T>], what: &str, name: &str) -> Result<&'a Named<T>, Error> {
    all.iter().find(|known| known.name == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|known| &*known.name).collect();
        wrong(&format!("there is no {what} {name:?}; there are: {}", known.join(", ")))
    })
}

fn wrong(what: &str) -> Error {
    Error::Credentials(format!("kubeconfig: {what}"))
}

fn server(text: &str) -> Result<Url, String> {
    let text = if text.is_empty() { "http://localhost:8080" } else { text };
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&text).map_err(|error| format!("the server is no URL: {error}"))?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => Ok(url),
        _ => Err("the server must be an http or https URL".to_owned()),
    }
}

fn proxy(text: &str) -> Result<Proxy, String> {
    if text.is_empty() {
        // As all clients of clusters do.
        return Ok(Proxy { from_environment: true, ..Proxy::default() });
    }
    let url = Url::parse(text).map_err(|error| format!("proxy-url is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5") {
        return Err("proxy-url must begin with http, https or socks5".to_owned());
    }
    Ok(Proxy { url: Some(url), ..Proxy::default() })
}

fn tls(cluster: &Named<ClusterWire>, user: &Named<UserWire>) -> Result<ClientTls, String> {
    let (c, u) = (&cluster.it, &user.it);
    let ca = pem(&c.certificate_authority_data, &c.certificate_authority, &cluster.folder)
        .map_err(|error| format!("certificate-authority-data: {error}"))?;
    if ca.is_some() && c.insecure_skip_tls_verify {
        return Err("insecure-skip-tls-verify and a certificate authority contradict; remove one".to_owned());
    }
    let certificate = pem(&u.client_certificate_data, &u.client_certificate, &user.folder)
        .map_err(|error| format!("client-certificate-data: {error}"))?;
    let key = pem(&u.client_key_data, &u.client_key, &user.folder)
        .map_err(|error| format!("client-key-data: {error}"))?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("the user has a certificate without a key".to_owned()),
        (None, Some(_)) => return Err("the user has a key without a certificate".to_owned()),
    };
    Ok(ClientTls {
        ca,
        identity,
        server_name: c.tls_server_name.clone(),
        insecure_skip_verify: c.insecure_skip_tls_verify,
        ..ClientTls::default()
    })
}

/// Text in the file goes before a path.
fn pem(data: &str, path: &str, folder: &Path) -> Result<Option<SecretSource>, String> {
    if !data.is_empty() {
        let packed: String = data.split_whitespace().collect();
        let bytes = STANDARD.decode(packed).map_err(|_| "it is not base64".to_owned())?;
        let text = String::from_utf8(bytes).map_err(|_| "it holds no text".to_owned())?;
        return Ok(Some(SecretSource::Inline(Secret::new(text))));
    }
    Ok((!path.is_empty()).then(|| SecretSource::File(folder.join(path))))
}

fn auth(user: &Named<UserWire>) -> Result<Auth, String> {
    let UserWire { token, token_file, username, password, .. } = &user.it;
    if user.it.auth_provider.is_some() {
        return Err("auth-provider is no longer a way; use exec".to_owned());
    }
    let has_token = !token.is_empty() || !token_file.is_empty();
    let has_name = !username.is_empty() || !password.is_empty();
    let inline = |text: &String| SecretSource::Inline(Secret::new(text));
    Ok(match (has_token, has_name) {
        (true, true) => return Err("a token and a name contradict; remove one".to_owned()),
        (true, false) if !token_file.is_empty() => bearer(SecretSource::File(user.folder.join(token_file))),
        (true, false) => bearer(inline(token)),
        (false, true) => Auth::Basic { username: inline(username), password: Some(inline(password)) },
        (false, false) => Auth::None,
    })
}

fn impersonation(user: &UserWire) -> Result<Vec<Header>, String> {
    let header =
        |name: String, values: Vec<String>| Header { name, values, secrets: Vec::new(), files: Vec::new() };
    let UserWire { r#as: name, as_uid: uid, as_groups: groups, as_user_extra: extra, .. } = user;
    if name.is_empty() && !(uid.is_empty() && groups.is_empty() && extra.is_empty()) {
        return Err(
            "as-uid, as-groups and as-user-extra say more of whom `as` names; name somebody".to_owned()
        );
    }
    let mut headers = Vec::new();
    if !name.is_empty() {
        headers.push(header("Impersonate-User".to_owned(), vec![name.clone()]));
    }
    if !uid.is_empty() {
        headers.push(header("Impersonate-Uid".to_owned(), vec![uid.clone()]));
    }
    if !groups.is_empty() {
        headers.push(header("Impersonate-Group".to_owned(), groups.clone()));
    }
    for (key, values) in extra {
        headers.push(header(format!("Impersonate-Extra-{}", in_header(key)), values.clone()));
    }
    Ok(headers)
}

/// A key of `as-user-extra` as the end of the name of a header: what may not stand there is escaped as in URLs,
/// which the API server undoes.
fn in_header(key: &str) -> String {
    let mut text = String::new();
    for byte in key.bytes() {
        // The letters of names of headers (RFC 9110), but for the one that begins an escape.
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// What a program that tells who we are wants to know of the cluster.
fn extension(cluster: &ClusterWire) -> serde_json::Value {
    let ours = cluster.extensions.iter().find(|known| known.name == "client.authentication.k8s.io/exec");
    ours.map(|known| known.extension.clone()).unwrap_or_default()
}

fn authority_data(cluster: &Named<ClusterWire>) -> String {
    let ClusterWire { certificate_authority_data: data, certificate_authority: path, .. } = &cluster.it;
    if !data.is_empty() || path.is_empty() {
        return data.clone();
    }
    std::fs::read(cluster.folder.join(path)).map(|bytes| STANDARD.encode(bytes)).unwrap_or_default()
}
