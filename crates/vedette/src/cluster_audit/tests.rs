use std::path::Path;

use parking_lot::RwLock;
use serde_json::json;
use vedette_eventdb::{CataloguePlace, EventDb};
use vedette_model::{Directory, Host, Origin, Sink, status::StatusBoard};
use vedette_sys::{ManualClock, SimFs};

use super::*;

/// 2017-07-14T02:40:00Z
const AT: i64 = 1_500_000_000;

/// A door into the store that may be closed.
struct Door {
    store: Arc<EventDb>,
    is_closed: RwLock<bool>,
}

impl Sink for Door {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        if *self.is_closed.read() {
            return Err(Rejected::Retry("closed".into()));
        }
        let Payload::Events(events) = &batch.payload else { panic!("events") };
        self.store.append(&mut events.clone()).map_err(|error| Rejected::Invalid(error.to_string()))
    }
}

struct Rig {
    keeping: Keeping,
    door: Arc<Door>,
    store: Arc<EventDb>,
}

impl Rig {
    fn new() -> Self {
        let config = vedette_eventdb::Config {
            catalogue: CataloguePlace::Memory,
            ..vedette_eventdb::Config::new(Path::new("/events"))
        };
        let clock = Arc::new(ManualClock::at((AT + 1_000) * SECOND_NS));
        let (store, _) = EventDb::open(config, Arc::new(SimFs::new(1)), clock.clone()).expect("a store");
        let store = Arc::new(store);
        let door = Arc::new(Door { store: store.clone(), is_closed: RwLock::new(false) });
        let keeping = Keeping {
            sink: door.clone(),
            store: store.clone(),
            host: Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() }),
            origin: Origin { tenant: String::new(), cluster: String::new(), source: "s".into(), epoch: 1 },
            clock,
            status: StatusBoard::default(),
            directory: Directory::default(),
        };
        Self { keeping, door, store }
    }

    /// That of the cluster `main`, which takes webhooks, and another's, which does not.
    fn desks(&self) -> AuditDesks {
        let desk = |name: &str, webhook| {
            let name = Arc::<str>::from(name);
            (name.clone(), Arc::new(AuditDesk::new(name, webhook, &self.keeping)))
        };
        AuditDesks(Arc::new(HashMap::from([desk("main", true), desk("logged", false)])))
    }

    /// Audit ids of all records that are stored, the oldest first.
    fn stored(&self) -> Vec<String> {
        let search = Search { limit: 1_000_000, ..Search::default() };
        let found = self.store.search(&search).expect("searched");
        let ids = found.events.into_iter().rev().map(|event| match event.fact {
            Fact::Audit(asked) => asked.audit_id,
            other => panic!("{other:?}"),
        });
        ids.collect()
    }
}

/// A change of a deployment, some seconds and milliseconds after [`AT`].
fn record(id: &str, verb: &str, code: u16, name: &str, after_ms: i64) -> serde_json::Value {
    let time = jiff::Timestamp::from_millisecond(AT * 1000 + after_ms).expect("a time");
    json!({"auditID": id, "stage": "ResponseComplete", "verb": verb, "user": {"username": format!("{id}er")},
        "objectRef": {"resource": "deployments", "apiGroup": "apps", "namespace": "shop", "name": name},
        "responseStatus": {"code": code}, "stageTimestamp": time.to_string()})
}

fn list(records: &[serde_json::Value]) -> Vec<u8> {
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": records}).to_string().into_bytes()
}

#[test]
fn what_a_webhook_brings_is_stored_before_it_is_answered() {
    let (rig, at_ms) = (Rig::new(), 500);
    let desks = rig.desks();
    let body =
        list(&[record("a", "create", 201, "web", at_ms), record("b", "list", 200, "web", at_ms), json!(1)]);
    *rig.door.is_closed.write() = true;
    assert_eq!(desks.webhook("main", &body), Err(WebhookError::Retry("closed".into())));
    let counted = |desks: &AuditDesks| {
        let desk = desks.of("main").expect("there");
        let state = desk.state.lock();
        (state.changes, state.others, state.unreadable)
    };
    assert_eq!(counted(&desks), (0, 0, 0), "it comes again");
    *rig.door.is_closed.write() = false;
    assert_eq!(desks.webhook("main", &body), Ok(()));
    assert_eq!((counted(&desks), rig.stored()), ((1, 1, 1), vec!["a".to_owned()]));
    for (cluster, body, why) in [
        ("logged", body.clone(), "no audit records are taken of a cluster \"logged\""),
        ("none", body, "no audit records are taken of a cluster \"none\""),
        ("main", b"{}".to_vec(), "\"\" is neither an EventList nor an Event"),
    ] {
        let Err(WebhookError::Refused(told)) = desks.webhook(cluster, &body) else { panic!("{why}") };
        assert!(told.starts_with(why), "{told}");
    }
    assert_eq!(rig.stored(), ["a"]);
}

