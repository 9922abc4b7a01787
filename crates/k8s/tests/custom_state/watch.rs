//! Custom resources of a cluster that comes to have them, has them in several versions, and takes them away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use vedette_config::HttpClient;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{
    Connection, Hub, Timing,
    state::{ClusterState, Format, Wanted, custom, write_page},
};
use vedette_sys::SystemClock;
use vedette_test_apiserver::ApiServer;

const FOOS: &str = "/apis/myteam.io/v1/foos";
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A cluster whose custom resources are told by these entries of `resources`, in YAML.
fn cluster(server: &ApiServer, resources: &str) -> (Hub, Arc<ClusterState>) {
    let options = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    };
    let timing = Timing {
        retry_first: Duration::from_millis(2),
        retry_max: Duration::from_millis(30),
        ..Timing::default()
    };
    let hub = Hub::new(Handle::current(), options, timing);
    let api = hub.cluster(Connection::to(server.url().parse().expect("a URL"), HttpClient::default()));
    let text = format!("kind: CustomResourceStateMetrics\nspec: {{resources: {resources}}}");
    let all = custom::read("f.yaml", &text).and_then(|file| file.check("f.yaml: "));
    let custom = all.and_then(custom::together).expect("a file");
    let wanted = Wanted { kinds: Some(Vec::new()), custom, ..Wanted::default() };
    assert!(!wanted.is_nothing());
    let state = Arc::new(ClusterState::watch("c".into(), &hub, &api, &wanted));
    (hub, state)
}

fn entry(version: &str, kind: &str, more: &str) -> String {
    format!(
        "{{groupVersionKind: {{group: myteam.io, version: {version:?}, kind: {kind:?}}}, {more} \
         labelsFromPath: {{name: [metadata, name]}}, \
         metrics: [{{name: n, each: {{type: Gauge, gauge: {{path: [n]}}}}}}]}}"
    )
}

/// What the API server has in a version of the group.
fn serve(server: &ApiServer, version: &str, kinds: &[(&str, &str)]) {
    let watched = |(plural, kind): &(&str, &str)| {
        [
            json!({"name": plural, "kind": kind, "namespaced": true, "verbs": ["delete", "list", "watch"]}),
            json!({"name": format!("{plural}/status"), "kind": kind, "verbs": ["get", "list", "watch"]}),
            json!({"name": format!("{plural}reviews"), "kind": kind, "verbs": ["create"]}),
        ]
    };
    let resources: Vec<Value> = kinds.iter().flat_map(watched).collect();
    let list = json!({"kind": "APIResourceList", "groupVersion": format!("myteam.io/{version}"), "resources": resources});
    server.serve(&format!("/apis/myteam.io/{version}"), Some(list));
}

fn serve_group(server: &ApiServer, versions: &[&str]) {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("myteam.io/{version}"), "version": version}))
        .collect();
    server.serve(
        "/apis/myteam.io",
        Some(json!({"kind": "APIGroup", "name": "myteam.io", "versions": versions})),
    );
}

fn foo(name: &str, n: i64) -> Value {
    json!({"metadata": {"namespace": "x", "name": name}, "n": n})
}

/// Rows as `Kind/version/name` and value.
fn rows(cluster: &Arc<ClusterState>) -> BTreeMap<String, String> {
    let mut page = String::new();
    let mut take = |piece: &mut String| {
        page.push_str(piece);
        Ok(())
    };
    write_page(std::slice::from_ref(cluster), false, Format::Text, &mut take).expect("all is taken");
    let label = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\"")).expect("a label");
        rest.split('"').next().expect("a value").to_owned()
    };
    let row = |line: &str| {
        let parts = ["customresource_kind", "customresource_version", ",name"].map(|name| label(line, name));
        (parts.join("/"), line.rsplit(' ').next().expect("a value").to_owned())
    };
    page.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

async fn wait(what: &str, cluster: &Arc<ClusterState>, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let custom = cluster.custom().expect("custom resources");
    assert!(
        waited.await.is_ok(),
        "{what}: {:?} missing {:?} troubles {:?} {:?}",
        rows(cluster),
        custom.missing(),
        custom.troubles(),
        cluster.watches().map(|watch| watch.health().state()).collect::<Vec<_>>()
    );
}

