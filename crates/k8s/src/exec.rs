//! Programs that tell who we are: they print a token, or a certificate with its key, for a while.
//!
//! The versions `v1` and `v1beta1` of `client.authentication.k8s.io` are spoken. What a program prints
//! is not shown when it cannot be read.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};
use vedette_config::{HttpClient, Secret, SecretSource};

use crate::{Error, connection::bearer, objects::null_as_default};

/// A program that waits for a person never ends.
const TIMEOUT: Duration = Duration::from_secs(25);
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
const VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// A program and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exec {
    version: String,
    command: PathBuf,
    args: Vec<Secret>,
    env: Vec<(String, Secret)>,
    install_hint: String,
    cluster: Option<ClusterInfo>,
}

/// What the program may be told of the cluster. It may hold passwords and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClusterInfo {
    pub(crate) server: String,
    pub(crate) tls_server_name: String,
    pub(crate) insecure_skip_tls_verify: bool,
    pub(crate) certificate_authority_data: String,
    pub(crate) proxy_url: String,
    pub(crate) config: Value,
}

impl std::fmt::Debug for ClusterInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<cluster>")
    }
}

/// The same in a file of `kubectl`.
#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ExecWire {
    api_version: String,
    command: String,
    #[serde(deserialize_with = "null_as_default")]
    args: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    env: Vec<Variable>,
    install_hint: String,
    interactive_mode: String,
    provide_cluster_info: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// What a program told.
pub(crate) struct Told {
    pub(crate) client: HttpClient,
    pub(crate) expires_unix_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    api_version: String,
    kind: String,
    #[serde(default, deserialize_with = "null_as_default")]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: String,
    client_certificate_data: String,
    client_key_data: String,
}

impl Exec {
    pub(crate) fn new(wire: &ExecWire, folder: &Path, cluster: ClusterInfo) -> Result<Self, String> {
        if !VERSIONS.contains(&&*wire.api_version) {
            let reason =
                format!("exec speaks {:?}; it must be one of {}", wire.api_version, VERSIONS.join(", "));
            return Err(reason);
        }
        if wire.command.is_empty() {
            return Err("exec names no command".to_owned());
        }
        if wire.interactive_mode == "Always" {
            return Err(
                "exec wants a person at a terminal (interactiveMode: Always), and there is none".to_owned()
            );
        }
        // A bare name is looked up in PATH; a path begins in the folder of the file.
        let is_path = wire.command.contains('/');
        let command = if is_path { folder.join(&wire.command) } else { PathBuf::from(&wire.command) };
        Ok(Self {
            version: wire.api_version.clone(),
            command,
            args: wire.args.iter().map(Secret::new).collect(),
            env: wire.env.iter().map(|v| (v.name.clone(), Secret::new(&v.value))).collect(),
            install_hint: wire.install_hint.clone(),
            cluster: wire.provide_cluster_info.then_some(cluster),
        })
    }

    /// Runs the program. What it tells is added to `client`.
    pub(crate) async fn ask(&self, client: &HttpClient) -> Result<Told, Error> {
        let name = self.command.display();
        let cannot = |reason: &str| Error::Credentials(format!("the credential program {name} {reason}"));
        let mut command = Command::new(&self.command);
        command
            .args(self.args.iter().map(Secret::expose))
            .envs(self.env.iter().map(|(name, value)| (name, value.expose())))
            .env("KUBERNETES_EXEC_INFO", self.info().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let hint = if self.install_hint.is_empty() { "install it" } else { &self.install_hint };
        let mut child = command.spawn().map_err(|e| cannot(&format!("cannot be started ({e}); {hint}")))?;
        let mut output = Vec::new();
        let printed = child.stdout.take();
        let run = async {
            if let Some(printed) = printed {
                printed.take(OUTPUT_BYTES_MAX).read_to_end(&mut output).await?;
            }
            child.wait().await
        };
        let ended = timeout(TIMEOUT, run).await;
        let ended = ended.map_err(|_| cannot("did not end within 25 s"))?;
        let status = ended.map_err(|error| cannot(&format!("cannot be run: {error}")))?;
        if !status.success() {
            return Err(cannot(&format!("failed ({status})")));
        }
        self.take(&output, client).map_err(|reason| cannot(&reason))
    }

    fn info(&self) -> Value {
        let mut spec = json!({"interactive": false});
        if let Some(cluster) = &self.cluster {
            let mut told = serde_json::Map::new();
            told.insert("server".to_owned(), json!(cluster.server));
            for (name, value) in [
                ("tls-server-name", &cluster.tls_server_name),
                ("certificate-authority-data", &cluster.certificate_authority_data),
                ("proxy-url", &cluster.proxy_url),
            ] {
                if !value.is_empty() {
                    told.insert(name.to_owned(), json!(value));
                }
            }
            if cluster.insecure_skip_tls_verify {
                told.insert("insecure-skip-tls-verify".to_owned(), json!(true));
            }
            told.insert("config".to_owned(), cluster.config.clone());
            spec["cluster"] = Value::Object(told);
        }
        json!({"apiVersion": self.version, "kind": "ExecCredential", "spec": spec})
    }

    fn take(&self, output: &[u8], client: &HttpClient) -> Result<Told, String> {
        let told: Credential =
            serde_json::from_slice(output).map_err(|_| "printed no ExecCredential".to_owned())?;
        if told.kind != "ExecCredential" || told.api_version != self.version {
            return Err(format!(
                "printed another kind or version than an ExecCredential of {}",
                self.version
            ));
        }
        let Status { expiration_timestamp, token, client_certificate_data, client_key_data } = told.status;
        if client_certificate_data.is_empty() != client_key_data.is_empty() {
            return Err("printed a certificate or a key, not both".to_owned());
        }
        if token.is_empty() && client_key_data.is_empty() {
            return Err("printed neither a token nor a certificate".to_owned());
        }
        let mut client = client.clone();
        if !token.is_empty() {
            client.auth = bearer(SecretSource::Inline(Secret::new(token)));
        }
        if !client_key_data.is_empty() {
            let inline = |text: String| SecretSource::Inline(Secret::new(text));
            client.tls.identity = Some((inline(client_certificate_data), inline(client_key_data)));
        }
        let expires = expiration_timestamp.map(|text| text.parse::<jiff::Timestamp>());
        let expires = expires.transpose().map_err(|_| "printed a time of expiry that is none".to_owned())?;
        Ok(Told { client, expires_unix_ms: expires.map(jiff::Timestamp::as_millisecond) })
    }
}
