use super::*;

const ID: &str = "00000000000000000000000000000000000000000000000000000000000abc01";

fn added(path: &str, id: u64) -> TreeChange {
    TreeChange::Added { path: path.into(), id }
}

fn told(id: &str, cgroup: &str) -> RuntimeContainer {
    let text = str::to_owned;
    RuntimeContainer {
        id: text(id),
        image: text("bb"),
        runtime: text("containerd"),
        cgroup: Some(text(cgroup)),
        ..Default::default()
    }
}

fn update(containers: Vec<RuntimeContainer>, namespaces: &[&str]) -> RuntimeUpdate {
    RuntimeUpdate { containers, namespaces: namespaces.iter().map(|&n| n.to_owned()).collect() }
}

fn changes(registry: &mut Registry) -> Vec<String> {
    let mut out = Vec::new();
    registry.take_changes(&mut out);
    let name = |k: &Known| format!("{} {}", k.container.name, k.container.image);
    let text = |c: &Change| match c {
        Change::Started(k) => format!("started {}", name(k)),
        Change::Identified(k) => format!("identified {}", name(k)),
        Change::Stopped(g) => format!("stopped {g}"),
    };
    out.iter().map(text).collect()
}

#[test]
fn ids_are_found_in_the_names_that_runtimes_give() {
    for (name, expected) in [
        (ID.to_owned(), Some(ID)),
        (format!("cri-containerd-{ID}.scope"), Some(ID)),
        (format!("docker-{ID}.scope"), Some(ID)),
        (format!("crio-conmon-{ID}.scope"), None),
        (format!("{ID}0"), None),
        (ID[1..].to_owned(), None),
        ("é".repeat(64), None),
        (String::new(), None),
    ] {
        assert_eq!(hex_id(&name), expected, "{name}");
    }
}

#[test]
fn a_container_is_found_by_its_id_then_named_by_its_runtime_then_gone() {
    let mut registry = Registry::default();
    let path = format!("/kubepods/pod1/{ID}");
    assert!(registry.tree_changes(vec![added("/kubepods", 1), added("/kubepods/pod1", 2), added(&path, 3)]));
    assert_eq!(changes(&mut registry), [format!("started {ID} ")]);
    let mut of_pod = told(ID, &path);
    (of_pod.pod, of_pod.pod_container) = ("web-0".into(), "app".into());
    registry.runtime_update("/s".into(), update(vec![of_pod.clone()], &[]));
    registry.runtime_update("/s".into(), update(vec![of_pod], &[]));
    assert_eq!(changes(&mut registry), ["identified app bb"], "told once");

    registry.tree_changes(vec![added(&format!("{path}/init.scope"), 4)]);
    let index = registry.index();
    for found in [
        index.by_cgroup_id(3),
        index.by_cgroup_id(4),
        index.by_pid_cgroup_path(&format!("{path}/init.scope/x")),
        index.by_container_id(ID),
    ] {
        assert_eq!(found.map(|c| c.pod.clone()), Some("web-0".into()));
    }
    assert_eq!(index.by_cgroup_id(2), None);
    assert_eq!(index.by_pid_cgroup_path("/kubepods/pod1"), None);

    registry.tree_changes(vec![TreeChange::Removed { path }]);
    assert_eq!(changes(&mut registry), ["stopped 1"]);
    assert!(index.all().is_empty());
    assert!(index.by_cgroup_id(3).is_some(), "its last events may come later");
}

#[test]
fn a_container_without_an_id_in_its_path_is_known_by_its_runtime() {
    let mut registry = Registry::default();
    registry.tree_changes(vec![added("/default", 1), added("/default/c1", 2), added("/user.slice", 3)]);
    assert_eq!(changes(&mut registry), [""; 0]);
    registry.runtime_update("/s".into(), update(vec![told("c1", "/default/c1/init.scope")], &["default"]));
    assert_eq!(changes(&mut registry), ["started c1 bb"], "although its process moved further down");
    // From now on one beside it is taken for one at once, until the runtime keeps silent of it.
    registry.tree_changes(vec![added("/default/c2", 5)]);
    assert_eq!(changes(&mut registry), ["started c2 "]);
    for _ in 0..PROVISIONAL_ANSWERS {
        registry.runtime_update("/s".into(), update(vec![told("c1", "/default/c1")], &["default"]));
    }
    assert_eq!(changes(&mut registry), ["stopped 2"]);
    // A runtime that forgets it does not take its name.
    registry.runtime_update("/s".into(), update(vec![], &["default"]));
    assert_eq!(changes(&mut registry), [""; 0]);
    assert_eq!(registry.index().by_cgroup_id(2).unwrap().image, "bb");
}

