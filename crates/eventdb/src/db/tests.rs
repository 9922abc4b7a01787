use std::{collections::BTreeSet, net::IpAddr, path::Path, path::PathBuf, time::Duration};

use proptest::prelude::*;
use vedette_model::{
    Ancestor, ApiRequest, Container, EventKind, Fact, Finding, FindingState, Host, KubernetesEvent, Labels,
    Process, Severity, Socket, SocketDirection, StreamTarget, Transport, Workload,
};
use vedette_sys::{ManualClock, Random, RealFs, SimFs};

use super::*;
use crate::{CataloguePlace, Received, codec};

const SECOND_NS: i64 = 1_000_000_000;
const START_NS: i64 = 1_000_000 * SECOND_NS;

fn socket(random: &mut Random) -> Socket {
    let peer = if random.one_in(2) {
        IpAddr::from([10, 0, 0, random.below(4) as u8])
    } else {
        IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, random.below(4) as u16])
    };
    Socket {
        transport: if random.one_in(2) { Transport::Tcp } else { Transport::Udp },
        direction: [SocketDirection::Outbound, SocketDirection::Inbound, SocketDirection::Unknown]
            [random.below(3) as usize],
        local: IpAddr::from([127, 0, 0, 1]),
        local_port: 40_000,
        peer,
        peer_port: random.below(65_536) as u16,
    }
}

fn target(random: &mut Random) -> StreamTarget {
    match random.below(7) {
        0 => StreamTarget::Other,
        1 => StreamTarget::File,
        2 => StreamTarget::Device,
        3 => StreamTarget::Pipe { inode: random.next_u64() },
        4 => StreamTarget::Pty { number: 7 },
        5 => StreamTarget::Socket(socket(random)),
        _ => StreamTarget::OtherSocket { inode: 3 },
    }
}

fn key(random: &mut Random) -> ProcessKey {
    let pid = 1 + random.below(6) as u32;
    ProcessKey { pid, start_ns: u64::from(pid) * 1000 + random.below(2) }
}

fn finding(random: &mut Random) -> Finding {
    Finding {
        fingerprint: random.next_u64(),
        rule: "reverse-shell".into(),
        severity: [Severity::Info, Severity::Warning, Severity::Critical][random.below(3) as usize],
        title: "Reverse SHELL".into(),
        description: "A shell talks to İstanbul".into(),
        labels: Labels::from_pairs([("alertname", "ReverseShell"), ("host", "h1")]),
        first_ns: -5,
        last_ns: i64::MAX,
        count: 3,
        state: if random.one_in(2) { FindingState::Firing } else { FindingState::Resolved },
        ancestry: vec!["bash(12)".into(), "sshd(1)".into()],
        evidence: vec!["stdin is a socket".into()],
        event_ids: vec![1, u64::MAX],
    }
}

fn fact(random: &mut Random) -> Fact {
    match random.below(13) {
        0 => Fact::Exec {
            streams: std::array::from_fn(|_| target(random)),
            upper_layer: random.one_in(2),
            unlinked: random.one_in(2),
        },
        1 => Fact::Fork { child: key(random) },
        2 => Fact::Exit { code: random.below(256) as u32, signal: random.one_in(2) },
        3 => Fact::Connection(socket(random)),
        4 => Fact::StreamRedirect { stream: 2, target: target(random) },
        5 => Fact::PtyOpen { number: 4 },
        11 => Fact::Kubernetes(Box::new(KubernetesEvent {
            cluster: "main".into(),
            uid: random.below(9).to_string(),
            kind: "Warning".into(),
            reason: "BackOff".into(),
            note: "Back-off restarting".into(),
            count: random.below(300),
            first_ns: -1,
            reporter: "kubelet".into(),
            object_kind: "Pod".into(),
            object_name: "web-1".into(),
            namespace: "shop".into(),
            object_uid: "u".into(),
            workload: Workload { kind: "Deployment".into(), name: "web".into() },
        })),
        12 => Fact::Audit(Box::new(ApiRequest {
            cluster: "main".into(),
            audit_id: random.below(9).to_string(),
            verb: ["create", "patch"][random.below(2) as usize].into(),
            code: 200 + random.below(2) as u16,
            user: "alice".into(),
            impersonator: "admin".into(),
            user_pod: String::new(),
            client: "10.0.0.7".into(),
            user_agent: "kubectl/v1.36.0".into(),
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u".into(),
        })),
        6 => Fact::OomKill { count: 1 },
        7 => Fact::ContainerStart,
        8 => Fact::ContainerStop,
        9 => Fact::Finding(Box::new(finding(random))),
        _ => Fact::Loss { place: "bulk".into(), count: u64::MAX },
    }
}

