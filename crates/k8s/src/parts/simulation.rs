//! A cluster of a model through days of load: nothing false is told, and what fails is found within five
//! seconds of the time at which it breaks what it promised. A seed that fails is named.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use vedette_http_client::{Certificate, CertificateRole, CertificateTrouble};
use vedette_model::cluster::PartState;
use vedette_sys::{MonotonicTime, Random};

use super::{
    judge::{API_SERVER, DNS, ETCD, Judge, KUBELET, View},
    lease::Lease,
    node::NodeSeen,
    probe::{Probe, Reply},
    track::Seen,
    workloads::{PodSeen, PodsByPart},
};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
const NODES: usize = 6;
/// From the time of failure, or of the end of a lease.
const FOUND_WITHIN: u64 = 5;
const LIVE: &str = "[+]ping ok\n[+]etcd ok\nlivez check passed\n";
const READY: &str = "[+]ping ok\n[+]informer-sync ok\nreadyz check passed\n";

/// What is broken for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Nothing,
    ServerRefuses,
    ServerHangs,
    ServerUnwell,
    Store,
    Scheduler,
    Node,
    NodeNotReady,
    Dns,
    /// Who asks is not known any more.
    Credentials,
    /// The same, and the certificate by which one asks has ended.
    ClientEnded,
    /// That certificate is not taken.
    ClientRefused,
    /// Its health may not be asked for any more.
    Barred,
    /// The lease of the scheduler cannot be read, and nothing else fails.
    LeaseUnread,
}

