//! Many containers that come and go, beside many that stay.

use super::*;

/// What is known of the series after a pass, without the checks that cost a square of them.
struct Light {
    machine: Machine,
    series: std::collections::HashMap<u32, String>,
    last: std::collections::HashMap<u32, f64>,
}

impl Light {
    fn pass(&mut self) {
        let machine = &mut self.machine;
        machine.clock.advance(Duration::from_secs(1));
        let mut found = Vec::new();
        machine.tree.reconcile(&mut found);
        machine.reader.shared.registry.lock().tree_changes(found);
        let (mut samples, mut changes) = (Samples::default(), Vec::new());
        machine.reader.collect(machine.clock.unix_ms(), &mut samples, &mut changes);
        for definition in samples.defined {
            assert_eq!(self.series.insert(definition.series, definition.labels.to_string()), None);
        }
        self.last.clear();
        for row in &samples.rows {
            self.last.extend(row.series.iter().copied().zip(row.values.iter().copied()));
        }
        for retired in &samples.retired {
            assert!(self.series.remove(retired).is_some(), "was defined");
        }
        machine.changes.extend(changes.iter().filter_map(|change| match change {
            ContainerChange::Stopped(c) => Some(c.id.clone()),
            _ => None,
        }));
    }

    fn value(&self, name: &str, id: &str) -> Option<f64> {
        let wanted =
            self.series.iter().find(|(_, labels)| labels.starts_with(name) && labels.contains(id))?;
        self.last.get(wanted.0).copied()
    }
}

/// 50 a second for a minute, each there for two passes: 3,000 lives beside 200 that stay.
#[test]
fn a_minute_of_churn_leaves_nothing_behind() {
    let machine = Machine::new("v2", &[]);
    let root = machine.root.path().to_owned();
    let mut light = Light { machine, series: Default::default(), last: Default::default() };
    // A few files are enough for a cgroup; `cpu.stat` is what tells that it is there.
    let make = |id: &str| {
        let folder = root.join("cgroup").join(id);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        std::fs::write(folder.join("memory.events"), "oom_kill 0\n").unwrap();
    };
    let end = |id: &str| std::fs::remove_dir_all(root.join("cgroup").join(id)).unwrap();
    let id = |i: usize| format!("{i:064x}");
    (0..200).for_each(|i| make(&id(i)));
    (0..14).for_each(|_| light.pass());
    let own_files = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|l| std::fs::read_link(l.path()).is_ok_and(|p| p.starts_with(&root))).count()
    };
    let (files, series) = (own_files(), light.series.len());
    assert_eq!(light.machine.reader.reader.live.len(), 200);
    // One that was killed for memory at the beginning is not crowded out by those that were not.
    let killed = id(9_999);
    make(&killed);
    (0..4).for_each(|_| light.pass());
    std::fs::write(root.join("cgroup").join(&killed).join("memory.events"), "oom_kill 1\n").unwrap();
    std::fs::write(root.join("cgroup").join(&killed).join("cpu.stat"), "usage_usec 1500001\n").unwrap();
    light.pass();
    end(&killed);
    let mut most = 0;
    for second in 0..60 {
        (0..50).for_each(|i| make(&id(10_000 + second * 50 + i)));
        if second >= 2 {
            (0..50).for_each(|i| end(&id(10_000 + (second - 2) * 50 + i)));
        }
        light.pass();
        most = most.max(light.series.len());
        assert_eq!(light.value("container_cpu_usage_seconds_total", &id(7)), Some(1.5), "{second}");
        if second > 1 {
            assert_eq!(light.value("container_oom_events_total", &killed), Some(1.0), "{second}");
        }
    }
    (2_900..3_000).for_each(|i| end(&id(10_000 + i)));
    (0..4).for_each(|_| light.pass());
    assert_eq!(light.machine.changes.len(), 3_001, "each end is told of");
    let each = series.div_ceil(200);
    assert!(most < series + 1_000 + 200 * each, "{most} series at once, {series} of those that stay");
    light.machine.clock.advance(Duration::from_secs(1_000));
    (0..2).for_each(|_| light.pass());
    let reader = &light.machine.reader;
    assert_eq!((reader.reader.live.len(), reader.reader.tombstones.len()), (200, 0));
    assert_eq!((own_files(), light.series.len()), (files, series));
    assert!(reader.shared.last.lock().is_empty() && reader.shared.ooms.lock().by_cgroup.is_empty());
}

#[test]
fn a_kill_stays_visible_though_many_end_after_it() {
    let mut machine = Machine::new("v2", &[]);
    machine.settle();
    let life = |machine: &Machine, id: &str, id_number: u64| {
        let mut registry = machine.reader.shared.registry.lock();
        registry.tree_changes(vec![tree::TreeChange::Added { path: format!("/{id}"), id: id_number }]);
        registry.tree_changes(vec![tree::TreeChange::Removed { path: format!("/{id}") }]);
    };
    life(&machine, ID, 7);
    machine.reader.shared.ooms.lock().by_container.insert(ID.into(), 1);
    machine.pass();
    (0..2 * TOMBSTONES_MAX as u64).for_each(|i| life(&machine, &format!("{:064x}", 0x1000 + i), 100 + i));
    let samples = machine.pass();
    assert_eq!(machine.reader.reader.tombstones.len(), TOMBSTONES_MAX);
    assert_eq!(value(&samples, "container_oom_events_total", &[ID]), Some(1.0));
}