fn process(random: &mut Random) -> Process {
    let name = ["bash", "python3", "sshd", "Curl"][random.below(4) as usize].to_owned();
    Process {
        key: key(random),
        executable: format!("/usr/bin/{name}"),
        args: (0..random.below(4)).map(|n| format!("--Arg{n}={}", random.below(5))).collect(),
        args_truncated: random.one_in(9),
        uid: random.below(1 << 32) as u32,
        ancestors: (0..random.below(3))
            .map(|n| Ancestor { key: key(random), name: format!("a{n}"), executable: String::new() })
            .collect(),
        name,
    }
}

pub(crate) fn event(random: &mut Random, time_ns: i64) -> Event {
    let container = random.below(4);
    Event {
        id: 0,
        time_ns,
        host: Arc::new(Host { name: "node-1".into(), id: "m".into(), boot_id: "b".into() }),
        container: (container > 0).then(|| {
            Arc::new(Container {
                id: format!("{container}f").repeat(32),
                name: format!("web-{container}"),
                image: "docker.io/library/nginx:1".into(),
                pod_uid: format!("uid-{container}"),
                workload: Workload { kind: "DaemonSet".into(), name: format!("w{container}") },
                ..Container::default()
            })
        }),
        process: (!random.one_in(4)).then(|| Arc::new(process(random))),
        fact: fact(random),
    }
}

fn config(folder: &Path, catalogue: CataloguePlace) -> Config {
    Config {
        seal_events: 20,
        row_group_rows: 7,
        seal_interval: Duration::from_secs(60),
        retention: Duration::from_secs(3600),
        catalogue,
        ..Config::new(folder)
    }
}

fn open_sim(fs: &SimFs, clock: &ManualClock) -> Result<(EventDb, Recovery), Error> {
    let config = config(Path::new("/events"), CataloguePlace::Memory);
    EventDb::open(config, Arc::new(fs.clone()), Arc::new(clock.clone()))
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Maintain,
    Seal,
    Wait(u64),
    Reopen,
}

fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_usize..12).prop_map(Step::Append),
        3 => Just(Step::Maintain),
        1 => Just(Step::Seal),
        2 => (0_u64..90).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..max)
}

#[derive(Debug, Clone)]
struct Ask {
    range: (u8, u8),
    kinds: Vec<usize>,
    container: Option<&'static str>,
    words: Vec<&'static str>,
    process: Option<(u32, u64)>,
    lineage: bool,
    severity: Option<usize>,
    limit: usize,
}

fn ask() -> impl Strategy<Value = Ask> {
    (
        prop_oneof![2 => Just((0_u8, 255_u8)), 1 => any::<(u8, u8)>()],
        prop::collection::vec(0_usize..11, 0..3),
        prop::option::weighted(0.4, prop::sample::select(vec!["1f", "web-2", "web-", "3f3f3f", "nope"])),
        prop::collection::vec(
            prop::sample::select(vec![
                "BASH",
                "--arg1=2",
                "usr/bin",
                "10.0.0.1:",
                "fe80::2",
                "node",
                "i̇stanbul",
                "zz",
            ]),
            0..2,
        ),
        prop::option::weighted(0.3, (1_u32..7, 0_u64..2)),
        any::<bool>(),
        prop::option::weighted(0.2, 0_usize..3),
        prop_oneof![1_usize..5, Just(1000)],
    )
        .prop_map(|(range, kinds, container, words, process, lineage, severity, limit)| Ask {
            range,
            kinds,
            container,
            words,
            process,
            lineage,
            severity,
            limit,
        })
}

