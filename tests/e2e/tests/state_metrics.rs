//! The state of the objects of a cluster as metrics, by the real program. The API server is that of the tests.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vedette_e2e::{http, program::Vedette, wait_for};
use vedette_test_apiserver::ApiServer;

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const CLUSTER: &str = "collect: {figures: off, sensor: off}\nkubernetes: [{name: c, kubeconfig_file: kubeconfig, \
    state_metrics: {kinds: [pods, nodes, namespaces], labels: {pods: [app]}, interval: off}}]\n";

fn write_kubeconfig(folder: &Path, server: &ApiServer) -> Result<()> {
    write_kubeconfig_named(folder, "kubeconfig", server)
}

fn write_kubeconfig_named(folder: &Path, file: &str, server: &ApiServer) -> Result<()> {
    let kubeconfig = json!({"current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server.url()}}],
        "users": [{"name": "u", "user": {}}]});
    Ok(std::fs::write(folder.join(file), kubeconfig.to_string())?)
}

fn pod(name: &str, phase: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": "u", "labels": {"app": "web", "own": "x"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}, "status": {"phase": phase}})
}

fn page(vedette: &Vedette, path: &str) -> Result<String> {
    let answer = http::get(vedette.address, path)?;
    ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(answer.text())
}

fn wait_page(vedette: &Vedette, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
    wait_for(what, SOON, || Ok(holds(&page(vedette, "/metrics/kube-state")?).then_some(())))
}

fn phase(name: &str, phase: &str) -> String {
    format!("kube_pod_status_phase{{namespace=\"shop\",pod=\"{name}\",uid=\"u\",phase=\"{phase}\"}} 1\n")
}

#[test]
fn rows_follow_the_objects_and_what_is_forbidden_is_named() -> Result<()> {
    let server = ApiServer::start();
    server.behave(|b| b.forbidden = vec![("list".into(), "nodes".into()), ("watch".into(), "nodes".into())]);
    server.put("/api/v1/pods", pod("a", "Pending"));
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop"}, "status": {"phase": "Active"}}));
    let folder = tempfile::tempdir()?;
    write_kubeconfig(folder.path(), &server)?;
    let mut vedette = Vedette::start(folder.path(), Some(CLUSTER))?;
    vedette.wait_ready(START)?;

    wait_page(&vedette, "the pod", |page| page.contains(&phase("a", "Pending")))?;
    wait_page(&vedette, "the namespace", |page| {
        page.contains("kube_namespace_status_phase{namespace=\"shop\",phase=\"Active\"} 1\n")
    })?;
    let told = page(&vedette, "/metrics/kube-state")?;
    let labels = "kube_pod_labels{namespace=\"shop\",pod=\"a\",uid=\"u\",label_app=\"web\"} 1\n";
    ensure!(told.contains(labels), "only labels that are allowed are told: {told}");
    ensure!(told.contains("# TYPE kube_node_info gauge\n"), "a family without rows is named, too");
    ensure!(!told.contains("kube_node_info{"), "nodes may not be read");

    // Changes, what is new and what is gone.
    server.put("/api/v1/pods", pod("a", "Running"));
    server.put("/api/v1/pods", pod("b", "Failed"));
    wait_page(&vedette, "the changes", |page| {
        page.contains(&phase("a", "Running")) && page.contains(&phase("b", "Failed"))
    })?;
    server.remove("/api/v1/pods", "shop", "a");
    wait_page(&vedette, "the end of a pod", |page| {
        !page.contains("pod=\"a\"") && page.contains("pod=\"b\"")
    })?;

    // What is forbidden is named with the right that is missing, and is told as soon as it is granted.
    wait_for("the missing right", SOON, || {
        let part = vedette.part("cluster c")?;
        let message = part["message"].to_string();
        let is_named = message.contains("nodes") && message.contains("in all namespaces");
        Ok((is_named && part["health"] == "degraded").then_some(()))
    })?;
    let failures = "vedette_k8s_watch_failures_total{cluster=\"c\",resource=\"nodes\"} 0\n";
    let own = page(&vedette, "/metrics")?;
    ensure!(own.contains("vedette_k8s_watch_objects{cluster=\"c\",resource=\"pods\"} 1\n"), "{own}");
    ensure!(!own.contains(failures), "failures are counted: {own}");
    server.behave(|b| b.forbidden.clear());
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}}));
    wait_page(&vedette, "the node", |page| page.contains("kube_node_spec_unschedulable{node=\"n1\"} 1\n"))?;
    wait_for("all well", SOON, || Ok((vedette.part("cluster c")?["health"] == "ok").then_some(())))?;

    // The server is away: what was known stays, and its age is told.
    server.behave(|b| b.fails_with = Some((503, 0)));
    server.compact();
    wait_for("the age of what is known", SOON, || {
        let own = page(&vedette, "/metrics")?;
        let age = "vedette_k8s_watch_age_seconds{cluster=\"c\",resource=\"pods\"} ";
        let told =
            own.lines().find_map(|line| line.strip_prefix(age)).and_then(|age| age.parse::<f64>().ok());
        Ok(told.filter(|age| *age > 0.0).map(drop))
    })?;
    ensure!(page(&vedette, "/metrics/kube-state")?.contains(&phase("b", "Failed")), "what was known stays");
    Ok(())
}

