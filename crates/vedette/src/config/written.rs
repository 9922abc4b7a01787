//! What a person writes: the keys of the file, as they stand there and unchecked. Their comments are the
//! reference page.

use std::{collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::{Collectors, CustomResources, Export};

/// The configuration file. Durations are written like `15s`, `5m`, `2h`, `7d`; sizes like
/// `512MiB`, `2GiB`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Address and port of the web app and all APIs. Default `127.0.0.1:9090`. Other than loopback
    /// addresses are taken only with a `web_config` that names users or asks clients for certificates.
    pub listen: Option<String>,
    /// A `prometheus.yml` whose scrape jobs, discovery and rules are put to work, relative to this file. Read
    /// again on SIGHUP and when it changes. Default: none.
    pub prometheus_config: Option<PathBuf>,
    /// Encryption, users and headers of the web server: a file as Prometheus' `--web.config.file` takes it,
    /// relative to this file. It is read again when it changes, with the files that it names. Default: none.
    pub web_config: Option<PathBuf>,
    /// Where others find this server, for links in alerts: an address with `http://` or `https://`, as Prometheus'
    /// `--web.external-url`. All addresses are there under its path as well. Default: the address that is
    /// listened on.
    pub external_url: Option<String>,
    /// Which pages of other origins may read answers of Prometheus' API in a browser: a regular expression, as
    /// Prometheus' `--web.cors.origin`. Default: any where users are asked who they are, else none.
    pub cors_origin: Option<String>,
    /// Whether the program can be told over HTTP to read `prometheus.yml` again and to end, as with Prometheus'
    /// `--web.enable-lifecycle`. Default false.
    pub lifecycle_api: bool,
    /// Folder for all data. Default `/var/lib/vedette` for root, else `~/.local/share/vedette`.
    pub data_dir: Option<PathBuf>,
    /// How facts are gathered.
    pub collect: Collect,
    /// Which figures of the machine and of its containers are read.
    pub collectors: Collectors,
    /// Kubernetes clusters that are watched. Default: none.
    pub kubernetes: Vec<KubernetesCluster>,
    /// What is done with scraped series beyond what `prometheus.yml` says.
    pub scrape: Scrape,
    /// How metrics are kept.
    pub metrics: KeepMetrics,
    /// How events are kept.
    pub events: Keep,
    /// What is taken beside what comes over HTTP.
    pub receive: Receive,
    /// Where samples are exported to, beside the store and remote write.
    pub export: Export,
    /// What PromQL queries may take, and what is told of them.
    pub query: Query,
    /// Recording and alerting rules.
    pub rules: Rules,
    /// Detections.
    pub detections: Detections,
    /// Who is told.
    pub notify: Notify,
}

/// What is taken beside what comes over HTTP.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receive {
    /// Graphite's plaintext protocol.
    pub graphite: Graphite,
    /// Metrics of OpenTelemetry.
    pub otlp: Otlp,
}

/// Metrics of OpenTelemetry.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// What is done with points that count since the point before: `refuse` tells their sender, `store` keeps them
    /// as they are, as Prometheus' feature `otlp-native-delta-ingestion`, `convert` adds them up, as
    /// `otlp-deltatocumulative`. Default `refuse`.
    pub delta: Option<String>,
}

/// Graphite's plaintext protocol.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Graphite {
    /// Address and TCP port on which lines are taken, for example `127.0.0.1:2003`; only loopback addresses, as the
    /// protocol has no authentication. Default: none are.
    pub listen: Option<String>,
}