impl Ask {
    fn range_ns(&self) -> (i64, i64) {
        let at = |n: u8| START_NS + i64::from(n) * SECOND_NS * 4;
        if self.range == (0, 255) { (i64::MIN, i64::MAX) } else { (at(self.range.0), at(self.range.1)) }
    }

    fn search(&self) -> Search {
        let process = self.process.filter(|_| !self.lineage);
        Search {
            range_ns: self.range_ns(),
            kinds: self.kinds.iter().map(|k| EventKind::ALL[*k]).collect(),
            container: self.container.map(str::to_owned),
            text: self.words.iter().map(|w| (*w).to_owned()).collect(),
            process: process.map(Self::key),
            min_severity: self.severity.map(|s| [Severity::Info, Severity::Warning, Severity::Critical][s]),
            before: None,
            limit: self.limit,
        }
    }

    fn key((pid, extra): (u32, u64)) -> ProcessKey {
        ProcessKey { pid, start_ns: u64::from(pid) * 1000 + extra }
    }

    /// The same question, asked of one event in the plainest way.
    fn matches(&self, event: &Event) -> bool {
        let search = self.search();
        let (from, to) = search.range_ns;
        let text = event_words(event);
        let severity = match &event.fact {
            Fact::Finding(f) => Some(f.severity),
            _ => None,
        };
        event.time_ns >= from
            && event.time_ns <= to
            && (search.kinds.is_empty() || search.kinds.contains(&event.fact.kind()))
            && search.container.is_none_or(|wanted| {
                event.container.as_ref().is_some_and(|c| c.name == wanted || c.id.starts_with(&wanted))
            })
            && search.text.iter().all(|w| text.contains(&w.to_lowercase()))
            && search.process.is_none_or(|key| event.process.as_ref().map(|p| p.key) == Some(key))
            && search.min_severity.is_none_or(|min| severity >= Some(min))
    }
}

fn event_words(event: &Event) -> String {
    let mut words = vec![event.host.name.clone(), event.fact.kind().to_string()];
    if let Some(p) = &event.process {
        words.extend([p.name.clone(), p.executable.clone(), p.command_line()]);
    }
    if let Some(c) = &event.container {
        words.extend([c.name.clone(), c.id.clone(), c.image.clone()]);
    }
    let sockets = match &event.fact {
        Fact::Connection(s) | Fact::StreamRedirect { target: StreamTarget::Socket(s), .. } => vec![s.clone()],
        Fact::Exec { streams, .. } => streams
            .iter()
            .filter_map(|s| if let StreamTarget::Socket(s) = s { Some(s.clone()) } else { None })
            .collect(),
        Fact::Finding(f) => {
            words.extend([f.title.clone(), f.description.clone(), f.rule.clone()]);
            words.extend(f.ancestry.iter().chain(&f.evidence).cloned());
            words.extend(f.labels.iter().map(|(_, v)| v.to_owned()));
            vec![]
        }
        Fact::Loss { place, .. } => {
            words.push(place.clone());
            vec![]
        }
        _ => vec![],
    };
    for s in sockets {
        let ip =
            |ip: IpAddr, port| if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        words.extend([ip(s.local, s.local_port), ip(s.peer, s.peer_port)]);
    }
    words.join("\n").to_lowercase()
}

/// Asks page by page until the end.
fn all_pages(db: &EventDb, mut search: Search) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let found = db.search(&search).unwrap();
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
        assert!(found.events.len() <= search.limit);
        events.extend(found.events);
        match found.next {
            Some(next) => {
                assert!(search.before.is_none_or(|b| next < b), "the cursor must move");
                search.before = Some(next);
            }
            None => return events,
        }
    }
}