struct World {
    random: Random,
    judge: Judge,
    broken: Broken,
    /// Second of the world, and how many there are from step to step.
    now: u64,
    interval: u64,
    /// Answers under way, by when they come.
    coming: Vec<Probe>,
    /// Until when questions fail, and until when it starts.
    errors_until: u64,
    starting_until: u64,
    slow_until: u64,
    /// When each lease is renewed next, the scheduler's first; and by how much its holder's clock is wrong.
    renew_at: [u64; NODES + 1],
    renewed: [u64; NODES + 1],
    skew: [i64; NODES + 1],
    holder: u64,
    /// A pod of each workload that rolls, until then.
    rolling: (usize, u64),
    false_alarms: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let skew = std::array::from_fn(|_| i64::try_from(random.below(7_200)).unwrap_or(0) - 3_600);
        Self {
            judge: Judge::new("server:6443"),
            broken: Broken::Nothing,
            now: 100,
            interval: 1,
            coming: Vec::new(),
            errors_until: 0,
            starting_until: 0,
            slow_until: 0,
            renew_at: [100; NODES + 1],
            renewed: [100; NODES + 1],
            skew,
            holder: 0,
            rolling: (0, 0),
            false_alarms: Vec::new(),
            random,
        }
    }

    fn time(&self) -> MonotonicTime {
        MonotonicTime(self.now * SECOND)
    }

    fn unix_ms(&self) -> i64 {
        i64::try_from(self.now * 1000).expect("a day")
    }

    fn lease(&self, at: usize) -> Lease {
        let seconds = i64::try_from(self.renewed[at]).expect("a day") + 1_700_000_000 + self.skew[at];
        let renewed = jiff::Timestamp::from_second(seconds).expect("a time").to_string();
        let duration = if at == 0 { 15 } else { 40 };
        serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {
            "holderIdentity": format!("h{}", if at == 0 { self.holder } else { 0 }),
            "leaseDurationSeconds": duration, "renewTime": renewed}}))
        .expect("a lease")
    }

    /// What a probe that begins now comes to, and when.
    fn probe(&mut self) -> Probe {
        let began = self.time();
        // Most answers take milliseconds, some take long, and in slow times many do.
        let ms = match self.random.below(if self.now < self.slow_until { 4 } else { 400 }) {
            0 => 300 + self.random.below(1_600),
            _ => 2 + self.random.below(60),
        };
        let answer = |code, body: &str| Reply::Answer(code, body.to_owned());
        let (mut livez, mut readyz, mut took) = (answer(200, LIVE), answer(200, READY), ms);
        if self.now < self.starting_until {
            readyz =
                answer(500, "[+]ping ok\n[-]poststarthook/x failed: not finished\nreadyz check failed\n");
        }
        if self.now < self.errors_until {
            (livez, readyz) = match self.random.below(3) {
                0 => (answer(503, "no backend"), answer(503, "no backend")),
                1 => {
                    (Reply::Silence("connection refused".into()), Reply::Silence("connection refused".into()))
                }
                _ => (answer(200, LIVE), answer(500, "internal error")),
            };
        }
        if self.broken != Broken::Nothing {
            took = took.min(100);
        }
        match self.broken {
            Broken::ServerRefuses => {
                (livez, readyz) = (Reply::Silence("refused".into()), Reply::Silence("refused".into()));
            }
            Broken::ServerHangs => {
                (livez, readyz, took) =
                    (Reply::Silence("timed out".into()), Reply::Silence("timed out".into()), 2_000);
            }
            Broken::ServerUnwell => readyz = answer(500, "[-]log failed: reason withheld\n"),
            Broken::Store => livez = answer(500, "[+]ping ok\n[-]etcd failed: reason withheld\n"),
            Broken::Credentials | Broken::ClientEnded => {
                (livez, readyz) = (answer(401, "Unauthorized"), answer(401, "Unauthorized"));
            }
            Broken::ClientRefused => {
                let refused = || Reply::Distrusted(CertificateTrouble::ClientRefused, "refused".into());
                (livez, readyz) = (refused(), refused());
            }
            Broken::Barred => (livez, readyz) = (answer(403, "forbidden"), answer(403, "forbidden")),
            _ => {}
        }
        let ended = MonotonicTime(began.0 + took * 1_000_000);
        let ended_client = || Certificate {
            role: CertificateRole::Client,
            subject: "vedette".into(),
            issuer: "ca".into(),
            not_before_unix_s: -2,
            not_after_unix_s: -1,
        };
        let certificates = (self.broken == Broken::ClientEnded).then(|| vec![ended_client()]);
        Probe { began, ended, livez, readyz, certificates }
    }

    /// What the world does by itself in a second of load.
    fn load(&mut self) {
        // What is brief has an end: errors that follow each other without one are an outage.
        let is_calm = self.now > self.errors_until + 10;
        if self.random.one_in(600) && is_calm {
            self.errors_until = self.now + 2 + self.random.below(3);
        }
        if self.random.one_in(3_600) && is_calm {
            // An instance of the API server is restarted: some seconds of errors, then it starts.
            self.errors_until = self.now + 4;
            self.starting_until = self.now + 4 + self.random.below(40);
        }
        if self.random.one_in(1_800) {
            self.slow_until = self.now + self.random.below(120);
        }
        if self.random.one_in(7_200) && self.broken != Broken::Scheduler {
            // Another leads, once the lease of the one before is nearly or just over.
            self.holder += 1;
            self.renew_at[0] = self.now + self.random.below(13);
        }
        if self.random.one_in(1_200) {
            // A kubelet is restarted.
            let node = 1 + usize::try_from(self.random.below(NODES as u64)).expect("few");
            self.renew_at[node] = self.now + 10 + self.random.below(20);
        }
        if self.random.one_in(900) && self.now >= self.rolling.1 {
            self.rolling =
                (usize::try_from(self.random.below(2)).expect("few"), self.now + self.random.below(50));
        }
    }

    fn view(&self) -> View {
        let node = |at: usize| {
            let is_bad = self.broken == Broken::NodeNotReady && at == 1;
            let ready = if is_bad { ("False", "KubeletNotReady") } else { ("True", "KubeletReady") };
            NodeSeen {
                name: format!("n{at}").into(),
                conditions: vec![
                    ("Ready".into(), ready.0.into(), ready.1.into()),
                    ("DiskPressure".into(), "False".into(), "".into()),
                ],
            }
        };
        let pod = |at: usize, workload: usize| {
            let crashes = self.broken == Broken::Dns && workload == 0;
            let rolls = at == 0 && self.rolling.0 == workload && self.now < self.rolling.1;
            PodSeen {
                name: format!("p{at}").into(),
                node: format!("n{}", at + 1).into(),
                is_ready: !crashes && !rolls,
                stuck: if crashes { "coredns CrashLoopBackOff".into() } else { String::new() },
                restarts: 0,
            }
        };
        let pods = [("coredns", 2, 0), ("kube-proxy", NODES, 1)];
        let pods: PodsByPart = pods
            .into_iter()
            .map(|(part, count, at)| (part, (0..count).map(|pod_at| pod(pod_at, at)).collect()))
            .collect();
        let addresses = if self.broken == Broken::Dns { 0 } else { 2 };
        View {
            nodes: Some(Ok((1..=NODES).map(node).collect())),
            pods: Some(Ok(pods)),
            dns_addresses: Some(Ok(Some(addresses))),
            barred: BTreeMap::new(),
        }
    }

    /// One second, or what there is from step to step.
    fn step(&mut self) {
        self.now += self.interval;
        let probe = self.probe();
        self.coming.push(probe);
        let now = self.time();
        // Those that come before the next step.
        let end = MonotonicTime(now.0 + self.interval * SECOND);
        let (mut due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.coming).into_iter().partition(|p| p.ended < end);
        self.coming = later;
        due.sort_by_key(|probe| probe.ended);
        for probe in due {
            self.judge.probe(&probe, self.unix_ms());
        }
        let server_answers = !matches!(
            self.broken,
            Broken::ServerRefuses
                | Broken::ServerHangs
                | Broken::Store
                | Broken::Credentials
                | Broken::ClientEnded
                | Broken::ClientRefused
        ) && self.now >= self.errors_until;
        if server_answers {
            for at in 0..=NODES {
                let is_dead = match self.broken {
                    Broken::Scheduler => at == 0,
                    Broken::Node => at == 1,
                    _ => false,
                };
                if !is_dead && self.now >= self.renew_at[at] {
                    self.renewed[at] = self.now;
                    self.renew_at[at] = self.now + if at == 0 { 2 } else { 10 + self.random.below(3) };
                }
            }
            if self.broken == Broken::LeaseUnread {
                self.judge.leader_unseen("scheduler", None, now, self.unix_ms());
            } else {
                self.judge.leader("scheduler", Some(&self.lease(0)), now);
            }
            for node in 1..=NODES {
                self.judge.heartbeat(&format!("n{node}"), &self.lease(node), now);
            }
            for node in self.judge.suspects(now) {
                let at: usize = node[1..].parse().expect("a number");
                self.judge.confirm(&node, Some(&self.lease(at)), now);
            }
        } else {
            self.judge.leader_unseen("scheduler", None, now, self.unix_ms());
        }
        let view = self.view();
        self.judge.look(&view, now, self.unix_ms());
    }

    fn state(&self, part: &str, instance: &str) -> PartState {
        let parts = self.judge.parts();
        parts
            .iter()
            .find(|p| p.part == part && &*p.instance == instance)
            .map_or(PartState::Unknown, |p| p.state)
    }

    fn note_alarms(&mut self) {
        let wrong: Vec<_> =
            self.judge.parts().into_iter().filter(|p| p.state != PartState::Healthy).collect();
        if self.false_alarms.len() < 5 {
            self.false_alarms.extend(wrong.iter().map(|part| format!("{}: {part:?}", self.now)));
        }
    }
}

