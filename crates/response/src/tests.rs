//! Deliveries to a real server on loopback that does what it is told, and over simulated crashes.

mod outbox;
pub(crate) mod receiver;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};
use vedette_model::{
    status::{Health, StatusBoard},
    telemetry::{Family, MetricVisitor, Telemetry},
};
use vedette_sys::{RealFs, SystemClock};

use crate::{Config, ConfigError, Intent, OutboxError, Receiver, Responder, Target};
use receiver::{Answer, Server};

/// Long enough for the slowest machine; nothing waits for it unless a delivery hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn intent(id: &str, receiver: &str) -> Intent {
    let body = format!("{{\"receiver\":\"{receiver}\",\"version\":\"4\",\"n\":\"{id}\"}}");
    Intent { id: id.into(), receiver: receiver.into(), body: body.into_bytes().into() }
}

fn config(folder: &Path, targets: &[(&str, Target)]) -> Config {
    Config {
        receivers: targets
            .iter()
            .map(|(name, target)| Receiver { name: (*name).into(), target: target.clone() })
            .collect(),
        retry_min: Duration::from_millis(5),
        retry_max: Duration::from_millis(40),
        refused_retry: Duration::from_millis(40),
        ..Config::new(folder.join("outbox"))
    }
}

struct Running {
    responder: Arc<Responder>,
    status: StatusBoard,
    telemetry: Telemetry,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn run(config: Config) -> Running {
    let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
    let (responder, _) =
        Responder::open(config, Arc::new(RealFs), Arc::new(SystemClock), status.clone(), &telemetry)
            .expect("opens");
    let responder = Arc::new(responder);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn({
        let responder = responder.clone();
        async move { responder.run(async { drop(stopped.await) }).await }
    });
    Running { responder, status, telemetry, stop, task }
}

impl Running {
    async fn stop(self) {
        drop(self.stop);
        self.task.await.expect("no panic");
    }

    fn health(&self, receiver: &str) -> Health {
        self.status.get(&format!("notify.{receiver}")).expect("posted").health
    }

    fn metric(&self, name: &str) -> f64 {
        struct Sum<'a>(&'a str, f64);
        impl MetricVisitor for Sum<'_> {
            fn value(&mut self, family: &Family, _: &[(&str, &str)], value: f64) {
                if family.name == self.0 {
                    self.1 += value;
                }
            }
        }
        let mut sum = Sum(name, 0.0);
        self.telemetry.visit(&mut sum);
        sum.1
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("never {what}: {:?}", self.status.all());
        }
    }

    async fn until_delivered(&self, receiver: &str) {
        self.until("delivered", |r| r.responder.pending(receiver) == 0).await;
    }
}

fn webhook(address: SocketAddr) -> Target {
    Target::Webhook {
        url: format!("http://{address}/hook?token=secret"),
        timeout: Duration::from_secs(10),
        redirects_max: 2,
    }
}

