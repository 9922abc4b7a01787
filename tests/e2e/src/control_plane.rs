//! A real control plane of Kubernetes on loopback: etcd from Debian's package; API server, scheduler and controller
//! manager as the peers lane built them into one program. Nodes are objects only: nothing runs on them.

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{http, parts, program::free_port, wait_for};

/// How long a part may take to start.
const START: Duration = Duration::from_secs(180);
const TOKEN: &str = "of-the-test";

/// A part that runs.
struct Part {
    child: Child,
    log: PathBuf,
}

/// The control plane. All of it is killed when dropped.
pub struct ControlPlane {
    program: PathBuf,
    folder: PathBuf,
    etcd_client: SocketAddr,
    etcd_peer: SocketAddr,
    api: SocketAddr,
    etcd_quota_bytes: u64,
    etcd: Option<Part>,
    apiserver: Option<Part>,
    scheduler: Option<Part>,
    manager: Option<Part>,
    audit: Audit,
}

/// Where the API server tells who asked for what.
enum Audit {
    /// In a file.
    Log,
    /// It sends that to the URL of this file.
    Webhook(PathBuf),
}

/// The program with all parts, if the lane built it.
pub fn program() -> Option<PathBuf> {
    let built = PathBuf::from(std::env::var_os("VEDETTE_KUBERNETES")?).join("kubernetes");
    built.is_file().then_some(built)
}

