use std::time::Duration;

use proptest::prelude::*;
use vedette_model::Samples;
use vedette_sys::{Clock, ManualClock};

use super::*;
use crate::{SeriesNumbers, series::SeriesTable};

/// A machine of one container, whose tasks are files.
struct Machine {
    root: tempfile::TempDir,
    hierarchy: Hierarchy,
    clock: ManualClock,
    load: Load,
    tasks: Tasks,
    buffer: Buffer,
}

impl Machine {
    fn new(threads_file: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("cg/c")).unwrap();
        let folder = Some(root.path().join("cg"));
        let hierarchy = if threads_file == "tasks" {
            Hierarchy { memory: folder, ..Hierarchy::default() }
        } else {
            Hierarchy { unified: folder, ..Hierarchy::default() }
        };
        let tasks = Tasks::new(root.path());
        Self {
            hierarchy,
            clock: ManualClock::at(0),
            load: Load::default(),
            tasks,
            buffer: Buffer::new(),
            root,
        }
    }

    fn states(&self, folder: &str, file: &str, first: u32, states: &str) {
        let mut list = String::new();
        for (i, state) in states.chars().enumerate() {
            let id = first + i as u32;
            list += &format!("{id}\n");
            let task = self.root.path().join(id.to_string());
            std::fs::create_dir_all(&task).unwrap();
            // The name is one that is meant to mislead.
            let fields = ["0"; 18].join(" ");
            let rest = ["0"; 19].join(" ");
            std::fs::write(
                task.join("stat"),
                format!("{id} (a) R) {state} {fields} 77 {rest} {} 0\n", i * 100),
            )
            .unwrap();
            std::fs::write(task.join("schedstat"), "1000000000 500000000 7\n").unwrap();
        }
        std::fs::write(self.root.path().join(folder).join(file), list).unwrap();
    }

    fn look(&mut self, seconds: u64, cpu: u64, turn: bool) {
        self.clock.advance(Duration::from_secs(seconds));
        self.tasks.begin(false, &mut self.buffer);
        let now = self.clock.monotonic();
        self.load.look(now, (&self.hierarchy, "/c"), Some(cpu), turn, &mut self.tasks, &mut self.buffer);
    }
}

#[test]
fn tasks_are_counted_by_state_in_both_versions_and_below() {
    for file in ["cgroup.threads", "tasks"] {
        let mut machine = Machine::new(file);
        machine.states("cg/c", file, 100, "RRDSTZI");
        std::fs::create_dir_all(machine.root.path().join("cg/c/inner/deeper")).unwrap();
        machine.states("cg/c/inner/deeper", file, 200, "RD");
        machine.look(1, 1, true);
        let expected = Counts { running: 3.0, blocked: 2.0, sleeping: 2.0, stopped: 1.0 };
        assert_eq!(machine.load.counts, expected, "{file}");
        assert_eq!(machine.load.running, [3.0; 4]);
        assert_eq!(machine.load.sums.queued_ns, 9 * 500_000_000);
        assert_eq!(machine.load.sums.io_ticks, 100 + 2100, "field 42 of all");
    }
}

#[test]
fn averages_follow_what_runs_and_an_idle_container_costs_next_to_nothing() {
    let mut machine = Machine::new("cgroup.threads");
    machine.states("cg/c", "cgroup.threads", 100, "RR");
    (1..=600).for_each(|n| machine.look(1, n, false));
    assert!((machine.load.running[0] - 2.0).abs() < 1e-6);
    // It has used no more processor time: nothing can have run, whatever the files say.
    machine.look(10, 600, false);
    assert!((machine.load.running[0] - 2.0 * (-1.0f64).exp()).abs() < 1e-6, "{:?}", machine.load.running);
    assert!((machine.load.running[1] - 2.0 * (-10.0f64 / 60.0).exp()).abs() < 0.01);
    machine.states("cg/c", "cgroup.threads", 100, "DD");
    machine.look(1, 600, false);
    assert_eq!(machine.load.counts.blocked, 0.0, "not looked at");
    machine.look(1, 600, true);
    assert_eq!(machine.load.counts.blocked, 2.0, "looked at in its first turn");
    machine.look(1, 600, false);
    assert_eq!(machine.load.counts.blocked, 2.0, "what is blocked stays so");
    machine.states("cg/c", "cgroup.threads", 100, "SS");
    machine.look(10, 600, true);
    assert_eq!(machine.load.counts.blocked, 2.0, "nothing can have changed");
    machine.look(60, 600, true);
    assert_eq!(machine.load.counts.blocked, 0.0, "looked at once a minute");
}

