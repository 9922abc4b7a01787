//! Documents, points and lines as cAdvisor's storage drivers wrote them.
//!
//! A document of cAdvisor holds all figures of a container, Vedette reads some of them less often than
//! others: what is not in a row is told as it was last. A figure that was never read is left out, and
//! is not told as 0.

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::Labels;
use vedette_wire::json;

use super::{
    figures::{DISK, FILESYSTEM, FIXED, INTERFACE, INTERFACE_FLAT},
    lines,
};

/// Which figure of its container a series is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Figure {
    /// One of [`FIXED`].
    Fixed(usize),
    /// Time on a processor.
    Cpu(usize),
    /// One of [`INTERFACE`], of an interface.
    Interface(Arc<str>, usize),
    /// One of [`FILESYSTEM`], of a device.
    Filesystem(Arc<str>, usize),
    /// One of [`DISK`], of a device.
    Disk(Arc<str>, usize),
}

/// Processors beyond this are not told apart.
const CPUS_MAX: usize = 4096;

impl Figure {
    /// The figure that a series is; `None` where cAdvisor's documents have no place for it.
    pub fn of(labels: &Labels) -> Option<Self> {
        let name = labels.metric_name();
        let fits = |wanted: &[(&str, &str)]| wanted.iter().all(|(n, v)| labels.get(n) == Some(*v));
        if let Some(at) = FIXED.iter().position(|fixed| fixed.family == name && fits(fixed.labels)) {
            return Some(Self::Fixed(at));
        }
        if name == "container_cpu_usage_seconds_total" {
            let cpu = labels.get("cpu")?.strip_prefix("cpu")?.parse().ok()?;
            return (cpu < CPUS_MAX).then_some(Self::Cpu(cpu));
        }
        let device = || labels.get("device").map(Arc::<str>::from);
        if let Some(at) = INTERFACE.iter().position(|(family, _)| *family == name) {
            return Some(Self::Interface(labels.get("interface")?.into(), at));
        }
        if let Some(at) = FILESYSTEM.iter().position(|(family, ..)| *family == name) {
            return Some(Self::Filesystem(device()?, at));
        }
        let at = DISK.iter().position(|(family, ..)| *family == name)?;
        Some(Self::Disk(device()?, at))
    }
}

/// A figure as it was last.
#[derive(Debug, Clone, Copy)]
struct Value {
    value: f64,
    /// Whether it is in the row that is told now.
    is_new: bool,
}

impl Value {
    const UNKNOWN: Self = Self { value: f64::NAN, is_new: false };

    fn set(&mut self, value: f64) {
        *self = Self { value, is_new: true };
    }

    /// As cAdvisor writes it, whose figures are whole numbers.
    fn known(self) -> Option<i64> {
        (!self.value.is_nan()).then_some(self.value.round() as i64)
    }
}

/// A container, by its latest figures.
#[derive(Debug)]
pub struct Container {
    machine: Arc<str>,
    /// As people know it: its name, else its place in the cgroup tree.
    name: String,
    id: Option<String>,
    labels: Vec<(&'static str, String)>,
    fixed: Vec<Value>,
    cpus: Vec<Value>,
    interfaces: BTreeMap<Arc<str>, [Value; INTERFACE.len()]>,
    filesystems: BTreeMap<Arc<str>, [Value; FILESYSTEM.len()]>,
    disks: BTreeMap<Arc<str>, [Value; DISK.len()]>,
}

/// How a document differs from one driver to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Elasticsearch and Redis: the time is a number of microseconds.
    Microseconds,
    /// The same with the time under `@timestamp` as well, as data streams demand.
    DataStream,
    /// Kafka: the time is text, and the container's id and labels are there.
    Kafka,
}

/// Labels by which a series belongs to its container.
const IDENTITY: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// Equal for the series of one container.
pub fn identity(labels: &Labels) -> Vec<u8> {
    labels.keep(&IDENTITY).as_key().as_bytes().to_vec()
}

/// Labels under which the kubelet's runtimes know a container.
const KUBERNETES: [(&str, &str); 3] = [
    ("container", "io.kubernetes.container.name"),
    ("pod", "io.kubernetes.pod.name"),
    ("namespace", "io.kubernetes.pod.namespace"),
];

