//! cAdvisor's REST interface: its documents are made of the series of the last minute.

use serde_json::{Value, json};

use super::*;

const POD: &str = "/kubepods/pod1";
const ID: &str = "00000000000000000000000000000000000000000000000000000000000abc01";

fn cgroup() -> String {
    format!("{POD}/{ID}")
}

/// The last seconds of a container and of the machine. What is told in turns has one sample.
pub fn courses() -> Vec<SeriesCourse> {
    let cgroup = cgroup();
    let series = |id: &str, name: &str, extra: &[(&str, &str)], samples: Vec<(i64, f64)>| {
        let own = [("id", id), ("job", "kubelet"), (METRIC_NAME, name)];
        let named = [("name", "web"), ("image", "bb:1"), ("pod", "web-0"), ("namespace", "prod")];
        let named = if id == "/" { &[][..] } else { &named[..] };
        let labels = own.iter().chain(named).chain(extra).copied();
        SeriesCourse { labels: Labels::from_pairs(labels), samples }
    };
    let each_second =
        |value: fn(i64) -> f64| (-9..=0).map(|s| (NOW_MS + s * 1000, value(s))).collect::<Vec<_>>();
    let once = |value| vec![(NOW_MS - 5000, value)];
    let mut all = vec![
        series(
            &cgroup,
            "container_info",
            &[("runtime", "containerd"), ("container_label_team", "a")],
            once(1.0),
        ),
        series(
            &cgroup,
            "container_cpu_usage_seconds_total",
            &[("cpu", "total")],
            each_second(|s| 100.0 + s as f64 * 0.5),
        ),
        series(&cgroup, "container_memory_usage_bytes", &[], each_second(|_| 4096.0)),
        series(&cgroup, "container_memory_working_set_bytes", &[], each_second(|s| 1000.0 + s as f64)),
        series(&cgroup, "container_memory_rss", &[], once(300.0)),
        series(&cgroup, "container_creation_time_seconds", &[], once(1_600_000_000.0)),
        series(&cgroup, "container_spec_memory_limit_bytes", &[], once(67_108_864.0)),
        series(&cgroup, "container_cpu_load_average_10s", &[], once(2500.0)),
        series(&cgroup, "container_tasks_state", &[("state", "running")], once(3.0)),
        series(&cgroup, "container_fs_usage_bytes", &[("device", "/dev/vda")], once(512.0)),
        series(&cgroup, "container_fs_limit_bytes", &[("device", "/dev/vda")], once(4096.0)),
        series(
            &cgroup,
            "container_network_receive_bytes_total",
            &[("interface", "eth0")],
            each_second(|_| 7.0),
        ),
        series(&cgroup, "container_fs_reads_bytes_total", &[("device", "/dev/vda")], once(11.0)),
        series(
            &cgroup,
            "container_blkio_device_usage_total",
            &[("device", "/dev/vda"), ("major", "254"), ("minor", "0"), ("operation", "Read")],
            once(11.0),
        ),
        series(
            "/",
            "container_cpu_usage_seconds_total",
            &[("cpu", "total")],
            each_second(|s| 1000.0 + s as f64),
        ),
    ];
    all.push(series("/", "container_fs_usage_bytes", &[("device", "/dev/vda")], once(1.0)));
    all.push(series("/", "container_fs_limit_bytes", &[("device", "/dev/vda")], once(9.0)));
    all
}

/// Two hours of the container: of the older one more was used.
pub fn minutes(asked: &str) -> Vec<MinuteUsage> {
    let spread = |value: f64| Some(Spread { mean: value, max: value + 2.0, ninety: value + 1.0 });
    let minute = |ago: i64| {
        let used = if ago < 60 { 100.0 } else { 500.0 };
        let end_ms = (NOW_MS.div_euclid(60_000) - ago) * 60_000;
        MinuteUsage { end_ms, cpu: spread(used), memory: spread(10.0 * used) }
    };
    if asked == cgroup() { (0..120).rev().map(minute).collect() } else { Vec::new() }
}

async fn running() -> Running {
    let (mut app, folder) = test_app();
    app.containers = Arc::new(|| {
        vec![Arc::new(Container {
            id: ID.into(),
            name: "web".into(),
            cgroup: cgroup(),
            runtime: "containerd".into(),
            ..Container::default()
        })]
    });
    start_app(test_config(), app, folder).await
}

async fn ask(running: &Running, path: &str) -> (u16, Value) {
    let reply = http::get(running.address, path).await;
    (reply.status, serde_json::from_slice(&reply.bytes).unwrap_or_else(|_| panic!("{path}: {}", reply.body)))
}

