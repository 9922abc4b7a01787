//! Which targets come of the table, and what each is shown.

use vedette_config::{Secret, SecretSource};
use vedette_scrape::Target;

use super::*;
use crate::config::{self, Overrides};

const TOKEN: &str = "0c2d-token";

fn settings(keys: &str) -> ClusterSettings {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("v.yml");
    std::fs::write(&file, format!("kubernetes: [{{name: 'a$1', {keys}}}]\n")).expect("written");
    let mut settings = config::load(Some(&file), Overrides::default()).expect("sound");
    assert!(settings.scrapes());
    settings.kubernetes.remove(0)
}

fn token() -> Auth {
    let credentials = Some(SecretSource::Inline(Secret::new(TOKEN)));
    Auth::Authorization { scheme: "Bearer".into(), credentials }
}

fn pem(name: &str) -> SecretSource {
    SecretSource::File(name.into())
}

/// As a kubeconfig with everything says: a token, a certificate, an authority, and somebody to act as.
fn client() -> HttpClient {
    let tls = ClientTls {
        ca: Some(pem("cluster-ca")),
        identity: Some((pem("cert"), pem("key"))),
        server_name: "api".into(),
        ..ClientTls::default()
    };
    let header = vedette_config::Header {
        name: "Impersonate-User".into(),
        values: vec!["somebody".into()],
        secrets: Vec::new(),
        files: Vec::new(),
    };
    HttpClient { auth: token(), tls, headers: vec![header], ..HttpClient::default() }
}

fn made(keys: &str, client: &HttpClient) -> Vec<OwnJob> {
    let server: Url = "https://api.example:6443/k8s/c/".parse().expect("a URL");
    jobs(&settings(keys), &server, client).expect("jobs")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// What is scraped of what discovery found: URL and labels.
fn target(own: &OwnJob, found: &[(&str, &str)]) -> Option<(String, Labels)> {
    let target = Target::new(&own.job, &labels(found)).expect("usable")?;
    Some((target.url.to_string(), target.labels))
}

/// As discovery tells of a pod with this label.
fn pod<'a>(label: (&'a str, &'a str), ip: &'a str, phase: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        (ADDRESS_LABEL, "10.1.1.1:53"),
        ("__meta_kubernetes_namespace", "kube-system"),
        ("__meta_kubernetes_pod_name", "p"),
        ("__meta_kubernetes_pod_node_name", "n1"),
        ("__meta_kubernetes_pod_ip", ip),
        ("__meta_kubernetes_pod_phase", phase),
        label,
    ]
}

const NODE: [(&str, &str); 3] =
    [(ADDRESS_LABEL, "10.0.0.5:10250"), ("instance", "n1"), ("__meta_kubernetes_node_name", "n1")];

#[test]
fn servers_and_members_are_where_the_configuration_says() {
    let own = made(
        "etcd: {endpoints: ['https://10.0.0.1:2379', 'http://[fd00::2]/m']}, part_metrics: [{parts: [apiserver, etcd]}]",
        &client(),
    );
    let targets = |own: &OwnJob| -> Vec<(String, Labels)> {
        let [Discovery::Static(group)] = &own.job.discoveries[..] else {
            panic!("{:?}", own.job.discoveries)
        };
        let made =
            group.discovered().map(|found| Target::new(&own.job, &found).expect("usable").expect("kept"));
        made.map(|target| (target.url.to_string(), target.labels)).collect()
    };
    let expected = |job, instance| labels(&[("job", job), ("cluster", "a$1"), ("instance", instance)]);
    assert_eq!(
        targets(&own[0]),
        [("https://api.example:6443/k8s/c/metrics".into(), expected("apiserver", "api.example:6443"))]
    );
    assert_eq!(
        targets(&own[1]),
        [
            ("https://10.0.0.1:2379/metrics".into(), expected("etcd", "10.0.0.1:2379")),
            ("http://[fd00::2]/m/metrics".into(), expected("etcd", "[fd00::2]:80")),
        ]
    );
    assert_eq!(
        (&*own[0].job.name, &*own[1].job.name),
        ("part_metrics/a$1/apiserver", "part_metrics/a$1/etcd")
    );
    // The API server is asked as ever; etcd knows nothing of the cluster's token.
    assert_eq!(own[0].job.client, HttpClient { follow_redirects: false, ..client() });
    assert_eq!(own[1].job.client.auth, Auth::None);
    assert_eq!(own[0].job.scrape_interval, Duration::from_secs(30));
}

