use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;
use vedette_model::{Event, Fact, Finding, FindingState, Process, ProcessKey, StreamTarget};

use super::{Config, Detector};
use crate::{Detections, Rule, Script, builtin, builtin::FILES};

const SECOND_NS: i64 = 1_000_000_000;

fn play(events: &[Event]) -> Vec<Finding> {
    let mut detector = Detector::new(reverse_shell(), &Config::default());
    let mut out = Vec::new();
    for event in events {
        detector.observe(event, &mut out);
    }
    out
}

fn reverse_shell() -> Detections {
    static LOADED: LazyLock<Detections> = LazyLock::new(|| {
        Detections::load(FILES.into_iter().filter(|(file, _)| *file == "reverse-shell.md")).unwrap()
    });
    LOADED.clone()
}

fn script(text: &str) -> Vec<Event> {
    Script::parse(text).unwrap().events().to_vec()
}

fn fingerprints(findings: &[Finding]) -> BTreeSet<u64> {
    findings.iter().map(|f| f.fingerprint).collect()
}

const BASH: &str = r#"
- {pid: 9, ppid: 1, container: web, exec: /usr/bin/app}
- {pid: 51, ppid: 9, connection: "tcp 10.0.0.2:40000 -> 10.0.0.1:4441"}
- {pid: 51, redirect: 0, to: "tcp 10.0.0.2:40000 -> 10.0.0.1:4441"}
- {pid: 51, redirect: 1, to: "tcp 10.0.0.2:40000 -> 10.0.0.1:4441"}
- {pid: 51, exec: /bin/bash, args: [bash, -i], streams: ["tcp 10.0.0.2:40000 -> 10.0.0.1:4441", "tcp 10.0.0.2:40000 -> 10.0.0.1:4441", file]}
"#;