fn everything(db: &EventDb) -> Vec<Event> {
    let mut events = all_pages(db, Search { limit: 13, ..Search::default() });
    events.reverse();
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Whatever is appended, sealed and reopened, searches answer as a plain list would.
    #[test]
    fn answers_like_a_list(script in steps(30), asks in prop::collection::vec(ask(), 6), seed: u64, rows_max in prop_oneof![Just(1_u64 << 40), 1_u64..40]) {
        let fs = SimFs::new(seed);
        let clock = ManualClock::at(START_NS);
        let mut random = Random::new(seed);
        let mut model: Vec<Event> = Vec::new();
        let mut db = open_sim(&fs, &clock).unwrap().0;
        for step in script {
            match step {
                Step::Append(count) => {
                    let late = random.below(3) as i64;
                    let mut events: Vec<_> =
                        (0..count).map(|_| event(&mut random, clock.unix_ns() - late * SECOND_NS)).collect();
                    db.append(&mut events).unwrap();
                    model.extend(events);
                }
                Step::Maintain => db.maintain(),
                Step::Seal => db.seal_now().unwrap(),
                Step::Wait(seconds) => clock.advance(Duration::from_secs(seconds)),
                Step::Reopen => {
                    drop(db);
                    let (opened, recovery) = open_sim(&fs, &clock).unwrap();
                    prop_assert_eq!(&recovery.damage, &Vec::<String>::new());
                    db = opened;
                }
            }
            prop_assert_eq!(db.stats().failure, None);
        }
        prop_assert!(model.is_sorted_by(|a, b| a.id < b.id));
        prop_assert_eq!(&everything(&db), &model);
        db.config.search_rows_max = rows_max;
        for ask in asks {
            let expected: Vec<_> = model.iter().rev().filter(|e| ask.matches(e)).cloned().collect();
            let search = ask.search();
            for e in &model {
                prop_assert_eq!(search.matches(e), ask.matches(e));
            }
            prop_assert_eq!(all_pages(&db, search), expected);
            if let Some(key) = ask.process.map(Ask::key) {
                let found = db.process_events(key, (i64::MIN, i64::MAX), 1000).unwrap();
                let related = |e: &&Event| {
                    e.process.as_ref().is_some_and(|p| p.key == key || p.ancestors.iter().any(|a| a.key == key))
                        || matches!(e.fact, Fact::Fork { child } if child == key)
                };
                let expected: Vec<_> = model.iter().rev().filter(related).cloned().collect();
                if !found.truncated {
                    prop_assert_eq!(found.events, expected);
                }
            }
        }
        for e in model.iter().step_by(7) {
            let found = db.get(e.id).unwrap();
            prop_assert_eq!(found.as_ref(), Some(e));
            prop_assert_eq!(db.get(e.id + (1 << 40)).unwrap(), None);
        }
    }

}

