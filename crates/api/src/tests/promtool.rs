//! Prometheus' own client against our server, where it is unpacked below the target folder.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{io::AsyncWriteExt, process::Command};
use vedette_sys::Clock;

use super::{NOW_MS, start};

/// Those of Debian and of the reference programs, as far as they are there.
fn promtools() -> Vec<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    let debian = Some(target.join("peers/debian/usr/bin/promtool")).filter(|path| path.is_file());
    if debian.is_none() {
        println!(
            "SKIPPED promtool 2.42: target/peers/debian/usr/bin/promtool is not there; `cargo xtask test` unpacks it where apt-get works"
        );
    }
    let newest = super::peers::reference("promtool");
    if newest.is_none() {
        println!("SKIPPED promtool 3.14: target/peers/go/promtool is not there; the peers lane builds it");
    }
    debian.into_iter().chain(newest).collect()
}

async fn run(promtool: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut process = Command::new(promtool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = process.stdin.take().expect("piped");
    // It may end without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = process.wait_with_output().await.expect("ends");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test]
async fn promtool_checks_pushes_and_analyzes() {
    let Some(promtool) = super::peers::reference("promtool") else {
        println!(
            "SKIPPED promtool 3.14 push: target/peers/go/promtool is not there; the peers lane builds it"
        );
        return;
    };
    // It pushes with the time of its clock.
    let (mut app, folder) = super::test_app_at(vedette_sys::SystemClock.unix_ms());
    app.ready.store(false, std::sync::atomic::Ordering::Release);
    app.clock = std::sync::Arc::new(vedette_sys::SystemClock);
    let running = super::start_app(super::test_config(), app, folder).await;
    let server = format!("http://{}", running.address);
    let check = async |what: &str| run(&promtool, &["check", what, &format!("--url={server}")], "").await;
    assert!(check("healthy").await.0);
    assert!(!check("ready").await.0);
    running.ready.store(true, std::sync::atomic::Ordering::Release);
    assert!(check("ready").await.0);
    let metrics = "# TYPE pushed_seconds histogram\npushed_seconds_bucket{le=\"1\"} 2\npushed_seconds_bucket{le=\"+Inf\"} 3\n\
        pushed_seconds_sum 4\npushed_seconds_count 3\n";
    let push = async |message: &str| {
        let form = format!("--protobuf_message={message}");
        run(&promtool, &["push", "metrics", &form, &server], metrics).await
    };
    // What is analyzed needs two samples.
    for _ in 0..2 {
        let (pushed, said) = push("prometheus.WriteRequest").await;
        assert!(pushed, "{said}");
    }
    // It sends a message of 1.0 in the name of 2.0, which would be stored as nothing.
    let (pushed, said) = push("io.prometheus.write.v2.Request").await;
    assert!(!pushed && said.contains("1.0 in a request of 2.0"), "{said}");
    let (found, said) = run(&promtool, &["query", "instant", &server, "pushed_seconds_count"], "").await;
    assert!(found && said.contains("job=\"promtool\"} => 3 @"), "{said}");
    let analyze = [
        "query",
        "analyze",
        "--type=histogram",
        "--match=pushed_seconds_bucket",
        "--server",
        server.as_str(),
    ];
    let (analyzed, said) = run(&promtool, &analyze, "").await;
    assert!(analyzed && said.contains("pushed_seconds_bucket"), "{said}");
    running.stop().await;
}

#[tokio::test]
async fn promtool_understands_every_answer() {
    for promtool in promtools() {
        understands(&promtool).await;
    }
}

async fn understands(promtool: &Path) {
    let running = start().await;
    let server = format!("http://{}", running.address);
    let (start, end) = ((NOW_MS / 1000 - 30).to_string(), (NOW_MS / 1000).to_string());
    let time = "2023-11-14T22:13:20Z";
    for (arguments, succeeds, expected) in [
        (
            vec!["instant", "--time", time, "&", "sum by (job) (up)"],
            true,
            "{job=\"node\"} => 0 @[1700000000]\n",
        ),
        (vec!["instant", "--time", time, "&", "vector(1) / 0"], true, "{} => +Inf @[1700000000]\n"),
        (vec!["instant", "--time", time, "&", "2"], true, "scalar: 2 @[1700000000]\n"),
        (
            vec!["instant", "--time", time, "&", "up +"],
            false,
            "bad_data: invalid parameter \"query\": 1:5: parse error: ",
        ),
        (
            vec!["range", "--start", &start, "--end", &end, "--step", "15s", "&", "sum(up)"],
            true,
            "{} =>\n1 @[1699999970]\n1 @[1699999985]\n1 @[1700000000]\n",
        ),
        (
            vec!["series", "--match", "up", "--start", &start, "--end", &end, "&"],
            true,
            "{__name__=\"up\", instance=\"localhost:9090\", job=\"prometheus\"}\n{__name__=\"up\", instance=\"localhost:9100\", job=\"node\"}\n",
        ),
        (vec!["series", "--match", "up", "&"], true, ""),
        (vec!["labels", "&", "job"], true, ""),
        (vec!["labels", "--start", &start, "--end", &end, "&", "job"], true, "node\nprometheus\n"),
    ] {
        let arguments = arguments.iter().map(|a| if *a == "&" { server.as_str() } else { *a });
        let arguments: Vec<&str> = std::iter::once("query").chain(arguments).collect();
        let (succeeded, said) = run(promtool, &arguments, "").await;
        let shown = arguments.join(" ");
        assert_eq!(succeeded, succeeds, "{shown}: {said}");
        assert!(said.contains(expected), "{shown}: {said}");
    }
    running.stop().await;
}