#[test]
fn every_file_of_content_is_built_in_and_keeps_its_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/detections");
    let there: BTreeSet<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, FILES.iter().map(|(file, _)| (*file).to_owned()).collect());
    let mut failures = Vec::new();
    for rule in builtin().rules() {
        failures.extend(rule.check().iter().map(ToString::to_string));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn sequences_recorded_from_the_kernel_are_judged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 13);
    let mut failures = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let findings = play(&script(&fs::read_to_string(&file).unwrap()));
        let wanted = usize::from(!name.starts_with("no-"));
        if fingerprints(&findings).len() != wanted {
            failures.push(format!("{name}: {findings:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_finding_names_container_peer_ancestry_and_evidence() {
    let findings = play(&script(BASH));
    assert_eq!(findings.len(), 1, "told once");
    let finding = &findings[0];
    assert_eq!(finding.rule, "reverse-shell");
    assert_eq!(finding.title, "Reverse shell in web: app is driven by 10.0.0.1:4441");
    let label = |name| finding.labels.get(name).unwrap();
    assert_eq!((label("alertname"), label("severity")), ("reverse-shell", "critical"));
    assert_eq!((label("container"), label("peer"), label("pid")), ("web", "10.0.0.1:4441", "51"));
    assert_eq!(finding.fingerprint, finding.labels.stable_hash());
    assert_eq!(finding.ancestry[1], "app(9)");
    assert!(
        finding.evidence.iter().any(|e| e == "its input is the outbound TCP connection to 10.0.0.1:4441")
    );
}

#[test]
fn the_program_that_comes_after_the_redirect_is_added() {
    let mut detector = Detector::new(reverse_shell(), &Config::default());
    let mut out = Vec::new();
    let events = script(BASH);
    for event in &events {
        detector.observe(event, &mut out);
    }
    let now = events.last().unwrap().time_ns + 61 * SECOND_NS;
    detector.expire(now, &mut out);
    assert_eq!(out.len(), 2, "told again with what was added");
    assert_eq!(out[1].count, 2);
    assert!(out[1].evidence.iter().any(|e| e == "bash(51) runs bash -i"));
    assert_eq!(fingerprints(&out).len(), 1);
}

#[test]
fn a_finding_lasts_while_the_shell_lives_and_is_resolved_after() {
    let mut detector = Detector::new(reverse_shell(), &Config::default());
    let mut out = Vec::new();
    let mut events = script(BASH);
    for event in &events {
        detector.observe(event, &mut out);
    }
    let last = events.pop().unwrap();
    detector.expire(last.time_ns + 3_600 * SECOND_NS, &mut out);
    assert!(out.iter().all(|f| f.state == FindingState::Firing), "the shell lives");
    let exit = Event {
        time_ns: last.time_ns + 3_600 * SECOND_NS,
        fact: Fact::Exit { code: 0, signal: false },
        ..last.clone()
    };
    detector.observe(&exit, &mut out);
    detector.expire(last.time_ns + 3_601 * SECOND_NS, &mut out);
    let end = out.last().unwrap();
    assert_eq!((end.state, end.fingerprint), (FindingState::Resolved, out[0].fingerprint));
    assert_eq!(detector.stats().firing, 0);
}

/// Facts of one shell arrive in some order; programs that a process runs one after the other, and
/// what it does between them, keep theirs.
#[test]
fn the_order_of_facts_of_different_processes_does_not_matter() {
    let cases = [
        r#"
- {pid: 71, ppid: 70, container: web, exec: /bin/cat, streams: [pty 0, pipe 5, pty 0]}
- {pid: 72, ppid: 70, container: web, exec: /bin/sh, streams: [pipe 5, pipe 6, pipe 6]}
- {pid: 73, ppid: 70, container: web, exec: /bin/nc, streams: [pipe 6, fifo 99, pty 0]}
- {pid: 73, connection: "tcp 10.0.0.2:40002 -> 10.0.0.1:4444"}
"#,
        r#"
- {pid: 80, ppid: 9, exec: /usr/bin/socat, streams: [device, file, file]}
- {pid: 80, pty_open: 0}
- {pid: 80, connection: "tcp 10.0.0.2:40003 -> 10.0.0.1:4445"}
- {pid: 81, ppid: 80, exec: /bin/bash, streams: [pty 0, pty 0, pty 0]}
"#,
        r#"
- {pid: 80, ppid: 9, exec: /usr/bin/relay, streams: [device, file, file]}
- {pid: 80, connection: "tcp 10.0.0.2:40003 -> 10.0.0.1:4445"}
- {pid: 80, pty_open: 0}
- {pid: 81, ppid: 80, exec: /bin/x, streams: [pty 0, pty 0, pty 0]}
- {pid: 82, ppid: 81, exec: /bin/id, streams: [pty 0, pty 0, pty 0]}
"#,
    ];
    for case in cases {
        let events = script(case);
        for order in permutations(events.len()) {
            let order: Vec<&Event> = order.iter().map(|i| &events[*i]).collect();
            let first_exec = |pid| order.iter().position(|e| is_exec(e, pid));
            // A process cannot connect by a program that it does not run yet, and a parent runs
            // its program before its child's first command.
            let possible = order.iter().enumerate().all(|(i, e)| {
                let process = e.process.as_ref().unwrap();
                let own = is_exec(e, process.key.pid) || first_exec(process.key.pid).is_none_or(|at| at < i);
                let parent = process.ancestors.first().map(|a| a.key.pid);
                own && parent.and_then(first_exec).is_none_or(|at| at < i)
            });
            if possible {
                let mut detector = Detector::new(reverse_shell(), &Config::default());
                let mut out = Vec::new();
                for event in &order {
                    detector.observe(event, &mut out);
                }
                let told: Vec<_> =
                    order.iter().map(|e| (e.process.as_ref().unwrap().key.pid, e.fact.kind())).collect();
                assert_eq!(fingerprints(&out).len(), 1, "{told:?}");
            }
        }
    }
}

fn is_exec(event: &Event, pid: u32) -> bool {
    matches!(event.fact, Fact::Exec { .. }) && event.process.as_ref().is_some_and(|p| p.key.pid == pid)
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    shorter
        .iter()
        .flat_map(|p| {
            (0..n).map(move |at| {
                let mut longer = p.clone();
                longer.insert(at, n - 1);
                longer
            })
        })
        .collect()
}

#[test]
fn state_is_bounded_and_what_is_given_up_is_counted() {
    let config = Config { processes_max: 100, findings_max: 10, ..Config::default() };
    let mut detector = Detector::new(reverse_shell(), &config);
    let mut out = Vec::new();
    let events = script(BASH);
    let template = events.last().unwrap();
    for pid in 1_000..3_000_u32 {
        let process = Process { key: ProcessKey { pid, start_ns: u64::from(pid) }, ..Process::default() };
        let mut event = Event { process: Some(Arc::new(process)), ..template.clone() };
        let Fact::Exec { streams, .. } = &mut event.fact else { panic!("not an exec") };
        for stream in streams {
            if let StreamTarget::Socket(socket) = stream {
                socket.local_port = u16::try_from(pid).unwrap();
            }
        }
        event.time_ns += i64::from(pid);
        detector.observe(&event, &mut out);
        assert!(detector.stats().processes <= 100 && detector.stats().firing <= 10);
    }
    assert_eq!(detector.stats().processes_evicted, 1_900);
    assert_eq!(out.iter().filter(|f| f.state == FindingState::Resolved).count(), 1_990);
    assert_eq!(detector.metrics().evicted_findings.get(), 1_990);
}

#[test]
fn five_hundred_ordinary_programs_give_nothing() {
    let mut text = String::from("- {pid: 2, ppid: 1, exec: /bin/bash, streams: [pty 0, pty 0, pty 0]}\n");
    for i in 0..500_u32 {
        let pid = 100 + i;
        let (input, output) =
            (if i % 3 == 0 { "pty 0".into() } else { format!("pipe {}", i - 1) }, format!("pipe {i}"));
        let streams = format!("[{input}, {output}, pty 0]");
        text += &format!("- {{pid: {pid}, ppid: 2, exec: /usr/bin/tool{}, streams: {streams}}}\n", i % 7);
        if i % 5 == 0 {
            text +=
                &format!("- {{pid: {pid}, connection: \"tcp 10.0.0.2:{} -> 10.0.0.7:443\"}}\n", 30_000 + i);
        }
    }
    let mut detector = Detector::new(builtin(), &Config::default());
    let mut out = Vec::new();
    for event in script(&text) {
        detector.observe(&event, &mut out);
    }
    assert_eq!(out, []);
}

#[test]
fn errors_name_file_line_and_remedy() {
    let good = FILES.iter().find(|(file, _)| *file == "drift-exec.md").unwrap().1;
    let cases = [
        ("no front matter here", "1: the file has no front matter"),
        (
            &*good.replace("severity: warning", "severity: fatal"),
            "4: the severity \"fatal\" is unknown; use info",
        ),
        (
            &*good.replace("upper_layer: true\nfold", "upper_lair: true\nfold"),
            "no event has the field \"upper_lair\"",
        ),
        (&*good.replace("when: exec", "when: exec\nbehavior: x"), "behavior"),
        (&*good.replace("when: exec", "when: execve"), "6: no event is of the kind \"execve\""),
        (&*good.replace("{executable}", "{exe}"), "3: the title has the unknown placeholder {exe}"),
        (&*good.replace("no-match", "match"), "there is no example that must not match"),
        (
            &*good
                .replace("- {pid: 11, ppid: 9, container: web, exec", "- {pid: 11, ppid: 9, pod: web, exec"),
            "x.md:27: example",
        ),
        (&*good.replace("name: drift-exec", "name: Drift Exec"), "2: the name \"Drift Exec\""),
    ];
    for (text, wanted) in cases {
        let errors = Detections::load([("x.md", text)]).unwrap_err();
        let told = errors[0].to_string();
        assert!(told.starts_with("x.md:") && told.contains(wanted), "{told:?} does not contain {wanted:?}");
        assert!(!errors[0].remedy.is_empty());
    }
    let twice = Detections::load([("a.md", good), ("b.md", good)]).unwrap_err();
    assert!(twice[0].to_string().contains("there is a rule \"drift-exec\" already"));
}

#[test]
fn a_broken_promise_is_told_with_its_line() {
    let good = FILES.iter().find(|(file, _)| *file == "drift-exec.md").unwrap().1;
    let rule = Rule::parse("x.md", &good.replace("container: true\n  ", "")).unwrap();
    let errors = rule.check();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].what.contains("an overlay file system on the host itself"), "{}", errors[0]);
}

