//! Watches against the API server of our tests: what is known is what is there, whatever happens on the
//! way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::runtime::Handle;
use vedette_config::HttpClient;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{
    Connection, Hub, Kubeconfig, NodePods, SharedWatch, Timing, What,
    objects::{Object as _, Pod, ReplicaSet},
};
use vedette_model::{Identify as _, WorkloadQuestion};
use vedette_sys::{Clock as _, Random, SystemClock};
use vedette_test_apiserver::ApiServer;

const PODS: &str = "/api/v1/pods";
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(60);

fn timing() -> Timing {
    Timing {
        retry_first: Duration::from_millis(2),
        retry_max: Duration::from_millis(50),
        silence_max: Duration::from_millis(1500),
        ..Timing::default()
    }
}

fn hub() -> Hub {
    hub_with(timing())
}

fn hub_with(timing: Timing) -> Hub {
    let options = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    };
    Hub::new(Handle::current(), options, timing)
}

fn connection(server: &ApiServer) -> Connection {
    Connection::to(server.url().parse().expect("a URL"), HttpClient::default())
}

fn pod(namespace: &str, name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {"nodeName": "n"}, "status": {"phase": phase}})
}

/// Name and phase of all pods that are known.
fn known(watched: &SharedWatch<Pod>) -> BTreeMap<String, String> {
    let all = watched.objects();
    all.iter().map(|(key, pod, _)| (key.to_owned(), pod.phase().to_owned())).collect()
}

