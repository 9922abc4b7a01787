//! Discovery against servers that run in the test, and files that change.

mod servers;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::watch;
use vedette_config::prometheus::{Mode, Surroundings, parse};
use vedette_http_client::ProxyEnvironment;
use vedette_model::telemetry::MetricVisitor;
use vedette_sys::{RealFs, SimFs, SystemClock};

use super::*;
use servers::{NameServer, WebServer};

/// What the sink was told last, a way to wait for more, and how often it was told something.
struct Told(watch::Sender<BTreeMap<(String, usize), Vec<TargetGroup>>>, AtomicUsize);

impl TargetSink for Told {
    fn set_groups(&self, set: &str, discovery: usize, groups: &[TargetGroup]) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.send_modify(|all| {
            all.insert((set.to_owned(), discovery), groups.to_vec());
        });
    }
}

struct Rig {
    discovery: Discovery,
    told: Arc<Told>,
    status: StatusBoard,
    telemetry: Telemetry,
}

impl Rig {
    fn new() -> Self {
        let told = Arc::new(Told(watch::channel(BTreeMap::new()).0, AtomicUsize::new(0)));
        let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
        let discovery = Discovery::new(DiscoveryParts {
            sink: told.clone(),
            runtime: Handle::current(),
            http: Options {
                user_agent: "Vedette/test".into(),
                unix_socket: None,
                proxy_environment: ProxyEnvironment::default(),
                clock: Arc::new(SystemClock),
            },
            clusters: None,
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock),
            status: status.clone(),
            telemetry: telemetry.clone(),
        });
        Self { discovery, told, status, telemetry }
    }

    /// Runs the discoveries of one job named `j`.
    fn run(&self, keys: &str) {
        let prepared = self.discovery.prepare(vec![set("j", keys)]).expect("sound");
        self.discovery.run(prepared);
    }

    /// Waits until a discovery has found exactly these addresses.
    async fn wait_for(&self, number: usize, addresses: &[&str]) {
        let found = |all: &BTreeMap<(String, usize), Vec<TargetGroup>>| {
            let groups = all.get(&("j".to_owned(), number))?;
            let each = groups.iter().flat_map(TargetGroup::discovered);
            let mut found: Vec<String> =
                each.filter_map(|l| l.get("__address__").map(str::to_owned)).collect();
            found.sort_unstable();
            Some(found)
        };
        let mut told = self.told.0.subscribe();
        let waited = told.wait_for(|all| found(all).is_some_and(|found| found == addresses));
        let done = tokio::time::timeout(Duration::from_secs(60), waited).await.map(|w| w.is_ok());
        assert_eq!(done, Ok(true), "{:?} is not {addresses:?}", found(&self.told.0.borrow()));
    }

    /// Waits until the only source has failed with these words.
    async fn wait_for_error(&self, words: &str) {
        for _ in 0..6000 {
            let errors: Vec<String> = self.discovery.states().into_iter().filter_map(|s| s.error).collect();
            if errors.iter().any(|error| error.contains(words)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no error with {words:?}: {:?}", self.discovery.states());
    }

    fn metric(&self, line: &str) -> Option<f64> {
        struct Find<'a>(&'a str, Option<f64>);
        impl MetricVisitor for Find<'_> {
            fn value(
                &mut self,
                family: &vedette_model::telemetry::Family,
                labels: &[(&str, &str)],
                value: f64,
            ) {
                let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
                if format!("{}{{{}}}", family.name, labels.join(",")) == self.0 {
                    self.1 = Some(value);
                }
            }
        }
        let mut find = Find(line, None);
        self.telemetry.visit(&mut find);
        find.1
    }
}

fn set(name: &str, keys: &str) -> DiscoverySet {
    let text = format!("scrape_configs:\n- job_name: test\n  {}\n", keys.replace('\n', "\n  "));
    let fs = SimFs::new(1);
    let surroundings = Surroundings { fs: &fs, env: &|_| None };
    let config = parse(Path::new("/p.yml"), &text, Mode::Server, surroundings);
    let job = config.unwrap_or_else(|e| panic!("{e}\n{text}")).scrape_jobs.remove(0);
    DiscoverySet { name: name.to_owned(), discoveries: job.discoveries }
}

