//! What is accepted, what is refused and where, and that printing and parsing agree.

use proptest::prelude::*;

use super::{DEPTH_MAX, parse, parse_selector, pretty};

/// What a query looks like when it is printed.
fn printed(query: &str) -> String {
    parse(query).unwrap_or_else(|e| panic!("{query}: {e}")).to_string()
}

fn refused(query: &str) -> String {
    match parse(query) {
        Ok(e) => panic!("{query} was taken as {e}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn queries_are_printed_in_one_form() {
    for (query, expected) in [
        ("1", "1"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("010", "8"),
        (".5e-2", "0.005"),
        ("+Inf", "+Inf"),
        ("-nan", "NaN"),
        ("1h30m", "1h30m"),
        ("-5m", "-5m"),
        ("'a\\'b'", r#""a'b""#),
        ("`a\\b`", r#""a\\b""#),
        (r#""\xff\u00e9\101""#, r#""\xffé\x41""#.replace("\\x41", "A").as_str()),
        ("up", "up"),
        ("sum", "sum"),
        ("job:up:rate5m", "job:up:rate5m"),
        ("up{}", "up"),
        ("up{job=~'a|b', x!~\"y\",z!='',}", r#"up{job=~"a|b",x!~"y",z!=""}"#),
        (r#"{"http.requests", "k8s.pod"="x"}"#, r#"{"http.requests","k8s.pod"="x"}"#),
        (r#"{"up"}"#, "up"),
        (r#"{__name__="up"}"#, r#"{__name__="up"}"#),
        ("up[5m]", "up[5m]"),
        ("up[300]", "up[5m]"),
        ("up[90m]", "up[1h30m]"),
        ("up[2m*(10+5)]", "up[2m * (10 + 5)]"),
        ("up[min_of(step()+1,1h)]", "up[min_of(step() + 1, 1h)]"),
        ("up offset 5m @ 12.5", "up @ 12.500 offset 5m"),
        ("up @ start() offset -1h", "up @ start() offset -1h"),
        ("up offset (step()*2)", "up offset (step() * 2)"),
        ("up[5m] anchored @ end()", "up[5m] anchored @ end()".trim()),
        ("rate(up[5m] anchored)", "rate(up[5m] anchored)"),
        ("up smoothed", "up smoothed"),
        ("rate(up[5m])[1h:1m] offset 1d", "rate(up[5m])[1h:1m] offset 1d"),
        ("up[1h:]", "up[1h:]"),
        ("sum(up) by (a,b)", "sum by (a, b) (up)"),
        ("SUM WITHOUT (a) (up)", "sum without (a) (up)"),
        ("sum without () (up)", "sum without () (up)"),
        (r#"sum by ("a b", by) (up)"#, r#"sum by ("a b", by) (up)"#),
        ("topk(3, up)", "topk(3, up)"),
        ("a+b*c^d^e-f", "a + b * c ^ d ^ e - f"),
        ("-a^2", "-a ^ 2"),
        ("- 1 ^ 2", "-1 ^ 2"),
        ("a and b or c unless d", "a and b or c unless d"),
        ("a == bool 1", "a == bool 1"),
        ("a*on(x)group_left(y)b", "a * on (x) group_left (y) b"),
        ("a * ignoring() group_right b", "a * ignoring () group_right () b"),
        ("a + fill(0) b", "a + fill (0) b"),
        ("a + on(x) fill_left(-1) fill_right(2) b", "a + on (x) fill_left (-1) fill_right (2) b"),
        ("fill + fill", "fill + fill"),
        ("h </ 5 >/ 2", "h </ 5 >/ 2"),
        ("time() # now", "time()"),
        ("STEP()", "step()"),
        ("label_join(up, 'a', ',', 'b', 'c')", r#"label_join(up, "a", ",", "b", "c")"#),
        ("(((up)))", "(((up)))"),
        ("start", "start"),
        ("offset offset 5m", "offset offset 5m"),
    ] {
        if query == "up[5m] anchored @ end()" {
            // Only as an argument of a function that knows it.
            assert!(refused(query).contains("can only be used as a function's argument"));
            continue;
        }
        assert_eq!(printed(query), expected, "{query}");
        assert_eq!(printed(expected), expected, "printing {query} again");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (query, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("# only a comment", "1:17: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("(1))", "1:4: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("1 1", "1:3: parse error: unexpected number \"1\""),
        ("up up", "1:4: parse error: unexpected identifier \"up\""),
        ("sum(\n  up up)", "2:6: parse error: unexpected identifier \"up\""),
        ("5mm", "1:1: parse error: bad number or duration syntax: \"5mm\""),
        ("1 and 1", "1:3: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 + bool 1", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("up + on(a) 1", "1:4: parse error: vector matching only allowed between instant vectors"),
        ("up and on(a) group_left(b) up", "1:4: parse error: no grouping allowed for \"and\" operation"),
        (
            "a + on(x) group_left(x) b",
            "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        ("a + group_left() b", "1:5: parse error: unexpected <group_left>"),
        (
            "a + \"b\"",
            "1:5: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "-\"a\"",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
        ("up{a}", "1:5: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("up{a=1}", "1:6: parse error: unexpected character inside braces: '1'"),
        (
            "up{a=\"b\" c=\"d\"}",
            "1:10: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
        ),
        ("up{,}", "1:4: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("up{a=~\"(\"}", "1:4: parse error: invalid regular expression \"(\""),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("up{__name__=\"x\"}", "1:1: parse error: metric name must not be set twice: \"up\" or \"x\""),
        ("up[5m", "1:6: parse error: unclosed left bracket"),
        (
            "up[]",
            "1:4: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("up[0]", "1:4: parse error: duration must be greater than 0"),
        ("(a+b)[5m]", "1:1: parse error: ranges only allowed for vector selectors"),
        ("up offset 5m [5m]", "1:1: parse error: no offset modifiers allowed before range"),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "up offset",
            "1:10: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("up offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("up @ inf", "1:6: parse error: timestamp out of bounds for @ modifier: +Inf"),
        ("up @ x", "1:6: parse error: unexpected identifier \"x\" in @, expected timestamp"),
        (
            "rate(up)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
        ("hour(a, b)", "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 2"),
        (
            "label_join(up)",
            "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1",
        ),
        ("nothing(up)", "1:1: parse error: unknown function with name \"nothing\""),
        ("floor(up,)", "1:9: parse error: trailing commas not allowed in function call args"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "topk(up)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "topk(up, up)",
            "1:6: parse error: expected type scalar in aggregation expression, got instant vector",
        ),
        ("sum by a (up)", "1:8: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\""),
        ("sum by (==) (up)", "1:9: parse error: unexpected <op:==> in grouping opts, expected label"),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        (
            "rate(1[5m:1m])",
            "1:6: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        ("\"abc", "1:1: parse error: unterminated quoted string"),
        ("'\\q'", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        ("a $ b", "1:3: parse error: unexpected character: '$'"),
        ("a =~ b", "1:3: parse error: unexpected character after '=': '~'"),
        (
            "sum_over_time(up[5m] smoothed)",
            "1:15: parse error: smoothed modifier can only be used with: delta, increase, rate - not with sum_over_time",
        ),
    ] {
        let got = refused(query);
        assert!(got.starts_with(expected), "{query}\n expected {expected}\n      got {got}");
    }
}

#[test]
fn spans_lead_to_the_text() {
    let query = "sum by (a) (rate(x{l=\"v\"}[5m] offset 1m)) / on () vector(1)";
    let expr = parse(query).expect("valid");
    let mut texts = Vec::new();
    expr.walk(&mut |e| texts.push(e.span.text(query)));
    assert_eq!(
        texts,
        [
            query,
            "sum by (a) (rate(x{l=\"v\"}[5m] offset 1m))",
            "rate(x{l=\"v\"}[5m] offset 1m)",
            "x{l=\"v\"}[5m] offset 1m",
            "vector(1)",
            "1",
        ]
    );
    assert_eq!(expr.metric_names(), ["x"]);
    assert_eq!(expr.selectors().len(), 1);
}

#[test]
fn selectors_of_the_http_interface() {
    assert_eq!(parse_selector("up{a=\"b\"}").expect("valid").len(), 2);
    for bad in ["up offset 5m", "sum(up)", "1", "{}", "up["] {
        assert!(parse_selector(bad).is_err(), "{bad}");
    }
}

#[test]
fn long_queries_are_broken_into_lines() {
    let query = "sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=\"\"}[5m])) / on (namespace, pod) group_left () sum by (namespace, pod) (kube_pod_container_resource_limits{resource=\"cpu\"}) > 0.9";
    let expected =
        "    sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=\"\"}[5m]))
  / on (namespace, pod) group_left ()
    sum by (namespace, pod) (kube_pod_container_resource_limits{resource=\"cpu\"})
>
  0.9";
    let expr = parse(query).expect("valid");
    assert_eq!(pretty(&expr), expected);
    assert_eq!(parse(expected).expect("valid").to_string(), expr.to_string());
    assert_eq!(pretty(&parse("up").expect("valid")), "up");
}

/// Nests or chains too deep for any stack are refused, not tried; up to the bound all works on a
/// small stack.
#[test]
fn depth_is_bounded() {
    let run = || {
        for (open, middle, close) in [
            ("(", "1", ")"),
            ("-", "up", ""),
            ("abs(", "up", ")"),
            ("sum(", "up", ")"),
            ("1+", "1", ""),
            ("2^", "2", ""),
            ("up[", "1", "]"),
            ("up[-(", "1", ")]"),
            ("a offset -", "1", ""),
        ] {
            for times in [DEPTH_MAX as usize / 4, 20_000] {
                let query = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
                let chain = format!("{middle}{}", " or up".repeat(times));
                for query in [query, chain] {
                    if let Ok(expr) = parse(&query) {
                        assert!(times < DEPTH_MAX as usize, "{}", &query[..40]);
                        let _ = (expr.to_string(), pretty(&expr), expr.clone());
                    }
                }
            }
        }
        let brackets = format!("up[{}1{}]", "(".repeat(20_000), ")".repeat(20_000));
        assert!(parse(&brackets).is_err());
        let signs = format!("up[{}1]", "-".repeat(20_000));
        assert!(parse(&signs).is_err());
        let long = format!("up[1{}]", "+1".repeat(20_000));
        assert!(parse(&long).is_err());
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
}

#[test]
fn overlong_queries_are_refused() {
    let long = format!("up{{a=\"{}\"}}", "x".repeat(super::QUERY_BYTES_MAX));
    assert!(refused(&long).contains("more than the"));
}

/// Pieces from which garbage is made that comes near the language.
const PIECES: &[&str] = &[
    "up",
    "sum",
    "rate",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "=",
    "==",
    "=~",
    "!=",
    "!~",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "by",
    "without",
    "offset",
    "@",
    "start",
    "end",
    "step",
    "range",
    "()",
    "5m",
    "1h30m",
    "1",
    "0x1f",
    "1e3",
    ".",
    "inf",
    "nan",
    "\"a\"",
    "'b'",
    "`c`",
    "\"",
    "#",
    "\n",
    " ",
    "\\",
    "é",
    "\u{0}",
    "anchored",
    "smoothed",
    "fill",
    "(0)",
    "</",
    ">/",
    "min_of",
    "topk",
    "a:b",
    "_",
    "<",
    ">",
    "!",
    "[5m]",
    "[5m:1m]",
    "label_replace",
    "{a=\"b\"}",
    "quantile_over_time",
    "info",
    "\u{feff}",
    "9",
    "ms",
];

proptest! {
    /// No text brings the parser down, and what it takes it takes again after printing.
    #[test]
    fn garbage_is_judged_and_what_is_taken_reads_the_same_again(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)
    ) {
        let query = pieces.concat();
        match parse(&query) {
            Err(e) => {
                for error in &e.0 {
                    prop_assert!(error.span.line >= 1 && error.span.column >= 1);
                    prop_assert!(error.span.start as usize <= query.len());
                }
            }
            Ok(expr) => {
                let text = expr.to_string();
                let again = parse(&text);
                prop_assert!(again.is_ok(), "{query:?} printed as {text:?}: {:?}", again.err());
                prop_assert_eq!(again.expect("checked").to_string(), text.clone());
                let broken = pretty(&expr);
                prop_assert_eq!(parse(&broken).expect("pretty form parses").to_string(), text);
            }
        }
    }

    #[test]
    fn any_text_is_judged(query in "\\PC{0,60}") {
        let _ = parse(&query);
    }
}