/// Events of few processes, pipes, terminals and connections, so that they meet.
fn any_line() -> impl Strategy<Value = String> {
    let stream = prop_oneof![
        Just("file".to_owned()),
        (0..3_u32).prop_map(|n| format!("pipe {n}")),
        (0..2_u32).prop_map(|n| format!("fifo {n}")),
        (0..2_u32).prop_map(|n| format!("socket {n}")),
        (0..2_u32).prop_map(|n| format!("pty {n}")),
        (0..2_u32, prop::sample::select(vec!["->", "<-", "--"]))
            .prop_map(|(n, arrow)| format!("tcp 10.0.0.2:400{n} {arrow} 10.0.0.1:80")),
    ];
    let fact = prop_oneof![
        4 => (prop::sample::select(vec!["/bin/sh", "/bin/nc"]), [stream.clone(), stream.clone(), stream.clone()])
            .prop_map(|(e, s)| format!("exec: {e}, streams: [\"{}\", \"{}\", \"{}\"]", s[0], s[1], s[2])),
        1 => (0..3_u8, stream).prop_map(|(fd, s)| format!("redirect: {fd}, to: \"{s}\"")),
        2 => (0..2_u32, prop::sample::select(vec!["->", "<-"]))
            .prop_map(|(n, arrow)| format!("connection: \"tcp 10.0.0.2:400{n} {arrow} 10.0.0.1:80\"")),
        1 => (0..2_u32).prop_map(|n| format!("pty_open: {n}")),
        1 => Just("exit: 0".to_owned()),
    ];
    (1..7_u32, 0..3_u32, fact)
        .prop_map(|(pid, ppid, fact)| format!("- {{pid: {pid}, ppid: {ppid}, {fact}}}\n"))
}

