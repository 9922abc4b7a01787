//! All or nothing, by parts that may refuse.

use vedette_sys::{ManualClock, RealFs};

use super::*;

/// A part that notes what it works by, refuses a job of one name, and fails halfway with one of another.
struct Noting {
    refuses: &'static str,
    fails: &'static str,
    by: Arc<Mutex<String>>,
    /// All that it has worked by.
    history: Arc<Mutex<Vec<String>>>,
}

fn has_job(loaded: &Loaded, name: &str) -> bool {
    loaded.config.scrape_jobs.iter().any(|job| job.name == name)
}

impl Follower for Noting {
    fn check(&self, loaded: &Loaded) -> Result<(), String> {
        if has_job(loaded, self.refuses) { Err(format!("will not do {}", self.refuses)) } else { Ok(()) }
    }

    fn apply(&self, loaded: &Loaded) -> Result<(), String> {
        let names: Vec<&str> = loaded.config.scrape_jobs.iter().map(|job| job.name.as_str()).collect();
        let rules: usize = loaded.groups.iter().map(|group| group.rules.len()).sum();
        *self.by.lock() = format!("{} {rules}", names.join(","));
        self.history.lock().push(names.join(","));
        if has_job(loaded, self.fails) { Err(format!("cannot do {}", self.fails)) } else { Ok(()) }
    }
}

struct Rig {
    folder: tempfile::TempDir,
    file: PrometheusFile,
    parts: [Arc<Mutex<String>>; 3],
    histories: [Arc<Mutex<Vec<String>>>; 3],
    clock: ManualClock,
    status: StatusBoard,
    telemetry: Telemetry,
}