proptest! {
    // Each case runs its script once for every operation in it.
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// The process is killed, or the power fails, at every operation on the disk.
    #[test]
    fn no_crash_loses_or_repeats_events(script in steps(10), seed: u64, power: bool) {
        let run = |fs: &SimFs| {
            let clock = ManualClock::at(START_NS);
            let mut random = Random::new(seed);
            let mut acknowledged: Vec<Event> = Vec::new();
            let mut attempted = 0;
            let Ok((mut db, _)) = open_sim(fs, &clock) else { return (acknowledged, 0, attempted) };
            let mut synced = 0;
            for step in &script {
                match step {
                    Step::Append(count) => {
                        let mut events: Vec<_> =
                            (0..*count).map(|_| event(&mut random, clock.unix_ns())).collect();
                        attempted = events.len();
                        if db.append(&mut events).is_ok() {
                            acknowledged.extend(events);
                            attempted = 0;
                        }
                    }
                    Step::Maintain => db.maintain(),
                    Step::Seal => {
                        let count = acknowledged.len();
                        if db.seal_now().is_ok() {
                            synced = count;
                        }
                    }
                    Step::Wait(seconds) => clock.advance(Duration::from_secs(*seconds)),
                    Step::Reopen => {
                        drop(db);
                        match open_sim(fs, &clock) {
                            Ok((opened, _)) => db = opened,
                            Err(_) => return (acknowledged, synced, attempted),
                        }
                    }
                }
                if fs.crashed() {
                    break;
                }
            }
            std::mem::forget(db);
            (acknowledged, synced, attempted)
        };
        let whole = SimFs::new(seed);
        run(&whole);
        for crash in 1..=whole.operations() {
            let fs = SimFs::new(seed);
            fs.crash_at(crash);
            let (acknowledged, synced, attempted) = run(&fs);
            if power { fs.power_loss() } else { fs.restart() }
            let clock = ManualClock::at(START_NS);
            let (db, recovery) = open_sim(&fs, &clock).unwrap();
            let found = everything(&db);
            let ids: BTreeSet<_> = found.iter().map(|e| e.id).collect();
            prop_assert_eq!(ids.len(), found.len(), "an event came twice");
            let certain = if power { synced } else { acknowledged.len() };
            prop_assert!(found.len() >= certain, "lost {} of {certain} at {crash}", certain - found.len());
            prop_assert_eq!(&found[..certain], &acknowledged[..certain]);
            prop_assert!(found.len() <= acknowledged.len() + attempted);
            if !power {
                prop_assert_eq!(&recovery.damage, &Vec::<String>::new());
            }
            let mut new = [event(&mut Random::new(1), START_NS)];
            db.append(&mut new).unwrap();
            let given = acknowledged.last().map_or(0, |e| e.id);
            prop_assert!(new[0].id > given || (power && synced == 0), "{} after {given}", new[0].id);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_full_disk_loses_nothing_acknowledged(script in steps(20), seed: u64, room in 0_u64..60_000) {
        let fs = SimFs::new(seed);
        let clock = ManualClock::at(START_NS);
        let db = open_sim(&fs, &clock).unwrap().0;
        fs.set_capacity(Some(room));
        let mut model = Vec::new();
        for step in script {
            match step {
                Step::Append(count) => {
                    let mut events: Vec<_> =
                        (0..count).map(|i| event(&mut Random::new(seed ^ i as u64), clock.unix_ns())).collect();
                    match db.append(&mut events) {
                        Ok(()) => model.extend(events),
                        Err(error) => {
                            prop_assert!(error.is_retry());
                            prop_assert!(events.iter().all(|e| e.id == 0));
                        }
                    }
                }
                Step::Seal => drop(db.seal_now()),
                _ => {
                    clock.advance(Duration::from_secs(61));
                    db.maintain();
                }
            }
        }
        prop_assert_eq!(&everything(&db), &model);
        fs.set_capacity(None);
        db.seal_now().unwrap();
        db.maintain();
        prop_assert_eq!(db.stats().failure, None);
        drop(db);
        prop_assert_eq!(everything(&open_sim(&fs, &clock).unwrap().0), model);
    }

    /// Any flipped bit of a segment costs at most what it is in, is named, and never panics.
    #[test]
    fn a_flipped_bit_is_found(at: prop::sample::Index, bit in 0_u8..8) {
        let fs = SimFs::new(1);
        let clock = ManualClock::at(START_NS);
        let (db, model) = filled(&fs, &clock, 40);
        db.seal_now().unwrap();
        let path = segment_file(&fs);
        let length = fs.read(&path).unwrap().len();
        fs.flip_bit(&path, at.index(length), bit).unwrap();
        let check = |db: &EventDb, mut named: bool| {
            for search in [
                Search { limit: 1000, ..Search::default() },
                Search { limit: 1000, text: vec!["bash".into()], kinds: vec![EventKind::Exec], ..Search::default() },
                Search { limit: 1000, container: Some("web-1".into()), ..Search::default() },
                Search { limit: 1000, process: Some(Ask::key((1, 0))), ..Search::default() },
            ] {
                let found = db.search(&search).unwrap();
                let expected: Vec<_> = model.iter().rev().filter(|e| search.matches(e)).collect();
                let mut rest = expected.iter();
                for e in &found.events {
                    assert!(rest.any(|x| *x == e), "an event that was not written");
                }
                named |= !found.damaged.is_empty();
                assert!(found.events.len() == expected.len() || named);
            }
        };
        check(&db, false);
        drop(db);
        let (db, recovery) = open_sim(&fs, &clock).unwrap();
        check(&db, !recovery.damage.is_empty());
    }
}

/// A sealed segment is synced before the log lets go of its events.
#[test]
fn sealed_events_survive_a_loss_of_power() {
    for seed in 0..8 {
        let fs = SimFs::new(seed);
        let clock = ManualClock::at(START_NS);
        let (db, model) = filled(&fs, &clock, 20);
        db.seal_now().unwrap();
        std::mem::forget(db);
        fs.power_loss();
        let (db, recovery) = open_sim(&fs, &clock).unwrap();
        assert_eq!((recovery.segments, recovery.events), (1, 0));
        assert_eq!(everything(&db), model);
    }
}

fn filled(fs: &SimFs, clock: &ManualClock, count: usize) -> (EventDb, Vec<Event>) {
    let db = open_sim(fs, clock).unwrap().0;
    let mut random = Random::new(9);
    let mut events: Vec<_> = (0..count).map(|_| event(&mut random, clock.unix_ns())).collect();
    db.append(&mut events).unwrap();
    (db, events)
}

#[test]
fn the_last_page_says_that_it_is() {
    let fs = SimFs::new(1);
    let (db, _) = filled(&fs, &ManualClock::at(START_NS), 10);
    for sealed in [false, true] {
        for (limit, more) in [(9, true), (10, false), (11, false)] {
            let found = db.search(&Search { limit, ..Search::default() }).unwrap();
            assert_eq!(found.next.is_some(), more, "{limit} of 10, sealed: {sealed}");
        }
        db.seal_now().unwrap();
    }
}

fn segment_file(fs: &dyn Fs) -> PathBuf {
    let files = fs.list(Path::new("/events/segments")).unwrap();
    files.into_iter().find(|p| p.extension().is_some_and(|e| e == "parquet")).unwrap()
}

#[test]
fn a_damaged_footer_is_set_aside_and_named() {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_NS);
    let (db, _) = filled(&fs, &clock, 40);
    db.seal_now().unwrap();
    drop(db);
    let path = segment_file(&fs);
    fs.flip_bit(&path, fs.read(&path).unwrap().len() - 20, 0).unwrap();
    let (db, recovery) = open_sim(&fs, &clock).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(recovery.damage[0].contains(name) && recovery.damage[0].contains("kept as"), "{recovery:?}");
    assert!(everything(&db).is_empty());
    let mut new = [event(&mut Random::new(1), START_NS)];
    db.append(&mut new).unwrap();
    assert!(new[0].id > 40, "the log remembers which ids were given");
}

fn open_real(folder: &Path, clock: &ManualClock) -> (EventDb, Recovery) {
    let config = config(folder, CataloguePlace::File);
    EventDb::open(config, Arc::new(RealFs), Arc::new(clock.clone())).unwrap()
}

/// The catalogue is gone, garbage, or older than the segments; a segment is gone.
#[test]
fn the_catalogue_follows_the_segments() {
    let clock = ManualClock::at(START_NS);
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let mut random = Random::new(2);
    let mut model = Vec::new();
    let mut add = |db: &EventDb| {
        let mut events: Vec<_> = (0..30).map(|_| event(&mut random, clock.unix_ns())).collect();
        db.append(&mut events).unwrap();
        model.extend(events);
        db.seal_now().unwrap();
        model.clone()
    };
    let (db, _) = open_real(folder, &clock);
    add(&db);
    drop(db);
    let catalogue = folder.join("catalogue.redb");
    std::fs::copy(&catalogue, folder.join("old")).unwrap();
    let (db, recovery) = open_real(folder, &clock);
    assert_eq!((recovery.segments, recovery.adopted, recovery.damage.len()), (1, 0, 0));
    let model = add(&db);
    drop(db);

    std::fs::copy(folder.join("old"), &catalogue).unwrap();
    let (db, recovery) = open_real(folder, &clock);
    assert_eq!((recovery.segments, recovery.adopted, recovery.damage.len()), (2, 1, 0));
    assert_eq!(everything(&db), model);
    drop(db);

    std::fs::write(&catalogue, b"garbage".repeat(1000)).unwrap();
    let (db, recovery) = open_real(folder, &clock);
    assert_eq!((recovery.segments, recovery.adopted, recovery.damage.len()), (2, 2, 1));
    assert!(recovery.damage[0].contains("catalogue.redb.damaged"), "{recovery:?}");
    assert_eq!(everything(&db), model);
    drop(db);

    std::fs::remove_file(&catalogue).unwrap();
    let (db, recovery) = open_real(folder, &clock);
    assert_eq!((recovery.adopted, recovery.damage.len()), (2, 0));
    assert_eq!(everything(&db), model);
    drop(db);

    let first = RealFs.list(&folder.join("segments")).unwrap().remove(0);
    std::fs::remove_file(&first).unwrap();
    let (db, recovery) = open_real(folder, &clock);
    assert!(recovery.damage[0].contains("is missing"), "{recovery:?}");
    assert_eq!(everything(&db), model[30..]);
    drop(db);
    let (_, recovery) = open_real(folder, &clock);
    assert_eq!(recovery.damage, Vec::<String>::new(), "reported once");
}

#[test]
fn retention_removes_old_segments_and_the_oldest_when_there_are_too_many_bytes() {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_NS);
    let (mut db, _) = filled(&fs, &clock, 30);
    db.seal_now().unwrap();
    clock.advance(Duration::from_secs(3000));
    let mut second = [event(&mut Random::new(3), clock.unix_ns())];
    db.append(&mut second).unwrap();
    db.seal_now().unwrap();
    clock.advance(Duration::from_secs(1000));
    db.maintain();
    assert_eq!(everything(&db), second);
    assert_eq!(db.stats().segments, 1);
    db.config.bytes_max = 1;
    db.maintain();
    assert!(everything(&db).is_empty());
    assert_eq!(db.stats().failure, None);
    drop(db);
    let (db, _) = open_sim(&fs, &clock).unwrap();
    let mut new = [event(&mut Random::new(3), clock.unix_ns())];
    db.append(&mut new).unwrap();
    assert!(new[0].id > second[0].id, "ids are not given again although no event is left");
}

