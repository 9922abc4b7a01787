//! What scripts rely on: the exit status of the program, and where it says what.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

fn vedette(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vedette")).args(args).output().expect("the program starts")
}

/// Its exit status, and what it says on standard output and standard error.
fn says(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = vedette(args);
    let text = |bytes| String::from_utf8(bytes).expect("it says text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn what_is_asked_for_is_said_on_standard_output() {
    let (status, said, complained) = says(&["--version"]);
    assert_eq!((status, &*complained), (Some(0), ""));
    assert_eq!(said, format!("vedette {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_problem_that_is_found_is_status_1_and_names_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yml");
    let check = |text: &str| {
        fs::write(&file, text).expect("written");
        says(&["rules", "check", file.to_str().expect("a path")])
    };
    let rule = "groups:\n- name: g\n  rules:\n  - record: a\n    expr: ";
    assert_eq!(check(&format!("{rule}sum(b)\n")).0, Some(0));
    let (status, said, complained) = check(&format!("{rule}sum(b\n"));
    assert_eq!(status, Some(1), "{said}{complained}");
    assert!(format!("{said}{complained}").contains("rules.yml:5"), "{said}{complained}");
}

#[test]
fn what_cannot_be_done_is_status_2_and_says_where() {
    // Nobody listens there any more.
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("an address").to_string();
    let (status, said, complained) = says(&["query", "--url", &format!("http://{address}"), "up"]);
    assert_eq!((status, &*said), (Some(2), ""), "{complained}");
    assert!(complained.starts_with("error: ") && complained.contains(&address), "{complained}");
}

#[test]
fn wrong_usage_is_status_3_and_names_the_right_one() {
    let (status, said, complained) = says(&["up", "--no-such-flag"]);
    assert_eq!((status, &*said), (Some(3), ""), "{complained}");
    assert!(
        complained.contains("--no-such-flag") && complained.contains("Usage: vedette up"),
        "{complained}"
    );
}