static BUILTIN: LazyLock<Detections> = LazyLock::new(builtin);

proptest! {
    #[test]
    fn any_sequence_keeps_the_life_of_findings(lines in prop::collection::vec(any_line(), 0..60)) {
        let events = Script::parse(&format!("{}\n", lines.concat())).map(|s| s.events().to_vec()).unwrap_or_default();
        let config = Config { findings_max: 3, ..Config::default() };
        let (mut a, mut b) = (Detector::new(BUILTIN.clone(), &config), Detector::new(BUILTIN.clone(), &config));
        let (mut out, mut again) = (Vec::new(), Vec::new());
        for event in &events {
            a.observe(event, &mut out);
            b.observe(event, &mut again);
        }
        prop_assert_eq!(&out, &again, "the same events give the same findings");
        // No outbound connection, no reverse shell.
        let outbound = lines.iter().any(|l| l.contains("->"));
        prop_assert!(outbound || out.is_empty());
        a.expire(events.last().map_or(0, |e| e.time_ns) + 100_000 * SECOND_NS, &mut out);
        let mut firing = BTreeSet::new();
        for finding in &out {
            match finding.state {
                FindingState::Firing => { firing.insert(finding.fingerprint); }
                FindingState::Resolved => prop_assert!(firing.remove(&finding.fingerprint)),
            }
            prop_assert!(finding.first_ns <= finding.last_ns && finding.count >= 1);
        }
        prop_assert!(firing.is_empty(), "all is over in the end");
    }
}
