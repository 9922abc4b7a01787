//! How a cluster is reached, and as whom.

use std::path::{Path, PathBuf};

use url::Url;
use vedette_config::{Auth, ClientTls, HttpClient, SecretSource, without_password};

use crate::{Error, exec::Exec, kubeconfig::Kubeconfig};

/// Where the account of a pod stands within it.
pub const SERVICE_ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Variables and folders by which a connection is found.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Variables of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the account, [`SERVICE_ACCOUNT_FOLDER`] but for tests.
    pub service_account: &'a Path,
}

/// How a cluster is reached, and as whom. Printing it shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// The API server.
    pub server: Url,
    /// How it is asked.
    pub client: HttpClient,
    /// A program that knows who we are.
    pub(crate) exec: Option<Box<Exec>>,
    /// The namespace of the account or of the context.
    pub namespace: Option<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server: _, client, exec, namespace } = self;
        f.debug_struct("Connection")
            .field("server", &self.address())
            .field("client", client)
            .field("exec", exec)
            .field("namespace", namespace)
            .finish()
    }
}

impl Connection {
    /// The URL of the server as it may be shown.
    pub fn address(&self) -> String {
        without_password(&self.server)
    }

    /// A server with a client that is configured elsewhere.
    pub fn to(server: Url, client: HttpClient) -> Self {
        Self { server, client, exec: None, namespace: None }
    }

    /// The cluster that we run in, as the account of our pod. Its token is read again when it changes.
    pub fn in_cluster(surroundings: Surroundings<'_>) -> Result<Self, Error> {
        let env = |name: &str| (surroundings.env)(name).filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (env("KUBERNETES_SERVICE_HOST"), env("KUBERNETES_SERVICE_PORT"))
        else {
            return Err(Error::Credentials(
                "this is no pod of a cluster, as KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; \
                 name an api_server or a kubeconfig_file"
                    .to_owned(),
            ));
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let server = Url::parse(&format!("https://{host}:{port}"));
        let server = server.map_err(|error| {
            Error::Credentials(format!("KUBERNETES_SERVICE_HOST and its port name no server: {error}"))
        })?;
        let file = |name: &str| surroundings.service_account.join(name);
        for name in ["token", "ca.crt"] {
            if let Err(error) = std::fs::metadata(file(name)) {
                let place = file(name);
                return Err(Error::Credentials(format!(
                    "{} cannot be read ({error}); let the pod mount the token of its account",
                    place.display()
                )));
            }
        }
        let namespace = std::fs::read_to_string(file("namespace")).unwrap_or_default();
        let namespace = namespace.trim();
        Ok(Self {
            server,
            client: HttpClient {
                auth: bearer(SecretSource::File(file("token"))),
                tls: ClientTls { ca: Some(SecretSource::File(file("ca.crt"))), ..ClientTls::default() },
                ..HttpClient::default()
            },
            exec: None,
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        })
    }

    /// As `kubectl` with these files would reach a cluster: the current context, or the one that is named.
    pub fn by_kubeconfig(files: &[PathBuf], context: Option<&str>) -> Result<Self, Error> {
        Kubeconfig::read(files)?.connection(context)
    }

    /// As `kubectl` without options: the files of `KUBECONFIG`, or `~/.kube/config`, or our own pod.
    pub fn found(surroundings: Surroundings<'_>, context: Option<&str>) -> Result<Self, Error> {
        let env = |name: &str| (surroundings.env)(name).filter(|value| !value.is_empty());
        let home = env("HOME").map(|home| Path::new(&home).join(".kube/config"));
        let files: Vec<PathBuf> = match env("KUBECONFIG") {
            // Files that are not there are passed over, as kubectl does.
            Some(list) => std::env::split_paths(&list).filter(|file| file.exists()).collect(),
            None => home.into_iter().filter(|file| file.exists()).collect(),
        };
        if files.is_empty() { Self::in_cluster(surroundings) } else { Self::by_kubeconfig(&files, context) }
    }
}

pub(crate) fn bearer(credentials: SecretSource) -> Auth {
    Auth::Authorization { scheme: "Bearer".to_owned(), credentials: Some(credentials) }
}

#[cfg(test)]
mod tests;