#[test]
fn live_readers_get_events_in_order_and_slow_ones_learn_what_they_missed() {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_NS);
    let mut db = open_sim(&fs, &clock).unwrap().0;
    db.config.live_events_max = 5;
    let reader = db.subscribe();
    assert_eq!(reader.try_recv(), None);
    assert_eq!(reader.recv_timeout(Duration::ZERO), Received::Timeout);
    let mut events: Vec<_> = (0..8).map(|i| event(&mut Random::new(i), START_NS)).collect();
    db.append(&mut events).unwrap();
    assert_eq!((reader.take_missed(), reader.take_missed()), (3, 0));
    let got: Vec<_> = std::iter::from_fn(|| reader.try_recv()).map(|e| (*e).clone()).collect();
    assert_eq!(got, events[3..]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.recv_timeout(Duration::from_secs(60)));
        db.append(&mut events[..1]).unwrap();
        assert!(matches!(waiting.join().unwrap(), Received::Event(e) if *e == events[0]));
    });
    assert_eq!(db.stats().subscribers, 1);
    drop(db);
    assert_eq!(reader.recv_timeout(Duration::from_secs(60)), Received::Closed);
}

#[test]
fn limits_are_kept() {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_NS);
    let db = open_sim(&fs, &clock).unwrap().0;
    let mut huge = [event(&mut Random::new(1), START_NS), event(&mut Random::new(2), START_NS)];
    huge[1].fact = Fact::Loss { place: "x".repeat(2 << 20), count: 1 };
    let error = db.append(&mut huge).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_retry());
    assert!(everything(&db).is_empty());
    db.append(&mut []).unwrap();
    for step in 0.. {
        let mut one = [event(&mut Random::new(step), START_NS)];
        if let Err(error) = db.append(&mut one) {
            assert!(matches!(error, Error::Behind { events: 80, .. }) && error.is_retry());
            break;
        }
    }
    db.maintain();
    db.append(&mut huge[..1]).unwrap();
    for (change, word) in [
        (Config { seal_events: 0, ..Config::new("/x") }, "seal_events"),
        (Config { seal_events: 1 << 20, ..Config::new("/x") }, "seal_events"),
        (Config { event_bytes_max: 9 << 20, ..Config::new("/x") }, "event_bytes_max"),
    ] {
        let error = EventDb::open(change, Arc::new(fs.clone()), Arc::new(clock.clone())).err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn metrics_are_told_once_each() {
    struct Names(Vec<String>);
    impl MetricVisitor for Names {
        fn value(&mut self, family: &vedette_model::telemetry::Family, _: &[(&str, &str)], _: f64) {
            self.0.push(family.name.to_owned());
        }
    }
    let db = open_sim(&SimFs::new(1), &ManualClock::at(START_NS)).unwrap().0;
    let mut names = Names(Vec::new());
    db.visit(&mut names);
    assert_eq!(names.0.iter().collect::<BTreeSet<_>>().len(), names.0.len());
    assert!(names.0.iter().all(|n| n.starts_with("vedette_eventdb_")));
}

proptest! {
    #[test]
    fn the_codec_gives_back_what_it_took(seed: u64, count in 0_usize..20) {
        let mut random = Random::new(seed);
        let mut events: Vec<_> = (0..count).map(|_| { let t = random.next_u64().cast_signed(); event(&mut random, t) }).collect();
        events.iter_mut().for_each(|e| e.id = random.next_u64());
        let mut bytes = Vec::new();
        codec::Encoder::default().encode(&events, &mut bytes);
        let mut found = Vec::new();
        codec::Decoder::default().decode(&bytes, |e| found.push(e)).unwrap();
        prop_assert_eq!(found, events);
    }

    /// Damaged bytes give an error or other events, and never a panic or a great allocation.
    #[test]
    fn the_codec_survives_damage(seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut: prop::sample::Index, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut random = Random::new(seed);
        let events: Vec<_> = (0..5).map(|_| event(&mut random, 1)).collect();
        let mut bytes = Vec::new();
        codec::Encoder::default().encode(&events, &mut bytes);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = codec::Decoder::default().decode(&bytes, drop);
        bytes.truncate(cut.index(bytes.len()));
        let _ = codec::Decoder::default().decode_one(&bytes);
        let _ = codec::Decoder::default().decode(&noise, drop);
    }
}

/// A batch as version 1 wrote it: one host, one container, no process, one event that the container started.
#[test]
fn batches_of_version_1_are_read() {
    let mut bytes = vec![1, 1];
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    };
    ["node", "m", "b"].iter().for_each(|t| text(&mut bytes, t));
    bytes.push(1);
    ["c1", "web", "nginx", "web-0", "shop", "/c1", "containerd"].iter().for_each(|t| text(&mut bytes, t));
    // No processes; one event: id 5, time 7, host 0, container 0, no process, start.
    bytes.extend([0, 1, 5, 14, 0, 1, 0, 7]);
    let mut found = Vec::new();
    codec::Decoder::default().decode(&bytes, |e| found.push(e)).unwrap();
    let [event] = &found[..] else { panic!("{found:?}") };
    assert_eq!((event.id, event.time_ns, &event.fact), (5, 7, &Fact::ContainerStart));
    let container = event.container.as_deref().unwrap();
    assert_eq!((&*container.pod, &*container.runtime, &*container.pod_uid), ("web-0", "containerd", ""));
    assert_eq!(container.workload, Workload::default());
    bytes[0] = 3;
    assert!(codec::Decoder::default().decode(&bytes, drop).is_err(), "a version to come is not guessed at");
}