#[tokio::test]
async fn static_targets_are_told_at_once_and_kinds_that_are_not_run_are_named() {
    let rig = Rig::new();
    rig.run("static_configs: [{targets: ['a:1']}, {targets: ['b:1']}]\nec2_sd_configs: [{region: r}]");
    // All lists of a set come as one.
    rig.wait_for(0, &["a:1", "b:1"]).await;
    let problems = rig.discovery.problems("j");
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("ec2_sd_configs is not run") && problems[0].contains("http_sd"),
        "{problems:?}"
    );
    assert_eq!(rig.metric("vedette_discovery_not_run{config=j,kind=ec2}"), Some(1.0));
    assert_eq!(rig.metric("vedette_discovery_targets{config=j}"), Some(2.0));
    let part = rig.status.get("discovery").expect("posted");
    assert_eq!(part.health, Health::Degraded);
    assert!(part.facts.iter().any(|(_, fact)| fact.contains("http_sd")), "{part:?}");
    rig.run("static_configs: [{targets: ['a:1']}]");
    assert_eq!(rig.status.get("discovery").expect("posted").health, Health::Ok);
    rig.wait_for(0, &["a:1"]).await;
}

/// Who takes targets looks at all of a set each time: a list for each target must not make that many times.
#[tokio::test]
async fn thousands_of_lists_are_told_at_once() {
    let rig = Rig::new();
    let lists: Vec<String> =
        (0..5000).map(|n| format!("{{targets: ['h:{n}'], labels: {{n: '{n}'}}}}")).collect();
    rig.run(&format!("static_configs: [{}]", lists.join(", ")));
    let told = rig.told.0.borrow().clone();
    assert_eq!((told.len(), told[&("j".to_owned(), 0)].len()), (1, 5000));
    assert_eq!(rig.told.1.load(Ordering::SeqCst), 1);
    assert_eq!(rig.metric("vedette_discovery_targets{config=j}"), Some(5000.0));
}

#[tokio::test]
async fn files_are_taken_up_when_they_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.json");
    let rig = Rig::new();
    rig.run(&format!("file_sd_configs: [{{files: ['{}/*.json']}}]", folder.path().display()));
    rig.wait_for(0, &[]).await;
    std::fs::write(&path, r#"[{"targets": ["a:1", "a:2"]}]"#).expect("written");
    rig.wait_for(0, &["a:1", "a:2"]).await;
    std::fs::write(&path, "[{").expect("written");
    rig.wait_for_error("t.json").await;
    rig.wait_for(0, &["a:1", "a:2"]).await;
    assert_eq!(rig.metric("vedette_discovery_source_failing{config=j,kind=file}"), Some(1.0));
    std::fs::remove_file(&path).expect("removed");
    rig.wait_for(0, &[]).await;
}

