//! Exports to real servers: ten minutes' worth of samples, with the server killed for a part of the time
//! and the exports stopped and started in it; in the end every sample is there once.
//!
//! The servers are Debian's, unpacked below `target/peers/debian`, or run on the machine's JVM from
//! artefacts below `target/peers/jvm`; where one is not there, its test says so.

mod certificates;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use certificates::Certificates;
use vedette_config::{HttpClient, Secret, SecretSource};
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_model::{
    Batch, Labels, Matcher, Origin, Payload, Row, Samples, SeriesDefinition,
    status::StatusBoard,
    telemetry::{Family, MetricVisitor, Telemetry},
};
use vedette_remote::{
    BatchLimits, Elasticsearch, Export, ExportConfig, ExportPlan, Exports, IndexPer, InfluxDb, InfluxVersion,
    Kafka, KafkaCompression, Parts, Redis, Sasl, SaslMechanism, Shape, SinkConfig, SpoolConfig,
};
use vedette_sys::{RealFs, SystemClock};

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(240);
/// Ten minutes at one row a second.
const ROWS: usize = 600;
const CONTAINERS: usize = 5;
const FAMILIES: [&str; 4] = ["container_a", "container_b", "container_c", "container_d"];
const START_MS: i64 = 1_700_000_000_000;
/// Two batches and a record of what is fed here are far less.
const MEMORY_BYTES_MAX: f64 = 1e6;

/// Root of the tree of unpacked Debian packages.
fn debian() -> PathBuf {
    std::env::var_os("VEDETTE_PARTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/debian"),
        PathBuf::from,
    )
}