#[tokio::test]
async fn a_webhook_gets_the_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, _| Answer::status(200)).await;
    let running = run(config(folder.path(), &[("team", webhook(server.address))]));
    assert_eq!(running.health("team"), Health::Ok);
    running.responder.accept(&[intent("1", "team"), intent("2", "team")]).expect("taken");
    running.until_delivered("team").await;
    let got = server.requests();
    assert_eq!(got.len(), 2);
    assert!(got[0].head.starts_with("POST /hook?token=secret HTTP/1.1\r\n"), "{}", got[0].head);
    assert_eq!(got[0].header("content-type"), Some("application/json"));
    assert_eq!(
        got.iter().map(|r| r.header("idempotency-key").expect("an id")).collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert_eq!(got[0].body, r#"{"receiver":"team","version":"4","n":"1"}"#);
    // A repeat of an id that was delivered is not delivered again.
    running
        .responder
        .accept(&[intent("2", "team"), intent("3", "team"), intent("3", "team")])
        .expect("taken");
    running.until_delivered("team").await;
    assert_eq!(server.ids(), ["1", "2", "3"]);
    running.until("counted", |r| r.metric("vedette_response_notifications_delivered_total") == 3.0).await;
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_everything_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = Server::free_address();
    let running = run(config(folder.path(), &[("team", webhook(address))]));
    for id in ["1", "2", "3"] {
        running.responder.accept(&[intent(id, "team")]).expect("taken");
    }
    running.until("failed", |r| r.metric("vedette_response_attempts_failed_total") >= 3.0).await;
    let part = running.status.get("notify.team").expect("posted");
    assert_eq!(part.health, Health::Failed);
    assert!(
        part.message.contains("cannot reach http://127.0.0.1") && !part.message.contains("secret"),
        "{part:?}"
    );
    assert!(!part.remedy.is_empty());
    let server = Server::start_at(address, |_, _| Answer::status(204)).await;
    running.until_delivered("team").await;
    assert_eq!(server.ids(), ["1", "2", "3"]);
    running.until("well again", |r| r.health("team") == Health::Ok).await;
    running.stop().await;
}

#[tokio::test]
async fn errors_are_retried_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|n, _| match n {
        0 => Answer::status(500),
        1 => Answer::status(503).with("Retry-After: 0\r\n"),
        2 => Answer::status(429).with("Retry-After: nonsense\r\n"),
        3 => Answer::status(408),
        _ => Answer::status(200),
    })
    .await;
    let running = run(config(folder.path(), &[("team", webhook(server.address))]));
    running.responder.accept(&[intent("1", "team"), intent("2", "team")]).expect("taken");
    running.until_delivered("team").await;
    assert_eq!(server.ids(), ["1", "1", "1", "1", "1", "2"]);
    assert_eq!(running.metric("vedette_response_attempts_failed_total"), 4.0);
    running.stop().await;
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, _| Answer::status(503).with("Retry-After: 3000\r\n")).await;
    let running = run(config(folder.path(), &[("team", webhook(server.address))]));
    running.responder.accept(&[intent("1", "team")]).expect("taken");
    running.until("failed", |r| r.health("team") == Health::Failed).await;
    let part = running.status.get("notify.team").expect("posted");
    let (_, wait) = part.facts.iter().find(|(name, _)| name.starts_with("next attempt")).expect("a fact");
    assert!(wait.parse::<u64>().expect("seconds") > 2900, "{wait}");
    running.stop().await;
}

#[tokio::test]
async fn a_refused_message_does_not_hold_up_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, request| {
        let bad = request.header("idempotency-key") == Some("bad");
        Answer::status(if bad { 400 } else { 200 }).body("no such\u{7} field\nand more")
    })
    .await;
    let running = run(config(folder.path(), &[("team", webhook(server.address))]));
    running
        .responder
        .accept(&[intent("bad", "team"), intent("2", "team"), intent("3", "team")])
        .expect("taken");
    running.until("all but one delivered", |r| r.responder.pending("team") == 1).await;
    running.until("shown", |r| r.health("team") == Health::Degraded).await;
    let part = running.status.get("notify.team").expect("posted");
    assert!(part.message.ends_with("answered 400 Bad Request: no such field"), "{part:?}");
    let refused = running.metric("vedette_response_attempts_refused_total");
    running.until("tried again", |r| r.metric("vedette_response_attempts_refused_total") > refused).await;
    running.stop().await;
}