#[test]
fn ended_containers_are_forgotten_in_the_end() {
    let mut registry = Registry::default();
    let path = |i: usize| format!("/k/{i:064x}");
    for i in 0..GONE_MAX + 10 {
        registry.tree_changes(vec![added(&path(i), 100 + i as u64)]);
        registry.tree_changes(vec![TreeChange::Removed { path: path(i) }]);
    }
    let index = registry.index();
    assert_eq!(index.by_cgroup_id(100), None);
    assert!(index.by_cgroup_id(100 + GONE_MAX as u64).is_some());
    assert_eq!(index.0.read().by_path.len(), GONE_MAX);
}

#[test]
fn lives_under_one_path_are_told_apart_and_bounded() {
    let mut registry = Registry::default();
    let index = registry.index();
    let path = format!("/{ID}");
    let lives = 4 * GONE_MAX as u64;
    for id in 1..=lives {
        registry.tree_changes(vec![added(&path, id), added(&format!("{path}/init"), lives + id)]);
        registry.tree_changes(vec![TreeChange::Removed { path: path.clone() }]);
        registry.tree_changes(vec![TreeChange::Removed { path: format!("{path}/init") }]);
        changes(&mut registry);
    }
    registry.tree_changes(vec![added(&path, 5000)]);
    assert!(index.by_cgroup_id(lives).is_some(), "its last events may still come");
    assert!(index.by_cgroup_id(1).is_none());
    for id in 6000..6000 + GONE_MAX as u64 {
        let other = format!("/{}{id}", &ID[..60]);
        registry.tree_changes(vec![added(&other, id)]);
        registry.tree_changes(vec![TreeChange::Removed { path: other }]);
    }
    assert!(index.by_cgroup_id(lives).is_none());
    assert!(index.by_cgroup_id(5000).is_some() && index.by_pid_cgroup_path(&path).is_some());
    assert!(index.by_container_id(ID).is_some(), "the living one is not forgotten with the dead");
    let maps = index.0.read();
    assert!(maps.by_cgroup_id.len() <= GONE_MAX + 1 && maps.by_path.len() <= GONE_MAX + 1);
    assert_eq!((maps.ids.len(), maps.gone.len()), (1, GONE_MAX));
}

#[test]
fn of_two_runtimes_that_tell_of_one_container_the_one_that_knows_more_names_it() {
    let mut registry = Registry::default();
    let path = format!("/docker/{ID}");
    registry.tree_changes(vec![added(&path, 3)]);
    let bare = RuntimeContainer { image: String::new(), ..told(ID, &path) };
    let named = RuntimeContainer { name: "web".into(), ..told(ID, &path) };
    // The socket of the one below comes first in order.
    for _ in 0..2 {
        registry.runtime_update("/a/containerd.sock".into(), update(vec![bare.clone()], &["moby"]));
        registry.runtime_update("/b/docker.sock".into(), update(vec![named.clone()], &[]));
    }
    assert_eq!(
        changes(&mut registry),
        [format!("started {ID} "), format!("identified {ID} "), "identified web bb".into()],
        "and keeps its name"
    );
}

