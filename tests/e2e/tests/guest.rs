//! In a virtual machine, with version 2 of cgroups alone and LVM: what the agent tells of a container
//! and of volumes, beside what the kernel's files and LVM's own tools say.
//!
//! Figures are compared while what they tell of stands still: the container is frozen, or nothing
//! is written. The agent repeats what it reads slowly, so a comparison is repeated until it holds.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use vedette_e2e::{
    binary,
    containers::{IMAGE, write_image},
    guest::{Guest, slim, tree},
    parts, skip, wait_for,
};

/// The machine is emulated, and slow. What is asked too often keeps it from everything else.
const SOON: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(400);

const CONFIG: &str = "\
collect: {runtime_sockets: [/run/containerd/containerd.sock], sensor: off}
collectors: {slow_interval: 2s}
export: {sinks: [{name: file, match: ['{__name__=\"node_load1\"}'], file: {path: /run/samples.jsonl}}]}
";

const CONTAINERD: &str = "\
version = 2
root = \"/run/containerd/root\"
state = \"/run/containerd/state\"
disabled_plugins = [\"io.containerd.internal.v1.opt\", \"io.containerd.grpc.v1.cri\"]
[grpc]
  address = \"/run/containerd/containerd.sock\"
";

/// What runs in the container: a file in its own layer and one in a file system of the machine; two
/// tasks that always want a processor, of which they get a fifth together; and a task that writes
/// to that file system when it is told to.
const WORK: &str = "dd if=/dev/zero of=/file bs=1M count=2; dd if=/dev/zero of=/data/file bs=64k count=4 conv=fsync; \
    touch /go/ready; { until [ -e /go/now ]; do sleep 1; done; echo x > /data/blocked; } & \
    while :; do :; done & while :; do :; done";

const CGROUP: &str = "/sys/fs/cgroup/k8s.io/busy";

#[test]
fn figures_are_those_of_a_kernel_with_version_2_alone() -> Result<()> {
    if tree().is_none() {
        skip!("virtual machine", "the peers lane starts it, with VEDETTE_GUEST");
    }
    let folder = tempfile::tempdir()?;
    let guest = boot(folder.path())?;
    let result = compare_all(&guest);
    if result.is_err() {
        let logs = guest.run("tail -n 50 /run/*.log; dmesg | tail -n 20").unwrap_or_default();
        eprintln!("{}\n{logs}", guest.console());
    }
    result
}

fn compare_all(guest: &Guest) -> Result<()> {
    make_volumes(guest)?;
    start_container(guest)?;
    guest.run("vedette agent --config /etc/vedette.yml --data-dir /run/vedette > /run/vedette.log 2>&1 &")?;
    wait("the container's layer", || layer_is_counted(guest))?;
    volumes_are_right(guest)?;
    load_is_right(guest)?;
    counters_are_right(guest)?;
    machine_is_right(guest)
}

/// Boots with containerd and the program under test, and starts containerd.
fn boot(folder: &Path) -> Result<Guest> {
    let image = folder.join("image.tar");
    write_image(&image)?;
    let (containerd, config) = (folder.join("containerd.toml"), folder.join("vedette.yml"));
    std::fs::write(&containerd, CONTAINERD)?;
    std::fs::write(&config, CONFIG)?;
    let part = |path: &str| parts().join(path);
    let guest = Guest::start(
        folder,
        &[
            ("bin/busybox", part("bin/busybox")),
            ("bin/containerd", part("usr/bin/containerd")),
            ("bin/containerd-shim-runc-v2", part("usr/bin/containerd-shim-runc-v2")),
            ("bin/ctr", part("usr/bin/ctr")),
            ("bin/runc", part("usr/sbin/runc")),
            ("bin/vedette", slim(&binary(), folder)?),
            ("etc/image.tar", image),
            ("etc/containerd.toml", containerd),
            ("etc/vedette.yml", config),
        ],
    )?;
    guest.run("containerd -c /etc/containerd.toml > /run/containerd.log 2>&1 &")?;
    Ok(guest)
}

/// A volume group on a loop device, a thin pool and a thin volume with a file system.
fn make_volumes(guest: &Guest) -> Result<()> {
    guest.run(
        "set -e; mkdir -p /etc/lvm /mnt/data; truncate -s 256M /tmp/disk
         printf 'activation { udev_sync=0 udev_rules=0 monitoring=0 }\\nbackup { backup=0 archive=0 }\\n' > /etc/lvm/lvm.conf
         losetup /dev/loop0 /tmp/disk; lvm pvcreate -q /dev/loop0; lvm vgcreate -q vg-a /dev/loop0
         lvm lvcreate -q -L 64m --poolmetadatasize 4m -T vg-a/pool -V 48m -n thin
         mke2fs /dev/vg-a/thin > /dev/null; mount -t ext4 /dev/vg-a/thin /mnt/data; sync",
    )?;
    Ok(())
}

fn start_container(guest: &Guest) -> Result<()> {
    wait("containerd", || Ok(guest.run("ctr version").is_ok().then_some(())))?;
    guest.run(&format!(
        "mkdir /run/go && ctr -n k8s.io images import /etc/image.tar && ctr -n k8s.io run -d --memory-limit 67108864 \
         --mount type=bind,src=/mnt/data,dst=/data,options=rbind:rw \
         --mount type=bind,src=/run/go,dst=/go,options=rbind:rw {IMAGE} busy /bin/sh -c '{WORK}'"
    ))?;
    wait("the container's files", || Ok(guest.run("test -e /run/go/ready").is_ok().then_some(())))?;
    guest.run(&format!("echo 20000 100000 > {CGROUP}/cpu.max"))?;
    Ok(())
}

/// Tries until `probe` gives something, with rests in between.
fn wait<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_for(what, SOON, || {
        let found = probe();
        if !matches!(found, Ok(Some(_))) {
            std::thread::sleep(LOOK);
        }
        found
    })
}