async fn wait_rows(cluster: &Arc<ClusterState>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(row, value)| ((*row).to_owned(), (*value).to_owned())).collect();
    wait(&format!("{expected:?}"), cluster, || rows(cluster) == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_told_as_they_come_change_and_go() {
    let server = ApiServer::start();
    serve(&server, "v1", &[("foos", "Foo")]);
    server.put(FOOS, foo("a", 1));
    let (_hub, cluster) = cluster(&server, &format!("[{}]", entry("v1", "Foo", "")));
    wait_rows(&cluster, &[("Foo/v1/a", "1")]).await;
    server.put(FOOS, foo("b", 2));
    server.put(FOOS, foo("a", 3));
    wait_rows(&cluster, &[("Foo/v1/a", "3"), ("Foo/v1/b", "2")]).await;
    server.remove(FOOS, "x", "a");
    server.compact();
    server.put(FOOS, foo("c", 4));
    wait_rows(&cluster, &[("Foo/v1/b", "2"), ("Foo/v1/c", "4")]).await;
    let watch = cluster.watches().next().expect("a watch");
    assert_eq!((watch.objects(), watch.health().resource().name()), (2, "foos.myteam.io".to_owned()));
    // A new state without the value has no row, and that is counted.
    server.put(FOOS, json!({"metadata": {"namespace": "x", "name": "c"}}));
    wait_rows(&cluster, &[("Foo/v1/b", "2")]).await;
    let custom = cluster.custom().expect("custom resources");
    let lost: Vec<_> = custom.watches()[0].lost().filter(|(_, count)| *count > 0).collect();
    assert_eq!(lost, [("value", 1)]);
    assert!(custom.bytes() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_does_not_have_is_named_until_it_has_it() {
    let server = ApiServer::start();
    let (_hub, cluster) = cluster(&server, &format!("[{}]", entry("v1", "Foo", "")));
    let custom = cluster.custom().expect("custom resources");
    wait("missing", &cluster, || custom.missing() == ["Foo of myteam.io/v1"]).await;
    assert_eq!(cluster.watches().count(), 0);
    server.put(FOOS, foo("a", 1));
    serve(&server, "v1", &[("bars", "Bar"), ("foos", "Foo")]);
    wait_rows(&cluster, &[("Foo/v1/a", "1")]).await;
    assert!(custom.missing().is_empty());
    assert_eq!(cluster.watches().count(), 1, "Bar is not wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_version_and_any_kind_are_those_that_the_cluster_has() {
    let server = ApiServer::start();
    serve_group(&server, &["v1", "v2"]);
    serve(&server, "v1", &[("foos", "Foo"), ("bars", "Bar")]);
    serve(&server, "v2", &[("foos", "Foo")]);
    server.put(FOOS, foo("a", 1));
    server.put("/apis/myteam.io/v2/foos", foo("a", 2));
    server.put("/apis/myteam.io/v1/bars", foo("b", 3));
    let (_hub, all) = cluster(&server, &format!("[{}]", entry("*", "*", "")));
    let (_hub, foos) = cluster(&server, &format!("[{}]", entry("*", "Foo", "")));
    let (_hub, first) = cluster(&server, &format!("[{}]", entry("v1", "*", "")));
    wait_rows(&all, &[("Bar/v1/b", "3"), ("Foo/v1/a", "1"), ("Foo/v2/a", "2")]).await;
    wait_rows(&foos, &[("Foo/v1/a", "1"), ("Foo/v2/a", "2")]).await;
    wait_rows(&first, &[("Bar/v1/b", "3"), ("Foo/v1/a", "1")]).await;
    // While it is not known what there is, all stays.
    server.serve("/apis/myteam.io", Some(json!("nonsense")));
    wait("a trouble", &all, || !all.custom().expect("custom").troubles().is_empty()).await;
    let troubles = all.custom().expect("custom").troubles();
    assert!(troubles[0].starts_with("kinds of myteam.io: "), "{troubles:?}");
    assert_eq!(rows(&all).len(), 3);
    serve_group(&server, &["v1"]);
    serve(&server, "v1", &[("bars", "Bar")]);
    wait_rows(&all, &[("Bar/v1/b", "3")]).await;
    assert!(all.custom().expect("custom").troubles().is_empty());
    server.serve("/apis/myteam.io", None);
    wait_rows(&all, &[]).await;
    assert_eq!(all.custom().expect("custom").missing(), ["* of myteam.io/*"]);
    assert_eq!(all.custom().expect("custom").bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_and_nothing_is_asked_that_is_said() {
    let server = ApiServer::start();
    server.behave(|b| b.forbidden = vec![("watch".into(), "foos".into()), ("list".into(), "foos".into())]);
    server.put(FOOS, foo("a", 1));
    let (_hub, cluster) = cluster(&server, &format!("[{}]", entry("v1", "Foo", "resourcePlural: foos,")));
    let trouble = || cluster.watches().next().and_then(|watch| watch.health().state().trouble);
    wait("a trouble", &cluster, || trouble().is_some()).await;
    let right = trouble().and_then(|trouble| trouble.missing).expect("a right").to_string();
    assert!(right.ends_with("foos.myteam.io in all namespaces"), "{right}");
    server.behave(|b| b.forbidden.clear());
    wait_rows(&cluster, &[("Foo/v1/a", "1")]).await;
    assert!(server.asked().iter().all(|asked| asked.target.contains("/foos")), "{:?}", server.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_with_the_cluster() {
    let server = ApiServer::start();
    serve(&server, "v1", &[("foos", "Foo")]);
    server.put(FOOS, foo("a", 1));
    let (_hub, cluster) = cluster(&server, &format!("[{}]", entry("v1", "*", "")));
    wait_rows(&cluster, &[("Foo/v1/a", "1")]).await;
    drop(cluster);
    // What was under way may still come.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = server.asked().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.asked().len(), asked, "it would ask every 30 ms");
}
