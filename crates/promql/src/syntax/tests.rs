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
        ("up @ start()[5m]", "up[5m] @ start()"),
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
        (r#"{"http.requests", "k8s.pod"="x"}"#, r#"{"k8s.pod"="x",__name__="http.requests"}"#),
        (r#"{"up"}"#, r#"{__name__="up"}"#),
        (r#"{"a","b"}"#, r#"{__name__="a",__name__="b"}"#),
        ("up{c='1',b!='2',a=~'3'}", r#"up{a=~"3",b!="2",c="1"}"#),
        (r#"{__name__="up"}"#, r#"{__name__="up"}"#),
        ("up[5m]", "up[5m]"),
        ("up[300]", "up[5m]"),
        ("up[90m]", "up[1h30m]"),
        ("up[2m*(10+5)]", "up[2m * (10 + 5)]"),
        ("up[min_of(step()+1,1h)]", "up[min_of(step() + 1, 1h)]"),
        ("up offset 5m @ 12.5", "up @ 12.500 offset 5m"),
        ("up @ start() offset -1h", "up @ start() offset -1h"),
        ("up offset (step()*2)", "up offset (step() * 2)"),
        ("up[5m] @ end() anchored", "up[5m] anchored @ end()"),
        ("up anchored", "up anchored"),
        ("sum_over_time(up[5m] smoothed)", "sum_over_time(up[5m] smoothed)"),
        ("up[((5m))]", "up[5m]"),
        ("up[((5m * 2))]", "up[(5m * 2)]"),
        ("up offset (0)", "up"),
        ("up[1001ms]", "up[1s1ms]"),
        ("a + fill(NaN) b", "a + fill_left (NaN) fill_right (NaN) b"),
        ("sum by (a:b) (up)", r#"sum by ("a:b") (up)"#),
        ("min_of", "min_of"),
        ("1e21 + 1e-7", "1000000000000000000000 + 0.0000001"),
        ("a + fill(1e21) b", "a + fill (1e+21) b"),
        ("a + fill_left(1e-5) b", "a + fill_left (1e-05) b"),
        ("up @ 1 smoothed offset 5m", "up @ 1.000 smoothed offset 5m"),
        ("up[+step()]", "up[step()]"),
        ("up offset (5m + step()) * 2", "up offset (5m + step()) * 2"),
        ("up offset -(5m + 1m) * 2", "up offset -(5m + 1m) * 2"),
        ("up offset --1m + 3m", "up offset 1m + 3m"),
        ("1 + on() up", "1 + up"),
        ("up + on() up", "up + on () up"),
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
        ("label_join(up, 'a', ',', 'b', 'c')", r#"label_join(up, "a", ",", "b", "c")"#),
        ("(((up)))", "(((up)))"),
        ("start", "start"),
        ("offset offset 5m", "offset offset 5m"),
    ] {
        assert_eq!(printed(query), expected, "{query}");
        assert_eq!(printed(expected), expected, "printing {query} again");
    }
}

#[test]
fn errors_say_what_and_where() {
    for (query, expected) in [
        ("", "unknown position: parse error: no expression found in input"),
        ("# only a comment", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("1 1", "1:3: parse error: unexpected number \"1\""),
        ("up up", "1:4: parse error: unexpected identifier \"up\""),
        ("sum(\n  up up)", "2:6: parse error: unexpected identifier \"up\" in aggregation"),
        ("5mm", "1:1: parse error: bad number or duration syntax: \"5mm\""),
        ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 + bool 1", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("up + on(a) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("up and on(a) group_left(b) up", "1:1: parse error: no grouping allowed for \"and\" operation"),
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
        ("up{a=~\"(\"}", "1:4: parse error: error parsing regexp: missing closing ): `(`"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("up{__name__=\"x\"}", "1:1: parse error: metric name must not be set twice: \"up\" or \"x\""),
        ("up[5m", "1:6: parse error: unclosed left bracket"),
        (
            "up[]",
            "1:4: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("up[0]", "1:4: parse error: duration must be greater than 0"),
        ("up[1m / 0]", "1:7: parse error: division by zero"),
        ("up[10m:-1m:]", "1:11: parse error: unexpected colon ':'"),
        ("up @ 5[5m]", "1:7: parse error: no @ modifiers allowed before range"),
        ("up @ start()[5m] @ 5", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("up offset (1 % -0s)", "1:14: parse error: modulo by zero"),
        ("(a+b)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("up offset 5m [5m]", "1:14: parse error: no offset modifiers allowed before range"),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "up offset",
            "1:10: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("up offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("up @ inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
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
            "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
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
        ("]", "1:1: parse error: unexpected right bracket ']'"),
        ("a]", "1:2: parse error: unexpected right bracket ']'"),
        ("x[5m]]", "1:6: parse error: unexpected right bracket ']'"),
        ("{a=\"b\"{", "1:7: parse error: unexpected left brace '{'"),
        ("x{__name__=\"y\"}", "1:1: parse error: metric name must not be set twice: \"x\" or \"y\""),
        ("up[5m:1m] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
        ("1 anchored", "1:1: parse error: anchored modifier not implemented"),
        ("up anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        (
            "up[5m]  anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        (
            "info(a, 1)",
            "1:1: parse error: expected type instant vector in call to function \"info\", got scalar",
        ),
        ("info(a, (b))", "1:9: parse error: expected label selectors only"),
        ("info(a, sum(b))", "1:9: parse error: expected label selectors only"),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        ("sum(x) by", "1:10: parse error: unexpected end of input in grouping opts, expected \"(\""),
        ("sum(x) by (a", "1:13: parse error: unclosed left parenthesis"),
        ("sum by (a,,b) (x)", "1:11: parse error: unexpected \",\" in grouping opts, expected label"),
        ("sum by (,) (x)", "1:9: parse error: unexpected \",\" in grouping opts, expected label"),
        ("sum by (\"\") (x)", "1:9: parse error: invalid label name for grouping: \"\""),
        ("sum by (\"a\\xff\") (x)", "1:9: parse error: invalid label name for grouping: \"a\\xff\""),
        ("sum by (1) (x)", "1:9: parse error: unexpected number \"1\" in grouping opts, expected label"),
        ("sum by (inf) (x)", "1:9: parse error: unexpected number \"inf\" in grouping opts, expected label"),
        ("a and on(x) group_left b", "1:1: parse error: no grouping allowed for \"and\" operation"),
        (
            "a + on(x) group_left(a b) b",
            "1:24: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
        ),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("up{\"a\"=}", "1:8: parse error: unexpected \"}\" in label matching, expected string"),
        ("\"\\xq\"", "1:1: parse error: illegal character U+0071 'q' in escape sequence"),
        ("\"\\400\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("\"abc\\", "1:1: parse error: escape sequence not terminated"),
        ("\"\\u12\"", "1:1: parse error: illegal character U+0022 '\"' in escape sequence"),
        ("\"\\ud800\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("up[-5m]", "1:4: parse error: duration must be greater than 0"),
        ("up[1e20]", "1:4: parse error: duration out of range"),
        ("up[5m:0]", "1:7: parse error: duration must be greater than 0"),
        ("up[5m:-1]", "1:7: parse error: duration must be greater than 0"),
        ("up offset 1e20", "1:11: parse error: duration out of range"),
        ("up offset 300y", "1:11: parse error: duration out of range"),
        ("300y", "1:1: parse error: duration out of range"),
        ("99999999999999999999y", "1:1: parse error: not a valid duration string: \"99999999999999999999y\""),
        ("0x", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"0x\": invalid syntax"),
        ("0b1", "1:1: parse error: bad number or duration syntax: \"0\""),
        ("1e", "1:1: parse error: bad number or duration syntax: \"1e\""),
        ("1_", "1:1: parse error: bad number or duration syntax: \"1_\""),
        ("1__0", "1:1: parse error: bad number or duration syntax: \"1__\""),
        ("1..2", "1:1: parse error: bad number or duration syntax: \"1..\""),
        (
            "1e400",
            "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e400\": value out of range",
        ),
        ("0x1p3", "1:1: parse error: bad number or duration syntax: \"0x1\""),
        (
            "0xffffffffffffffffffff",
            "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"0xffffffffffffffffffff\": invalid syntax",
        ),
        ("5m3", "1:1: parse error: bad number or duration syntax: \"5m3\""),
        ("5m3h", "1:1: parse error: not a valid duration string: \"5m3h\""),
        ("5h5h", "1:1: parse error: not a valid duration string: \"5h5h\""),
        ("5ms3s", "1:1: parse error: not a valid duration string: \"5ms3s\""),
        (
            "up @ 1e20",
            "1:1: parse error: timestamp out of bounds for @ modifier: 100000000000000000000.000000",
        ),
        ("up @ nan", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
        ("up @ start", "1:11: parse error: unexpected end of input in @, expected timestamp"),
        ("up @ start(", "1:12: parse error: unclosed left parenthesis"),
        ("up @ end()()", "1:11: parse error: unexpected \"(\""),
        (
            "sum(1,2)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        (
            "topk(1,2,3)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 3",
        ),
        ("label_replace(up)", "1:1: parse error: expected 5 argument(s) in call to \"label_replace\", got 1"),
        ("time(1)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1"),
        ("foo()", "1:1: parse error: unknown function with name \"foo\""),
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("sum(a", "1:6: parse error: unclosed left parenthesis"),
        ("sum(a,", "1:7: parse error: unclosed left parenthesis"),
        ("sum(a,)", "1:6: parse error: trailing commas not allowed in function call args"),
        ("(", "1:2: parse error: unclosed left parenthesis"),
        ("()", "1:2: parse error: unexpected \")\""),
        ("(a", "1:3: parse error: unclosed left parenthesis"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        ("a,b", "1:2: parse error: unexpected \",\""),
        ("a +", "1:4: parse error: unexpected end of input"),
        ("+", "1:2: parse error: unexpected end of input"),
        ("-", "1:2: parse error: unexpected end of input"),
        ("a[", "1:3: parse error: unexpected end of input in duration expression"),
        ("a[5m", "1:5: parse error: unclosed left bracket"),
        ("a[5m:", "1:6: parse error: unclosed left bracket"),
        ("a[5m:1m", "1:8: parse error: unclosed left bracket"),
        ("a[5m:1m:", "1:8: parse error: unexpected colon ':'"),
        (
            "a[step]",
            "1:7: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("a[step()", "1:9: parse error: unexpected end of input in duration expression"),
        (
            "a[min_of(1)]",
            "1:11: parse error: unexpected \")\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        (
            "a offset",
            "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "a offset -",
            "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "a offset step",
            "1:14: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("a @", "1:4: parse error: unexpected end of input in @, expected timestamp"),
        (
            "\"a\" + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        ("a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("a + on(b) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("a + fill(1) 1", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("a + fill(x) b", "1:10: parse error: unexpected identifier \"x\""),
        ("a + fill_left(1) fill_left(2) b", "1:27: parse error: unexpected \"(\""),
        ("a unless on(c) group_right(d) b", "1:1: parse error: no grouping allowed for \"unless\" operation"),
        (
            "a * on(x) group_left(x) b",
            "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        ("(1)[5m:1m]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
        ("1[5m]", "1:2: parse error: ranges only allowed for vector selectors"),
        ("sum(a)[5m]", "1:7: parse error: ranges only allowed for vector selectors"),
        ("a[5m] offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("a offset 5m @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("{a=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a!=\"b\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (" ", "1:1: parse error: no expression found in input"),
        ("\n", "1:1: parse error: no expression found in input"),
        ("a(()))", "1:4: parse error: unexpected \")\""),
        ("foo(3, up , )", "1:11: parse error: trailing commas not allowed in function call args"),
        ("round(x,=5)", "1:8: parse error: trailing commas not allowed in function call args"),
        (
            "x[ ( 5m: * ]",
            "1:8: parse error: unexpected \":\" in subquery or range selector, expected number, duration, step(), or range()",
        ),
        ("x[:]", "1:4: parse error: unexpected colon before duration in duration expression"),
        ("x[[5m]]", "1:3: parse error: unexpected character in duration expression: '['"),
        ("x[foo]", "1:3: parse error: unexpected character in duration expression: 'f'"),
        ("rate(up[5m anchored)", "1:12: parse error: unexpected character: 'a', expected ':'"),
        ("up[min_of(5m, stepnan))]", "1:15: parse error: unexpected character: 's', expected ':'"),
        ("up[5m:1m:1m]", "1:9: parse error: unexpected colon ':'"),
        ("}", "1:1: parse error: unexpected character: '}'"),
        ("!", "1:1: parse error: unexpected character after '!': '�'"),
        ("a !", "1:3: parse error: unexpected character after '!': '�'"),
        ("a ! b", "1:3: parse error: unexpected character after '!': ' '"),
        ("{a!}", "1:3: parse error: unexpected character after '!' inside braces: '}'"),
        ("{a=\"b\" !", "1:8: parse error: unexpected character after '!' inside braces: '�'"),
        ("a == on(", "1:9: parse error: unclosed left parenthesis"),
        ("(a)[5m]", "1:4: parse error: ranges only allowed for vector selectors"),
        ("(up) fill", "1:6: parse error: unexpected identifier \"fill\""),
        (
            "a / on (x) group_left ",
            "1:23: parse error: unexpected end of input in grouping opts, expected \"(\"",
        ),
        ("a + fill()b", "1:10: parse error: unexpected \")\""),
        ("STEP()", "1:1: parse error: unknown function with name \"STEP\""),
        (
            "{\"a b\"c=\"d\"}",
            "1:7: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
        ),
        ("x{\"x y\"}", "1:1: parse error: metric name must not be set twice: \"x\" or \"x y\""),
        ("sum(x :]", "1:7: parse error: unexpected metric identifier \":\" in aggregation"),
        ("topk(3 0)", "1:8: parse error: unexpected number \"0\" in aggregation"),
        ("sum(x by a)", "1:7: parse error: unexpected <by> in aggregation"),
        ("sum by (a) x", "1:12: parse error: unexpected identifier \"x\" in aggregation"),
        ("topk(, )up", "1:6: parse error: unexpected \",\" in aggregation"),
        ("limitk(_)))", "1:11: parse error: unexpected right parenthesis ')'"),
        ("5hs", "1:1: parse error: unknown unit \"hs\" in duration \"5hs\""),
        ("a\n  + b\n  c", "3:3: parse error: unexpected identifier \"c\""),
        ("sum(rate(x[5m]) by (job)", "1:17: parse error: unexpected <by> in aggregation"),
        ("rate(sum(x)[5m])", "1:12: parse error: ranges only allowed for vector selectors"),
        (
            "rate(x)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "x{a=~\"*\"}",
            "1:3: parse error: error parsing regexp: missing argument to repetition operator: `*`",
        ),
        ("x{a!~\"a**\"}", "1:3: parse error: error parsing regexp: invalid nested repetition operator: `**`"),
        ("x{a=~\"\\\\Z\"}", "1:3: parse error: error parsing regexp: invalid escape sequence: `\\Z`"),
        (
            "x{a=~\"[[:foo:]]\"}",
            "1:3: parse error: error parsing regexp: invalid character class range: `[:foo:]`",
        ),
        ("rate(x[5m]", "1:11: parse error: unclosed left parenthesis"),
        ("sum by (job (x)", "1:13: parse error: unexpected \"(\" in grouping opts, expected \",\" or \")\""),
        (
            "histogram_quantile(0.9)",
            "1:1: parse error: expected 2 argument(s) in call to \"histogram_quantile\", got 1",
        ),
        ("1 + (2", "1:7: parse error: unclosed left parenthesis"),
        (
            "\"a\" or \"b\"",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "sum(x[5m])",
            "1:5: parse error: expected type instant vector in aggregation expression, got range vector",
        ),
        (
            "avg_over_time(x)",
            "1:15: parse error: expected type range vector in call to function \"avg_over_time\", got instant vector",
        ),
        (
            "x offset x",
            "1:10: parse error: unexpected identifier \"x\" in offset, expected number, duration, step(), or range()",
        ),
        ("x @ \"1\"", "1:5: parse error: unexpected string \"\\\"1\\\"\" in @, expected timestamp"),
        ("up{job=\"a}", "1:8: parse error: unterminated quoted string"),
        ("up{job='a\"}", "1:8: parse error: unterminated quoted string"),
        ("up{job=a}", "1:8: parse error: unexpected identifier \"a\" in label matching, expected string"),
        ("up{job==\"a\"}", "1:8: parse error: unexpected \"=\" in label matching, expected string"),
        ("http.requests", "1:5: parse error: unexpected character: '.'"),
        ("up{a.b=\"c\"}", "1:5: parse error: unexpected character inside braces: '.'"),
        ("5m + x y", "1:8: parse error: unexpected identifier \"y\""),
        ("rate(x[5m])[5m]", "1:12: parse error: ranges only allowed for vector selectors"),
        ("x > bool y z", "1:12: parse error: unexpected identifier \"z\""),
        ("x =! y", "1:3: parse error: unexpected \"=\""),
        ("x & y", "1:3: parse error: unexpected character: '&'"),
        ("x || y", "1:3: parse error: unexpected character: '|'"),
        ("x and and y", "1:11: parse error: unexpected identifier \"y\""),
        ("not x", "1:5: parse error: unexpected identifier \"x\""),
        ("x{a=\"b\"}{c=\"d\"}", "1:9: parse error: unexpected \"{\""),
        ("x{a=\"b\"", "1:8: parse error: unexpected end of input inside braces"),
        ("sum(sum(x) by (a)", "1:18: parse error: unclosed left parenthesis"),
        (
            "x[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "-x[5m]",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
        (
            "(x[5m])[5m:1m]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        (
            "absent(1)",
            "1:8: parse error: expected type instant vector in call to function \"absent\", got scalar",
        ),
        (
            "vector(x)",
            "1:8: parse error: expected type scalar in call to function \"vector\", got instant vector",
        ),
        (
            "scalar(1)",
            "1:8: parse error: expected type instant vector in call to function \"scalar\", got scalar",
        ),
        ("time(x)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1"),
        ("sum by (a) by (b) (x)", "1:12: parse error: unexpected <by> in aggregation"),
        (
            "sort_by_label(x, 1)",
            "1:18: parse error: expected type string in call to function \"sort_by_label\", got scalar",
        ),
        ("clamp(x, 1)", "1:1: parse error: expected 3 argument(s) in call to \"clamp\", got 2"),
        ("round(x, 1, 2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"),
        ("info(x, y, z)", "1:1: parse error: expected at most 2 argument(s) in call to \"info\", got 3"),
    ] {
        let got = refused(query);
        assert_eq!(got, expected, "{query:?}");
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

/// Lines of up to 100 characters stay whole.
#[test]
fn long_queries_are_broken_into_lines() {
    for (query, expected) in [
        (
            r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[5m])) / on (namespace, pod) group_left () sum by (namespace, pod) (kube_pod_container_resource_limits{resource="cpu"}) > 0.9"#,
            r#"    sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{container!=""}[5m]))
  / on (namespace, pod) group_left ()
    sum by (namespace, pod) (kube_pod_container_resource_limits{resource="cpu"})
>
  0.9"#,
        ),
        (
            r#"histogram_quantile(0.99, sum by (le, namespace, service) (rate(http_request_duration_seconds_bucket{job="api-server",code!~"5.."}[5m])))"#,
            r#"histogram_quantile(
  0.99,
  sum by (le, namespace, service) (
    rate(http_request_duration_seconds_bucket{code!~"5..",job="api-server"}[5m])
  )
)"#,
        ),
        (
            r#"max_over_time((sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[5m])) > 1000000)[1h:5m] offset 1d)"#,
            r#"max_over_time(
  (sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[5m])) > 1000000)[1h:5m] offset 1d
)"#,
        ),
        (
            r#"-(label_replace(kube_pod_status_phase{namespace="default",phase=~"Pending|Unknown|Failed"}, "pod", "$1", "exported_pod", "(.*)"))"#,
            r#"-(
  label_replace(
    kube_pod_status_phase{namespace="default",phase=~"Pending|Unknown|Failed"},
    "pod",
    "$1",
    "exported_pod",
    "(.*)"
  )
)"#,
        ),
        (
            r#"topk(10, sum without (instance, pod) (container_memory_working_set_bytes{namespace="kube-system"}) + ignoring (x) fill (0) other_metric_with_a_long_name)"#,
            r#"topk(
  10,
    sum without (instance, pod) (container_memory_working_set_bytes{namespace="kube-system"})
  + ignoring (x) fill (0)
    other_metric_with_a_long_name
)"#,
        ),
        (
            r#"sum(first_metric_with_a_long_name_of_its_own) and on (namespace) second_metric_with_a_long_name_of_its_own == bool 1"#,
            r#"  sum(first_metric_with_a_long_name_of_its_own)
and on (namespace)
  second_metric_with_a_long_name_of_its_own == bool 1"#,
        ),
        (
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
        ),
        (
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
        ),
        (
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
            r#"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"#,
        ),
        (
            r#"(xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)"#,
            r#"(xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)"#,
        ),
        (
            r#"(xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx)"#,
            r#"(
  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
)"#,
        ),
        (
            r#"sum(sum(sum(sum(yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy))))"#,
            r#"sum(
  sum(
    sum(
      sum(yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy)
    )
  )
)"#,
        ),
        (
            r#"avg_over_time(sum(rate(container_cpu_usage_seconds_total{namespace="kube-system"}[5m]))[1h:5m]) + avg_over_time(rate(x[5m])[1h:5m])"#,
            r#"  avg_over_time(sum(rate(container_cpu_usage_seconds_total{namespace="kube-system"}[5m]))[1h:5m])
+
  avg_over_time(rate(x[5m])[1h:5m])"#,
        ),
    ] {
        let expr = parse(query).expect("valid");
        assert_eq!(pretty(&expr), expected);
        assert_eq!(pretty(&parse(expected).expect("valid")), expected);
    }
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
                if let Ok(expr) = parse(&query) {
                    assert!(times < DEPTH_MAX as usize, "{}", &query[..40]);
                    let _ = (expr.to_string(), pretty(&expr), expr.clone());
                }
            }
        }
        // Chains of operators within chains of operators.
        let mut chain = "up".to_owned();
        for _ in 0..DEPTH_MAX / (super::CHAIN_DEPTH + 2) - 1 {
            chain = format!("({chain}{})", " + up".repeat(20));
        }
        parse(&chain).expect("within the bound");
        for _ in 0..DEPTH_MAX {
            chain = format!("({chain} + up)");
        }
        assert!(parse(&chain).is_err());
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

/// Many operators in a row are no depth.
#[test]
fn chains_of_operators_do_not_recurse() {
    let run = || {
        for (first, link) in [("1", " + 1"), ("up", " or up"), ("up", " * on (a) up{b=\"c\"}"), ("a", "+b*c")]
        {
            let query = format!("{first}{}", link.repeat(5_000));
            let expr = parse(&query).expect("valid");
            let copy = expr.clone();
            drop(expr);
            assert_eq!(parse(&copy.to_string()).expect("valid").to_string(), copy.to_string());
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words(&pretty(&copy)), copy.to_string());
            let limit = super::CHAIN_MAX as usize;
            parse(&format!("1{}", "+1".repeat(limit))).expect("as long as it may be");
            assert!(refused(&format!("1{}", "+1".repeat(limit + 1))).contains("operators in a row"));
        }
        // Mistakes are found wherever they are.
        let query = format!("up{} + \"a\"{}", " + up".repeat(500), " + up".repeat(500));
        assert!(refused(&query).contains("binary expression must contain only scalar and instant vector"));
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
}

/// Chains are broken into lines from their right end on.
#[test]
fn long_chains_are_broken_as_short_ones_are() {
    let operand = "requests_total{job=\"a\"}";
    let expr = parse(&[operand; 7].join(" or ")).expect("valid");
    let expected = [
        &format!("        {operand} or {operand} or {operand}") as &str,
        "      or",
        &format!("        {operand}"),
        "    or",
        &format!("      {operand}"),
        "  or",
        &format!("    {operand}"),
        "or",
        &format!("  {operand}"),
    ];
    let lines = pretty(&expr);
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn overlong_queries_are_refused() {
    let long = format!("up{{a=\"{}\"}}", "x".repeat(super::QUERY_BYTES_MAX));
    assert!(refused(&long).contains("more than the"));
}

/// The longest queries are judged without a stack overflow, and without work that grows faster than
/// they do: none of these would come to an end otherwise.
#[test]
fn long_queries_are_judged_at_once() {
    // As long as a build without optimisation judges in seconds.
    let bytes = super::QUERY_BYTES_MAX / 4;
    let filled = move |unit: &str, open: &str, close: &str| {
        format!("{open}{}{close}", unit.repeat((bytes - open.len() - close.len()) / unit.len()))
    };
    let labels: String = (0..10_000).map(|i| format!("l{i},")).collect();
    let run = move || {
        for (query, valid) in [
            (filled("(", "", ""), false),
            (filled("-", "", "1"), false),
            (filled("+1", "1", ""), false),
            (filled("^1", "1", ""), false),
            (filled(" or up", "up", ""), false),
            (filled("abs(", "", ""), false),
            (filled("[5m:]", "up", ""), false),
            (filled(" offset 5m", "up", ""), false),
            (filled("+1", "up[1", "]"), false),
            (filled("-", "up[", "1]"), false),
            (filled("min_of(1,", "up[", ""), false),
            (filled("9", "", ""), false),
            (filled("5m", "", ""), false),
            (filled("a", "\"", "\""), true),
            (filled("\\n", "\"", "\""), true),
            (filled("a", "", ""), true),
            (filled("a=\"b\",", "up{", "}"), true),
            (filled("a=~\".x\",", "up{", "}"), false),
            (filled("a=~\"\\\\pL{9}\",", "up{", "}"), false),
            (filled("k", "up{a=~\"(?i)", "\"}"), false),
            (filled("web-0123456789|", "up{a=~\"", "x\"}"), true),
            (filled("[:", "up{a=~\"[", "\"}"), false),
            (filled("[[:]", "up{a=~\"", "\"}"), false),
            (filled("\\\\pL", "up{a=~\"(?i)[", "]\"}"), true),
            (filled("up,", "label_join(up,", "up)"), false),
            (filled("a,", "sum by (", ") (up)"), true),
            (format!("a + on({labels}) group_left({labels}) b"), false),
        ] {
            let begin: String = query.chars().take(30).collect();
            match parse(&query) {
                Ok(expr) => {
                    assert!(valid, "{begin}");
                    assert!(!pretty(&expr).is_empty());
                }
                Err(errors) => {
                    assert!(!valid, "{begin}: {}", errors.0[0].message.chars().take(100).collect::<String>());
                    assert!(errors.0.len() <= super::parser::ERRORS_MAX);
                }
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
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
                    let somewhere = error.span.line >= 1 && error.span.column >= 1;
                    prop_assert!(somewhere || query.is_empty());
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
