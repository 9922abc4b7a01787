//! What the state of many pods takes as a page: nothing that stays, little while it is written, and not long.
//!
//! `VEDETTE_STATE_PODS` names another number of pods, as 10000, for whoever measures; times are only told with
//! optimization (`--release`).

use std::{sync::Arc, time::Duration};

use vedette_config::HttpClient;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{
    Connection, Hub, Timing,
    state::{ClusterState, Format, Gone, States, Wanted},
};
use vedette_sys::{Clock as _, SystemClock};
use vedette_test_allocator::Counting;
use vedette_test_apiserver::{ApiServer, made};

/// Pods without a wish: so many that several threads write the page.
const PODS: usize = 1500;
/// What may be held beside the objects while a page is written: heads of rows, and pieces of up to four threads.
const BESIDE_BYTES_A_POD_MAX: usize = 400;
const BESIDE_BYTES_MAX: usize = 4 << 20;
/// What may stay afterwards.
const STAYS_BYTES_MAX: usize = 1 << 20;
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

/// Rows and bytes of the page; each line is looked at once.
fn read(states: &States) -> (usize, usize) {
    let (mut rows, mut bytes) = (0, 0);
    let mut take = |piece: &mut String| {
        assert!(piece.ends_with('\n'), "pieces are whole lines");
        bytes += piece.len();
        if cfg!(debug_assertions) {
            rows += piece.lines().filter(|line| !line.starts_with('#')).count();
        }
        Ok::<(), Gone>(())
    };
    states.write(false, Format::Text, &mut take).expect("all is taken");
    (rows, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_leaves_nothing_and_takes_little() {
    let wished = std::env::var("VEDETTE_STATE_PODS").ok().and_then(|text| text.parse().ok());
    let pods: usize = wished.unwrap_or(PODS);
    let server = ApiServer::start();
    for number in 0..pods {
        server.put("/api/v1/pods", made::pod(number, 0));
    }
    for number in 0..pods / made::PODS_A_NODE {
        server.put("/api/v1/nodes", made::node(number));
    }
    let options = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    };
    let hub = Hub::new(tokio::runtime::Handle::current(), options, Timing::default());
    let api = hub.cluster(Connection::to(server.url().parse().expect("a URL"), HttpClient::default()));
    let before = ALLOCATOR.used();
    let wanted = Wanted { kinds: Some(vec!["pods".into(), "nodes".into()]), ..Wanted::default() };
    let cluster = Arc::new(ClusterState::watch("c".into(), &hub, &api, &wanted));
    let states = States::default();
    states.add(cluster.clone());
    let is_whole = || cluster.watches().all(|watch| watch.health().state().is_whole);
    let waited = tokio::time::timeout(SOON, async {
        while !is_whole() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the lists are whole");
    assert_eq!(
        cluster.watches().map(|watch| watch.objects()).sum::<usize>(),
        pods + pods / made::PODS_A_NODE
    );

    // The server stands in the same process; its threads rest while nothing is asked.
    let kept = ALLOCATOR.begin();
    let (rows, bytes) = read(&states);
    let (after, peak) = (ALLOCATOR.used(), ALLOCATOR.peak());
    println!(
        "{pods} pods: {} bytes kept beside what the server holds before, page of {bytes} bytes and {rows} rows, \
         {} bytes more while it is written, {} after",
        kept.saturating_sub(before),
        peak.saturating_sub(kept),
        after.saturating_sub(kept)
    );
    assert!(!cfg!(debug_assertions) || rows > pods * 35, "{rows} rows");
    let beside_max = pods * BESIDE_BYTES_A_POD_MAX + BESIDE_BYTES_MAX;
    assert!(peak.saturating_sub(kept) < beside_max, "{} bytes while a page is written", peak - kept);
    assert!(after.saturating_sub(kept) < STAYS_BYTES_MAX, "{} bytes stay", after - kept);
    if !cfg!(debug_assertions) {
        for _ in 0..5 {
            let begin = SystemClock.monotonic();
            read(&states);
            println!("a page in {:?}", SystemClock.monotonic().since(begin));
        }
    }
}
