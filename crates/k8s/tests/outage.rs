//! An API server that is away for ten minutes, on a clock of the test: what is known is kept with its age, nobody
//! hurries, one failure is told, and when the server is back all is current within seconds.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{runtime::Handle, time::Instant};
use vedette_config::HttpClient;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{
    Connection, Hub, SharedWatch, Timing, What,
    objects::{ConfigMap, Pod, Service},
    parts::{self, Parts},
};
use vedette_model::cluster::PartState;
use vedette_sys::{Clock, MonotonicTime};
use vedette_test_apiserver::{ApiServer, Behaviour};

const PODS: &str = "/api/v1/pods";
const AWAY_SECONDS: usize = 600;
/// After the server is back, on the clock of the test. Without being woken a watch waits up to 30 s.
const CURRENT_WITHIN: Duration = Duration::from_secs(8);

/// Time as tokio has it, which stands still unless it is moved on.
struct TestClock(Instant);

impl Clock for TestClock {
    fn unix_ns(&self) -> i64 {
        1_700_000_000_000_000_000 + i64::try_from(self.0.elapsed().as_nanos()).expect("minutes")
    }

    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime(1_000_000_000 + u64::try_from(self.0.elapsed().as_nanos()).expect("minutes"))
    }
}

/// Moves the clock on, and gives the network some of our own time.
async fn pass(time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..4 {
        std::thread::sleep(Duration::from_micros(700));
        settle().await;
    }
}

/// The same of a server that answers: the network does what it does in no time, however busy the machine is. For
/// that a question of our own goes behind those that are under way.
async fn pass_with(server: &ApiServer, time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..10 {
        let mut stream =
            TcpStream::connect(server.url().trim_start_matches("http://")).expect("a connection");
        stream.write_all(b"GET /echo HTTP/1.1\r\n\r\n").expect("asked");
        assert!(stream.read(&mut [0; 64]).expect("an answer") > 0);
        std::thread::sleep(Duration::from_micros(700));
        settle().await;
    }
}

/// Lets all do what they can do without waiting.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": "kube-system", "name": name, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn known(watched: &SharedWatch<Pod>) -> BTreeMap<String, String> {
    let all = watched.objects();
    all.iter().map(|(key, pod, _)| (key.to_owned(), pod.phase().to_owned())).collect()
}

fn expected(pods: &[(&str, &str)]) -> BTreeMap<String, String> {
    pods.iter().map(|(name, phase)| (format!("kube-system/{name}"), (*phase).to_owned())).collect()
}

/// State and cause of all parts.
fn states(parts: &Parts) -> BTreeMap<&'static str, (PartState, &'static str)> {
    parts.status().parts.iter().map(|part| (part.part, (part.state, part.cause))).collect()
}

fn questions(server: &ApiServer, from: usize) -> usize {
    let asked = server.asked();
    asked[from..].iter().filter(|asked| asked.target.starts_with("/api/v1/pods?")).count()
}

async fn outage(away: impl Fn(&mut Behaviour, bool), forgets: bool) {
    let server = ApiServer::start();
    server.put(
        "/api/v1/nodes",
        json!({"metadata": {"name": "n1"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}),
    );
    server.put(PODS, pod("a", "Running"));
    server.put(PODS, pod("b", "Running"));
    let clock: Arc<dyn Clock> = Arc::new(TestClock(Instant::now()));
    let options = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: clock.clone(),
    };
    let hub = Arc::new(Hub::new(Handle::current(), options.clone(), Timing::default()));
    let api = hub.cluster(Connection::to(server.url().parse().expect("a URL"), HttpClient::default()));
    let watched = hub.watch::<Pod>(&api, What::default());
    let (services, maps) =
        (hub.watch::<Service>(&api, What::default()), hub.watch::<ConfigMap>(&api, What::default()));
    let healths = [watched.health(), services.health(), maps.health()];
    let parts = Parts::new("c".into());
    let (told, _news) = tokio::sync::watch::channel(());
    let (shown, watching) = (parts.clone(), hub.clone());
    let asked_by = api.clone();
    tokio::spawn(async move {
        parts::watch(shown, watching, asked_by, parts::Config::default(), &options, told).await
    });
    let is_well = || {
        let all = states(&parts);
        let is_healthy = all.values().all(|(state, _)| *state == PartState::Healthy);
        let are_whole =
            healths.iter().all(|health| health.state().is_whole && health.state().trouble.is_none());
        all.len() >= 4 && is_healthy && are_whole
    };
    for _ in 0..1000 {
        if is_well() {
            break;
        }
        pass_with(&server, Duration::from_millis(100)).await;
    }
    assert!(is_well(), "{:?} {:?}", states(&parts), watched.health().state());
    let before = known(&watched);
    assert_eq!(before, expected(&[("a", "Running"), ("b", "Running")]));
    let lists = watched.health().state().lists;

    server.behave(|b| away(b, true));
    let (from, left) = (server.asked().len(), clock.monotonic());
    let mut changes = 0;
    let mut last = states(&parts);
    for second in 0..AWAY_SECONDS {
        pass(Duration::from_secs(1)).await;
        let now = states(&parts);
        changes +=
            now.iter().filter(|(part, state)| last.get(*part).map(|known| known.0) != Some(state.0)).count();
        last = now;
        if second > 10 {
            assert_eq!(last["apiserver"], (PartState::Failed, "no_answer"), "after {second} s");
            let others = last.iter().filter(|(part, _)| **part != "apiserver");
            for (part, state) in others {
                assert_eq!(*state, (PartState::Unknown, "server_unasked"), "{part} after {second} s");
            }
        }
        assert_eq!(known(&watched), before, "what is known is kept");
    }
    assert_eq!(changes, last.len(), "each part is told once: {last:?}");
    let state = watched.health().state();
    let age = state.age(clock.monotonic()).expect("what is known is marked as old");
    let away_for = clock.monotonic().since(left);
    assert!(age + Duration::from_secs(2) >= away_for, "{age:?} of {away_for:?}: {state:?}");
    // Waits of 15 to 30 s, after some that are shorter; where a question hangs it also takes its 30 s.
    let asked = questions(&server, from);
    assert!((8..=AWAY_SECONDS / 15 + 10).contains(&asked), "{asked} questions");

    server.remove(PODS, "kube-system", "b");
    server.put(PODS, pod("a", "Pending"));
    server.put(PODS, pod("d", "Running"));
    if forgets {
        server.compact();
    }
    let from = server.asked().len();
    server.behave(|b| away(b, false));
    let back = clock.monotonic();
    let current = expected(&[("a", "Pending"), ("d", "Running")]);
    while known(&watched) != current || !is_well() {
        pass_with(&server, Duration::from_millis(100)).await;
        let after = clock.monotonic().since(back);
        assert!(
            after <= CURRENT_WITHIN,
            "after {after:?}: {:?} {:?} {:?}",
            states(&parts),
            healths.map(vedette_k8s::Health::state),
            known(&watched)
        );
    }
    let lists_needed = u64::from(forgets);
    assert_eq!(watched.health().state().lists, lists + lists_needed, "no list that is not needed");
    let asked = questions(&server, from);
    assert!(asked <= 3, "{asked} questions when it is back: {:?}", &server.asked()[from..]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_for_ten_minutes() {
    outage(|b, is_away| b.is_away = is_away, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_for_ten_minutes() {
    outage(|b, is_away| b.hangs = is_away, false).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_what_was_while_it_was_away() {
    outage(|b, is_away| b.is_away = is_away, true).await;
}
