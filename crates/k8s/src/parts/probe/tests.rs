use std::path::Path;

use super::*;

const AT: MonotonicTime = MonotonicTime(1_000_000_000);

fn probe(livez: Reply, readyz: Reply) -> Probe {
    Probe { began: AT, ended: AT, livez, readyz, certificates: None }
}

fn answer(code: u16, body: &str) -> Reply {
    Reply::Answer(code, body.to_owned())
}

fn word(seen: &Seen) -> &'static str {
    seen.cause.map_or("", |cause| cause.word)
}

#[test]
fn what_a_real_server_said_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/k8s-recordings");
    if !folder.is_dir() {
        println!("SKIPPED: there are no recordings at {}", folder.display());
        return;
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let (livez, readyz) = (read("livez_verbose.txt"), read("readyz_verbose.txt"));
    // Every line but the last is a check.
    for body in [&livez, &readyz] {
        let lines = body.lines().filter(|line| line.starts_with('[')).count();
        assert!(lines > 10 && checks(body).count() == lines, "{body}");
        assert!(checks(body).all(|check| check.is_ok && check.text == format!("{} ok", check.name)));
    }
    let well = probe(answer(200, &livez), answer(200, &readyz));
    assert_eq!((well.server(), well.store()), (Seen::good(), Some(Seen::good())));

    let stopped =
        probe(answer(500, &read("livez_etcd_stopped.txt")), answer(200, &read("readyz_etcd_stopped.txt")));
    assert_eq!(word(&stopped.server()), "etcd");
    let store = stopped.store().expect("a check of the store");
    assert_eq!(store, Seen::wrong(ETCD_CHECK, "/livez [-]etcd failed: reason withheld"));
}

#[test]
fn the_worst_check_names_the_cause() {
    let livez = answer(200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n");
    let failing = |lines: &str| probe(livez.clone(), answer(500, lines)).server();
    let starting = failing("[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: not finished\n");
    assert_eq!(word(&starting), "starting");
    assert_eq!(starting.evidence, "/readyz [-]poststarthook/rbac/bootstrap-roles failed: not finished");
    assert_eq!(
        word(&failing("[+]ping ok\n[-]autoregister-completion failed: missing APIService\n")),
        "starting"
    );
    assert_eq!(word(&failing("[-]shutdown failed: process is shutting down\n")), "stopping");
    let both = failing("[-]poststarthook/a failed: x\n[-]etcd failed: y\n[-]log failed: z\n");
    assert_eq!(word(&both), "check_failed");
    assert!(both.evidence.starts_with("/readyz [-]log failed: z; "), "{}", both.evidence);
    let many: String = (0..40).map(|n| format!("[-]check{n} failed: {}\n", "x".repeat(500))).collect();
    let many = failing(&many);
    assert!(many.evidence.ends_with("and 35 more") && many.evidence.len() < 1500, "{}", many.evidence);
}

#[test]
fn what_is_no_answer_of_checks_is_told_apart() {
    let ok = answer(200, "ok");
    for (reply, expected) in [
        (Reply::Silence("dial tcp: connection refused".into()), "no_answer"),
        (Reply::Unasked("the program for credentials failed".into()), "credentials"),
        (
            Reply::Distrusted(CertificateTrouble::ServerOutdated, "x509: expired".into()),
            "certificate_expired",
        ),
        (Reply::Distrusted(CertificateTrouble::ServerDistrusted, "x509".into()), "certificate_untrusted"),
        (Reply::Distrusted(CertificateTrouble::ClientRefused, "x".into()), "client_certificate_refused"),
        (answer(403, "forbidden: User \"x\" cannot get path"), "barred"),
        (answer(401, "Unauthorized"), "credentials"),
        (answer(429, "Too many requests"), "overloaded"),
        (answer(503, "<html>no backend\u{7}"), "refuses"),
        (answer(500, ""), "refuses"),
    ] {
        let probe = probe(ok.clone(), reply);
        assert_eq!(word(&probe.server()), expected, "{probe:?}");
        assert_eq!(probe.store(), None, "the store is not spoken of");
        assert!(!probe.server().evidence.contains('\u{7}'));
    }
    let mut slow = probe(ok.clone(), ok);
    assert_eq!(slow.server(), Seen::good(), "an answer without checks is one");
    slow.ended = MonotonicTime(AT.0 + 1_400_000_000);
    let told = slow.server();
    assert_eq!(word(&told), "slow");
    slow.ended = MonotonicTime(AT.0 + 1_700_000_000);
    assert_eq!(slow.server(), told, "the text stands in a label, and is the same however long it takes");
}
