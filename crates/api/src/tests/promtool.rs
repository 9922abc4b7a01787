//! Prometheus' own client against our server, where it is unpacked below the target folder.

use std::path::PathBuf;

use tokio::process::Command;

use super::{NOW_MS, start};

fn promtool() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    Some(target.join("peers/debian/usr/bin/promtool")).filter(|path| path.is_file())
}

#[tokio::test]
async fn promtool_understands_every_answer() {
    let Some(promtool) = promtool() else {
        println!(
            "SKIPPED promtool: target/peers/debian/usr/bin/promtool is not there; `cargo xtask test` unpacks it where apt-get works"
        );
        return;
    };
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
        let arguments = arguments.iter().map(|a| if *a == "&" { server.as_str() } else { a });
        let output =
            Command::new(&promtool).arg("query").args(arguments.clone()).output().await.expect("runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let shown = arguments.collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.success(), succeeds, "{shown}: {said}");
        assert!(said.contains(expected), "{shown}: {said}");
    }
    running.stop().await;
}