/// Labels of a series, the metric name among them, and its value.
type Series = BTreeMap<BTreeMap<String, String>, f64>;

/// The rows of the page, with these labels where they have none of these names.
fn page_series(vedette: &Vedette, labels: &[(&str, &str)]) -> Result<Series> {
    let mut all = Series::new();
    for line in page(vedette, "/metrics/kube-state")?.lines().filter(|line| !line.starts_with('#')) {
        ensure!(!line.contains('\\'), "nothing is escaped here: {line}");
        let (name, rest) = line.split_once('{').context("no labels")?;
        let (told, value) = rest.rsplit_once("} ").context("no value")?;
        let mut series: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        for pair in told.split_terminator("\",") {
            let (name, value) = pair.split_once("=\"").context("no label")?;
            series.insert(name.to_owned(), value.trim_end_matches('"').to_owned());
        }
        // To PromQL an empty label is none.
        series.retain(|_, value| !value.is_empty());
        series.insert("__name__".to_owned(), name.to_owned());
        ensure!(all.insert(series, value.parse()?).is_none(), "a row is there twice: {line}");
    }
    Ok(all)
}

/// What queries find of a cluster.
fn stored_series(vedette: &Vedette, instance: &str) -> Result<Series> {
    let expr = format!("{{__name__=~\"kube_.+\",job=\"kube-state-metrics\",instance=\"{instance}\"}}");
    let rows = vedette.query(&expr)?.into_iter().map(|(metric, value)| {
        let labels = metric.as_object().context("no labels")?.iter();
        let labels =
            labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        Ok((labels.collect(), value))
    });
    rows.collect()
}

/// Waits until queries find exactly what the page shows; gives how many rows that are.
fn wait_equal(
    vedette: &Vedette,
    what: &str,
    instance: &str,
    holds: impl Fn(&Series) -> bool,
) -> Result<usize> {
    let labels = [("job", "kube-state-metrics"), ("instance", instance)];
    wait_for(what, SOON, || {
        let shown = page_series(vedette, &labels)?;
        Ok((holds(&shown) && shown == stored_series(vedette, instance)?).then_some(shown.len()))
    })
}

fn has_pod(series: &Series, name: &str) -> bool {
    series.keys().any(|labels| labels.get("pod").is_some_and(|pod| pod == name))
}

/// Nothing scrapes the page: the program stores what it shows, and ends what is gone.
#[test]
fn what_is_stored_is_what_the_page_shows() -> Result<()> {
    let server = ApiServer::start();
    server.put("/api/v1/namespaces", json!({"metadata": {"name": "shop"}, "status": {"phase": "Active"}}));
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": true}}));
    server.put("/api/v1/pods", pod("a", "Pending"));
    server.put("/api/v1/pods", pod("b", "Running"));
    let folder = tempfile::tempdir()?;
    write_kubeconfig(folder.path(), &server)?;
    let config = CLUSTER.replace("interval: off", "interval: 1s");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let rows = wait_equal(&vedette, "both pods", "c", |shown| {
        has_pod(shown, "a")
            && has_pod(shown, "b")
            && shown.keys().any(|labels| labels["__name__"] == "kube_node_info")
    })?;
    // Of the namespace and of the node two each, and eleven of each pod, five of which are phases.
    ensure!(rows == 26, "{rows} rows");

    // A value that changes, and one that becomes another series.
    server.put("/api/v1/nodes", json!({"metadata": {"name": "n1"}, "spec": {"unschedulable": false}}));
    server.put("/api/v1/pods", pod("a", "Running"));
    wait_equal(&vedette, "the changes", "c", |shown| {
        let is = |name: &str, label: &str, value: &str, is: f64| {
            shown.iter().any(|(labels, told)| {
                labels["__name__"] == name && labels.get(label).is_some_and(|v| v == value) && *told == is
            })
        };
        is("kube_node_spec_unschedulable", "node", "n1", 0.0) && is("kube_pod_status_phase", "pod", "a", 1.0)
    })?;

    // A pod that is gone ends at once: without an end its series would be found for five minutes.
    server.remove("/api/v1/pods", "shop", "a");
    wait_equal(&vedette, "the end of a pod", "c", |shown| !has_pod(shown, "a") && has_pod(shown, "b"))?;
    ensure!(vedette.query("{pod=\"a\"}")?.is_empty());
    ensure!(vedette.query("count_over_time(kube_pod_info{pod=\"a\"}[1h])")?.len() == 1, "what was is kept");

    // What a scrape would tell of itself, and what is told of this.
    ensure!(vedette.query("up{job=\"kube-state-metrics\",instance=\"c\"} == 1")?.len() == 1);
    let meaning = vedette.get("/api/v1/metadata?metric=kube_pod_info")?;
    ensure!(meaning["data"]["kube_pod_info"][0]["type"] == "gauge", "{meaning}");
    let own = page(&vedette, "/metrics")?;
    for line in [
        "vedette_state_metrics_round_seconds{cluster=\"c\"} ",
        "vedette_state_metrics_refused_rows_total{cluster=\"c\",reason=\"store\"} 0\n",
        "vedette_state_metrics_rounds_total{cluster=\"c\",outcome=\"failed\"} 0\n",
    ] {
        ensure!(own.contains(line), "{line} is not in {own}");
    }
    let part = vedette.part("state metrics c")?;
    let facts = part["facts"].to_string();
    ensure!(part["health"] == "ok", "{part}");
    ensure!(facts.contains("last round") && facts.contains("rows refused in the last round"), "{part}");
    Ok(())
}