/// A program of others; it is killed when dropped.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let log2 = log.try_clone().expect("a log");
        Self(command.stdin(Stdio::null()).stdout(log).stderr(log2).spawn().expect("it starts"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    listener.local_addr().expect("bound")
}

fn wait_for(what: &str, probe: impl FnMut() -> bool) {
    wait_or_tell(what, probe, String::new);
}

/// Who waits in vain tells more.
#[expect(clippy::disallowed_methods, reason = "servers of others are waited for in real time")]
fn wait_or_tell(what: &str, mut probe: impl FnMut() -> bool, more: impl Fn() -> String) {
    let end = std::time::Instant::now() + PATIENCE;
    while !probe() {
        assert!(std::time::Instant::now() < end, "waited {PATIENCE:?} for {what} in vain: {}", more());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sums of own metrics by name.
struct Sum<'a>(&'a str, f64);

impl MetricVisitor for Sum<'_> {
    fn value(&mut self, family: &Family, _: &[(&str, &str)], value: f64) {
        if family.name == self.0 {
            self.1 += value;
        }
    }
}

/// An export, and what is fed to it.
struct Exporting {
    folder: PathBuf,
    sink: SinkConfig,
    shape: Shape,
    running: Option<(Exports, Telemetry, StatusBoard)>,
    row: usize,
    epoch: u64,
}

impl Exporting {
    fn new(folder: &Path, sink: SinkConfig, shape: Shape) -> Self {
        let mut made = Self { folder: folder.to_owned(), sink, shape, running: None, row: 0, epoch: 0 };
        made.restart();
        made
    }

    /// As after the end of the process: what was not acknowledged is sent again.
    fn restart(&mut self) {
        self.running = None;
        self.epoch += 1;
        let plan = ExportPlan {
            selectors: vec![vec![Matcher::equal("job", "kubelet")]],
            interval: Duration::ZERO,
            batch: BatchLimits { samples: 400, bytes: 64 << 10, age: Duration::from_millis(100) },
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_millis(400),
        };
        let export = Export {
            name: "there".into(),
            plan,
            shape: self.shape,
            timeout: Duration::from_secs(20),
            sink: self.sink.clone(),
        };
        let spool = SpoolConfig { owner: "exports", ..SpoolConfig::new(self.folder.join("spool")) };
        let config = ExportConfig { spool, machine: "m1".into(), labels: Vec::new(), exports: vec![export] };
        let clock: Arc<dyn vedette_sys::Clock> = Arc::new(SystemClock);
        let parts = Parts {
            fs: Arc::new(RealFs),
            clock: clock.clone(),
            status: StatusBoard::default(),
            telemetry: Telemetry::default(),
        };
        let options = Options {
            user_agent: "Vedette/test".into(),
            unix_socket: None,
            proxy_environment: ProxyEnvironment::default(),
            clock,
        };
        let exports = Exports::open(config, &parts, &options).expect("opens");
        self.running = Some((exports, parts.telemetry, parts.status));
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, telemetry, _) = self.running.as_ref().expect("running");
        let mut sum = Sum(name, 0.0);
        telemetry.visit(&mut sum);
        sum.1
    }

    /// Feeds so many seconds.
    fn feed(&mut self, rows: usize) {
        let (exports, ..) = self.running.as_ref().expect("running");
        let labels: Vec<Labels> = (0..CONTAINERS)
            .flat_map(|container| FAMILIES.map(|family| (container, family)))
            .map(|(container, family)| {
                let id = format!("/pods/c{container}");
                Labels::from_pairs([("__name__", family), ("id", &id), ("job", "kubelet")])
            })
            .collect();
        let origin = Origin {
            tenant: "t".into(),
            cluster: "c".into(),
            source: "s".into(),
            epoch: self.epoch * 1000 + self.row as u64,
        };
        for seq in 0..rows {
            let number = |at: usize| u32::try_from(at).expect("few");
            let defined = labels.iter().enumerate();
            let defined = defined.map(|(at, l)| SeriesDefinition { series: number(at), labels: l.clone() });
            let row = Row {
                time_ms: START_MS + self.row as i64 * 1000,
                series: (0..number(labels.len())).collect(),
                values: (0..labels.len()).map(|at| (self.row * 100 + at) as f64).collect(),
                ..Row::default()
            };
            let samples = Samples {
                defined: if seq == 0 { defined.collect() } else { Vec::new() },
                rows: vec![row],
                ..Samples::default()
            };
            let batch = Batch { origin: origin.clone(), seq: seq as u64, payload: Payload::Samples(samples) };
            exports.sink().accept(&batch).expect("spooled");
            self.row += 1;
            let memory = self.metric("vedette_export_memory_bytes");
            assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes in memory");
        }
    }

    fn wait_sent(&self) {
        let is_sent = || self.metric("vedette_export_samples_pending") == 0.0;
        wait_or_tell("everything to be sent", is_sent, || self.health());
        assert_eq!(self.metric("vedette_export_batches_lost_total"), 0.0);
    }

    fn health(&self) -> String {
        let (.., status) = self.running.as_ref().expect("running");
        status
            .get("export there")
            .map(|part| format!("{:?} {}", part.health, part.message))
            .unwrap_or_default()
    }

    /// Ten minutes' worth, of which the server is away for four and is killed under load.
    fn live_through(&mut self, mut start: impl FnMut() -> Server, mut prepare: impl FnMut()) -> Server {
        let server = start();
        prepare();
        self.feed(ROWS / 4);
        self.wait_sent();
        self.feed(ROWS / 12);
        drop(server);
        self.feed(ROWS / 6);
        wait_for("the trouble to be shown", || self.health().starts_with("Degraded"));
        self.restart();
        self.feed(ROWS / 4);
        assert!(self.metric("vedette_export_samples_pending") > 0.0);
        let server = start();
        self.feed(ROWS - self.row);
        self.wait_sent();
        wait_for("the trouble to be over", || self.health().starts_with("Ok"));
        assert_eq!(self.row, ROWS);
        server
    }
}

fn http(address: SocketAddr, method: &str, target: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = text.split_once("\r\n\r\n")?;
    Some((status, body.to_owned()))
}