#[tokio::test]
async fn a_list_over_http_outlives_its_server_and_a_reload() {
    let server = WebServer::start(|asked| {
        assert_eq!(asked.header("x-prometheus-refresh-interval-seconds"), "1");
        (200, "application/json", r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#.into())
    })
    .await;
    let keys = format!("http_sd_configs: [{{url: '{}/list', refresh_interval: 1s}}]", server.url());
    let rig = Rig::new();
    rig.run(&keys);
    rig.wait_for(0, &["a:1"]).await;
    server.answer(|_| (500, "text/plain", "down".into()));
    rig.wait_for_error("500").await;
    rig.wait_for(0, &["a:1"]).await;
    // An equal source goes on with what it knows, at another place and in two jobs.
    rig.told.0.send_modify(BTreeMap::clear);
    let moved = set("j", &format!("static_configs: [{{targets: ['s:1']}}]\n{keys}"));
    let second = DiscoverySet { name: "k".into(), discoveries: moved.discoveries[1..].to_vec() };
    rig.discovery.run(rig.discovery.prepare(vec![moved, second]).expect("sound"));
    rig.wait_for(1, &["a:1"]).await;
    assert!(rig.told.0.borrow().contains_key(&("k".to_owned(), 0)));
    let states = rig.discovery.states();
    assert_eq!(states.iter().filter(|state| state.kind == "http").count(), 1, "asked once for both");
    server.answer(|_| (200, "application/json", "[]".into()));
    rig.wait_for(1, &[]).await;
}

#[tokio::test]
async fn names_are_asked_for_by_udp_and_tcp() {
    let server = NameServer::start().await;
    let config = match &set("j", "dns_sd_configs: [{names: [n.example, none.example], type: A, port: 9}]")
        .discoveries[0]
    {
        Kind::Dns(config) => config.clone(),
        other => panic!("{other:?}"),
    };
    let mut source = dns::DnsSource::new(&config).with_servers(vec![server.address]);
    source.refresh().await.expect("answered");
    let addresses = |source: &dns::DnsSource| -> Vec<String> {
        let each = source.targets().groups().iter().flat_map(TargetGroup::discovered);
        each.filter_map(|l| l.get("__address__").map(str::to_owned)).collect()
    };
    assert_eq!(addresses(&source), ["10.0.0.1:9"]);
    server.set_long(true);
    source.refresh().await.expect("answered by TCP");
    assert_eq!(addresses(&source).len(), 300);
    server.set_refusing(true);
    let error = source.refresh().await.expect_err("refused");
    assert!(error.contains("n.example") && error.contains("SERVFAIL"), "{error}");
    assert_eq!(addresses(&source).len(), 300, "the last good ones stay");
}

/// The answers have the form of Consul 1.17, and are made up.
#[tokio::test]
async fn consul_is_watched_by_blocking_queries() {
    const WEB: &str = r#"[{"Node": {"Node": "n", "Address": "10.0.0.1"},
        "Service": {"ID": "w", "Service": "web", "Address": "", "Port": 80}, "Checks": []}]"#;
    let server = WebServer::start(|asked| {
        if asked.header("x-consul-token") != "t" {
            return (403, "text/plain", "Permission denied".into());
        }
        match (asked.path(), asked.query().contains("index=7")) {
            ("/v1/catalog/services", false) => (200, "application/json", r#"{"web": []}"#.into()),
            ("/v1/catalog/services", true) => (200, "application/json", "{}".into()),
            ("/v1/health/service/web", _) => (200, "application/json", WEB.into()),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let rig = Rig::new();
    let keys = |token: &str| {
        let server = server.address;
        format!("consul_sd_configs: [{{server: '{server}', token: {token}, refresh_interval: 1s}}]")
    };
    rig.run(&keys("wrong"));
    rig.wait_for_error("Permission denied").await;
    rig.run(&keys("t"));
    rig.wait_for(0, &["10.0.0.1:80"]).await;
    // The next query names the index of the answer before, and the service is gone.
    rig.wait_for(0, &[]).await;
}

/// The answers have the form of the Docker Engine's API 1.43, and are made up.
#[tokio::test]
async fn a_docker_daemon_is_asked_by_its_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let _server = WebServer::on_socket(&socket, |asked| match asked.path() {
        "/networks" => (200, "application/json", r#"[{"Id": "n", "Name": "bridge"}]"#.into()),
        "/containers/json" => (
            200,
            "application/json",
            r#"[{"Id": "c", "Names": ["/web"], "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
                "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "n", "IPAddress": "172.17.0.2"}}}}]"#
                .into(),
        ),
        other => panic!("{other}"),
    });
    let rig = Rig::new();
    rig.run(&format!("docker_sd_configs: [{{host: 'unix://{}'}}]", socket.display()));
    rig.wait_for(0, &["172.17.0.2:80"]).await;
    rig.run(&format!("docker_sd_configs: [{{host: 'unix://{}/none'}}]", folder.path().display()));
    rig.wait_for_error("no such file").await;
    rig.wait_for(0, &[]).await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_and_changes_nothing() {
    let rig = Rig::new();
    rig.run("static_configs: [{targets: ['a:1']}]");
    for (keys, words) in [
        ("docker_sd_configs: [{host: 'nowhere'}]", "unix:///path"),
        ("http_sd_configs: [{url: 'http://h/', tls_config: {ca_file: /none.pem}}]", "/none.pem"),
    ] {
        let refused = rig.discovery.prepare(vec![set("j", keys)]);
        let error = refused.err().expect("refused").to_string();
        assert!(error.contains(words) && error.contains("\"j\""), "{error}");
    }
    assert_eq!(rig.discovery.states().len(), 1);
}
