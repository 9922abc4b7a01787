//! The own metrics of the parts of a cluster, by the real program. The API server is that of the tests; the other
//! parts are small servers.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use vedette_e2e::{program::Vedette, target, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

/// Like nothing else that a log says, names of kinds included.
const TOKEN: &str = "5e8c-token-of-c";
const QUIET: &str = "collect: {figures: off, sensor: off}\n";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A kubelet whose certificate is of this authority.
struct Kubelet {
    address: SocketAddr,
    /// Path and `Authorization` of each question.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Kubelet {
    fn start(authority: &Authority) -> Result<Self> {
        let key = KeyPair::generate()?;
        let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, authority)?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        let config = builder
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let (config, asked) = (Arc::new(config), Arc::<Mutex<Vec<_>>>::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let noted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, noted) = (config.clone(), noted.clone());
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).expect("a sound configuration");
                    let mut stream = StreamOwned::new(connection, stream);
                    while let Some(head) = head(&mut stream) {
                        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                        let authorization = head
                            .lines()
                            .filter_map(|line| line.split_once(": "))
                            .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
                            .map_or_else(String::new, |(_, value)| value.to_owned());
                        let body = match &*path {
                            "/metrics" => "kubelet_running_pods 3\n",
                            _ => {
                                "container_cpu_usage_seconds_total{container=\"c\",namespace=\"shop\",pod=\"p\"} 7\n"
                            }
                        };
                        noted.lock().expect("whole").push((path, authorization));
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { address, asked })
    }

    fn node(&self, name: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {
            "addresses": [{"type": "InternalIP", "address": self.address.ip().to_string()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.address.port()}}}})
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().expect("whole").clone()
    }
}

fn head(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// A cluster whose API server takes the token alone, and the file by which it is reached.
fn cluster(folder: &Path, authority: &Authority) -> Result<ApiServer> {
    let server = ApiServer::start();
    server.behave(|b| b.token = Some(TOKEN.into()));
    server.serve("/metrics", Some("apiserver_request_total{verb=\"GET\"} 42\n".into()));
    std::fs::write(folder.join("ca.crt"), authority.pem())?;
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url(), "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}]});
    std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string())?;
    Ok(server)
}

fn wait_rows(vedette: &Vedette, expr: &str, count: usize) -> Result<()> {
    wait_for(&format!("{count} rows of {expr}"), SOON, || {
        Ok((vedette.query(expr)?.len() == count).then_some(()))
    })
}

fn ensure_no_token(vedette: &Vedette) -> Result<()> {
    for page in
        ["/api/v1/status/config", "/api/v1/targets", "/api/v1/targets?state=any", "/api/vedette/v1/status"]
    {
        let text = vedette.get(page)?.to_string();
        ensure!(!text.contains(TOKEN), "{page} shows a secret: {text}");
    }
    ensure!(!vedette.log().contains(TOKEN), "no secret is logged: {}", vedette.log());
    Ok(())
}