#[tokio::test]
async fn redirects_that_keep_the_message_are_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Server::start(|_, _| Answer::status(200)).await;
    let location = format!("Location: http://{}/new\r\n", target.address);
    let front = Server::start(move |n, _| match n {
        0 => Answer::status(302).with(&location),
        1 => Answer::status(307).with("Location: /again\r\n"),
        _ => Answer::status(308).with(&location),
    })
    .await;
    let running = run(config(folder.path(), &[("team", webhook(front.address))]));
    running.responder.accept(&[intent("1", "team")]).expect("taken");
    running.until_delivered("team").await;
    assert_eq!(front.ids(), ["1", "1", "1"]);
    let got = target.requests();
    assert!(
        got[0].head.starts_with("POST /new HTTP/1.1\r\n") && got[0].body.contains("\"n\":\"1\""),
        "{got:?}"
    );
    assert_eq!(running.metric("vedette_response_attempts_refused_total"), 1.0);
    running.stop().await;
}

#[tokio::test]
async fn silent_huge_and_broken_answers_do_no_harm() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|n, _| match n {
        0 => Answer::silence(),
        1 => Answer::status(500).endless(),
        2 => Answer::raw(b"\x16\x03\x01 this is no HTTP"),
        3 => Answer::raw(b""),
        4 => Answer::status(307).with("Location: http://[broken\r\n"),
        // Its status says that it has the message, whatever follows.
        _ => Answer::status(200).endless(),
    })
    .await;
    let target = Target::Webhook {
        url: format!("http://{}", server.address),
        timeout: Duration::from_millis(300),
        redirects_max: 3,
    };
    let running = run(config(folder.path(), &[("team", target)]));
    running.responder.accept(&[intent("1", "team")]).expect("taken");
    running.until_delivered("team").await;
    assert_eq!(server.ids(), ["1"; 6]);
    running.stop().await;
}

#[tokio::test]
async fn what_waits_survives_the_end_of_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(|_, _| Answer::status(200)).await;
    let config = config(folder.path(), &[("team", webhook(server.address))]);
    let open = |config: &Config| {
        let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
        Responder::open(config.clone(), Arc::new(RealFs), Arc::new(SystemClock), status, &telemetry)
            .expect("opens")
    };
    // Accepted, and the process ends before anything is delivered.
    let (responder, _) = open(&config);
    responder.accept(&[intent("1", "team"), intent("2", "team")]).expect("taken");
    drop(responder);
    let (_, recovered) = open(&config);
    assert_eq!((recovered.pending, recovered.orphaned), (2, 0));
    let running = run(config.clone());
    running.until_delivered("team").await;
    running.until("counted", |r| r.metric("vedette_response_notifications_delivered_total") == 2.0).await;
    running.stop().await;
    assert_eq!(server.ids(), ["1", "2"]);
    // Nothing waits, and a repeat is known even now.
    let (responder, recovered) = open(&config);
    assert_eq!(recovered.pending, 0);
    responder.accept(&[intent("2", "team"), intent("3", "team")]).expect("taken");
    assert_eq!(responder.pending("team"), 1);
    drop(responder);
    // A receiver that is configured no more leaves its notifications behind, counted.
    let without = Config { receivers: Vec::new(), ..config };
    let (_, recovered) = open(&without);
    assert_eq!((recovered.pending, recovered.orphaned), (0, 1));
}

#[tokio::test]
async fn a_full_queue_loses_the_oldest_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = Server::free_address();
    let config = Config { queue_max: 2, ..config(folder.path(), &[("team", webhook(address))]) };
    let running = run(config);
    for id in ["1", "2", "3", "4"] {
        running.responder.accept(&[intent(id, "team")]).expect("taken");
    }
    assert_eq!(running.metric("vedette_response_notifications_lost_total"), 2.0);
    let server = Server::start_at(address, |_, _| Answer::status(200)).await;
    running.until_delivered("team").await;
    assert_eq!(server.ids(), ["3", "4"]);
    running.until("shown", |r| r.health("team") == Health::Degraded).await;
    assert!(
        running
            .status
            .get("notify.team")
            .expect("posted")
            .message
            .starts_with("2 notifications were dropped")
    );
    running.stop().await;
}