/// Asks as cAdvisor's own client does.
async fn post(running: &Running, body: &str) -> http::Reply {
    let request = format!(
        "POST /api/v1.3/containers/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::raw(running.address, request.as_bytes()).await.expect("an answer")
}

#[tokio::test]
async fn version_1_tells_of_a_container_with_the_names_of_cadvisor() {
    let running = running().await;
    let (status, document) = ask(&running, &format!("/api/v1.3/containers{}?num_stats=2", cgroup())).await;
    assert_eq!(status, 200, "{document}");
    assert_eq!(document["name"], cgroup());
    assert_eq!((&document["id"], &document["aliases"]), (&json!(ID), &json!(["web", ID])));
    let spec = &document["spec"];
    assert_eq!(spec["creation_time"], "2020-09-13T12:26:40Z");
    assert_eq!(spec["memory"]["limit"], 67_108_864);
    assert_eq!(spec["labels"]["team"], "a");
    assert_eq!(spec["labels"]["io.kubernetes.pod.name"], "web-0");
    assert_eq!((&spec["has_cpu"], &spec["has_filesystem"]), (&json!(true), &json!(true)));
    let stats = document["stats"].as_array().expect("a list");
    assert_eq!(stats.len(), 2);
    assert_eq!(stats[1]["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(stats[0]["cpu"]["usage"]["total"], 99_500_000_000_u64);
    assert_eq!(stats[1]["cpu"]["load_average"], 2500);
    assert_eq!(stats[1]["memory"]["rss"], 300, "what is told in turns goes on");
    assert_eq!(stats[1]["task_stats"]["nr_running"], 3);
    assert_eq!(stats[1]["network"]["interfaces"][0]["rx_bytes"], 7);
    assert_eq!(stats[1]["filesystem"][0]["usage"], 512);
    assert_eq!(
        stats[1]["diskio"]["io_service_bytes"][0],
        json!({"device": "/dev/vda", "major": 254, "minor": 0, "stats": {"Read": 11, "Write": 0, "Total": 11}})
    );
    // The root, and a folder between, which has no figures of its own.
    let (_, root) = ask(&running, "/api/v1.3/containers").await;
    assert_eq!(root["subcontainers"], json!([{"name": "/kubepods"}]));
    assert_eq!(root["stats"].as_array().map(Vec::len), Some(10));
    let (_, between) = ask(&running, &format!("/api/v1.3/containers{POD}/")).await;
    assert_eq!((&between["name"], &between["stats"]), (&json!(POD), &json!([])));
    let (_, all) = ask(&running, "/api/v1.3/subcontainers/").await;
    let names: Vec<&str> =
        all.as_array().expect("a list").iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(names, ["/", &cgroup()]);
    for name in ["", "/web", &format!("/{ID}"), &format!("/{}", &ID[..12])] {
        let (_, found) = ask(&running, &format!("/api/v1.3/docker{name}")).await;
        assert_eq!(found[&cgroup()]["aliases"][0], "web", "{name}: {found}");
    }
    let asked = post(&running, r#"{"num_stats":3}"#).await;
    let asked: Value = serde_json::from_slice(&asked.bytes).expect("JSON");
    assert_eq!(asked["stats"].as_array().map(Vec::len), Some(3));
    running.stop().await;
}

#[tokio::test]
async fn version_2_tells_the_same_by_its_names() {
    let running = running().await;
    let (_, stats) = ask(&running, &format!("/api/v2.1/stats{}?count=2", cgroup())).await;
    let of = &stats[&cgroup()];
    assert_eq!(of["spec"]["namespace"], "containerd");
    assert_eq!(of["stats"][1]["cpu_inst"]["usage"]["total"], 500_000_000, "half a processor");
    assert_eq!(of["stats"][0]["cpu_inst"]["usage"]["total"], 500_000_000, "the first has its rate, too");
    assert_eq!(of["stats"][1]["filesystem"]["totalUsageBytes"], 512);
    assert_eq!(of["stats"][1]["load_stats"]["nr_running"], 3);
    let (_, all) = ask(&running, "/api/v2.1/spec?recursive=true").await;
    assert_eq!(all.as_object().map(|all| all.len()), Some(2));
    let (_, named) = ask(&running, "/api/v2.1/spec/web?type=docker").await;
    assert!(named.get(cgroup()).is_some(), "{named}");
    let (_, summary) = ask(&running, &format!("/api/v2.1/summary{}", cgroup())).await;
    let summary = &summary[&cgroup()];
    assert_eq!(summary["latest_usage"], json!({"cpu": 500, "memory": 1000}));
    assert_eq!(summary["minute_usage"]["memory"]["max"], 1000);
    let percentiles = |mean: u64, max: u64, fifty: u64, ninety: u64| json!({"present": true, "mean": mean, "max": max, "fifty": fifty, "ninety": ninety, "ninetyfive": ninety});
    assert_eq!(summary["hour_usage"]["percent_complete"], 100);
    assert_eq!(summary["hour_usage"]["cpu"], percentiles(100, 102, 101, 101));
    assert_eq!(summary["hour_usage"]["memory"], percentiles(1000, 1002, 1001, 1001));
    assert_eq!(summary["day_usage"]["percent_complete"], 8);
    assert_eq!(summary["day_usage"]["cpu"], percentiles(300, 502, 101, 501));
    // The machine's own minutes are not known.
    let (_, root) = ask(&running, "/api/v2.1/summary").await;
    assert_eq!(root["/"]["hour_usage"]["percent_complete"], 0);
    assert_eq!(root["/"]["hour_usage"]["cpu"]["present"], false);
    let (_, machine) = ask(&running, "/api/v2.1/machine").await;
    assert_eq!((&machine["num_cores"], &machine["memory_capacity"]), (&json!(2), &json!(4096)));
    assert_eq!(machine["filesystems"][0]["capacity"], 9);
    let (_, attributes) = ask(&running, "/api/v2.1/attributes").await;
    assert_eq!(attributes["cadvisor_version"], "vedette-0.1.0");
    let (_, storage) = ask(&running, "/api/v2.1/storage").await;
    assert_eq!((&storage[0]["device"], &storage[0]["usage"]), (&json!("/dev/vda"), &json!(1)));
    let (_, processes) = ask(&running, &format!("/api/v2.1/ps{}", cgroup())).await;
    assert_eq!((&processes[0]["pid"], &processes[0]["running_time"]), (&json!(42), &json!("01:01:01")));
    assert_eq!(processes[0]["cgroup_path"], cgroup());
    let (_, machine) = ask(&running, "/api/v2.1/machinestats?count=1").await;
    assert_eq!(machine[0]["cpu"]["usage"]["total"], 1_000_000_000_000_u64);
    assert_eq!(ask(&running, "/api/v2.1/version").await.1, "vedette-0.1.0");
    running.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_a_remedy() {
    let running = running().await;
    for (path, status) in [
        ("/api/v1.3/containers/nothing", 404),
        ("/api/v1.3/subcontainers/kube", 404),
        ("/api/v1.3/docker/nothing", 404),
        // Eleven digits of its id are too few to name it.
        ("/api/v1.3/docker/00000000000", 404),
        ("/api/v2.1/ps/nothing", 404),
        ("/api/v2.1/stats/?count=0", 400),
        ("/api/v2.1/stats/?count=many", 400),
        ("/api/v2.1/stats/?type=rkt", 400),
        ("/api/v2.1/stats/?recursive=perhaps", 400),
        ("/api/v1.3/events", 400),
        ("/api/v1.3/events?all_events=true&max_events=5000", 400),
        ("/api/v1.3/events?all_events=true&start_time=yesterday", 400),
    ] {
        let (got, document) = ask(&running, path).await;
        assert_eq!(got, status, "{path}: {document}");
        assert!(document["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{path}: {document}");
    }
    let long = format!(r#"{{"num_stats":1,"x":"{}"}}"#, "x".repeat(10_000));
    assert_eq!(post(&running, &long).await.status, 400);
    assert_eq!(post(&running, "no JSON").await.status, 400);
    // More than there are is as many as there are.
    let (status, document) = ask(&running, "/api/v1.3/containers?num_stats=999999999").await;
    assert_eq!((status, document["stats"].as_array().map(Vec::len)), (200, Some(10)));
    running.stop().await;
}

#[tokio::test]
async fn events_of_containers_are_told_and_streamed() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = running().await;
    let event = |fact| Event {
        id: 0,
        time_ns: NOW_MS * 1_000_000,
        host: host(),
        container: Some(Arc::new(Container { cgroup: cgroup(), name: "web".into(), ..Container::default() })),
        process: None,
        fact,
    };
    running
        .events
        .as_ref()
        .expect("a store")
        .append(&mut [event(Fact::ContainerStart), event(Fact::OomKill { count: 1 })])
        .expect("appends");
    let (_, events) = ask(&running, &format!("/api/v1.3/events{}?all_events=true", cgroup())).await;
    let kinds: Vec<&str> =
        events.as_array().expect("a list").iter().filter_map(|e| e["event_type"].as_str()).collect();
    assert_eq!(kinds, ["containerCreation", "oomKill"]);
    let (_, events) =
        ask(&running, &format!("/api/v2.1/events{POD}?creation_events=true&subcontainers=true")).await;
    assert_eq!(events.as_array().map(Vec::len), Some(1));
    let (_, events) = ask(&running, &format!("/api/v2.1/events{POD}?creation_events=true")).await;
    assert_eq!(events, json!([]));
    let mut stream = tokio::net::TcpStream::connect(running.address).await.expect("connects");
    let request = "GET /api/v1.3/events?stream=true&deletion_events=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut seen = String::new();
    while !seen.contains("containerDeletion") {
        // The stream may begin only after an event has come, which it then does not tell.
        running.events.as_ref().expect("a store").append(&mut [event(Fact::ContainerStop)]).expect("appends");
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut piece)).await;
        if let Ok(length) = read {
            seen += &String::from_utf8_lossy(&piece[..length.expect("reads")]);
        }
    }
    assert!(seen.contains(&cgroup()), "{seen}");
    drop(stream);
    running.stop().await;
}