#[test]
#[ignore = "starts InfluxDB; the lane e2e runs it"]
fn influxdb_has_every_point_once() {
    let binary = debian().join("usr/bin/influxd");
    if !binary.is_file() {
        println!("SKIPPED export to InfluxDB: Debian's influxdb is not unpacked");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (address, rpc) = (free_address(), free_address());
    let sink = SinkConfig::InfluxDb(InfluxDb {
        url: format!("http://{address}"),
        client: HttpClient::default(),
        version: InfluxVersion::V1 { database: "there".into(), retention_policy: String::new() },
        gzip: true,
    });
    let start = || {
        let data = folder.path().join("influxdb");
        let mut command = Command::new(&binary);
        command
            .env("INFLUXDB_REPORTING_DISABLED", "true")
            .env("INFLUXDB_BIND_ADDRESS", rpc.to_string())
            .env("INFLUXDB_HTTP_BIND_ADDRESS", address.to_string())
            .env("INFLUXDB_META_DIR", data.join("meta"))
            .env("INFLUXDB_DATA_DIR", data.join("data"))
            .env("INFLUXDB_DATA_WAL_DIR", data.join("wal"))
            .env("INFLUXDB_MONITOR_STORE_ENABLED", "false");
        let server = Server::start(&mut command, &folder.path().join("influxdb.log"));
        wait_for("InfluxDB", || http(address, "GET", "/ping").is_some_and(|(status, _)| status == 204));
        server
    };
    let mut exporting = Exporting::new(folder.path(), sink, Shape::Vedette);
    let _server = exporting.live_through(start, || {
        let made = http(address, "POST", "/query?q=CREATE+DATABASE+there");
        assert_eq!(made.map(|(status, _)| status), Some(200));
    });
    for (at, family) in FAMILIES.iter().enumerate() {
        let query = format!(
            "SELECT+count(value),sum(value)+FROM+{family}+WHERE+id%3D%27/pods/c2%27+AND+machine%3D%27m1%27"
        );
        let (_, body) = http(address, "GET", &format!("/query?db=there&q={query}")).expect("an answer");
        let sum: f64 = (0..ROWS).map(|row| (row * 100 + 2 * FAMILIES.len() + at) as f64).sum();
        assert!(body.contains(&format!("{ROWS},{sum}]")), "{family}: {body}");
    }
    let (_, body) =
        http(address, "GET", "/query?db=there&q=SELECT+count(value)+FROM+/container_./").expect("an answer");
    assert_eq!(body.matches(&format!(",{}]", ROWS * CONTAINERS)).count(), FAMILIES.len(), "{body}");
}

/// What all servers here are told to ask for.
const PASSWORD: &str = "geheim";

fn password() -> SecretSource {
    SecretSource::Inline(Secret::new(PASSWORD))
}

/// One command and its reply; as much of the protocol as is needed here.
fn redis(address: SocketAddr, words: &[&str]) -> Option<Vec<String>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(command.as_bytes()).ok()?;
    let mut reader = std::io::BufReader::new(stream);
    let mut line = || -> Option<String> {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut reader, &mut line).ok()?;
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let Some(count) = first.strip_prefix('*') else { return Some(vec![first]) };
    // Documents have no line breaks.
    (0..count.parse::<usize>().ok()?).map(|_| line().and_then(|_| line())).collect()
}

/// The stream is reached by TLS, with a certificate for the client; the list is not.
fn redis_lives_through(is_stream: bool) {
    let binary = debian().join("usr/bin/redis-server");
    if !binary.exists() {
        println!("SKIPPED export to Redis: Debian's redis-server is not unpacked");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (address, encrypted) = (free_address(), free_address());
    let certificates = Certificates::make();
    certificates.write(folder.path());
    let sink = SinkConfig::Redis(Redis {
        address: if is_stream { encrypted } else { address }.to_string(),
        key: "there".into(),
        is_stream,
        length_max: 0,
        database: 0,
        username: String::new(),
        password: Some(password()),
        tls: is_stream.then(|| certificates.client()),
    });
    let start = || {
        let mut command = Command::new(&binary);
        let (port, encrypted) = (address.port().to_string(), encrypted.port().to_string());
        // What it has acknowledged must be there after it was killed, or the sink could not tell.
        let arguments = ["--port", &port, "--appendonly", "yes", "--appendfsync", "always", "--save", ""];
        command.args(arguments).arg("--dir").arg(folder.path());
        command.args(["--tls-port", &encrypted, "--tls-auth-clients", "yes"]);
        for (option, file) in [
            ("--tls-key-file", "server.key"),
            ("--tls-cert-file", "server.crt"),
            ("--tls-ca-cert-file", "ca.crt"),
        ] {
            command.arg(option).arg(folder.path().join(file));
        }
        command.env("LD_LIBRARY_PATH", debian().join("usr/lib/x86_64-linux-gnu"));
        let server = Server::start(&mut command, &folder.path().join("redis.log"));
        wait_for("Redis", || {
            redis(address, &["PING"]).is_some_and(|reply| !reply[0].starts_with("-LOADING"))
        });
        let _ = redis(address, &["CONFIG", "SET", "requirepass", PASSWORD]);
        server
    };
    let mut exporting = Exporting::new(folder.path(), sink, Shape::Vedette);
    let _server = exporting.live_through(start, || ());
    let documents = ask_with_password(address, is_stream);
    assert_eq!(documents.len(), ROWS * CONTAINERS, "one for each container and second");
    let mut seen = BTreeSet::new();
    for text in documents {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let key = (value["labels"]["id"].to_string(), value["@timestamp"].to_string());
        assert!(seen.insert(key), "{text} is there twice");
        assert_eq!(value["metrics"].as_object().expect("metrics").len(), FAMILIES.len());
    }
}

fn ask_with_password(address: SocketAddr, is_stream: bool) -> Vec<String> {
    let mut stream = TcpStream::connect(address).expect("connects");
    let ask = if is_stream {
        "*4\r\n$6\r\nXRANGE\r\n$5\r\nthere\r\n$1\r\n-\r\n$1\r\n+\r\n"
    } else {
        "*4\r\n$6\r\nLRANGE\r\n$5\r\nthere\r\n$1\r\n0\r\n$2\r\n-1\r\n"
    };
    let quit = "*1\r\n$4\r\nQUIT\r\n";
    let text = format!("*2\r\n$4\r\nAUTH\r\n$6\r\ngeheim\r\n{ask}{quit}");
    stream.write_all(text.as_bytes()).expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reads");
    answer.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
}

#[test]
#[ignore = "starts Redis; the lane e2e runs it"]
fn a_list_of_redis_has_every_document_once() {
    redis_lives_through(false);
}

#[test]
#[ignore = "starts Redis; the lane e2e runs it"]
fn a_stream_of_redis_has_every_document_once() {
    redis_lives_through(true);
}

/// Folder of the artefacts that run on the machine's JVM.
fn jvm() -> PathBuf {
    std::env::var_os("VEDETTE_JVM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/jvm"), PathBuf::from)
}