#[test]
fn the_first_change_at_or_after_a_time_is_found() {
    let rig = Rig::new();
    let desks = rig.desks();
    let records = [
        // One of the same name before it, which was deleted.
        record("old", "create", 201, "web", -1),
        record("other", "create", 201, "web-2", 300),
        record("made", "create", 201, "web", 400),
        record("scaled", "patch", 200, "web", 30_000),
        record("edited", "update", 200, "web", 59_000),
        record("late", "create", 201, "late", 60_001),
    ];
    // They need not come in order.
    for record in records.iter().rev() {
        desks.webhook("main", &list(std::slice::from_ref(record))).expect("taken");
    }
    let desk = desks.of("main").expect("there");
    let find = |name: &str, after: i64, is_creation| {
        let question =
            Question::new("Deployment", "shop", name, "", AT + after, is_creation).expect("it runs");
        desk.find(&question).map(|asked| asked.user)
    };
    for (name, after, is_creation, user) in [
        ("web", 0, true, Some("madeer")),
        ("web", 1, true, None),
        ("web", 1, false, Some("scaleder")),
        ("web", 30, false, Some("scaleder")),
        ("web", 31, false, Some("editeder")),
        ("web", -1, true, Some("older")),
        ("late", 0, true, None),
        ("late", 1, true, Some("lateer")),
        ("none", 0, true, None),
    ] {
        assert_eq!(find(name, after, is_creation).as_deref(), user, "{name} {after} {is_creation}");
    }
    let other = desks.of("logged").expect("there");
    let question = Question::new("Deployment", "shop", "web", "", AT, true).expect("it runs");
    assert_eq!(other.find(&question), None, "of another cluster");
}

/// Whatever was stored when the program ended, each record is stored once.
#[test]
fn a_log_is_gone_on_with_after_a_restart() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let write = |name: &str, ids: std::ops::Range<i64>| {
        let text: String = ids
            .map(|id| record(&format!("{id:03}"), "patch", 200, "web", id * 1000).to_string() + "\n")
            .collect();
        std::fs::write(folder.path().join(name), text).expect("written");
    };
    let ids = |ids: std::ops::Range<i64>| ids.map(|id| format!("{id:03}")).collect::<Vec<_>>();
    let run = |turns: usize| {
        let desk = Arc::new(AuditDesk::new("logged".into(), false, &rig.keeping));
        let mut follower = Follower::new(desk, path.clone());
        let _ = (0..turns).take_while(|_| follower.turn()).count();
        follower
    };
    let follower = run(1);
    let trouble = follower.desk.state.lock().trouble.clone();
    assert!(trouble.is_some_and(|text| text.contains("audit.log: No such file")), "it is told");
    write("audit.log", 0..100);
    *rig.door.is_closed.write() = true;
    let mut follower = run(10);
    assert_eq!(rig.stored(), [""; 0]);
    *rig.door.is_closed.write() = false;
    let _ = (0..10).take_while(|_| follower.turn()).count();
    assert_eq!(rig.stored(), ids(0..100), "what waited is stored");
    assert_eq!(follower.desk.state.lock().trouble, None);
    // Rotated twice while nobody looked, and far longer than what is nearly as new.
    write("audit-1.log", 0..150);
    write("audit-2.log", 150..300);
    write("audit.log", 300..310);
    let second = |second: u64| std::time::UNIX_EPOCH + Duration::from_secs(AT.unsigned_abs() + second);
    for (name, at) in [("audit-1.log", 150), ("audit-2.log", 300)] {
        let file = std::fs::File::options().append(true).open(folder.path().join(name)).expect("opened");
        file.set_modified(second(at)).expect("a time");
    }
    run(20);
    assert_eq!(rig.stored(), ids(0..310));
    run(20);
    assert_eq!(rig.stored(), ids(0..310), "nothing is stored twice");
}
