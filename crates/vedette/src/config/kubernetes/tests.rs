//! Health endpoints of parts, as they are written.

use super::super::{Overrides, parse, resolve};
use super::*;

fn probes(text: &str) -> Result<Vec<parts::Endpoints>, String> {
    let text = format!("kubernetes: [{{name: c, probes: [{text}]}}]\n");
    let file = parse("v.yml", &text).map_err(|error| error.to_string())?;
    let settings = resolve("v.yml", Path::new("/etc/vedette"), file, Overrides::default());
    settings
        .map(|mut settings| settings.kubernetes.remove(0).parts.endpoints)
        .map_err(|error| error.to_string())
}

#[test]
fn endpoints_are_asked_as_they_are_written() {
    let found = probes(
        "{part: scheduler, endpoints: ['https://10.0.0.1:10259', 'https://10.0.0.2:10259/readyz'],
           ca_file: ca.crt, server_name: kube-scheduler, use_cluster_token: true},
         {part: controller-manager, endpoints: ['https://10.0.0.1:10257'], insecure_skip_verify: true},
         {part: kube-proxy, endpoints: ['http://10.0.0.1:10256']}",
    )
    .expect("valid");
    let parts: Vec<_> = found.iter().map(|one| (one.part, one.urls.len(), one.use_cluster_token)).collect();
    assert_eq!(parts, [("scheduler", 2, true), ("controller-manager", 1, false), ("kube-proxy", 1, false)]);
    let tls = &found[0].client.tls;
    assert_eq!(tls.ca, Some(SecretSource::File("/etc/vedette/ca.crt".into())));
    assert_eq!((&*tls.server_name, tls.insecure_skip_verify), ("kube-scheduler", false));
    assert!(found[1].client.tls.insecure_skip_verify && !found[2].client.tls.insecure_skip_verify);
    assert!(found.iter().all(|one| !one.client.follow_redirects), "what is asked is what is named");
    assert_eq!(probes(""), Ok(Vec::new()));
}

#[test]
fn what_cannot_be_asked_is_refused_by_its_place() {
    let many: Vec<String> = (0..=PROBES_MAX).map(|n| format!("'http://h:{}'", n + 1)).collect();
    let many = format!("{{part: coredns, endpoints: [{}]}}", many.join(", "));
    let url = "endpoints: ['https://h:1']";
    for (text, place, words) in [
        (format!("{{part: kubelet, {url}}}"), "probes[0].part", "kube-proxy, coredns"),
        ("{part: coredns}".to_owned(), "probes[0].endpoints", "at least one"),
        ("{part: coredns, endpoints: [h]}".to_owned(), "probes[0].endpoints", "https://"),
        (format!("{{part: coredns, {url}}}, {{part: coredns, {url}}}"), "probes[1].endpoints", "twice"),
        (
            format!("{{part: coredns, {url}, insecure_skip_verify: true, ca_file: x}}"),
            "probes[0].insecure_skip_verify",
            "ca_file",
        ),
        (
            format!("{{part: coredns, {url}, insecure_skip_verify: true, use_cluster_token: true}}"),
            "probes[0].use_cluster_token",
            "not checked",
        ),
        (
            "{part: coredns, endpoints: ['http://h:1'], use_cluster_token: true}".to_owned(),
            "probes[0].endpoints",
            "encrypted",
        ),
        (many, "probes[0].endpoints", "at most 100"),
        (format!("{{part: coredns, {url}, insecure: true}}"), "insecure", "unknown"),
    ] {
        let error = probes(&text).expect_err(&text);
        assert!(error.contains(place) && error.contains(words), "{text}: {error}");
    }
}
