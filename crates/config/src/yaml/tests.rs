//! Places, kinds of scalars, aliases, merges, and what is refused.

use super::*;

fn text(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Plain(t) => t.clone(),
        Value::Text(t) => format!("{t:?}"),
        Value::NoText => "bytes".into(),
        Value::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Map(pairs) => {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{}={}", text(k), text(v))).collect();
            format!("{{{}}}", pairs.join(" "))
        }
    }
}

#[test]
fn scalars_keep_what_was_written() {
    for (yaml, expected) in [
        ("", "null"),
        ("# nothing\n", "null"),
        ("a: 1.10\nb: '1.10'\nc: ~\nd:\ne: yes", "{a=1.10 b=\"1.10\" c=null d=null e=yes}"),
        ("- !!binary YWI=\n- !!binary /w==\n- !!str 1", "[\"ab\" bytes \"1\"]"),
        ("a: &x {b: 1}\nc: *x", "{a={b=1} c={b=1}}"),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", "{a={b=1 c=2} d={b=3 c=2}}"),
        ("a: 1\n---\nb: 2", "{a=1}"),
        ("{\"a\": [1, \"b\"]}", "{\"a\"=[1 \"b\"]}"),
    ] {
        assert_eq!(text(&read("f", yaml).expect(yaml)), expected, "{yaml}");
    }
}

#[test]
fn places_are_lines_and_columns() {
    let node = read("f", "a:\n  - b: 1\n    c: x\n").expect("sound");
    let Value::Map(pairs) = &node.value else { panic!("{node:?}") };
    let Value::List(items) = &pairs[0].1.value else { panic!("{node:?}") };
    let Value::Map(inner) = &items[0].value else { panic!("{node:?}") };
    assert_eq!(inner[1].0.place, Place { line: 3, column: 5 });
    assert_eq!(inner[1].1.place, Place { line: 3, column: 8 });
}

#[test]
fn what_grows_beyond_bounds_is_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", ")));
    }
    for (yaml, word) in [
        (laughs.as_str(), "aliases included"),
        (&"[".repeat(5000), ""),
        ("a: [1", ""),
        ("a: !!binary x", "base64"),
        ("a: *b", ""),
        ("a: &b [*b]", "anchor"),
        ("<<: 1", "mapping"),
    ] {
        let error = read("f.yml", yaml).expect_err(yaml).to_string();
        assert!(error.starts_with("f.yml:") && error.contains(word), "{error}");
    }
}
