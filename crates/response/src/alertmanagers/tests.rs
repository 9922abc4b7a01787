//! Alertmanagers that are real servers on loopback and do what they are told.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use vedette_config::prometheus::{self, Alerting, Mode, Surroundings};
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_model::{
    ADDRESS_LABEL, Labels, TargetGroup,
    status::{Health, StatusBoard},
    telemetry::{Family, MetricVisitor, Telemetry},
};
use vedette_sys::{RealFs, SystemClock};

use super::{Addresses, AlertmanagerOptions, Alertmanagers, OnwardAlert, STATUS};
use crate::tests::receiver::{Answer, Request, Server};

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct House {
    alertmanagers: Alertmanagers,
    status: StatusBoard,
    telemetry: Telemetry,
}

fn house(change: impl FnOnce(&mut AlertmanagerOptions)) -> House {
    let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
    let client = Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    };
    let mut options = AlertmanagerOptions::new(client);
    change(&mut options);
    let runtime = tokio::runtime::Handle::current();
    let alertmanagers = Alertmanagers::new(options, runtime, status.clone(), &telemetry);
    House { alertmanagers, status, telemetry }
}

/// The section `alerting` of a configuration.
fn alerting(yaml: &str) -> Alerting {
    let surroundings = Surroundings { fs: &RealFs, env: &|_| None };
    let text = format!("alerting: {yaml}\n");
    prometheus::parse(Path::new("/etc/p.yml"), &text, Mode::Server, surroundings).expect("sound").alerting
}

fn one(address: SocketAddr) -> Alerting {
    alerting(&format!("{{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}"))
}

fn alert(name: &str) -> OnwardAlert {
    OnwardAlert {
        labels: Labels::from_pairs([("alertname", name), ("severity", "page")]),
        annotations: Labels::from_pairs([("summary", "it \"burns\"")]),
        starts_at_ms: 1_700_000_000_123,
        ends_at_ms: 1_700_000_240_000,
        generator_url: "http://v:9090/graph?g0.expr=up&g0.tab=1".into(),
    }
}

fn alerts(count: usize) -> Vec<OnwardAlert> {
    (0..count).map(|i| alert(&format!("a{i}"))).collect()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes to pass");
}

fn names(request: &Request) -> Vec<String> {
    let alerts: Vec<serde_json::Value> = serde_json::from_str(&request.body).expect("a list");
    alerts.iter().map(|a| a["labels"]["alertname"].as_str().expect("a name").to_owned()).collect()
}

impl House {
    fn metric(&self, name: &str) -> Vec<(String, f64)> {
        struct Find<'a>(&'a str, Vec<(String, f64)>);
        impl MetricVisitor for Find<'_> {
            fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
                if family.name == self.0 {
                    self.1.push((labels.first().map_or("", |l| l.1).to_owned(), value));
                }
            }
        }
        let mut find = Find(name, Vec::new());
        self.telemetry.visit(&mut find);
        find.1
    }

    fn sum(&self, name: &str) -> f64 {
        self.metric(name).iter().map(|m| m.1).sum()
    }
}

