//! What can be typed. Flags are those that promtool, amtool and kubectl users know.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Watches this machine for security and health
#[derive(Debug, Parser)]
#[command(name = "vedette", version, max_term_width = 100, propagate_version = false)]
#[command(after_help = "Start with `vedette up` and open http://127.0.0.1:9090.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine: gather, keep, judge, tell and serve, in one process
    Up(Up),
    /// Keep, judge, tell and serve what is scraped or sent, and nothing of this machine
    Server(Up),
    /// Scrape, and send on by remote write what is scraped; keeps and judges nothing
    Agent(Up),
    /// Ask for metrics in PromQL
    Query(Query),
    /// Search what happened, newest last
    Events(Events),
    /// Check a configuration without starting
    Check {
        /// What to check
        #[command(subcommand)]
        what: Check,
    },
    /// Work with rule files
    Rules {
        /// What to do with them
        #[command(subcommand)]
        what: Rules,
    },
    /// Work with the metric store of a data folder
    Tsdb {
        /// What to do with it
        #[command(subcommand)]
        what: TsdbCommand,
    },
    /// Find out how many nodes of a Kubernetes cluster may fail before the rest cannot carry its pods
    #[command(
        after_help = "Reads lists of objects, as kubectl writes them, or asks the API server. Exit status: 0 any --survive \
                      nodes may fail, 1 they may not, 2 that could not be judged, 3 wrong usage.\n\nExamples:\n  \
                      vedette capacity --kubeconfig ~/.kube/config\n  \
                      kubectl get nodes,pods,pvc,pv,pdb,csinodes,storageclasses,namespaces,priorityclasses -A -o json > cluster.json\n  \
                      vedette capacity cluster.json --survive 2"
    )]
    Capacity(Capacity),
    /// Print the version
    Version {
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print a completion script for a shell
    #[command(after_help = "For example: vedette completions bash > /etc/bash_completion.d/vedette")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// `vedette up` and `vedette server`
#[derive(Debug, Args)]
pub struct Up {
    /// Configuration file (YAML); without one the defaults hold
    #[arg(long, value_name = "FILE", env = "VEDETTE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Configuration of a Prometheus server: its scrape jobs, discovery and rules. Read again on SIGHUP and
    /// when it changes
    #[arg(long, value_name = "FILE", env = "VEDETTE_PROMETHEUS_CONFIG", visible_alias = "config.file")]
    pub prometheus_config: Option<PathBuf>,
    /// Folder for all data
    #[arg(long, value_name = "DIR", env = "VEDETTE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address and port of the web app and all APIs; beyond loopback with --web-config only
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Encryption, users and headers: a file as Prometheus' --web.config.file takes it
    #[arg(long, value_name = "FILE", alias = "web.config.file")]
    pub web_config: Option<PathBuf>,
    /// Where others find this server, for links in alerts; all addresses are there under its path as well
    #[arg(long, value_name = "URL", alias = "web.external-url")]
    pub external_url: Option<String>,
    /// Path under which all addresses are there as well; default: the path of --external-url
    #[arg(long, value_name = "PATH", alias = "web.route-prefix")]
    pub route_prefix: Option<String>,
    /// Pages of other origins that may read answers of Prometheus' API: a regular expression
    #[arg(long, value_name = "REGEX", alias = "web.cors.origin")]
    pub cors_origin: Option<String>,
    /// Least level of messages about itself: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "VEDETTE_LOG")]
    pub log_level: String,
    /// Form of messages about itself
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Where the running Vedette is.
#[derive(Debug, Args)]
pub struct Server {
    /// Address of a running Vedette
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", env = "VEDETTE_URL")]
    pub url: String,
}

/// `vedette query`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vedette query 'node_load1'\n  vedette query 'rate(node_cpu_seconds_total[1m])' --since 1h --step 1m -o json"
)]
pub struct Query {
    /// The expression
    pub expr: String,
    /// Where the running Vedette is
    #[command(flatten)]
    pub server: Server,
    /// Ask for a range that begins this long ago, for example 1h; else for one point in time
    #[arg(long, value_name = "DURATION")]
    pub since: Option<String>,
    /// Time of evaluation, or end of the range (RFC 3339 or Unix seconds); default now
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Step of a range; default: a 250th of it, at least 1s
    #[arg(long, value_name = "DURATION", requires = "since")]
    pub step: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `vedette events`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vedette events --kind finding --follow\n  vedette events --container web --text curl --since 2h"
)]
pub struct Events {
    /// Where the running Vedette is
    #[command(flatten)]
    pub server: Server,
    /// Only this kind (exec, connection, finding, …); can be given several times
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<String>,
    /// Only this container: name, or the beginning of its id
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// Only events that contain all these words, in command lines, names, addresses
    #[arg(long, value_name = "WORDS")]
    pub text: Option<String>,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub since: String,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Go on with new events as they happen
    #[arg(short, long)]
    pub follow: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// `vedette check`
#[derive(Debug, Subcommand)]
pub enum Check {
    /// Check a configuration file and the rule and detection files that it names
    Config {
        /// The file
        file: PathBuf,
    },
    /// Check a prometheus.yml, with the rules, jobs and certificates that it names
    PrometheusConfig {
        /// The file
        file: PathBuf,
    },
}

/// `vedette rules`
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// Check rule files (Prometheus' format)
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// `vedette tsdb`
#[derive(Debug, Subcommand)]
pub enum TsdbCommand {
    /// Take over blocks of Prometheus, Cortex, Mimir or Thanos, native histograms included
    #[command(
        after_help = "Give blocks (folders with a meta.json), or the data folder of a Prometheus. What Prometheus holds in its \
                      write-ahead log only, the last two to three hours, is in no block; a snapshot with its head is one:\n  \
                      curl -X POST http://prometheus:9090/api/v1/admin/tsdb/snapshot\n\nExample:\n  \
                      vedette tsdb import --data-dir /var/lib/vedette /var/lib/prometheus/metrics2"
    )]
    Import {
        /// Where the store is
        #[command(flatten)]
        store: Store,
        /// Blocks, or folders of blocks
        #[arg(required = true, value_name = "BLOCK")]
        blocks: Vec<PathBuf>,
    },
    /// Write samples as blocks that Prometheus, Cortex, Mimir and Thanos read
    #[command(
        after_help = "Example:\n  vedette tsdb export --output blocks --match '{job=\"node\"}' --start 2026-01-31T00:00:00Z"
    )]
    Export {
        /// Where the store is
        #[command(flatten)]
        store: Store,
        /// Folder below which the blocks are made
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// Time that one block covers, up to 1d
        #[arg(long, value_name = "DURATION", default_value = "2h")]
        block_span: String,
        /// Which samples
        #[command(flatten)]
        part: Part,
    },
    /// Print samples, one a line, as `promtool tsdb dump` does: labels, value, milliseconds
    Dump {
        /// Where the store is
        #[command(flatten)]
        store: Store,
        /// Which samples
        #[command(flatten)]
        part: Part,
    },
    /// Say what fills the store: cardinality by metric and label, churn, size
    Analyze {
        /// Where the store is
        #[command(flatten)]
        store: Store,
        /// Lines in each list
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Read all of the store and check every checksum; changes nothing
    #[command(
        after_help = "Exit status: 0 all is sound, 1 damage was found, 2 the store could not be judged."
    )]
    Verify {
        /// Where the store is
        #[command(flatten)]
        store: Store,
    },
    /// Save what still reads of damaged segments, and say what does not
    #[command(after_help = "Bits that flipped are set right. Damaged files are kept under another name.\n\n\
                      Exit status: 0 all was saved, 1 something is lost, 2 the store could not be repaired.")]
    Repair {
        /// Where the store is
        #[command(flatten)]
        store: Store,
        /// Remove damaged files once what can be saved is
        #[arg(long)]
        discard: bool,
    },
    /// Merge the segments of each day into one, which Vedette does by itself when the day is over
    #[command(
        after_help = "A store takes less room so, and answers long ranges quicker: before it is kept as a backup, \
                      say."
    )]
    Merge {
        /// Where the store is
        #[command(flatten)]
        store: Store,
    },
    /// Let a running Vedette make a snapshot of its metric store
    #[command(
        after_help = "The snapshot is a data folder of its own, below `snapshots` in that of the server. The server must \
                      have metrics.admin_api: true in its configuration.\n\nExample, a backup:\n  \
                      vedette tsdb snapshot\n  tar -cf backup.tar -C /var/lib/vedette/snapshots ."
    )]
    Snapshot {
        /// Where the running Vedette is
        #[command(flatten)]
        server: Server,
        /// Leave out what is not sealed yet: the last ten minutes or so
        #[arg(long)]
        skip_head: bool,
    },
}

