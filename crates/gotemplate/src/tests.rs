//! Own cases as data, the foreign golden renderings where they are present, and hostile input.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

mod golden;

fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap()), Value::Int)
        }
        serde_json::Value::String(s) => s.as_str().into(),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json)),
        serde_json::Value::Object(map)
            if !map.is_empty() && map.values().all(serde_json::Value::is_string) =>
        {
            Value::string_map(map.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())))
        }
        serde_json::Value::Object(map) => {
            Value::map(map.iter().map(|(k, v)| (Arc::from(k.as_str()), from_json(v))))
        }
    }
}

fn render(text: &str, data: &Value) -> Result<String, Error> {
    Template::parse("t", text, &NoFunctions)?.execute("t", data, &NoFunctions, &Limits::default())
}

#[test]
fn own_cases() {
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("tests/cases.json")).unwrap();
    let mut failures = Vec::new();
    for case in &cases {
        let text = case["template"].as_str().unwrap();
        let result = render(text, &from_json(&case["data"]));
        let matches = match (&result, case["expected"].as_str(), case["error"].as_str()) {
            (Ok(out), Some(expected), None) => out == expected,
            (Err(e), None, Some(error)) => e.to_string() == error,
            _ => false,
        };
        if !matches {
            failures.push(format!("{case}\n    got {:?}", result.map_err(|e| e.to_string())));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn definitions_are_shared_within_a_set() {
    let mut set = Template::parse("a", r#"{{define "x"}}[{{.}}]{{end}}"#, &NoFunctions).unwrap();
    set.add("b", r#"{{template "x" 1}}"#, &NoFunctions).unwrap();
    set.add("c", r#"{{define "x"}}  {{end}}"#, &NoFunctions).unwrap();
    let limits = Limits::default();
    assert_eq!(set.execute("b", &Value::Nil, &NoFunctions, &limits).unwrap(), "[1]");
    set.add("d", r#"{{define "x"}}<{{.}}>{{end}}"#, &NoFunctions).unwrap();
    assert_eq!(set.execute("b", &Value::Nil, &NoFunctions, &limits).unwrap(), "<1>");
    assert_eq!(set.execute("e", &Value::Nil, &NoFunctions, &limits), Err(Error::Unknown("e".into())));
}

#[test]
fn runaways_end_at_the_limits() {
    let limits = Limits { output_bytes_max: 10_000, steps_max: 50_000, depth_max: 100 };
    for (text, expected) in [
        ("{{range 1000000000}}{{end}}", "steps"),
        ("{{range 1000000000}}aaaa{{end}}", "output is longer"),
        (r#"{{define "x"}}{{template "x"}}{{end}}{{template "x"}}"#, "maximum template depth"),
        (r#"{{$x := "aaaaaaaa"}}{{range 1000}}{{$x = print $x $x}}{{end}}"#, "longer than"),
        (r#"{{printf "%999999d" 1}}"#, "longer than"),
        (r#"{{printf "%.999999d" 1}}"#, "longer than"),
        (r#"{{printf "%-999999s" "a"}}"#, "longer than"),
    ] {
        let set = Template::parse("t", text, &NoFunctions).unwrap();
        let error = set.execute("t", &Value::Nil, &NoFunctions, &limits).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn wide_numbers_are_written_up_to_the_limit() {
    for verb in ["%0100000d", "%.100000d", "%100000d", "%-100000x", "%0100000.2f", "%.100000f"] {
        let arg = if verb.ends_with('f') { Value::Float(1.0) } else { Value::Int(1) };
        let text = format::sprintf(verb, &[arg], 1 << 20).unwrap();
        assert!(text.len() == 100_000 || verb == "%.100000f", "{verb}: {}", text.len());
    }
}

#[test]
fn deep_nesting_is_refused_before_it_can_hurt() {
    for text in [
        format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000)),
        "{{if 1}}".repeat(100_000),
        "{{if 1}}{{else if 2}}".to_owned() + &"{{else if 3}}".repeat(100_000),
        format!("{{{{.{}}}}}", "a.".repeat(10_000)),
    ] {
        assert!(matches!(Template::parse("t", &text, &NoFunctions), Err(Error::Parse { .. })));
    }
    let chain = format!("{{{{{}}}}}", ".a".repeat(100_000));
    assert!(render(&chain, &Value::map([])).is_err());
}

/// Pieces that make random texts look like templates.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if ",
        "else",
        "end",
        "range ",
        "with ",
        "define \"x\"",
        "template \"x\"",
        "block \"x\" ",
        "break",
        "continue",
        "$",
        "$x",
        ":=",
        "=",
        "|",
        "(",
        ")",
        ".",
        ".a",
        ".b.c",
        "\"s\"",
        "`r`",
        "'c'",
        "1",
        "-2",
        "0x1p4",
        "1e9",
        "nil",
        "true",
        "and ",
        "or ",
        "not ",
        "len ",
        "index ",
        "slice ",
        "printf ",
        "\"%[1]*d%v\"",
        "eq ",
        "lt ",
        "html ",
        "js ",
        "/*",
        "*/",
        ",",
        "\n",
        "é",
        "\u{0}",
        "call ",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_or_runs_away(text in prop_oneof![soup(), soup().prop_map(|s| format!("{{{{{s}}}}}")), ".{0,60}"]) {
        let limits = Limits { output_bytes_max: 4096, steps_max: 20_000, depth_max: 100 };
        let data = from_json(&serde_json::json!({"a": [1, 2.5, "x"], "b": {"c": "d"}}));
        if let Ok(set) = Template::parse("t", &text, &NoFunctions) {
            let _ = set.execute("t", &data, &NoFunctions, &limits);
        }
    }

    #[test]
    fn no_format_panics(format in r"(%[-+# 0]{0,3}(\[[0-9]\])?[*0-9]{0,3}(\.[*0-9]{0,2})?[a-zA-Z%]|[a-z%]){0,5}", f in any::<f64>(), i in any::<i64>(), s in ".{0,8}") {
        let args = [Value::Float(f), Value::Int(i), Value::from(s), Value::Nil, Value::list([Value::Bool(true)])];
        let _ = format::sprintf(&format, &args, 5000);
    }

    #[test]
    fn shortest_floats_read_back(f in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
        prop_assert_eq!(format::float(f, 'g', None).parse::<f64>().unwrap().to_bits(), f.to_bits());
    }
}

#[test]
fn durations_are_written_as_go_does() {
    for (d, expected) in [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(15), "15ns"),
        (Duration::from_nanos(1_500), "1.5µs"),
        (Duration::from_millis(2), "2ms"),
        (Duration::from_millis(61_050), "1m1.05s"),
        (Duration::from_hours(25), "25h0m0s"),
    ] {
        assert_eq!(time::Duration(i64::try_from(d.as_nanos()).unwrap()).to_string(), expected);
    }
}