impl Container {
    /// A container of which nothing but its labels is known.
    pub fn new(machine: &Arc<str>, labels: &Labels) -> Self {
        let path = labels.get("id").unwrap_or("");
        let name = labels.get("name").filter(|name| !name.is_empty()).unwrap_or(path);
        let label = |(ours, theirs): (&str, &'static str)| Some((theirs, labels.get(ours)?.to_owned()));
        Self {
            machine: machine.clone(),
            name: name.to_owned(),
            id: runtime_id(path),
            labels: KUBERNETES.into_iter().filter_map(label).collect(),
            fixed: vec![Value::UNKNOWN; FIXED.len()],
            cpus: Vec::new(),
            interfaces: BTreeMap::new(),
            filesystems: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }

    /// Takes a figure.
    pub fn set(&mut self, figure: &Figure, value: f64) {
        match figure {
            Figure::Fixed(at) => self.fixed[*at].set(value * FIXED[*at].scale),
            Figure::Cpu(at) => {
                if *at >= self.cpus.len() {
                    self.cpus.resize(at + 1, Value::UNKNOWN);
                }
                self.cpus[*at].set(value * 1e9);
            }
            Figure::Interface(name, at) => entry(&mut self.interfaces, name)[*at].set(value),
            Figure::Filesystem(device, at) => entry(&mut self.filesystems, device)[*at].set(value),
            Figure::Disk(device, at) => entry(&mut self.disks, device)[*at].set(value),
        }
    }

    /// The row is told.
    pub fn settle(&mut self) {
        let lists = self.interfaces.values_mut().flatten();
        let lists = lists.chain(self.filesystems.values_mut().flatten());
        let lists = lists.chain(self.disks.values_mut().flatten());
        for value in self.fixed.iter_mut().chain(&mut self.cpus).chain(lists) {
            value.is_new = false;
        }
    }

    /// Writes the document of one time, `time` being its text.
    pub fn document(&self, out: &mut Vec<u8>, dialect: Dialect, time_ms: i64, time: &[u8]) {
        let mut object = json::Object::begin(out);
        if dialect == Dialect::DataStream {
            quoted(object.member("@timestamp"), time);
        }
        match dialect {
            Dialect::Microseconds | Dialect::DataStream => {
                whole(object.member("timestamp"), time_ms.saturating_mul(1000));
            }
            Dialect::Kafka => quoted(object.member("timestamp"), time),
        }
        object.text("machine_name", &self.machine).text("container_Name", &self.name);
        if dialect == Dialect::Kafka {
            if let Some(id) = &self.id {
                object.text("container_Id", id);
            }
            if !self.labels.is_empty() {
                let mut labels = json::Object::begin(object.member("container_labels"));
                for (name, value) in &self.labels {
                    labels.text(name, value);
                }
                labels.end();
            }
        }
        self.stats(object.member("container_stats"), time);
        object.end();
    }

    fn stats(&self, out: &mut Vec<u8>, time: &[u8]) {
        let mut nest = Nest { out, open: Vec::new(), is_first: true };
        nest.out.push(b'{');
        quoted(nest.member(&["timestamp"]), time);
        for (fixed, value) in FIXED.iter().zip(&self.fixed) {
            if let Some(value) = value.known() {
                whole(nest.member(fixed.path), value);
            }
            // The list stands where its kin does.
            if fixed.path == ["cpu", "usage", "total"] && !self.cpus.is_empty() {
                let cpus = self.cpus.iter().map(|value| value.known().unwrap_or(0));
                json::push_array(nest.member(&["cpu", "usage", "per_cpu_usage"]), cpus, whole);
            }
        }
        self.network(&mut nest);
        self.disks(&mut nest);
        if !self.filesystems.is_empty() {
            json::push_array(nest.member(&["filesystem"]), &self.filesystems, |out, (device, values)| {
                let mut object = json::Object::begin(out);
                object.text("device", device);
                for ((_, name, _), value) in FILESYSTEM.iter().zip(values) {
                    if let Some(value) = value.known() {
                        whole(object.member(name), value);
                    }
                }
                if values[2].known().is_some() {
                    object.member("has_inodes").extend_from_slice(b"true");
                }
                object.end();
            });
        }
        nest.end();
    }

    fn network(&self, nest: &mut Nest<'_>) {
        let Some((name, values)) = self.interfaces.first_key_value() else { return };
        json::push_text(nest.member(&["network", "name"]), name);
        for ((_, name), value) in INTERFACE.iter().zip(values) {
            if let Some(value) = value.known() {
                whole(nest.member(&["network", name]), value);
            }
        }
        json::push_array(nest.member(&["network", "interfaces"]), &self.interfaces, |out, (name, values)| {
            let mut object = json::Object::begin(out);
            object.text("name", name);
            for ((_, name), value) in INTERFACE.iter().zip(values) {
                if let Some(value) = value.known() {
                    whole(object.member(name), value);
                }
            }
            object.end();
        });
    }

    fn disks(&self, nest: &mut Nest<'_>) {
        for list in ["io_service_bytes", "io_serviced"] {
            let known = |values: &[Value; DISK.len()]| {
                DISK.iter().zip(values).any(|((_, of, _), value)| *of == list && value.known().is_some())
            };
            let disks: Vec<_> = self.disks.iter().filter(|(_, values)| known(values)).collect();
            if disks.is_empty() {
                continue;
            }
            json::push_array(nest.member(&["diskio", list]), disks, |out, (device, values)| {
                let mut object = json::Object::begin(out);
                object.text("device", device);
                let mut stats = json::Object::begin(object.member("stats"));
                for ((_, of, access), value) in DISK.iter().zip(values) {
                    if let (true, Some(value)) = (*of == list, value.known()) {
                        whole(stats.member(access), value);
                    }
                }
                stats.end();
                object.end();
            });
        }
    }

    /// Writes what is new as points of InfluxDB; `each` is called behind every line.
    pub fn influx(&self, out: &mut Vec<u8>, time_ms: i64, mut each: impl FnMut(&mut Vec<u8>)) {
        let mut point = |name: &str, tags: &[(&str, &str)], value: &Value| {
            let Some(known) = value.known().filter(|_| value.is_new) else { return };
            lines::measurement(out, name);
            let own = [("machine", &*self.machine), ("container_name", self.name.as_str())];
            let labels = self.labels.iter().map(|(name, value)| (*name, value.as_str()));
            for (name, value) in own.into_iter().chain(labels).chain(tags.iter().copied()) {
                lines::tag(out, name, value);
            }
            out.extend_from_slice(b" value=");
            whole(out, known);
            out.extend_from_slice(b"i ");
            whole(out, time_ms);
            out.push(b'\n');
            each(out);
        };
        for (fixed, value) in FIXED.iter().zip(&self.fixed) {
            if let Some((name, tags)) = fixed.influx {
                point(name, tags, value);
            }
        }
        for (cpu, value) in self.cpus.iter().enumerate() {
            point("cpu_usage_per_cpu", &[("instance", &cpu.to_string())], value);
        }
        for (name, value) in self.flat_interface() {
            point(name, &[], value);
        }
        for (device, values) in &self.filesystems {
            for ((.., name), value) in FILESYSTEM.iter().zip(values) {
                if let Some(name) = name {
                    point(name, &[("device", device), ("type", &name[3..])], value);
                }
            }
        }
    }

    /// Writes what is new as gauges of statsd; `each` is called behind every line.
    pub fn statsd(&self, out: &mut Vec<u8>, prefix: &str, mut each: impl FnMut(&mut Vec<u8>)) {
        let mut gauge = |name: &[&str], value: i64| {
            for part in [prefix, self.name.as_str()].iter().chain(name).filter(|part| !part.is_empty()) {
                if !out.is_empty() && !out.ends_with(b"\n") {
                    out.push(b'.');
                }
                lines::statsd_text(out, part);
            }
            out.push(b':');
            whole(out, value);
            out.extend_from_slice(b"|g\n");
            each(out);
        };
        let new = |value: &Value| value.known().filter(|_| value.is_new);
        for (fixed, value) in FIXED.iter().zip(&self.fixed) {
            if let (Some(name), Some(value)) = (fixed.statsd, new(value)) {
                gauge(&[name], value);
            }
        }
        for (name, value) in self.flat_interface() {
            if let Some(value) = new(value) {
                gauge(&[name], value);
            }
        }
        for (at, (.., name)) in FILESYSTEM.iter().enumerate() {
            let Some(name) = name else { continue };
            for (device, values) in &self.filesystems {
                if let Some(value) = new(&values[at]) {
                    gauge(&[device, name], value);
                }
            }
            if self.filesystems.values().any(|values| values[at].is_new) {
                gauge(&["fs_summary", name], self.filesystems.values().filter_map(|v| v[at].known()).sum());
            }
        }
    }

    /// Writes the line of standard output.
    pub fn text(&self, out: &mut Vec<u8>, time_ms: i64) {
        out.extend_from_slice(b"cName=");
        lines::without_spaces(out, &self.name);
        out.extend_from_slice(b" host=");
        lines::without_spaces(out, &self.machine);
        let mut figure = |name: &[&str], value: Option<i64>| {
            let Some(value) = value else { return };
            out.push(b' ');
            for (i, part) in name.iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                lines::without_spaces(out, part);
            }
            out.push(b'=');
            whole(out, value);
        };
        figure(&["timestamp"], Some(time_ms.saturating_mul(1_000_000)));
        for (fixed, value) in FIXED.iter().zip(&self.fixed) {
            for name in fixed.text {
                figure(&[name], value.known());
            }
        }
        for (cpu, value) in self.cpus.iter().enumerate() {
            figure(&["cpu_usage_per_cpu", &cpu.to_string()], value.known());
        }
        for (name, value) in self.flat_interface() {
            figure(&[name], value.known());
        }
        for (at, (.., name)) in FILESYSTEM.iter().enumerate() {
            let Some(name) = name else { continue };
            for (device, values) in &self.filesystems {
                figure(&[device, name], values[at].known());
            }
            let all = self.filesystems.values().filter_map(|values| values[at].known());
            figure(&["fs_summary", name], all.reduce(|a, b| a.saturating_add(b)));
        }
        out.push(b'\n');
    }

    /// The figures of the first interface, which stand for the container's.
    fn flat_interface(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let first = self.interfaces.values().next();
        let named = first.into_iter().flat_map(|values| INTERFACE.iter().zip(values));
        named.map(|((_, name), value)| (*name, value)).filter(|(name, _)| INTERFACE_FLAT.contains(name))
    }
}

fn entry<'a, const N: usize>(
    map: &'a mut BTreeMap<Arc<str>, [Value; N]>,
    key: &Arc<str>,
) -> &'a mut [Value; N] {
    if !map.contains_key(key) {
        map.insert(key.clone(), [Value::UNKNOWN; N]);
    }
    map.get_mut(key).expect("BUG: inserted above")
}

