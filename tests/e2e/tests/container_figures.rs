//! What is told of real containers is what the kernel says and what is known of their load; what
//! their runtime goes through, and what others come and go, leaves it as it is.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vedette_e2e::{
    containers::{self, Containerd},
    docker::{self, Docker},
    program::Vedette,
    skip, wait_for,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// What figures may differ by.
const TOLERANCE: f64 = 0.02;
/// Processor time and memory that the container of the known load uses.
const LOAD_SECONDS: u32 = 5;
const LOAD_BYTES: u32 = 128 << 20;

/// On a machine that is busy with other work.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);

/// A script that uses that memory and that processor time and then sleeps. It goes by what the kernel has
/// counted for itself and its children, in hundredths of a second: a limit (`ulimit -t`) ends it by the
/// number of ticks of the clock that it was seen at, which are too many or too few on a busy machine.
fn known_load() -> String {
    let (megabytes, hundredths) = (LOAD_BYTES >> 20, LOAD_SECONDS * 100);
    format!(
        "dd if=/dev/zero of=/mem/x bs=1M count={megabytes}
        used=0
        while [ $used -lt {hundredths} ]; do
            i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done
            read -r stat < /proc/self/stat
            set -- ${{stat##*) }}
            used=$((${{12}} + ${{13}} + ${{14}} + ${{15}}))
        done
        exec sleep 1000"
    )
}

/// The only value of a query, once there is one.
fn value(vedette: &Vedette, query: &str) -> Result<f64> {
    wait_for(query, PATIENCE, || Ok(vedette.query(query)?.first().map(|(_, value)| *value)))
}

/// Vedette that asks this runtime.
fn start(folder: &Path, socket: &Path) -> Result<Vedette> {
    let config = format!(
        "collect: {{runtime_sockets: ['{}']}}\ncollectors: {{containers: {{labels: [team]}}}}\n",
        socket.display()
    );
    let mut vedette = Vedette::start(folder, Some(&config))?;
    vedette.wait_ready(Duration::from_secs(60))?;
    Ok(vedette)
}

/// The first number in the first of these files that there is.
fn kernel(files: &[String], key: &str) -> Result<f64> {
    let text = files.iter().find_map(|f| fs::read_to_string(f).ok()).with_context(|| format!("{files:?}"))?;
    let line = text.lines().find(|l| l.starts_with(key)).context("a line")?;
    let number = line.rsplit(' ').next().unwrap_or(line).trim();
    Ok(number.parse()?)
}

fn near(told: f64, known: f64, what: &str) -> Result<()> {
    ensure!((told - known).abs() <= known * TOLERANCE, "{what}: told {told}, known {known}");
    Ok(())
}

#[test]
fn figures_are_the_kernel_s_and_the_known_load_and_outlive_the_runtime_and_the_container() -> Result<()> {
    if let Some(reason) = containers::unavailable() {
        skip!("container figures", "{reason}");
    }
    let folder = tempfile::tempdir()?;
    let mut containerd = Containerd::start(&folder.path().join("containerd"))?;
    let vedette = start(folder.path(), &containerd.socket())?;

    let load = known_load();
    let mount = ["--mount", "type=tmpfs,src=tmpfs,dst=/mem,options=size=256m"];
    containerd.run("load", &mount, &load)?;
    let cgroup = containerd.cgroup("load");
    let under = |hierarchy: &str, file: &str| format!("/sys/fs/cgroup/{hierarchy}{cgroup}/{file}");
    let cpu = || {
        let files = [under("unified", "cpu.stat"), under("", "cpu.stat")];
        kernel(&files, "usage_usec").map(|micros| micros / 1e6)
    };
    let processes = [under("unified", "cgroup.procs"), under("", "cgroup.procs")];
    wait_for("the end of the load", LOAD_PATIENCE, || {
        let left = processes.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let name = fs::read_to_string(format!("/proc/{}/comm", left.trim())).unwrap_or_default();
        Ok((name.trim() == "sleep").then_some(()))
    })?;
    let named = |metric: &str| format!("{metric}{{name=\"load\"}}");
    let known = wait_for("the last of the processor time", PATIENCE, || {
        // The sleep may still be on its way to rest.
        let known = cpu()?;
        let told = value(&vedette, &named("container_cpu_usage_seconds_total"))?;
        Ok(((told - known).abs() < 0.001).then_some(known))
    })?;
    near(known, f64::from(LOAD_SECONDS), "processor time of the known load")?;
    let memory = || kernel(&[under("memory", "memory.usage_in_bytes"), under("", "memory.current")], "");
    near(value(&vedette, &named("container_memory_usage_bytes"))?, memory()?, "memory as the kernel counts")?;
    let set = value(&vedette, &named("container_memory_working_set_bytes"))?;
    near(set, f64::from(LOAD_BYTES), "memory of the known load")?;
    println!("{known} s and {set} bytes for {LOAD_SECONDS} s and {LOAD_BYTES} bytes");

    // One is killed for memory, and one is over within 150 ms.
    containerd.run(
        "greedy",
        &["--memory-limit", "16777216"],
        "sleep 1; exec dd if=/dev/zero of=/dev/null bs=64M count=9",
    )?;
    // Where there is swap, it would be used instead; the files are those of one version of cgroups or the other.
    let greedy = containerd.cgroup("greedy");
    let _ = fs::write(format!("/sys/fs/cgroup{greedy}/memory.swap.max"), "0");
    let _ = fs::write(format!("/sys/fs/cgroup/memory{greedy}/memory.memsw.limit_in_bytes"), "16777216");
    containerd.run("brief", &[], "i=0; while [ $i -lt 8000 ]; do i=$((i+1)); done; sleep 0.1")?;
    let processes = |tree: &str| format!("/sys/fs/cgroup{tree}{}/cgroup.procs", containerd.cgroup("greedy"));
    let processes = [processes("/unified"), processes("")];
    wait_for("the end of the greedy one", PATIENCE, || {
        let left = processes.iter().find_map(|file| fs::read_to_string(file).ok());
        Ok(left.is_none_or(|text| text.is_empty()).then_some(()))
    })?;
    containerd.remove("greedy");
    ensure!(processes.iter().all(|file| !Path::new(file).exists()), "its cgroup is gone");
    let killed = "container_oom_events_total{name=\"greedy\"}";
    wait_for("the kill", PATIENCE, || {
        Ok(vedette.query(killed)?.first().filter(|(_, n)| *n >= 1.0).map(drop))
    })?;
    // It has other labels before its runtime tells of it.
    let used = value(&vedette, "max(max_over_time(container_cpu_usage_seconds_total{name=\"brief\"}[5m]))")?;
    ensure!(used > 0.002, "it counted for longer than that: {used}");

    // The runtime goes: all else goes on, and it is told.
    let part = format!("runtime.{}", containerd.socket().display());
    let health = |wanted: &str| {
        wait_for(&format!("{part} {wanted}"), PATIENCE, || {
            let Ok(state) = vedette.part(&part) else { return Ok(None) };
            Ok((state["health"] == wanted).then_some(state))
        })
    };
    health("ok")?;
    containerd.kill()?;
    let state = health("degraded")?;
    ensure!(state["remedy"].as_str().is_some_and(|r| !r.is_empty()), "{state}");
    let fresh = format!("time() - timestamp({})", named("container_memory_usage_bytes"));
    wait_for("figures that go on", PATIENCE, || Ok((value(&vedette, &fresh)? < 5.0).then_some(())))?;
    ensure!(vedette.query(killed)?.first().is_some_and(|(_, n)| *n >= 1.0), "the kill is still told");
    containerd.restart()?;
    health("ok")?;
    containerd.run("later", &[], "exec sleep 1000")?;
    let image = format!("container_memory_usage_bytes{{name=\"later\",image=\"{}\"}}", containers::IMAGE);
    value(&vedette, &image)?;
    Ok(())
}

#[test]
fn a_real_docker_tells_names_and_allowed_labels() -> Result<()> {
    if let Some(reason) = docker::unavailable() {
        skip!("docker", "{reason}");
    }
    let folder = tempfile::tempdir()?;
    let mut docker = Docker::start(&folder.path().join("docker"))?;
    let vedette = start(folder.path(), &docker.socket())?;
    let labels = json!({"team": "a", "token": "secret"});
    let id = docker.run("web", &labels, "dd if=/dev/zero of=/x bs=1M count=3; exec sleep 1000")?;
    let rows = wait_for("the container's name", PATIENCE, || {
        Ok(Some(vedette.query("container_info{name=\"web\"}")?).filter(|rows| !rows.is_empty()))
    })?;
    let info = &rows[0].0;
    ensure!(info["runtime"] == "docker" && info["image"] == docker::IMAGE, "{info}");
    ensure!(info["id"].as_str().is_some_and(|cgroup| cgroup.ends_with(&id)), "{info}");
    ensure!(info["container_label_team"] == "a" && !info.to_string().contains("secret"), "{info}");
    // The first figure may be from before the file was whole; it is counted anew after a minute.
    wait_for("what it has written", 2 * PATIENCE, || {
        let written = vedette.query("container_fs_usage_bytes{name=\"web\"}")?;
        Ok(written.first().filter(|(_, bytes)| *bytes >= f64::from(3 << 20)).map(drop))
    })?;
    let name = format!("runtime.{}", docker.socket().display());
    wait_for("the state of the runtime", PATIENCE, || {
        // It is told some time after the containers are.
        let Ok(part) = vedette.part(&name) else { return Ok(None) };
        Ok((part["health"] == "ok" && part.to_string().contains("docker ")).then_some(()))
    })?;
    docker.remove(&id)?;
    wait_for("its end", PATIENCE, || {
        Ok(vedette.query("container_info{name=\"web\"}")?.is_empty().then_some(()))
    })?;
    Ok(())
}

/// Cgroups of a test, gone when it is dropped.
struct Cgroups(std::path::PathBuf);

impl Cgroups {
    fn make(&self, number: usize) -> Result<()> {
        Ok(fs::create_dir(self.0.join(format!("{number:064x}")))?)
    }

    fn remove(&self, number: usize) -> Result<()> {
        Ok(fs::remove_dir(self.0.join(format!("{number:064x}")))?)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_thousand_cgroups_and_fifty_lives_a_second_leave_nothing_behind() -> Result<()> {
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let Some(tree) = unified.iter().find(|p| p.join("cgroup.procs").is_file()) else {
        skip!("churn", "there is no cgroup tree of version 2");
    };
    let cgroups = Cgroups(tree.join(format!("vedette-churn-{}", std::process::id())));
    if let Err(error) = fs::create_dir(&cgroups.0) {
        skip!("churn", "no cgroup can be made: {error}");
    }
    let folder = tempfile::tempdir()?;
    let vedette = start(folder.path(), &folder.path().join("none.sock"))?;
    let ours = |number: &str| {
        format!(
            "count(container_cpu_usage_seconds_total{{id=~\"/vedette-churn-{}/{number}\"}})",
            std::process::id()
        )
    };
    let files = || fs::read_dir(format!("/proc/{}/fd", vedette.pid())).map(Iterator::count);
    value(&vedette, "vedette_host_series{reader=\"container\"}")?;
    let before = files()?;
    (0..1_000).try_for_each(|i| cgroups.make(i))?;
    wait_for("a thousand cgroups", PATIENCE, || {
        Ok(vedette.query(&ours(".*"))?.first().filter(|(_, n)| *n >= 1_000.0).map(drop))
    })?;
    let series = value(&vedette, "vedette_host_series{reader=\"container\"}")?;
    // Each lives for a second; what is first is always there.
    for second in 0..5 {
        for i in 0..50 {
            cgroups.make(10_000 + second * 50 + i)?;
            if second > 0 {
                cgroups.remove(10_000 + (second - 1) * 50 + i)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // A busy machine may be late; what stands still is later.
        let stalled = value(&vedette, "time() - timestamp(node_load1)")?;
        ensure!(stalled < 30.0, "collection stands still for {stalled} s");
    }
    (10_200..10_250).try_for_each(|i| cgroups.remove(i))?;
    (0..1_000).try_for_each(|i| cgroups.remove(i))?;
    wait_for("their end", PATIENCE, || Ok(vedette.query(&ours(".*"))?.is_empty().then_some(())))?;
    wait_for("the end of their series", PATIENCE, || {
        let left = value(&vedette, "vedette_host_series{reader=\"container\"}")?;
        // Restarts are remembered for longer, of a bounded number of names.
        Ok((left < series / 4.0 && files()? < before + 50).then_some(()))
    })?;
    Ok(())
}