/// What the agent serves: every series as it is written, and its value.
struct Told(BTreeMap<String, f64>);

impl Told {
    fn read(guest: &Guest, page: &str) -> Result<Self> {
        let text = guest.run(&format!("wget -qO- http://127.0.0.1:9090/metrics/{page}"))?;
        let sample = |line: &str| {
            let (series, rest) = line.split_once("} ").or_else(|| line.split_once(' '))?;
            Some((series.to_owned(), rest.split(' ').next()?.parse().ok()?))
        };
        Ok(Self(text.lines().filter(|l| !l.starts_with('#')).filter_map(sample).collect()))
    }

    /// The one series of the family that has these labels.
    fn value(&self, family: &str, labels: &[&str]) -> Result<f64> {
        let fits = |series: &str| {
            series.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
                && labels.iter().all(|label| series.contains(label))
        };
        let mut found = self.0.iter().filter(|(series, _)| fits(series));
        let (_, value) = found.next().with_context(|| format!("there is no {family} {labels:?}"))?;
        ensure!(found.next().is_none(), "there is more than one {family} {labels:?}");
        Ok(*value)
    }
}

/// What of the container is told under this name.
fn of_container(told: &Told, family: &str, labels: &[&str]) -> Result<f64> {
    told.value(family, &[&["name=\"busy\""], labels].concat())
}

/// `key value` and `key=value` in the lines of a kernel's file, numbered by line where there are
/// several; a file with one number has it under the empty key.
struct Kernel(BTreeMap<String, f64>);

impl Kernel {
    fn read(guest: &Guest, files: &[&str]) -> Result<Self> {
        let script = files.iter().map(|f| format!("grep -H '' {CGROUP}/{f}")).collect::<Vec<_>>().join("; ");
        let mut out = BTreeMap::new();
        for line in guest.run(&script)?.lines() {
            let (path, text) = line.split_once(':').context("a line without its file")?;
            let file = path.rsplit('/').next().unwrap_or_default();
            let words: Vec<&str> = text.split(' ').collect();
            for word in &words {
                if let Some((key, value)) = word.split_once('=').and_then(|(k, v)| Some((k, v.parse().ok()?)))
                {
                    out.insert(format!("{file} {} {key}", words[0]), value);
                }
            }
            match words.as_slice() {
                [one] => _ = one.parse().map(|value| out.insert(file.to_owned(), value)),
                [key, value] => _ = value.parse().map(|value| out.insert(format!("{file} {key}"), value)),
                _ => {}
            }
        }
        Ok(Self(out))
    }