#[test]
fn times_are_added_up_over_tasks_that_come_and_go() {
    let mut machine = Machine::new("cgroup.threads");
    machine.states("cg/c", "cgroup.threads", 100, "SS");
    machine.look(1, 1, true);
    assert_eq!(machine.load.sums.run_ns, 2_000_000_000);
    std::fs::write(machine.root.path().join("cg/c/cgroup.threads"), "100\n").unwrap();
    std::fs::write(machine.root.path().join("100/schedstat"), "1500000000 500000000 8\n").unwrap();
    machine.look(1, 2, true);
    assert_eq!(machine.load.sums.run_ns, 2_500_000_000);
    assert_eq!(machine.load.tasks.len(), 1, "who ended is forgotten");
    // Another task under the same number.
    let fields = ["0"; 18].join(" ");
    std::fs::write(machine.root.path().join("100/stat"), format!("100 (x) S {fields} 99 0\n")).unwrap();
    std::fs::write(machine.root.path().join("100/schedstat"), "100 0 1\n").unwrap();
    machine.look(1, 3, true);
    assert_eq!(machine.load.sums.run_ns, 2_500_000_100);
}

#[test]
fn of_many_tasks_a_selection_stands_for_all_and_a_pass_is_bounded() {
    let mut machine = Machine::new("cgroup.threads");
    machine.states("cg/c", "cgroup.threads", 1000, &"R".repeat(TASKS_LOOKED_AT_MAX * 3));
    machine.look(1, 1, true);
    assert_eq!(machine.load.counts.running, (TASKS_LOOKED_AT_MAX * 3) as f64);
    assert_eq!(machine.tasks.left, TASKS_A_PASS_MAX - TASKS_LOOKED_AT_MAX);
    machine.tasks.left = 0;
    let now = machine.clock.monotonic();
    let before = machine.load.looked;
    machine.clock.advance(Duration::from_secs(1));
    machine.load.look(
        now,
        (&machine.hierarchy, "/c"),
        Some(9),
        false,
        &mut machine.tasks,
        &mut machine.buffer,
    );
    assert_eq!(machine.load.looked, before, "there was no room");
}

#[test]
fn all_series_end_with_the_container() {
    let mut machine = Machine::new("cgroup.threads");
    machine.states("cg/c", "cgroup.threads", 100, "RS");
    machine.look(1, 1, true);
    let mut table = SeriesTable::new(SeriesNumbers::default());
    let mut samples = Samples::default();
    let mut pass = table.pass(1000, &mut samples);
    machine.load.put(&mut pass, &BaseLabels { id: "/c".into(), ..BaseLabels::default() }, &machine.tasks);
    machine.load.retire(&mut pass);
    let names: Vec<String> = samples.defined.iter().map(|d| d.labels.to_string()).collect();
    assert!(names.contains(&r#"container_tasks_state{id="/c", state="running"}"#.to_owned()), "{names:?}");
    assert!(!names.iter().any(|n| n.contains("iowait")), "the kernel does not account delays");
    assert_eq!(samples.retired.len(), samples.defined.len());
}

proptest! {
    #[test]
    fn no_bytes_of_a_stat_file_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Stat::parse(&bytes);
        let _ = sched_stat(&bytes);
    }
}