#[tokio::test]
async fn a_file_gets_one_line_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("later/notifications.jsonl");
    let running = run(config(folder.path(), &[("file", Target::file(&path))]));
    running.responder.accept(&[intent("1", "file")]).expect("taken");
    running.until("failed", |r| r.health("file") == Health::Failed).await;
    std::fs::create_dir(folder.path().join("later")).expect("a folder");
    // Somebody left half a line.
    std::fs::write(&path, "{\"half\":").expect("writes");
    running.until_delivered("file").await;
    running.responder.accept(&[intent("2", "file")]).expect("taken");
    running.until_delivered("file").await;
    assert_eq!(
        std::fs::read_to_string(&path).expect("reads"),
        "{\"half\":\n{\"id\":\"1\",\"receiver\":\"file\",\"version\":\"4\",\"n\":\"1\"}\n\
         {\"id\":\"2\",\"receiver\":\"file\",\"version\":\"4\",\"n\":\"2\"}\n"
    );
    running.stop().await;
}

#[tokio::test]
async fn receivers_do_not_wait_for_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let silent = Server::start(|_, _| Answer::silence()).await;
    let path = folder.path().join("n.jsonl");
    let running =
        run(config(folder.path(), &[("silent", webhook(silent.address)), ("file", Target::file(&path))]));
    running.responder.accept(&[intent("1", "silent"), intent("1", "file")]).expect("taken");
    running.until_delivered("file").await;
    assert_eq!(running.responder.pending("silent"), 1);
    running.stop().await;
}

#[test]
fn what_cannot_be_delivered_is_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        message_bytes_max: 1024,
        ..config(folder.path(), &[("file", Target::file(folder.path().join("f")))])
    };
    let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
    let (responder, _) =
        Responder::open(config, Arc::new(RealFs), Arc::new(SystemClock), status, &telemetry).expect("opens");
    let with_body = |body: &str| Intent { body: body.as_bytes().into(), ..intent("1", "file") };
    assert!(matches!(responder.accept(&[intent("1", "other")]), Err(OutboxError::UnknownReceiver(_))));
    for bad in [
        with_body("[]"),
        with_body("{"),
        with_body(""),
        with_body("{\"a\":\n1}"),
        with_body(&format!("{{\"a\":\"{}\"}}", "x".repeat(1024))),
        intent("", "file"),
        intent("a\r\nb", "file"),
        intent(&"x".repeat(257), "file"),
    ] {
        // All or none: the good one is not taken either.
        let taken = responder.accept(&[intent("good", "file"), bad.clone()]);
        assert!(matches!(taken, Err(OutboxError::Invalid { .. })), "{bad:?}");
    }
    assert_eq!(responder.pending("file"), 0);
}

#[test]
fn settings_are_checked() {
    let folder = Path::new("/tmp");
    let refused = |config: Config| -> ConfigError { config.validate().expect_err("refused") };
    for url in ["", "example", "ftp://x/", "http://", "file:///etc/passwd", "http://a b/"] {
        let error = refused(config(folder, &[("a", Target::webhook(url))]));
        assert_eq!(error.field, "receivers[0].url", "{url}");
    }
    for name in ["", "a b", "ä", "a/b", &"x".repeat(101)] {
        assert_eq!(refused(config(folder, &[(name, Target::file("/x"))])).field, "receivers[0].name");
    }
    let twice = [("a", Target::file("/x")), ("a", Target::file("/y"))];
    assert!(refused(config(folder, &twice)).to_string().contains("given twice"));
    assert_eq!(refused(config(folder, &[("a", Target::file("/"))])).field, "receivers[0].path");
    assert_eq!(refused(Config { queue_max: 0, ..Config::new("/x") }).field, "queue_max");
    assert_eq!(refused(Config { retry_max: Duration::ZERO, ..Config::new("/x") }).field, "retry_max");
    config(folder, &[("a", Target::webhook("https://example.org/x?y")), ("b", Target::file("f"))])
        .validate()
        .expect("fine");
}