/// A Kubernetes cluster that is watched: its objects, how its parts are, and how many of its nodes may fail.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesCluster {
    /// What it is called; the value of the label `cluster` where there are several.
    pub name: String,
    /// A file of `kubectl`, relative to this file. Default: the account of the pod that Vedette runs in.
    pub kubeconfig_file: Option<PathBuf>,
    /// A context of that file. Default: its current context.
    pub context: Option<String>,
    /// `on` or `off`: whether the cluster's events are kept in the event store. Default `on`; with `vedette agent`, which
    /// has no store, they are not.
    pub events: Option<String>,
    /// How the API server's audit records come, of which those are kept in the event store that tell who made or
    /// changed what runs. Default: they do not. With `vedette agent`, which has no store, they do not either.
    pub audit: ClusterAudit,
    /// What this machine is called in the cluster, if it is one of its nodes. Default: its host name.
    pub node: Option<String>,
    /// `on` or `off`: whether containers of this machine that belong to no pod of the cluster are found, if it is one of
    /// its nodes. Default `on`.
    pub stray_containers: Option<String>,
    /// How long pods that are gone are known, over restarts too, so that what is kept of them is told with their names.
    /// Default `15d`.
    pub gone_pods_kept: Option<String>,
    /// How many pods that are gone are known; of more, those that went first are forgotten, which is counted on the
    /// status page. Default 100000.
    pub gone_pods_max: Option<usize>,
    /// Which of its objects are told at `/metrics/kube-state` and stored, and with which of their labels.
    pub state_metrics: StateMetrics,
    /// How many of its nodes may fail: judged with these keys, or `off`. Default: judged with the defaults.
    pub capacity: Switch<ClusterCapacity>,
    /// Which pods are allowed: judged with these keys, or `off`. Default: judged with the defaults. With
    /// `vedette agent`, which keeps no findings, they are not.
    pub policy: Switch<ClusterPolicy>,
    /// Between two questions to the API server and to etcd about their health: 500ms to 1m. Default: 1s. What
    /// fails is found after three seconds and one interval.
    pub probe_interval: Option<String>,
    /// How long an answer to such a question may take, at most three intervals. Default: two intervals.
    pub probe_timeout: Option<String>,
    /// The members of etcd, where they are to be asked themselves. Default: what the API server says of them.
    pub etcd: EtcdMembers,
    /// Health endpoints of parts that are to be asked themselves, beside what their leases and pods tell: at most 100
    /// in all. Default: none.
    pub probes: Vec<PartProbe>,
    /// Parts whose own metrics are scraped, as `[{parts: [apiserver, coredns]}]`; each part at most once. Default: none.
    pub part_metrics: Vec<PartMetrics>,
}

/// How audit records of a cluster come.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterAudit {
    /// `on` or `off`: whether they are taken at `/api/vedette/v1/audit/NAME`, where NAME is that of the cluster, as the
    /// webhook of an API server sends them (`--audit-webhook-config-file`). Default `off`.
    pub webhook: Option<String>,
    /// The file of the API server's `--audit-log-path`, relative to this file, where this machine has it. It is followed
    /// when it is rotated. Default: none.
    pub log_file: Option<PathBuf>,
}

/// The members of etcd that are asked themselves.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdMembers {
    /// Their URLs, as `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// A file with the certificates that are trusted, relative to this file. Default: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// A file with the certificate that is shown. It needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// A file with the key of that certificate.
    pub key_file: Option<PathBuf>,
    /// The name that the certificates of the members have, where it is not that of their URLs.
    pub server_name: Option<String>,
}

/// Health endpoints of a part of a cluster.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartProbe {
    /// Which part: `scheduler`, `controller-manager`, `cloud-controller-manager`, `kube-proxy` or `coredns`.
    pub part: String,
    /// Their URLs, as `https://10.0.0.1:10259`. Where there is no path, `/healthz` is asked for.
    pub endpoints: Vec<String>,
    /// A file with the certificates that are trusted, relative to this file. Default: those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificates of the endpoints have, where it is not that of their URLs.
    pub server_name: Option<String>,
    /// Whether any certificate will do, as of parts that make one for themselves. Not with `use_cluster_token`. Default
    /// false.
    pub insecure_skip_verify: bool,
    /// Whether the endpoints are shown the token that the API server is shown; they must be encrypted. Default false.
    pub use_cluster_token: bool,
}

