//! Discovery of the objects of a cluster by the real program. The API server is that of the tests.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

/// Like nothing else that a log says, names of kinds included.
const TOKEN: &str = "9a1c-token-of-c";

const CONFIG: &str = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";

/// A pod whose only port is where `vedette` itself listens, so that it can be scraped.
fn pod(name: &str, vedette: &Vedette) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i",
            "ports": [{"name": "http", "containerPort": vedette.address.port(), "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": vedette.address.ip().to_string()}})
}

fn wait_rows(vedette: &Vedette, expr: &str, count: usize) -> Result<()> {
    wait_for(&format!("{count} rows of {expr}"), SOON, || {
        Ok((vedette.query(expr)?.len() == count).then_some(()))
    })
}

#[test]
fn objects_of_a_cluster_are_scraped_as_they_come_and_go() -> Result<()> {
    let server = ApiServer::start();
    server.behave(|b| b.token = Some(TOKEN.into()));
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("token"), format!("{TOKEN}\n"))?;
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}]});
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string())?;
    // Two jobs that want the same pods, in two ways to say so, and one of services.
    let relabel = "relabel_configs: [{source_labels: [__meta_kubernetes_pod_name], target_label: pod}, \
        {source_labels: [__meta_kubernetes_namespace], target_label: namespace}]";
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - {{job_name: pods, kubernetes_sd_configs: [{{role: pod, kubeconfig_file: kubeconfig}}], {relabel}}}\n\
         - {{job_name: web, kubernetes_sd_configs: [{{role: pod, kubeconfig_file: kubeconfig, \
         attach_metadata: {{node: true}}}}], {relabel}}}\n\
         - {{job_name: services, kubernetes_sd_configs: [{{role: service, kubeconfig_file: kubeconfig}}]}}\n"
    );
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}}));
    server.put("/api/v1/pods", pod("a", &vedette));
    wait_rows(&vedette, "up{job=\"pods\",namespace=\"shop\",pod=\"a\"} == 1", 1)?;
    wait_rows(&vedette, "up{job=\"web\",pod=\"a\"} == 1", 1)?;
    server.put("/api/v1/pods", pod("b", &vedette));
    wait_rows(&vedette, "up{job=\"pods\"} == 1", 2)?;
    let targets = vedette.get("/api/v1/targets")?.to_string();
    ensure!(targets.contains("\"__meta_kubernetes_pod_label_app\":\"web\""), "{targets}");
    let asked = server.asked();
    let lists =
        asked.iter().filter(|a| a.target.contains("/pods?") && a.target.contains("sendInitialEvents"));
    ensure!(lists.count() == 1, "both jobs share one watch: {asked:?}");

    // The server is away, and its states of before are forgotten: targets stay, and the reason is shown.
    server.behave(|b| b.fails_with = Some((503, 0)));
    wait_for("the trouble on the status page", SOON, || {
        let part = vedette.part("discovery")?.to_string();
        Ok((part.contains("503") && part.contains("pods") && part.contains("is kept")).then_some(()))
    })?;
    wait_rows(&vedette, "up{job=\"pods\"} == 1", 2)?;
    server.remove("/api/v1/pods", "shop", "a");
    server.compact();
    server.behave(|b| b.fails_with = None);
    wait_rows(&vedette, "up{job=\"pods\"}", 1)?;
    wait_rows(&vedette, "up{job=\"web\",pod=\"b\"} == 1", 1)?;

    // A token that is changed is read again; a right that is missing is named.
    server.behave(|b| {
        b.token = Some("other".into());
        b.forbidden = vec![("list".into(), "services".into()), ("watch".into(), "services".into())];
    });
    std::fs::write(folder.path().join("token"), "other\n")?;
    server.put("/api/v1/pods", pod("c", &vedette));
    wait_rows(&vedette, "up{job=\"pods\"} == 1", 2)?;
    wait_for("the missing right", SOON, || {
        let part = vedette.part("discovery")?.to_string();
        Ok((part.contains("may not watch services in all namespaces") && part.contains("grant"))
            .then_some(()))
    })?;
    ensure!(!vedette.log().contains(TOKEN), "no secret is logged: {}", vedette.log());
    Ok(())
}