#[test]
fn a_day_of_load_raises_no_alarm() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        for _ in 0..10 {
            world.step();
        }
        assert_eq!(world.judge.parts().len(), 2 + 1 + NODES + 2 + 1, "seed {seed}: all parts are told");
        for _ in 0..DAY {
            world.load();
            world.step();
            world.note_alarms();
        }
        assert!(world.false_alarms.is_empty(), "seed {seed}: {:#?}", world.false_alarms);
    }
}

#[test]
fn what_fails_is_found_within_five_seconds_and_healthy_when_mended() {
    let cases = [
        (Broken::ServerRefuses, API_SERVER, "server:6443", 0),
        (Broken::ServerHangs, API_SERVER, "server:6443", 0),
        (Broken::ServerUnwell, API_SERVER, "server:6443", 0),
        (Broken::Store, ETCD, "server:6443", 0),
        // From the end of the lease; it may have been renewed up to two seconds before.
        (Broken::Scheduler, "scheduler", "", 15),
        (Broken::Node, KUBELET, "n1", 40),
        (Broken::NodeNotReady, KUBELET, "n1", 0),
        (Broken::Dns, "coredns", "", 0),
        (Broken::Dns, DNS, "", 0),
    ];
    for seed in 0..20 {
        for (broken, part, instance, promised) in cases {
            let mut world = World::new(seed);
            for _ in 0..120 + seed * 7 {
                world.load();
                world.step();
            }
            // What the load broke for a moment may lie before, but not in, the failure.
            (world.errors_until, world.starting_until, world.slow_until) = (0, 0, 0);
            world.broken = broken;
            let began = world.now;
            while world.state(part, instance) != PartState::Failed {
                world.step();
                // It is told at the end of its second.
                let after = world.now - began + 1;
                assert!(
                    after <= promised + FOUND_WITHIN,
                    "seed {seed}: {broken:?} is not found after {after} s"
                );
            }
            let told = world.judge.parts().into_iter().find(|p| p.part == part && &*p.instance == instance);
            let told = told.expect("a part");
            assert!(
                !told.evidence.is_empty() && !told.next_step.is_empty() && !told.cause.is_empty(),
                "{told:?}"
            );
            for _ in 0..90 {
                world.step();
            }
            if matches!(broken, Broken::ServerRefuses | Broken::ServerHangs | Broken::ServerUnwell) {
                // Nothing is told of those that nobody can ask. One that answers still speaks of its store.
                let told: &[&str] =
                    if broken == Broken::ServerUnwell { &[API_SERVER, ETCD] } else { &[API_SERVER] };
                for part in world.judge.parts().iter().filter(|p| !told.contains(&p.part)) {
                    assert_eq!(part.state, PartState::Unknown, "seed {seed}: {part:?}");
                }
            }
            world.broken = Broken::Nothing;
            world.renew_at = [world.now; NODES + 1];
            let mended = world.now;
            while world.judge.parts().iter().any(|part| part.state != PartState::Healthy) {
                world.step();
                let after = world.now - mended;
                assert!(after <= 15, "seed {seed}: after {broken:?}: {:?}", world.judge.parts());
            }
        }
    }
}

