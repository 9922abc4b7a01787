mod churn;
mod groups;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use vedette_sys::ManualClock;

use super::*;
use crate::runtime::{RuntimeContainer, RuntimeUpdate};

const ID: &str = "00000000000000000000000000000000000000000000000000000000000abc01";
const ID2: &str = "00000000000000000000000000000000000000000000000000000000000abc02";

/// A machine made of files, and a reader without a thread.
struct Machine {
    root: tempfile::TempDir,
    clock: ManualClock,
    reader: ContainerReader,
    tree: Tree,
    labels: BTreeMap<u32, String>,
    changes: Vec<String>,
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn container_files(root: &Path, version: &str, cgroup: &str) {
    let file = |folder: &str, name: &str, text: &str| {
        write(root.join("cgroup").join(folder).join(cgroup).join(name), text);
    };
    let unified = if version == "hybrid" { "unified" } else { "" };
    if version != "v1" {
        write(root.join("cgroup").join(unified).join("cgroup.controllers"), "");
        file(
            unified,
            "cpu.stat",
            "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 4\nnr_throttled 2\nthrottled_usec 250000\n",
        );
        file(unified, "cpu.pressure", "some avg10=0 total=3000000\nfull avg10=0 total=1000000\n");
        file(unified, "cgroup.procs", "42\n43\n");
    }
    if version == "v2" {
        file("", "memory.current", "1000\n");
        file(
            "",
            "memory.stat",
            "anon 300\nfile 600\nkernel 50\ninactive_file 400\nactive_file 200\npgfault 7\n",
        );
        file("", "memory.events", "low 0\nhigh 1\nmax 2\noom 0\noom_kill 0\n");
        file("", "memory.max", "max\n");
        file("", "cpu.max", "20000 100000\n");
        file("", "cpu.weight", "100\n");
        file("", "pids.current", "5\n");
        file("", "io.stat", "999:7 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n");
    } else {
        file("cpuacct", "cpuacct.usage", "1500000000\n");
        file("cpuacct", "cpuacct.stat", "user 100\nsystem 50\n");
        file("cpuacct", "cgroup.procs", "42\n43\n");
        file("cpu", "cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 250000000\n");
        file("cpu", "cpu.cfs_quota_us", "20000\n");
        file("cpu", "cpu.cfs_period_us", "100000\n");
        file("cpu", "cpu.shares", "2597\n");
        file("memory", "cgroup.procs", "42\n43\n");
        file("memory", "memory.usage_in_bytes", "1000\n");
        file(
            "memory",
            "memory.stat",
            "pgfault 6\nhierarchical_memory_limit 9\ntotal_rss 300\ntotal_cache 600\ntotal_inactive_file 400\ntotal_active_file 200\ntotal_pgfault 7\n",
        );
        file("memory", "memory.failcnt", "2\n");
        file("memory", "memory.kmem.usage_in_bytes", "50\n");
        file("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        file("memory", "memory.limit_in_bytes", "9223372036854771712\n");
        file("pids", "pids.current", "5\n");
        file(
            "blkio",
            "blkio.throttle.io_service_bytes_recursive",
            "999:7 Read 4096\n999:7 Write 8192\n999:7 Total 12288\nTotal 12288\n",
        );
        file("blkio", "blkio.throttle.io_serviced_recursive", "999:7 Read 1\n999:7 Write 2\n");
    }
}

fn process(root: &Path, pid: u32, namespace: &str) {
    let folder = root.join("proc").join(pid.to_string());
    write(folder.join("stat"), &format!("{pid} (sh) S {} 1000 0\n", ["0"; 18].join(" ")));
    write(
        folder.join("net/dev"),
        "h\n lo: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
    );
    let namespaces = root.join("namespaces").join(namespace);
    if !namespaces.exists() {
        write(namespaces.clone(), "");
    }
    std::fs::create_dir_all(folder.join("ns")).unwrap();
    // What the kernel shows as links into one namespace have one inode; so have hard links.
    let _ = std::fs::hard_link(&namespaces, folder.join("ns/net"));
}

impl Machine {
    fn new(version: &str, cgroups: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        write(root.path().join("proc/stat"), "btime 1000\n");
        process(root.path(), 1, "machine");
        process(root.path(), 42, "pod");
        process(root.path(), 43, "pod");
        if version == "v2" {
            write(root.path().join("cgroup/cgroup.controllers"), "");
        } else {
            std::fs::create_dir_all(root.path().join("cgroup/memory")).unwrap();
        }
        for cgroup in cgroups {
            container_files(root.path(), version, cgroup);
        }
        let config = Config {
            proc_root: root.path().join("proc"),
            cgroup_root: root.path().join("cgroup"),
            ..Config::default()
        };
        let clock = ManualClock::at(0);
        let (reader, tree) = ContainerReader::prepare(&config, Arc::new(clock.clone())).unwrap();
        Self { root, clock, reader, tree, labels: BTreeMap::new(), changes: Vec::new() }
    }

    /// One pass, a second after the last: samples by series; tells of changes are kept.
    fn pass(&mut self) -> BTreeMap<String, f64> {
        self.clock.advance(Duration::from_secs(1));
        let mut found = Vec::new();
        self.tree.reconcile(&mut found);
        self.reader.shared.registry.lock().tree_changes(found);
        let (mut samples, mut changes) = (Samples::default(), Vec::new());
        self.reader.collect(self.clock.unix_ms(), &mut samples, &mut changes);
        for definition in &samples.defined {
            let text = definition.labels.to_string();
            assert!(
                !self.labels.values().any(|l| *l == text) || !samples.retired.is_empty(),
                "{text} defined twice"
            );
            assert_eq!(self.labels.insert(definition.series, text), None);
        }
        let mut out = BTreeMap::new();
        assert!(samples.rows.iter().all(|row| row.time_ms == self.clock.unix_ms()));
        let rows = samples.rows.iter().flat_map(|row| row.series.iter().zip(&row.values));
        for (series, value) in rows {
            assert!(!samples.retired.contains(series), "a retired series has no sample");
            assert_eq!(out.insert(self.labels[series].clone(), *value), None);
        }
        for retired in &samples.retired {
            let label = self.labels.remove(retired).expect("was defined");
            assert!(!out.contains_key(&label), "{label} ends and goes on at one time");
        }
        self.changes.extend(changes.iter().map(|change| match change {
            ContainerChange::Started(c) => format!("started {}", c.name),
            ContainerChange::Stopped(c) => format!("stopped {}", c.name),
            ContainerChange::OomKill { container, count } => format!("oom {} {count}", container.name),
        }));
        out
    }

    /// Passes until waiting for a runtime that does not come is over: the last samples of all series.
    fn settle(&mut self) -> BTreeMap<String, f64> {
        let mut last = BTreeMap::new();
        (0..4).for_each(|_| last.extend(self.pass()));
        last
    }

    fn tell(&self, containers: Vec<RuntimeContainer>) {
        let update = RuntimeUpdate { containers, namespaces: Vec::new() };
        self.reader.shared.registry.lock().runtime_update("/s".into(), update);
    }

    fn end(&self, cgroup: &str) {
        for entry in std::fs::read_dir(self.root.path().join("cgroup")).unwrap() {
            let _ = std::fs::remove_dir_all(entry.unwrap().path().join(cgroup));
        }
        let _ = std::fs::remove_dir_all(self.root.path().join("cgroup").join(cgroup));
    }
}

fn pod(id: &str, container: &str, sandbox: bool) -> RuntimeContainer {
    RuntimeContainer {
        runtime: "containerd".into(),
        id: id.into(),
        image: "bb".into(),
        pod: "web-0".into(),
        namespace: "prod".into(),
        pod_container: container.into(),
        sandbox,
        attempt: (!sandbox).then_some(2),
        ..RuntimeContainer::default()
    }
}

/// The value of the only series of that name, with those words in its labels.
fn value(samples: &BTreeMap<String, f64>, name: &str, words: &[&str]) -> Option<f64> {
    let found: Vec<f64> = samples
        .iter()
        // The machine's own row has the names of the containers' rows.
        .filter(|(s, _)| !s.contains(r#"id="/","#) && !s.contains(r#"id="/"}"#))
        .filter(|(s, _)| {
            s.strip_prefix(name).is_some_and(|r| r.starts_with('{')) && words.iter().all(|w| s.contains(w))
        })
        .map(|(_, v)| *v)
        .collect();
    assert!(found.len() < 2, "{name} {words:?}: {found:?}");
    found.first().copied()
}

#[test]
fn all_versions_of_cgroups_give_the_same_facts() {
    for version in ["v1", "v2", "hybrid"] {
        let mut machine = Machine::new(version, &[ID]);
        let samples = machine.settle();
        let get = |name: &str| value(&samples, name, &[]);
        for (name, expected) in [
            ("container_cpu_usage_seconds_total", 1.5),
            ("container_cpu_user_seconds_total", 1.0),
            ("container_cpu_system_seconds_total", 0.5),
            ("container_cpu_cfs_throttled_seconds_total", 0.25),
            ("container_cpu_cfs_periods_total", 4.0),
            ("container_memory_usage_bytes", 1000.0),
            ("container_memory_working_set_bytes", 600.0),
            ("container_memory_rss", 300.0),
            ("container_memory_cache", 600.0),
            ("container_memory_kernel_usage", 50.0),
            ("container_memory_failcnt", 2.0),
            ("container_spec_memory_limit_bytes", 0.0),
            ("container_spec_cpu_quota", 20_000.0),
            ("container_spec_cpu_period", 100_000.0),
            ("container_spec_cpu_shares", 2597.0),
            ("container_threads", 5.0),
            ("container_processes", 2.0),
            ("container_oom_events_total", 0.0),
            ("container_start_time_seconds", 1010.0),
            ("container_fs_writes_bytes_total", 8192.0),
            ("container_fs_reads_total", 1.0),
            ("container_network_transmit_bytes_total", 9.0),
            ("container_info", 1.0),
        ] {
            assert_eq!(get(name), Some(expected), "{version} {name}");
        }
        let stalled = get("container_pressure_cpu_stalled_seconds_total");
        assert_eq!(stalled, (version != "v1").then_some(1.0), "{version}");
        assert_eq!(machine.changes, [format!("started {ID}")], "{version}");
    }
}

#[test]
fn a_runtime_gives_the_names_and_the_pod_network_is_told_once() {
    let mut machine = Machine::new("v2", &[ID, ID2]);
    machine.tell(vec![pod(ID, "app", false), pod(ID2, "POD", true)]);
    let samples = machine.pass();
    machine.changes.sort();
    assert_eq!(
        machine.changes,
        ["started POD", "started app"],
        "in the first pass, as nothing was waited for"
    );
    let six = [
        "container=\"app\"",
        "image=\"bb\"",
        "namespace=\"prod\"",
        "pod=\"web-0\"",
        &format!("name=\"{ID}\""),
    ];
    assert_eq!(value(&samples, "container_cpu_usage_seconds_total", &six), Some(1.5));
    let network = "container_network_receive_bytes_total";
    assert_eq!(value(&samples, network, &["container=\"POD\"", "interface=\"eth0\""]), Some(1.0));
    assert_eq!(value(&samples, network, &["container=\"app\""]), None);
    assert_eq!(value(&samples, "container_restarts_total", &["container=\"app\""]), Some(2.0));
    assert_eq!(value(&samples, "kube_pod_container_status_restarts_total", &[]), Some(2.0));
    // The holder goes first: the other container takes over.
    machine.end(ID2);
    machine.pass();
    let samples = machine.pass();
    assert_eq!(value(&samples, network, &["container=\"app\""]), Some(1.0));
}

#[test]
fn the_machine_s_own_network_is_not_told_of_a_container() {
    let mut machine = Machine::new("v2", &[ID]);
    for pid in [42, 43] {
        std::fs::remove_file(machine.root.path().join(format!("proc/{pid}/ns/net"))).unwrap();
        process(machine.root.path(), pid, "machine");
    }
    let samples = machine.settle();
    let of_container = |k: &&String| k.starts_with("container_network") && k.contains(ID);
    assert_eq!(samples.keys().find(of_container), None);
    let own =
        samples.keys().find(|k| k.starts_with("container_network_receive_bytes") && k.contains("id=\"/\""));
    assert!(own.is_some(), "the machine's own row tells of it");
}

#[test]
fn an_oom_kill_stays_visible_after_the_end_and_counts_on_after_a_restart() {
    let mut machine = Machine::new("v2", &[ID]);
    machine.settle();
    let oom = "container_oom_events_total";
    let folder = machine.root.path().join("cgroup").join(ID);
    write(folder.join("memory.events"), "oom_kill 2\n");
    // Also to be killed takes time.
    write(folder.join("cpu.stat"), "usage_usec 1500001\n");
    assert_eq!(value(&machine.pass(), oom, &[]), Some(2.0));
    // The last is told by the kernel just before the container goes.
    machine.reader.shared.ooms.lock().by_cgroup.insert(format!("/{ID}"), 3);
    machine.end(ID);
    let samples = machine.pass();
    assert_eq!(value(&samples, oom, &[]), Some(3.0));
    assert_eq!(value(&samples, "container_cpu_usage_seconds_total", &[]), None);
    // A runtime may tell the same kills later.
    machine.reader.shared.ooms.lock().by_container.insert(ID.into(), 3);
    assert_eq!(value(&machine.pass(), oom, &[]), Some(3.0));
    assert_eq!(
        machine.changes,
        [format!("started {ID}"), format!("oom {ID} 2"), format!("stopped {ID}"), format!("oom {ID} 1")]
    );
    // Another life under the same name.
    container_files(machine.root.path(), "v2", ID);
    let samples = machine.settle();
    assert_eq!(value(&samples, oom, &[]), Some(3.0));
    assert_eq!(value(&samples, "container_restarts_total", &[]), Some(1.0));
    machine.end(ID);
    machine.pass();
    machine.clock.advance(Duration::from_secs(299));
    assert_eq!(value(&machine.pass(), oom, &[]), None, "five minutes are over");
}

#[test]
fn kills_from_before_the_reader_are_no_news_and_later_ones_are_an_increase() {
    let mut machine = Machine::new("v2", &[ID]);
    let events = |m: &Machine, id: &str| {
        write(m.root.path().join("cgroup").join(id).join("memory.events"), "oom_kill 5\n");
    };
    events(&machine, ID);
    let samples = machine.settle();
    assert_eq!(value(&samples, "container_oom_events_total", &[]), Some(5.0));
    assert_eq!(machine.changes, [format!("started {ID}")]);
    container_files(machine.root.path(), "v2", ID2);
    events(&machine, ID2);
    let values: Vec<_> =
        (0..6).map(|_| value(&machine.pass(), "container_oom_events_total", &[ID2])).collect();
    let told: Vec<f64> = values.into_iter().flatten().collect();
    assert_eq!(told[..2], [0.0, 5.0], "it begins at zero");
    assert_eq!(machine.changes[1..], [format!("started {ID2}"), format!("oom {ID2} 5")]);
}

#[test]
fn a_short_life_is_told_from_its_start_to_its_end() {
    let mut machine = Machine::new("v2", &[]);
    machine.settle();
    let change = |c| {
        machine.reader.shared.registry.lock().tree_changes(vec![c]);
    };
    change(tree::TreeChange::Added { path: format!("/{ID}"), id: 7 });
    change(tree::TreeChange::Removed { path: format!("/{ID}") });
    machine.pass();
    assert_eq!(machine.changes, [format!("started {ID}"), format!("stopped {ID}")]);
}

#[test]
fn what_lived_between_two_passes_leaves_its_last_figures_and_ends_after_them() {
    for version in ["v1", "v2", "hybrid"] {
        let mut machine = Machine::new(version, &[]);
        machine.settle();
        let change = |machine: &Machine, c| {
            machine.reader.shared.registry.lock().tree_changes(vec![c]);
        };
        container_files(machine.root.path(), version, ID);
        change(&machine, tree::TreeChange::Added { path: format!("/{ID}"), id: 7 });
        // Its last process has ended; what stands in its files then is taken.
        let unified = if version == "hybrid" { "unified" } else { "" };
        if version == "v1" {
            write(machine.root.path().join(format!("cgroup/cpuacct/{ID}/cgroup.procs")), "");
        } else {
            write(machine.root.path().join(format!("cgroup/{unified}/{ID}/cgroup.events")), "populated 0\n");
        }
        let hierarchy = Hierarchy::detect(&machine.root.path().join("cgroup"));
        let last = LastFigures::read(&hierarchy, &format!("/{ID}"), &mut Buffer::new()).unwrap();
        machine.reader.shared.last.lock().insert(format!("/{ID}"), (last, 0));
        machine.end(ID);
        change(&machine, tree::TreeChange::Removed { path: format!("/{ID}") });
        let samples = machine.pass();
        assert_eq!(value(&samples, "container_cpu_usage_seconds_total", &[]), Some(1.5), "{version}");
        assert_eq!(value(&samples, "container_cpu_user_seconds_total", &[]), Some(1.0), "{version}");
        assert_eq!(value(&samples, "container_info", &[ID]), Some(1.0), "{version}");
        let samples = machine.pass();
        assert_eq!(value(&samples, "container_cpu_usage_seconds_total", &[]), None, "{version}");
        assert_eq!(machine.changes, [format!("started {ID}"), format!("stopped {ID}")]);
        assert!(machine.reader.reader.live.is_empty() && machine.reader.shared.last.lock().is_empty());
    }
}

#[test]
fn the_last_figures_of_a_longer_life_are_told_too() {
    let mut machine = Machine::new("v2", &[ID]);
    machine.settle();
    let folder = machine.root.path().join("cgroup").join(ID);
    write(folder.join("cpu.stat"), "usage_usec 9000000\n");
    write(folder.join("cgroup.events"), "populated 0\n");
    let hierarchy = Hierarchy::detect(&machine.root.path().join("cgroup"));
    let last = LastFigures::read(&hierarchy, &format!("/{ID}"), &mut Buffer::new()).unwrap();
    machine.reader.shared.last.lock().insert(format!("/{ID}"), (last, 0));
    machine.end(ID);
    let samples = machine.pass();
    assert_eq!(value(&samples, "container_cpu_usage_seconds_total", &[]), Some(9.0));
    assert_eq!(value(&machine.pass(), "container_cpu_usage_seconds_total", &[]), None);
}

#[test]
fn five_hundred_lives_leave_neither_series_nor_files_behind() {
    let mut machine = Machine::new("v2", &[]);
    machine.settle();
    let root = machine.root.path().to_owned();
    let open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|l| std::fs::read_link(l.path()).is_ok_and(|p| p.starts_with(&root))).count()
    };
    let (files, series) = (open(), machine.labels.len());
    for round in 0..10 {
        let ids: Vec<String> = (0..50).map(|i| format!("{:064x}", round * 100 + i)).collect();
        ids.iter().for_each(|id| container_files(machine.root.path(), "v2", id));
        machine.settle();
        assert_eq!(machine.reader.reader.live.len(), 50);
        ids.iter().for_each(|id| machine.end(id));
        machine.pass();
        machine.pass();
    }
    machine.clock.advance(Duration::from_secs(1000));
    machine.pass();
    assert_eq!((machine.reader.reader.live.len(), machine.reader.reader.tombstones.len()), (0, 0));
    assert_eq!(machine.labels.len(), series, "{:?}", machine.labels);
    assert_eq!(open(), files);
}

#[test]
fn labels_and_variables_that_are_let_through_stand_on_the_info_alone() {
    let mut machine = Machine::new("v2", &[ID]);
    machine.reader.reader.config.container_environment = vec!["MODE".into()];
    write(machine.root.path().join("proc/42/environ"), "MODE=prod\0SECRET=x\0");
    let mut told = pod(ID, "app", false);
    told.labels = vec![("container_label_team".into(), "a".into())];
    told.pid = Some(42);
    machine.tell(vec![told]);
    let samples = machine.settle();
    let with = |text: &str| samples.keys().filter(|k| k.contains(text)).cloned().collect::<Vec<_>>();
    for text in ["container_label_team=\"a\"", "container_env_mode=\"prod\""] {
        let found = with(text);
        assert!(found.len() == 1 && found[0].starts_with("container_info{"), "{found:?}");
    }
    assert!(with("SECRET").is_empty() && with("secret").is_empty());
}

#[test]
fn slow_facts_come_in_turns_and_what_is_watched_by_the_second_in_every_pass() {
    for version in ["v1", "v2", "hybrid"] {
        let mut machine = Machine::new(version, &[ID, ID2]);
        machine.settle();
        let mut turns = BTreeMap::from([(ID, 0), (ID2, 0)]);
        for _ in 0..20 {
            let samples = machine.pass();
            for id in [ID, ID2] {
                for name in [
                    "container_cpu_usage_seconds_total",
                    "container_cpu_cfs_throttled_periods_total",
                    "container_memory_usage_bytes",
                    "container_memory_working_set_bytes",
                    "container_threads",
                    "container_oom_events_total",
                ] {
                    assert!(value(&samples, name, &[id]).is_some(), "{version} {name}");
                }
                let slow = [
                    "container_memory_rss",
                    "container_fs_writes_bytes_total",
                    "container_processes",
                    "container_memory_failcnt",
                    "container_spec_memory_limit_bytes",
                    "container_start_time_seconds",
                    "container_info",
                ];
                let given = slow.iter().filter(|n| value(&samples, n, &[id]).is_some()).count();
                assert!(given == 0 || given == slow.len(), "{version}: all in one turn, not {given}");
                *turns.get_mut(id).unwrap() += usize::from(given > 0);
            }
        }
        assert!(turns.values().all(|n| *n == 2), "{version}: twice in 20 s, not {turns:?}");
    }
}

/// Versions, and where their files of processor and memory are: the time used, the memory used, and what of that
/// nobody used lately.
const FILES: [(&str, &str, &str, &str, &str); 2] = [
    ("v2", "cgroup/ID/cpu.stat", "usage_usec ", "cgroup/ID/memory.current", "inactive_file"),
    (
        "v1",
        "cgroup/cpuacct/ID/cpuacct.usage",
        "",
        "cgroup/memory/ID/memory.usage_in_bytes",
        "total_inactive_file",
    ),
];

#[test]
fn memory_stat_is_read_again_when_usage_changes_and_at_the_turn() {
    for (version, cpu, cpu_begins, usage, key) in FILES {
        let mut machine = Machine::new(version, &[ID]);
        machine.settle();
        let place = |file: &str| machine.root.path().join(file.replace("ID", ID));
        let (cpu, usage) = (place(cpu), place(usage));
        let stat = usage.with_file_name("memory.stat");
        let mut used = 2_000_000;
        // It runs all the time.
        let mut working_set = || {
            used += 1;
            write(cpu.clone(), &format!("{cpu_begins}{used}\n"));
            let samples = machine.pass();
            value(&samples, "container_memory_working_set_bytes", &[]).unwrap()
        };
        write(stat.clone(), &format!("{key} 100\n"));
        assert_eq!(working_set(), 600.0, "{version}: as before, as usage is");
        write(usage, "1001\n");
        assert_eq!(working_set(), 901.0, "{version}");
        write(stat, &format!("{key} 200\n"));
        let at_turn: Vec<f64> = (0..10).map(|_| working_set()).collect();
        assert_eq!((at_turn[0], at_turn[9]), (901.0, 801.0), "{version}: {at_turn:?}");
    }
}

#[test]
fn what_others_do_to_a_container_that_does_not_run_is_told_when_it_runs_and_at_the_turn() {
    for (version, cpu, cpu_begins, usage, _) in FILES {
        let mut machine = Machine::new(version, &[ID]);
        let place = |file: &str| machine.root.path().join(file.replace("ID", ID));
        let (cpu, usage) = (place(cpu), place(usage));
        let told = |samples: &BTreeMap<String, f64>| {
            ["container_memory_usage_bytes", "container_threads", "container_oom_events_total"]
                .map(|name| value(samples, name, &[]).unwrap())
        };
        assert_eq!(told(&machine.settle()), [1000.0, 5.0, 0.0], "{version}");
        write(usage.clone(), "1001\n");
        let after: Vec<_> = (0..10).map(|_| told(&machine.pass())).collect();
        assert_eq!(after[0], [1000.0, 5.0, 0.0], "{version}");
        assert_eq!(after[9], [1001.0, 5.0, 0.0], "{version}");
        write(usage, "1002\n");
        write(cpu, &format!("{cpu_begins}3000000\n"));
        assert_eq!(told(&machine.pass()), [1002.0, 5.0, 0.0], "{version}");
    }
}

#[test]
fn the_row_of_every_pass_keeps_its_series_and_its_memory() {
    let mut machine = Machine::new("hybrid", &[ID, ID2]);
    machine.settle();
    let (mut samples, mut changes) = (Samples::default(), Vec::new());
    let mut layout = Vec::new();
    for pass in 1..=20 {
        let memory = samples.rows.first().map(|row| row.series.as_ptr());
        samples.rows.iter_mut().for_each(|row| row.series.clear());
        machine.reader.collect(10_000 + pass * 1000, &mut samples, &mut changes);
        let row = &samples.rows[0];
        assert_eq!(row.series.len(), row.values.len());
        assert!(memory.is_none_or(|m| m == row.series.as_ptr()), "the row is used again");
        if layout.is_empty() {
            layout.clone_from(&row.series);
        }
        assert_eq!(row.series, layout);
        assert!(samples.rows.len() <= 2);
    }
}