    fn get(&self, key: &str) -> Result<f64> {
        self.0.get(key).copied().with_context(|| format!("the kernel has no {key}: {:?}", self.0))
    }
}

fn ensure_equal(what: &str, told: f64, kernel: f64) -> Result<()> {
    ensure!((told - kernel).abs() <= kernel.abs() * 1e-12, "{what} is told as {told}, it is {kernel}");
    Ok(())
}

/// The size of the writable layer, as `du` finds it on the upper folder of the container's root.
fn layer_is_counted(guest: &Guest) -> Result<Option<()>> {
    let kilobytes = guest.run(&format!(
        "pid=$(head -n 1 {CGROUP}/cgroup.procs); du -sk $(sed -n 's/.* \\/ .*upperdir=\\([^,]*\\).*/\\1/p' /proc/$pid/mountinfo)"
    ))?;
    let kilobytes: f64 = kilobytes.split_whitespace().next().context("du says nothing")?.parse()?;
    ensure!(kilobytes >= 2048.0, "the file is not in the layer: {kilobytes} KB");
    let told = Told::read(guest, "cadvisor")?;
    ensure_equal("the layer", of_container(&told, "container_fs_usage_bytes", &[])?, kilobytes * 1024.0)?;
    Ok(Some(()))
}

/// Volume group and thin pool, as LVM's tools tell of them, before and after more is written.
fn volumes_are_right(guest: &Guest) -> Result<()> {
    let before = wait("the volumes", || compare_volumes(guest))?;
    guest.run("dd if=/dev/urandom of=/mnt/data/more bs=1M count=9 conv=fsync 2>/dev/null; sync")?;
    wait("the volumes with more in them", || {
        let after = compare_volumes(guest)?;
        Ok(after.filter(|after| *after > before + 10.0))
    })?;
    Ok(())
}

/// Gives how full the pool's data is.
fn compare_volumes(guest: &Guest) -> Result<Option<f64>> {
    let report = |what: &str, columns: &str, of: &str| -> Result<Vec<f64>> {
        let options = "--noheadings --nosuffix --units b --separator ,";
        let text = guest.run(&format!("lvm {what} {options} -o {columns} {of} 2>/dev/null"))?;
        text.trim().split(',').map(|n| n.parse().with_context(|| text.clone())).collect()
    };
    let pool = report("lvs", "lv_size,lv_metadata_size,data_percent,metadata_percent", "vg-a/pool")?;
    let group = report("vgs", "vg_size,vg_free,pv_count", "vg-a")?;
    let told = Told::read(guest, "node")?;
    let of_pool = ["vg=\"vg-a\"", "lv=\"pool\""];
    for (family, label, expected) in [
        ("node_lvm_thin_pool_size_bytes", "part=\"data\"", pool[0]),
        ("node_lvm_thin_pool_size_bytes", "part=\"metadata\"", pool[1]),
        ("node_lvm_thin_pool_state", "state=\"rw\"", 1.0),
    ] {
        ensure_equal(label, told.value(family, &[&of_pool[..], &[label]].concat())?, expected)?;
    }
    for (family, expected) in [
        ("node_lvm_volume_group_size_bytes", group[0]),
        ("node_lvm_volume_group_free_bytes", group[1]),
        ("node_lvm_volume_group_physical_volumes", group[2]),
    ] {
        ensure_equal(family, told.value(family, &of_pool[..1])?, expected)?;
    }
    let percents = ["node_lvm_thin_pool_data_percent", "node_lvm_thin_pool_metadata_percent"];
    for (family, expected) in percents.iter().zip(&pool[2..]) {
        let told = told.value(family, &of_pool)?;
        // LVM cuts after the second digit.
        ensure!((told - expected).abs() < 0.01, "{family} is told as {told}, it is {expected}");
    }
    Ok(Some(pool[2]))
}