#[test]
fn what_fails_is_found_though_questions_fail_now_and_then() {
    let cases = [(Broken::Scheduler, "scheduler", "", 15), (Broken::Node, KUBELET, "n1", 40)];
    // Every sixth question fails, beside what the load does.
    let step = |world: &mut World| {
        world.load();
        if world.now.is_multiple_of(6) {
            world.errors_until = world.errors_until.max(world.now + 2);
        }
        world.step();
    };
    for seed in 0..20 {
        for (broken, part, instance, promised) in cases {
            let mut world = World::new(seed);
            (0..120 + seed * 7).for_each(|_| step(&mut world));
            assert_eq!(world.state(part, instance), PartState::Healthy, "seed {seed}");
            world.broken = broken;
            let (began, mut gaps) = (world.now, 0);
            while world.state(part, instance) != PartState::Failed {
                step(&mut world);
                // A second that fails does not count, nor that in which the next answer is waited for.
                gaps += 2 * u64::from(world.now < world.errors_until);
                let after = world.now - began + 1;
                assert!(
                    after <= promised + FOUND_WITHIN + gaps,
                    "seed {seed}: {broken:?} is not found after {after} s, of which {gaps} do not count"
                );
            }
        }
    }
}

#[test]
fn looks_that_are_far_apart_are_no_sleep() {
    for (broken, part, instance) in [(Broken::Scheduler, "scheduler", ""), (Broken::Node, KUBELET, "n1")] {
        let mut world = World::new(2);
        world.interval = 20;
        world.judge = Judge::new("server:6443").every(Duration::from_secs(20));
        (0..3).for_each(|_| world.step());
        for _ in 0..50 {
            world.step();
            world.note_alarms();
        }
        assert!(world.false_alarms.is_empty(), "{:#?}", world.false_alarms);
        world.broken = broken;
        (0..6).for_each(|_| world.step());
        assert_eq!(world.state(part, instance), PartState::Failed, "{broken:?}: {:?}", world.judge.parts());
        world.now += 200;
        world.coming.clear();
        world.broken = Broken::Nothing;
        (0..8).for_each(|_| world.step());
        assert_eq!(world.state(part, instance), PartState::Healthy, "{broken:?}");
    }
}