#[test]
fn parts_are_scraped_without_a_file_and_strangers_get_no_token() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (known, strange) = (authority("cluster")?, authority("stranger")?);
    let server = cluster(folder.path(), &known)?;
    let (first, second) = (Kubelet::start(&known)?, Kubelet::start(&strange)?);
    server.put("/api/v1/nodes", first.node("n1"));
    server.put("/api/v1/nodes", second.node("n2"));
    let dns = SocketAddr::from((Ipv4Addr::new(127, 61, 9, 1), 9153));
    target::serve_at(dns, |_, stream| {
        target::answer(stream, 200, "text/plain", b"coredns_dns_requests_total{zone=\".\"} 9\n")
    })?;
    server.put(
        "/api/v1/pods",
        json!({"metadata": {"namespace": "kube-system", "name": "coredns-1", "labels": {"k8s-app": "kube-dns"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "coredns", "image": "i", "ports": [
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "metrics", "containerPort": 9153, "protocol": "TCP"}]}]},
            "status": {"phase": "Running", "podIP": dns.ip().to_string()}}),
    );
    let etcd = target::serve(|path, stream| match path {
        "/metrics" => target::answer(stream, 200, "text/plain", b"etcd_server_has_leader 1\n"),
        _ => target::answer(stream, 200, "application/json", b"{\"health\":\"true\"}"),
    })?;
    // Both reach the same cluster; `d` takes any certificate, and has no other than the token to show.
    let config = format!(
        "{QUIET}kubernetes:\n\
         - {{name: c, kubeconfig_file: kubeconfig, etcd: {{endpoints: ['http://{etcd}']}},\n    \
         part_metrics: [{{parts: [all], interval: 1s}}]}}\n\
         - {{name: d, kubeconfig_file: kubeconfig, part_metrics: [{{parts: [apiserver], interval: 1s}},\n    \
         {{parts: [kubelet], interval: 1s, insecure_skip_verify: true}}]}}\n"
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    for cluster in ["c", "d"] {
        wait_rows(&vedette, &format!("up{{job=\"apiserver\",cluster=\"{cluster}\"}} == 1"), 1)?;
    }
    for family in [
        "apiserver_request_total{job=\"apiserver\",cluster=\"c\",verb=\"GET\"} == 42",
        "etcd_server_has_leader{job=\"etcd\",cluster=\"c\"} == 1",
        "coredns_dns_requests_total{job=\"kube-dns\",cluster=\"c\",namespace=\"kube-system\",pod=\"coredns-1\",node=\"n1\"}",
        "kubelet_running_pods{job=\"kubelet\",cluster=\"c\",metrics_path=\"/metrics\",node=\"n1\"} == 3",
        "container_cpu_usage_seconds_total{job=\"kubelet\",cluster=\"c\",metrics_path=\"/metrics/cadvisor\",node=\"n1\",\
         namespace=\"shop\",pod=\"p\",container=\"c\"} == 7",
        "up{job=\"kubelet\",cluster=\"c\",node=\"n2\",metrics_path=\"/metrics\"} == 0",
        "up{job=\"kubelet\",cluster=\"d\",node=\"n2\"} == 1",
    ] {
        wait_rows(&vedette, family, 1)?;
    }
    let shown = |kubelet: &Kubelet| kubelet.asked().into_iter().any(|(_, who)| who.contains(TOKEN));
    ensure!(shown(&first), "who is known is shown the token: {:?}", first.asked());
    ensure!(!shown(&second), "a stranger is not: {:?}", second.asked());
    ensure!(second.asked().iter().all(|(path, _)| path == "/metrics"), "{:?}", second.asked());

    // Targets are seen as all are, with the reason.
    let (targets, bad) = wait_for("two targets that are down", SOON, || {
        let targets = vedette.targets()?;
        let is_down = |target: &&Value| target["health"] == "down";
        let bad: Vec<Value> = targets.iter().filter(is_down).cloned().collect();
        Ok((bad.len() == 2).then_some((targets, bad)))
    })?;
    ensure!(
        bad.iter().all(|target| target["labels"]["node"] == "n2"
            && target["labels"]["cluster"] == "c"
            && target["lastError"].as_str().is_some_and(|error| error.contains("x509"))),
        "{bad:?}"
    );
    ensure!(targets.iter().any(|target| target["scrapePool"] == "part_metrics/d/kubelet"), "{targets:?}");
    let part = vedette.part("cluster c part metrics")?;
    ensure!(part["health"] == "ok" && part.to_string().contains("kube-proxy"), "{part}");
    ensure!(vedette.query("up{job=\"kube-dns\",cluster=\"c\"}")?.len() == 1, "one target for a pod");
    ensure_no_token(&vedette)?;

    // Nodes and pods come and go.
    server.remove("/api/v1/nodes", "", "n2");
    server.remove("/api/v1/pods", "kube-system", "coredns-1");
    wait_rows(&vedette, "up{job=\"kubelet\"}", 3)?;
    wait_rows(&vedette, "up{job=\"kube-dns\"}", 0)
}