/// What a topic holds: the id and the text of each message.
async fn messages(address: SocketAddr, topic: &str) -> Vec<(Vec<u8>, String)> {
    use rskafka::client::{
        ClientBuilder,
        partition::{OffsetAt, UnknownTopicHandling},
    };
    let client = ClientBuilder::new(vec![address.to_string()]).build().await.expect("connects");
    let topics = client.list_topics().await.expect("topics");
    let found = topics.into_iter().find(|found| found.name == topic).expect("the topic");
    let mut all = Vec::new();
    for partition in found.partitions {
        let partition = client.partition_client(topic, partition, UnknownTopicHandling::Retry).await;
        let partition = partition.expect("a partition");
        let end = partition.get_offset(OffsetAt::Latest).await.expect("an end");
        let mut next = 0;
        while next < end {
            let (records, _) = partition.fetch_records(next, 1..1_000_000, 1_000).await.expect("records");
            for found in records {
                next = found.offset + 1;
                let mut record = found.record;
                let id = record.headers.remove("id").expect("an id");
                all.push((id, String::from_utf8(record.value.expect("a value")).expect("text")));
            }
        }
    }
    all
}

/// The broker is reached by TLS, with a certificate for the client, and by name and password.
#[test]
#[ignore = "starts Kafka; the lane peers runs it"]
fn jvm_kafka_has_every_document() {
    let artefacts = jvm().join("kafka");
    if !artefacts.is_dir() {
        println!("SKIPPED export to Kafka: there is no {}", artefacts.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (address, encrypted, controller) = (free_address(), free_address(), free_address());
    let certificates = Certificates::make();
    certificates.write(folder.path());
    let properties = folder.path().join("server.properties");
    let security = "org.apache.kafka.common.security";
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{address},USERS://{encrypted},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address},USERS://{encrypted}\n\
         controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,USERS:SASL_SSL\n\
         sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.users.plain.sasl.jaas.config={security}.plain.PlainLoginModule required user_v=\"{PASSWORD}\";\n\
         listener.name.users.scram-sha-256.sasl.jaas.config={security}.scram.ScramLoginModule required;\n\
         listener.name.users.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;\n\
         ssl.keystore.type=PEM\nssl.keystore.location={0}/server.pem\nssl.client.auth=required\n\
         ssl.truststore.type=PEM\nssl.truststore.location={0}/ca.crt\nlog.dirs={0}/kafka\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nauto.create.topics.enable=false\nlog.retention.ms=-1\n",
        folder.path().display()
    );
    std::fs::write(&properties, text).expect("writes");
    let log = folder.path().join("kafka.log");
    let java = |class: &str| {
        let mut command = Command::new("java");
        command.args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(artefacts.join("*")).arg(class);
        command
    };
    let mut format = java("kafka.tools.StorageTool");
    format.args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(&properties);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        format.args(["--add-scram", &format!("{mechanism}=[name=v,password={PASSWORD}]")]);
    }
    assert!(format.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("java runs").success());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let start = || {
        let server = Server::start(java("kafka.Kafka").arg(&properties), &log);
        wait_for("Kafka", || TcpStream::connect(address).is_ok());
        server
    };
    let make_topic = || {
        runtime.block_on(async {
            let builder = rskafka::client::ClientBuilder::new(vec![address.to_string()]);
            let client = builder.build().await.expect("connects");
            let controller = client.controller_client().expect("a controller");
            controller.create_topic("there", 3, 1, 30_000).await.expect("makes the topic");
        });
    };
    let sink = |mechanism, password| {
        let sasl = Sasl { mechanism, username: "v".into(), password };
        SinkConfig::Kafka(Kafka {
            brokers: vec![encrypted.to_string()],
            topic: "there".into(),
            compression: KafkaCompression::Zstd,
            tls: Some(certificates.client()),
            sasl: Some(sasl),
        })
    };
    let scram = sink(SaslMechanism::ScramSha512, password());
    let mut exporting = Exporting::new(folder.path(), scram, Shape::Vedette);
    let _server = exporting.live_through(start, make_topic);
    let all = runtime.block_on(messages(address, "there"));
    let ids: BTreeSet<_> = all.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids.len(), ROWS * CONTAINERS, "one for each container and second");
    // One that came twice is the same, and has the same id.
    let texts: BTreeSet<_> = all.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts.len(), ROWS * CONTAINERS);

    // Who is refused is told of it, and goes on with the right password, by whichever way that is told.
    exporting.sink = sink(SaslMechanism::ScramSha256, SecretSource::Inline(Secret::new("falsch")));
    exporting.restart();
    exporting.feed(1);
    let is_refused = || exporting.health().to_lowercase().contains("authentication");
    wait_or_tell("the refusal", is_refused, || exporting.health());
    for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::Plain] {
        exporting.sink = sink(mechanism, password());
        exporting.restart();
        exporting.feed(1);
        exporting.wait_sent();
    }
    let ids: BTreeSet<_> =
        runtime.block_on(messages(address, "there")).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), (ROWS + 3) * CONTAINERS);
}

