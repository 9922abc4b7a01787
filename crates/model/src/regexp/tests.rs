//! What matches and what does not, that what is refused is told in Go's words, and that the fast
//! paths agree with the automaton.

use proptest::prelude::*;

use super::*;

/// Expressions with texts that they match and texts that they do not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    (r"(?P<n>a)(?P<n>b)", &["ab"], &["a", "ba", "aab", "baab"]),
    (r"(?<n>a)", &["a"], &["(", "aaaaa", "aab", "ba"]),
    (r"a{1000}", &[], &["aaaaa", "0", "{2}", "a{"]),
    (r"a{,5}", &["a{,5}"], &["a", "{", "aaaaa", "a{"]),
    (r"a{2", &["a{2"], &["a", "{", "a{", "aaaaa"]),
    (r"a{2,", &[], &["a{", "a{2", "{", "a"]),
    (r"a{}", &[], &["{", "aaaaa", "a{", "a{2"]),
    (r"a{x}", &[], &["xxxx", "a{", "}", "{"]),
    (r"a{2}?", &[], &["{", "{2}", "a{2", "aaaaa"]),
    (r"a{2,3}?a", &[], &["{2}", "}", "{", "a{"]),
    (r"(a{100}){10}", &[], &["aaaaa", "a", "(", "}"]),
    (r"((a{10}){10}){10}", &[], &["(", "a", "{", "aaaaa"]),
    (r"(a{0}){1000}", &[""], &["aaaaa", "a", "a{", "}"]),
    (r"(a*){1000}", &["aaaaa", "", "a"], &["{", "0", "}", "aab"]),
    (r"[]a]", &["]", "a"], &["[", "aaaaa", "a{", "api"]),
    (r"[^]a]", &["İ", "ı", "中", "Σ"], &["a", "aaaaa", "]", "ba"]),
    (r"[a-]", &["-", "a"], &["aaaaa", "]", "[", "aab"]),
    (r"[\d-z]", &["z", "9", "-", "5"], &["\\", "d", "[", "]"]),
    (r"[--a]", &["/", "\\", "^", "["], &["aaaaa", "ba", "a$", "ab"]),
    (r"[a-b-c]", &["c", "-", "b", "a"], &["]", "ba", "aaaaa", "["]),
    (r"[[:alpha:]]", &["K", "z", "c", "s"], &["]", "aaaaa", "[", "aab"]),
    (r"[[:^alpha:]]", &["α", "\u{a0}", " ", "\u{1f}"], &["a", "aaaaa", "baab", "ab"]),
    (r"[[:word:]]", &["d", "I", "A", "B"], &[":", "[", "ErrKor", "]"]),
    (r"[[:alpha]", &["[", ":", "a"], &["]", "api", "aaaaa", "aab"]),
    (r"[a[:alpha:]b]", &["K", "B", "d", "Z"], &[":", "ab", "[", "aab"]),
    (r"[:alpha:]", &[":", "a"], &["aaaaa", "api", "[", "]"]),
    (r"[[.a.]]", &[], &["[", ".", "]", "a"]),
    (r"[\pL]", &["ǅ", "İ", "中", "É"], &["[", "]", "\\", "prod-"]),
    (r"[\PL]", &["\u{a0}", "٣", "\u{b}", "\""], &["Post", "aab", "ı", "GET"]),
    (r"[\p{^L}]", &["\u{80}", "|", "$", " "], &["{2}", "a{", "a{,5}", "api"]),
    (r"[^\pL]", &["\u{80}", "\u{10ffff}", "\u{c}", "\u{ad}"], &["puT", "api", "prod", "ς"]),
    (r"\p{Greek}", &["α", "Α", "ς", "Σ"], &["k", "\\", "{", "}"]),
    (r"\pN", &["0", "٣", "9", "5"], &["\\", "api.x", "prod", "prod-"]),
    (r"\p{Nd}", &["0", "٣", "9", "5"], &["}", "\\", "{", "d"]),
    (r"\p{^Greek}", &["ı", "\u{fb00}", "K", "É"], &["an error here", "prod", "{2}", "a{"]),
    (r"\P{^Greek}", &["σ", "ς", "α", "Σ"], &["{", "}", "\\", "k"]),
    (r"\p{Any}", &["Α", "É", "\u{a0}", "K"], &["a{,5}", "a{", "KAFKA", "api"]),
    (r"\p{Cn}", &["\u{10ffff}"], &["}", "\\", "{", "a{"]),
    (r"\p{LC}", &["Ā", "ſ", "É", "İ"], &["{", "\\", "}", "a{"]),
    (r"\z", &[""], &["z", "\\", "{", "B"]),
    (r"a\z", &["a"], &["z", "aaaaa", "\\", "a$"]),
    (r"\A", &[""], &["A", "\\", "KAFKA", "KAFKA"]),
    (r"\b", &[], &["\\", "b", "bd", "ab"]),
    (r"\B", &[""], &["B", "\\", "}", "aaaaa"]),
    (r"\0", &["\u{0}"], &["\\", "0", "500", "404"]),
    (r"\08", &[], &["\\", ":80", "500", "0"]),
    (r"\012", &["\n"], &["0", "\\", "h:80", "404"]),
    (r"\12", &["\n"], &["\\", "a{2", "{2}", "ſ"]),
    (r"\123", &["S"], &["\\", "a{2", "node-12", "{2}"]),
    (r"\x41", &["A"], &["\\", "xx", "x", "xxxx"]),
    (r"\x{41}", &["A"], &["}", "xx", "{", "x"]),
    (r"\a\f\n\r\t\v", &[], &["a", "\\", "aaaaa", "ab"]),
    (r"\Qa.b", &["a.b"], &["ab", ".", "baab", "Qab"]),
    (r"\Qa.b\E", &["a.b"], &["baab", "Qab", "ab", "\\"]),
    (r"\Qa.b\Ec", &["a.bc"], &["ac", "b", "abc", "."]),
    (r"\Q\", &["\\"], &["Qab", "5", "\u{8}", "a$"]),
    (r"\Qab\E*", &["ab", "a"], &["aaaaa", "ba", "baab", "aab"]),
    (r"\_", &["_"], &["\\", "-", "web-c", "PROD-x"]),
    (r"\-", &["-"], &["\\", "prod-", "PROD-x", "node-1:9100"]),
    (r"\/", &["/"], &["\\", "ba", "~", "AN ERROR HERE"]),
    (r#"\""#, &["\""], &["\\", "K", "ac", "get"]),
    (r"a||b", &["", "b", "a"], &["ba", "baab", "aab", "aaaaa"]),
    (r"()", &[""], &["(", "~", "\u{0}", "STRASSE"]),
    (r"(|)", &[""], &["|", "(", "中", "a@b.com"]),
    (r"a|", &["", "a"], &["|", "aaaaa", "ab", "a{"]),
    (r"|", &[""], &["|", "a.b", "4x4", "xyz"]),
    (r"^a$", &["a"], &["^", "aaaaa", "$", "a$"]),
    (r"a^b", &[], &["ab", "ba", "aab", "aaaaa"]),
    (r"^*", &[""], &["^", "prod", "aXaXb", "{2}"]),
    (r"$*", &[""], &["$", "a$", "ß", "ac"]),
    (r"(^)*", &[""], &["(", "^", "KAFKA", "a.bc"]),
    (r"(?:)", &[""], &[":", "(", ":80", "h:80"]),
    (r"(?i)a(?-i)b", &["ab"], &["baab", "-", "b", "a"]),
    (r"(?U)a+", &["aaaaa", "a"], &["(", "aab", "ba", "a{"]),
    (r"(?s-m:.)", &["ǅ", "ß", "ı", "ſ"], &[":80", "h:8x", "a.b", "prod-x"]),
    (r"(?-s).", &["\u{80}", "İ", "\u{8}", "("], &["a.bc", "prod-", "web-a", "web-c"]),
    (r"(?-s:.)", &["中", "α", "É", "Α"], &["a.b", "web-c", ":80", "h:8x"]),
    (r"[[:word:]-a]", &["i", "Z", "x", "0"], &["[", "]", "aaaaa", ":"]),
    (r"(?P<1>a)", &["a"], &["(", "aaaaa", "aab", "ba"]),
    (r"(?P<n>a)|(?P<m>b)", &["b", "a"], &["aaaaa", "ba", "baab", "ab"]),
    (r"x{2}{", &[], &["xxxx", "x", "{", "{2}"]),
    (r"x{0}", &[""], &["xxxx", "{", "x", "}"]),
    (r"x{0,0}", &[""], &["0", "{", "xxxx", "}"]),
    (r"a{01}", &[], &["}", "a{", "aaaaa", "0"]),
    (r"a{1,01}", &[], &["aaaaa", "{", "0", "a"]),
    (r"a{ 1}", &[], &["a", " ", "a{", "aaaaa"]),
    (r"(?i)\w", &["K", "k", "c", "z"], &["\\", "(", "api", "web-c"]),
    (r"\w{1000}", &[], &["0", "\\", "}", "{"]),
    (r"[\x{10FFFF}-\x{10FFFF}]", &["\u{10ffff}"], &["{", "-", "}", "xxxx"]),
    (r"\x{D800}", &[], &["{", "}", "\\", "xxxx"]),
    (r"[\x{D800}-\x{DFFF}]", &[], &["x", "\\", "xxxx", "xx"]),
    (r"(?i:(?-i:a)b)", &["ab"], &["aaaaa", "(", "b", "baab"]),
    (r"(?:a*)*", &["aaaaa", "", "a"], &["(", ":", "ba", "a$"]),
    (r"\07", &["\u{7}"], &["0", "\\", "500", "404"]),
    (r"\777", &[], &["\\", "K", "b", "$"]),
    (r"\400", &["Ā"], &["0", "\\", "404", "500"]),
    (r"[\400]", &["Ā"], &["]", "[", "\\", "404"]),
    (r"(?:|a)", &["", "a"], &["|", ":", "aaaaa", "("]),
    (r"(?m)^a$", &["a"], &["aaaaa", "a$", "(", "^"]),
    (r"(?m:^)a", &["a"], &["(", "aaaaa", ":", "^"]),
    (r"(?i)[^k]", &["ß", "ς", "\u{a0}", "ſ"], &["k", "api", "a.b", "STRASSE"]),
    (r"(?i)[a-z]", &["K", "ſ", "z", "A"], &["(", "aaaaa", "-", "]"]),
    (r"(?i)K", &["K", "K", "k"], &["i", "(", "KAFKA", "api"]),
    (r"(?i)ſ", &["ſ", "S", "s"], &["(", "i", "api.x", "api"]),
    (r"(?i)é", &["É", "é"], &["(", "i", "api", "~"]),
    (r"(?i)Σ", &["Σ", "ς", "σ"], &["(", "i", "\u{1f}", "é"]),
    (r".{0,1}", &["É", "α", "ſ", "中"], &["{2}", "500", "a{,5}", "a.b"]),
    (r"\d-\s", &[], &["d", "s", "-", "\\"]),
    (r"[\w-]", &["I", "d", "Z", "B"], &["\\", "[", "]", "web-c"]),
    (r"[\w-a]", &["s", "i", "x", "A"], &["]", "aaaaa", "\\", "["]),
    (r"[--]", &["-"], &["[", "]", "prod-", "prod-x"]),
    (r"[---]", &["-"], &["]", "[", "PROD-x", "prod-x"]),
    (r"[^^]", &["K", "Σ", "α", "Α"], &["^", "a.bc", "kaſka", "aaaaa"]),
    (r"[^-a]", &["İ", "ÿ", "σ", "中"], &["-", "aab", "aaaaa", "a"]),
    (r"[a&&b]", &["&", "b", "a"], &["ba", "aaaaa", "a&b", "aab"]),
    (r"[a~~b]", &["~", "b", "a"], &["[", "]", "ba", "baab"]),
    (r"[a[b]", &["[", "b", "a"], &["ba", "ab", "aaaaa", "]"]),
    (r"[[a]]", &[], &["]", "[", "aaaaa", "a"]),
    (r"\d\D\s\S\w\W", &[], &["S", "s", "d", "\\"]),
    (r"[\d\D]", &["ς", "\u{a0}", "ß", "Α"], &["bd", "PROD-x", "node-:9100", "node-12"]),
    (r"[\D]", &["α", "İ", "ς", "É"], &["PROD-x", "a{", "a@b.com", "prod-"]),
    (r"[^\D]", &["0", "9", "5"], &["]", "^", "[", "\\"]),
    (r"[[:^digit:]a]", &["ÿ", "İ", "\u{ad}", "٣"], &["aaaaa", "baab", "a$", "a{"]),
    (r"[^[:^digit:]]", &["9", "5", "0"], &["^", "d", "i", "["]),
    (r"[[:print:]]", &["~", "Z", "{", "&"], &["ErrKor", "api", "api.x", "prod-"]),
    (r"[[:graph:]]", &["|", "^", "}", "\""], &["aaaaa", "aab", "a{", "ac"]),
    (r"[[:punct:]]", &["$", "]", ".", "~"], &["c", "ac", "puT", "api.x"]),
    (r"[[:space:]]", &["\u{c}", "\u{b}", "\n", "\r"], &["ac", "[", "c", "a"]),
    (r"[[:cntrl:]]", &["\u{c}", "\u{8}", "\r", "\u{0}"], &["c", ":", "]", "["]),
    (r"[[:xdigit:]]", &["d", "B", "0", "c"], &[":", "xx", "x", "]"]),
    (r"[[:blank:]]", &["\t", " "], &["k", "ba", "a", "]"]),
    (r"[[:ascii:]]", &["\u{1f}", "\r", "]", "|"], &["ac", "aaaaa", "ab", "ba"]),
    (r"[[:lower:]]", &["d", "i", "k", "s"], &["]", "[", ":", "ErrKor"]),
    (r"(?i)[[:lower:]]", &["Z", "s", "S", "z"], &[":", "[", "]", "("]),
    (r"(?i)[[:^lower:]]", &["中", "ß", "ÿ", "\u{b}"], &["i", "an error here", "prod-", "ErrKor"]),
    (r"(?i)\p{Lu}", &["İ", "ÿ", "ǅ", "α"], &["{", "}", "api", "("]),
    (r"(?i)\P{Lu}", &["\u{1f}", "$", "\u{80}", "\u{c}"], &["{2}", "i", "a{", "a{,5}"]),
    (r"(?i)[^\p{Lu}]", &["\u{fb00}", "ı", "\n", "\u{ad}"], &["i", "api", "{2}", "a{"]),
    (r"(?i)[\P{Lu}]", &["\u{fb00}", "\u{1f}", "\u{80}", "\u{1}"], &["i", "{2}", "api", "a{2"]),
    (r"�", &[], &[":", "xyz", "KAFKA", "node-1:9100"]),
    ("a\nb", &["a\nb"], &["a", "aaaaa", "aab", "ba"]),
    (r"é*", &["", "é"], &["a@bxcom", " ", ":", "İ"]),
    (r"(?i)STRASSE|x", &["STRASSE", "x"], &["A", "i", "xxxx", "S"]),
    (r"(a{1000}b{1000}c){1}", &[], &["a", "c", "abc", "b"]),
    (r"(x+x+)+y", &[], &["xy", "xxxx", "(", "xx"]),
    (r".{1000}", &[], &["0", "}", "{", "500"]),
    (r"(.{1000}){1}.{1000}", &[], &["(", "0", ".", "}"]),
    (r"(((a{10}){10}){10}){1}", &[], &["0", "(", "a{", "{"]),
    (r"api\..*|web-(a|b)", &["web-a", "api.x"], &["aab", "|", "(", "."]),
    (r"foo.*bar", &["foobar", "fooxbar"], &["aaaaa", "baab", ".", "a"]),
    (r"foo.+bar.*", &["fooxbar", "fooxbarz"], &["b", ".", "aaaaa", "aab"]),
    (r".*error.*", &["an error here"], &[".", "prod", "ErrKor", "xfoobar"]),
    (r"(?i).*error.*", &["an error here", "AN ERROR HERE"], &[".", "i", "ErrKor", "("]),
    (r"(?i)get|post|put", &["get", "Post", "GET", "puT"], &["s", "api", "|", "i"]),
    (r"(?i:prod)-.+", &["PROD-x", "prod-x"], &["d", ".", "prod-", "i"]),
    (r"[0-9]{3}", &["404", "500", "503"], &["]", "}", "9", "["]),
    (r"5..", &["500", "503"], &[".", "5", "a.b", "["]),
    (r"4..|5..", &["404", "4x4", "500", "503"], &[".", "|", "5", "a{,5}"]),
    (r"node-[0-9]+(:9100)?", &["node-1:9100", "node-12"], &["(", "]", "9", "0"]),
    (r"(a|b)(c|d)", &["ac", "bd"], &["(", "d", "abc", "c"]),
    (r"(a?){3}", &["", "a"], &["{", "}", "a{", "aaaaa"]),
    (r"x(?:y|z)?", &["xy", "x"], &[":", "(", "|", "xyz"]),
    (r"^(?:a|b)$", &["b", "a"], &["|", "a$", "aab", "ba"]),
    (r"a|^b|c$", &["c", "b", "a"], &["a$", "aaaaa", "aab", "abc"]),
    (r".*a.*b.*", &["aab", "aXaXb", "baab", "a\nb"], &[".", "aaaaa", "ba", "b"]),
    (r".{2,}", &["a&b", "node-1:910", "Kafka", "api.x"], &["}", "{", ".", "["]),
    (r"(?i)straße", &["straße", "STRAẞE"], &["s", "(", "aaaaa", "a"]),
    (r"(?i)kafka", &["KAFKA", "Kafka", "KAFKA"], &["(", "a", "k", "aaaaa"]),
    (r"(?i)status|class", &["CLASS", "ſtatuſ"], &["|", "a", "s", "aaaaa"]),
    (r"\w+@\w+\.com", &["a@b.com"], &["\\", ".", "c", "ac"]),
    (r"[^:]+:\d+", &["node-1:9100", "node-1:910", "h:80", "node-:9100"], &["^", "]", ":", "\\"]),
    (r".*\n.*", &["a\nb", "x\ny", "\n\n", "\n"], &["\\", ".", "a.b", "\u{7}"]),
    (r"(?-s:.*)", &["a@bxcom", "straße", "prod-", "Kafka"], &["x\ny", "\n\n", "a\nb", "\n"]),
    (r"prod|prod-.*", &["prod", "prod-x", "prod-"], &["|", ".", "d", "-"]),
    (r"..", &["a$", "中文", "ba", "a{"], &[".", "a.b", "a.bc", "\u{fb00}"]),
    (r"", &[""], &["404", "node-:9100", "5", "Z"]),
    (r"(?:)*", &[""], &["(", ":", "h:8x", "node-:9100"]),
    (r".*|x", &["STRASSE", "prod-", "KAFKA", "a{2"], &[]),
];

/// Expressions that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    (r"a(", r"missing closing ): `a(`"),
    (r"a)(b", r"unexpected ): `a)(b`"),
    (r"(?i", r"invalid or unsupported Perl syntax: `(?i`"),
    (r"(?", r"invalid or unsupported Perl syntax: `(?`"),
    (r"(?P<n", r"invalid named capture: `(?P<n`"),
    (r"(?P<n>a", r"missing closing ): `(?P<n>a`"),
    (r"(?P<>a)", r"invalid named capture: `(?P<>`"),
    (r"(?P=n)", r"invalid or unsupported Perl syntax: `(?P`"),
    (r"(?'n'a)", r"invalid or unsupported Perl syntax: `(?'`"),
    (r"(?=a)", r"invalid or unsupported Perl syntax: `(?=`"),
    (r"(?<=a)", r"invalid named capture: `(?<=a)`"),
    (r"(?<!a)", r"invalid named capture: `(?<!a)`"),
    (r"(?#c)", r"invalid or unsupported Perl syntax: `(?#`"),
    (r"(?i-", r"invalid or unsupported Perl syntax: `(?i-`"),
    (r"(?i-)a", r"invalid or unsupported Perl syntax: `(?i-)`"),
    (r"(?-)a", r"invalid or unsupported Perl syntax: `(?-)`"),
    (r"(?i-:a)", r"invalid or unsupported Perl syntax: `(?i-:`"),
    (r"(?z)a", r"invalid or unsupported Perl syntax: `(?z`"),
    (r"(?iz)a", r"invalid or unsupported Perl syntax: `(?iz`"),
    (r"a**", r"invalid nested repetition operator: `**`"),
    (r"a*+", r"invalid nested repetition operator: `*+`"),
    (r"a+?*", r"invalid nested repetition operator: `+?*`"),
    (r"a{2}{3}", r"invalid nested repetition operator: `{2}{3}`"),
    (r"a{2}*", r"invalid nested repetition operator: `{2}*`"),
    (r"*a", r"missing argument to repetition operator: `*`"),
    (r"+a", r"missing argument to repetition operator: `+`"),
    (r"?a", r"missing argument to repetition operator: `?`"),
    (r"{2}", r"missing argument to repetition operator: `{2}`"),
    (r"a|*", r"missing argument to repetition operator: `*`"),
    (r"(*a)", r"missing argument to repetition operator: `*`"),
    (r"(|*a)", r"missing argument to repetition operator: `*`"),
    (r"a{1001}", r"invalid repeat count: `{1001}`"),
    (r"a{2,1}", r"invalid repeat count: `{2,1}`"),
    (r"(a{100}){11}", r"invalid repeat count: `{11}`"),
    (r"((a{10}){10}){11}", r"invalid repeat count: `{11}`"),
    (r"(a{2,}){501}", r"invalid repeat count: `{501}`"),
    (r"[a", r"missing closing ]: `[a`"),
    (r"[", r"missing closing ]: `[`"),
    (r"[]", r"missing closing ]: `[]`"),
    (r"[]a", r"missing closing ]: `[]a`"),
    (r"[^", r"missing closing ]: `[^`"),
    (r"[a-", r"missing closing ]: `[a-`"),
    (r"[z-a]", r"invalid character class range: `z-a`"),
    (r"[a-\d]", r"invalid escape sequence: `\d`"),
    (r"[[:foo:]]", r"invalid character class range: `[:foo:]`"),
    (r"[[:", r"missing closing ]: `[[:`"),
    (r"[\b]", r"invalid escape sequence: `\b`"),
    (r"[\Q]\E]", r"invalid escape sequence: `\Q`"),
    (r"\pX", r"invalid character class range: `\pX`"),
    (r"\p{Foo}", r"invalid character class range: `\p{Foo}`"),
    (r"\p", r"invalid character class range: `\p`"),
    (r"\p{", r"invalid character class range: `\p{`"),
    (r"\p{greek}", r"invalid character class range: `\p{greek}`"),
    (r"\p{Grek}", r"invalid character class range: `\p{Grek}`"),
    (r"\p{Letter}", r"invalid character class range: `\p{Letter}`"),
    (r"\p{ASCII}", r"invalid character class range: `\p{ASCII}`"),
    (r"\p{Assigned}", r"invalid character class range: `\p{Assigned}`"),
    (r"\p{L&}", r"invalid character class range: `\p{L&}`"),
    (r"\p{Lowercase}", r"invalid character class range: `\p{Lowercase}`"),
    (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
    (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
    (r"\p{}", r"invalid character class range: `\p{}`"),
    (r"\C", r"invalid escape sequence: `\C`"),
    (r"\Z", r"invalid escape sequence: `\Z`"),
    (r"\1", r"invalid escape sequence: `\1`"),
    (r"\8", r"invalid escape sequence: `\8`"),
    (r"\9", r"invalid escape sequence: `\9`"),
    (r"\18", r"invalid escape sequence: `\1`"),
    (r"\x", r"invalid escape sequence: `\x`"),
    (r"\x4", r"invalid escape sequence: `\x4`"),
    (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
    (r"\x{", r"invalid escape sequence: `\x{`"),
    (r"\x{}", r"invalid escape sequence: `\x{}`"),
    (r"\x{4g}", r"invalid escape sequence: `\x{4g`"),
    (r"\e", r"invalid escape sequence: `\e`"),
    (r"\E", r"invalid escape sequence: `\E`"),
    (r"a\E", r"invalid escape sequence: `\E`"),
    (r"\Q\E*", r"missing argument to repetition operator: `*`"),
    (r"\G", r"invalid escape sequence: `\G`"),
    (r"\R", r"invalid escape sequence: `\R`"),
    (r"\X", r"invalid escape sequence: `\X`"),
    (r"\h", r"invalid escape sequence: `\h`"),
    (r"\H", r"invalid escape sequence: `\H`"),
    (r"\N", r"invalid escape sequence: `\N`"),
    (r"\K", r"invalid escape sequence: `\K`"),
    (r"\é", r"invalid escape sequence: `\é`"),
    (r"\", r"trailing backslash at end of expression: ``"),
    (r"a\", r"trailing backslash at end of expression: ``"),
    (r"(?:a", r"missing closing ): `(?:a`"),
    (r"(a", r"missing closing ): `(a`"),
    (r")", r"unexpected ): `)`"),
    (r"a)", r"unexpected ): `a)`"),
    (r"(()", r"missing closing ): `(()`"),
    (r"\pÿ", r"invalid character class range: `\pÿ`"),
    (r"(?P<né>a)", r"invalid named capture: `(?P<né>`"),
    (r"(?P<a b>a)", r"invalid named capture: `(?P<a b>`"),
    (r"x{1,1000}{1}", r"invalid nested repetition operator: `{1,1000}{1}`"),
    (r"a{99999999999}", r"invalid repeat count: `{99999999999}`"),
    (r"(?i)(a", r"missing closing ): `(?i)(a`"),
    (r"a{1}{1}", r"invalid nested repetition operator: `{1}{1}`"),
    (r"(?P<name>a)\k<name>", r"invalid escape sequence: `\k`"),
    (r"\cA", r"invalid escape sequence: `\c`"),
    (r"[a\]", r"missing closing ]: `[a\]`"),
    (r"[\", r"trailing backslash at end of expression: ``"),
    (r"[\]", r"missing closing ]: `[\]`"),
    (r"(?:", r"missing closing ): `(?:`"),
    (r"[a-\w]", r"invalid escape sequence: `\w`"),
    (r"[a--]", r"invalid character class range: `a--`"),
    (r"[a--b]", r"invalid character class range: `a--`"),
];

#[test]
fn expressions_match_what_re2_matches() {
    for (expression, yes, no) in MATCHES {
        let regexp = Regexp::new(expression).unwrap_or_else(|e| panic!("{expression:?}: {e}"));
        for (texts, expected) in [(yes, true), (no, false)] {
            for text in *texts {
                assert_eq!(regexp.matches(text), expected, "{expression:?} on {text:?}");
            }
        }
    }
}

#[test]
fn mistakes_are_told_in_the_words_of_go() {
    for (expression, expected) in REFUSED {
        let error = Regexp::new(expression).err().unwrap_or_else(|| panic!("{expression:?} was taken"));
        assert_eq!(error.reason, *expected, "{expression:?}");
        assert_eq!(error.expression, *expression);
    }
}

#[test]
fn nesting_is_bounded_as_in_go() {
    let captures = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    let groups = |n: usize| format!("{}a{}", "(?:".repeat(n), ")".repeat(n));
    let choices = |n: usize| format!("{}c{}", "(?:a|b.".repeat(n), ")".repeat(n));
    let run = move || {
        for n in [1, 250, 998] {
            assert!(Regexp::new(&captures(n)).expect("not too deep").matches("a"), "{n}");
            assert!(GroupRegexp::new(&captures(n)).expect("not too deep").expand("a", "$1").is_some());
            assert!(Regexp::new(&groups(n)).expect("not too deep").matches("a"), "{n}");
        }
        // The deepest automaton that can be asked for is built on a small stack.
        let deep = choices(498);
        assert!(Regexp::new(&deep).expect("not too deep").matches("a"));
        assert_eq!(GroupRegexp::new(&deep).expect("not too deep").expand("a", "x"), Some("x".to_owned()));
        for n in [1000, 1001, 20_000] {
            let error = Regexp::new(&captures(n)).expect_err("too deep");
            assert!(error.reason.starts_with("expression nests too deeply"), "{}", &error.reason[..40]);
            assert!(GroupRegexp::new(&captures(n)).is_err());
            assert!(Regexp::new(&groups(n)).unwrap_or_else(|_| panic!("groups do not count")).matches("a"));
        }
        assert!(Regexp::new(&choices(100_000)).is_err());
        assert!(Regexp::new(&"(".repeat(1 << 20)).is_err());
        assert!(Regexp::new(&"(?i:".repeat(1 << 18)).is_err());
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("spawns");
    thread.join().expect("no overflow");
}

/// The costs are those of reading: the automaton of what is taken is bounded by them.
#[test]
fn what_would_be_large_is_refused() {
    for expression in [
        r"\pL{1000}".to_owned(),
        r"(?:\pL{500}){2}".to_owned(),
        r"([\pL\pN]{10}){100}".to_owned(),
        "(?i)k".repeat(1 << 18),
        "(?:)".repeat(1 << 20),
        "|".repeat(1 << 20),
        "(".repeat(1 << 20),
        "a*".repeat(1 << 19),
        r"\pZ".repeat(1 << 18),
        format!("({}){{1000}}", "ab.".repeat(1000)),
    ] {
        let error = Regexp::new(&expression).expect_err("too large");
        assert!(error.reason.starts_with("expression too large"), "{}", &error.reason[..40]);
    }
    for (expression, text) in [
        (".{1000}".to_owned(), "é".repeat(1000)),
        ("[ab]".repeat(2000), "ab".repeat(1000)),
        (format!("(x+x+)+y{}", ".*a".repeat(100)), format!("{}y{}", "x".repeat(5000), "a".repeat(100))),
        (format!("[{}x-z]+1a", r"\PN\p{Han}".repeat(20_000)), "xé1a".to_owned()),
        (format!("{}[b]a", "[[:x]?".repeat(10_000)), "::ba".to_owned()),
        ("a?".repeat(500) + &"a".repeat(500), "a".repeat(500)),
    ] {
        let regexp = Regexp::new(&expression).expect("not too large");
        assert!(regexp.cost() <= parser::COST_MAX + AUTOMATON_COST);
        assert!(regexp.matches(&text), "{}", &expression[..20]);
        assert!(
            !regexp.matches(text.strip_suffix(['a', 'b', 'é']).expect("an end")),
            "{}",
            &expression[..20]
        );
    }
}

#[test]
fn sets_of_values_are_known() {
    let values = |e: &str| Regexp::new(e).expect(e).values().map(|v| v.join(" "));
    for (expression, expected) in [
        ("a", Some("a")),
        ("b|a|b", Some("a b")),
        ("foo-(a|b[12])", Some("foo-a foo-b1 foo-b2")),
        ("(?:x|y)z?", Some("x xz y yz")),
        ("^(a|b)$", Some("a b")),
        ("(?i)ok", Some("OK Ok O\u{212a} oK ok o\u{212a}")),
        ("[ab]{2}", Some("aa ab ba bb")),
        (r"1\.2", Some("1.2")),
        ("", Some("")),
        ("a.*", None),
        ("a+", None),
        ("[a-z]{3}", None),
        (r"a\b", None),
    ] {
        assert_eq!(values(expression).as_deref(), expected, "{expression}");
    }
    let many: Vec<String> = (0..10_000).map(|i| format!("value-{i}")).collect();
    let regexp = Regexp::new(&many.join("|")).expect("an alternation");
    assert_eq!(regexp.values().map(<[String]>::len), Some(10_000));
    assert_eq!(regexp.cost(), SIMPLE_COST);
}

#[test]
fn prefixes_are_known() {
    for (expression, expected) in [
        ("abc", "abc"),
        ("abc.*", "abc"),
        ("^abc.*", "abc"),
        ("ab(c|d)x", "ab"),
        ("(abx|aby|abz.*)", "ab"),
        ("(ab)+c", "ab"),
        ("ab*", "a"),
        ("(?i)abc", ""),
        (".*abc", ""),
        ("éa|éb", "é"),
        ("", ""),
    ] {
        assert_eq!(Regexp::new(expression).expect(expression).prefix(), expected, "{expression}");
    }
}

#[test]
fn references_to_groups_are_expanded_as_in_go() {
    for (expression, text, template, expected) in [
        ("(.*)-(.*)", "a-b", "$2-$1", Some("b-a")),
        ("(.*)-(.*)", "a-b", "${2}x$1x", Some("bx")),
        ("(.*)-(.*)", "ab", "$1", None),
        ("(?P<n>a)(b)?", "a", "${n}[$2][$3]", Some("a[][]")),
        ("(?<n>a)|(?<n>b)", "b", "$n", Some("b")),
        ("(a)", "a", "$$1 $ ${ ${1 $01 $1", Some("$1 $ ${ ${1  a")),
        ("(a)", "a", "$0$1_", Some("a")),
        ("(a)", "a", "100$", Some("100$")),
        ("(é+)(?i:X)", "ééx", "$1", Some("éé")),
        ("(a+?)(a*)", "aaa", "$1,$2", Some("a,aa")),
        ("(?U)(a+)(a*)", "aaa", "$1,$2", Some("a,aa")),
        ("(a|ab)(c|bcd)(d*)", "abcd", "$1,$2,$3", Some("a,bcd,")),
        ("(a{0}b)(c)", "bc", "$1$2", Some("bc")),
        ("x(a){0}(c)", "xc", "$1$2", Some("c")),
        // This is how Prometheus pastes it.
        ("a)(b", "ab", "$1", Some("b")),
    ] {
        let regexp = GroupRegexp::new(expression).expect(expression);
        assert_eq!(regexp.expand(text, template).as_deref(), expected, "{expression} on {text}: {template}");
    }
    let error = GroupRegexp::new("a(").expect_err("refused");
    assert_eq!(error.to_string(), "error parsing regexp: missing closing ): `^(?s:a()$`");
}

/// A pattern and texts on which backtracking would not come to an end.
#[test]
fn matching_does_not_backtrack() {
    let regexp = Regexp::new("(.*a|a.*)*(a?){30}b").expect("valid");
    assert!(!regexp.matches(&"a".repeat(200_000)));
    assert!(regexp.matches(&("a".repeat(200_000) + "b")));
}

/// The automaton alone, without any of the fast paths.
fn automaton(expression: &str) -> Automaton {
    Automaton::new(parser::parse(expression, false).expect("taken before").hir)
}

const PIECES: &[&str] = &[
    "a", "b", "ab", "foo", "k", "S", "é", ".*", ".+", ".{2,}", ".", "?", "*", "+", "{2}", "(", "(?:", "(?i)",
    "(?i:", ")", "|", "^", "$", "[ab]", "[kK]", "[^a]", r"\b", r"\B", r"\d", r"\.", "(?-s)", "(?m)",
];

const TEXTS: &[&str] = &[
    "a", "b", "A", "foo", "FOO", "k", "K", "\u{212a}", "s", "S", "\u{17f}", "é", "É", ".", "1", "\n", "ab",
    " ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Sets, gaps, prefixes, letters of either case and what is said of the empty text are but
    /// shorter ways to what the automaton says.
    #[test]
    fn fast_paths_agree_with_the_automaton(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..8),
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(TEXTS), 0..5), 1..8),
    ) {
        let mut expression = pieces.concat();
        let open = expression.matches('(').count().saturating_sub(expression.matches(')').count());
        expression += &")".repeat(open);
        let Ok(regexp) = Regexp::new(&expression) else { return Ok(()) };
        let automaton = automaton(&expression);
        prop_assert_eq!(regexp.matches_empty(), automaton.matches(""), "{:?} on nothing", &expression);
        for text in texts.iter().map(|t| t.concat()) {
            let expected = automaton.matches(&text);
            prop_assert_eq!(regexp.matches(&text), expected, "{:?} on {:?}", &expression, &text);
            prop_assert!(!expected || text.starts_with(regexp.prefix()));
            if let Some(values) = regexp.values() {
                prop_assert_eq!(values.contains(&text), expected);
            }
        }
        for value in regexp.values().unwrap_or_default() {
            prop_assert!(automaton.matches(value), "{:?} on its value {:?}", &expression, value);
        }
    }

    #[test]
    fn any_text_is_judged(expression in "\\PC{0,40}", text in "\\PC{0,10}") {
        if let Ok(regexp) = Regexp::new(&expression) {
            regexp.matches(&text);
        }
        if let Ok(regexp) = GroupRegexp::new(&expression) {
            regexp.expand(&text, &expression);
        }
    }
}