/// Runtimes name a container by 64 hexadecimal digits, which stand in the last part of its path.
fn runtime_id(path: &str) -> Option<String> {
    let last = path.rsplit('/').next()?.trim_end_matches(".scope");
    let id = last.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn whole(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Writes members by their paths, opening and closing objects between them.
struct Nest<'a> {
    out: &'a mut Vec<u8>,
    open: Vec<&'static str>,
    is_first: bool,
}

impl Nest<'_> {
    /// The place where the value at `path` is written. Paths that begin alike must follow each other.
    fn member(&mut self, path: &[&'static str]) -> &mut Vec<u8> {
        let (name, objects) = path.split_last().expect("BUG: a path has a name");
        let common = self.open.iter().zip(objects).take_while(|(a, b)| a == b).count();
        for _ in common..self.open.len() {
            self.out.push(b'}');
            self.is_first = false;
        }
        self.open.truncate(common);
        for object in &objects[common..] {
            self.name(object);
            self.out.push(b'{');
            self.open.push(object);
            self.is_first = true;
        }
        self.name(name);
        self.out
    }

    fn name(&mut self, name: &str) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        json::push_text(self.out, name);
        self.out.push(b':');
    }

    fn end(self) {
        self.out.resize(self.out.len() + self.open.len() + 1, b'}');
    }
}