#[test]
fn nothing_is_told_healthy_while_nobody_can_ask() {
    let unknown = |world: &World, told: &[&str]| {
        let parts = world.judge.parts();
        let others: Vec<_> = parts.iter().filter(|part| !told.contains(&part.part)).collect();
        assert_eq!(others.len() + told.len(), 2 + 1 + NODES + 2 + 1);
        assert!(others.iter().all(|part| part.state == PartState::Unknown), "{others:#?}");
    };
    for (broken, after, told) in [
        (Broken::Credentials, 5, &[][..]),
        // It answers, but whatever it tells may be old.
        (Broken::Store, 40, &[API_SERVER, ETCD][..]),
    ] {
        let mut world = World::new(5);
        (0..30).for_each(|_| world.step());
        world.broken = broken;
        (0..after).for_each(|_| world.step());
        for _ in 0..60 {
            world.step();
            unknown(&world, told);
        }
        let server = world.judge.parts().into_iter().find(|part| part.part == API_SERVER).expect("it");
        assert_eq!(server.cause, if told.is_empty() { "credentials" } else { "etcd" });
        world.broken = Broken::Nothing;
        world.renew_at = [world.now; NODES + 1];
        (0..5).for_each(|_| world.step());
        let parts = world.judge.parts();
        assert!(parts.iter().all(|part| part.state == PartState::Healthy), "{broken:?}: {parts:#?}");
    }
}

#[test]
fn a_store_that_is_told_no_longer_is_unknown_and_nothing_else() {
    let mut world = World::new(5);
    (0..30).for_each(|_| world.step());
    world.broken = Broken::Barred;
    (0..20).for_each(|_| world.step());
    for part in world.judge.parts() {
        let is_told = part.part != API_SERVER && part.part != ETCD;
        let expected = if is_told { PartState::Healthy } else { PartState::Unknown };
        assert_eq!(part.state, expected, "{part:?}");
    }
    world.broken = Broken::Nothing;
    (0..3).for_each(|_| world.step());
    assert_eq!(world.state(ETCD, "server:6443"), PartState::Healthy);
}