/// With several clusters each row says which one it is of, here and on the page.
#[test]
fn rows_of_several_clusters_are_told_apart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let servers = [ApiServer::start(), ApiServer::start()];
    for (server, name) in servers.iter().zip(["east", "west"]) {
        server.put("/api/v1/pods", pod(name, "Running"));
        write_kubeconfig_named(folder.path(), name, server)?;
    }
    let cluster = |name: &str, keys: &str| {
        format!("{{name: {name}, kubeconfig_file: {name}, state_metrics: {{kinds: [pods]{keys}}}}}")
    };
    let (east, west) = (cluster("east", ", interval: 1s"), cluster("west", ", interval: off"));
    let config = format!("collect: {{figures: off, sensor: off}}\nkubernetes: [{east}, {west}]\n");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let east = "kube_pod_info{job=\"kube-state-metrics\",instance=\"east\",cluster=\"east\",pod=\"east\"}";
    wait_for(east, SOON, || Ok((vedette.query(east)?.len() == 1).then_some(())))?;
    let up = wait_for("how the round was", SOON, || {
        Ok(Some(vedette.query("up{job=\"kube-state-metrics\"}")?).filter(|up| !up.is_empty()))
    })?;
    ensure!(up.len() == 1 && up[0].0["cluster"] == "east", "{up:?}");
    wait_page(&vedette, "both clusters", |page| {
        page.contains("pod=\"east\"") && page.contains("pod=\"west\"")
    })?;
    ensure!(vedette.query("{pod=\"west\"}")?.is_empty(), "it is switched off for this cluster");
    Ok(())
}

/// A job of the program's own file stores the page under the name that rules of others expect, and alone: what the
/// program itself stored before ends.
#[test]
fn a_job_stores_the_page() -> Result<()> {
    let server = ApiServer::start();
    server.put("/api/v1/pods", pod("a", "Running"));
    let folder = tempfile::tempdir()?;
    write_kubeconfig(folder.path(), &server)?;
    let job = "global: {scrape_interval: 1s}\nscrape_configs:\n\
        - {job_name: kube-state-metrics, metrics_path: /metrics/kube-state, honor_labels: true, \
        file_sd_configs: [{files: [own.json], refresh_interval: 1s}]}\n";
    std::fs::write(folder.path().join("prometheus.yml"), job)?;
    let config =
        format!("prometheus_config: prometheus.yml\n{CLUSTER}").replace("interval: off", "interval: 1s");
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    let rows = |expr: &str| wait_for(expr, SOON, || Ok((vedette.query(expr)?.len() == 1).then_some(())));
    rows("kube_pod_info{instance=\"c\",pod=\"a\"}")?;
    let own = json!([{"targets": [vedette.address.to_string()]}]);
    std::fs::write(folder.path().join("own.json"), own.to_string())?;
    rows(&format!("kube_pod_info{{instance=\"{}\",pod=\"a\"}}", vedette.address))?;
    rows("absent({instance=\"c\"})")?;
    wait_for("the status to name the job", SOON, || {
        let part = vedette.part("state metrics c")?;
        let names_it = part["facts"].to_string().contains("kube-state-metrics");
        Ok((names_it && part["health"] == "ok").then_some(()))
    })?;
    rows(
        "kube_pod_status_phase{job=\"kube-state-metrics\",namespace=\"shop\",pod=\"a\",phase=\"Running\"} == 1",
    )?;
    server.remove("/api/v1/pods", "shop", "a");
    rows("absent(kube_pod_info{job=\"kube-state-metrics\"})")
}