impl ControlPlane {
    /// Starts etcd, the API server, the scheduler and the controller manager, with their files in `folder`. etcd
    /// takes no more than `etcd_quota_bytes`.
    pub fn start(program: PathBuf, folder: &Path, etcd_quota_bytes: u64) -> Result<Self> {
        let free = || Ok::<_, anyhow::Error>(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let mut plane = Self {
            program,
            folder: folder.to_owned(),
            etcd_client: free()?,
            etcd_peer: free()?,
            api: free()?,
            etcd_quota_bytes,
            etcd: None,
            apiserver: None,
            scheduler: None,
            manager: None,
            audit: Audit::Log,
        };
        plane.write_files()?;
        plane.start_etcd()?;
        plane.start_apiserver()?;
        plane.scheduler = Some(plane.part("kube-scheduler", &["--leader-elect=true"])?);
        // Nodes of tests send no heartbeats, so nobody may draw conclusions from that.
        plane.manager =
            Some(plane.part("kube-controller-manager", &["--controllers=*,-node-lifecycle-controller"])?);
        // Without its default account a namespace takes no pods.
        wait_for("the default service account", START, || {
            Ok(plane.kubectl(&["get", "serviceaccount", "default"]).is_ok().then_some(()))
        })?;
        Ok(plane)
    }

    fn write_files(&self) -> Result<()> {
        fs::create_dir_all(self.folder.join("certificates"))?;
        fs::write(self.folder.join("tokens.csv"), format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
        let accounts = rcgen::KeyPair::generate()?;
        fs::write(self.folder.join("accounts.key"), accounts.serialize_pem())?;
        fs::write(self.folder.join("accounts.pub"), accounts.public_key_pem())?;
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "clusters": [{"name": "test", "cluster": {"server": format!("https://{}", self.api),
                "insecure-skip-tls-verify": true}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}]});
        fs::write(self.kubeconfig(), kubeconfig.to_string())?;
        let changes = json!({"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete"],
            "resources": [{"group": "apps", "resources": ["deployments"]}]});
        let policy = json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [changes, {"level": "Metadata"}]});
        fs::write(self.folder.join("audit-policy"), policy.to_string())?;
        Ok(())
    }

    /// The file in which the API server tells who asked for what.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// From its next start on the API server sends its audit records to a URL, instead of writing them.
    pub fn send_audit_records(&mut self, url: &str) -> Result<()> {
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "sink",
            "contexts": [{"name": "sink", "context": {"cluster": "sink", "user": ""}}],
            "clusters": [{"name": "sink", "cluster": {"server": url}}]});
        let file = self.folder.join("audit-webhook");
        fs::write(&file, kubeconfig.to_string())?;
        self.audit = Audit::Webhook(file);
        Ok(())
    }

    /// The file by which clients reach the API server as its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Where clients reach etcd.
    pub fn etcd_address(&self) -> SocketAddr {
        self.etcd_client
    }

    /// Starts etcd over what it kept.
    pub fn start_etcd(&mut self) -> Result<()> {
        let mut command = Command::new(parts().join("usr/bin/etcd"));
        command.arg("--data-dir").arg(self.folder.join("etcd"));
        for (flag, address) in [("client", self.etcd_client), ("peer", self.etcd_peer)] {
            command.arg(format!("--listen-{flag}-urls=http://{address}"));
        }
        command.arg(format!("--advertise-client-urls=http://{}", self.etcd_client));
        command.arg(format!("--initial-advertise-peer-urls=http://{}", self.etcd_peer));
        command.arg(format!("--initial-cluster=default=http://{}", self.etcd_peer));
        // Nothing of a test must outlive the machine's power.
        command.arg("--unsafe-no-fsync").arg(format!("--quota-backend-bytes={}", self.etcd_quota_bytes));
        let address = self.etcd_client;
        let part = self.etcd.insert(Part::start(&mut command, &self.folder, "etcd")?);
        part.wait("etcd", || Ok(http::get(address, "/health").is_ok_and(|a| a.status == 200)))
    }

    /// Starts the API server.
    pub fn start_apiserver(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let audit = match &self.audit {
            Audit::Log => vec![format!("--audit-log-path={}", self.audit_log().display())],
            Audit::Webhook(file) => vec![
                format!("--audit-webhook-config-file={}", file.display()),
                "--audit-webhook-batch-max-wait=1s".into(),
            ],
        };
        let flags = [
            format!("--audit-policy-file={}", file("audit-policy")),
            format!("--etcd-servers=http://{}", self.etcd_client),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", self.api.port()),
            format!("--cert-dir={}", file("certificates")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            // Nobody reaches the cluster by this address, but one that is not loopback must be told.
            "--endpoint-reconciler-type=none".into(),
        ];
        let mut command = Command::new(&self.program);
        command.arg("kube-apiserver").args(flags).args(audit);
        let part = Part::start(&mut command, &self.folder, "kube-apiserver")?;
        self.apiserver = Some(part);
        let (program, kubeconfig) = (self.program.clone(), self.kubeconfig());
        let Some(part) = &mut self.apiserver else { bail!("BUG: it was started just now") };
        part.wait("the API server", || {
            let ready = kubectl(&program, &kubeconfig, &["get", "--raw", "/readyz"], None);
            Ok(ready.is_ok_and(|text| text == "ok"))
        })
    }

    /// Ends the API server; clients meet a closed port.
    pub fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Ends the scheduler; its lease runs out.
    pub fn stop_scheduler(&mut self) {
        self.scheduler = None;
    }

    /// Ends etcd.
    pub fn stop_etcd(&mut self) {
        self.etcd = None;
    }

    /// Lets etcd do nothing, as on a disk that hangs, or lets it go on.
    pub fn freeze_etcd(&self, freeze: bool) -> Result<()> {
        let etcd = self.etcd.as_ref().context("etcd does not run")?;
        let signal = if freeze { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, &etcd.child.id().to_string()]).status()?;
        ensure!(status.success(), "cannot signal etcd");
        Ok(())
    }

    fn part(&self, name: &str, flags: &[&str]) -> Result<Part> {
        let kubeconfig = self.kubeconfig().display().to_string();
        let mut command = Command::new(&self.program);
        command.arg(name).args(flags);
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            command.arg(format!("{flag}={kubeconfig}"));
        }
        command.args(["--bind-address=127.0.0.1", &format!("--secure-port={}", free_port()?)]);
        command.arg(format!("--cert-dir={}", self.folder.join(name).display()));
        if name == "kube-controller-manager" {
            let key = self.folder.join("accounts.key");
            command.arg(format!("--service-account-private-key-file={}", key.display()));
        }
        Part::start(&mut command, &self.folder, name)
    }

    /// What `kubectl` prints.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(&self.program, &self.kubeconfig(), args, None)
    }

    /// Lists objects as `kubectl get -o json` tells them.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.kubectl(&["get", kind, "--all-namespaces", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Creates an object, or changes it to be so.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubectl(&self.program, &self.kubeconfig(), &args, Some(&object.to_string())).map(drop)
    }

    /// Creates an object.
    pub fn create(&self, object: &Value) -> Result<()> {
        let args = ["create", "-f", "-"];
        kubectl(&self.program, &self.kubeconfig(), &args, Some(&object.to_string())).map(drop)
    }

    /// Creates an object in the name of somebody who may do all.
    pub fn create_as(&self, user: &str, object: &Value) -> Result<()> {
        let user = format!("--as={user}");
        let args = [&user, "--as-group=system:masters", "create", "-f", "-"];
        kubectl(&self.program, &self.kubeconfig(), &args, Some(&object.to_string())).map(drop)
    }

    /// Creates a node that is ready and has this room.
    pub fn add_node(&self, name: &str, cpu: u32, memory_gib: u32) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "z"}}}))?;
        let room = json!({"cpu": cpu.to_string(), "memory": format!("{memory_gib}Gi"), "pods": "110"});
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z"});
        self.patch_status(
            "node",
            name,
            &json!({"capacity": room, "allocatable": room, "conditions": [ready]}),
        )?;
        // The controller manager takes new nodes for unready until a kubelet says otherwise.
        let taint = "node.kubernetes.io/not-ready:NoSchedule-";
        let _untainted = self.kubectl(&["taint", "node", name, taint]);
        Ok(())
    }

    /// Changes the status of an object, as its controller would.
    pub fn patch_status(&self, kind: &str, name: &str, status: &Value) -> Result<()> {
        let patch = json!({ "status": status }).to_string();
        self.kubectl(&["patch", kind, name, "--subresource=status", "--type=merge", "-p", &patch]).map(drop)
    }

    /// Does what kubelets do: pods that were placed run, those that shall end are gone.
    pub fn act_as_kubelets(&self) -> Result<()> {
        for pod in self.list("pods")? {
            let name = pod["metadata"]["name"].as_str().context("a pod without name")?;
            let is_placed = pod["spec"]["nodeName"].is_string();
            if pod["metadata"]["deletionTimestamp"].is_string() {
                self.kubectl(&["delete", "pod", name, "--force", "--grace-period=0", "--wait=false"])?;
            } else if is_placed && pod["status"]["phase"] == "Pending" {
                self.patch_status("pod", name, &running(&pod))?;
            }
        }
        Ok(())
    }
}

