//! Which workload is this, and what a cluster tells of its objects, by the real program. The API server is that
//! of the tests.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{is_root, program::Vedette, skip, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const PODS: &str = "/api/v1/pods";
const EVENTS: &str = "/api/v1/events";

fn uid(number: u32) -> String {
    format!("{number:08x}-aaaa-bbbb-cccc-dddddddddddd")
}

fn id(number: u32) -> String {
    format!("{:064x}", 0xfeed_0000_u64 + u64::from(number))
}

fn pod(number: u32, address: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": format!("web-5d9c-{number}"), "uid": uid(number),
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d9c", "controller": true}]},
        "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": [{"name": "app", "image": "web:1"}]},
        "status": {"phase": "Running", "podIP": address, "containerStatuses":
            [{"name": "app", "containerID": format!("containerd://{}", id(number))}]}})
}

fn replica_set() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web-5d9c", "uid": "rs",
        "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": true}]}})
}

fn event(name: &str, reason: &str, count: u32) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": format!("uid-of-{name}")},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-5d9c-1", "uid": uid(1)},
        "reason": reason, "message": format!("told by {name}"), "type": "Warning", "count": count,
        "source": {"component": "kubelet"}})
}

/// A configuration that watches the server.
fn config(server: &ApiServer, folder: &std::path::Path, more: &str) -> Result<String> {
    let kubeconfig = json!({"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}]});
    fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
    Ok(format!("kubernetes: [{{name: main, kubeconfig_file: kubeconfig}}]\n{more}"))
}

/// Asks until the first pod of the answer is this one of this workload, or there is none where none is expected.
fn wait_workload(vedette: &Vedette, question: &str, expected: Option<(&str, &str)>) -> Result<Value> {
    let target = format!("/api/vedette/v1/workloads?{question}");
    wait_for(&format!("{expected:?} of {question}"), SOON, || {
        // Before the cluster is reached, nobody knows any.
        let Ok(answer) = vedette.get(&target) else { return Ok(None) };
        let first = answer["pods"].get(0);
        let name = first.map(|pod| {
            (
                pod["k8s.pod.name"].as_str().unwrap_or("?"),
                pod["vedette.workload.name"].as_str().unwrap_or("?"),
            )
        });
        Ok((name == expected).then(|| answer.clone()))
    })
}

/// Reason and count of the events that a search finds, in order of arrival.
fn told(vedette: &Vedette, filters: &str) -> Result<Vec<(String, u64)>> {
    let mut events = vedette.events(&format!("kind=kubernetes&limit=1000&{filters}"))?;
    events.reverse();
    let one = |event: &Value| {
        (
            event["k8s.event.reason"].as_str().unwrap_or("?").to_owned(),
            event["k8s.event.count"].as_u64().unwrap_or(0),
        )
    };
    Ok(events.iter().map(one).collect())
}

fn wait_told(vedette: &Vedette, expected: &[(&str, u64)]) -> Result<()> {
    let expected: Vec<(String, u64)> =
        expected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    wait_for(&format!("{expected:?}"), SOON, || {
        let told = told(vedette, "")?;
        ensure!(told.len() <= expected.len(), "more than is expected: {told:?}");
        Ok((told == expected).then_some(()))
    })
}

#[test]
fn pods_are_found_by_what_names_them_also_when_they_are_gone() -> Result<()> {
    let server = ApiServer::start();
    let folder = tempfile::tempdir()?;
    let config = config(&server, folder.path(), "collect: {figures: off, sensor: off}\n")?;
    server.put(PODS, pod(1, "10.0.0.7"));
    server.put("/apis/apps/v1/replicasets", replica_set());
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let one = Some(("web-5d9c-1", "web"));
    let answer = wait_workload(&vedette, &format!("container={}", id(1)), one)?;
    ensure!(answer["workloads"][0]["vedette.workload.kind"] == "Deployment", "{answer}");
    ensure!(answer["pods"][0]["gone_unix_ms"].is_null(), "{answer}");
    for question in [
        "ip=10.0.0.7".to_owned(),
        format!("uid={}", uid(1)),
        format!("cgroup=/kubepods/burstable/pod{}/{}", uid(1), id(1)),
        "service_account=system:serviceaccount:shop:web".to_owned(),
    ] {
        wait_workload(&vedette, &question, one)?;
    }
    // The pod goes, and another gets its address. Each is told for its time.
    server.remove(PODS, "shop", "web-5d9c-1");
    wait_workload(&vedette, "ip=10.0.0.7", None)?;
    let gone = wait_workload(&vedette, &format!("container={}", id(1)), one)?;
    let gone_ms = gone["pods"][0]["gone_unix_ms"].as_i64().unwrap_or_default();
    ensure!(gone_ms > 0, "{gone}");
    server.put(PODS, pod(2, "10.0.0.7"));
    wait_workload(&vedette, "ip=10.0.0.7", Some(("web-5d9c-2", "web")))?;
    let before = (gone_ms - 1) as f64 / 1000.0;
    wait_workload(&vedette, &format!("ip=10.0.0.7&time={before}"), one)?;
    // One that comes back after a trouble finds what has changed meanwhile.
    server.behave(|b| b.fails_with = Some((503, 0)));
    server.remove(PODS, "shop", "web-5d9c-2");
    server.put(PODS, pod(3, "10.0.0.8"));
    server.compact();
    wait_for("the trouble on the status page", SOON, || {
        Ok(vedette.part("workloads main")?.to_string().contains("503").then_some(()))
    })?;
    wait_workload(&vedette, "ip=10.0.0.7", Some(("web-5d9c-2", "web")))?;
    server.behave(|b| b.fails_with = None);
    wait_workload(&vedette, "ip=10.0.0.8", Some(("web-5d9c-3", "web")))?;
    wait_workload(&vedette, "ip=10.0.0.7", None)?;
    // What was known before a kill is known after it, and a pod that went meanwhile is gone, though nobody saw it.
    server.put(PODS, pod(4, "10.0.0.9"));
    wait_workload(&vedette, "ip=10.0.0.9", Some(("web-5d9c-4", "web")))?;
    // It is asked for as soon as it is taken, and written just after that.
    wait_for("what is known on disk", SOON, || {
        let folder = folder.path().join("data/workloads/main.pods");
        let all =
            fs::read_dir(folder)?.map(|file| Ok(fs::read(file?.path())?)).collect::<Result<Vec<_>>>()?;
        Ok(all.concat().windows(10).any(|bytes| bytes == b"web-5d9c-4").then_some(()))
    })?;
    vedette.kill()?;
    server.remove(PODS, "shop", "web-5d9c-3");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_workload(&vedette, "ip=10.0.0.8", None)?;
    wait_workload(&vedette, "ip=10.0.0.9", Some(("web-5d9c-4", "web")))?;
    wait_workload(&vedette, &format!("ip=10.0.0.7&time={before}"), one)?;
    let again = wait_workload(&vedette, &format!("container={}", id(1)), one)?;
    ensure!(again["pods"] == gone["pods"], "{again} is not {gone}");
    let unseen = wait_workload(&vedette, &format!("uid={}", uid(3)), Some(("web-5d9c-3", "web")))?;
    ensure!(unseen["pods"][0]["gone_unseen"] == true, "{unseen}");
    ensure!(gone["pods"][0]["gone_unseen"] == false, "{gone}");
    for (question, reason) in [("", "exactly one"), ("ip=x", "address"), ("ip=10.0.0.7&uid=1", "exactly one")]
    {
        let refused = vedette.get(&format!("/api/vedette/v1/workloads?{question}"));
        ensure!(
            refused.as_ref().is_err_and(|e| format!("{e:#}").contains(reason)),
            "{question}: {refused:?}"
        );
    }
    Ok(())
}

#[test]
fn events_of_a_cluster_are_stored_once_each_over_troubles_and_restarts() -> Result<()> {
    let server = ApiServer::start();
    let folder = tempfile::tempdir()?;
    let config = config(&server, folder.path(), "collect: {figures: off, sensor: off}\n")?;
    server.put(PODS, pod(1, "10.0.0.7"));
    server.put("/apis/apps/v1/replicasets", replica_set());
    server.put(EVENTS, event("a", "BackOff", 1));
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_told(&vedette, &[("BackOff", 1)])?;
    wait_workload(&vedette, &format!("uid={}", uid(1)), Some(("web-5d9c-1", "web")))?;
    server.put(EVENTS, event("b", "Unhealthy", 1));
    wait_told(&vedette, &[("BackOff", 1), ("Unhealthy", 1)])?;
    let found = vedette.events("kind=kubernetes&text=unhealthy+web-5d9c-1+shop+pod")?;
    ensure!(found.len() == 1 && found[0]["vedette.workload.name"] == "web", "{found:?}");
    ensure!(found[0]["vedette.k8s.event.note"] == "told by b", "{found:?}");
    ensure!(told(&vedette, "text=other")?.is_empty());

    // The connection breaks, and the states of before are forgotten: all is listed again.
    server.behave(|b| b.fails_with = Some((503, 0)));
    server.put(EVENTS, event("a", "BackOff", 2));
    server.compact();
    wait_for("the trouble on the status page", SOON, || {
        Ok(vedette.part("events main")?.to_string().contains("503").then_some(()))
    })?;
    server.behave(|b| b.fails_with = None);
    let three = [("BackOff", 1), ("Unhealthy", 1), ("BackOff", 2)];
    wait_told(&vedette, &three)?;

    // A restart, and one after a crash, with something new each time.
    vedette.terminate(START)?;
    server.put(EVENTS, event("c", "Killing", 5));
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(START)?;
    ensure!(told(&vedette, "")?.len() == 3, "without a cluster nothing comes: {:?}", told(&vedette, "")?);
    vedette.kill()?;
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let four = [three[0], three[1], three[2], ("Killing", 5)];
    wait_told(&vedette, &four)?;
    server.put(EVENTS, event("d", "Pulled", 1));
    wait_told(&vedette, &[four[0], four[1], four[2], four[3], ("Pulled", 1)])
}

/// Cgroups as a kubelet makes them. They go with the value.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn make(pod: &str, container: &str) -> Result<Self> {
        let root = PathBuf::from("/sys/fs/cgroup");
        let mut made = Self(Vec::new());
        for tree in ["", "memory", "cpu", "cpuacct", "blkio", "pids", "unified"].map(|tree| root.join(tree)) {
            if !tree.join("cgroup.procs").exists() {
                continue;
            }
            let parent = tree.join(format!("vedette-pod{pod}"));
            for folder in [parent.clone(), parent.join(container)] {
                // Controllers that are mounted together are one place under two names.
                if !folder.exists() {
                    fs::create_dir(&folder)?;
                    made.0.push(folder);
                }
            }
        }
        Ok(made)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.0.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

#[test]
fn a_container_that_no_runtime_tells_of_gets_pod_and_workload_from_the_cluster() -> Result<()> {
    if !is_root() {
        skip!("workloads: cgroups", "cgroups need root");
    }
    let server = ApiServer::start();
    let folder = tempfile::tempdir()?;
    let config = config(
        &server,
        folder.path(),
        "collect: {sensor: off, runtime_sockets: [/nowhere.sock], interval: 1s}\n",
    )?;
    server.put(PODS, pod(1, "10.0.0.7"));
    server.put("/apis/apps/v1/replicasets", replica_set());
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_workload(&vedette, &format!("container={}", id(1)), Some(("web-5d9c-1", "web")))?;
    // The one is known before its cgroup comes, the other after.
    let _cgroups = [Cgroups::make(&uid(1), &id(1))?, Cgroups::make(&uid(2), &id(2))?];
    let expr = |number: u32| {
        format!(
            "container_memory_working_set_bytes{{namespace=\"shop\",pod=\"web-5d9c-{number}\",container=\"app\"}}"
        )
    };
    wait_for("figures of the first", SOON, || Ok((vedette.query(&expr(1))?.len() == 1).then_some(())))?;
    let starts = wait_for("the start of the first", SOON, || {
        let events = vedette.events(&format!("kind=container_start&container={}", id(1)))?;
        Ok(Some(events).filter(|events| !events.is_empty()))
    })?;
    let start = &starts[0];
    ensure!(start["k8s.pod.name"] == "web-5d9c-1" && start["k8s.pod.uid"] == uid(1).as_str(), "{start}");
    ensure!(
        start["vedette.workload.kind"] == "Deployment" && start["vedette.workload.name"] == "web",
        "{start}"
    );
    ensure!(vedette.query(&expr(2))?.is_empty());
    server.put(PODS, pod(2, "10.0.0.8"));
    wait_for("figures of the second", SOON, || Ok((vedette.query(&expr(2))?.len() == 1).then_some(())))?;
    let containers = vedette.get("/api/vedette/v1/containers")?;
    let is_second = |one: &&Value| one["container.id"] == id(2).as_str();
    let second = containers["containers"].as_array().into_iter().flatten().find(is_second).cloned();
    ensure!(
        second
            .as_ref()
            .is_some_and(|one| one["container.name"] == "app" && one["vedette.workload.name"] == "web"),
        "{second:?}"
    );
    Ok(())
}

#[test]
fn a_container_without_a_pod_is_found_once_and_is_over_when_it_ends() -> Result<()> {
    if !is_root() {
        skip!("workloads: containers without pod", "cgroups need root");
    }
    let server = ApiServer::start();
    let folder = tempfile::tempdir()?;
    let config = config(
        &server,
        folder.path(),
        "collect: {sensor: off, runtime_sockets: [/nowhere.sock], interval: 1s}\n\
         notify: {group_wait: 1s, receivers: [{name: log, file: {path: notifications.jsonl}}]}\n",
    )?;
    let config = config.replace("name: main", "name: main, node: n1");
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}}));
    server.put(PODS, pod(11, "10.0.0.7"));
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_for("a judgement", SOON, || {
        let part = vedette.part("containers without pod main");
        Ok(part.is_ok_and(|part| part["health"] == "ok").then_some(()))
    })?;
    let of_pod = Cgroups::make(&uid(11), &id(11))?;
    // The watches go on, but nobody can say whether what they told is all.
    server.behave(|b| b.is_store_frozen = true);
    let stray = Cgroups::make("by-hand", &id(12))?;
    // Other tests may run containers on this machine: only these count.
    let findings = |vedette: &Vedette, state: &str| -> Result<Vec<Value>> {
        let events = vedette.events("kind=finding&limit=1000&text=container-without-pod")?;
        let of = |event: &&Value| {
            let id_of = &event["finding"]["labels"]["container_id"];
            (*id_of == id(11).as_str() || *id_of == id(12).as_str()) && event["finding"]["state"] == state
        };
        Ok(events.iter().filter(of).cloned().collect())
    };
    wait_for("the doubt", SOON, || {
        let part = vedette.part("containers without pod main")?;
        let message = part["message"].as_str().unwrap_or_default();
        Ok(message.contains("the API server does not say").then_some(()))
    })?;
    ensure!(findings(&vedette, "firing")?.is_empty(), "{:?}", findings(&vedette, "firing")?);
    server.behave(|b| b.is_store_frozen = false);
    let found =
        wait_for("the finding", SOON, || Ok(Some(findings(&vedette, "firing")?).filter(|f| !f.is_empty())))?;
    ensure!(
        found.len() == 1 && found[0]["finding"]["labels"]["container_id"] == id(12).as_str(),
        "{found:?}"
    );
    let told = || -> Result<usize> {
        let text = fs::read_to_string(folder.path().join("data/notifications.jsonl")).unwrap_or_default();
        Ok(text.lines().filter(|line| line.contains(&id(12)) && line.contains("\"firing\"")).count())
    };
    wait_for("the notification", SOON, || Ok((told()? > 0).then_some(())))?;
    let before = told()?;
    // A restart finds it again and does not tell of it again; then it ends.
    vedette.terminate(START)?;
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_for("a judgement", SOON, || {
        let part = vedette.part("containers without pod main");
        Ok(part.is_ok_and(|part| part["health"] == "ok").then_some(()))
    })?;
    drop(stray);
    wait_for("its end", SOON, || Ok((findings(&vedette, "resolved")?.len() == 1).then_some(())))?;
    ensure!(findings(&vedette, "firing")?.len() == 1, "{:?}", findings(&vedette, "firing")?);
    ensure!(told()? == before, "it was told again");
    drop(of_pod);
    Ok(())
}