#[test]
fn a_lease_that_is_not_read_for_long_is_unknown() {
    let mut world = World::new(5);
    (0..30).for_each(|_| world.step());
    world.broken = Broken::LeaseUnread;
    (0..20).for_each(|_| world.step());
    assert_eq!(world.state("scheduler", ""), PartState::Healthy, "it is not over: nobody saw it");
    (0..20).for_each(|_| world.step());
    assert_eq!(world.state("scheduler", ""), PartState::Unknown);
    assert_eq!(world.state(KUBELET, "n1"), PartState::Healthy);
    // One that may not be read is told though nothing is known of it, until there is none.
    let (now, unix_ms) = (world.time(), world.unix_ms());
    world.judge.leader_unseen("controller-manager", Some("no right"), now, unix_ms);
    let is_told = |world: &World| world.judge.parts().iter().any(|part| part.part == "controller-manager");
    assert!(is_told(&world));
    world.judge.leader("controller-manager", None, now);
    assert!(!is_told(&world));
}

#[test]
fn pods_that_may_not_be_seen_any_more_are_unknown_and_not_gone() {
    for (barred, expected) in [(true, PartState::Unknown), (false, PartState::Failed)] {
        let mut world = World::new(3);
        (0..5).for_each(|_| world.step());
        let mut view = world.view();
        if let Some(Ok(pods)) = &mut view.pods {
            pods.remove("coredns");
        }
        if barred {
            view.barred.insert("coredns", "the account may not list pods in calico-system".into());
        }
        for _ in 0..20 {
            world.now += 1;
            let (now, unix_ms) = (world.time(), world.unix_ms());
            world.judge.look(&view, now, unix_ms);
        }
        assert_eq!(world.state("coredns", ""), expected);
        assert_eq!(world.state("kube-proxy", ""), PartState::Healthy);
    }
}

#[test]
fn sleep_is_no_failure() {
    let mut world = World::new(7);
    for _ in 0..60 {
        world.step();
    }
    // The machine of the watcher sleeps for an hour; what was under way is given up.
    world.now += 3_600;
    world.coming.clear();
    world.renew_at = [world.now + 3; NODES + 1];
    for _ in 0..30 {
        world.step();
        world.note_alarms();
    }
    assert!(world.false_alarms.is_empty(), "{:#?}", world.false_alarms);
}

#[test]
fn more_instances_than_can_be_told_are_counted() {
    let mut world = World::new(1);
    world.step();
    world.step();
    let node = |n: usize| NodeSeen {
        name: format!("x{n}").into(),
        conditions: vec![("Ready".into(), "True".into(), "".into())],
    };
    let view = View { nodes: Some(Ok((0..10_100).map(node).collect())), ..View::default() };
    let (now, unix_ms) = (world.time(), world.unix_ms());
    world.judge.look(&view, now, unix_ms);
    assert!(world.judge.parts().len() <= 10_000);
    assert_eq!(world.judge.left_out() as usize + world.judge.parts().len(), 10_100 + 6);
    let view = View { nodes: Some(Ok(vec![node(1)])), ..View::default() };
    world.judge.look(&view, now, unix_ms);
    assert_eq!(world.judge.left_out(), 0);
}

#[test]
fn a_lease_may_come_before_its_node() {
    let mut world = World::new(1);
    let (lease, now) = (world.lease(1), world.time());
    assert!(!world.judge.heartbeat("n1", &lease, now), "it is to be brought again");
    world.step();
    assert!(world.judge.heartbeat("n1", &lease, now));
}

#[test]
fn what_is_told_changes_only_with_what_is_seen() {
    let mut world = World::new(1);
    (0..5).for_each(|_| world.step());
    assert!(world.judge.take_changed());
    (0..5).for_each(|_| world.step());
    assert!(!world.judge.take_changed());
    world.broken = Broken::NodeNotReady;
    (0..5).for_each(|_| world.step());
    assert!(world.judge.take_changed() && !world.judge.take_changed());
}