/// Two tasks that want a processor and one that waits for a frozen file system.
fn load_is_right(guest: &Guest) -> Result<()> {
    guest.run("fsfreeze --freeze /mnt/data && touch /run/go/now")?;
    wait("a task that is blocked", || {
        let states = guest.run(&format!(
            "for t in $(cat {CGROUP}/cgroup.threads); do cut -d ' ' -f 3 /proc/$t/stat; done | sort | tr -d '\\n'"
        ))?;
        Ok((states == "DRR").then_some(()))
    })?;
    wait("the states of tasks and their averages", || {
        let told = Told::read(guest, "cadvisor")?;
        for (state, expected) in [("running", 2.0), ("uninterruptible", 1.0), ("sleeping", 0.0)] {
            let label = format!("state=\"{state}\"");
            ensure_equal(state, of_container(&told, "container_tasks_state", &[&label])?, expected)?;
        }
        // Averages over ten seconds are in thousandths, and come near to what is in half a minute.
        for (family, state, expected) in [
            ("container_cpu_load_average_10s", "running", 2.0),
            ("container_cpu_load_d_average_10s", "blocked", 1.0),
        ] {
            let ten_seconds = of_container(&told, family, &[])? / 1000.0;
            let near = expected * 0.75..=expected * 1.25;
            ensure!(near.contains(&ten_seconds), "{family}: {ten_seconds}");
            let labels = [format!("state=\"{state}\""), "window=\"1m\"".to_owned()];
            let minute =
                of_container(&told, "container_load_average", &labels.each_ref().map(String::as_str))?;
            ensure!(minute > 0.0 && minute <= expected * 1.25, "{state}: {minute} in a minute");
        }
        Ok(Some(()))
    })?;
    guest.run("fsfreeze --unfreeze /mnt/data")?;
    Ok(())
}

/// Everything that counts, of the frozen container.
fn counters_are_right(guest: &Guest) -> Result<()> {
    guest.run(&format!("sync; echo 1 > {CGROUP}/cgroup.freeze"))?;
    wait("the container to stand still", || {
        Ok((Kernel::read(guest, &["cgroup.events"])?.get("cgroup.events frozen")? == 1.0).then_some(()))
    })?;
    wait("the container's figures", || {
        let files = [
            "cpu.stat",
            "memory.current",
            "memory.stat",
            "memory.peak",
            "memory.max",
            "cpu.pressure",
            "memory.pressure",
            "io.pressure",
            "pids.current",
            "io.stat",
        ];
        let kernel = Kernel::read(guest, &files)?;
        let told = Told::read(guest, "cadvisor")?;
        compare_counters(&kernel, &told).map(Some)
    })
}