/// Waits until it holds; the watch tells of changes.
async fn wait(watched: &SharedWatch<Pod>, what: &str, mut holds: impl FnMut() -> bool) {
    let mut changes = watched.changes();
    let waited = tokio::time::timeout(SOON, async {
        while !holds() {
            // The end of the watch would be the end of the test.
            let _ = changes.changed().await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: {:?} {:?}", known(watched), watched.health().state());
}

async fn wait_for(watched: &SharedWatch<Pod>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(key, phase)| ((*key).to_owned(), (*phase).to_owned())).collect();
    wait(watched, &format!("{expected:?}"), || {
        watched.health().state().is_whole && known(watched) == expected
    })
    .await;
}

async fn wait_trouble(watched: &SharedWatch<Pod>, words: &str) {
    wait(watched, words, || {
        watched.health().state().trouble.is_some_and(|trouble| trouble.text.contains(words))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_as_events_or_in_pages_and_go_on_as_watches() {
    for (refuses, is_old) in [(false, false), (true, false), (false, true)] {
        let server = ApiServer::start();
        server.behave(|b| {
            (b.refuses_streaming, b.knows_no_streaming, b.page_objects_max) = (refuses, is_old, Some(2));
        });
        for name in ["a", "b", "c", "d", "e"] {
            server.put(PODS, pod("x", name, "Running"));
        }
        let hub = hub();
        let api = hub.cluster(connection(&server));
        let watched = hub.watch::<Pod>(&api, What::default());
        let all = ["x/a", "x/b", "x/c", "x/d", "x/e"].map(|key| (key, "Running"));
        wait_for(&watched, &all).await;
        server.put(PODS, pod("y", "a", "Pending"));
        server.put(PODS, pod("x", "b", "Failed"));
        for name in ["a", "c", "d", "e"] {
            server.remove(PODS, "x", name);
        }
        wait_for(&watched, &[("x/b", "Failed"), ("y/a", "Pending")]).await;
        let asked = server.asked();
        let pages = asked.iter().filter(|asked| asked.target.contains("continue=")).count();
        assert_eq!(pages, if refuses || is_old { 2 } else { 0 }, "{asked:?}");
        assert_eq!(watched.health().state().lists, 1);
        // All who want the same share one watch.
        assert!(Arc::ptr_eq(&watched, &hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default())));
        let other = What { namespace: Some("y".into()), labels: "app=a".into(), ..What::default() };
        let other = hub.watch::<Pod>(&api, other);
        wait_for(&other, &[("y/a", "Pending")]).await;
        assert_eq!(hub.watches(), 2);
        drop(other);
        assert_eq!(hub.watches(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_ended_and_bookmarks_move_it() {
    let server = ApiServer::start();
    server.behave(|b| b.watch_events_max = Some(1));
    server.put(PODS, pod("x", "a", "1"));
    let hub = hub();
    let watched = hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default());
    wait_for(&watched, &[("x/a", "1")]).await;
    for phase in ["2", "3", "4"] {
        server.put(PODS, pod("x", "a", phase));
        wait_for(&watched, &[("x/a", phase)]).await;
    }
    // Other objects move the state of the cluster on; a bookmark tells.
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n"}}));
    server.bookmark();
    server.wait_asked("from the bookmark", |asked| asked.target.contains("resourceVersion=5"));
    assert_eq!(watched.health().state().lists, 1, "no list was needed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_gone_means_a_new_list_and_no_gap() {
    for refuses_streaming in [false, true] {
        let server = ApiServer::start();
        server.behave(|b| (b.refuses_streaming, b.page_objects_max) = (refuses_streaming, Some(1)));
        for name in ["a", "b", "c"] {
            server.put(PODS, pod("x", name, "1"));
        }
        let hub = hub();
        let watched = hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default());
        wait_for(&watched, &[("x/a", "1"), ("x/b", "1"), ("x/c", "1")]).await;
        // While nobody looks the states of before are forgotten, and objects come and go.
        server.behave(|b| b.fails_with = Some((503, 0)));
        wait_trouble(&watched, "503").await;
        assert_eq!(known(&watched).len(), 3, "what was known is kept");
        let state = watched.health().state();
        assert!(state.age(SystemClock.monotonic()).is_some(), "it is marked with its age: {state:?}");
        server.remove(PODS, "x", "b");
        server.put(PODS, pod("x", "c", "2"));
        server.put(PODS, pod("x", "d", "1"));
        server.compact();
        server.behave(|b| b.fails_with = None);
        wait_for(&watched, &[("x/a", "1"), ("x/c", "2"), ("x/d", "1")]).await;
        wait(&watched, "well", || watched.health().state().trouble.is_none()).await;
        assert_eq!(watched.health().state().age(SystemClock.monotonic()), None);
    }
}

/// Anything may happen in any order: in the end what is known is what is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_what_is_there_after_any_trouble() {
    let server = ApiServer::start();
    let hub = hub();
    let mut there: BTreeMap<String, String> = BTreeMap::new();
    let mut random = Random::new(11);
    let watched = hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default());
    for round in 0..40 {
        for _ in 0..random.below(12) {
            let (name, phase) = (random.below(9).to_string(), random.next_u64().to_string());
            let key = format!("x/{name}");
            if random.one_in(3) && there.remove(&key).is_some() {
                server.remove(PODS, "x", &name);
            } else {
                server.put(PODS, pod("x", &name, &phase));
                there.insert(key, phase);
            }
        }
        match random.below(6) {
            0 => server.compact(),
            1 => server.behave(|b| b.fails_with = Some((500, 0))),
            2 => server.behave(|b| b.watch_events_max = Some(2)),
            3 => server.behave(|b| {
                (b.refuses_streaming, b.page_objects_max) = (!b.refuses_streaming, Some(2));
            }),
            4 => server.bookmark(),
            _ => {}
        }
        if round % 4 == 3 {
            server.behave(|b| b.fails_with = None);
            let expected: Vec<(&str, &str)> = there.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            wait_for(&watched, &expected).await;
        }
    }
}

/// Before somebody is accused, the server is asked for the pods of the node as they are now.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_asked_for_its_pods_page_by_page() {
    let server = ApiServer::start();
    server.behave(|b| b.page_objects_max = Some(2));
    for (name, node) in [("a", "n"), ("b", "n"), ("c", "other"), ("d", "n")] {
        let mut pod = pod("x", name, "Running");
        (pod["metadata"]["uid"], pod["spec"]["nodeName"]) = (json!(format!("uid-{name}")), json!(node));
        server.put(PODS, pod);
    }
    let api = hub().cluster(connection(&server));
    let pods = NodePods::ask(&api, "main".into(), "n", 7).await.expect("an answer");
    let is_there = |name: &&str| {
        let uid = format!("uid-{name}");
        !pods.identify(&WorkloadQuestion::PodUid(&uid), 1).is_empty()
    };
    assert_eq!(
        ["a", "b", "c", "d"].iter().filter(|name| is_there(name)).collect::<Vec<_>>(),
        [&"a", &"b", &"d"]
    );
    assert_eq!(pods.at_ns, 7);
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    // What the server remembers is not asked for: it may be as old as what a watch told.
    let is_sound = |target: &str| {
        target.contains("fieldSelector=spec.nodeName%3Dn") && !target.contains("resourceVersion")
    };
    assert!(asked.iter().all(|asked| is_sound(&asked.target)), "{asked:?}");
    server.behave(|b| b.forbidden = vec![("list".into(), "pods".into())]);
    let error = NodePods::ask(&api, "main".into(), "n", 8).await.err().expect("a refusal");
    assert!(error.told().contains("may not list pods in all namespaces"), "{}", error.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_is_named_and_the_rest_goes_on() {
    let server = ApiServer::start();
    server.behave(|b| b.forbidden = vec![("watch".into(), "pods".into()), ("list".into(), "pods".into())]);
    server.put(PODS, pod("x", "a", "1"));
    let owned = json!({"metadata": {"namespace": "x", "name": "r", "labels": {"a": "b"}, "ownerReferences":
        [{"kind": "Deployment", "name": "d", "controller": true}]}, "spec": {"replicas": 3}});
    server.put("/apis/apps/v1/replicasets", owned);
    let hub = hub();
    let api = hub.cluster(connection(&server));
    let what = What { namespace: Some("x".into()), ..What::default() };
    let watched = hub.watch::<Pod>(&api, what);
    wait_trouble(&watched, "may not").await;
    let trouble = watched.health().state().trouble.expect("trouble");
    let right = trouble.missing.as_ref().expect("a right").to_string();
    assert!(right.ends_with("pods in the namespace x"), "{right}");
    assert!(
        trouble.text.contains("system:serviceaccount:a:b") && trouble.text.contains("Role"),
        "{trouble:?}"
    );
    let owners = hub.watch::<ReplicaSet>(&api, What::default());
    let mut changes = owners.changes();
    let whole = tokio::time::timeout(SOON, changes.wait_for(|_| owners.health().state().is_whole)).await;
    // What is borrowed keeps the watch from telling more.
    let whole = whole.is_ok_and(|borrowed| borrowed.is_ok());
    assert!(whole, "{:?}", owners.health().state());
    let controller = owners.objects().get("x/r").map(|(set, _)| set.meta().controller.clone());
    assert_eq!(controller.flatten().expect("an owner").name.as_ref(), "d");
    let asked = server.asked();
    let asked = asked.iter().find(|asked| asked.target.contains("replicasets")).expect("asked");
    assert!(asked.accept.contains("as=PartialObjectMetadata"), "no more than metadata: {asked:?}");
    server.behave(|b| b.forbidden.clear());
    wait_for(&watched, &[("x/a", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_list_may_come_from_memory_where_the_store_is_frozen() {
    let server = ApiServer::start();
    server.behave(|b| (b.is_store_frozen, b.knows_no_streaming) = (true, true));
    server.put(PODS, pod("x", "a", "1"));
    let hub = hub();
    let watched = hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default());
    wait_for(&watched, &[("x/a", "1")]).await;
    assert!(server.asked().iter().any(|asked| asked.target.contains("resourceVersion=0")));
    // Later lists never are: they could show what was before.
    server.behave(|b| b.fails_with = Some((503, 0)));
    wait_trouble(&watched, "503").await;
    server.compact();
    let before = server.asked().len();
    server.behave(|b| b.fails_with = None);
    wait_trouble(&watched, "does not answer").await;
    let after = server.asked();
    assert!(after[before..].iter().all(|asked| !asked.target.contains("resourceVersion=0")), "{after:?}");
    assert_eq!(known(&watched).len(), 1);
    server.behave(|b| b.is_store_frozen = false);
    wait(&watched, "well", || watched.health().state().trouble.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wishes_to_be_left_alone_is() {
    let server = ApiServer::start();
    server.behave(|b| b.fails_with = Some((429, 3600)));
    let hub = hub();
    let watched = hub.watch::<Pod>(&hub.cluster(connection(&server)), What::default());
    wait_trouble(&watched, "429").await;
    let asked = server.asked().len();
    // It would come back within 50 ms otherwise; whoever comes meanwhile is seen by the number.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.asked().len(), asked, "{:?}", server.asked());
}

/// A server that was away may keep a question for ever, and one that is slow answers it in its time.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_left_for_another_once_when_the_server_came_back() {
    let server = ApiServer::start();
    server.behave(|b| b.hangs = true);
    server.put(PODS, pod("x", "a", "1"));
    let hub = hub_with(Timing { silence_max: 2 * SOON, ..timing() });
    let api = hub.cluster(connection(&server));
    let watched = hub.watch::<Pod>(&api, What::default());
    let mut from = 0;
    // First a list, then a watch.
    for phase in ["1", "2"] {
        let questions = || {
            let asked = server.asked();
            asked[from..].iter().filter(|asked| asked.target.starts_with(PODS)).count()
        };
        let until = async |count: usize| {
            let waited = tokio::time::timeout(SOON, async {
                while questions() < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            assert!(waited.await.is_ok(), "{:?}", server.asked());
        };
        until(1).await;
        api.came_back();
        until(2).await;
        for _ in 0..4 {
            api.came_back();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(questions(), 2, "the second is left to end: {:?}", server.asked());
        server.put(PODS, pod("x", "a", phase));
        server.behave(|b| b.hangs = false);
        wait_for(&watched, &[("x/a", phase)]).await;
        from = server.asked().len();
        server.behave(|b| b.hangs = true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_made_anew_when_they_expire_or_are_refused() {
    let server = ApiServer::start();
    server.behave(|b| b.token = Some("one".into()));
    server.put(PODS, pod("x", "a", "1"));
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("who");
    let credential = |token: &str| {
        let told = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": "2999-01-01T00:00:00Z"}});
        std::fs::write(folder.path().join("told"), told.to_string()).expect("written");
    };
    std::fs::write(&script, "#!/bin/sh\necho run >> runs\nexec cat told\n").expect("written");
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("a mode");
    credential("one");
    let text = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh", "args": ["-c", format!("cd {} && ./who", folder.path().display())]}}}]});
    let mut file = Kubeconfig::default();
    file.add(&folder.path().join("config"), &text.to_string()).expect("sound");
    let hub = hub();
    let watched =
        hub.watch::<Pod>(&hub.cluster(file.connection(None).expect("a connection")), What::default());
    wait_for(&watched, &[("x/a", "1")]).await;
    credential("two");
    server.behave(|b| b.token = Some("two".into()));
    server.put(PODS, pod("x", "a", "2"));
    wait_for(&watched, &[("x/a", "2")]).await;
    wait(&watched, "well", || watched.health().state().trouble.is_none()).await;
    let runs = std::fs::read_to_string(folder.path().join("runs")).expect("runs");
    assert_eq!(runs.lines().count(), 2, "once for each token");
    // One that is not accepted is named.
    server.behave(|b| b.token = Some("three".into()));
    wait_trouble(&watched, "does not accept the credentials").await;
    assert_eq!(known(&watched).len(), 1);
}

/// A connection as a file of `kubectl` in this folder has it, with this user.
fn connection_of(folder: &tempfile::TempDir, server: &ApiServer, user: &Value) -> Connection {
    let text = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}], "users": [{"name": "u", "user": user}]});
    let mut file = Kubeconfig::default();
    file.add(&folder.path().join("config"), &text.to_string()).expect("sound");
    file.connection(None).expect("a connection")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_while_one_watches_is_named_until_its_file_is_renewed() {
    let server = ApiServer::start();
    server.behave(|b| b.token = Some("one".into()));
    server.put(PODS, pod("x", "a", "1"));
    let folder = tempfile::tempdir().expect("a folder");
    let write = |token: &str| std::fs::write(folder.path().join("token"), token).expect("written");
    write("wrong\n");
    let hub = hub();
    let api = hub.cluster(connection_of(&folder, &server, &json!({"tokenFile": "token"})));
    let watched = hub.watch::<Pod>(&api, What::default());
    // Wrong from the beginning: nothing is known, and it is told why.
    wait_trouble(&watched, "does not accept the credentials").await;
    assert!(!watched.health().state().is_whole);
    write("one\n");
    wait_for(&watched, &[("x/a", "1")]).await;
    // It ends while one watches; what was known stays, with its age.
    server.behave(|b| b.token = Some("two".into()));
    server.put(PODS, pod("x", "a", "2"));
    wait_trouble(&watched, "does not accept the credentials").await;
    let state = watched.health().state();
    assert!(state.is_whole && state.age(SystemClock.monotonic()).is_some(), "{state:?}");
    assert_eq!(known(&watched).get("x/a").map(String::as_str), Some("1"));
    write("two\n");
    wait_for(&watched, &[("x/a", "2")]).await;
    wait(&watched, "well", || watched.health().state().trouble.is_none()).await;
    assert_eq!(watched.health().state().lists, 1, "the watch went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_with_the_rule_that_grants_it() {
    let server = ApiServer::start();
    let both = |resource: &str| ["list", "watch"].map(|verb| (verb.to_owned(), resource.to_owned()));
    server.behave(|b| b.forbidden = both("replicasets").to_vec());
    server.put(PODS, pod("x", "a", "1"));
    let hub = hub();
    let api = hub.cluster(connection(&server));
    let (pods, sets) =
        (hub.watch::<Pod>(&api, What::default()), hub.watch::<ReplicaSet>(&api, What::default()));
    wait_for(&pods, &[("x/a", "1")]).await;
    let mut changes = sets.changes();
    let told = tokio::time::timeout(SOON, async {
        loop {
            if let Some(trouble) = sets.health().state().trouble {
                return trouble.text;
            }
            let _ = changes.changed().await;
        }
    });
    let told = told.await.expect("a trouble");
    let rule =
        "a ClusterRole with the rule {apiGroups: [\"apps\"], resources: [replicasets], verbs: [list, watch]}";
    assert!(told.contains(rule), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_program_is_neither_waited_for_nor_begun_again() {
    let server = ApiServer::start();
    server.behave(|b| b.token = Some("one".into()));
    let folder = tempfile::tempdir().expect("a folder");
    let told = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "one"}});
    std::fs::write(folder.path().join("told"), told.to_string()).expect("written");
    // It waits for a file that comes only when all have given up.
    let script = format!(
        "cd {} && echo run >> runs && while ! [ -e go ]; do sleep 0.02; done && cat told",
        folder.path().display()
    );
    let user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]}});
    let hub = hub();
    let api = hub.cluster(connection_of(&folder, &server, &user));
    let limit = Duration::from_millis(100);
    for _ in 0..3 {
        let error = api.get("/version", "*/*", limit).await.expect_err("nobody knows who we are");
        assert!(error.told().contains("credential program has not told"), "{}", error.told());
    }
    std::fs::write(folder.path().join("go"), "").expect("written");
    let answer = api.get("/version", "*/*", SOON).await;
    assert!(answer.is_ok_and(|answer| answer.status().is_success()));
    let runs = std::fs::read_to_string(folder.path().join("runs")).expect("runs");
    assert_eq!(runs.lines().count(), 1, "it goes on when those give up who wait");
}