/// Parts of a cluster whose own metrics are scraped, without a scrape job in `prometheus.yml`, and how they are reached.
/// The keys of files and certificates hold for `scheduler`, `controller-manager`, `kubelet` and `cadvisor`: the API server
/// is asked as the cluster is, etcd by the keys of `etcd`, the others without encryption.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartMetrics {
    /// Which parts: `apiserver`, `etcd` (the endpoints of the cluster's `etcd`), `scheduler`, `controller-manager`,
    /// `kubelet`, `cadvisor` (the kubelet's figures of containers), `coredns`, `kube-proxy`; or `all`, alone, for all of
    /// them, `etcd` where its endpoints are named.
    pub parts: Vec<String>,
    /// Between two scrapes: 1s to 2m. Default `30s`.
    pub interval: Option<String>,
    /// A file with the certificates that are trusted, relative to this file. Default: those that the API server is
    /// trusted by.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificates of the parts have, where it is not their address.
    pub server_name: Option<String>,
    /// Whether any certificate will do, as of parts that make one for themselves. The cluster's token is then not shown;
    /// a client certificate may be. Default false.
    pub insecure_skip_verify: bool,
    /// A file with the client certificate that is shown, relative to this file. It needs `key_file`. Default: that of
    /// the cluster's kubeconfig, if it has one.
    pub cert_file: Option<PathBuf>,
    /// A file with the key of that certificate.
    pub key_file: Option<PathBuf>,
}

/// The state of the objects of a cluster as metrics, by the names of kube-state-metrics.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateMetrics {
    /// Kinds of objects by their words in paths, as `pods`; an empty list for none. Default: all that
    /// kube-state-metrics tells by default.
    pub kinds: Option<Vec<String>>,
    /// Names of labels that are told of the objects of a kind, or `*` for all: `{pods: [app]}`. Default: none.
    pub labels: BTreeMap<String, Vec<String>>,
    /// The same of annotations. Default: none.
    pub annotations: BTreeMap<String, Vec<String>>,
    /// Which custom resources are told, and with what: files of kind `CustomResourceStateMetrics` as kube-state-metrics
    /// takes them, relative to this file, or the same written here. They are read once, at the start. Default: none.
    pub custom_resources: Vec<CustomResources>,
    /// Between two readings for the store, 1s to 2m, or `off` where nothing is stored, as where a kube-state-metrics
    /// of the cluster is scraped. A job that scrapes the page of this program goes first. Default `30s`.
    pub interval: Option<String>,
}

/// How many nodes of a cluster may fail before the rest cannot carry its pods; see the page Capacity.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterCapacity {
    /// How many nodes must be able to fail at once; an alert says when they no longer are. Default 1.
    pub survive: Option<usize>,
    /// How many failures at once are looked at, up to 10. Default 3.
    pub max_failures: Option<usize>,
    /// What becomes of failed nodes: `unreachable` they stay, tainted, and count when pods are spread, and pods of
    /// stateful sets wait for them; `out-of-service` the same, but somebody tainted them so that these are made anew;
    /// `deleted` they are gone. Default `unreachable`.
    pub failed: Option<String>,
    /// Labels of nodes that fail together. Default `[topology.kubernetes.io/zone]`.
    pub zone_labels: Option<Vec<String>>,
    /// Labels that name the pool of a node, whose nodes fail alike; the first that a node has counts. Default: those
    /// of the pools of well-known clouds, of Karpenter and of Cluster API, then `node.kubernetes.io/instance-type`.
    pub pool_labels: Option<Vec<String>>,
    /// Whether pods without an owner are made anew by somebody, instead of lost. Default false.
    pub bare_pods_return: bool,
    /// Least time between two judgements; after long ones there is a longer rest. Default `30s`.
    pub interval: Option<String>,
    /// How many times the usual work may be done for a judgement, up to 1000. Default 1.
    pub effort: Option<u64>,
}

/// Which pods of a cluster are allowed; others are findings with who made them. Nothing is kept from running.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterPolicy {
    /// Registries that images may come from, or parts of them by whole parts of their path, as `docker.io/library`,
    /// `ghcr.io/acme` or `*.example.com`; `*` stands for any letters of one part. Default: none, which allows all.
    pub allowed_registries: Vec<String>,
    /// Pods with access to their machine: judged with these keys, or `off`. Default: judged with the defaults.
    pub privileged: Switch<ClusterPrivileged>,
    /// `on` or `off`: whether it is found that a container runs another digest than its pod names, and that one tag
    /// runs with several digests. Default `on`.
    pub image_digests: Option<String>,
}

/// Where pods may be privileged, share namespaces of their machine (`hostPID`, `hostIPC`, `hostNetwork`), mount its paths
/// or add capabilities beyond the level Baseline of the Pod Security Standards.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterPrivileged {
    /// Namespaces where pods may; `*` stands for any letters, as in `openshift-*`. Default `[kube-system]`.
    pub allowed_namespaces: Option<Vec<String>>,
}

