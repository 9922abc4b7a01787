use super::*;
use crate::config::{Overrides, parse, resolve};

fn read(section: &str) -> Result<Option<ExportConfig>, String> {
    let text = format!("export: {section}\n");
    let file = parse("v.yml", &text).map_err(|error| error.to_string())?;
    let overrides = Overrides { data_dir: Some("/data".into()), ..Overrides::default() };
    let settings = resolve("v.yml", Path::new("/etc/v"), file, overrides);
    settings.map(|settings| settings.export).map_err(|error| error.to_string())
}

fn one(sink: &str) -> Exported {
    let config = read(&format!("{{sinks: [{sink}]}}")).expect(sink).expect("an export");
    config.exports.into_iter().next().expect("one")
}

#[test]
fn nothing_is_exported_unless_it_is_configured() {
    assert_eq!(read("{}"), Ok(None));
}

#[test]
fn defaults_are_those_of_the_shape() {
    let export = one("{name: a, elasticsearch: {url: 'http://h:9200/'}}");
    assert_eq!((export.shape, export.timeout), (Shape::Vedette, Duration::from_secs(30)));
    assert_eq!(export.plan.batch, BatchLimits::default());
    let SinkConfig::Elasticsearch(sink) = export.sink else { panic!("another kind") };
    assert_eq!((sink.url.as_str(), sink.index.as_str(), sink.gzip), ("http://h:9200", "vedette", true));
    let named = |labels| vedette_model::Labels::from_pairs([("__name__", labels)]);
    assert!(export.plan.selects(&named("container_x")) && !export.plan.selects(&named("node_x")));

    let SinkConfig::Kafka(sink) = one("{name: a, shape: cadvisor, kafka: {brokers: ['h:1']}}").sink else {
        panic!("another kind")
    };
    assert_eq!(sink.topic, "stats");
    let SinkConfig::File(sink) = one("{name: a, file: {path: out.jsonl}}").sink else {
        panic!("another kind")
    };
    assert_eq!((sink.path, sink.kept), (PathBuf::from("/data/out.jsonl"), 5));
}

#[test]
fn secrets_and_encryption_come_as_the_sink_wants_them() {
    for (sink, scheme) in [
        ("elasticsearch: {url: 'http://h', auth: {token: t}}", "ApiKey"),
        ("influxdb: {url: 'http://h', version: 2, org: o, bucket: b, auth: {token: t}}", "Token"),
        ("influxdb: {url: 'http://h', version: 3, auth: {token: t}}", "Bearer"),
        ("influxdb: {url: 'http://h', version: 3, auth: {token: t, scheme: X}}", "X"),
    ] {
        let client = match one(&format!("{{name: a, {sink}}}")).sink {
            SinkConfig::Elasticsearch(sink) => sink.client,
            SinkConfig::InfluxDb(sink) => sink.client,
            other => panic!("{other:?}"),
        };
        let credentials = Some(SecretSource::Inline(Secret::new("t")));
        assert_eq!(client.auth, Auth::Authorization { scheme: scheme.into(), credentials }, "{sink}");
    }
    let sink = one("{name: a, redis: {address: 'h:6379', password_file: p, tls: {ca_file: ca.pem}}}").sink;
    let SinkConfig::Redis(redis) = &sink else { panic!("another kind") };
    assert_eq!(redis.password, Some(SecretSource::File("/etc/v/p".into())));
    assert_eq!(
        redis.tls.as_ref().and_then(|tls| tls.ca.clone()),
        Some(SecretSource::File("/etc/v/ca.pem".into()))
    );
    assert!(!format!("{:?}", one("{name: a, redis: {address: 'h:1', password: geheim}}")).contains("geheim"));
}

#[test]
fn an_error_names_place_and_remedy() {
    for (sink, place, remedy) in [
        ("{name: a}", "sinks[\"a\"]", "exactly one of"),
        ("{name: a, stdout: {}, file: {path: x}}", "sinks[\"a\"]", "exactly one of"),
        ("{name: 'a b', stdout: {}}", "name", "letters, digits"),
        ("{name: a, stdout: {}}, {name: a, stdout: {}}", "name", "must differ"),
        ("{name: a, stdout: {}, match: []}", "match", "nothing would be exported"),
        ("{name: a, stdout: {}, match: ['{']}", "match", "write for example"),
        ("{name: a, stdout: {}, shape: x}", "shape", "`vedette`, `cadvisor`"),
        ("{name: a, stdout: {}, batch: {samples: 0}}", "batch.samples", "at least one"),
        ("{name: a, stdout: {}, batch: {size: 1GiB}}", "batch.size", "64MiB"),
        ("{name: a, stdout: {}, min_backoff: 1m, max_backoff: 1s}", "max_backoff", "raise it"),
        ("{name: a, file: {}}", "file.path", "name the file"),
        ("{name: a, elasticsearch: {}}", "elasticsearch.url", "http://localhost:9200"),
        ("{name: a, elasticsearch: {url: 'http://h', index: A}}", "elasticsearch.index", "write for example"),
        ("{name: a, elasticsearch: {url: 'http://u:p@h'}}", "elasticsearch.url", "auth"),
        (
            "{name: a, elasticsearch: {url: 'http://h', data_stream: true, index_per: day}}",
            "elasticsearch.index_per",
            "leave it out",
        ),
        ("{name: a, influxdb: {url: 'http://h', version: 4}}", "influxdb.version", "1, 2, 3"),
        ("{name: a, influxdb: {url: 'http://h', version: 2, bucket: b}}", "influxdb.org", "name it"),
        ("{name: a, influxdb: {url: 'http://h', org: b}}", "influxdb.org", "leave it out"),
        (
            "{name: a, influxdb: {url: 'http://h', auth: {username: u, token: t}}}",
            "influxdb.auth.token",
            "not both",
        ),
        ("{name: a, kafka: {}}", "kafka.brokers", "localhost:9092"),
        ("{name: a, kafka: {brokers: [h]}}", "kafka.brokers", "localhost:9092"),
        (
            "{name: a, kafka: {brokers: ['h:1'], tls: {server_name: x}}}",
            "kafka.tls.server_name",
            "leave it out",
        ),
        ("{name: a, kafka: {brokers: ['h:1'], sasl: {username: u}}}", "kafka.sasl.password", "password_file"),
        ("{name: a, redis: {address: 'h:x'}}", "redis.address", "localhost:6379"),
        ("{name: a, redis: {address: 'h:1', kind: set}}", "redis.kind", "`list`, `stream`"),
        ("{name: a, redis: {address: 'h:1', tls: {cert_file: x}}}", "redis.tls.key_file", "name it"),
        ("{name: a, statsd: {address: 'h:1', packet_size: 1}}", "statsd.packet_size", "65507"),
    ] {
        let error = read(&format!("{{sinks: [{sink}]}}")).expect_err(sink);
        assert!(error.starts_with("v.yml: export.sinks[") && error.contains(place), "{sink}: {error}");
        assert!(error.contains(remedy), "{sink}: {error}");
    }
    let unknown = read("{sinks: [{name: a, mongodb: {}}]}").expect_err("an unknown key");
    assert!(unknown.starts_with("v.yml:1:") && unknown.contains("mongodb"), "{unknown}");
}
