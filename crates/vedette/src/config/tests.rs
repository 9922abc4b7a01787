use super::*;

fn settings(text: &str) -> Result<Settings, Error> {
    let file = parse("v.yml", text)?;
    resolve("v.yml", Path::new("/etc/vedette"), file, Overrides::default())
}

#[test]
fn an_empty_file_means_the_defaults() {
    let defaults = settings("").expect("defaults");
    assert_eq!(defaults.listen.to_string(), "127.0.0.1:9090");
    assert_eq!(defaults.interval, Duration::from_secs(1));
    assert_eq!(defaults.metrics.retention, Duration::from_secs(15 * 86_400));
    assert_eq!(defaults.events.retention_bytes, 2 << 30);
    let rollups: Vec<(u64, u64)> =
        defaults.rollups.iter().map(|r| (r.step.as_secs(), r.retention.as_secs() / 86_400)).collect();
    assert_eq!(rollups, [(300, 90), (3600, 730)]);
    assert_eq!(settings("metrics: {rollups: []}\n").expect("none").rollups, []);
    assert_eq!((defaults.query.concurrency, defaults.query.concurrency_per_client), (20, 15));
    assert_eq!((defaults.query.cache, defaults.query.log_file), (64 << 20, None));
    assert_eq!(defaults.otlp_delta, vedette_ingest::DeltaHandling::Refused);
    let delta = |word: &str| settings(&format!("receive: {{otlp: {{delta: {word}}}}}\n"));
    assert_eq!(delta("convert").expect("valid").otlp_delta, vedette_ingest::DeltaHandling::Converted);
    assert!(delta("add").expect_err("refused").to_string().contains("receive.otlp.delta"));
    assert_eq!(defaults.graphite, None);
    let graphite = settings("receive: {graphite: {listen: ':2003'}}\n").expect("valid").graphite;
    assert_eq!(graphite, Some(std::net::SocketAddr::from(([127, 0, 0, 1], 2003))));
    assert_eq!(settings("# only a comment\n").expect("defaults"), settings("").expect("defaults"));
}

#[test]
fn a_full_file_is_read() {
    let s = settings(
        "listen: localhost:9999\ncollect: {interval: 500ms, figures: off, sensor: off}\nmetrics: {retention: 1d12h, flush_interval: always, admin_api: true,\n  retention_rules: [{selector: '{job=\"x\"}', keep: 90d}],\n  limits: {memory: 2GiB, series: 0, series_per_metric: 5, tenant_label: org}}\n\
         query: {timeout: 30s, max_concurrency: 4, memory: 1GiB, total_memory: 10%, cache: off, slow: 1s, log_file: q.log}\n\
         rules: {builtin: false, files: [a.yml]}\nnotify:\n  receivers:\n  - name: ops\n    severity: warning\n    webhook: {url: 'http://127.0.0.1:1/x'}\n  - name: log\n    file: {path: n.jsonl}\n",
    )
    .expect("valid");
    assert_eq!(s.listen.to_string(), "127.0.0.1:9999");
    assert!(!s.sensor && !s.figures);
    assert!(s.admin_api && s.retention_rules.len() == 1);
    assert_eq!(s.retention_rules[0].retention_ms, 90 * 86_400_000);
    assert_eq!(s.retention_rules[0].matchers[0].to_string(), "job=\"x\"");
    assert_eq!((s.limits.memory, s.limits.series), (MemoryLimit::Bytes(2 << 30), 1 << 30));
    assert_eq!((s.limits.series_per_metric, s.limits.series_per_target), (5, 0));
    assert_eq!(s.limits.tenant_label, "org");
    assert_eq!((s.query.timeout.as_secs(), s.query.concurrency_per_client, s.query.cache), (30, 3, 0));
    assert_eq!((s.query.memory, s.query.total_memory), (1 << 30, MemoryLimit::Percent(10)));
    assert_eq!(s.metrics.flush_interval, None);
    assert_eq!(s.metrics.retention, Duration::from_secs(129_600));
    assert_eq!(s.rule_files, [PathBuf::from("/etc/vedette/a.yml")]);
    assert_eq!(s.receivers.len(), 2);
    assert_eq!(s.receivers[0].severity, vedette_model::Severity::Warning);
}