const RULES: &str = "groups: [{name: g, rules: [{record: a, expr: b}]}]\n";

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("p.yml"), Self::text("one")).expect("written");
        std::fs::write(folder.path().join("a.rules"), RULES).expect("written");
        let parts: [Arc<Mutex<String>>; 3] = Default::default();
        let histories: [Arc<Mutex<Vec<String>>>; 3] = Default::default();
        let part = |i: usize, refuses, fails| {
            let (by, history) = (parts[i].clone(), histories[i].clone());
            Box::new(Noting { refuses, fails, by, history }) as Box<dyn Follower>
        };
        let followers =
            vec![part(0, "nobody", "nothing"), part(1, "bad", "half"), part(2, "nobody", "nothing")];
        let (status, telemetry) = (StatusBoard::default(), Telemetry::default());
        let clock = ManualClock::at(1_000_000_000);
        let path = folder.path().join("p.yml");
        let loaded = read(&path, &RealFs, Mode::Server).expect("sound");
        let surroundings = (Arc::new(RealFs) as Arc<dyn Fs>, Arc::new(clock.clone()) as Arc<dyn Clock>);
        let file = PrometheusFile::start(&path, loaded, followers, surroundings, &status, &telemetry);
        Self { folder, file: file.expect("accepted"), parts, histories, clock, status, telemetry }
    }

    fn text(job: &str) -> String {
        format!(
            "global: {{evaluation_interval: 7s}}\nrule_files: ['*.rules']\nscrape_configs: [{{job_name: {job}}}]\n"
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn by(&self) -> [String; 3] {
        self.parts.clone().map(|part| part.lock().clone())
    }

    fn successful(&self) -> (f64, f64) {
        #[derive(Default)]
        struct Values(Vec<f64>);
        impl MetricVisitor for Values {
            fn value(&mut self, family: &Family, _: &[(&str, &str)], value: f64) {
                if family.name.starts_with("vedette_config_last_reload_success") {
                    self.0.push(value);
                }
            }
        }
        let mut values = Values::default();
        self.telemetry.visit(&mut values);
        (values.0[0], values.0[1])
    }
}

#[test]
fn a_reading_is_in_force_as_a_whole_or_not_at_all() {
    let rig = Rig::new();
    assert_eq!(rig.by(), ["one 1"; 3]);
    assert_eq!(rig.successful(), (1.0, 1.0));
    rig.clock.advance(Duration::from_secs(9));

    // The second part refuses, so nobody is told to change.
    rig.write("p.yml", &Rig::text("bad"));
    let error = rig.file.reload().expect_err("refused");
    assert_eq!((error.as_str(), rig.by()), ("will not do bad", ["one 1"; 3].map(String::from)));
    assert!(rig.histories.iter().all(|history| *history.lock() == ["one"]));
    assert_eq!(rig.successful(), (0.0, 1.0));
    assert_eq!(rig.file.last().error, "will not do bad");
    assert!(rig.file.to_yaml().contains("job_name: one"));
    let part = rig.status.get("prometheus_config").expect("posted");
    assert!(part.health == Health::Degraded && part.message.contains("will not do bad"), "{part:?}");

    // What cannot be read, and rules that cannot be, are refused before anybody is asked.
    for (name, text, words) in [
        ("p.yml", "scrape_configs: [{}]\n", "p.yml:1"),
        ("a.rules", "groups: [{name: g, rules: [{record: a, expr: 'b('}]}]\n", "a.rules"),
    ] {
        rig.write("p.yml", &Rig::text("two"));
        rig.write(name, text);
        let error = rig.file.reload().expect_err(words);
        assert!(error.contains(words), "{error}");
        assert_eq!(rig.by(), ["one 1"; 3]);
    }

    rig.write("p.yml", &Rig::text("two"));
    rig.write("a.rules", RULES);
    rig.write("b.rules", RULES);
    rig.file.reload().expect("sound");
    assert_eq!(rig.by(), ["two 2"; 3]);
    assert_eq!(rig.successful(), (1.0, 10.0));
    assert_eq!(rig.status.get("prometheus_config").expect("posted").health, Health::Ok);
}

#[test]
fn a_part_that_fails_halfway_takes_all_back_to_what_was() {
    let rig = Rig::new();
    rig.write("p.yml", &Rig::text("half"));
    assert_eq!(rig.file.reload().expect_err("failed"), "cannot do half");
    assert_eq!(rig.by(), ["one 1"; 3]);
    let histories = rig.histories.clone().map(|history| history.lock().clone());
    // The one that failed had begun to change; the one behind it was never told.
    assert_eq!(histories, [vec!["one", "half", "one"], vec!["one", "half", "one"], vec!["one"]]);
    assert!(rig.file.to_yaml().contains("job_name: one"));
    assert_eq!(rig.successful().0, 0.0);

    rig.write("p.yml", &Rig::text("two"));
    rig.file.reload().expect("sound");
    assert_eq!(rig.by(), ["two 1"; 3]);
}

#[test]
fn changes_are_taken_up_once_they_are_written() {
    let rig = Rig::new();
    let looks = |count| (0..count).for_each(|_| rig.file.reload_if_changed());
    rig.write("b.rules", RULES);
    looks(1);
    assert_eq!(rig.by()[0], "one 1", "it may still be written");
    rig.write("b.rules", &RULES.replace("record: a", "record: abc"));
    looks(1);
    assert_eq!(rig.by()[0], "one 1", "it was still written");
    looks(1);
    assert_eq!(rig.by()[0], "one 2");

    // What is refused is not tried again and again, but after the next change.
    rig.write("p.yml", &Rig::text("bad"));
    looks(2);
    assert!(rig.file.last().error.contains("bad"));
    *rig.parts[0].lock() = "untouched".into();
    looks(3);
    assert_eq!(rig.by()[0], "untouched");
    rig.write("p.yml", &Rig::text("three"));
    looks(2);
    assert_eq!(rig.by(), ["three 2"; 3]);
}

#[test]
fn groups_take_what_is_said_for_all() {
    let rig = Rig::new();
    let loaded = read(&rig.folder.path().join("p.yml"), &RealFs, Mode::Server).expect("sound");
    assert_eq!(loaded.groups[0].interval_ms, Some(7000));
}