/// Something that is done with its own keys, or not: `off`.
#[derive(Debug, Clone)]
pub enum Switch<T> {
    /// It is done.
    On(T),
    /// It is not.
    Off,
}

impl<T: Default> Default for Switch<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Switch<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of keys or `off`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "off" => Ok(Switch::Off),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
            // What other readers of YAML take for `off`.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                match on {
                    false => Ok(Switch::Off),
                    true => Err(E::invalid_value(de::Unexpected::Bool(on), &self)),
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Switch::On)
            }
        }
        from.deserialize_any(Visitor(PhantomData))
    }
}

/// How facts are gathered.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Time between two readings of host and containers. Default `1s`.
    pub interval: Option<String>,
    /// Sockets of container runtimes. Default: the usual places of containerd, CRI-O, Docker and Podman.
    pub runtime_sockets: Option<Vec<PathBuf>>,
    /// `auto` reads figures of host, containers and Vedette itself, `off` does not: then only what
    /// others send is kept. Default `auto`.
    pub figures: Option<String>,
    /// `auto` loads the kernel sensor where kernel and rights allow it, `off` does not. Default `auto`.
    pub sensor: Option<String>,
}

/// What is done with scraped series beyond what `prometheus.yml` says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrape {
    /// What is done with the times since when counters count: `ignore` nothing, `zero` stores a sample of 0 at
    /// that time (also of what is pushed, but for native histograms), as Prometheus' feature `created-timestamp-zero-ingestion`, `store` keeps them with the samples,
    /// as `st-storage`. Default `ignore`.
    pub start_timestamps: Option<String>,
    /// Whether series get their type and unit as the labels `__type__` and `__unit__`, as with Prometheus' feature
    /// `type-and-unit-labels`. Default false.
    pub type_and_unit_labels: bool,
}

/// How long and how many metrics are kept, when they are safe from a power failure, and who may
/// remove them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepMetrics {
    /// Age after which samples are removed. Default `15d`.
    pub retention: Option<String>,
    /// Size above which the oldest data is removed; rollups take a quarter of it at most. Default `10GiB`.
    pub retention_size: Option<String>,
    /// What a power failure may cost at most; `always` syncs before anything is acknowledged. Default `1s`.
    pub flush_interval: Option<String>,
    /// Series that are kept for another time; the first rule that fits a series counts.
    pub retention_rules: Vec<RetentionRule>,
    /// Rows that stand for the samples of a step and stay longer than they; `[]` keeps none. Default
    /// `[{step: 5m, retention: 90d}, {step: 1h, retention: 2y}]`.
    pub rollups: Option<Vec<RollupKeep>>,
    /// Whether series can be deleted and snapshots made over HTTP, as with Prometheus'
    /// `--web.enable-admin-api`. Default false.
    pub admin_api: bool,
    /// How many series may take samples at the same time. Beyond a limit new series are refused, counted and
    /// named on the status page, while those that are there go on.
    pub limits: Limits,
}

/// What new series may take. A number of 0 means no limit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of all series, their index and their latest samples, as a size or as a share of the memory
    /// that this process may use. Default `25%`.
    pub memory: Option<String>,
    /// All series. Default 10,000,000.
    pub series: Option<usize>,
    /// Series of one metric name. Default 0.
    pub series_per_metric: usize,
    /// Series of one target, with the same `job` and `instance`. Default 0.
    pub series_per_target: usize,
    /// Series of one tenant, with the same value of `tenant_label`. Default 0.
    pub series_per_tenant: usize,
    /// The label that names the tenant. Default `tenant`.
    pub tenant_label: Option<String>,
}

/// A rule: which series, and how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// The series, for example `{job="node"}`.
    pub selector: String,
    /// Age after which their samples are removed, shorter or longer than `retention`; at least `10m`.
    pub keep: String,
}

impl KeepMetrics {
    /// What every store is told.
    pub(super) fn keep(&self) -> Keep {
        Keep {
            retention: self.retention.clone(),
            retention_size: self.retention_size.clone(),
            flush_interval: self.flush_interval.clone(),
        }
    }
}

/// How long and how much is kept, and when it is safe from a power failure.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Age after which data is removed. Default `7d`.
    pub retention: Option<String>,
    /// Size above which the oldest data is removed. Default `2GiB`.
    pub retention_size: Option<String>,
    /// What a power failure may cost at most; `always` syncs before anything is acknowledged. Default `1s`.
    pub flush_interval: Option<String>,
}