#[test]
fn many_nodes_leave_no_other_part_out() {
    let mut world = World::new(1);
    let node = |n: usize| NodeSeen {
        name: format!("x{n:05}").into(),
        conditions: vec![("Ready".into(), "True".into(), "".into())],
    };
    let nodes = |range: std::ops::Range<usize>| Some(Ok(range.map(node).collect()));
    world.now += 1;
    let (probe, now, unix_ms) = (world.probe(), world.time(), world.unix_ms());
    world.judge.probe(&probe, unix_ms);
    world.judge.look(&View { nodes: nodes(0..10_100), ..View::default() }, now, unix_ms);
    let told = |world: &World| world.judge.parts().into_iter().filter(|part| part.part == KUBELET).count();
    assert_eq!(told(&world) as u64 + world.judge.left_out(), 10_100);
    assert!(world.judge.left_out() >= 100);
    world.judge.look(&View { nodes: nodes(0..10_100), ..world.view() }, now, unix_ms);
    for part in ["coredns", DNS] {
        assert_eq!(world.state(part, ""), PartState::Healthy, "{part}");
    }
    // Whoever is told because others went is left out no longer.
    world.judge.look(&View { nodes: nodes(200..10_100), ..View::default() }, now, unix_ms);
    assert_eq!((told(&world), world.judge.left_out()), (9_900, 0));
}

#[test]
fn a_missing_right_is_told_and_is_no_failure() {
    let mut world = World::new(3);
    for _ in 0..5 {
        world.step();
    }
    let reason = "the account may not list nodes in all namespaces; grant it by a role";
    let view = View { nodes: Some(Err(reason.into())), ..world.view() };
    for _ in 0..20 {
        world.now += 1;
        let (now, unix_ms) = (world.time(), world.unix_ms());
        world.judge.look(&view, now, unix_ms);
    }
    let kubelets: Vec<_> = world.judge.parts().into_iter().filter(|part| part.part == KUBELET).collect();
    assert!(
        kubelets.len() == NODES && kubelets.iter().all(|part| part.state == PartState::Unknown),
        "{kubelets:?}"
    );
    assert!(kubelets[0].evidence.contains("may not list nodes"));
    assert_eq!(world.state("coredns", ""), PartState::Healthy);
}

/// For ten minutes the credentials are refused, or the server is away: one part at most is accused, what is asked
/// itself is told all the same, and afterwards all is as before.
#[test]
fn ten_minutes_without_the_api_server_accuse_nobody_else() {
    const ENDPOINT: &str = "10.0.0.1:10259";
    for (broken, state, cause) in [
        (Broken::Credentials, PartState::Unknown, "credentials"),
        (Broken::ClientEnded, PartState::Unknown, "client_certificate_expired"),
        (Broken::ClientRefused, PartState::Unknown, "client_certificate_refused"),
        (Broken::ServerRefuses, PartState::Failed, "no_answer"),
    ] {
        let mut world = World::new(5);
        let step = |world: &mut World| {
            world.step();
            // It is slow, so that more looks than answers come.
            if world.now.is_multiple_of(3) {
                let (now, unix_ms) = (world.time(), world.unix_ms());
                world.judge.endpoint("scheduler", ENDPOINT, Seen::good(), now, now, unix_ms);
            }
        };
        for _ in 0..60 {
            step(&mut world);
        }
        world.broken = broken;
        for second in 0..600 {
            step(&mut world);
            assert_eq!(world.state("scheduler", ENDPOINT), PartState::Healthy, "after {second} s");
            for part in world.judge.parts().into_iter().filter(|_| second >= 10) {
                let expected = match (part.part, &*part.instance) {
                    (API_SERVER, _) => (state, cause),
                    ("scheduler", ENDPOINT) => (PartState::Healthy, ""),
                    _ => (PartState::Unknown, "server_unasked"),
                };
                assert_eq!((part.state, part.cause), expected, "{broken:?} after {second} s: {part:?}");
            }
        }
        world.broken = Broken::Nothing;
        world.renew_at = [world.now; NODES + 1];
        for _ in 0..5 {
            step(&mut world);
        }
        let wrong = world.judge.parts().into_iter().filter(|part| part.state != PartState::Healthy);
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{broken:?}, five seconds after it is mended: {wrong:?}");
    }
}