/// The status of a pod whose containers run.
fn running(pod: &Value) -> Value {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    // Each pod has an address of its own, made of its name.
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let ip = format!("10.244.{}.{}", (sum >> 8) & 255, sum & 255);
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let statuses: Vec<Value> = (containers.iter())
        .map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": "example.org/image@sha256:0",
                "containerID": format!("containerd://{name}"), "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
        })
        .collect();
    json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1",
        "startTime": "2026-01-01T00:00:00Z", "containerStatuses": statuses,
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]})
}

fn kubectl(program: &Path, kubeconfig: &Path, args: &[&str], input: Option<&str>) -> Result<String> {
    let mut command = Command::new(program);
    command.arg("kubectl").arg(format!("--kubeconfig={}", kubeconfig.display())).args(args);
    command.env("HOME", kubeconfig.parent().context("BUG: the file stands in a folder")?);
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

impl Part {
    fn start(command: &mut Command, folder: &Path, name: &str) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, log })
    }

    fn wait(&mut self, what: &str, is_ready: impl Fn() -> Result<bool>) -> Result<()> {
        // What has ended is not waited for.
        let ended = wait_for(what, START, || match self.child.try_wait()? {
            Some(status) => Ok(Some(Some(status))),
            None => Ok(is_ready()?.then_some(None)),
        })?;
        let Some(status) = ended else { return Ok(()) };
        bail!("{what} ended ({status}): {}", fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // One that is frozen must go on to end.
        let _ = Command::new("kill").args(["-CONT", &self.child.id().to_string()]).status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