/// Rows for the samples of each step, made from samples that are older than a day.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupKeep {
    /// Length of a step, in whole seconds.
    pub step: String,
    /// Age after which rows are removed.
    pub retention: String,
}

/// What PromQL queries may take, and what is told of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// How long a query may wait and run; a request may say less with `timeout`. Default `2m`.
    pub timeout: Option<String>,
    /// Queries that run at the same time. Default 20.
    pub max_concurrency: Option<usize>,
    /// Of these, how many one client may have: one address and user, as `X-Forwarded-For`, `X-Grafana-User` and
    /// `User-Agent` tell. Default three quarters of `max_concurrency`.
    pub max_concurrency_per_client: Option<usize>,
    /// Threads that all queries together may have beside their own: those that take long are evaluated by several.
    /// 0 for none. Default one less than there are processors, at most 64.
    pub threads: Option<usize>,
    /// Queries that wait for their turn; further ones are refused. Clients take turns. Default 1000.
    pub max_waiting: Option<usize>,
    /// Of these, how many one client may have. Default a quarter of `max_waiting`.
    pub max_waiting_per_client: Option<usize>,
    /// Samples that one query may hold in memory at a time. Default 50,000,000.
    pub max_samples: Option<u64>,
    /// Memory that one query may hold. Default `512MiB`.
    pub memory: Option<String>,
    /// Memory that all queries together may hold, as a size or as a share of the memory that this process may
    /// use. Default `25%`.
    pub total_memory: Option<String>,
    /// Size of the answer to one query. Default `256MiB`.
    pub max_answer_size: Option<String>,
    /// How far back a sample may lie to count as current; a request may say otherwise with `lookback_delta`.
    /// Default `5m`.
    pub lookback_delta: Option<String>,
    /// Memory of answers to range queries that are kept, so that a dashboard that moves along with the clock is
    /// given only its new steps anew; `off` keeps none, and a request refuses kept answers with `nocache=1`.
    /// Default `64MiB`.
    pub cache: Option<String>,
    /// Queries that take at least so long are logged and shown on the status page. Default `5s`.
    pub slow: Option<String>,
    /// File to which all queries are written, one JSON object a line, as in Prometheus' `query_log_file`; relative
    /// to the data folder. Default: none.
    pub log_file: Option<PathBuf>,
}

/// Recording and alerting rules.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Whether Vedette's own rules run. Default true with `vedette up`, false with `vedette server`.
    pub builtin: Option<bool>,
    /// Further rule files in Prometheus' format, relative to this file.
    pub files: Vec<PathBuf>,
    /// Time between evaluations for groups that name none. Default `5s`.
    pub evaluation_interval: Option<String>,
    /// How long the query of one rule may take; the rules after it wait for it. Default `10s`.
    pub query_timeout: Option<String>,
}

/// Detections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detections {
    /// Whether Vedette's own detections run. Default true.
    pub builtin: bool,
    /// Further detection files (`*.md`), relative to this file.
    pub files: Vec<PathBuf>,
}

impl Default for Detections {
    fn default() -> Self {
        Self { builtin: true, files: Vec::new() }
    }
}

/// Who is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// Where notifications go.
    pub receivers: Vec<Receiver>,
    /// How long a first notification waits for more alerts of its group. Default `5s`.
    pub group_wait: Option<String>,
    /// How long changes of a group that was told are collected. Default `30s`.
    pub group_interval: Option<String>,
    /// After how long a group that still fires is told again. Default `4h`.
    pub repeat_interval: Option<String>,
}

/// One receiver: a name and exactly one of the kinds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// The name shown on the status page.
    pub name: String,
    /// The least severity that is told: `info`, `warning`, `critical`. Default `info`.
    #[serde(default)]
    pub severity: Option<String>,
    /// An HTTP endpoint that takes Alertmanager's webhook format.
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// A file to which one JSON object a line is appended.
    #[serde(default)]
    pub file: Option<FileReceiver>,
}

/// An HTTP endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http://` or `https://`.
    pub url: String,
    /// How long one attempt may take. Default `10s`.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileReceiver {
    /// Its path, relative to the data folder.
    pub path: PathBuf,
}