#[test]
fn parts_stay_when_a_file_is_read_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _server = cluster(folder.path(), &authority("cluster")?)?;
    let write = |job: &str, address: SocketAddr| {
        let text = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), text)
    };
    let target = target::serve(|_, stream| target::answer(stream, 200, "text/plain", b"a 1\n"))?;
    write("one", target)?;
    let config = format!(
        "{QUIET}prometheus_config: prometheus.yml\n\
         kubernetes: [{{name: c, kubeconfig_file: kubeconfig, part_metrics: [{{parts: [apiserver], interval: 1s}}]}}]\n"
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let of_part = "apiserver_request_total{job=\"apiserver\",cluster=\"c\"} == 42";
    wait_rows(&vedette, of_part, 1)?;
    wait_rows(&vedette, "up{job=\"one\"} == 1", 1)?;

    write("two", target)?;
    let hang_up = || Command::new("kill").args(["-HUP", &vedette.pid().to_string()]).status();
    ensure!(hang_up()?.success(), "cannot send SIGHUP");
    wait_rows(&vedette, "up{job=\"two\"} == 1", 1)?;
    wait_rows(&vedette, "up{job=\"one\"}", 0)?;
    // It goes on, and nothing of it is repeated or lost meanwhile.
    let scrapes = |at_least: f64| -> Result<()> {
        wait_for("further scrapes", SOON, || {
            let rows = vedette.query("count_over_time(up{job=\"apiserver\"}[5m])")?;
            Ok((rows.len() == 1 && rows[0].1 >= at_least).then_some(()))
        })
    };
    scrapes(vedette.query("count_over_time(up{job=\"apiserver\"}[5m])")?[0].1 + 3.0)?;
    wait_rows(&vedette, of_part, 1)?;
    ensure!(vedette.query("up{job=\"apiserver\"} == 0")?.is_empty(), "no scrape failed");

    // Their names are nobody else's.
    write("part_metrics/c/apiserver", target)?;
    ensure!(hang_up()?.success(), "cannot send SIGHUP");
    wait_for("the refusal", SOON, || {
        let part = vedette.part("prometheus_config")?.to_string();
        Ok((part.contains("reserved") && part.contains("part_metrics/c/apiserver")).then_some(()))
    })?;
    wait_rows(&vedette, "up{job=\"two\"} == 1", 1)?;
    let config = vedette.get("/api/v1/status/config")?.to_string();
    ensure!(config.contains("job_name: two"), "{config}");
    ensure_no_token(&vedette)
}

#[test]
fn an_agent_sends_the_metrics_of_parts_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _server = cluster(folder.path(), &authority("cluster")?)?;
    let samples = folder.path().join("samples.jsonl");
    let config = format!(
        "{QUIET}export: {{sinks: [{{name: file, match: ['apiserver_request_total'], file: {{path: '{}'}}}}]}}\n\
         kubernetes: [{{name: c, kubeconfig_file: kubeconfig, part_metrics: [{{parts: [apiserver], interval: 1s}}]}}]\n",
        samples.display()
    );
    let mut vedette = Vedette::start_as("agent", folder.path(), &config)?;
    vedette.wait_ready(START)?;
    wait_for("a sample", SOON, || {
        let text = std::fs::read_to_string(&samples).unwrap_or_default();
        Ok((text.contains("apiserver_request_total") && text.contains("\"cluster\":\"c\"")).then_some(()))
    })?;
    ensure_no_token(&vedette)
}

#[test]
fn credentials_that_a_program_makes_anew_are_taken_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let known = authority("cluster")?;
    let server = cluster(folder.path(), &known)?;
    let kubelet = Kubelet::start(&known)?;
    server.put("/api/v1/nodes", kubelet.node("n1"));
    let credential = folder.path().join("credential.json");
    let tell = |token: &str| {
        // It has ended already, so that the program is asked each time.
        let told = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"}});
        // Never half written.
        let new = folder.path().join("new.json");
        std::fs::write(&new, told.to_string()).and_then(|()| std::fs::rename(&new, &credential))
    };
    tell(TOKEN)?;
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url(), "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
            "command": "cat", "args": [credential], "interactiveMode": "Never"}}}]});
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
    let config = format!(
        "{QUIET}kubernetes: [{{name: c, kubeconfig_file: kubeconfig, capacity: off,\n  \
         part_metrics: [{{parts: [apiserver, kubelet], interval: 1s}}]}}]\n"
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_rows(&vedette, "up{cluster=\"c\"} == 1", 2)?;

    let next = "other-5e8c-token";
    tell(next)?;
    server.behave(|b| b.token = Some(next.into()));
    wait_for("the new token", SOON, || {
        let asked = kubelet.asked();
        Ok(asked.last().is_some_and(|(_, who)| who.ends_with(next)).then_some(()))
    })?;
    wait_rows(&vedette, "up{cluster=\"c\"} == 1", 2)?;
    ensure_no_token(&vedette)
}