#[test]
fn a_server_gathers_nothing_of_its_machine() {
    let text = "prometheus_config: p.yml\nscrape: {start_timestamps: zero, type_and_unit_labels: true}\n";
    let with = |text: &str, role, prometheus_config| {
        let file = parse("v.yml", text).expect("valid");
        let overrides = Overrides { role, prometheus_config, ..Overrides::default() };
        resolve("v.yml", Path::new("/etc/vedette"), file, overrides).expect("valid")
    };
    let up = with(text, Role::Up, None);
    assert!(up.figures && up.sensor && up.builtin_rules);
    assert_eq!(up.prometheus_config, Some("/etc/vedette/p.yml".into()));
    assert_eq!(up.scrape.start_times, vedette_collector::scrape::StartTimes::ZeroSamples);
    assert!(up.scrape.type_and_unit_labels);
    let server = with(text, Role::Server, Some("other.yml".into()));
    assert!(!server.figures && !server.sensor && !server.builtin_rules);
    assert_eq!(server.prometheus_config, Some("other.yml".into()), "relative to where one is");
    assert!(with("rules: {builtin: true}\n", Role::Server, None).builtin_rules);
}

#[test]
fn errors_name_place_and_remedy() {
    for (text, expected) in [
        ("listn: x\n", vec!["v.yml:1:1", "listn", "listen"]),
        ("collect:\n  intervall: 1s\n", vec!["v.yml:2:3", "intervall", "interval"]),
        ("listen: [\n", vec!["v.yml:"]),
        ("query: {max_concurrency: 0}\n", vec!["query.max_concurrency", "at least 1"]),
        ("query: {cache: much}\n", vec!["query.cache", "512MiB"]),
        ("query: {total_memory: 99%}\n", vec!["query.total_memory", "1% to 90%"]),
        ("rules: {query_timeout: soon}\n", vec!["rules.query_timeout", "15s"]),
        (
            "receive: {graphite: {listen: '0.0.0.0:2003'}}\n",
            vec!["receive.graphite.listen", "127.0.0.1:2003"],
        ),
        ("listen: nowhere\n", vec!["v.yml: listen", "127.0.0.1:9090"]),
        ("collect: {interval: fast}\n", vec!["collect.interval", "\"fast\" is no duration", "15s"]),
        ("collect: {interval: 1ms}\n", vec!["collect.interval", "100ms"]),
        ("collect: {figures: maybe}\n", vec!["collect.figures", "off"]),
        ("collect: {sensor: maybe}\n", vec!["collect.sensor", "auto"]),
        ("metrics: {retention_size: lots}\n", vec!["metrics.retention_size", "10GiB"]),
        ("metrics: {limits: {memory: 95%}}\n", vec!["metrics.limits.memory", "1% to 90%"]),
        ("metrics: {limits: {memory: much}}\n", vec!["metrics.limits.memory", "512MiB"]),
        ("metrics: {limits: {series: 2000000000}}\n", vec!["metrics.limits.series", "1073741824"]),
        (
            "metrics: {retention_rules: [{selector: '{a=\"b\"}', keep: 1d}, {selector: 'a{', keep: 1d}]}\n",
            vec!["metrics.retention_rules[1].selector", "\"a{\" is no selector", "{job=\"node\"}"],
        ),
        (
            "metrics: {retention_rules: [{selector: a, keep: long}]}\n",
            vec!["metrics.retention_rules[0].keep", "\"long\" is no duration", "7d"],
        ),
        (
            "metrics: {retention_rules: [{selector: a, keep: 5m}]}\n",
            vec!["metrics.retention_rules[0].keep", "the least is 10m"],
        ),
        ("metrics: {retention_rules: [{selector: a}]}\n", vec!["v.yml:", "keep"]),
        ("events: {admin_api: true}\n", vec!["v.yml:1", "admin_api"]),
        ("metrics: {rollups: [{step: 500ms, retention: 1d}]}\n", vec!["metrics.rollups[\"500ms\"]", "5m"]),
        ("metrics: {rollups: [{step: 5m, retention: 1m}]}\n", vec!["shorter"]),
        ("metrics: {rollups: [{step: 5m, retention: 1d}, {step: 300s, retention: 2d}]}\n", vec!["twice"]),
        ("metrics: {rollups: [{step: 5m}]}\n", vec!["retention"]),
        ("scrape: {start_timestamps: maybe}\n", vec!["scrape.start_timestamps", "ignore, zero and store"]),
        (
            "kubernetes: [{name: a, policy: {allowed_registries: [ghcr.io/a, library/nginx]}}]\n",
            vec!["kubernetes[0].policy.allowed_registries[1]", "\"library/nginx\"", "docker.io/library"],
        ),
        (
            "kubernetes: [{name: a, policy: {privileged: {allowed_namespaces: [Kube]}}}]\n",
            vec!["kubernetes[0].policy.privileged.allowed_namespaces", "small letters"],
        ),
        (
            "kubernetes: [{name: a, policy: {image_digests: maybe}}]\n",
            vec!["policy.image_digests", "on nor off"],
        ),
        (
            "kubernetes: [{name: a, audit: {webhook: yes}}]\n",
            vec!["kubernetes[0].audit.webhook", "on nor off"],
        ),
        ("kubernetes: [{name: a, policy: {registries: []}}]\n", vec!["v.yml:1", "registries"]),
        ("notify: {receivers: [{name: a}]}\n", vec!["notify.receivers[\"a\"]", "exactly one"]),
        ("notify: {receivers: [{name: 'a b', file: {path: x}}]}\n", vec!["letters"]),
        ("notify: {receivers: [{name: a, webhook: {url: 'ftp://x'}}]}\n", vec!["http://"]),
        ("notify: {receivers: [{name: a, file: {path: x}}, {name: a, file: {path: y}}]}\n", vec!["twice"]),
        ("notify: {receivers: [{name: a, severity: loud, file: {path: x}}]}\n", vec!["loud", "critical"]),
    ] {
        let error = settings(text).expect_err(text).to_string();
        for part in expected {
            assert!(error.contains(part), "{text:?} gave {error:?}, which lacks {part:?}");
        }
    }
}