#[tokio::test]
async fn alerts_arrive_as_the_api_wants_them() {
    let server = Server::start(|_, _| Answer::status(200)).await;
    let house = house(|_| {});
    let address = server.address;
    let config = alerting(&format!(
        "{{alert_relabel_configs: [{{regex: secret, action: labeldrop}}], alertmanagers: [{{path_prefix: /am/, \
         static_configs: [{{targets: ['{address}']}}], alert_relabel_configs: [{{source_labels: [alertname], \
         regex: quiet, action: drop}}]}}]}}"
    ));
    let external = Labels::from_pairs([("cluster", "c1"), ("severity", "external"), ("secret", "s")]);
    house.alertmanagers.apply(&config, &external).expect("applies");
    house.alertmanagers.send(&[alert("loud"), alert("quiet")]);
    until(|| !server.requests().is_empty()).await;
    let request = &server.requests()[0];
    assert!(request.head.starts_with("POST /am/api/v2/alerts HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("user-agent"), Some("Vedette/test"));
    let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
    let expected = serde_json::json!([{
        "labels": {"alertname": "loud", "severity": "page", "cluster": "c1"},
        "annotations": {"summary": "it \"burns\""},
        "startsAt": "2023-11-14T22:13:20.123Z",
        "endsAt": "2023-11-14T22:17:20Z",
        "generatorURL": "http://v:9090/graph?g0.expr=up&g0.tab=1",
    }]);
    assert_eq!(body, expected);
    let active = vec![format!("http://{address}/am/api/v2/alerts")];
    assert_eq!(house.alertmanagers.addresses(), Addresses { active, dropped: Vec::new() });
    house.alertmanagers.drain(PATIENCE).await;
    assert_eq!(house.sum("vedette_response_alerts_sent_total"), 1.0);
    assert_eq!(house.status.get(STATUS).expect("posted").health, Health::Ok);
}

#[tokio::test]
async fn requests_have_a_bounded_number_of_alerts_in_order() {
    let server = Server::start(|_, _| Answer::status(200)).await;
    let house = house(|_| {});
    house.alertmanagers.apply(&one(server.address), &Labels::empty()).expect("applies");
    house.alertmanagers.send(&alerts(600));
    house.alertmanagers.drain(PATIENCE).await;
    let sent: Vec<Vec<String>> = server.requests().iter().map(names).collect();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [256, 256, 88]);
    assert_eq!(
        sent.concat(),
        alerts(600).iter().map(|a| a.labels.get("alertname").expect("named").to_owned()).collect::<Vec<_>>()
    );
}

/// One that hangs does not keep alerts from the others, loses the oldest, and all is counted.
#[tokio::test]
async fn what_is_lost_is_counted_and_nobody_waits_for_another() {
    let hanging = Server::start(|_, _| Answer::silence()).await;
    let sound = Server::start(|_, _| Answer::status(202)).await;
    let house = house(|o| (o.queue_max, o.batch_max) = (10, 4));
    let config = alerting(&format!(
        "{{alertmanagers: [{{static_configs: [{{targets: ['{}', '{}']}}]}}]}}",
        hanging.address, sound.address
    ));
    house.alertmanagers.apply(&config, &Labels::empty()).expect("applies");
    house.alertmanagers.send(&alerts(4));
    until(|| hanging.requests().len() == 1 && sound.requests().len() == 1).await;
    house.alertmanagers.send(&alerts(7));
    until(|| sound.requests().len() == 3).await;
    house.alertmanagers.send(&alerts(7));
    until(|| sound.requests().len() == 5).await;
    assert_eq!(house.sum("vedette_response_alerts_lost_total"), 4.0);
    assert_eq!(house.sum("vedette_response_alerts_waiting"), 10.0);
    // At the end what still waits is lost, too; what is under way may arrive.
    house.alertmanagers.drain(Duration::from_millis(20)).await;
    assert_eq!(house.sum("vedette_response_alerts_lost_total"), 14.0);
    house.alertmanagers.send(&alerts(1));
    assert_eq!(house.sum("vedette_response_alerts_waiting"), 0.0, "nothing is taken after the end");
}

#[tokio::test]
async fn a_failure_is_shown_and_forgotten_when_it_passes() {
    let server = Server::start(|number, _| match number {
        0 => Answer::status(400).body("bad\nlabels"),
        _ => Answer::status(200),
    })
    .await;
    let house = house(|_| {});
    house.alertmanagers.apply(&one(server.address), &Labels::empty()).expect("applies");
    house.alertmanagers.send(&alerts(2));
    until(|| house.status.get(STATUS).expect("posted").health == Health::Failed).await;
    let message = house.status.get(STATUS).expect("posted").message;
    assert!(
        message.contains("1 of 1") && message.contains("400") && message.contains("bad labels"),
        "{message}"
    );
    assert_eq!(house.sum("vedette_response_alerts_failed_total"), 2.0);
    assert_eq!(house.sum("vedette_response_alerts_lost_total"), 2.0);
    house.alertmanagers.send(&alerts(1));
    until(|| house.status.get(STATUS).expect("posted").health == Health::Ok).await;
}

#[tokio::test]
async fn discovery_and_rules_choose_and_a_reload_keeps_what_waits() {
    let first = Server::start(|_, _| Answer::status(200)).await;
    let second = Server::start(|_, _| Answer::status(200)).await;
    let house = house(|_| {});
    let yaml = "{alertmanagers: [{dns_sd_configs: [{names: [am.example], type: A, port: 1}], timeout: 7s, \
        relabel_configs: [{source_labels: [drop], regex: 'yes', action: drop}, \
        {source_labels: [scheme], regex: (.+), target_label: __scheme__}]}]}";
    let config = alerting(yaml);
    house.alertmanagers.apply(&config, &Labels::empty()).expect("applies");
    assert_eq!(house.alertmanagers.addresses(), Addresses::default());
    let target = |address: &str, more: &[(&str, &str)]| {
        Labels::from_pairs([(ADDRESS_LABEL, address)].into_iter().chain(more.iter().copied()))
    };
    let group = |targets: Vec<Labels>| [TargetGroup { source: "s".into(), targets, labels: Labels::empty() }];
    let (a, b) = (first.address.to_string(), second.address.to_string());
    let both = [
        target(&a, &[]),
        target(&b, &[]),
        target(&a, &[]),
        target("c:1", &[("drop", "yes"), ("scheme", "https")]),
    ];
    house.alertmanagers.set_groups(0, 0, &group(both.to_vec()));
    house.alertmanagers.set_groups(0, 7, &group(vec![target("no:1", &[])]));
    house.alertmanagers.set_groups(3, 0, &group(vec![target("no:1", &[])]));
    let url = |address: &str| format!("http://{address}/api/v2/alerts");
    let expected = Addresses { active: vec![url(&a), url(&b)], dropped: vec![url("c:1")] };
    assert_eq!(house.alertmanagers.addresses(), expected);
    house.alertmanagers.send(&alerts(1));
    until(|| first.requests().len() == 1 && second.requests().len() == 1).await;
    // The same group in another place of the configuration is the same.
    let moved = yaml.replace("[{dns", "[{static_configs: [{targets: ['x:9']}]}, {dns");
    house.alertmanagers.apply(&alerting(&moved), &Labels::empty()).expect("applies");
    assert_eq!(house.alertmanagers.addresses().active, [url("x:9"), url(&a), url(&b)]);
    // What discovery finds no more gets no more.
    house.alertmanagers.set_groups(1, 0, &group(vec![target(&b, &[])]));
    house.alertmanagers.send(&alerts(1));
    until(|| second.requests().len() == 2).await;
    assert_eq!(first.requests().len(), 1);
    // A target that is none is told of.
    house.alertmanagers.set_groups(1, 0, &group(vec![target("http://x/", &[])]));
    // The other one has no such host, which may be known by now.
    assert_ne!(house.status.get(STATUS).expect("posted").health, Health::Ok);
    // A configuration that cannot be used changes nothing.
    let broken = alerting(
        "{alertmanagers: [{tls_config: {ca_file: /nowhere/ca.pem}, scheme: https, static_configs: [{targets: ['y:1']}]}]}",
    );
    assert!(house.alertmanagers.apply(&broken, &Labels::empty()).is_err());
    assert_eq!(house.alertmanagers.addresses().active, [url("x:9")]);
    house.alertmanagers.apply(&Alerting::default(), &Labels::empty()).expect("applies");
    assert_eq!(house.alertmanagers.addresses(), Addresses::default());
}