#[test]
#[ignore = "starts OpenSearch; the lane peers runs it"]
fn jvm_opensearch_has_every_document_once() {
    let artefacts = jvm().join("opensearch");
    if !artefacts.is_dir() {
        println!("SKIPPED export to OpenSearch: there is no {}", artefacts.display());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (address, transport) = (free_address(), free_address());
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/jvm/OpenSearchNode.java");
    let start = || {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"]).arg(artefacts.join("*")).arg(&program);
        command.arg(folder.path().join("opensearch"));
        command.args([address.port().to_string(), transport.port().to_string()]);
        let server = Server::start(&mut command, &folder.path().join("opensearch.log"));
        let is_ready = || {
            let health = http(address, "GET", "/_cluster/health?wait_for_status=yellow&timeout=1s");
            health.is_some_and(|(status, _)| status == 200)
        };
        wait_for("OpenSearch", is_ready);
        server
    };
    let sink = SinkConfig::Elasticsearch(Elasticsearch {
        url: format!("http://{address}"),
        client: HttpClient::default(),
        index: "there".into(),
        per: IndexPer::Day,
        is_stream: false,
        gzip: true,
    });
    let mut exporting = Exporting::new(folder.path(), sink, Shape::Vedette);
    let _server = exporting.live_through(start, || ());
    let (status, _) = http(address, "POST", "/there-2023.11.14/_refresh").expect("an answer");
    assert_eq!(status, 200);
    let (_, body) = http(address, "GET", "/there-*/_count").expect("an answer");
    assert!(body.contains(&format!("\"count\":{},", ROWS * CONTAINERS)), "{body}");
    let (_, body) = http(
        address,
        "GET",
        "/there-*/_count?q=labels.id.keyword:%22/pods/c2%22%20AND%20metrics.container_d:*",
    )
    .expect("an answer");
    assert!(body.contains(&format!("\"count\":{ROWS},")), "{body}");
}