#[test]
fn durations_and_sizes_follow_prometheus() {
    for (text, ms) in
        [("1s", Some(1000)), ("1h30m", Some(5_400_000)), ("500ms", Some(500)), ("1y", Some(31_536_000_000))]
    {
        assert_eq!(parse_duration(text).map(|d| d.as_millis()), ms);
    }
    for bad in ["", "1", "s", "1m1h", "1s1s", "-1s", "1.5s", "99999999999999999999y"] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
    for (text, bytes) in [
        ("1KiB", Some(1024)),
        ("2GB", Some(2 << 30)),
        ("7", Some(7)),
        ("1XB", None),
        ("99999999999TiB", None),
    ] {
        assert_eq!(units::parse_bytes(text), bytes, "{text}");
    }
}

#[test]
fn the_state_of_a_cluster_is_stored_unless_it_is_switched_off() {
    let interval = |keys: &str| {
        let text = format!("kubernetes: [{{name: c, state_metrics: {{{keys}}}}}]\n");
        settings(&text).map(|settings| settings.kubernetes[0].state_interval)
    };
    for (keys, expected) in [
        ("", Some(30_000)),
        ("interval: 1s", Some(1_000)),
        ("interval: 2m", Some(120_000)),
        ("interval: off", None),
    ] {
        let interval = interval(keys).expect(keys);
        assert_eq!(interval, expected.map(Duration::from_millis), "{keys}");
    }
    for keys in ["interval: 999ms", "interval: 121s", "interval: 0s", "interval: often"] {
        let error = interval(keys).expect_err(keys).to_string();
        assert!(error.contains("kubernetes[0].state_metrics.interval: "), "{error}");
    }
}

#[test]
fn audit_records_come_where_it_is_said_how() {
    let of = |audit: &str| {
        let read = settings(&format!("kubernetes: [{{name: a, audit: {audit}}}]\n")).expect("valid");
        read.kubernetes[0].audit.clone().map(|audit| (audit.webhook, audit.log_file))
    };
    assert_eq!((of("{}"), of("{webhook: off}")), (None, None));
    assert_eq!(of("{webhook: on}"), Some((true, None)));
    assert_eq!(of("{log_file: a.log}"), Some((false, Some("/etc/vedette/a.log".into()))));
    assert_eq!(of("{webhook: on, log_file: /b}"), Some((true, Some("/b".into()))));
}

#[test]
fn which_pods_are_allowed_is_judged_unless_it_is_off() {
    use vedette_k8s::policy::Rule;
    let on = |policy: &str| {
        let cluster = settings(&format!("kubernetes: [{{name: a, policy: {policy}}}]\n")).expect("valid");
        let rules = cluster.kubernetes[0].policy.clone();
        rules.map(|rules| Rule::ALL.map(|rule| rules.has(rule)))
    };
    // Registries, access to machines, digests, tags.
    assert_eq!(on("{}"), Some([false, true, true, true]));
    assert_eq!(on("{allowed_registries: [ghcr.io]}"), Some([true, true, true, true]));
    assert_eq!(on("{privileged: off}"), Some([false, false, true, true]));
    assert_eq!(on("{privileged: {allowed_namespaces: []}}"), Some([false, true, true, true]));
    assert_eq!(on("{image_digests: off}"), Some([false, true, false, false]));
    assert_eq!(on("{privileged: off, image_digests: off}"), None);
    assert_eq!(on("off"), None);
    let rules = settings("kubernetes: [{name: a}]\n").expect("valid").kubernetes[0].policy.clone();
    assert_eq!(rules.and_then(|rules| rules.privileged), Some(vec!["kube-system".into()]));
}