/// Processor time that this thread takes for answers of a runtime with so many containers.
fn answers_ns(containers: usize) -> i64 {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let mut registry = Registry::default();
    let path = |i: usize| format!("/kubepods/pod{i}/{i:064x}");
    registry.tree_changes((0..containers).map(|i| added(&path(i), i as u64 + 1)).collect());
    // Half are named after their ids, half are found by their processes only.
    let plain = |i: usize| format!("/default/c{i}");
    registry.tree_changes((0..containers).map(|i| added(&plain(i), (containers + i) as u64 + 1)).collect());
    let all = |i: usize| [told(&format!("{i:064x}"), &path(i)), told(&format!("c{i}"), &plain(i))];
    let update = update((0..containers).flat_map(all).collect(), &[]);
    let start = now();
    registry.runtime_update("/s".into(), update.clone());
    registry.runtime_update("/s".into(), update);
    let took = now() - start;
    assert_eq!(registry.containers(), 2 * containers);
    took
}

#[test]
fn the_cost_of_an_answer_grows_with_the_containers_and_not_with_their_square() {
    let best = |containers| (0..3).map(|_| answers_ns(containers)).min().unwrap();
    let (few, many) = (best(250), best(4_000));
    // 16 times as many: a square would be 256 times.
    assert!(many < few * 64, "{few} ns for 250 containers, {many} ns for 4,000");
}

/// Knows one pod once it is told to.
#[derive(Default)]
struct OnePod(parking_lot::Mutex<Option<vedette_model::PodIdentity>>);

impl vedette_model::Identify for OnePod {
    fn identify(&self, question: &WorkloadQuestion<'_>, _: usize) -> Vec<vedette_model::PodIdentity> {
        let is_it = match question {
            WorkloadQuestion::Container(id) => *id == ID,
            WorkloadQuestion::Cgroup(path) => path.contains("/pod1/"),
            _ => false,
        };
        self.0.lock().iter().filter(|_| is_it).cloned().collect()
    }

    fn generation(&self) -> u64 {
        u64::from(self.0.lock().is_some())
    }
}

#[test]
fn what_no_runtime_tells_of_is_named_by_who_knows_workloads_and_stays_so() {
    let (directory, pods) = (Directory::default(), Arc::new(OnePod::default()));
    directory.add(pods.clone());
    let mut registry = Registry::default();
    registry.ask(directory);
    let path = format!("/kubepods/pod1/{ID}");
    registry.tree_changes(vec![added(&path, 3), added("/other/c1", 4)]);
    registry.look_up();
    assert_eq!(changes(&mut registry), [format!("started {ID} ")]);
    let container = vedette_model::PodContainer { id: ID.into(), name: "app".into(), image: "web:1".into() };
    *pods.0.lock() = Some(vedette_model::PodIdentity {
        name: "web-0".into(),
        namespace: "shop".into(),
        uid: "pod1".into(),
        workload: Workload { kind: "StatefulSet".into(), name: "web".into() },
        containers: vec![container],
        ..vedette_model::PodIdentity::default()
    });
    registry.look_up();
    assert_eq!(changes(&mut registry), ["identified app web:1"]);
    registry.look_up();
    assert!(changes(&mut registry).is_empty(), "nothing new");
    let found = registry.index().by_cgroup_id(3).expect("it is indexed");
    let known =
        (&*found.pod, &*found.namespace, &*found.pod_uid, &*found.workload.kind, &*found.workload.name);
    assert_eq!(known, ("web-0", "shop", "pod1", "StatefulSet", "web"));
    // The pod is forgotten, then a runtime tells of the container without its pod.
    *pods.0.lock() = None;
    registry.runtime_update("/s".into(), update(vec![told(ID, &path)], &[]));
    let found = registry.index().by_cgroup_id(3).expect("it is indexed");
    assert_eq!((&*found.runtime, &*found.image), ("containerd", "bb"));
    assert_eq!((&*found.pod, &*found.pod_uid, &*found.workload.name), ("web-0", "pod1", "web"));
    // What the runtime tells of the pod is believed before what others know.
    let mut of_pod = told(ID, &path);
    (of_pod.pod, of_pod.namespace) = ("web-1".into(), "shop".into());
    registry.runtime_update("/s".into(), update(vec![of_pod], &[]));
    assert_eq!(registry.index().by_cgroup_id(3).expect("it is indexed").pod, "web-1");
}
