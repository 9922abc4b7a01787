//! Labels and annotations.

use std::{fs, path::PathBuf};

use vedette_model::Labels;

use crate::{
    functions::{RuleFunctions, TemplateSample},
    template::{Data, Text},
};

fn render(text: &str, labels: &Labels, value: f64, external_url: &str) -> Result<String, String> {
    let query = |text: &str| match text {
        "none" => Ok(Vec::new()),
        "metric{instance='a'}" => Err("no".to_owned()),
        _ => Ok([("b", 2.0), ("a", 1.0)]
            .map(|(i, value)| {
                let labels = Labels::from_pairs([("__name__", "metric"), ("instance", i), ("__value__", i)]);
                TemplateSample { labels, value }
            })
            .to_vec()),
    };
    let functions = RuleFunctions { query: &query, now_ms: 1_500, external_url };
    let external_labels = Labels::from_pairs([("cluster", "c")]);
    let data = Data { labels, value: value.into(), external_labels: &external_labels, external_url };
    Ok(Text::parse("t", text)?.render(&data, &functions))
}

#[test]
fn functions_answer_as_documented() {
    let labels = Labels::from_pairs([("instance", "a.example.com:9100")]);
    for (text, expected) in [
        ("plain", "plain"),
        (
            "{{ $labels.instance }} {{ $value }} {{ .Value }} {{ $externalLabels.cluster }} {{ $externalURL }}",
            "a.example.com:9100 0.95 0.95 c http://ext/p",
        ),
        ("{{ $labels.nosuch }}|", "|"),
        (
            "{{ range query `metric` | sortByLabel `instance` }}{{ .Labels.instance }}={{ .Value }};{{ end }}",
            "a=1;b=2;",
        ),
        (
            "{{ query `metric` | first | value }} {{ query `metric` | first | label `instance` }} {{ query `metric` | first | strvalue }}",
            "2 b b",
        ),
        ("{{ with query `none` }}some{{ else }}none{{ end }}", "none"),
        (
            "{{ humanize 0.0 }}:{{ humanize 1.0 }}:{{ humanize 1234567.0 }}:{{ humanize .12 }}:{{ humanize `1049000` }}",
            "0:1:1.235M:120m:1.049M",
        ),
        ("{{ humanize1024 1048576.0 }}:{{ humanize1024 0.5 }}:{{ humanize1024 1500 }}", "1Mi:0.5:1.465ki"),
        (
            "{{ humanizeDuration 0 }}:{{ humanizeDuration 1 }}:{{ humanizeDuration 135 }}:{{ humanizeDuration 3600 }}:{{ humanizeDuration 86400 }}:{{ humanizeDuration -90 }}:{{ humanizeDuration .0015 }}",
            "0s:1s:2m 15s:1h 0m 0s:1d 0h 0m 0s:-1m 30s:1.5ms",
        ),
        ("{{ humanizePercentage 0.959 }} {{ humanizePercentage $value }}", "95.9% 95%"),
        ("{{ humanizeTimestamp 1643114203 }}", "2022-01-25 12:36:43 +0000 UTC"),
        ("{{ (1643114203 | toTime).Year }} {{ now }}", "2022 1.5"),
        ("{{ `some text-here` | title }} {{ toUpper `a` }} {{ toLower `B` }}", "Some Text-Here A b"),
        (
            "{{ match `^a.*c$` `abc` }} {{ reReplaceAll `(.*):.*` `$1` $labels.instance }}",
            "true a.example.com",
        ),
        (
            "{{ graphLink `up == 0` }} {{ tableLink `up` }}",
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=up&g0.tab=1",
        ),
        (
            "{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }} {{ stripPort `[::1]:80` }} {{ stripDomain `10.0.0.1:80` }}",
            "a.example.com a:9100 ::1 10.0.0.1:80",
        ),
        ("{{ parseDuration `1h30m` }} {{ externalURL }} {{ pathPrefix }}", "5400 http://ext/p /p"),
        ("{{ with args 1 `x` }}{{ .arg0 }}{{ .arg1 }}{{ end }}", "1x"),
        (
            "{{ humanize `x` }}",
            "<error expanding template: template: t:1:3: executing \"t\" at <humanize `x`>: error calling humanize: strconv.ParseFloat: parsing \"x\": invalid syntax>",
        ),
        (
            "{{ query `none` | first }}",
            "<error expanding template: template: t:1:18: executing \"t\" at <first>: error calling first: first() called on vector with no elements>",
        ),
    ] {
        assert_eq!(render(text, &labels, 0.95, "http://ext/p").as_deref(), Ok(expected), "{text}");
    }
    let grows = "{{ $x := printf `%30000d` 1 }}{{ reReplaceAll ` ` $x $x | len }}";
    assert!(render(grows, &labels, 0.0, "").unwrap().contains("longer than"), "it took the memory");
    assert_eq!(
        render("a\n{{ nosuch }}", &labels, 0.0, "").unwrap_err(),
        "template: t:2:3: function \"nosuch\" not defined"
    );
}

#[test]
fn annotations_of_foreign_rules_render_as_in_go() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/conformance/alertmanager/golden/template_golden.json");
    let Ok(golden) = fs::read_to_string(file) else {
        println!("SKIPPED template renderings: ../shared/conformance/alertmanager is not there");
        return;
    };
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let (mut passed, mut failures) = (0, Vec::new());
    for case in golden["cases"].as_array().unwrap().iter().filter(|c| c["engine"] == "prometheus-rule") {
        let labels = Labels::from_pairs(
            case["labels"].as_object().unwrap().iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap())),
        );
        let query = |_: &str| {
            let labels = Labels::from_pairs([("instance", "i1"), ("pod", "p1")]);
            Ok(vec![TemplateSample { labels, value: 42.0 }])
        };
        let functions = RuleFunctions { query: &query, now_ms: 0, external_url: "http://ext" };
        let value = case["value"].as_f64().unwrap();
        let external_labels = Labels::empty();
        let data = Data {
            labels: &labels,
            value: value.into(),
            external_labels: &external_labels,
            external_url: "http://ext",
        };
        let got = Text::parse("t", case["template"].as_str().unwrap()).map(|t| t.render(&data, &functions));
        if got.as_deref() == Ok(case["output"].as_str().unwrap()) {
            passed += 1;
        } else {
            failures.push(format!("{}: {got:?}\n    want {}", case["id"], case["output"]));
        }
    }
    eprintln!("{passed} passed, {} failed, 0 skipped", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
