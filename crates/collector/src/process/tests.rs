use std::sync::{Mutex, PoisonError};

use super::*;

#[derive(Clone, Default)]
struct FakeProc(Arc<Mutex<HashMap<u32, ProcRecord>>>);

impl FakeProc {
    fn put(&self, pid: u32, parent_pid: u32, start_ns: u64, name: &str) {
        let record = ProcRecord {
            start_ns,
            parent_pid,
            name: name.into(),
            executable: format!("/bin/{name}"),
            ..ProcRecord::default()
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, record);
    }
}

impl ProcSource for FakeProc {
    fn read(&self, pid: u32) -> Option<ProcRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&pid).cloned()
    }
}

fn task(pid: u32, start_ns: u64, parent_pid: u32, parent_start_ns: u64, name: &str) -> Task<'_> {
    Task { pid, start_ns, parent_pid, parent_start_ns, uid: 7, name }
}

fn names(process: &Process) -> Vec<&str> {
    process.ancestors.iter().map(|a| a.name.as_str()).collect()
}

fn table() -> (ProcessTable, FakeProc) {
    let proc = FakeProc::default();
    proc.put(1, 0, 0, "init");
    proc.put(50, 1, 5_000_000_000, "sshd");
    (ProcessTable::new(Box::new(proc.clone()), 100), proc)
}

#[test]
fn ancestry_survives_the_end_of_a_parent() {
    let (mut table, proc) = table();
    let shell = table.get(task(60, 9_123_456_789, 50, 5_004_000_000, "bash"));
    assert_eq!(names(&shell), ["sshd", "init"]);
    let child = table.fork(&shell, 61, 10_000_000_001);
    assert_eq!(child.start_ns, 10_000_000_000);
    proc.0.lock().expect("lock").remove(&50);
    table.exit(60, 9_123_456_789);
    let ls = table.exec(task(61, 10_000_000_001, 1, 0, "ls"), "/bin/ls".into(), vec!["ls".into()], false);
    assert_eq!(names(&ls), ["bash", "sshd", "init"]);
    assert_eq!(ls.executable, "/bin/ls");
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let (mut table, _proc) = table();
    let first = table.get(task(70, 20_000_000_000, 1, 0, "a"));
    let second = table.get(task(70, 30_000_000_000, 50, 5_000_000_000, "b"));
    assert_ne!(first.key, second.key);
    assert_eq!(names(&second), ["sshd", "init"]);
    table.exit(70, 20_000_000_000);
    assert_eq!(
        table.get(task(70, 30_000_000_000, 50, 5_000_000_000, "b")).key,
        second.key,
        "an old exit removes nothing"
    );
}

#[test]
fn proc_and_kernel_give_one_key() {
    let (mut table, proc) = table();
    proc.put(80, 50, 7_770_000_000, "old");
    table.scan([80].into_iter());
    let seen = table.get(task(80, 7_771_234_567, 50, 5_000_000_000, "old"));
    assert_eq!(seen.executable, "/bin/old");
    assert_eq!(seen.key, ProcessKey { pid: 80, start_ns: 7_770_000_000 });
}

#[test]
fn the_table_is_bounded_and_cycles_end() {
    let (mut table, proc) = table();
    proc.put(90, 91, 1, "x");
    proc.put(91, 90, 1, "y");
    assert!(table.get(task(92, 5, 90, 1, "z")).ancestors.len() <= ANCESTORS_MAX);
    for pid in 1000..2000 {
        table.get(task(pid, u64::from(pid) * TICK_NS, 1, 0, "n"));
    }
    assert!(table.len() <= 100, "{}", table.len());
}