#[test]
fn kubelets_are_told_apart_by_path_and_node() {
    let own = made("part_metrics: [{parts: [kubelet, cadvisor], interval: 5s}]", &client());
    for (own, path) in own.iter().zip(["/metrics", "/metrics/cadvisor"]) {
        let expected = labels(&[
            ("job", "kubelet"),
            ("cluster", "a$1"),
            ("instance", "10.0.0.5:10250"),
            ("node", "n1"),
            ("metrics_path", path),
        ]);
        assert_eq!(target(own, &NODE), Some((format!("https://10.0.0.5:10250{path}"), expected)));
        assert_eq!((own.job.scrape_interval.as_secs(), own.job.scrape_timeout.as_secs()), (5, 5));
        let [Discovery::Kubernetes(found)] = &own.job.discoveries[..] else { panic!("{own:?}") };
        assert_eq!((found.role, found.known_cluster.as_deref()), (Role::Node, Some("a$1")));
    }
    assert_eq!(own[0].job.discoveries, own[1].job.discoveries, "both share a source");
    assert_ne!(own[0].job.name, own[1].job.name);
}

#[test]
fn pods_are_found_by_the_labels_that_their_makers_give_them() {
    let own =
        made("part_metrics: [{parts: [scheduler, controller-manager, coredns, kube-proxy]}]", &client());
    let expected = [
        ("component", "kube-scheduler", "kube-scheduler", "https", 10259),
        ("component", "kube-controller-manager", "kube-controller-manager", "https", 10257),
        ("k8s_app", "kube-dns", "kube-dns", "http", 9153),
        ("k8s_app", "kube-proxy", "kube-proxy", "http", 10249),
    ];
    for (own, (label, value, job, scheme, port)) in own.iter().zip(expected) {
        let label = format!("__meta_kubernetes_pod_label_{label}");
        for (ip, host) in [("10.1.2.3", "10.1.2.3"), ("fd00::7", "[fd00::7]")] {
            let (url, found) = target(own, &pod((&label, value), ip, "Running")).expect("kept");
            assert_eq!(url, format!("{scheme}://{host}:{port}/metrics"));
            let instance = format!("{host}:{port}");
            let expected = labels(&[
                ("job", job),
                ("cluster", "a$1"),
                ("instance", &instance),
                ("namespace", "kube-system"),
                ("pod", "p"),
                ("node", "n1"),
            ]);
            assert_eq!(found, expected);
        }
        assert_eq!(target(own, &pod((&label, "other"), "10.1.2.3", "Running")), None);
        assert_eq!(target(own, &pod((&label, value), "10.1.2.3", "Failed")), None);
        // Each port that a container names is found by itself, and is one and the same target.
        let mut other = pod((&label, value), "10.1.2.3", "Running");
        other[0].1 = "10.1.2.3:9153";
        assert_eq!(target(own, &other), target(own, &pod((&label, value), "10.1.2.3", "Running")));
        let [Discovery::Kubernetes(found)] = &own.job.discoveries[..] else { panic!("{own:?}") };
        assert_eq!((found.role, &found.namespaces[..]), (Role::Pod, &["kube-system".to_owned()][..]));
    }
}

#[test]
fn a_token_is_shown_only_where_certificates_are_checked() {
    let with = |keys: &str| -> Vec<HttpClient> {
        let keys = format!(
            "etcd: {{endpoints: ['https://h']}}, part_metrics: [{{parts: [scheduler, controller-manager, kubelet, cadvisor]{keys}}}, \
             {{parts: [etcd, coredns, kube-proxy]}}]"
        );
        made(&keys, &client()).into_iter().map(|own| own.job.client).collect()
    };
    let is_checked = |client: &HttpClient| {
        client.auth == token() && !client.tls.insecure_skip_verify && client.headers.is_empty()
    };
    let all = with("");
    for client in &all[..4] {
        assert!(is_checked(client), "{client:?}");
        assert_eq!(client.tls.ca, Some(pem("cluster-ca")));
        assert_eq!(client.tls.identity, Some((pem("cert"), pem("key"))));
        assert_eq!(client.tls.server_name, "", "the name is that of the API server");
    }
    assert!(all[4..].iter().all(|client| client.auth == Auth::None && client.tls.identity.is_none()));
    for client in &with(", ca_file: /own-ca, server_name: s")[..4] {
        assert!(is_checked(client), "{client:?}");
        assert_eq!((&client.tls.ca, &*client.tls.server_name), (&Some(pem("/own-ca")), "s"));
    }
    for client in &with(", insecure_skip_verify: true, cert_file: /c, key_file: /k")[..4] {
        assert_eq!((&client.auth, client.tls.insecure_skip_verify), (&Auth::None, true));
        assert_eq!((&client.tls.identity, &client.tls.ca), (&Some((pem("/c"), pem("/k"))), &None));
    }
    // That the API server's certificate is not checked says nothing of those of others.
    let mut careless = client();
    (careless.tls.insecure_skip_verify, careless.tls.ca) = (true, None);
    let own = made("part_metrics: [{parts: [kubelet]}]", &careless);
    assert!(is_checked(&own[0].job.client), "{:?}", own[0].job.client);
}

#[test]
fn no_secret_is_shown() {
    for own in made("part_metrics: [{parts: [all]}]", &client()) {
        assert!(own.yaml.contains(&format!("job_name: {}", own.job.name)), "{}", own.yaml);
        assert!(!own.yaml.contains(TOKEN) && !format!("{own:?}").contains(TOKEN), "{}", own.yaml);
    }
}
