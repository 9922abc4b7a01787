//! Rows of the control groups around containers.

use vedette_model::telemetry::MetricVisitor;

use super::*;

const SLICE: &str = "kubepods.slice";
const CLASS: &str = "kubepods.slice/kubepods-burstable.slice";
const POD: &str = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11aa_22.slice";

/// Two containers of one pod, in groups as a kubelet makes them.
fn machine(version: &str) -> (Machine, [String; 2]) {
    let scopes = [ID, ID2].map(|id| format!("{POD}/cri-containerd-{id}.scope"));
    let cgroups = [SLICE, CLASS, POD, scopes[0].as_str(), scopes[1].as_str()];
    let machine = Machine::new(version, &cgroups);
    let of_pod = |id, name| RuntimeContainer { pod_uid: "11aa-22".into(), ..pod(id, name, false) };
    machine.tell(vec![of_pod(ID, "app"), of_pod(ID2, "side")]);
    (machine, scopes)
}

fn row<'a>(samples: &'a BTreeMap<String, f64>, name: &str, path: &str) -> Option<(&'a str, f64)> {
    let id = format!("id=\"/{path}\"");
    let mut found = samples.iter().filter(|(s, _)| s.starts_with(&format!("{name}{{")) && s.contains(&id));
    let first = found.next().map(|(series, value)| (series.as_str(), *value));
    assert_eq!(found.next(), None);
    first
}

#[test]
fn pods_and_slices_have_rows_of_their_own() {
    for version in ["v1", "v2", "hybrid"] {
        let (mut machine, scopes) = machine(version);
        let samples = machine.settle();
        let usage = |path: &str| row(&samples, "container_cpu_usage_seconds_total", path);
        // A pod's row names the pod, the others nothing but themselves.
        for (path, labels) in [(SLICE, ""), (CLASS, ""), (POD, ", namespace=\"prod\", pod=\"web-0\"")] {
            let expected =
                format!("container_cpu_usage_seconds_total{{cpu=\"total\", id=\"/{path}\"{labels}}}");
            assert_eq!(usage(path), Some((expected.as_str(), 1.5)), "{version}");
            for (name, value) in [
                ("container_memory_working_set_bytes", 600.0),
                ("container_spec_cpu_quota", 20_000.0),
                ("container_processes", 2.0),
                ("container_fs_writes_bytes_total", 8192.0),
            ] {
                assert_eq!(row(&samples, name, path).map(|(_, v)| v), Some(value), "{version} {path} {name}");
            }
            assert!(row(&samples, "container_last_seen", path).is_some());
            assert_eq!(row(&samples, "container_info", path), None, "it is no container");
        }
        assert!(usage(&scopes[0]).is_some_and(|(series, _)| series.contains("container=\"app\"")));
        assert_eq!(machine.changes.len(), 2, "{:?}", machine.changes);
    }
}

#[test]
fn a_group_is_told_in_its_turn_and_ends_with_its_last_container() {
    let (mut machine, scopes) = machine("v2");
    machine.settle();
    let name = "container_cpu_usage_seconds_total";
    let in_turn: Vec<bool> = (0..20).map(|_| row(&machine.pass(), name, POD).is_some()).collect();
    assert_eq!(in_turn.iter().filter(|told| **told).count(), 2, "once in ten passes: {in_turn:?}");
    let rows = |machine: &Machine, path: &str| {
        machine.labels.values().filter(|l| l.contains(&format!("id=\"/{path}\""))).count()
    };
    machine.end(&scopes[0]);
    (0..2).for_each(|_| drop(machine.pass()));
    assert!(rows(&machine, POD) > 20, "there is another");
    machine.end(&scopes[1]);
    (0..2).for_each(|_| drop(machine.pass()));
    assert_eq!([SLICE, CLASS, POD].map(|path| rows(&machine, path)), [0; 3]);
}

#[test]
fn what_is_a_container_itself_is_no_group_and_a_pod_gets_its_name_when_it_is_known() {
    let (outer, inner) = (format!("pod11aa-22/{ID}"), format!("pod11aa-22/{ID}/{ID2}"));
    let mut machine = Machine::new("v2", &["pod11aa-22", outer.as_str(), inner.as_str()]);
    let samples = machine.settle();
    let name = "container_cpu_usage_seconds_total";
    let series = |samples: &BTreeMap<String, f64>, path: &str| {
        row(samples, name, path).map(|(series, _)| series.to_owned())
    };
    let nameless = format!("{name}{{cpu=\"total\", id=\"/pod11aa-22\"}}");
    assert_eq!(series(&samples, "pod11aa-22"), Some(nameless.clone()));
    assert!(series(&samples, &outer).is_some_and(|s| s.contains("name=")), "one row");
    machine.tell(vec![RuntimeContainer { pod_uid: "11aa-22".into(), ..pod(ID, "app", false) }]);
    let samples = machine.settle();
    let named = format!("{name}{{cpu=\"total\", id=\"/pod11aa-22\", namespace=\"prod\", pod=\"web-0\"}}");
    assert!(samples.contains_key(&named));
    assert!(!machine.labels.values().any(|label| *label == nameless), "the row goes on under its new labels");
}

#[test]
fn groups_beyond_the_bound_have_no_rows_and_are_counted() {
    let (mut machine, _) = machine("v2");
    machine.settle();
    let container = |number: usize| {
        // All but the last two lie in a group of their own; the last two in one, and one in the other.
        let group = number.min(GROUPS_MAX + 1);
        let inside = if number > group { format!("{ID}/{ID2}") } else { ID.to_owned() };
        Container { cgroup: format!("/g{group}/{inside}"), ..Container::default() }
    };
    let budget = FileBudget::new(0);
    let mut assign = |containers: &[Container]| {
        let ContainerReader { reader, series, hierarchy, .. } = &mut machine.reader;
        let mut samples = Samples::default();
        let mut pass = series.pass(1, &mut samples);
        reader.groups.assign(containers.iter(), hierarchy, &budget, &mut pass);
        let mut told = Values::default();
        reader.groups.metrics().visit(&mut told);
        (told.0, machine.reader.reports().swap_remove(0).state)
    };
    let told = |groups: usize, left_out: usize| {
        let name = |name: &str| format!("vedette_host_{name}");
        vec![(name("groups"), groups as f64), (name("groups_left_out"), left_out as f64)]
    };
    let many: Vec<Container> = (0..GROUPS_MAX + 3).map(container).collect();
    for (count, kept, left_out) in
        [(GROUPS_MAX, GROUPS_MAX, 0), (GROUPS_MAX + 3, GROUPS_MAX, 2), (GROUPS_MAX - 1, GROUPS_MAX - 1, 0)]
    {
        let (metrics, state) = assign(&many[..count]);
        assert_eq!(metrics, told(kept, left_out), "{count} containers");
        let is_told = state.message.contains(&format!("{left_out} control groups"));
        assert_eq!((state.health == Health::Degraded, is_told), (left_out > 0, left_out > 0), "{state:?}");
    }
}

#[derive(Default)]
struct Values(Vec<(String, f64)>);

impl MetricVisitor for Values {
    fn value(&mut self, family: &vedette_model::telemetry::Family, _: &[(&str, &str)], value: f64) {
        self.0.push((family.name.to_owned(), value));
    }
}