/// `vedette capacity`
#[derive(Debug, Args)]
pub struct Capacity {
    /// Files of objects in JSON, folders of such files, or - for standard input
    #[arg(required_unless_present_any = ["kubeconfig", "in_cluster"], value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// File of kubectl by which the objects are read from the API server
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of that file, if not its current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub context: Option<String>,
    /// Read the objects from the API server of the cluster that this runs in, as the account of its pod
    #[arg(long, conflicts_with = "kubeconfig")]
    pub in_cluster: bool,
    /// How many nodes must be able to fail at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub survive: usize,
    /// How many failures at once are looked at
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub max_failures: usize,
    /// What becomes of the objects of failed nodes
    #[arg(long, value_enum, default_value_t = Failed::Unreachable)]
    pub failed: Failed,
    /// Label of nodes that fail together; can be given several times [default: topology.kubernetes.io/zone]
    #[arg(long, value_name = "LABEL")]
    pub zone_label: Vec<String>,
    /// Displaced pods are placed one by one as they come, instead of by priority
    #[arg(long)]
    pub one_by_one: bool,
    /// Pods without an owner are made anew by somebody, instead of lost
    #[arg(long)]
    pub bare_pods_return: bool,
    /// Do not look for what to add
    #[arg(long)]
    pub no_advice: bool,
    /// How many times the usual work may be done
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub effort: u64,
    /// How to print
    #[arg(short = 'o', long, visible_alias = "output", value_enum, default_value_t = Output::Table)]
    pub format: Output,
}

/// What becomes of the object of a failed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Failed {
    /// It stays, tainted, and its zone still counts when pods are spread; pods of stateful sets wait for it
    Unreachable,
    /// It stays, tainted as out of service by somebody, so that pods of stateful sets are made anew as well
    OutOfService,
    /// It is gone
    Deleted,
}

/// Where a store is.
#[derive(Debug, Args)]
pub struct Store {
    /// Folder for all data, as given to `vedette up`
    #[arg(long, value_name = "DIR", env = "VEDETTE_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Which samples of a store.
#[derive(Debug, Args)]
pub struct Part {
    /// Only series that this selector matches, for example '{job="node"}'; can be given several times
    #[arg(long = "match", value_name = "SELECTOR")]
    pub matches: Vec<String>,
    /// Only samples from this time on (RFC 3339 or Unix seconds)
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Only samples up to this time
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
    /// For people who like YAML
    Yaml,
}