fn compare_counters(kernel: &Kernel, told: &Told) -> Result<()> {
    for (family, key, scale) in [
        ("container_cpu_usage_seconds_total", "cpu.stat usage_usec", 1e6),
        ("container_cpu_user_seconds_total", "cpu.stat user_usec", 1e6),
        ("container_cpu_system_seconds_total", "cpu.stat system_usec", 1e6),
        ("container_cpu_cfs_periods_total", "cpu.stat nr_periods", 1.0),
        ("container_cpu_cfs_throttled_periods_total", "cpu.stat nr_throttled", 1.0),
        ("container_cpu_cfs_throttled_seconds_total", "cpu.stat throttled_usec", 1e6),
        ("container_memory_usage_bytes", "memory.current", 1.0),
        ("container_memory_rss", "memory.stat anon", 1.0),
        ("container_memory_cache", "memory.stat file", 1.0),
        ("container_memory_max_usage_bytes", "memory.peak", 1.0),
        ("container_spec_memory_limit_bytes", "memory.max", 1.0),
        ("container_pressure_cpu_waiting_seconds_total", "cpu.pressure some total", 1e6),
        ("container_pressure_cpu_stalled_seconds_total", "cpu.pressure full total", 1e6),
        ("container_threads", "pids.current", 1.0),
    ] {
        let expected = kernel.get(key)? / scale;
        ensure!(expected > 0.0, "the test does nothing for {family}");
        ensure_equal(family, of_container(told, family, &[])?, expected)?;
    }
    for (family, key) in [
        ("container_pressure_memory_waiting_seconds_total", "memory.pressure some total"),
        ("container_pressure_memory_stalled_seconds_total", "memory.pressure full total"),
        ("container_pressure_io_waiting_seconds_total", "io.pressure some total"),
        ("container_pressure_io_stalled_seconds_total", "io.pressure full total"),
    ] {
        ensure_equal(family, of_container(told, family, &[])?, kernel.get(key)? / 1e6)?;
    }
    let working_set = kernel.get("memory.current")? - kernel.get("memory.stat inactive_file")?;
    let family = "container_memory_working_set_bytes";
    ensure_equal(family, of_container(told, family, &[])?, working_set)?;
    // What was written to the thin volume passed through devices below it, each with its row.
    let written = kernel.0.iter().filter(|(key, _)| key.starts_with("io.stat ") && key.ends_with(" wbytes"));
    let (rows, most) = written.fold((0, 0.0_f64), |(rows, most), (_, bytes)| (rows + 1, most.max(*bytes)));
    ensure!(most >= 262_144.0, "nothing was written: {:?}", kernel.0);
    let family = "container_fs_writes_bytes_total";
    let of_disks: Vec<f64> =
        told.0.iter().filter(|(s, _)| s.starts_with(family) && s.contains("busy")).map(|(_, v)| *v).collect();
    ensure!(of_disks.len() == rows, "{rows} rows in io.stat, told are {of_disks:?}");
    ensure!(of_disks.contains(&most), "{most} bytes in io.stat, told are {of_disks:?}");
    Ok(())
}

/// The machine's own: the device-mapper's disks, the file system on the thin volume, pressure.
fn machine_is_right(guest: &Guest) -> Result<()> {
    wait("the machine's figures", || {
        let pressure = || -> Result<f64> {
            let text = guest.run("sed -n 's/^some.*total=//p' /proc/pressure/cpu")?;
            Ok(text.trim().parse::<f64>()? / 1e6)
        };
        let name = guest.run("grep -lx vg--a-thin /sys/block/dm-*/dm/name | cut -d / -f 4")?;
        let device = format!("device=\"{}\"", name.trim());
        let disk = guest.run(&format!("grep ' {} ' /proc/diskstats", name.trim()))?;
        let disk: Vec<&str> = disk.split_whitespace().collect();
        let space = guest.run("stat -f -c '%S %b %f %c %d' /mnt/data")?;
        let space = space.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let before = pressure()?;
        let told = Told::read(guest, "node")?;
        let stalled = told.value("node_pressure_cpu_waiting_seconds_total", &[])?;
        // The reading was made up to an interval before it was asked for.
        ensure!(stalled > before - 3.0 && stalled <= pressure()?, "{stalled} beside {before}");
        for (family, at) in [("node_disk_writes_completed_total", 7), ("node_disk_reads_completed_total", 3)]
        {
            ensure_equal(family, told.value(family, &[&device])?, disk[at].parse()?)?;
        }
        let suspended = told.value("node_device_mapper_suspended", &[&device, "name=\"vg--a-thin\""])?;
        ensure_equal("node_device_mapper_suspended", suspended, 0.0)?;
        for (family, expected) in [
            ("node_filesystem_size_bytes", space[0] * space[1]),
            ("node_filesystem_free_bytes", space[0] * space[2]),
            ("node_filesystem_files", space[3]),
            ("node_filesystem_files_free", space[4]),
        ] {
            ensure_equal(family, told.value(family, &["mountpoint=\"/mnt/data\""])?, expected)?;
        }
        ensure_equal("lvm", told.value("node_scrape_collector_success", &["collector=\"lvm\""])?, 1.0)?;
        Ok(Some(()))
    })
}
