//! Whole files: defaults, what is handed on from `global`, what is shown, other files, refusals.

use std::{path::Path, time::Duration};

use vedette_model::{ADDRESS_LABEL, Labels, NameScheme, RelabelAction};
use vedette_sys::{Fs as _, SimFs};

use super::*;
use crate::{
    Auth, SecretSource,
    discovery::{Discovery, DnsRecord, Role},
};

fn no_env(_: &str) -> Option<String> {
    None
}

fn read_as(mode: Mode, text: &str) -> std::result::Result<Config, String> {
    let fs = SimFs::new(1);
    let surroundings = Surroundings { fs: &fs, env: &no_env };
    parse(Path::new("/etc/p.yml"), text, mode, surroundings).map_err(|e| e.to_string())
}

fn sound(text: &str) -> Config {
    read_as(Mode::Server, text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn jobs(rest: &str) -> String {
    format!("scrape_configs:\n- job_name: a\n{rest}")
}

#[test]
fn an_empty_file_has_all_defaults() {
    let config = sound("");
    let seconds = Duration::from_secs;
    assert_eq!(
        (config.global.scrape_interval, config.global.scrape_timeout, config.global.evaluation_interval),
        (seconds(60), seconds(10), seconds(60))
    );
    assert_eq!((config.gogc, config.storage.max_exemplars), (75, 100_000));
    assert_eq!(config.otlp.translation_strategy, TranslationStrategy::UnderscoreEscapingWithSuffixes);
    assert!(config.scrape_jobs.is_empty() && config.tracing.is_none());
    let shown = config.to_yaml();
    assert!(shown.contains("scrape_interval: \"1m\"") || shown.contains("scrape_interval: 1m"), "{shown}");
}

#[test]
fn a_job_has_what_global_says_unless_it_says_otherwise() {
    let config = sound(
        "global: {scrape_interval: 20s, scrape_timeout: 15s, sample_limit: 7, body_size_limit: 1MB,\n  \
         always_scrape_classic_histograms: true, scrape_failure_log_file: fail.log}\n\
         scrape_configs:\n- {job_name: a}\n- {job_name: b, scrape_interval: 5s, sample_limit: 9, \
         always_scrape_classic_histograms: false, scrape_native_histograms: true}\n",
    );
    let [a, b] = config.scrape_jobs.as_slice() else { panic!("{config:?}") };
    let seconds = Duration::from_secs;
    assert_eq!((a.scrape_interval, a.scrape_timeout, a.limits.samples), (seconds(20), seconds(15), 7));
    assert_eq!((b.scrape_interval, b.scrape_timeout, b.limits.samples), (seconds(5), seconds(5), 9));
    assert_eq!((a.limits.body_bytes, b.limits.body_bytes), (1 << 20, 1 << 20));
    assert_eq!((a.always_scrape_classic_histograms, b.always_scrape_classic_histograms), (true, false));
    assert_eq!(a.scrape_failure_log_file.as_deref(), Some(Path::new("/etc/fail.log")));
    assert_eq!(a.scrape_protocols[0], ScrapeProtocol::OpenMetricsText100);
    assert_eq!(b.scrape_protocols[0], ScrapeProtocol::PrometheusProto);
    assert_eq!((a.metrics_path.as_str(), a.scheme.as_str(), a.honor_timestamps), ("/metrics", "http", true));
    assert_eq!((a.escaping, a.name_scheme), (EscapingScheme::AllowUtf8, NameScheme::Utf8));
    assert_eq!((a.line, b.line), (4, 5));
}

#[test]
fn schemes_of_names_bring_their_escaping() {
    let config = sound(
        "global: {metric_name_validation_scheme: legacy}\nscrape_configs:\n- {job_name: a}\n\
         - {job_name: b, metric_name_validation_scheme: utf8}\n\
         - {job_name: c, metric_name_escaping_scheme: values}\n",
    );
    let found: Vec<_> = config.scrape_jobs.iter().map(|j| (j.name_scheme, j.escaping)).collect();
    assert_eq!(
        found,
        [
            (NameScheme::Legacy, EscapingScheme::Underscores),
            (NameScheme::Utf8, EscapingScheme::AllowUtf8),
            (NameScheme::Legacy, EscapingScheme::Values),
        ]
    );
}

#[test]
fn discovery_of_each_kind_that_runs_is_typed() {
    let config = sound(&jobs(
        "  static_configs: [{targets: ['x:1', 'y:2'], labels: {l: v}}]\n  \
         file_sd_configs: [{files: [t/*.json]}]\n  \
         http_sd_configs: [{url: 'https://u:pw@h/x', bearer_token: tok}]\n  \
         dns_sd_configs: [{names: [n], type: a, port: 9}]\n  \
         consul_sd_configs: [{server: 'c:1', username: u, password: p}]\n  \
         docker_sd_configs: [{host: 'unix:///s'}]\n  \
         kubernetes_sd_configs: [{role: pod, namespaces: {names: [n]}, attach_metadata: {node: true}}]\n  \
         ec2_sd_configs: [{region: r}]\n",
    ));
    let all = &config.scrape_jobs[0].discoveries;
    let kinds: Vec<_> = all.iter().map(Discovery::kind).collect();
    assert_eq!(kinds, ["static", "file", "http", "dns", "consul", "docker", "kubernetes", "ec2"]);
    let Discovery::Static(group) = &all[0] else { panic!() };
    assert_eq!(group.targets[1], Labels::from_pairs([(ADDRESS_LABEL, "y:2")]));
    let Discovery::File(file) = &all[1] else { panic!() };
    assert_eq!(file.files, [Path::new("/etc/t/*.json")]);
    let Discovery::Http(http) = &all[2] else { panic!() };
    let Auth::Authorization { scheme, credentials: Some(SecretSource::Inline(token)) } = &http.client.auth
    else {
        panic!("{http:?}")
    };
    assert_eq!((scheme.as_str(), token.expose()), ("Bearer", "tok"));
    let Discovery::Dns(dns) = &all[3] else { panic!() };
    assert_eq!((dns.record, dns.port), (DnsRecord::A, 9));
    let Discovery::Consul(consul) = &all[4] else { panic!() };
    assert!(matches!(consul.client.auth, Auth::Basic { .. }) && consul.allow_stale);
    let Discovery::Kubernetes(k8s) = &all[6] else { panic!() };
    assert!(k8s.role == Role::Pod && k8s.attach_metadata.node && k8s.namespaces == ["n"]);
    let shown = config.to_yaml();
    assert!(!shown.contains("pw") && !shown.contains("tok\n") && shown.contains("u:xxxxx@h"), "{shown}");
}

#[test]
fn external_labels_take_the_environment() {
    let fs = SimFs::new(1);
    let env = |name: &str| (name == "WHO").then(|| "me".to_owned());
    let surroundings = Surroundings { fs: &fs, env: &env };
    let text = "global: {external_labels: {a: 'x-${WHO}', b: $NOBODY, c: $$WHO}}";
    let config = parse(Path::new("p.yml"), text, Mode::Server, surroundings).expect("sound");
    assert_eq!(config.global.external_labels, Labels::from_pairs([("a", "x-me"), ("c", "$WHO")]));
}

#[test]
fn null_regex_and_null_texts_of_rules_are_empty() {
    let config = sound(&jobs("  relabel_configs: [{regex: , target_label: t, replacement: r}]\n"));
    let rule = config.scrape_jobs[0].relabel[0].config();
    assert_eq!((rule.regex(), rule.replacement(), rule.action), ("", "r", RelabelAction::Replace));
}

#[test]
fn jobs_come_from_other_files_too() {
    let fs = SimFs::new(1);
    let put = |name: &str, text: &str| {
        fs.create_dir_all(Path::new("/etc/jobs")).expect("a folder");
        fs.put(Path::new(name), text.as_bytes().to_vec());
    };
    put("/etc/p.yml", "scrape_config_files: ['jobs/*.yml']\nscrape_configs: [{job_name: own}]\n");
    put("/etc/jobs/b.yml", "scrape_configs: [{job_name: b, tls_config: {ca_file: ca.pem}}]\n");
    put("/etc/jobs/a.yml", "scrape_configs: [{job_name: a}]\n");
    put("/etc/jobs/c.txt", "nonsense");
    let surroundings = Surroundings { fs: &fs, env: &no_env };
    let load = || load(Path::new("/etc/p.yml"), Mode::Server, surroundings).map_err(|e| e.to_string());
    let config = load().expect("sound");
    let names: Vec<_> = config.scrape_jobs.iter().map(|j| j.name.as_str()).collect();
    assert_eq!(names, ["own", "a", "b"]);
    let ca = config.scrape_jobs[2].client.tls.ca.clone();
    assert_eq!(ca, Some(SecretSource::File("/etc/jobs/ca.pem".into())));
    assert_eq!(config.scrape_config_files, [Path::new("/etc/jobs/*.yml")]);
    for name in names {
        let yaml = config.job_to_yaml(name).expect("shown");
        assert!(yaml.starts_with(&format!("job_name: {name}\n")), "{yaml}");
    }
    assert_eq!(config.job_to_yaml("c"), None);
    put("/etc/jobs/d.yml", "scrape_configs:\n- job_name: own\n");
    let error = load().expect_err("twice");
    assert!(error.starts_with("/etc/jobs/d.yml:2:") && error.contains("\"own\""), "{error}");
    put("/etc/jobs/d.yml", "scrape_configs:\n- job_nam: x\n");
    let error = load().expect_err("unknown key");
    assert!(error.starts_with("/etc/jobs/d.yml:2:3: scrape_configs[0].job_nam"), "{error}");
}

#[test]
fn an_agent_takes_no_rules_and_no_alerts() {
    for text in [
        "rule_files: [a.yml]",
        "remote_read: [{url: 'http://h'}]",
        "alerting: {alert_relabel_configs: [{action: labeldrop, regex: a}]}",
        "alerting: {alertmanagers: [{static_configs: [{targets: ['a:1']}]}]}",
    ] {
        assert!(read_as(Mode::Agent, text).expect_err(text).contains("agent mode"));
        sound(text);
    }
    read_as(Mode::Agent, "remote_write: [{url: 'http://h'}]\nalerting:\nrule_files: []").expect("sound");
}

#[test]
fn a_refusal_names_line_key_and_reason() {
    for (text, words) in [
        ("glob: {}", &["/etc/p.yml:1:1: glob", "no key"][..]),
        ("global:\n  scrape_interval: 1", &[":2:", "global.scrape_interval", "15s"]),
        ("global: {scrape_interval: 5s, scrape_timeout: 6s}", &["scrape_timeout"]),
        ("global:\n  sample_limit: '5'", &[":2:", "quotes"]),
        ("global:\n  sample_limit: -5", &["-5", "0 or more"]),
        ("global: {scrape_protocols: []}", &["cannot be empty"]),
        ("global: {scrape_protocols: [PrometheusProto, PrometheusProto]}", &["duplicated"]),
        ("global: {external_labels: {a: [b]}}", &["external_labels.a", "a list"]),
        ("global: {external_labels: {a: b, a: c}}", &["twice"]),
        (&jobs("  scheme: http\n  scheme: https\n"), &["p.yml:4:3", "scheme", "twice", "line 3"]),
        (&jobs("  tls_config: {cert_file: x}\n"), &["tls_config.cert_file", "key_file"]),
        (&jobs("  basic_auth: {password: a, password_file: b}\n"), &["password_file", "only one"]),
        (&jobs("  basic_auth: {username_ref: a}\n"), &["username_ref", "username_file"]),
        (&jobs("  authorization: {type: Basic}\n"), &["basic_auth"]),
        (&jobs("  oauth2: {client_id: a}\n"), &["token_url"]),
        (&jobs("  oauth2: {client_id: a, token_url: 'ftp://x'}\n"), &["'http' or 'https'"]),
        (&jobs("  no_proxy: a\n"), &["no_proxy", "proxy_url"]),
        (&jobs("  http_headers: {Host: {values: [a]}}\n"), &["http_headers.Host", "reserved"]),
        (&jobs("  honor_labels: maybe\n"), &["true or false", "maybe"]),
        (&jobs("  static_configs: [null]\n"), &["static_configs[0]", "empty or null"]),
        (&jobs("  file_sd_configs: [{files: [a.txt]}]\n"), &["a.txt", ".json"]),
        (&jobs("  file_sd_configs: [{files: ['*/a.json']}]\n"), &["last part"]),
        (&jobs("  dns_sd_configs: [{names: [a], type: A}]\n"), &["port"]),
        (&jobs("  http_sd_configs: [{url: 'http://h:99999'}]\n"), &["invalid URL", "port"]),
        (&jobs("  metrics_path: [a]\n"), &["p.yml:3:17", "metrics_path", "a list"]),
        ("scrape_configs: {}", &["scrape_configs", "write a list"]),
        ("remote_write: [{url: 'http://h', queue_config: {max_backoff: 1ms}}]", &["max_backoff"]),
        ("remote_write: [{url: 'http://h', sigv4: {}, basic_auth: {}}]", &["sigv4", "only one"]),
        ("remote_write: [{url: 'http://h', azuread: {}}]", &["azuread", "required"]),
        ("alerting: {alertmanagers: [{api_version: v1}]}", &["api_version", "v2"]),
        ("storage: {tsdb: {retention: {percentage: .nan}}}", &["percentage"]),
        ("rule_files: ['a*/b']", &["rule_files", "last part"]),
        ("- a", &["write a mapping"]),
    ] {
        let error = read_as(Mode::Server, text).expect_err(text);
        for word in words {
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
    }
}

#[test]
fn a_signed_assertion_has_claims_of_any_kind() {
    let config = sound(&jobs(
        "  oauth2: {client_id: a, token_url: 'http://h', client_certificate_key: hush, claims: {n: 1, s: '1', \
         l: [true, {x: z}]}, grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}\n",
    ));
    let Auth::OAuth2(oauth2) = &config.scrape_jobs[0].client.auth else { panic!("{config:?}") };
    let assertion = oauth2.assertion.as_ref().expect("one");
    let claims: Vec<String> = assertion.claims.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(claims, ["n=1", "s=\"1\"", "l=[true,{\"x\":\"z\"}]"]);
    let shown = config.to_yaml();
    assert!(shown.contains("s: \"1\"") && !shown.contains("hush"), "{shown}");
    assert_eq!(sound(&shown.replace("<secret>", "hush")).scrape_jobs[0].client, config.scrape_jobs[0].client);
}

#[test]
fn ways_to_prove_who_one_is_to_a_cloud_become_those_of_a_client() {
    let written =
        |auth: &str| sound(&format!("remote_write: [{{url: 'http://h', {auth}}}]")).remote_write.remove(0);
    let write = written("sigv4: {region: r, access_key: a, secret_key: hush, service_name: x}");
    let Auth::SigV4(sigv4) = &write.client.auth else { panic!("{write:?}") };
    let secret = sigv4.secret_key.as_ref().map(|key| key.expose());
    assert_eq!((sigv4.region.as_str(), secret, write.cloud_auth), ("r", Some("hush"), None));
    for (cloud, url, scope) in [
        ("", "https://login.microsoftonline.com/t/oauth2/v2.0/token", "https://monitor.azure.com//.default"),
        (
            "cloud: AzureChina, ",
            "https://login.chinacloudapi.cn/t/oauth2/v2.0/token",
            "https://monitor.azure.cn//.default",
        ),
        ("scope: mine, ", "https://login.microsoftonline.com/t/oauth2/v2.0/token", "mine"),
    ] {
        let write = written(&format!(
            "azuread: {{{cloud}oauth: {{client_id: 00000000-0000-0000-0000-000000000000, client_secret: hush, tenant_id: t}}}}"
        ));
        let Auth::OAuth2(oauth2) = &write.client.auth else { panic!("{write:?}") };
        assert_eq!(
            (oauth2.token_url.as_str(), oauth2.scopes.as_slice()),
            (url, [scope.to_owned()].as_slice())
        );
    }
    for (auth, expected) in [
        ("sigv4: {region: r, role_arn: a}", CloudAuth::SigV4Role),
        ("azuread: {managed_identity: {client_id: a}}", CloudAuth::AzureAd),
        ("google_iam: {credentials_file: a}", CloudAuth::GoogleIam),
    ] {
        let write = written(auth);
        assert_eq!((write.cloud_auth, &write.client.auth), (Some(expected), &Auth::None), "{auth}");
    }
    let text = "alerting: {alertmanagers: [{sigv4: {region: r, access_key: a, secret_key: hush}}]}";
    assert!(matches!(sound(text).alerting.alertmanagers[0].client.auth, Auth::SigV4(_)));
}

#[test]
fn secrets_are_in_no_debug_output() {
    let config = sound(&jobs(
        "  basic_auth: {username: u, password: hush}\n  \
         http_headers: {X-Key: {secrets: [hush2]}}\n",
    ));
    let debug = format!("{config:?}{}", config.to_yaml());
    assert!(!debug.contains("hush"), "{debug}");
}
