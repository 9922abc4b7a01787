use std::{collections::BTreeSet, path::Path};

use super::*;

fn unified(root: &Path) -> Hierarchy {
    std::fs::write(root.join("cgroup.controllers"), "cpu memory").unwrap();
    let hierarchy = Hierarchy::detect(root);
    assert_eq!(hierarchy.describe(), "version 2");
    hierarchy
}

/// What a listener knows after all changes.
fn apply(known: &mut BTreeSet<String>, changes: &mut Vec<TreeChange>) {
    for change in changes.drain(..) {
        match change {
            TreeChange::Added { path, id } => {
                assert_ne!(id, 0);
                known.insert(path);
            }
            TreeChange::Removed { path } => assert!(known.remove(&path), "{path} was not known"),
            TreeChange::MemoryEvent { .. } | TreeChange::Populated { .. } => {}
        }
    }
}

#[test]
fn cgroups_that_come_and_go_are_told_by_the_kernel() {
    let root = tempfile::tempdir().unwrap();
    let mut tree = Tree::new(&unified(root.path()));
    let (mut changes, mut known) = (Vec::new(), BTreeSet::new());
    std::fs::create_dir_all(root.path().join("a/b")).unwrap();
    std::fs::create_dir_all(root.path().join("mount.mount")).unwrap();
    tree.reconcile(&mut changes);
    apply(&mut known, &mut changes);
    assert_eq!(known, BTreeSet::from(["/a".into(), "/a/b".into()]), "mount units are left out");

    std::fs::create_dir_all(root.path().join("a/c/d")).unwrap();
    tree.drain(&mut changes);
    apply(&mut known, &mut changes);
    assert!(known.contains("/a/c") && known.contains("/a/c/d"), "{known:?}");

    std::fs::write(root.path().join("a/b/memory.events"), "oom_kill 1\n").unwrap();
    tree.drain(&mut changes);
    assert!(changes.contains(&TreeChange::MemoryEvent { path: "/a/b".into() }));
    changes.clear();

    std::fs::remove_dir_all(root.path().join("a")).unwrap();
    tree.drain(&mut changes);
    apply(&mut known, &mut changes);
    assert_eq!(known, BTreeSet::new());
    tree.reconcile(&mut changes);
    tree.reconcile(&mut changes);
    apply(&mut known, &mut changes);
    assert_eq!(known, BTreeSet::new());
}

#[test]
fn in_a_hybrid_machine_a_cgroup_counts_until_the_last_tree_lets_it_go() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["unified/c", "memory/c", "cpu,cpuacct/c", "systemd/c"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    std::fs::write(root.path().join("unified/cgroup.controllers"), "").unwrap();
    let hierarchy = Hierarchy::detect(root.path());
    assert_eq!(hierarchy.describe(), "hybrid");
    assert_eq!(hierarchy.cpuacct, Some(root.path().join("cpu,cpuacct")));
    let mut tree = Tree::new(&hierarchy);
    let mut changes = Vec::new();
    tree.reconcile(&mut changes);
    assert!(
        matches!(&changes[..], [TreeChange::Added { path, id }] if path == "/c" && *id != 0),
        "{changes:?}"
    );
    changes.clear();
    std::fs::remove_dir(root.path().join("unified/c")).unwrap();
    tree.reconcile(&mut changes);
    assert_eq!(changes, []);
    std::fs::remove_dir(root.path().join("memory/c")).unwrap();
    tree.reconcile(&mut changes);
    assert_eq!(changes, [TreeChange::Removed { path: "/c".into() }]);
}
